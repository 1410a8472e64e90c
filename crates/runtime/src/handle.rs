//! The handle: what an operator's tools may see and do. It reads snapshots and sends commands; no state of an
//! actor is behind it.

mod cron;
mod login;
pub(crate) mod repair;
mod vitals;
mod watch;

pub use cron::{AddJob, CronStatus, JobView};
pub use repair::{Discarded, Orphan, Resumed, ResumedFrom};
pub use vitals::{Vitals, WRITER};
pub use watch::Retained;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use moorline_channel::Plan;
use moorline_config::Config;
use moorline_core::{
    AccountId, AccountState, BootId, ChatId, Clock, ConversationId, IdempotencyKey, InboxId, JobId, OutboxId,
    Timestamp,
};
use moorline_store::{
    Counts, Entry, Gap, Health, InboxRow, LONGEST_PAGE, Listing, Op, OutboxRow, OutboxState, Page,
    RequestAnswer, Store, StoreError, Tx,
};
use moorline_supervision::{ActorRef, Node, Tree};
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts::{Accounts, Applied, Enqueue, ProbeAccount, RestartAccount, StartAccount, StopAccount};
use crate::board::{AccountStatus, AgentStatus, Board};
use crate::doctor::{self, Now, Report, Snapshot};
use crate::exit::{ExitReason, ExitRequests};
use crate::logins::{Desk, LoginsError};
use crate::machine::MachineWatch;
use crate::reload::{self, ConfigFile, ConfigStatus, ConfigWatch, Reload, ReloadError, SharedConfigStatus};
use crate::scheduler::{InvalidSchedule, Scheduler};

/// How many conversations of an account the doctor looks at for messages that cannot be sent.
const HEADS_EXAMINED: u32 = 256;

/// How many turns that were given up it looks at.
const PARKED_EXAMINED: u32 = 256;

/// How long a command may take before its sender is told that it did not get an answer.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// The same for a reload, in which every account that goes may take its goodbye.
const RELOAD_DEADLINE: Duration = Duration::from_secs(35);

/// The runtime as seen from outside; cheap to clone, and good on any thread.
#[derive(Clone)]
pub struct Handle {
    pub(crate) version: &'static str,
    pub(crate) boot: BootId,
    pub(crate) started_at: Timestamp,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Board,
    pub(crate) tree: Tree,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) accounts: ActorRef<Accounts>,
    pub(crate) logins: ActorRef<Desk>,
    pub(crate) scheduler: ActorRef<Scheduler>,
    pub(crate) config: ActorRef<ConfigWatch>,
    pub(crate) config_status: SharedConfigStatus,
    pub(crate) config_file: Option<ConfigFile>,
    pub(crate) machine: MachineWatch,
    pub(crate) exits: ExitRequests,
}

/// The whole runtime at one moment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// The process.
    pub pid: u32,
    /// This run of it.
    pub boot: BootId,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether every wanted account is ready and the store takes commits.
    pub ready: bool,
    /// Turns.
    pub turns: Turns,
    /// The store.
    pub store: StoreStatus,
    /// The configuration file.
    pub config: ConfigStatus,
    /// Every agent, by name.
    pub agents: BTreeMap<String, AgentStatus>,
    /// Every account, by id.
    pub accounts: Vec<AccountView>,
    /// The scheduler.
    pub cron: CronStatus,
    /// Accounts that are not configured and have rows all the same (F-055).
    pub orphaned: Vec<Orphan>,
}

/// Turns at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Turns {
    /// Turns an agent is working on.
    pub running: u32,
    /// Turns that wait for an agent that is not available.
    pub waiting: u32,
}

/// The store at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoreStatus {
    /// `ok`, `full` or `failed`.
    #[schemars(extend("enum" = ["ok", "full", "failed"]))]
    pub state: &'static str,
    /// What is wrong.
    pub message: Option<String>,
}

/// One account at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct AccountView {
    /// What it said about itself.
    #[serde(flatten)]
    pub status: AccountStatus,
    /// Times in which messages for it may have been lost (F-040).
    pub gaps: Gaps,
    /// Its messages by state.
    pub counts: Counts,
}

/// The gaps of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gaps {
    /// How many were recorded since the data directory exists.
    pub count: u64,
    /// The one that was recorded last.
    pub last: Option<Gap>,
}

/// Why `/readyz` says no, one line for each reason.
pub type NotReady = Vec<String>;

/// A message that was put into the outbox, or was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Enqueued {
    /// Its number in the outbox.
    pub id: OutboxId,
    /// Where it stands.
    pub state: OutboxState,
    /// Whether the idempotency key was used before: then this is the message of that time (F-057).
    pub repeated: bool,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such account.
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// The account is stopped.
    #[error("account {0} is stopped; start it first")]
    IsStopped(AccountId),
    /// The account is not configured, so nobody can send or answer for it.
    #[error("account {0} is not configured any more: configure it again, or discard its rows")]
    Orphaned(AccountId),
    /// The account is configured, so its rows are in use.
    #[error("account {0} is configured: its rows can be discarded once it is removed from the configuration")]
    Configured(AccountId),
    /// Nobody has to log the account in.
    #[error("nobody has to log {0} in: what it connects with is in the configuration")]
    NoLogins(AccountId),
    /// A number was handed in, and nobody has asked for one.
    #[error("no login of {0} waits for a number")]
    NoCodeWanted(AccountId),
    /// There is no such message of ours.
    #[error("there is no message {0}")]
    UnknownMessage(OutboxId),
    /// A message of ours is in a state in which this cannot be done to it.
    #[error("message {0} {1}")]
    WrongState(OutboxId, &'static str),
    /// The conversation never received a message.
    #[error("this conversation never received a message")]
    UnknownSession,
    /// Nothing in the conversation is parked, interrupted or waiting.
    #[error("there is nothing to resume in this session: {0}")]
    NothingToResume(&'static str),
    /// There is no such job.
    #[error("there is no job {0}")]
    UnknownJob(JobId),
    /// A job's schedule or time zone cannot be read.
    #[error(transparent)]
    InvalidSchedule(#[from] InvalidSchedule),
    /// There is no room for one more job.
    #[error("there are {0} jobs, and no more than that are taken: remove one first")]
    TooManyJobs(usize),
    /// The actor that would do it is being restarted, or is too busy to answer in time.
    #[error("the runtime could not take the command just now; it may be sent again")]
    Busy,
    /// A saved login could not be removed.
    #[error(transparent)]
    Logins(#[from] LoginsError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountView {
    /// What the account says of itself, and what the store says of it.
    pub(crate) fn new(status: AccountStatus, counts: Counts) -> Self {
        let gaps = Gaps { count: counts.gaps, last: status.symptoms.last_gap.clone() };
        Self { status, gaps, counts }
    }
}

impl StoreStatus {
    /// What the store says of itself.
    pub(crate) fn of(health: &Health) -> Self {
        match health {
            Health::Ok => Self { state: "ok", message: None },
            Health::Full => Self { state: "full", message: Some("the disk is full".to_owned()) },
            Health::Failed(why) => Self { state: "failed", message: Some(why.clone()) },
        }
    }
}

impl Handle {
    /// Everything, with counts from the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let mut counts = self.store.counts().await?;
        let accounts = self.views(&mut counts);
        let cron = self.cron_status().await?;
        let store = self.store_status();
        Ok(Status {
            version: self.version,
            pid: std::process::id(),
            boot: self.boot.clone(),
            started_at: self.started_at,
            ready: self.readiness().is_ok(),
            turns: Turns { running: self.board.turns(), waiting: self.board.waiting() },
            agents: self.board.agents(),
            store,
            config: self.config_status.read().clone(),
            accounts,
            cron,
            orphaned: repair::orphans(counts),
        })
    }

    /// Every account, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn accounts(&self) -> Result<Vec<AccountView>, StoreError> {
        Ok(self.views(&mut self.store.counts().await?))
    }

    /// Takes the counts of every account that is configured.
    fn views(&self, counts: &mut BTreeMap<AccountId, Counts>) -> Vec<AccountView> {
        let views = self.board.accounts().into_iter().map(|status| {
            let counts = counts.remove(&status.id).unwrap_or_default();
            AccountView::new(status, counts)
        });
        views.collect()
    }

    /// One account.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot be read.
    pub async fn account(&self, id: &AccountId) -> Result<AccountView, CommandError> {
        let status = self.board.account(id).ok_or_else(|| CommandError::UnknownAccount(id.clone()))?;
        let counts = self.store.counts().await?.remove(id).unwrap_or_default();
        Ok(AccountView::new(status, counts))
    }

    /// Everything that is wrong, and every account with the evidence that it lives.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn doctor(&self) -> Result<Report, StoreError> {
        let mut counts = self.store.counts().await?;
        let accounts = self.views(&mut counts);
        let (mut waiting, mut unclaimed) = (Vec::new(), Vec::new());
        for view in &accounts {
            let id = &view.status.id;
            if view.counts.outbox > 0 && view.status.state != AccountState::Stopped {
                waiting.extend(self.store.outbox_heads(id, HEADS_EXAMINED).await?);
            }
            if view.counts.pending > 0 && view.status.state == AccountState::Ready {
                unclaimed.extend(self.longest_unclaimed(id).await?);
            }
        }
        let parked_turns = self.store.listing().parked(PARKED_EXAMINED).await?;
        let machine = self.machine.look().await;
        let now = self.moment();
        let jobs = self.jobs().await?;
        let snapshot = Snapshot {
            jobs: &jobs,
            waiting: &waiting,
            agents: &self.board.agents(),
            orphaned: &repair::orphans(counts),
            now,
            store: &self.store_status(),
            config: &self.config_status.read().clone(),
            accounts: &accounts,
            verdicts: &self.board.verdicts(),
            turns: &self.board.running().snapshot(),
            unclaimed: &unclaimed,
            parked_turns: &parked_turns,
            actors: &self.tree.snapshot(),
            machine: &machine,
            alerts: &self.board.alerts(),
        };
        let findings = doctor::examine(&snapshot);
        Ok(Report { healthy: findings.is_empty(), checked_at: now.wall, findings, accounts })
    }

    /// Of the messages that wait for a turn and whose conversation has none, the one that was received first.
    async fn longest_unclaimed(&self, id: &AccountId) -> Result<Option<InboxRow>, StoreError> {
        let waiting = self.store.conversations_with_work(Some(id), InboxId::new(0), 1).await?;
        let Some(first) = waiting.first() else { return Ok(None) };
        Ok(self.store.listing().inbox_row(first.since).await?.map(|entry| entry.row))
    }

    /// Now, by every clock.
    pub(crate) fn moment(&self) -> Now {
        Now { wall: self.clock.wall(), monotonic: self.clock.now(), with_sleep: self.clock.with_sleep() }
    }

    /// Whether every wanted account is ready and the store takes commits.
    ///
    /// # Errors
    /// The reasons, when not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        let mut reasons = Vec::new();
        if self.board.is_draining() {
            reasons.push("the process is shutting down".to_owned());
        }
        let store = self.store_status();
        if let Some(message) = store.message {
            reasons.push(format!("store is {}: {message}", store.state));
        }
        for account in self.board.accounts() {
            if !matches!(account.state, AccountState::Ready | AccountState::Stopped) {
                let cause = account.cause.map(|cause| format!(": {}", cause.message)).unwrap_or_default();
                reasons.push(format!("{} is {}{cause}", account.id, account.state));
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn store_status(&self) -> StoreStatus {
        StoreStatus::of(&self.store.health().borrow())
    }

    /// Every actor.
    pub fn tree(&self) -> Vec<Node> {
        self.tree.snapshot()
    }

    /// The board itself.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The registry of actors itself, for fault drills.
    pub fn drills(&self) -> &Tree {
        &self.tree
    }

    /// Now, by the runtime's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Starts an account that is stopped. `false` when it runs already: then nothing has happened (F-083).
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn start(&self, id: &AccountId) -> Result<bool, CommandError> {
        self.known(id)?;
        self.command(StartAccount(id.clone())).await
    }

    /// Stops an account until it is started again or the process restarts. `false` when it is stopped already.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn stop(&self, id: &AccountId) -> Result<bool, CommandError> {
        self.known(id)?;
        self.command(StopAccount(id.clone())).await
    }

    /// Gives every actor of an account a new life; `true`, for that is always a change.
    ///
    /// # Errors
    /// When it does not exist or is stopped.
    pub async fn restart(&self, id: &AccountId) -> Result<bool, CommandError> {
        self.known(id)?;
        if self.command(RestartAccount(id.clone())).await? {
            Ok(true)
        } else {
            Err(CommandError::IsStopped(id.clone()))
        }
    }

    /// Asks for a sign of life and for the identity, or, while the account waits to try again, tries now; `true`.
    ///
    /// # Errors
    /// When it does not exist or is stopped.
    pub async fn probe(&self, id: &AccountId) -> Result<bool, CommandError> {
        self.known(id)?;
        if self.command(ProbeAccount(id.clone())).await? {
            Ok(true)
        } else {
            Err(CommandError::IsStopped(id.clone()))
        }
    }

    /// Puts a message into the outbox. A key used before answers with the message of that time, whatever the text.
    ///
    /// # Errors
    /// When the account does not exist or the store refuses.
    pub async fn send(
        &self,
        id: &AccountId,
        to: ChatId,
        text: String,
        key: Option<IdempotencyKey>,
    ) -> Result<Enqueued, CommandError> {
        self.known(id)?;
        let (row, repeated) = self.command(Enqueue { account: id.clone(), to, text, key }).await??;
        let state = self.store.outbox_row(row).await?.map_or(OutboxState::Ready, |row| row.state);
        Ok(Enqueued { id: row, state, repeated })
    }

    /// Reads the configuration file now, and applies what changed in it.
    ///
    /// # Errors
    /// When the file is wrong: then nothing has changed.
    pub async fn reload(&self) -> Result<Applied, ReloadError> {
        if self.config_file.is_none() {
            return Err(ReloadError::NoFile);
        }
        match tokio::time::timeout(RELOAD_DEADLINE, self.config.send(Reload)).await {
            Ok(Ok(applied)) => applied,
            Ok(Err(_)) | Err(_) => Err(CommandError::Busy.into()),
        }
    }

    /// Makes this the configuration in use, wherever it comes from.
    ///
    /// # Errors
    /// When the store refuses to take new accounts over.
    pub async fn apply(
        &self,
        config: Config,
        plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    ) -> Result<Applied, ReloadError> {
        reload::apply(&self.accounts, config, plans).await
    }

    /// Asks the process to end.
    pub fn shutdown(&self) {
        self.exits.request(ExitReason::Shutdown);
    }

    /// Whether a fresh process could start: what it could not start with must not end this one (F-079).
    ///
    /// # Errors
    /// When the configuration file is wrong.
    pub async fn may_restart(&self) -> Result<(), ReloadError> {
        match &self.config_file {
            Some(file) => reload::check(file).await,
            None => Ok(()),
        }
    }

    /// Asks for a fresh process in the place of this one.
    pub fn replace(&self) {
        self.exits.request(ExitReason::Restart);
    }

    /// What the request under this idempotency key was answered with.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn answer(&self, key: &str) -> Result<Option<RequestAnswer>, StoreError> {
        self.store.answer(key).await
    }

    /// Remembers the answer to a request under its idempotency key.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn remember(&self, key: &str, answer: RequestAnswer) -> Result<(), StoreError> {
        let op = Op::RememberAnswer { key: key.to_owned(), answer };
        self.store.commit(Tx::global(self.clock.wall(), [op])).await.map(drop)
    }

    /// Why the process is to end, if it is.
    pub fn exit_reason(&self) -> Option<ExitReason> {
        self.exits.asked()
    }

    /// Resolves when somebody has asked the process to end.
    pub async fn exit_requested(&self) -> ExitReason {
        self.exits.requested().await
    }

    fn known(&self, id: &AccountId) -> Result<(), CommandError> {
        match self.board.account(id) {
            Some(_) => Ok(()),
            None => Err(CommandError::UnknownAccount(id.clone())),
        }
    }

    async fn command<M>(&self, message: M) -> Result<M::Result, CommandError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Accounts: Handler<M>,
    {
        // An actor that is just being started or restarted is worth a moment.
        let sending = async {
            let (_, accounts) = self.accounts.ready().await;
            accounts.send(message).await
        };
        match tokio::time::timeout(COMMAND_DEADLINE, sending).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(CommandError::Busy),
        }
    }

    /// Sessions, received messages and messages of ours, a page at a time.
    pub fn listing(&self) -> &dyn Listing {
        self.store.listing()
    }

    /// The last `limit` entries of a conversation's transcript, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.transcript(account, conversation, limit).await
    }

    /// The times in which messages for the account may have been lost, the one recorded last first; the last
    /// [`LONGEST_PAGE`] of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn gaps(&self, account: &AccountId) -> Result<Vec<Gap>, StoreError> {
        let page = Page { before: None, limit: LONGEST_PAGE };
        Ok(self.store.listing().gaps(Some(account), page).await?.rows)
    }

    /// One message of ours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn outbox_row(&self, id: OutboxId) -> Result<Option<OutboxRow>, StoreError> {
        self.store.outbox_row(id).await
    }
}
