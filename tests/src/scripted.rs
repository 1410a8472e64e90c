//! A channel with a reply window whose platform does what a test says, in memory: for what the runtime makes of such a
//! platform, whichever it is.
//!
//! The platform takes so many messages for a chat after each message of its user, with the token of that one and no
//! older; and it can be told to refuse everything, or to be away.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use moorline_channel::{
    AckId, Answering, Capabilities, Connector, Credentials, Delivery, Effect, Event, Http, HttpRequest,
    HttpResponse, IdentityProbe, NetworkError, Outgoing, Output, Plan, Redelivery, RequestId, Sender, Start,
    Typing, TypingMark,
};
use moorline_config::{AGENT_KINDS, Config, Source, load};
use moorline_core::{
    AccountId, BootId, Chat, ChatId, ChatKind, Clock, ConversationId, DedupeKey, EventId, Failure,
    FailureClass, Fingerprint, Identity, Inbound, MessageId, Monotonic, OutboxId, Receipt, Route, Schema,
    Secret, Sender as Author, SenderKind, TextLimit, TextUnit, UserId,
};
use moorline_runtime::{Handle, MemoryLogins, Options, OwnAgents, Runtime};
use moorline_simulator::Simulator;
use moorline_store::{Listing, OutboxFilter, OutboxRow, OutboxState, Page, SqliteStore, Store};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::world::VirtualClock;

/// How long the sign of typing lasts.
pub const TYPING_LASTS: Duration = Duration::from_secs(5);

static SCHEMA: Schema = Schema { channel: "scripted", fields: &[] };

static CAPABILITIES: Capabilities = Capabilities {
    redelivery: Redelivery::Perhaps,
    idempotency: None,
    text_limit: TextLimit { max: 2_000, unit: TextUnit::Chars },
    chat_rate: 1_000,
    reply_window: true,
};

/// A call that was made to send a message.
#[derive(Debug, Clone)]
pub struct Call {
    /// When.
    pub at: Instant,
    /// Into which chat.
    pub chat: String,
    /// What.
    pub text: String,
    /// Under which key.
    pub key: String,
    /// With which reply token.
    pub token: Option<String>,
    /// What the platform said.
    pub answer: Result<(), FailureClass>,
}

/// The platform; clones are the same one.
#[derive(Clone)]
pub struct Platform {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

/// What the platform knows and does. A test changes it as it likes.
pub struct State {
    /// How many messages it takes for a chat after each of its user's.
    pub quota: u32,
    /// How long a send takes.
    pub latency: Duration,
    /// What it says to every send.
    pub refuses: Option<Failure>,
    /// What it says to the next sends, before anything else counts.
    pub next: VecDeque<Result<(), Failure>>,
    /// Why nobody can connect, or stay connected.
    pub down: Option<Failure>,
    /// Whether it shows a sign of typing.
    pub typing: bool,
    /// The credentials of the account.
    pub bot: &'static str,
    /// Every call to send a message.
    pub calls: Vec<Call>,
    /// When a sign of typing was shown, with the mark and the token it was shown with.
    pub shown: Vec<(Instant, Option<String>, Option<String>)>,
    /// The marks of the signs that were taken down.
    pub taken_down: Vec<String>,
    /// How often somebody connected, and how often a connection was asked for a sign of life.
    pub connects: usize,
    /// How often a connection was asked for a sign of life.
    pub probes: usize,
    windows: BTreeMap<String, Window>,
    pushed: u64,
    undelivered: Vec<Inbound>,
}

struct Window {
    token: String,
    left: u32,
}

impl Platform {
    fn new() -> Self {
        let state = State {
            quota: 10,
            latency: Duration::ZERO,
            refuses: None,
            next: VecDeque::new(),
            down: None,
            typing: false,
            bot: "bot-1",
            calls: Vec::new(),
            shown: Vec::new(),
            taken_down: Vec::new(),
            connects: 0,
            probes: 0,
            windows: BTreeMap::new(),
            pushed: 0,
            undelivered: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), news: Arc::new(Notify::new()) }
    }

    /// Changes it, and lets the connection notice.
    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.news.notify_one();
    }

    /// Looks at it.
    pub fn get<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// A user writes: their window is open again, for whoever has the new token.
    pub fn say(&self, user: &str, text: &str) {
        self.set(|state| {
            state.pushed += 1;
            let (number, quota) = (state.pushed, state.quota);
            let token = format!("token-{number}-of-{user}");
            state.windows.insert(user.to_owned(), Window { token: token.clone(), left: quota });
            state.undelivered.push(inbound(user, number, text, &token));
        });
    }

    /// The texts that a user sees, in order.
    pub fn seen(&self, user: &str) -> Vec<String> {
        self.get(|state| {
            let seen = state.calls.iter().filter(|call| call.chat == user && call.answer.is_ok());
            seen.map(|call| call.text.clone()).collect()
        })
    }

    /// How many calls were made between two moments since `origin`, in seconds.
    pub fn calls_between(&self, origin: Instant, from: u64, to: u64) -> usize {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        let within =
            |at: Instant| at.checked_duration_since(origin).is_some_and(|since| span.contains(&since));
        self.get(|state| state.calls.iter().filter(|call| within(call.at)).count())
    }
}

impl State {
    fn send(&mut self, chat: &str, token: Option<&str>) -> Result<(), Failure> {
        if let Some(answer) = self.next.pop_front() {
            return answer;
        }
        if let Some(failure) = self.refuses.clone() {
            return Err(failure);
        }
        match self.windows.get_mut(chat) {
            Some(window) if window.left > 0 && token == Some(window.token.as_str()) => {
                window.left -= 1;
                Ok(())
            }
            _ => Err(closed()),
        }
    }
}

/// What the platform says when it takes nothing more for a chat.
#[must_use]
pub fn closed() -> Failure {
    Failure::new(FailureClass::AwaitsUser, "prepare failed")
}

fn inbound(user: &str, number: u64, text: &str, token: &str) -> Inbound {
    let chat = ChatId::new(user);
    Inbound {
        event_id: EventId::new(format!("e{number}")),
        dedupe: vec![DedupeKey::new(format!("m{number}"))],
        conversation: ConversationId::new(format!("talk with {user}")),
        chat: Chat { id: chat.clone(), kind: ChatKind::Direct },
        message_id: MessageId::new(format!("m{number}")),
        sender: Author { ids: vec![UserId::new(user)], kind: SenderKind::User },
        mentions: Vec::new(),
        text: Some(text.to_owned()),
        attachments: Vec::new(),
        route: Route { chat, reply_to: None, in_thread: false },
        written_at: None,
        reply_token: Some(Secret::new(token)),
        raw: Bytes::new(),
    }
}

/// The long poll: answered when there is news.
struct Wire(Platform);

impl Http for Wire {
    fn call(&self, _: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let news = Arc::clone(&self.0.news);
        async move {
            news.notified().await;
            Ok(HttpResponse { status: Default::default(), headers: Default::default(), body: Bytes::new() })
        }
        .boxed_local()
    }
}

struct Account(Platform);

impl Plan for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.0.get(|state| state.bot))
    }

    fn host(&self) -> &str {
        "scripted.test"
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn connector(&self, _: Start) -> Box<dyn Connector> {
        Box::new(Poll { platform: self.0.clone(), acks: 0 })
    }

    fn credentials(&self) -> Option<Rc<dyn Credentials>> {
        None
    }

    fn identity(&self) -> Rc<dyn IdentityProbe> {
        Rc::new(Bot(self.0.clone()))
    }

    fn sender(&self) -> Rc<dyn Sender> {
        Rc::new(Bot(self.0.clone()))
    }

    fn typing(&self) -> Option<Rc<dyn Typing>> {
        self.0.get(|state| state.typing).then(|| Rc::new(Bot(self.0.clone())) as Rc<dyn Typing>)
    }
}

struct Poll {
    platform: Platform,
    acks: u64,
}

impl Connector for Poll {
    fn step(&mut self, event: Event, _: Monotonic) -> Vec<Effect> {
        let mut state = self.platform.state.lock();
        match event {
            Event::Start => state.connects += 1,
            Event::Probe => {
                state.probes += 1;
                return vec![Effect::Emit(Output::Alive)];
            }
            Event::Stop => return vec![Effect::Finish(None)],
            Event::Response { .. } => {}
            _ => return Vec::new(),
        }
        if let Some(failure) = state.down.clone() {
            return vec![Effect::Finish(Some(failure))];
        }
        let mut effects = Vec::new();
        if matches!(event, Event::Start) {
            effects.push(Effect::Emit(Output::Open { connection: "scripted".to_owned() }));
        }
        effects.push(Effect::Emit(Output::Alive));
        let messages = std::mem::take(&mut state.undelivered).into_iter();
        let deliveries: Vec<_> = messages.map(|message| Delivery::Message(Box::new(message))).collect();
        if !deliveries.is_empty() {
            self.acks += 1;
            effects.push(Effect::Emit(Output::Deliver { ack: AckId(self.acks), deliveries, cursor: None }));
        }
        let request = HttpRequest::new(Default::default(), "http://scripted.test/".parse().unwrap());
        effects.push(Effect::Request { id: RequestId(1), request });
        effects
    }

    fn wake_at(&self) -> Option<Monotonic> {
        None
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(365 * 24 * 3600)
    }
}

/// Who we are there, and what we may do.
struct Bot(Platform);

impl IdentityProbe for Bot {
    fn probe(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
    ) -> LocalBoxFuture<'static, Result<Identity, Failure>> {
        let id = UserId::new(self.0.get(|state| state.bot));
        async move { Ok(Identity { id, name: "Bot".to_owned() }) }.boxed_local()
    }
}

impl Sender for Bot {
    fn send(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>> {
        let (platform, latency) = (self.0.clone(), self.0.get(|state| state.latency));
        let (chat, text) = (outgoing.outbound.route.chat.to_string(), outgoing.outbound.text.clone());
        let key = outgoing.key.as_str().to_owned();
        let token = outgoing.reply_token.map(|token| token.expose().to_owned());
        async move {
            sleep(latency).await;
            let mut state = platform.state.lock();
            let answer = state.send(&chat, token.as_deref());
            let seen = answer.as_ref().map_err(|failure| failure.class).copied();
            state.calls.push(Call { at: Instant::now(), chat, text, key, token, answer: seen });
            let message_id = MessageId::new(format!("sent-{}", state.calls.len()));
            answer.map(|()| Receipt { message_id })
        }
        .boxed_local()
    }
}

impl Typing for Bot {
    fn lasts(&self) -> Option<Duration> {
        Some(TYPING_LASTS)
    }

    fn start(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
        answering: Answering<'_>,
        shown: Option<&TypingMark>,
    ) -> LocalBoxFuture<'static, Result<Option<TypingMark>, Failure>> {
        let token = answering.reply_token.map(|token| token.expose().to_owned());
        let before = shown.map(|mark| mark.0.clone());
        let platform = self.0.clone();
        async move {
            let mut state = platform.state.lock();
            state.shown.push((Instant::now(), before, token));
            match &state.refuses {
                Some(failure) => Err(failure.clone()),
                None => Ok(Some(TypingMark(format!("mark-{}", state.shown.len())))),
            }
        }
        .boxed_local()
    }

    fn stop(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
        mark: &TypingMark,
    ) -> LocalBoxFuture<'static, Result<(), Failure>> {
        let (platform, mark) = (self.0.clone(), mark.0.clone());
        async move {
            platform.state.lock().taken_down.push(mark);
            Ok(())
        }
        .boxed_local()
    }
}

/// A runtime with one account on such a platform, in virtual time.
pub struct Scripted {
    /// The platform.
    pub platform: Platform,
    /// The store, which outlives the runtime.
    pub store: Arc<SqliteStore>,
    /// What an operator would see.
    pub handle: Handle,
    /// The runtime's clock.
    pub clock: Arc<VirtualClock>,
    /// When it was started first.
    pub origin: Instant,
    config: Config,
    runtime: Option<Runtime>,
    boots: u64,
}

impl Scripted {
    /// Starts it with an echo agent that takes so long, and with these settings of `[runtime]`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(agent_delay: &str, settings: &str, arrange: impl FnOnce(&mut State)) -> Self {
        let text = format!(
            "data_dir = \"unused\"\n[agents.default]\nkind = \"echo\"\ndelay = \"{agent_delay}\"\n[runtime]\n{settings}\n\
             [channels.scripted.accounts.a]\n"
        );
        let source = Source { path: "scripted.toml".into(), text };
        let config = load(&source, &BTreeMap::new(), &[&SCHEMA], AGENT_KINDS)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let platform = Platform::new();
        platform.set(arrange);
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let clock = VirtualClock::start();
        let runtime = run(&config, &platform, &store, &clock, 1).await;
        let handle = runtime.handle();
        Self {
            platform,
            store,
            handle,
            clock,
            origin: Instant::now(),
            config,
            runtime: Some(runtime),
            boots: 1,
        }
    }

    /// Ends the runtime as a crash would.
    pub async fn crash(&mut self) {
        drop(self.runtime.take());
        // Dropped actors end at their next poll.
        sleep(Duration::from_millis(1)).await;
    }

    /// Starts the next process on the same store.
    pub async fn boot(&mut self) {
        self.boots += 1;
        let runtime = run(&self.config, &self.platform, &self.store, &self.clock, self.boots).await;
        self.handle = runtime.handle();
        self.runtime = Some(runtime);
    }

    /// The account.
    #[must_use]
    pub fn id() -> AccountId {
        "scripted:a".parse().unwrap()
    }

    /// An operator, or a schedule, writes to a user.
    ///
    /// # Panics
    /// When the outbox does not take it.
    pub async fn send(&self, user: &str, text: &str) -> OutboxId {
        let sent = self.handle.send(&Self::id(), ChatId::new(user), text.to_owned(), None).await;
        sent.unwrap().id
    }

    /// Messages of ours, in the order of their numbers.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub async fn ours(&self) -> Vec<OutboxRow> {
        let page = Page { before: None, limit: 500 };
        let mut rows = self.store.outbox(&OutboxFilter::default(), page).await.unwrap().rows;
        rows.reverse();
        rows
    }

    /// Their texts in one state.
    pub async fn in_state(&self, state: OutboxState) -> Vec<String> {
        let rows = self.ours().await.into_iter().filter(|row| row.state == state);
        rows.map(|row| row.outbound.text).collect()
    }

    /// Waits until a user sees so many messages of ours, and says how long it took.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn sees(&self, user: &str, count: usize, limit: Duration) -> Duration {
        let began = Instant::now();
        while self.platform.seen(user).len() < count {
            let seen = self.platform.seen(user);
            assert!(began.elapsed() < limit, "{user} sees {seen:?} and not {count} messages");
            sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }

    /// Checks that the counts agree with the rows.
    ///
    /// # Panics
    /// When they do not.
    pub async fn check(&self) {
        assert_eq!(self.store.counts().await.unwrap(), self.store.recount().await.unwrap());
    }
}

async fn run(
    config: &Config,
    platform: &Platform,
    store: &Arc<SqliteStore>,
    clock: &Arc<VirtualClock>,
    boot: u64,
) -> Runtime {
    let mut network = moorline_simulator::memory::network(&Simulator::new(7));
    network.http = Rc::new(Wire(platform.clone()));
    let plan: Arc<dyn Plan> = Arc::new(Account(platform.clone()));
    let options = Options {
        config: config.clone(),
        plans: BTreeMap::from([(Scripted::id(), plan)]),
        logins: Rc::new(MemoryLogins::default()),
        agents: OwnAgents::default(),
        store: Arc::clone(store) as Arc<dyn Store>,
        network,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        boot: BootId::new(format!("boot-{boot}")),
        seed: boot,
        version: "test",
        config_file: None,
        machine: Arc::new(()),
        children: Vec::new(),
    };
    Runtime::start(options).await.unwrap()
}
