//! Carries a schedule out: one loop that speaks, hurts, looks, and finally heals and waits for all to be well.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moorline_config::{Config, DirectPolicy};
use moorline_core::{ChatId, IdempotencyKey, Secret, Value};
use moorline_simulator::feishu::{
    ChatType, ConnectionLimit, Cut, Fault, Mention, NewApp, Push, Rates, Reach, RefusedAt,
};
use moorline_store::SqliteStore;
use moorline_supervision::Fault as Drill;
use tokio::time::Instant;

use super::agent::Unsteady;
use super::book::{self, Audience, Book, Said, Sent};
use super::checkers::Checkers;
use super::faults::{Act, Actor, Command, Edit, Lure};
use super::report::{Failure, Outcome, clock};
use super::schedule::{Schedule, Talk, direct_chat, group_chat, shared_chat};
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
    /// The wall clock was set by an hour or more.
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
        let original = world.config();
        Self {
            world,
            store,
            agent,
            book: Book::default(),
            since: Duration::ZERO,
            slept: Duration::ZERO,
            misled: false,
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
        !self.accounts[account].removed
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

    // === What is said ===

    fn say(&mut self, talk: Talk) {
        match talk {
            Talk::Direct { account, user, long } => self.say_directly(account, user, long),
            Talk::Group { account, group, mention, thread, long } => {
                let text = book::question(self.book.said.len(), long);
                let mut push = Push::group(group_chat(group, account).as_str(), "ou_somebody", text);
                let thread = thread.map(|n| format!("omt_{group}_{n}_a{account}"));
                if let Some(thread) = &thread {
                    push = push.in_thread(thread.clone());
                }
                let audience = if mention { Audience::Mention } else { Audience::Bystander };
                self.push(
                    account,
                    if mention { push.mentioning_bot() } else { push },
                    thread,
                    audience,
                    long,
                );
            }
            Talk::Shared { account } => {
                let apps: Vec<_> = self.world.apps.iter().map(|app| app.app_id.clone()).collect();
                let number = self.book.said.len();
                let push = Push::group(
                    shared_chat().as_str(),
                    "ou_somebody",
                    book::question(number + account, false),
                );
                let push = push.mentioning(Mention::Bot(apps[account].clone()));
                let pushed = self.world.simulator.push_to(&apps, push).unwrap();
                for (n, pushed) in pushed.into_iter().enumerate() {
                    let audience = if n == account { Audience::Mention } else { Audience::Bystander };
                    let (chat, message, at) = (shared_chat(), pushed.message_id, self.now());
                    self.note(Said { account: n, chat, thread: None, audience, long: false, message, at });
                }
            }
            Talk::Operator { account, user, send } => {
                let chat = direct_chat(user, account);
                while self.book.sent.len() <= send {
                    self.book.sent.push(Sent { account, chat: chat.clone(), accepted: 0 });
                }
                let Sent { account, chat, .. } = self.book.sent[send].clone();
                self.send(account, chat, send, Duration::ZERO);
            }
        }
    }

    fn say_directly(&mut self, account: usize, user: usize, long: bool) {
        let text = book::question(self.book.said.len(), long);
        let push = Push::direct(direct_chat(user, account).as_str(), format!("ou_u{user}"), text);
        self.push(account, push, None, Audience::Direct, long);
    }

    fn push(&mut self, account: usize, push: Push, thread: Option<String>, audience: Audience, long: bool) {
        let chat = push.chat_id.clone();
        let app = self.world.app(account).clone();
        let pushed = self.world.simulator.push(&app, push).unwrap();
        let (message, at) = (pushed.message_id, self.now());
        self.note(Said { account, chat, thread, audience, long, message, at });
    }

    fn note(&mut self, said: Said) {
        self.agent.expect(self.book.said.len(), said.account);
        self.book.note(said);
    }

    /// An operator sends a message, and goes on until somebody says that it has been taken.
    fn send(&mut self, account: usize, chat: ChatId, send: usize, after: Duration) {
        let id = self.world.id(account);
        let (handle, up) = (self.world.handle.clone(), self.world.is_up());
        let key = Some(IdempotencyKey::new(format!("op-{send}")));
        self.commands.push(
            async move {
                tokio::time::sleep(after).await;
                if up && handle.send(&id, chat.clone(), book::announcement(send), key).await.is_ok() {
                    return Answered::Sent(send);
                }
                Answered::SendAgain { account, chat, send }
            }
            .boxed_local(),
        );
    }

    // === What is done ===

    /// Remembers which kind a fault belongs to. A key that lapses is counted where it did.
    fn know(&mut self, account: usize, fault: Fault, kind: &str) {
        if kind != KEY_LAPSES {
            self.set.push((account, fault, kind.to_owned()));
        }
    }

    /// Counts a fault that struck.
    pub fn strike(&mut self, kind: &str) {
        *self.struck.entry(kind.to_owned()).or_default() += 1;
    }

    fn tell(&mut self, line: &str) {
        let line = format!("{} {line}", clock(self.now()));
        line.hash(&mut self.trace);
        self.story.push(line);
    }

    async fn act(&mut self, kind: &str, act: Act, checkers: &mut Checkers) -> Result<(), String> {
        self.tell(&format!("{kind}: {act:?}"));
        let simulator = self.world.simulator.clone();
        let app = |stage: &Self, account: usize| stage.world.app(account).clone();
        match act {
            Act::Set { account, fault, times, lure } => {
                self.know(account, fault.clone(), kind);
                // One that is there from the beginning was set before the first connection.
                if !self.now().is_zero() {
                    simulator.set_fault(&app(self, account), fault, times).unwrap();
                    self.lure(account, lure);
                }
            }
            Act::Clear { account } => self.clear(account),
            Act::Cut { account, cut } => {
                if simulator.drop_connections(&app(self, account), &cut).unwrap() > 0 {
                    self.strike(kind);
                }
            }
            Act::Inject { account, frame } => {
                if simulator.inject(&app(self, account), frame).unwrap() > 0 {
                    self.strike(kind);
                }
            }
            Act::Revoke { account } => {
                simulator.revoke_tokens(&app(self, account)).unwrap();
                self.strike(kind);
                self.say_directly(account, 0, false);
            }
            Act::PushAgain { account } => {
                let last = self.book.said.iter().rev().find(|said| said.account == account);
                let message = last.map(|said| said.message.clone());
                if let Some(message) = message
                    && simulator.push_again(&app(self, account), &message).unwrap().is_some()
                {
                    self.strike(kind);
                }
            }
            Act::Reach { reach, cut } => {
                simulator.set_reach(reach);
                if reach != Reach::Open {
                    self.strike(kind);
                }
                for n in 0..self.accounts.len() {
                    if let Some(cut) = &cut {
                        simulator.drop_connections(&app(self, n), cut).unwrap();
                    }
                }
            }
            Act::Panic { actor } => {
                self.misled |= self.set_far;
                if self.panic(&actor) {
                    self.strike(kind);
                }
            }
            Act::Crash { down } => {
                if self.world.is_up() {
                    self.strike(kind);
                    self.crash(down, checkers).await?;
                }
            }
            Act::Restart { down } => {
                if self.world.is_up() && !self.store.failed() {
                    self.strike(kind);
                    self.commands.clear();
                    self.world.shutdown().await;
                    self.gone(down, checkers)?;
                }
            }
            Act::Reload(edit) => self.reload(kind, edit),
            Act::Operator { account, command } => self.command(kind, account, command),
            Act::Clock { seconds } => {
                self.world.clock.step(seconds * 1_000);
                self.set_far |= seconds.unsigned_abs() >= 3_600;
                self.strike(kind);
            }
            Act::Sleep(span) => {
                self.world.sleep_machine(span);
                self.slept += span;
                self.strike(kind);
            }
            Act::Freeze(span) => {
                tokio::time::advance(span).await;
                self.frozen = Some(self.now());
                self.strike(kind);
            }
            Act::Store(mood) => self.store.set(mood),
            Act::StoreWell => self.store.clear(),
        }
        Ok(())
    }

    fn lure(&mut self, account: usize, lure: Lure) {
        let app = self.world.app(account).clone();
        match lure {
            Lure::None => {}
            Lure::Reconnect => drop(self.world.simulator.drop_connections(&app, &Cut::Reset).unwrap()),
            Lure::Message => self.say_directly(account, 0, false),
            Lure::Token => {
                self.world.simulator.revoke_tokens(&app).unwrap();
                self.say_directly(account, 0, false);
            }
            Lure::Probe => self.command("", account, Command::Probe),
        }
    }

    /// Ends all faults of an app; those that struck have been counted by it.
    fn clear(&mut self, account: usize) {
        let app = self.world.app(account).clone();
        self.world.simulator.clear_faults(&app).unwrap();
    }

    fn panic(&self, actor: &Actor) -> bool {
        if !self.world.is_up() {
            return false;
        }
        let drills = self.world.handle.drills();
        match actor {
            Actor::Path(path) => drills.inject(path, Drill::Panic),
            Actor::Conversation => {
                let nodes = self.world.handle.tree();
                let mut conversations =
                    nodes.iter().filter(|node| node.path.starts_with("runtime/conversations/"));
                // One that works, if any does.
                let busy = conversations.clone().find(|node| node.in_flight > 0);
                busy.or_else(|| conversations.next())
                    .is_some_and(|node| drills.inject(&node.path, Drill::Panic))
            }
        }
    }

    async fn crash(&mut self, down: Duration, checkers: &mut Checkers) -> Result<(), String> {
        self.commands.clear();
        self.store.crash();
        self.world.crash().await;
        self.gone(down, checkers)
    }

    /// There is no process any more.
    fn gone(&mut self, down: Duration, checkers: &mut Checkers) -> Result<(), String> {
        self.store.crash();
        self.since = self.now();
        self.boot_at = Some(self.now() + down);
        checkers.process_gone(self)
    }

    async fn boot(&mut self) {
        self.boot_at = None;
        match self.world.try_boot().await {
            Ok(()) => {
                self.misled |= self.set_far;
                self.since = self.now();
            }
            // Whoever starts processes tries again.
            Err(_) => {
                self.store.crash();
                self.boot_at = Some(self.now() + Duration::from_secs(1));
            }
        }
    }

    // === Configuration and commands ===

    fn reload(&mut self, kind: &str, edit: Edit) {
        self.misled |= self.set_far;
        match edit {
            Edit::Nothing => {}
            Edit::Deny(n) => self.accounts[n].denied = true,
            Edit::Allow(n) => self.accounts[n].denied = false,
            Edit::Remove(n) => self.accounts[n].removed = true,
            Edit::Add(n) => self.accounts[n].removed = false,
            Edit::RotateOnPlatform(n) => {
                self.accounts[n].secret_on_platform += 1;
                let secret = secret(n, self.accounts[n].secret_on_platform);
                let app = &self.world.apps[n];
                let new = NewApp {
                    bot_name: app.bot_name.clone(),
                    app_id: Some(app.app_id.clone()),
                    app_secret: Some(secret),
                    bot_open_id: Some(app.bot_open_id.clone()),
                };
                self.world.simulator.add_app(new);
                return;
            }
            Edit::RotateInFile(n) => self.accounts[n].secret = self.accounts[n].secret_on_platform,
        }
        let config = self.configuration();
        let applying = self.world.begin_reload(config);
        if !self.world.is_up() {
            return;
        }
        let kind = kind.to_owned();
        self.commands.push(
            async move { applying.await.map_or(Answered::Nothing, |_| Answered::Done(kind)) }.boxed_local(),
        );
    }

    /// The configuration as the file has it now.
    fn configuration(&self) -> Config {
        let mut config = self.original.clone();
        for (n, file) in self.accounts.iter().enumerate() {
            let account = &mut config.accounts[n];
            if file.secret > 0 {
                let value = Value::Secret(Secret::new(secret(n, file.secret)));
                account.settings.values.insert("app_secret".to_owned(), value);
            }
            if file.denied {
                account.access.direct = DirectPolicy::Deny;
            }
        }
        let mut files = self.accounts.iter();
        config.accounts.retain(|_| files.next().is_none_or(|file| !file.removed));
        config
    }

    fn command(&mut self, kind: &str, account: usize, command: Command) {
        self.misled |= self.set_far && command != Command::Probe;
        if !self.world.is_up() {
            return;
        }
        let (handle, id, kind) = (self.world.handle.clone(), self.world.id(account), kind.to_owned());
        self.commands.push(
            async move {
                let result = match command {
                    Command::Stop => handle.stop(&id).await,
                    Command::Start => handle.start(&id).await,
                    Command::Restart => handle.restart(&id).await,
                    Command::Probe => handle.probe(&id).await,
                };
                if result.is_ok() && !kind.is_empty() { Answered::Done(kind) } else { Answered::Nothing }
            }
            .boxed_local(),
        );
    }

    // === The end ===

    /// Everything is well from now on: what is not, is so from within.
    async fn heal(&mut self) {
        self.tell("calm: every fault is over");
        self.world.simulator.set_reach(Reach::Open);
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
                for n in 0..self.accounts.len() {
                    // One that runs says so.
                    drop(self.world.handle.start(&self.world.id(n)).await);
                }
                if applied {
                    checkers.calm(self, healed);
                    for n in 0..self.accounts.len() {
                        self.say_directly(n, 1, false);
                    }
                }
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
        for (kind, times) in self.store.struck().into_iter().chain(self.agent.struck()) {
            self.struck.insert(kind.to_owned(), times);
        }
    }
}

/// The secret of an app after so many rotations.
fn secret(account: usize, rotations: u32) -> String {
    if rotations == 0 { format!("secret-of-a{account}") } else { format!("secret-of-a{account}-{rotations}") }
}
