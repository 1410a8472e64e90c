//! Logging an account in, as an operator does it.

use std::time::Duration;

use moorline_core::{AccountId, Secret};

use super::{COMMAND_DEADLINE, CommandError, Handle};
use crate::logins::{Begin, GiveUp, LoginState, LoginView, Look};

/// How long whoever begins a login waits for its first step, so that there is something to scan in the first answer.
const FIRST_STEP: Duration = Duration::from_secs(5);

impl Handle {
    /// Begins a login, or joins the one that is under way; with a code, hands that in. Answers with where it stands, as a
    /// rule with a QR code.
    ///
    /// # Errors
    /// When there is no such account, nobody has to log it in, or a code comes that nobody asked for.
    pub async fn login(&self, id: &AccountId, code: Option<Secret>) -> Result<LoginView, CommandError> {
        let begin = Begin { account: id.clone(), code };
        let asking = async {
            let (_, desk) = self.logins.ready().await;
            desk.send(begin).await
        };
        let mut view = match tokio::time::timeout(COMMAND_DEADLINE, asking).await {
            Ok(Ok(begun)) => begun?,
            Ok(Err(_)) | Err(_) => return Err(CommandError::Busy),
        };
        let first_step = view.wait_for(|view| view.state != LoginState::Starting);
        // Later is later: whoever looks again sees it.
        drop(tokio::time::timeout(FIRST_STEP, first_step).await);
        let now = view.borrow().clone();
        Ok(now)
    }

    /// Where the last login of an account stands.
    ///
    /// # Errors
    /// When there is no such account, or nobody has to log it in.
    pub async fn login_state(&self, id: &AccountId) -> Result<LoginView, CommandError> {
        self.at_the_desk(Look(id.clone())).await
    }

    /// Gives the login of an account up; what was saved before is good still. Answers with where it stands then.
    ///
    /// # Errors
    /// As [`Handle::login_state`].
    pub async fn give_login_up(&self, id: &AccountId) -> Result<LoginView, CommandError> {
        self.at_the_desk(GiveUp(id.clone())).await
    }

    async fn at_the_desk<M>(&self, message: M) -> Result<LoginView, CommandError>
    where
        M: actix::Message<Result = Result<LoginView, CommandError>> + Send + 'static,
        crate::logins::Desk: actix::Handler<M>,
    {
        match tokio::time::timeout(COMMAND_DEADLINE, self.logins.send(message)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(CommandError::Busy),
        }
    }
}
