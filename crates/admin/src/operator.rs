//! What an operator may see and do.

use futures_util::future::LocalBoxFuture;
use moorline_core::{AccountId, ChatId, ConversationId, IdempotencyKey, JobId, OutboxId, Secret};
use moorline_runtime::supervision::Node;
use moorline_runtime::{
    AccountView, AddJob, Applied, CommandError, Discarded, Enqueued, Entry, EventScope, Handle, JobView,
    Listed, Listing, LoginView, NotReady, OutboxRow, Page, Pulses, ReloadError, Report, RequestAnswer,
    Resumed, Retained, RunRow, Status, StoreError, Subscription, Vitals,
};

use crate::code::Code;

/// The calls behind the routes. The server's thread makes them, so they must not depend on the thread the actors
/// run on.
pub(crate) trait Operator: Send + Sync {
    fn status(&self) -> LocalBoxFuture<'_, Result<Status, StoreError>>;
    fn doctor(&self) -> LocalBoxFuture<'_, Result<Report, StoreError>>;
    fn accounts(&self) -> LocalBoxFuture<'_, Result<Vec<AccountView>, StoreError>>;
    fn account<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<AccountView, CommandError>>;
    fn events(&self, scope: &EventScope) -> (Retained, Subscription);
    fn readiness(&self) -> Result<(), NotReady>;
    fn tree(&self) -> Vec<Node>;
    fn vitals(&self) -> LocalBoxFuture<'_, Vitals>;
    fn pulses(&self) -> &Pulses;
    fn command<'a>(&'a self, id: &'a AccountId, verb: Verb)
    -> LocalBoxFuture<'a, Result<bool, CommandError>>;
    fn send<'a>(
        &'a self,
        id: &'a AccountId,
        to: ChatId,
        text: String,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'a, Result<Enqueued, CommandError>>;
    fn login<'a>(
        &'a self,
        id: &'a AccountId,
        code: Option<Secret>,
    ) -> LocalBoxFuture<'a, Result<LoginView, CommandError>>;
    fn login_state<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>>;
    fn give_login_up<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>>;
    fn reload(&self) -> LocalBoxFuture<'_, Result<Applied, ReloadError>>;
    fn may_restart(&self) -> LocalBoxFuture<'_, Result<(), ReloadError>>;
    fn end(&self, restart: bool);
    fn answer<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<RequestAnswer>, StoreError>>;
    fn remember<'a>(
        &'a self,
        key: &'a str,
        answer: RequestAnswer,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>>;
    fn listing(&self) -> &dyn Listing;
    fn transcript<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
        limit: u32,
    ) -> LocalBoxFuture<'a, Result<Vec<Entry>, StoreError>>;
    fn outbox_row(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<Option<OutboxRow>, StoreError>>;
    fn retry_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>>;
    fn discard_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>>;
    fn resume_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Resumed, CommandError>>;
    fn reset_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Option<i64>, CommandError>>;
    fn discard_rows<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<Discarded, CommandError>>;
    fn jobs(&self) -> LocalBoxFuture<'_, Result<Vec<JobView>, StoreError>>;
    fn job(&self, id: JobId) -> LocalBoxFuture<'_, Result<JobView, CommandError>>;
    fn runs(&self, job: JobId, page: Page) -> LocalBoxFuture<'_, Result<Listed<RunRow>, StoreError>>;
    fn add_job(&self, job: AddJob) -> LocalBoxFuture<'_, Result<(JobView, bool), CommandError>>;
    fn remove_job(&self, id: JobId) -> LocalBoxFuture<'_, Result<(), CommandError>>;
    fn switch_job(&self, id: JobId, enabled: bool) -> LocalBoxFuture<'_, Result<JobView, CommandError>>;
    fn run_job(
        &self,
        id: JobId,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'_, Result<RunRow, CommandError>>;
}

/// What can be done to one account (F-084).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Probe,
}

impl Verb {
    pub(crate) const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Restart, Self::Probe];

    /// As it is written in a path.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Probe => "probe",
        }
    }

    /// What it is for.
    pub(crate) const fn summary(self) -> &'static str {
        match self {
            Self::Start => "Starts an account that is stopped.",
            Self::Stop => "Stops an account until it is started again or the process restarts.",
            Self::Restart => "Gives every actor of an account a new life.",
            Self::Probe => "Asks an account for signs of life, or lets it try again now.",
        }
    }

    /// What it is refused for in the wrong state.
    pub(crate) const fn refusals(self) -> &'static [Code] {
        match self {
            Self::Start | Self::Stop => &[],
            Self::Restart | Self::Probe => &[Code::AccountStopped],
        }
    }

    /// What has happened when it changed something.
    pub(crate) const fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Probe => "asked for signs of life",
        }
    }

    /// Why it changed nothing.
    pub(crate) const fn nothing_to_do(self) -> &'static str {
        match self {
            Self::Stop => "it is stopped already",
            Self::Start | Self::Restart | Self::Probe => "it is started already",
        }
    }
}

impl Operator for Handle {
    fn status(&self) -> LocalBoxFuture<'_, Result<Status, StoreError>> {
        Box::pin(Self::status(self))
    }

    fn doctor(&self) -> LocalBoxFuture<'_, Result<Report, StoreError>> {
        Box::pin(Self::doctor(self))
    }

    fn accounts(&self) -> LocalBoxFuture<'_, Result<Vec<AccountView>, StoreError>> {
        Box::pin(Self::accounts(self))
    }

    fn account<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<AccountView, CommandError>> {
        Box::pin(Self::account(self, id))
    }

    fn events(&self, scope: &EventScope) -> (Retained, Subscription) {
        Self::events(self, scope)
    }

    fn readiness(&self) -> Result<(), NotReady> {
        Self::readiness(self)
    }

    fn tree(&self) -> Vec<Node> {
        Self::tree(self)
    }

    fn vitals(&self) -> LocalBoxFuture<'_, Vitals> {
        Box::pin(Self::vitals(self))
    }

    fn pulses(&self) -> &Pulses {
        Self::pulses(self)
    }

    fn command<'a>(
        &'a self,
        id: &'a AccountId,
        verb: Verb,
    ) -> LocalBoxFuture<'a, Result<bool, CommandError>> {
        match verb {
            Verb::Start => Box::pin(self.start(id)),
            Verb::Stop => Box::pin(self.stop(id)),
            Verb::Restart => Box::pin(self.restart(id)),
            Verb::Probe => Box::pin(self.probe(id)),
        }
    }

    fn send<'a>(
        &'a self,
        id: &'a AccountId,
        to: ChatId,
        text: String,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'a, Result<Enqueued, CommandError>> {
        Box::pin(Self::send(self, id, to, text, key))
    }

    fn login<'a>(
        &'a self,
        id: &'a AccountId,
        code: Option<Secret>,
    ) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(Self::login(self, id, code))
    }

    fn login_state<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(Self::login_state(self, id))
    }

    fn give_login_up<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(Self::give_login_up(self, id))
    }

    fn reload(&self) -> LocalBoxFuture<'_, Result<Applied, ReloadError>> {
        Box::pin(Self::reload(self))
    }

    fn may_restart(&self) -> LocalBoxFuture<'_, Result<(), ReloadError>> {
        Box::pin(Self::may_restart(self))
    }

    fn end(&self, restart: bool) {
        if restart { self.replace() } else { self.shutdown() }
    }

    fn answer<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<RequestAnswer>, StoreError>> {
        Box::pin(Self::answer(self, key))
    }

    fn remember<'a>(
        &'a self,
        key: &'a str,
        answer: RequestAnswer,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        Box::pin(Self::remember(self, key, answer))
    }

    fn listing(&self) -> &dyn Listing {
        Self::listing(self)
    }

    fn transcript<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
        limit: u32,
    ) -> LocalBoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        Box::pin(Self::transcript(self, account, conversation, limit))
    }

    fn outbox_row(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<Option<OutboxRow>, StoreError>> {
        Box::pin(Self::outbox_row(self, id))
    }

    fn retry_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>> {
        Box::pin(Self::retry_send(self, id))
    }

    fn discard_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>> {
        Box::pin(Self::discard_send(self, id))
    }

    fn resume_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Resumed, CommandError>> {
        Box::pin(Self::resume_session(self, account, conversation))
    }

    fn reset_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Option<i64>, CommandError>> {
        Box::pin(Self::reset_session(self, account, conversation))
    }

    fn discard_rows<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<Discarded, CommandError>> {
        Box::pin(Self::discard_rows(self, id))
    }

    fn jobs(&self) -> LocalBoxFuture<'_, Result<Vec<JobView>, StoreError>> {
        Box::pin(Self::jobs(self))
    }

    fn job(&self, id: JobId) -> LocalBoxFuture<'_, Result<JobView, CommandError>> {
        Box::pin(Self::job(self, id))
    }

    fn runs(&self, job: JobId, page: Page) -> LocalBoxFuture<'_, Result<Listed<RunRow>, StoreError>> {
        Box::pin(Self::runs(self, job, page))
    }

    fn add_job(&self, job: AddJob) -> LocalBoxFuture<'_, Result<(JobView, bool), CommandError>> {
        Box::pin(Self::add_job(self, job))
    }

    fn remove_job(&self, id: JobId) -> LocalBoxFuture<'_, Result<(), CommandError>> {
        Box::pin(Self::remove_job(self, id))
    }

    fn switch_job(&self, id: JobId, enabled: bool) -> LocalBoxFuture<'_, Result<JobView, CommandError>> {
        Box::pin(Self::switch_job(self, id, enabled))
    }

    fn run_job(
        &self,
        id: JobId,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'_, Result<RunRow, CommandError>> {
        Box::pin(Self::run_job(self, id, key))
    }
}
