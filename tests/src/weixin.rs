//! The whole runtime against the simulated WeChat, in virtual time. Its accounts are logged in like people log them in:
//! with a code and a phone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Factory, Plan};
use moorline_config::{AGENT_KINDS, Account, Config, Source, load};
use moorline_core::{AccountId, AccountState, BootId, Clock, UserId};
use moorline_runtime::{AccountStatus, Handle, LoginState, MemoryLogins, Options, Runtime};
use moorline_simulator::memory;
use moorline_simulator::weixin::{Bot, NewMessage, Pushed, Simulator};
use moorline_store::{SqliteStore, Store};
use moorline_weixin::Weixin;
use tokio::time::Instant;

use crate::lagging::Lagging;
use crate::world::VirtualClock;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A runtime that talks to a simulated WeChat.
pub struct WeixinWorld {
    /// The platform.
    pub simulator: Simulator,
    /// The bots of the accounts, as their last logins made them.
    pub bots: Vec<Bot>,
    /// What an operator would see.
    pub handle: Handle,
    /// The store, which outlives the runtime.
    pub store: Arc<SqliteStore>,
    /// How the store behaves.
    pub lag: Arc<Lagging>,
    clock: Arc<VirtualClock>,
    logins: MemoryLogins,
    config: Config,
    runtime: Option<Runtime>,
    boots: u32,
}

impl WeixinWorld {
    /// Starts a runtime with accounts `weixin:a0`, `weixin:a1`, …, whose echo takes this long. Nobody is logged in.
    pub async fn start(accounts: usize, agent_delay: &str) -> Self {
        let simulator = Simulator::new(7);
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let lag = Arc::new(Lagging::new(Arc::clone(&store)));
        let (clock, logins) = (VirtualClock::start(), MemoryLogins::default());
        let config = configuration(accounts, agent_delay);
        let runtime = Runtime::start(options(&simulator, &lag, &clock, &logins, &config, 1)).await.unwrap();
        let handle = runtime.handle();
        Self {
            simulator,
            bots: Vec::new(),
            handle,
            store,
            lag,
            clock,
            logins,
            config,
            runtime: Some(runtime),
            boots: 1,
        }
    }

    /// One account, logged in and ready.
    pub async fn ready(agent_delay: &str) -> Self {
        let mut world = Self::start(1, agent_delay).await;
        world.log_in(0).await;
        world
            .until("ready", Duration::from_secs(5), |world| world.status(0).state == AccountState::Ready)
            .await;
        world
    }

    /// The person of this account scans the code and confirms. Another login of the same person ends the one before.
    ///
    /// # Panics
    /// When nobody is logged in by that.
    pub async fn log_in(&mut self, n: usize) {
        self.handle.login(&self.id(n), None).await.unwrap();
        self.login_state(n, LoginState::Scan).await;
        let code = self.simulator.login_codes().pop().unwrap().qrcode;
        self.simulator.scan(&code, &UserId::new(format!("owner{n}@im.wechat"))).unwrap();
        self.login_state(n, LoginState::Scanned).await;
        let bot = self.simulator.confirm(&code).unwrap().unwrap();
        self.login_state(n, LoginState::Done).await;
        if n < self.bots.len() {
            self.bots[n] = bot;
        } else {
            self.bots.push(bot);
        }
    }

    /// Waits until a login stands here.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn login_state(&self, n: usize, state: LoginState) {
        let began = Instant::now();
        loop {
            let view = self.handle.login_state(&self.id(n)).await.unwrap();
            if view.state == state {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "not {state:?}: {}", view.message);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the runtime as a crash would.
    pub async fn crash(&mut self) {
        drop(self.runtime.take());
        // Dropped actors end at their next poll.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Ends the runtime in an orderly way.
    pub async fn shutdown(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown(Duration::from_secs(10)).await;
        }
    }

    /// Starts the next process on the same store, with the same logins.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn boot(&mut self) {
        self.boots += 1;
        let Self { simulator, lag, clock, logins, config, .. } = &*self;
        let runtime =
            Runtime::start(options(simulator, lag, clock, logins, config, self.boots)).await.unwrap();
        self.handle = runtime.handle();
        self.runtime = Some(runtime);
    }

    /// The id of an account.
    #[must_use]
    pub fn id(&self, n: usize) -> AccountId {
        format!("weixin:a{n}").parse().unwrap()
    }

    /// What an account says about itself.
    #[must_use]
    pub fn status(&self, n: usize) -> AccountStatus {
        self.handle.board().account(&self.id(n)).unwrap()
    }

    /// A user writes to the bot of an account.
    pub fn say(&self, n: usize, user: &str, text: &str) -> Pushed {
        self.simulator.push(&self.bots[n].bot_id, NewMessage::text(user, text)).unwrap()
    }

    /// How many copies of `text` the user sees from our bots.
    #[must_use]
    pub fn copies(&self, user: &str, text: &str) -> usize {
        self.simulator.read_ledger(|ledger| ledger.visible_copies(&UserId::new(user), text))
    }

    /// Waits for a condition and says how long it took.
    ///
    /// # Panics
    /// When it does not come true in time.
    pub async fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.describe());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        began.elapsed()
    }

    /// Checks what must hold at every moment: outcomes are conserved, no bot ever had two polls open, every call was as
    /// the protocol page has it, and no message was received and forgotten.
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
        for bot in &self.bots {
            let counters = self.simulator.counters(&bot.bot_id).unwrap();
            assert!(counters.max_open_polls <= 1, "{}: {counters:?}", bot.bot_id);
        }
        self.simulator.read_ledger(|ledger| {
            let violations: Vec<_> = ledger.violations().collect();
            assert!(violations.is_empty(), "{violations:?}");
        });
    }

    /// Everything about every account, for a test that failed.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (n, bot) in self.bots.iter().enumerate() {
            let counters = self.simulator.counters(&bot.bot_id).unwrap();
            let _ = writeln!(text, "{:#?}\n{counters:?}", self.status(n));
        }
        text
    }
}

fn configuration(accounts: usize, agent_delay: &str) -> Config {
    let mut text =
        format!("data_dir = \"unused\"\n[agents.default]\nkind = \"echo\"\ndelay = \"{agent_delay}\"\n");
    for n in 0..accounts {
        let _ = writeln!(text, "[channels.weixin.accounts.a{n}]");
    }
    let source = Source { path: "world.toml".into(), text };
    load(&source, &BTreeMap::new(), &[Weixin.schema()], AGENT_KINDS)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn plans(config: &Config) -> BTreeMap<AccountId, Arc<dyn Plan>> {
    let plan = |account: &Account| (account.id.clone(), Weixin.parse(&account.settings).unwrap());
    config.accounts.iter().map(plan).collect()
}

fn options(
    simulator: &Simulator,
    store: &Arc<Lagging>,
    clock: &Arc<VirtualClock>,
    logins: &MemoryLogins,
    config: &Config,
    boots: u32,
) -> Options {
    Options {
        config: config.clone(),
        plans: plans(config),
        agents: BTreeMap::new(),
        store: Arc::clone(store) as Arc<dyn Store>,
        logins: Rc::new(logins.clone()),
        network: memory::network(simulator),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        boot: BootId::new(format!("boot-{boots}")),
        seed: u64::from(boots),
        version: "test",
        config_file: None,
        machine: Arc::new(()),
        children: Vec::new(),
    }
}
