//! Logins by a person: where they are kept, and what an account works with that has one.
//!
//! Some platforms give a bot's credentials to somebody with a phone and not to a configuration file. What comes of such a
//! login is saved outside the configuration, and taken up without a restart: at once after a login through this process,
//! and before every attempt of an account that waits for one.

mod desk;
mod session;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, ready};
use moorline_channel::{Plan, SavedLogin};
use moorline_core::{AccountId, ChannelName, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use desk::{Begin, Desk, GiveUp, Look};
pub use session::{Kept, LoginSession, LoginState, LoginView};

/// How long whoever keeps the logins may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where logins are kept. Every one of them is a credential as a whole.
pub trait Logins {
    /// The login of an account, if there is one.
    fn load(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Saved>, LoginsError>>;

    /// Keeps a login in the place of the one before it, whole or not at all.
    fn save(&self, account: &AccountId, saved: Saved) -> LocalBoxFuture<'static, Result<(), LoginsError>>;

    /// Forgets a login, and why there was none; `true` when there was one. Forgetting what is not there is a success.
    fn remove(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<bool, LoginsError>>;

    /// Forgets a login that another one has ended, and keeps which, until the account is logged in again.
    fn end(&self, account: &AccountId, ended: Ended) -> LocalBoxFuture<'static, Result<(), LoginsError>>;

    /// What has ended the last login of an account that has none, where that is known.
    fn ended(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Ended>, LoginsError>>;

    /// All logins of a channel that can be read, also those of accounts that are not configured.
    fn all(
        &self,
        channel: &ChannelName,
    ) -> LocalBoxFuture<'static, Result<Vec<(AccountId, Saved)>, LoginsError>>;
}

/// A login as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What the channel wants to have kept.
    pub login: SavedLogin,
    /// Whose it is, where that is known.
    pub person: Option<UserId>,
    /// When it was saved.
    pub saved_at: Timestamp,
}

/// What has ended a login: its person has logged in for another account, and can have one bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// That account.
    pub by: AccountId,
    /// When.
    pub at: Timestamp,
}

/// A login could not be read or kept; in words, with nothing of it in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoginsError(pub String);

/// Logins that are gone with the process: for tests, and for programs without accounts of that kind.
#[derive(Debug, Clone, Default)]
pub struct MemoryLogins(Rc<RefCell<BTreeMap<AccountId, Kind>>>);

#[derive(Debug, Clone)]
enum Kind {
    Saved(Saved),
    Ended(Ended),
}

impl Logins for MemoryLogins {
    fn load(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Saved>, LoginsError>> {
        let saved = match self.0.borrow().get(account) {
            Some(Kind::Saved(saved)) => Some(saved.clone()),
            Some(Kind::Ended(_)) | None => None,
        };
        Box::pin(ready(Ok(saved)))
    }

    fn save(&self, account: &AccountId, saved: Saved) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        self.0.borrow_mut().insert(account.clone(), Kind::Saved(saved));
        Box::pin(ready(Ok(())))
    }

    fn remove(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<bool, LoginsError>> {
        let before = self.0.borrow_mut().remove(account);
        Box::pin(ready(Ok(matches!(before, Some(Kind::Saved(_))))))
    }

    fn end(&self, account: &AccountId, ended: Ended) -> LocalBoxFuture<'static, Result<(), LoginsError>> {
        self.0.borrow_mut().insert(account.clone(), Kind::Ended(ended));
        Box::pin(ready(Ok(())))
    }

    fn ended(&self, account: &AccountId) -> LocalBoxFuture<'static, Result<Option<Ended>, LoginsError>> {
        let ended = match self.0.borrow().get(account) {
            Some(Kind::Ended(ended)) => Some(ended.clone()),
            Some(Kind::Saved(_)) | None => None,
        };
        Box::pin(ready(Ok(ended)))
    }

    fn all(
        &self,
        channel: &ChannelName,
    ) -> LocalBoxFuture<'static, Result<Vec<(AccountId, Saved)>, LoginsError>> {
        let all = self.0.borrow();
        let of_channel = all.iter().filter(|(id, _)| id.channel() == channel);
        let saved = of_channel.filter_map(|(id, kind)| match kind {
            Kind::Saved(saved) => Some((id.clone(), saved.clone())),
            Kind::Ended(_) => None,
        });
        Box::pin(ready(Ok(saved.collect())))
    }
}

/// What is known of the login of an account that needs one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LoginStatus {
    /// Who is logged in, as the platform names the person; `None` where that is not known.
    pub person: Option<UserId>,
    /// When the login in use was saved; `None` when there is none.
    pub saved_at: Option<Timestamp>,
    /// Why there is none, or why what is saved now is not the one in use.
    pub problem: Option<String>,
}

/// What an account works with.
#[derive(Clone)]
pub(crate) struct Means {
    /// The plan as the configuration has it.
    pub(crate) configured: Arc<dyn Plan>,
    /// The plan as its login left it; the configured one for accounts that need no login, or have none.
    pub(crate) plan: Arc<dyn Plan>,
    /// `None` for accounts that need no login.
    pub(crate) login: Option<LoginStatus>,
    /// The login in use.
    saved: Option<Saved>,
}

impl Means {
    /// What an account of this plan works with now.
    ///
    /// # Errors
    /// Why what is saved for it cannot be read.
    pub(crate) async fn find(
        logins: &dyn Logins,
        account: &AccountId,
        configured: Arc<dyn Plan>,
    ) -> Result<Self, String> {
        if !takes_login(&*configured) {
            return Ok(Self { plan: Arc::clone(&configured), configured, login: None, saved: None });
        }
        let unreadable =
            |why: String| format!("the saved login cannot be read: {why}; {} makes another", cure(account));
        let saved = in_time(logins.load(account)).await.map_err(|error| unreadable(error.to_string()))?;
        match saved {
            Some(saved) => Self::with(configured, saved).map_err(unreadable),
            None => Ok(Self::without_login(configured, why_none(logins, account).await)),
        }
    }

    /// An account that works with this login.
    fn with(configured: Arc<dyn Plan>, saved: Saved) -> Result<Self, String> {
        let plan = match configured.logged_in(&saved.login) {
            Some(Ok(plan)) => plan,
            Some(Err(failure)) => return Err(failure.message),
            None => return Err("the channel has no use for it".to_owned()),
        };
        let (person, saved_at) = (saved.person.clone(), Some(saved.saved_at));
        let login = LoginStatus { person, saved_at, problem: None };
        Ok(Self { configured, plan, login: Some(login), saved: Some(saved) })
    }

    /// The same for an account that was not there before. Where it cannot be read the account waits for a login, and says
    /// why when it does.
    pub(crate) async fn of(logins: &dyn Logins, account: &AccountId, configured: Arc<dyn Plan>) -> Self {
        Self::find(logins, account, Arc::clone(&configured))
            .await
            .unwrap_or_else(|why| Self::unreadable(configured, why, None))
    }

    /// An account whose login cannot be read: it goes on with the one that it had before, or waits for one.
    pub(crate) fn unreadable(configured: Arc<dyn Plan>, why: String, before: Option<&Self>) -> Self {
        let before = before.and_then(|before| before.saved.clone());
        match before.map(|saved| Self::with(Arc::clone(&configured), saved)) {
            Some(Ok(Self { configured, plan, login, saved })) => {
                let login = login.map(|login| LoginStatus { problem: Some(why), ..login });
                Self { configured, plan, login, saved }
            }
            Some(Err(_)) | None => Self::without_login(configured, why),
        }
    }

    /// An account that waits for a login.
    fn without_login(configured: Arc<dyn Plan>, why: String) -> Self {
        let login = LoginStatus { person: None, saved_at: None, problem: Some(why) };
        Self { plan: Arc::clone(&configured), configured, login: Some(login), saved: None }
    }

    /// Whether these are other credentials than those, or there are some now, or none any more.
    pub(crate) fn differ(&self, other: &Self) -> bool {
        let has_login = |means: &Self| means.login.as_ref().map(|login| login.saved_at.is_some());
        has_login(self) != has_login(other) || self.plan.fingerprint() != other.plan.fingerprint()
    }

    /// Why the account cannot even try to connect.
    pub(crate) fn missing(&self) -> Option<&str> {
        let login = self.login.as_ref().filter(|login| login.saved_at.is_none())?;
        Some(login.problem.as_deref().unwrap_or("nobody is logged in"))
    }
}

/// Whether accounts of this plan are logged in by a person.
pub(crate) fn takes_login(plan: &dyn Plan) -> bool {
    plan.login(&[], 0).is_some()
}

fn cure(account: &AccountId) -> String {
    format!("`moorline login {account}`")
}

/// Why nobody is logged in, as far as that is known.
async fn why_none(logins: &dyn Logins, account: &AccountId) -> String {
    let cure = cure(account);
    match in_time(logins.ended(account)).await {
        Ok(Some(Ended { by, at })) => {
            format!("its person has logged in for {by} at {at}, and can have one bot: {cure}")
        }
        Ok(None) | Err(_) => format!("nobody is logged in: {cure}"),
    }
}

/// A disk that hangs must not keep an account waiting for ever.
pub(crate) async fn in_time<T>(
    work: LocalBoxFuture<'static, Result<T, LoginsError>>,
) -> Result<T, LoginsError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LoginsError(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
