//! The whole runtime and the simulator on one thread, in virtual time: hours pass in milliseconds, and a seed
//! repeats everything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use moorline_channel::{Factory, Plan, SavedLogin};
use moorline_config::{AGENT_KINDS, Account, Config, Source, load};
use moorline_core::{
    AccountId, AccountState, BootId, ChatId, Clock, ConversationId, Monotonic, Secret, Timestamp,
};
use moorline_feishu::Feishu;
use moorline_runtime::{
    AccountStatus, Applied, ConfigFile, Handle, Logins as _, MemoryLogins, Options, OwnAgents, ReloadError,
    Runtime, Saved, StartError,
};
use moorline_simulator::feishu::{App, AppId, NewApp, Push, Pushed};
use moorline_simulator::weixin::{self, Bot, NewBot};
use moorline_simulator::{Router, Simulator};
use moorline_store::{InboxFilter, LONGEST_PAGE, Listing, Page, Scope, SqliteStore, Store};
use moorline_weixin::Weixin;
use tokio::time::Instant;

use crate::disguise::Disguise;
use crate::lagging::Lagging;
use crate::model::Model;
use crate::outside::Outside;

/// When virtual time begins on the wall clock.
pub(crate) const EPOCH_MS: i64 = 1_795_176_000_000;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Runs a test on an actix system whose clock moves only when everybody waits.
pub fn in_virtual_time<F: Future>(test: F) -> F::Output {
    actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    })
    .block_on(test)
}

/// Follows tokio's time; the wall clock too, unless a test moves it.
#[derive(Debug)]
pub struct VirtualClock {
    origin: Instant,
    /// How far the wall clock was moved, in milliseconds.
    wall_offset: AtomicI64,
    /// How long the machine slept, in milliseconds.
    slept: AtomicU64,
    /// How far the monotonic clock has leapt, in milliseconds: no clock should.
    leapt: AtomicU64,
}

impl VirtualClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            wall_offset: AtomicI64::new(0),
            slept: AtomicU64::new(0),
            leapt: AtomicU64::new(0),
        })
    }

    /// Moves the wall clock by this many milliseconds, and nothing else (F-008, F-089).
    pub fn step(&self, millis: i64) {
        self.wall_offset.fetch_add(millis, Relaxed);
    }

    /// Moves the clock that nobody should be able to move.
    pub fn leap(&self, span: Duration) {
        self.leapt.fetch_add(moorline_core::millis(span), Relaxed);
    }

    /// What everybody else's clock says.
    fn truth(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS) + self.origin.elapsed() + self.slept()
    }

    fn slept(&self) -> Duration {
        Duration::from_millis(self.slept.load(Relaxed))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed() + Duration::from_millis(self.leapt.load(Relaxed)))
    }

    fn wall(&self) -> Timestamp {
        let start = Timestamp::from_millis(EPOCH_MS + self.wall_offset.load(Relaxed));
        start + self.origin.elapsed() + self.slept()
    }

    fn with_sleep(&self) -> Monotonic {
        self.now() + self.slept()
    }
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many accounts: `feishu:a0`, `feishu:a1`, …
    pub accounts: usize,
    /// How many of the other channel, beside those: `weixin:w0`, …
    pub weixin: usize,
    /// Where randomness comes from.
    pub seed: u64,
    /// How long the echo agent takes.
    pub agent_delay: &'static str,
    /// More configuration, at the top of the file's `[channels.feishu]` table.
    pub channel: &'static str,
    /// More configuration, in tables of its own; an `[agents.default]` in it replaces the echo agent.
    pub tables: &'static str,
    /// What answers at `http://agent.test`.
    pub model: Model,
    /// The machine, and who takes alerts.
    pub outside: Outside,
    /// What other platform Feishu passes for.
    pub disguise: Disguise,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            accounts: 3,
            weixin: 0,
            seed: 7,
            agent_delay: "0s",
            channel: "",
            tables: "",
            model: Model::default(),
            outside: Outside::default(),
            disguise: Disguise::default(),
        }
    }
}

/// What a test may put in the place of the usual parts.
#[derive(Default)]
pub struct Parts {
    /// The store the runtime works with, when that is not the world's own: something in front of it.
    pub front: Option<Arc<dyn Store>>,
    /// The world's own store, when it exists already.
    pub store: Option<Arc<SqliteStore>>,
    /// Agents instead of the configured ones.
    pub agents: OwnAgents,
    /// The file that the runtime watches, if there is one.
    pub file: Option<ConfigFile>,
}

/// A runtime that talks to a simulated platform.
pub struct World {
    /// The platform.
    pub simulator: Simulator,
    /// The apps of the accounts, in their order.
    pub apps: Vec<App>,
    /// The other platform.
    pub wechat: weixin::Simulator,
    /// The bots of its accounts, in their order. They are logged in.
    pub bots: Vec<Bot>,
    /// The logins as they are kept.
    pub logins: MemoryLogins,
    /// What an operator would see.
    pub handle: Handle,
    /// The store, which outlives the runtime.
    pub store: Arc<SqliteStore>,
    /// How long the runtime's reads of the store take.
    pub lag: Arc<Lagging>,
    /// The runtime's clock.
    pub clock: Arc<VirtualClock>,
    front: Arc<dyn Store>,
    agents: OwnAgents,
    setup: Setup,
    config: Config,
    runtime: Option<Runtime>,
    started: Instant,
    boots: u32,
}

impl World {
    /// Starts a runtime against a fresh platform. Nothing is connected yet.
    pub async fn start(setup: Setup) -> Self {
        Self::prepare(setup, |_, _| {}).await
    }

    /// As [`World::start`], with faults set on the platform before the first connection.
    pub async fn prepare(setup: Setup, arrange: impl FnOnce(&Simulator, &[App])) -> Self {
        Self::assemble(setup, Parts::default(), arrange).await
    }

    /// As [`World::prepare`], of other parts than the usual.
    pub async fn assemble(setup: Setup, parts: Parts, arrange: impl FnOnce(&Simulator, &[App])) -> Self {
        let simulator = Simulator::new(setup.seed);
        let apps: Vec<App> = (0..setup.accounts)
            .map(|n| {
                let credentials = (format!("cli_{n:016x}"), format!("secret-of-a{n}"));
                simulator
                    .add_app(NewApp::named(format!("Bot {n}")).with_credentials(credentials.0, credentials.1))
            })
            .collect();
        arrange(&simulator, &apps);
        let wechat = weixin::Simulator::new(setup.seed);
        wechat.set_rules(|rules| rules.base_url = Some(WECHAT.to_owned()));
        let bots: Vec<Bot> = (0..setup.weixin).map(|_| wechat.add_bot(NewBot::default())).collect();
        let logins = MemoryLogins::default();
        for (n, bot) in bots.iter().enumerate() {
            logins.save(&weixin_id(n), login_of(bot)).await.unwrap();
        }
        let config = configuration(&setup, &apps);
        let store = parts.store.unwrap_or_else(|| Arc::new(SqliteStore::inline(None).unwrap()));
        let lag = Arc::new(Lagging::new(Arc::clone(&store)));
        let front = parts.front.unwrap_or_else(|| Arc::clone(&lag) as Arc<dyn Store>);
        let (clock, agents) = (VirtualClock::start(), parts.agents);
        let platforms = Platforms { feishu: &simulator, wechat: &wechat, logins: &logins };
        let options = options(&setup, &config, platforms, &front, &clock, &agents, 1);
        let runtime = Runtime::start(Options { config_file: parts.file, ..options }).await.unwrap();
        let handle = runtime.handle();
        let started = Instant::now();
        Self {
            simulator,
            apps,
            wechat,
            bots,
            logins,
            handle,
            store,
            lag,
            clock,
            front,
            agents,
            setup,
            config,
            runtime: Some(runtime),
            started,
            boots: 1,
        }
    }

    /// Ends the runtime as a crash would: nothing is said, nothing is finished; only what is stored remains.
    pub async fn crash(&mut self) {
        drop(self.runtime.take());
        // Dropped actors end at their next poll.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The machine sleeps: the monotonic clock, and with it every timer, knows nothing of it.
    pub fn sleep_machine(&self, span: Duration) {
        self.clock.slept.fetch_add(moorline_core::millis(span), Relaxed);
    }

    /// Starts the next process on the same store.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn boot(&mut self) {
        self.try_boot().await.unwrap();
    }

    /// The same, for a process that may not start.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn try_boot(&mut self) -> Result<(), StartError> {
        self.boots += 1;
        let Self { config, front, clock, agents, setup, .. } = &*self;
        let options = options(setup, config, self.platforms(), front, clock, agents, self.boots);
        let runtime = Runtime::start(options).await?;
        self.handle = runtime.handle();
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Whether there is a process.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// Applies what this edit makes of the configuration, as a reload does.
    ///
    /// # Errors
    /// When it could not be applied.
    pub async fn reload(&mut self, edit: impl FnOnce(&mut Config)) -> Result<Applied, ReloadError> {
        let mut config = self.config();
        edit(&mut config);
        self.begin_reload(config).await
    }

    /// Makes this the configuration of the next process, and of this one when the future has resolved.
    pub fn begin_reload(
        &mut self,
        config: Config,
    ) -> impl Future<Output = Result<Applied, ReloadError>> + use<> {
        self.config = config.clone();
        let handle = self.handle.clone();
        let plans = plans(&self.setup, &config);
        async move { handle.apply(config, plans).await }
    }

    /// Adds an app to the platform and its account to a configuration, without reloading it.
    pub fn add_account(&mut self, config: &mut Config) {
        let n = self.apps.len();
        let app = new_app(&self.simulator, n);
        self.apps.push(app);
        config.accounts = configuration(&self.setup, &self.apps).accounts;
    }

    /// What answers at `http://agent.test`.
    #[must_use]
    pub fn model(&self) -> Model {
        self.setup.model.clone()
    }

    /// The machine, and who takes alerts.
    #[must_use]
    pub fn outside(&self) -> Outside {
        self.setup.outside.clone()
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// Ends the runtime in an orderly way.
    pub async fn shutdown(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown(Duration::from_secs(10)).await;
        }
    }

    /// Both platforms, and who is logged in on the second.
    fn platforms(&self) -> Platforms<'_> {
        Platforms { feishu: &self.simulator, wechat: &self.wechat, logins: &self.logins }
    }

    /// The id of an account; those of the second channel come after those of the first.
    #[must_use]
    pub fn id(&self, n: usize) -> AccountId {
        match n.checked_sub(self.apps.len()) {
            None => format!("feishu:a{n}").parse().unwrap(),
            Some(n) => weixin_id(n),
        }
    }

    /// The app of an account.
    #[must_use]
    pub fn app(&self, n: usize) -> &AppId {
        &self.apps[n].app_id
    }

    /// What an account says about itself.
    #[must_use]
    pub fn status(&self, n: usize) -> AccountStatus {
        let id = self.id(n);
        self.handle.board().account(&id).unwrap()
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A direct message of a user, in a chat of their own.
    pub fn say(&self, n: usize, user: &str, text: &str) -> Pushed {
        let push = Push::direct(chat_of(user).as_str(), user, text);
        self.simulator.push(self.app(n), push).unwrap()
    }

    /// How many copies of `text` the user sees from our bots.
    #[must_use]
    pub fn copies(&self, user: &str, text: &str) -> usize {
        self.simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of(user), text))
    }

    /// What our bots wrote in a chat, as its users see it, in order.
    #[must_use]
    pub fn replies(&self, chat: &ChatId) -> Vec<String> {
        self.simulator.read_ledger(|ledger| ledger.visible_in(chat).map(|m| m.text.clone()).collect())
    }

    /// The texts an account received in one conversation, in order of receipt.
    pub async fn received(&self, n: usize, chat: &ChatId) -> Vec<String> {
        let scope = Scope::Conversation(self.id(n), ConversationId::new(chat.as_str()));
        let filter = InboxFilter { scope, state: None };
        let page = Page { before: None, limit: LONGEST_PAGE };
        let rows = self.store.inbox(&filter, page).await.unwrap().rows;
        rows.into_iter().rev().map(|entry| entry.row.text).collect()
    }

    /// Waits for a condition and says how long it took.
    ///
    /// # Panics
    /// When it does not come true in time; the message shows every account.
    pub async fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        self.until_every(LOOK_EVERY, what, limit, condition).await
    }

    /// The same, looking less often: for waits of days.
    ///
    /// # Panics
    /// When it does not come true in time.
    pub async fn until_every(
        &self,
        step: Duration,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            if began.elapsed() >= limit {
                panic!("not within {limit:?}: {what}\n{}", self.describe());
            }
            tokio::time::sleep(step).await;
        }
        began.elapsed()
    }

    /// Waits until all accounts are ready.
    pub async fn all_ready(&self, limit: Duration) -> Duration {
        self.until("all accounts ready", limit, |world| {
            (0..world.apps.len() + world.bots.len()).all(|n| world.status(n).state == AccountState::Ready)
        })
        .await
    }

    /// Waits until everybody is ready and has an identity.
    pub async fn settled(&self) {
        self.all_ready(Duration::from_secs(5)).await;
        self.until("all identities known", Duration::from_secs(5), |world| {
            (0..world.apps.len()).all(|n| world.status(n).identity.id.is_some())
        })
        .await;
    }

    /// Checks what must hold at every moment: outcomes are conserved (design §2), the counters agree with the rows,
    /// and no account ever had two connections (F-026).
    ///
    /// # Panics
    /// When it does not.
    pub async fn check(&self) {
        let counts = self.store.counts().await.unwrap();
        assert_eq!(counts, self.store.recount().await.unwrap(), "counters differ from rows");
        for (id, c) in &counts {
            let outcomes =
                c.answered + c.pending + c.dropped.values().sum::<u64>() + c.held.values().sum::<u64>();
            assert_eq!(c.received, outcomes, "{id}: {c:?}");
        }
        for app in &self.apps {
            let counters = self.simulator.counters(&app.app_id).unwrap();
            assert!(counters.max_open <= 1, "{}: {} connections at once", app.app_id, counters.max_open);
        }
    }

    /// Everything about every account, for a test that failed.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("at {:?} virtual\n", self.elapsed());
        for (n, app) in self.apps.iter().enumerate() {
            let counters = self.simulator.counters(&app.app_id).unwrap();
            let _ = writeln!(text, "{:#?}\n{counters:?}", self.status(n));
        }
        for (n, bot) in self.bots.iter().enumerate() {
            let counters = self.wechat.counters(&bot.bot_id).unwrap();
            let _ = writeln!(text, "{:#?}\n{counters:?}", self.status(self.apps.len() + n));
        }
        text
    }
}

/// The direct chat of a user.
#[must_use]
pub fn chat_of(user: &str) -> ChatId {
    ChatId::new(format!("oc_{user}"))
}

/// Where the second platform is.
const WECHAT: &str = "http://wechat.test";

/// Both platforms, and who is logged in on the second.
#[derive(Clone, Copy)]
struct Platforms<'a> {
    feishu: &'a Simulator,
    wechat: &'a weixin::Simulator,
    logins: &'a MemoryLogins,
}

fn weixin_id(n: usize) -> AccountId {
    format!("weixin:w{n}").parse().unwrap()
}

fn configuration(setup: &Setup, apps: &[App]) -> Config {
    let echo = if setup.tables.contains("[agents.default]") {
        String::new()
    } else {
        format!("[agents.default]\nkind = \"echo\"\ndelay = \"{}\"\n", setup.agent_delay)
    };
    let mut text = format!(
        "data_dir = \"unused\"\n{echo}{}\n[channels.feishu]\nbase_url = \"http://platform.test\"\n{}\n",
        setup.tables, setup.channel
    );
    for (n, app) in apps.iter().enumerate() {
        let _ = writeln!(
            text,
            "[channels.feishu.accounts.a{n}]\napp_id = \"{}\"\napp_secret = \"{}\"",
            app.app_id, app.app_secret
        );
    }
    for n in 0..setup.weixin {
        let _ = writeln!(text, "[channels.weixin.accounts.w{n}]\nbase_url = \"{WECHAT}\"");
    }
    let source = Source { path: "world.toml".into(), text };
    load(&source, &BTreeMap::new(), &[Feishu.schema(), Weixin.schema()], AGENT_KINDS)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn new_app(simulator: &Simulator, n: usize) -> App {
    let app = NewApp::named(format!("Bot {n}"));
    simulator.add_app(app.with_credentials(format!("cli_{n:016x}"), format!("secret-of-a{n}")))
}

/// The plan of each account.
fn plans(setup: &Setup, config: &Config) -> BTreeMap<AccountId, Arc<dyn Plan>> {
    let plan = |account: &Account| {
        let plan = if account.id.channel().as_str() == Weixin.schema().channel {
            Weixin.parse(&account.settings).unwrap()
        } else {
            setup.disguise.over(Feishu.parse(&account.settings).unwrap())
        };
        (account.id.clone(), plan)
    };
    config.accounts.iter().map(plan).collect()
}

/// What a login as this bot would have saved.
#[must_use]
pub fn login_of(bot: &Bot) -> Saved {
    let login = serde_json::json!({
        "token": bot.token, "base_url": bot.base_url, "bot_id": bot.bot_id, "user_id": bot.user_id,
    });
    Saved {
        login: SavedLogin(Secret::new(login.to_string())),
        person: Some(bot.user_id.clone()),
        saved_at: Timestamp::from_millis(EPOCH_MS),
    }
}

fn options(
    setup: &Setup,
    config: &Config,
    platforms: Platforms<'_>,
    store: &Arc<dyn Store>,
    clock: &Arc<VirtualClock>,
    agents: &OwnAgents,
    boots: u32,
) -> Options {
    let seed = setup.seed;
    let mut network = if setup.weixin == 0 {
        moorline_simulator::memory::network(platforms.feishu)
    } else {
        let routes = Router::new().route("platform.test", platforms.feishu);
        routes.route("wechat.test", platforms.wechat).network()
    };
    network.http = setup.model.beside(network.http);
    let truth = Arc::clone(clock);
    network.http = setup.outside.beside(network.http, Rc::new(move || truth.truth()));
    Options {
        config: config.clone(),
        plans: plans(setup, config),
        agents: agents.clone(),
        store: Arc::clone(store),
        logins: Rc::new(platforms.logins.clone()),
        network,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        boot: BootId::new(format!("boot-{seed}-{boots}")),
        seed: seed.wrapping_add(u64::from(boots)),
        version: "test",
        config_file: None,
        machine: Arc::new(setup.outside.clone()),
        children: Vec::new(),
    }
}
