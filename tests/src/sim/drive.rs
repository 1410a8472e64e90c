//! Carries a schedule out: one loop that speaks, hurts, looks, and finally heals and waits for all to be well.

mod acts;
mod operator;
mod talk;
mod wechat;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moorline_config::Config;
use moorline_core::ChatId;
use moorline_simulator::feishu::{ChatType, ConnectionLimit, Fault, Rates, Reach, RefusedAt};
use moorline_simulator::weixin;
use moorline_store::SqliteStore;
use tokio::time::Instant;

use super::agent::Unsteady;
use super::book::Book;
use super::checkers::Checkers;
use super::faults::Act;
use super::report::{Failure, Outcome};
use super::schedule::{Schedule, direct_chat};
use super::store::Moody;
use crate::world::Parts;
use crate::{Setup, World};

/// The kind that is counted by the rows that were marked for it.
const KEY_LAPSES: &str = "send: answers lost for an hour";

/// How often the checkers look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whoever watches the store may be between two lives when that fails.
const ASKS_FOR_ITS_END: Duration = Duration::from_secs(65);

/// How long an operator waits before a command that got no answer is sent again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A system to which things are done.
pub struct Stage {
    /// The runtime and the platform.
    pub world: World,
    /// The store the runtime works with.
    pub store: Moody,
    /// The agent.
    pub agent: Unsteady,
    /// What was said.
    pub book: Book,
    /// Since when there is a process, or none.
    pub since: Duration,
    /// How long the machine slept; the platform did not.
    pub slept: Duration,
    /// Whether a life began after the wall clock had been set by an hour or more: it knows of earlier ones only what
    /// the wall clock says.
    pub misled: bool,
    /// The wall clock was set, by however much.
    pub clock_was_set: bool,
    /// By an hour or more.
    set_far: bool,
    /// When the process last did not run for a while.
    pub frozen: Option<Duration>,
    failed_since: Option<Duration>,
    schedule: Schedule,
    began: Instant,
    /// The configuration as it was at first.
    original: Config,
    /// Starts of the process that are due.
    boot_at: Option<Duration>,
    /// Commands of operators that are under way.
    commands: FuturesUnordered<LocalBoxFuture<'static, Answered>>,
    accounts: Vec<AccountFile>,
    /// Faults that were set, with their kinds.
    set: Vec<(usize, Fault, String)>,
    set_on_wechat: Vec<(usize, weixin::Fault, String)>,
    /// When polls were given up because somebody wanted an orderly end.
    pub goodbyes: Vec<Duration>,
    /// Since when the other platform can be reached.
    pub wechat_back: Duration,
    /// When a user of the other channel last wrote so that what waits for that can go out.
    nudged: Duration,
    struck: BTreeMap<String, u64>,
    story: Vec<String>,
    trace: DefaultHasher,
}

/// What the configuration says of an account.
#[derive(Debug, Clone, Default)]
struct AccountFile {
    removed: bool,
    denied: bool,
    secret: u32,
    secret_on_platform: u32,
}

/// What a command of an operator came to.
enum Answered {
    /// It was carried out: this kind has struck.
    Done(String),
    /// Nothing came of it.
    Nothing,
    /// The message of this number is in the outbox.
    Sent(usize),
    /// Nobody knows; it is sent again.
    SendAgain { account: usize, chat: ChatId, send: usize },
}

/// Runs a schedule.
pub async fn run(schedule: Schedule) -> Outcome {
    let seed = schedule.seed;
    let mut stage = Stage::set_up(schedule).await;
    let mut checkers = Checkers::new(&stage);
    let result = stage.play(&mut checkers).await;
    let failure =
        result.err().map(|what| Failure { at: stage.now(), what, story: std::mem::take(&mut stage.story) });
    stage.gather();
    let ledger = stage.world.simulator.ledger();
    serde_json::to_string(&ledger).unwrap_or_default().hash(&mut stage.trace);
    let ledger = stage.world.wechat.ledger();
    serde_json::to_string(&ledger).unwrap_or_default().hash(&mut stage.trace);
    let outcome = Outcome {
        seed,
        ran: stage.now(),
        messages: (stage.book.said.len() + stage.book.sent.len()) as u64,
        struck: stage.struck.clone(),
        trace: stage.trace.finish(),
        failure,
    };
    stage.commands.clear();
    stage.world.crash().await;
    stage.store.crash();
    outcome
}

impl Stage {
    async fn set_up(schedule: Schedule) -> Self {
        let setup = Setup {
            accounts: schedule.accounts,
            weixin: schedule.weixin,
            seed: schedule.seed,
            agent_delay: "0s",
            tables: match schedule.turn_timeout {
                "20s" => "[runtime]\nturn_timeout = \"20s\"",
                "45s" => "[runtime]\nturn_timeout = \"45s\"",
                _ => "[runtime]\nturn_timeout = \"120s\"",
            },
            ..Setup::default()
        };
        let inner = Arc::new(SqliteStore::inline(None).unwrap());
        let store = Moody::new(Arc::clone(&inner), schedule.latency);
        let agent = Unsteady::new(schedule.seed ^ 0xa6e7, schedule.agent);
        let parts = Parts {
            front: Some(Arc::new(store.clone())),
            store: Some(inner),
            agents: BTreeMap::from([(
                "default".to_owned(),
                std::rc::Rc::new(agent.clone()) as std::rc::Rc<dyn moorline_agent::Agent>,
            )]),
            ..Parts::default()
        };
        let began = Instant::now();
        let world = World::assemble(setup, parts, |simulator, apps| {
            simulator.set_redelivery(schedule.redelivery.clone());
            if schedule.rates {
                simulator.set_rates(Some(Rates::default()));
            }
            for (n, app) in apps.iter().enumerate() {
                if schedule.strict {
                    let limit = ConnectionLimit { connections: 1, refused_at: RefusedAt::Endpoint };
                    simulator.set_connection_limit(&app.app_id, limit).unwrap();
                }
                for user in 0..schedule.users {
                    simulator.add_chat(&app.app_id, direct_chat(user, n), ChatType::P2p).unwrap();
                }
            }
            for (_, _, act) in schedule.faults.iter().take_while(|(at, ..)| at.is_zero()) {
                if let Act::Set { account, fault, times, .. } = act {
                    simulator.set_fault(&apps[*account].app_id, fault.clone(), *times).unwrap();
                }
            }
        })
        .await;
        world.wechat.set_rules(|rules| rules.cursor = schedule.cursor);
        let original = world.config();
        Self {
            world,
            store,
            agent,
            book: Book::default(),
            since: Duration::ZERO,
            slept: Duration::ZERO,
            misled: false,
            clock_was_set: false,
            set_far: false,
            frozen: None,
            failed_since: None,
            accounts: vec![AccountFile::default(); schedule.accounts],
            schedule,
            began,
            original,
            boot_at: None,
            commands: FuturesUnordered::new(),
            set: Vec::new(),
            set_on_wechat: Vec::new(),
            goodbyes: Vec::new(),
            wechat_back: Duration::ZERO,
            nudged: Duration::ZERO,
            struck: BTreeMap::new(),
            story: Vec::new(),
            trace: DefaultHasher::new(),
        }
    }

    /// Since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The seed and everything that follows from it.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether an account is in the configuration.
    #[must_use]
    pub fn is_configured(&self, account: usize) -> bool {
        self.accounts.get(account).is_none_or(|file| !file.removed)
    }

    /// How many accounts there are of both channels.
    #[must_use]
    pub fn all_accounts(&self) -> usize {
        self.schedule.accounts + self.schedule.weixin
    }

    async fn play(&mut self, checkers: &mut Checkers) -> Result<(), String> {
        let mut faults: VecDeque<_> = std::mem::take(&mut self.schedule.faults).into();
        let mut talk: VecDeque<_> = std::mem::take(&mut self.schedule.talk).into();
        let mut look = LOOK_EVERY;
        while self.now() < self.schedule.length {
            let due = [
                faults.front().map(|(at, ..)| *at),
                talk.front().map(|(at, _)| *at),
                self.boot_at,
                Some(look),
            ];
            let next = due.into_iter().flatten().min().unwrap_or(look);
            self.pass_until(next).await;
            let now = self.now();
            if self.boot_at.is_some_and(|at| at <= now) {
                self.boot().await;
            } else if faults.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, kind, act) = faults.pop_front().unwrap_or_else(|| unreachable!());
                self.act(&kind, act, checkers).await?;
            } else if talk.front().is_some_and(|(at, _)| *at <= now) {
                let (_, one) = talk.pop_front().unwrap_or_else(|| unreachable!());
                self.say(one);
            } else {
                look = now + LOOK_EVERY;
                self.look(checkers).await?;
            }
        }
        self.heal().await;
        self.liveness(checkers).await
    }

    async fn look(&mut self, checkers: &mut Checkers) -> Result<(), String> {
        if self.store.failed() && self.world.is_up() {
            let since = *self.failed_since.get_or_insert(self.now());
            if self.world.handle.exit_requested().now_or_never().is_some() {
                self.crash(Duration::from_secs(1), checkers).await?;
            } else if self.now() > since + ASKS_FOR_ITS_END {
                return Err("G11: the store has failed, and the process does not ask for its end".to_owned());
            }
        } else {
            self.failed_since = None;
        }
        checkers.look(self)?;
        for line in checkers.changes() {
            line.hash(&mut self.trace);
        }
        Ok(())
    }

    /// Lets time pass; commands go on meanwhile.
    async fn pass_until(&mut self, at: Duration) {
        let until = self.began + at;
        loop {
            tokio::select! {
                biased;
                Some(answered) = self.commands.next(), if !self.commands.is_empty() => self.answered(answered),
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    fn answered(&mut self, answered: Answered) {
        match answered {
            Answered::Done(kind) => self.strike(&kind),
            Answered::Nothing => {}
            Answered::Sent(send) => self.book.sent[send].accepted += 1,
            Answered::SendAgain { account, chat, send } => self.send(account, chat, send, ASK_AGAIN),
        }
    }

    // === The end ===

    /// Everything is well from now on: what is not, is so from within.
    async fn heal(&mut self) {
        self.tell("calm: every fault is over");
        self.world.simulator.set_reach(Reach::Open);
        self.heal_wechat();
        for n in 0..self.accounts.len() {
            self.clear(n);
            let file = &mut self.accounts[n];
            (file.removed, file.denied, file.secret) = (false, false, file.secret_on_platform);
        }
        self.store.clear();
        self.agent.calm();
        if self.store.failed() {
            self.commands.clear();
            self.store.crash();
            self.world.crash().await;
        }
        let config = self.configuration();
        drop(self.world.begin_reload(config));
        while !self.world.is_up() {
            self.boot().await;
        }
        self.boot_at = None;
        self.since = self.now();
    }

    async fn liveness(&mut self, checkers: &mut Checkers) -> Result<(), String> {
        let healed = self.now();
        // The file is applied until it is, and whoever was stopped is started again.
        let mut applied = false;
        loop {
            if !applied {
                let config = self.configuration();
                applied = self.world.begin_reload(config).await.is_ok();
                for n in 0..self.all_accounts() {
                    // One that runs says so.
                    drop(self.world.handle.start(&self.world.id(n)).await);
                }
                if applied {
                    checkers.calm(self, healed);
                    for n in 0..self.all_accounts() {
                        self.say_directly(n, 1, false);
                    }
                }
            } else {
                self.nudge();
            }
            let next = self.now() + LOOK_EVERY;
            self.pass_until(next).await;
            self.look(checkers).await?;
            if applied && checkers.is_well(self)? && self.commands.is_empty() {
                break;
            }
            if !applied && self.now() > healed + Duration::from_secs(120) {
                return Err("a configuration is not applied within two minutes of calm".to_owned());
            }
        }
        checkers.verdict(self)
    }

    /// Counts what struck.
    fn gather(&mut self) {
        for (n, app) in self.world.apps.iter().enumerate() {
            for (fault, times) in self.world.simulator.struck(&app.app_id).unwrap() {
                let kind = self.set.iter().find(|(account, set, _)| *account == n && *set == fault);
                if let Some((_, _, kind)) = kind {
                    *self.struck.entry(kind.clone()).or_default() += times;
                }
            }
        }
        self.gather_wechat();
        for (kind, times) in self.store.struck().into_iter().chain(self.agent.struck()) {
            self.struck.insert(kind.to_owned(), times);
        }
    }
}
