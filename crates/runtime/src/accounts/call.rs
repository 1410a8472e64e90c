//! One call that needs a token: a token the platform refuses is replaced, and the call made once more (F-008).

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_core::{Effect, Failure, FailureClass, Secret};

use super::credentials::{GetToken, TokenRefused};
use crate::services::Account;

/// For asking the credentials actor; covers a fetch it has to make first.
const TOKEN_DEADLINE: Duration = Duration::from_secs(20);

/// Makes `call` with the account's token, and once more with a fresh one if the platform says that the first is no
/// good. The second answer stands, whatever it is.
pub(crate) async fn with_token<T>(
    account: Rc<Account>,
    call: impl Fn(Option<Secret>) -> LocalBoxFuture<'static, Result<T, Failure>>,
) -> Result<T, Failure> {
    let first = token(&account).await?;
    match call(first.clone()).await {
        Err(failure) if failure.class == FailureClass::SessionExpired => {
            let Some(refused) = first else { return Err(failure) };
            account.actors.credentials.tell(TokenRefused(refused));
            let second = token(&account).await?;
            call(second).await
        }
        answer => answer,
    }
}

/// Without a token nothing is called: whatever became of the token's own call, this one had no effect.
async fn token(account: &Account) -> Result<Option<Secret>, Failure> {
    let asked = account.actors.credentials.send(GetToken);
    match tokio::time::timeout(TOKEN_DEADLINE, asked).await {
        Ok(Ok(answer)) => answer.map_err(|failure| Failure { effect: Effect::None, ..failure }),
        Ok(Err(_)) => Err(Failure::transient("no token: the credentials actor is being restarted")),
        Err(_) => Err(Failure::transient(format!("no token within {} s", TOKEN_DEADLINE.as_secs()))),
    }
}
