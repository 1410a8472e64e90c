//! One login, from the first call until what came of it is saved: the same in a running process and without one.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Http, LoggedIn, LoginStep, Plan, drive_login};
use moorline_core::{AccountId, Clock, Failure, Secret, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, watch};

use super::{Ended, Logins, LoginsError, Saved, in_time};

/// For all of a login; whatever the channel's own limit is, nobody stands before a phone for longer.
const AT_MOST: Duration = Duration::from_secs(15 * 60);

/// Steps of the machine that were not shown yet.
const STEPS: usize = 8;

/// What a login is made of.
pub struct LoginSession {
    /// The account.
    pub account: AccountId,
    /// Its plan as the configuration has it.
    pub plan: Arc<dyn Plan>,
    /// Accounts whose saved logins the platform is asked about, whether one of them is good still: those that are
    /// configured, but for what the platform is known to refuse.
    pub known: BTreeSet<AccountId>,
    /// Where logins are kept.
    pub logins: Rc<dyn Logins>,
    /// For the calls of the login.
    pub http: Rc<dyn Http>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub seed: u64,
}

/// What came of a login, when it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Who is logged in, where that is known.
    pub person: Option<UserId>,
    /// The account was logged in before, and what was saved is good still.
    pub already: bool,
    /// Accounts whose login this one has ended: the platform lets a person have one bot. Theirs are forgotten.
    pub ended: Vec<AccountId>,
}

/// Where a login stands, for the person who logs in. It holds the QR code, so it is for that person only: no log, no
/// event and no store ever has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LoginView {
    /// Where it stands.
    pub state: LoginState,
    /// The text of the QR code to scan, while there is one. Whoever scans it is logged in: it is a credential.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "Option<String>")]
    pub qr: Option<Secret>,
    /// While a number is asked for: whether the one before was wrong.
    pub code_wrong: Option<bool>,
    /// When the QR code is good no more; another one follows.
    pub expires_at: Option<Timestamp>,
    /// Who is logged in, where that is known.
    pub person: Option<UserId>,
    /// The same in words.
    pub message: String,
}

/// Where a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoginState {
    /// There is none.
    None,
    /// The platform was asked for a QR code.
    Starting,
    /// The QR code is to be scanned.
    Scan,
    /// It was scanned, and is yet to be confirmed on the phone.
    Scanned,
    /// The number that the phone shows is to be handed in.
    Code,
    /// Somebody is logged in.
    Done,
    /// Nobody is.
    Failed,
}

impl LoginSession {
    /// Logs in, and saves what came of it. `typed` is what the person types; `view` shows the steps until the last one,
    /// which [`LoginView::end`] shows. Dropping the future gives the login up.
    ///
    /// # Errors
    /// Why nobody is logged in, in words; what was saved before is there still.
    pub async fn run(
        self,
        typed: mpsc::Receiver<Secret>,
        view: &watch::Sender<LoginView>,
    ) -> Result<Kept, String> {
        let logging_in = self.log_in(typed, view);
        match tokio::time::timeout(AT_MOST, logging_in).await {
            Ok(Ok(logged_in)) => self
                .keep(logged_in)
                .await
                .map_err(|error| format!("the login could not be saved: {error}"))?,
            Ok(Err(failure)) => Err(failure.message),
            Err(_) => Err(format!("nobody has logged in within {} min", AT_MOST.as_secs() / 60)),
        }
    }

    async fn log_in(
        &self,
        typed: mpsc::Receiver<Secret>,
        view: &watch::Sender<LoginView>,
    ) -> Result<LoggedIn, Failure> {
        let channel = self.account.channel();
        let mut held = in_time(self.logins.all(channel)).await.unwrap_or_else(|error| {
            // The platform is told less than it could be, and the person logs in all the same.
            tracing::warn!(account = %self.account, actor = "logins", "saved logins not read: {error}");
            Vec::new()
        });
        held.sort_by_key(|(_, saved)| std::cmp::Reverse(saved.saved_at));
        let known = held.into_iter().filter(|(id, _)| self.known.contains(id));
        let held: Vec<_> = known.map(|(_, saved)| saved.login).collect();
        let machine = self
            .plan
            .login(&held, self.seed)
            .ok_or_else(|| Failure::transient("this account has nothing to log in"))?;
        let (steps_tx, mut steps) = mpsc::channel(STEPS);
        let mut driving = std::pin::pin!(drive_login(
            machine,
            Rc::clone(&self.http),
            Arc::clone(&self.clock),
            typed,
            steps_tx
        ));
        loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => view.send_modify(|view| view.show(step, self.clock.wall())),
                outcome = &mut driving => return outcome,
            }
        }
    }

    async fn keep(&self, logged_in: LoggedIn) -> Result<Result<Kept, String>, LoginsError> {
        let LoggedIn { login, person } = logged_in;
        let Some(login) = login else { return self.keep_what_is_saved(person).await };
        let saved = Saved { login, person: person.clone(), saved_at: self.clock.wall() };
        in_time(self.logins.save(&self.account, saved)).await?;
        // The login itself is safe by now: what follows only tidies up.
        let ended = self.end_others(person.as_ref()).await.unwrap_or_else(|error| {
            tracing::warn!(account = %self.account, actor = "logins", "logins of the same person not removed: {error}");
            Vec::new()
        });
        Ok(Ok(Kept { person, already: false, ended }))
    }

    /// The platform knows one of the logins that are held here, and does not say which.
    async fn keep_what_is_saved(&self, person: Option<UserId>) -> Result<Result<Kept, String>, LoginsError> {
        let saved = in_time(self.logins.load(&self.account)).await?;
        if let Some(saved) = saved {
            return Ok(Ok(Kept { person: person.or(saved.person), already: true, ended: Vec::new() }));
        }
        let others = in_time(self.logins.all(self.account.channel())).await?;
        let others = others.iter().filter(|(id, _)| self.known.contains(id));
        let others: Vec<String> = others.map(|(id, _)| id.to_string()).collect();
        Ok(Err(format!(
            "this person is logged in already, for another account ({}), and a person can have one: remove that login \
             from the directory logins in the data directory, or log in as somebody else",
            others.join(" or ")
        )))
    }

    /// Forgets what is saved of the same person for other accounts of the channel, but for why.
    async fn end_others(&self, person: Option<&UserId>) -> Result<Vec<AccountId>, LoginsError> {
        let mut ended = Vec::new();
        if person.is_none() {
            return Ok(ended);
        }
        for (id, saved) in in_time(self.logins.all(self.account.channel())).await? {
            if id != self.account && saved.person.as_ref() == person {
                let by = Ended { by: self.account.clone(), at: self.clock.wall() };
                in_time(self.logins.end(&id, by)).await?;
                ended.push(id);
            }
        }
        Ok(ended)
    }
}

impl LoginView {
    /// There is no login.
    pub fn none() -> Self {
        Self::of(LoginState::None, "no login is under way")
    }

    /// A login begins.
    pub fn starting() -> Self {
        Self::of(LoginState::Starting, "asking the platform for a QR code")
    }

    fn of(state: LoginState, message: impl Into<String>) -> Self {
        Self { state, qr: None, code_wrong: None, expires_at: None, person: None, message: message.into() }
    }

    /// Whether nothing more comes of it.
    pub const fn is_over(&self) -> bool {
        matches!(self.state, LoginState::None | LoginState::Done | LoginState::Failed)
    }

    fn show(&mut self, step: LoginStep, now: Timestamp) {
        *self = match step {
            LoginStep::Scan { code, lasts, number } => Self {
                qr: Some(code),
                expires_at: Some(now + lasts),
                ..Self::of(
                    LoginState::Scan,
                    match number {
                        1 => "QR code 1: scan it with the phone".to_owned(),
                        more => format!(
                            "QR code {more}: scan this one with the phone, the one before is good no more"
                        ),
                    },
                )
            },
            LoginStep::Scanned => Self::of(LoginState::Scanned, "scanned: confirm it on the phone"),
            LoginStep::Code { wrong } => Self {
                code_wrong: Some(wrong),
                ..Self::of(
                    LoginState::Code,
                    if wrong {
                        "wrong: type the number that the phone shows"
                    } else {
                        "type the number that the phone shows"
                    },
                )
            },
        };
    }

    /// The person has typed something: that it is asked for is over.
    pub fn typed(&mut self) {
        *self = Self::of(LoginState::Scanned, "the number was handed in");
    }

    /// Shows how it ended.
    pub fn end(&mut self, outcome: &Result<Kept, String>) {
        *self = match outcome {
            Ok(Kept { person, already, ended }) => {
                let who = person.as_ref().map(|person| format!(" as {person}")).unwrap_or_default();
                let how = if *already { "logged in already" } else { "logged in" };
                let ended: Vec<String> = ended.iter().map(ToString::to_string).collect();
                let cost = match ended.as_slice() {
                    [] => String::new(),
                    ended => format!("; this has ended the login of {}", ended.join(" and ")),
                };
                Self { person: person.clone(), ..Self::of(LoginState::Done, format!("{how}{who}{cost}")) }
            }
            Err(why) => Self::of(LoginState::Failed, why.clone()),
        };
    }
}

/// For the one who logs in, and nobody else.
#[allow(clippy::ref_option, reason = "serde asks for this signature")]
fn shown<S: Serializer>(qr: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    qr.as_ref().map(Secret::expose).serialize(serializer)
}
