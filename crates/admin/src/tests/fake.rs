//! An operator's side with one account, `feishu:main`, and a list of what it was asked to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture, ready};
use moorline_core::{
    AccountId, AccountState, BootId, Chat, ChatId, ChatKind, ConversationId, DropReason, EventId, Evidence,
    GapId, Generation, HoldReason, IdempotencyKey, IdentityState, InboxId, JobId, Outbound, OutboxId, Route,
    RunId, Secret, Timestamp, TurnId,
};
use moorline_runtime::supervision::Node;
use moorline_runtime::{
    AccountStatus, AccountView, ActiveTurn, AddJob, Applied, CommandError, ConfigStatus, Counts, CronStatus,
    Delivery, Discarded, Enqueued, Entry, EventScope, Events, Gap, GapKind, Gaps, IdentityStatus, InboxEntry,
    InboxFilter, InboxRow, InboxState, JobKind, JobRow, JobView, Listed, Listing, LoginView, Measurements,
    MissedPolicy, NewGap, NewJob, NotReady, Orphan, OutboxFilter, OutboxRow, OutboxState, Page, Pulses,
    Receipt, ReloadError, Report, RequestAnswer, Resumed, ResumedFrom, Retained, Role, RunResult, RunRow,
    SessionFilter, SessionRow, Status, StoreError, StoreStatus, Subscription, Trace, Traced, TurnEntry,
    TurnState, Turns, Vitals,
};
use parking_lot::Mutex;

use crate::operator::{Operator, Verb};

/// What is to be scanned for a login.
pub(super) const QR: &str = "https://scan.test/qQ7credential";

#[derive(Debug, Default)]
pub(super) struct Fake {
    /// What was done, in order.
    pub(super) done: Mutex<Vec<String>>,
    /// What the next commands answer with, instead of doing anything.
    pub(super) refuses: Mutex<Option<CommandError>>,
    /// Why it is not ready.
    pub(super) reasons: Mutex<NotReady>,
    /// What lists were asked for, in order.
    pub(super) listed: Mutex<Vec<String>>,
    /// Whether looking at the tree panics.
    pub(super) panics: bool,
    /// How long it takes to answer for an account.
    pub(super) delay: Duration,
    /// Answers that are remembered, by key.
    pub(super) answers: Mutex<BTreeMap<String, RequestAnswer>>,
    /// Whether commands to the account find nothing to do.
    pub(super) is_so_already: bool,
    /// Whether its configuration is wrong.
    pub(super) cannot_restart: bool,
    /// What watchers are told.
    pub(super) feed: Events,
    /// How often it was asked for one.
    pub(super) asked: AtomicUsize,
    /// Signs of life of the server's thread.
    pub(super) pulses: Pulses,
    /// What was measured.
    pub(super) measured: Measurements,
    /// The actors that there are, for numbers only.
    pub(super) actors: Vec<Node>,
}

impl Fake {
    pub(super) fn refusing(error: CommandError) -> Self {
        Self { refuses: Mutex::new(Some(error)), ..Self::default() }
    }

    async fn known(&self, id: &AccountId) -> Result<(), CommandError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if *id != main() {
            return Err(CommandError::UnknownAccount(id.clone()));
        }
        self.refuses.lock().clone().map_or(Ok(()), Err)
    }
}

pub(super) fn main() -> AccountId {
    "feishu:main".parse().unwrap()
}

fn gap() -> Gap {
    let (from, to) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    let gap = NewGap { from, to, kind: GapKind::Outage, why: "nothing heard".to_owned() };
    Gap { id: GapId::new(3), account: main(), gap, recorded_at: to }
}

fn view() -> AccountView {
    let since = Timestamp::from_millis(0);
    let identity = IdentityStatus {
        state: IdentityState::Verified,
        id: None,
        name: Some("Bot".to_owned()),
        since,
        attempt: 0,
        next_attempt_at: None,
        last_error: None,
    };
    let status = AccountStatus {
        id: main(),
        channel: "feishu".to_owned(),
        state: AccountState::Ready,
        since,
        down_since: None,
        generation: Generation::FIRST,
        cause: None,
        blocked: None,
        attempt: 0,
        next_attempt_at: None,
        symptoms: Default::default(),
        identity,
        token: None,
        login: None,
        evidence: Evidence::default(),
        skipped: 0,
        suspicion: None,
    };
    AccountView { status, gaps: Gaps { count: 1, last: Some(gap()) }, counts: Counts::default() }
}

impl Operator for Fake {
    fn status(&self) -> LocalBoxFuture<'_, Result<Status, StoreError>> {
        Box::pin(async {
            Ok(Status {
                version: "1.2.3",
                pid: 7,
                boot: BootId::new("boot"),
                started_at: Timestamp::from_millis(0),
                ready: true,
                turns: Turns { running: 0, waiting: 0 },
                store: StoreStatus { state: "ok", message: None },
                config: ConfigStatus::default(),
                agents: BTreeMap::new(),
                accounts: vec![view()],
                cron: CronStatus { jobs: 1, next_due: Some(Timestamp::from_millis(0)) },
                orphaned: vec![Orphan {
                    id: "feishu:old".parse().unwrap(),
                    counts: Counts { received: 2, pending: 2, ..Counts::default() },
                }],
            })
        })
    }

    fn doctor(&self) -> LocalBoxFuture<'_, Result<Report, StoreError>> {
        let checked_at = Timestamp::from_millis(0);
        Box::pin(async move {
            Ok(Report { healthy: true, checked_at, findings: Vec::new(), accounts: vec![view()] })
        })
    }

    fn accounts(&self) -> LocalBoxFuture<'_, Result<Vec<AccountView>, StoreError>> {
        Box::pin(async { Ok(vec![view()]) })
    }

    fn account<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<AccountView, CommandError>> {
        Box::pin(async move { self.known(id).await.map(|()| view()) })
    }

    fn events(&self, scope: &EventScope) -> (Retained, Subscription) {
        let events = self.feed.subscribe(scope);
        let retained = Retained {
            seq: events.after(),
            at: Timestamp::from_millis(0),
            version: "1.2.3",
            pid: 7,
            boot: BootId::new("boot"),
            started_at: Timestamp::from_millis(0),
            ready: true,
            draining: false,
            store: StoreStatus { state: "ok", message: None },
            config: ConfigStatus::default(),
            agents: BTreeMap::new(),
            accounts: vec![view().status],
        };
        (retained, events)
    }

    fn readiness(&self) -> Result<(), NotReady> {
        let reasons = self.reasons.lock().clone();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn tree(&self) -> Vec<Node> {
        assert!(!self.panics, "drill");
        Vec::new()
    }

    fn vitals(&self) -> LocalBoxFuture<'_, Vitals> {
        Box::pin(ready(Vitals {
            version: "1.2.3",
            started_at: Timestamp::from_millis(0),
            now: Timestamp::from_millis(90_500),
            ready: self.reasons.lock().is_empty(),
            turns: Turns { running: 0, waiting: 0 },
            store: StoreStatus { state: "ok", message: None },
            stored: None,
            agents: BTreeMap::new(),
            accounts: vec![view().status],
            counts: None,
            findings: None,
            actors: self.actors.clone(),
            conversations_limit: 4_096,
            measured: self.measured.clone(),
            heartbeats: self.pulses.ages(),
        }))
    }

    fn pulses(&self) -> &Pulses {
        &self.pulses
    }

    fn command<'a>(
        &'a self,
        id: &'a AccountId,
        verb: Verb,
    ) -> LocalBoxFuture<'a, Result<bool, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            self.done.lock().push(format!("{} {id}", verb.name()));
            Ok(!self.is_so_already)
        })
    }

    fn send<'a>(
        &'a self,
        id: &'a AccountId,
        to: ChatId,
        text: String,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'a, Result<Enqueued, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
            let message = format!("send {id} {to} {text} {key}");
            let mut done = self.done.lock();
            let repeated = done.contains(&message);
            done.push(message);
            Ok(Enqueued { id: OutboxId::new(41), state: OutboxState::Ready, repeated })
        })
    }

    fn login<'a>(
        &'a self,
        id: &'a AccountId,
        code: Option<Secret>,
    ) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            self.done.lock().push(format!("login {id} {}", code.is_some()));
            Ok(LoginView { qr: Some(Secret::new(QR)), ..LoginView::starting() })
        })
    }

    fn login_state<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            Ok(LoginView::none())
        })
    }

    fn give_login_up<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<LoginView, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            self.done.lock().push(format!("give up {id}"));
            Ok(LoginView::none())
        })
    }

    fn reload(&self) -> LocalBoxFuture<'_, Result<Applied, ReloadError>> {
        self.done.lock().push("reload".to_owned());
        Box::pin(async { Err(ReloadError::Invalid(vec!["moorline.toml:3:1: unknown key".to_owned()])) })
    }

    fn end(&self, restart: bool) {
        self.done.lock().push(if restart { "restart" } else { "shutdown" }.to_owned());
    }

    fn answer<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<RequestAnswer>, StoreError>> {
        Box::pin(async move { Ok(self.answers.lock().get(key).cloned()) })
    }

    fn remember<'a>(
        &'a self,
        key: &'a str,
        answer: RequestAnswer,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        self.answers.lock().insert(key.to_owned(), answer);
        Box::pin(async { Ok(()) })
    }

    fn may_restart(&self) -> LocalBoxFuture<'_, Result<(), ReloadError>> {
        Box::pin(async { if self.cannot_restart { Err(ReloadError::Invalid(Vec::new())) } else { Ok(()) } })
    }

    fn listing(&self) -> &dyn Listing {
        self
    }

    fn transcript<'a>(
        &'a self,
        _: &'a AccountId,
        conversation: &'a ConversationId,
        limit: u32,
    ) -> LocalBoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let text = format!("the last {limit} of {conversation}");
        Box::pin(async { Ok(vec![Entry { role: Role::User, text, at: Timestamp::from_millis(0) }]) })
    }

    fn outbox_row(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<Option<OutboxRow>, StoreError>> {
        Box::pin(async move { Ok((id.get() == 41).then(ours)) })
    }

    fn retry_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>> {
        Box::pin(self.on_ours("retry", id))
    }

    fn discard_send(&self, id: OutboxId) -> LocalBoxFuture<'_, Result<OutboxRow, CommandError>> {
        Box::pin(self.on_ours("discard", id))
    }

    fn resume_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Resumed, CommandError>> {
        Box::pin(async move {
            self.known(account).await?;
            self.done.lock().push(format!("resume {conversation}"));
            Ok(Resumed { from: ResumedFrom::Parked, messages: 2, waits_for_channel: false })
        })
    }

    fn reset_session<'a>(
        &'a self,
        account: &'a AccountId,
        conversation: &'a ConversationId,
    ) -> LocalBoxFuture<'a, Result<Option<i64>, CommandError>> {
        Box::pin(async move {
            self.known(account).await?;
            self.done.lock().push(format!("reset {conversation}"));
            Ok(Some(3))
        })
    }

    fn discard_rows<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<Discarded, CommandError>> {
        Box::pin(async move {
            if *id == main() {
                return Err(CommandError::Configured(main()));
            }
            self.done.lock().push(format!("discard rows of {id}"));
            Ok(Discarded { id: id.clone(), done: true, counts: Counts::default(), login_removed: true })
        })
    }

    fn jobs(&self) -> LocalBoxFuture<'_, Result<Vec<JobView>, StoreError>> {
        Box::pin(async { Ok(vec![job()]) })
    }

    fn job(&self, id: JobId) -> LocalBoxFuture<'_, Result<JobView, CommandError>> {
        Box::pin(self.on_job("show", id))
    }

    fn runs(&self, job: JobId, page: Page) -> LocalBoxFuture<'_, Result<Listed<RunRow>, StoreError>> {
        Box::pin(self.listed(format!("runs of {job} {page:?}"), run()))
    }

    fn add_job(&self, job: AddJob) -> LocalBoxFuture<'_, Result<(JobView, bool), CommandError>> {
        Box::pin(async move {
            self.known(&job.account).await?;
            let (missed, delay) = (job.missed.as_str(), job.max_delay.as_secs());
            let key = job.key.map_or_else(|| "-".to_owned(), |key| key.to_string());
            let asked = format!(
                "add {} {} {} {} {} {missed} {delay} {key}",
                job.to,
                job.schedule,
                job.zone,
                job.kind.as_str(),
                job.body
            );
            let mut done = self.done.lock();
            let repeated = done.contains(&asked);
            done.push(asked);
            Ok((self::job(), repeated))
        })
    }

    fn remove_job(&self, id: JobId) -> LocalBoxFuture<'_, Result<(), CommandError>> {
        Box::pin(async move { self.on_job("remove", id).await.map(|_| ()) })
    }

    fn switch_job(&self, id: JobId, enabled: bool) -> LocalBoxFuture<'_, Result<JobView, CommandError>> {
        Box::pin(self.on_job(if enabled { "enable" } else { "disable" }, id))
    }

    fn run_job(
        &self,
        id: JobId,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'_, Result<RunRow, CommandError>> {
        Box::pin(async move {
            let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
            self.on_job(&format!("run {key}"), id).await.map(|_| run())
        })
    }
}

/// Job 5: sends good morning, and did so once.
fn job() -> JobView {
    let job = NewJob {
        name: None,
        account: main(),
        chat: ChatId::new("oc_1"),
        schedule: "0 9 * * *".to_owned(),
        zone: "Asia/Shanghai".to_owned(),
        kind: JobKind::Text,
        body: "good morning".to_owned(),
        missed: MissedPolicy::Once,
        max_delay_ms: 3_600_000,
        next_due: Some(Timestamp::from_millis(3_600_000)),
        key: None,
    };
    let (created_at, enabled_at) = (Timestamp::from_millis(0), Timestamp::from_millis(0));
    let row = JobRow { id: JobId::new(5), job, enabled: true, reason: None, created_at, enabled_at };
    JobView {
        row,
        account_gone: false,
        failures: 0,
        failure: None,
        last: Some(run()),
        next_local: Some("1970-01-01 09:00:00 +08:00".to_owned()),
    }
}

fn run() -> RunRow {
    let due = Timestamp::from_millis(0);
    RunRow {
        id: RunId::new(9),
        job: JobId::new(5),
        due,
        until: due,
        count: 1,
        by_operator: false,
        at: Timestamp::from_millis(120_000),
        result: RunResult::Ok,
        delivery: Delivery::Held,
        reason: None,
        inbox: None,
        outbox: Some(OutboxId::new(41)),
    }
}

/// The conversation of everything in the lists; as awkward in a path as a platform could make it.
pub(super) const CONVERSATION: &str = "oc/1%2F+ ü?#";

pub(super) fn session() -> SessionRow {
    let since = Timestamp::from_millis(0);
    SessionRow {
        account: main(),
        conversation: ConversationId::new(CONVERSATION),
        latest: InboxId::new(7),
        active_at: since,
        received: 4,
        answered: 1,
        dropped: 1,
        held: 1,
        pending: 1,
        entries: 2,
        turn: Some(ActiveTurn { id: TurnId::new(3), state: TurnState::Interrupted, attempt: 2, since }),
    }
}

pub(super) fn received() -> InboxEntry {
    let row = InboxRow {
        id: InboxId::new(7),
        account: main(),
        conversation: ConversationId::new(CONVERSATION),
        event_id: EventId::new("e7"),
        message_id: None,
        chat: Chat { id: ChatId::new("oc_1"), kind: ChatKind::Group },
        route: Route { chat: ChatId::new("oc_1"), reply_to: None, in_thread: false },
        text: "hello".to_owned(),
        context: r#"{"sender":"ou_1"}"#.to_owned(),
        received_at: Timestamp::from_millis(0),
        state: InboxState::Dropped(DropReason::NotMentioned),
    };
    InboxEntry { row, written_at: None, settled_at: Some(Timestamp::from_millis(0)), raw_bytes: 321 }
}

fn ours() -> OutboxRow {
    let route = Route { chat: ChatId::new("oc_1"), reply_to: None, in_thread: false };
    OutboxRow {
        id: OutboxId::new(41),
        account: main(),
        conversation: ConversationId::new(CONVERSATION),
        turn: None,
        outbound: Outbound { route, text: "hello".to_owned() },
        key: IdempotencyKey::new("k"),
        state: OutboxState::Sent,
        possibly_repeated: false,
        attempts: 1,
        first_attempt_at: None,
        not_before: Timestamp::from_millis(0),
        last_error: None,
        message_id: None,
        created_at: Timestamp::from_millis(0),
        sent_at: None,
        doubted: false,
        ended_at: None,
        retried_at: None,
        held_at: None,
        released_at: None,
        repeats: 0,
        delivery_doubted: true,
    }
}

/// The life of message 7: held, dropped when it was judged, delivered three times.
fn life() -> Trace {
    let mut entry = received();
    entry.settled_at = Some(Timestamp::from_millis(60_000));
    let at = |seconds: i64| Timestamp::from_millis(1_000 * seconds);
    let turn = TurnEntry {
        id: TurnId::new(3),
        account: main(),
        conversation: ConversationId::new(CONVERSATION),
        inputs: vec![InboxId::new(7)],
        state: TurnState::Parked,
        attempt: 3,
        started_at: at(70),
        interrupted_at: Some(at(71)),
        resumed_at: Some(at(72)),
        ended_at: Some(at(80)),
    };
    let sent = OutboxRow {
        created_at: at(80),
        ended_at: Some(at(81)),
        retried_at: Some(at(90)),
        sent_at: Some(at(91)),
        last_error: Some("refused".to_owned()),
        ..ours()
    };
    let judged = Some((HoldReason::Identity, at(60)));
    let receipt = Receipt { entry, repeats: 2, repeated_at: Some(at(30)), judged };
    Trace { received: vec![receipt], turns: vec![turn], ours: vec![sent] }
}

impl Fake {
    async fn on_job(&self, what: &str, id: JobId) -> Result<JobView, CommandError> {
        self.refuses.lock().clone().map_or(Ok(()), Err)?;
        if id.get() != 5 {
            return Err(CommandError::UnknownJob(id));
        }
        self.done.lock().push(format!("{what} {id}"));
        Ok(job())
    }

    async fn on_ours(&self, what: &str, id: OutboxId) -> Result<OutboxRow, CommandError> {
        self.refuses.lock().clone().map_or(Ok(()), Err)?;
        if id.get() != 41 {
            return Err(CommandError::UnknownMessage(id));
        }
        self.done.lock().push(format!("{what} {id}"));
        Ok(ours())
    }

    fn listed<T: Send + 'static>(
        &self,
        asked: String,
        row: T,
    ) -> BoxFuture<'static, Result<Listed<T>, StoreError>> {
        self.listed.lock().push(asked);
        ready(Ok(Listed { rows: vec![row], next: Some(7) })).boxed()
    }
}

impl Listing for Fake {
    fn sessions(
        &self,
        filter: &SessionFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<SessionRow>, StoreError>> {
        self.listed(format!("{filter:?} {page:?}"), session())
    }

    fn session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<SessionRow>, StoreError>> {
        let is_it = *account == main() && conversation.as_str() == CONVERSATION;
        ready(Ok(is_it.then(session))).boxed()
    }

    fn inbox(
        &self,
        filter: &InboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<InboxEntry>, StoreError>> {
        self.listed(format!("{filter:?} {page:?}"), received())
    }

    fn inbox_row(&self, id: InboxId) -> BoxFuture<'static, Result<Option<InboxEntry>, StoreError>> {
        ready(Ok((id.get() == 7).then(received))).boxed()
    }

    fn outbox(
        &self,
        filter: &OutboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<OutboxRow>, StoreError>> {
        self.listed(format!("{filter:?} {page:?}"), ours())
    }

    fn parked(&self, _: u32) -> BoxFuture<'static, Result<Vec<moorline_runtime::ParkedTurn>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn trace(&self, traced: &Traced) -> BoxFuture<'static, Result<Trace, StoreError>> {
        self.listed.lock().push(format!("{traced:?}"));
        let is_it = [Traced::Name("om_7".to_owned()), Traced::Inbox(InboxId::new(7))].contains(traced);
        ready(Ok(if is_it { life() } else { Trace::default() })).boxed()
    }

    fn jobs(&self) -> BoxFuture<'static, Result<Vec<JobRow>, StoreError>> {
        ready(Ok(vec![job().row])).boxed()
    }

    fn job(&self, id: JobId) -> BoxFuture<'static, Result<Option<JobRow>, StoreError>> {
        ready(Ok((id.get() == 5).then(|| job().row))).boxed()
    }

    fn runs(&self, job: Option<JobId>, page: Page) -> BoxFuture<'static, Result<Listed<RunRow>, StoreError>> {
        self.listed(format!("runs of {job:?} {page:?}"), run())
    }

    fn gaps(
        &self,
        account: Option<&AccountId>,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<Gap>, StoreError>> {
        self.listed(format!("gaps of {account:?} {page:?}"), gap())
    }

    fn run(&self, id: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreError>> {
        ready(Ok((id.get() == 9).then(run))).boxed()
    }
}
