//! Races, lies and starvation that were looked for on purpose: each test is named after the property it holds the
//! runtime to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moorline_channel::Factory;
use moorline_config::{AGENT_KINDS, Source, load};
use moorline_core::{
    AccountId, AccountState, BootId, Clock, ConversationId, Fingerprint, IdentityState, InboxId, Monotonic,
    OutboxId, Timestamp,
};
use moorline_feishu::Feishu;
use moorline_runtime::{CommandError, Handle, Options, Runtime};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, App, Cut, Fault, Lost, NewApp, Push, Reach, Redelivery, Times};
use moorline_store::{
    Counts, DataDir, Entry, Fault as StoreFault, Health, InboxRow, Op, OutboxRow, Outcome, Role,
    SqliteOptions, SqliteStore, Store, StoreError, StoredIdentity, TurnRow, Tx, Waiting, Work,
};
use moorline_supervision::{Fault as Drill, NodeState};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};
use tokio::sync::watch;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

// === A runtime on a store that takes its time ===

/// A store with the timing of one that works on threads of its own, in virtual time.
struct Slow {
    inner: Arc<SqliteStore>,
    /// How long a commit that receives a message takes.
    receive_ms: AtomicU64,
    /// How many polls after the first one the answer to a receipt is there: a thread may be done at any of them.
    receive_polls: AtomicU32,
    /// Whether whoever asks is woken by the writer, or by the clock itself.
    detached: bool,
    /// Reads of a transcript that fail from now on.
    bad_reads: AtomicU32,
    /// Ends of turns that are refused from now on.
    bad_ends: AtomicU32,
}

fn used_up(left: &AtomicU32) -> bool {
    left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok()
}

impl Store for Slow {
    fn commit(&self, tx: Tx) -> BoxFuture<'static, Result<Vec<Outcome>, StoreError>> {
        let inner = Arc::clone(&self.inner);
        let receives = tx.ops.iter().any(|op| matches!(op, Op::Receive { .. }));
        if tx.ops.iter().any(|op| matches!(op, Op::FinishTurn { .. })) && used_up(&self.bad_ends) {
            return async { Err(StoreError::Refused("drill".to_owned())) }.boxed();
        }
        let wait = Duration::from_millis(if receives { self.receive_ms.load(Relaxed) } else { 0 });
        let polls = if receives { self.receive_polls.load(Relaxed) } else { 0 };
        let detached = self.detached;
        async move {
            if wait.is_zero() {
                let answer = inner.commit(tx).await;
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                return answer;
            }
            if !detached {
                tokio::time::sleep(wait).await;
                return inner.commit(tx).await;
            }
            // What was handed over is carried out even if nobody waits for it any more.
            #[allow(clippy::disallowed_methods, reason = "stands for the store's own thread")]
            let writer = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                inner.commit(tx).await
            });
            writer.await.unwrap()
        }
        .boxed()
    }

    fn next_work(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<Work>, StoreError>> {
        self.inner.next_work(account, conversation)
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Waiting>, StoreError>> {
        self.inner.conversations_with_work(account, after, limit)
    }

    fn interrupted_turns(&self, account: &AccountId) -> BoxFuture<'static, Result<Vec<TurnRow>, StoreError>> {
        self.inner.interrupted_turns(account)
    }

    fn held(&self, account: &AccountId, limit: u32) -> BoxFuture<'static, Result<Vec<InboxRow>, StoreError>> {
        self.inner.held(account, limit)
    }

    fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        if used_up(&self.bad_reads) {
            return async { Err(StoreError::Refused("drill".to_owned())) }.boxed();
        }
        self.inner.transcript(account, conversation, limit)
    }

    fn outbox_heads(
        &self,
        account: &AccountId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        self.inner.outbox_heads(account, limit)
    }

    fn outbox_row(&self, id: OutboxId) -> BoxFuture<'static, Result<Option<OutboxRow>, StoreError>> {
        self.inner.outbox_row(id)
    }

    fn identity(
        &self,
        account: &AccountId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<Option<StoredIdentity>, StoreError>> {
        self.inner.identity(account, fingerprint)
    }

    fn cursor(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.inner.cursor(account, kind)
    }

    fn answer(
        &self,
        key: &str,
    ) -> BoxFuture<'static, Result<Option<moorline_store::RequestAnswer>, StoreError>> {
        self.inner.answer(key)
    }

    fn remembered(&self, name: &str) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.inner.remembered(name)
    }

    fn counts(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Counts>, StoreError>> {
        self.inner.counts()
    }

    fn lives(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, moorline_store::Life>, StoreError>> {
        self.inner.lives()
    }

    fn listing(&self) -> &dyn moorline_store::Listing {
        self.inner.listing()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }
}

/// Virtual time with a wall clock that can be set.
struct Settable {
    origin: Instant,
    shift_ms: AtomicI64,
}

impl Clock for Settable {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_795_176_000_000 + self.shift_ms.load(Relaxed)) + self.origin.elapsed()
    }
}

/// A runtime of one account on such a store and such a clock.
struct Rig {
    simulator: Simulator,
    app: App,
    handle: Handle,
    store: Arc<Slow>,
    clock: Arc<Settable>,
    _runtime: Runtime,
}

impl Rig {
    async fn start(detached: bool) -> Self {
        Self::on(SqliteStore::inline(None).unwrap(), detached).await
    }

    async fn on(store: SqliteStore, detached: bool) -> Self {
        let simulator = Simulator::new(7);
        let app = simulator.add_app(NewApp::named("Bot").with_credentials("cli_0000000000000000", "secret"));
        let mut text = "data_dir = \"unused\"\n[agents.default]\nkind = \"echo\"\n".to_owned();
        let _ = write!(
            text,
            "[channels.feishu.accounts.a0]\nbase_url = \"http://platform.test\"\napp_id = \"{}\"\napp_secret = \"{}\"\n",
            app.app_id, app.app_secret
        );
        let source = Source { path: "rig.toml".into(), text };
        let config = load(&source, &BTreeMap::new(), &[Feishu.schema()], AGENT_KINDS)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let plans =
            config.accounts.iter().map(|a| (a.id.clone(), Feishu.parse(&a.settings).unwrap())).collect();
        let store = Arc::new(Slow {
            inner: Arc::new(store),
            receive_ms: AtomicU64::new(0),
            receive_polls: AtomicU32::new(0),
            detached,
            bad_reads: AtomicU32::new(0),
            bad_ends: AtomicU32::new(0),
        });
        let clock = Arc::new(Settable { origin: Instant::now(), shift_ms: AtomicI64::new(0) });
        let runtime = Runtime::start(Options {
            config,
            plans,
            agents: BTreeMap::new(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            logins: std::rc::Rc::new(moorline_runtime::MemoryLogins::default()),
            network: moorline_simulator::memory::network(&simulator),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            boot: BootId::new("boot-rig"),
            seed: 7,
            version: "test",
            config_file: None,
            machine: Arc::new(()),
            children: Vec::new(),
        })
        .await
        .unwrap();
        let rig = Self { simulator, app, handle: runtime.handle(), store, clock, _runtime: runtime };
        rig.until("ready", 5 * SECOND, |r| r.handle.board().is_ready(&r.id())).await;
        rig
    }

    fn id(&self) -> AccountId {
        "feishu:a0".parse().unwrap()
    }

    fn say(&self, user: &str, text: &str) {
        self.simulator.push(&self.app.app_id, Push::direct(chat_of(user).as_str(), user, text)).unwrap();
    }

    fn copies(&self, user: &str, text: &str) -> usize {
        self.simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of(user), text))
    }

    async fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            if began.elapsed() >= limit {
                let counts = self.store.counts().await.unwrap();
                panic!("not within {limit:?}: {what}; {counts:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

// === Conversations ===

fn conversations(handle: &Handle) -> usize {
    handle.tree().iter().filter(|node| node.path.starts_with("runtime/conversations/")).count()
}

/// The second wake-up came before the conversation was up, was noted as "start it again", and that note was never
/// taken back: the conversation may not sleep, for ever, and 4096 of them leave no room for anybody else.
#[test]
fn a_conversation_woken_twice_at_once_goes_to_sleep_like_any_other() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        for n in 0..10 {
            let user = format!("u{n}");
            world.say(0, &user, "one");
            world.say(0, &user, "two");
        }
        world
            .until("answered", 5 * SECOND, |w| (0..10).all(|n| w.copies(&format!("u{n}"), "two") == 1))
            .await;
        tokio::time::sleep(300 * SECOND).await;
        assert_eq!(conversations(&world.handle), 0, "conversations that rest keep their actors");
    });
}

/// A wake-up during the farewell: the router starts the conversation again while its old task still holds the name.
#[test]
fn a_message_that_comes_as_its_conversation_falls_asleep_is_answered() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let mut lost = Vec::new();
        for offset in 29_995..30_006_u64 {
            let user = format!("u{offset}");
            world.say(0, &user, "before");
            tokio::time::sleep(Duration::from_millis(offset)).await;
            world.say(0, &user, "while falling asleep");
            tokio::time::sleep(600 * SECOND).await;
            if world.copies(&user, "while falling asleep") != 1 {
                lost.push(offset);
            }
        }
        world.check().await;
        assert!(lost.is_empty(), "acknowledged, pending and never dispatched; ms after the first: {lost:?}");
    });
}

/// The router hands a wake-up on and then says "sleep": the conversation works and does not end, the router takes
/// it for asleep, and no later wake-up ever reaches it.
#[test]
fn a_conversation_that_is_woken_while_it_asks_to_sleep_hears_of_later_messages() {
    in_virtual_time(async {
        let rig = Rig::start(false).await;
        rig.simulator.set_redelivery(Redelivery { ladder: Vec::new(), ..Redelivery::default() });
        let mut deaf = Vec::new();
        for gap in 990..1_010_u64 {
            let user = format!("u{gap}");
            // Its commit was begun before the conversation rests, and ends when that has rested long enough.
            rig.store.receive_ms.store(31_000, Relaxed);
            rig.say(&user, "second");
            tokio::time::sleep(Duration::from_millis(gap)).await;
            rig.store.receive_ms.store(0, Relaxed);
            rig.say(&user, "first");
            tokio::time::sleep(40 * SECOND).await;
            rig.say(&user, "third");
            tokio::time::sleep(600 * SECOND).await;
            rig.say(&user, "fourth");
            tokio::time::sleep(600 * SECOND).await;
            let answered = ["first", "second", "third", "fourth"].map(|text| rig.copies(&user, text));
            if answered != [1; 4] {
                deaf.push((gap, answered));
            }
        }
        assert!(deaf.is_empty(), "(ms between the first two, copies of each answer): {deaf:?}");
    });
}

/// A claimed turn whose transcript cannot be read, or whose end is refused once, is nobody's from then on.
#[test]
fn a_turn_whose_reads_or_end_the_store_refuses_once_is_taken_up_again() {
    in_virtual_time(async {
        let rig = Rig::start(true).await;
        rig.store.bad_reads.store(1, Relaxed);
        rig.say("alice", "unlucky read");
        rig.store.bad_ends.store(1, Relaxed);
        tokio::time::sleep(600 * SECOND).await;
        rig.say("alice", "next");
        rig.say("bob", "unlucky end");
        tokio::time::sleep(600 * SECOND).await;
        let copies = |user, text| rig.copies(user, text);
        assert_eq!(
            (copies("alice", "unlucky read"), copies("alice", "next"), copies("bob", "unlucky end")),
            (1, 1, 1)
        );
    });
}

/// Conversations that have nothing to do hold all places for half a minute.
#[test]
fn idle_conversations_of_one_account_do_not_hold_up_another_account_f062() {
    in_virtual_time(async {
        let world = World::start(Setup { accounts: 2, ..Setup::default() }).await;
        world.settled().await;
        for n in 0..4_200 {
            world.say(0, &format!("u{n}"), "hello");
            if n % 100 == 99 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(world.handle.board().turns(), 0);
        println!("{} conversations rest", conversations(&world.handle));
        world.say(1, "alice", "am I next?");
        let took = world.until("answered", 120 * SECOND, |w| w.copies("alice", "am I next?") == 1).await;
        assert!(took < 2 * SECOND, "answered after {took:?} behind conversations that only rest");
    });
}

// === Receipt ===

/// Commits are handed to the store in the order in which their futures are polled, and actix does not poll the
/// futures of an actor in the order in which they were spawned.
#[test]
fn messages_of_one_chat_are_answered_in_the_order_in_which_they_came_g3() {
    in_virtual_time(async {
        let rig = Rig::start(true).await;
        let mut wrong = Vec::new();
        for polls in 1..8 {
            rig.store.receive_polls.store(polls, Relaxed);
            for gap in 0..12 {
                let user = format!("u{polls}-{gap}");
                for burst in ["0", "1 2", "3 4", "5 6 7"] {
                    burst.split(' ').for_each(|text| rig.say(&user, text));
                    for _ in 0..gap {
                        tokio::task::yield_now().await;
                    }
                }
                tokio::time::sleep(10 * SECOND).await;
                let chat = chat_of(&user);
                let texts: Vec<String> =
                    rig.simulator.read_ledger(|l| l.visible_in(&chat).map(|m| m.text.clone()).collect());
                if texts != ["0", "1", "2", "3", "4", "5", "6", "7"] {
                    wrong.push((polls, gap, texts.join(" ")));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

/// The same on the store as it is in production, in real time.
#[test]
fn messages_of_one_chat_are_answered_in_order_on_a_store_with_threads_g3() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let store = SqliteStore::open(&data, SqliteOptions::default()).unwrap();
    actix_rt::System::new().block_on(async {
        let rig = Rig::on(store, true).await;
        let users: Vec<String> = (0..400).map(|n| format!("u{n}")).collect();
        for group in users.chunks(20) {
            for user in group {
                (0..8).for_each(|text| rig.say(user, &format!("{text}")));
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        while rig.store.counts().await.unwrap()[&rig.id()].answered < 8 * 400 {
            assert!(began.elapsed() < 60 * SECOND);
            tokio::time::sleep(SECOND / 10).await;
        }
        let mut wrong = Vec::new();
        for user in &users {
            let chat = ConversationId::new(chat_of(user).as_str());
            let entries = rig.store.transcript(&rig.id(), &chat, 50).await.unwrap();
            let said: String =
                entries.iter().filter(|e| e.role == Role::User).map(|e| e.text.as_str()).collect();
            if said != "01234567" {
                wrong.push(said);
            }
        }
        assert!(wrong.is_empty(), "{} of 400 chats: {wrong:?}", wrong.len());
    });
}

/// The commit outlives the connection that asked for it; what it stored is then known as a duplicate when it comes
/// again, acknowledged, and nobody wakes its conversation.
#[test]
fn a_message_that_is_stored_while_its_connection_restarts_is_answered_g1() {
    in_virtual_time(async {
        let rig = Rig::start(true).await;
        rig.store.receive_ms.store(500, Relaxed);
        rig.say("alice", "hello?");
        tokio::time::sleep(SECOND / 10).await;
        rig.handle.restart(&rig.id()).await.unwrap();
        tokio::time::sleep(SECOND).await;
        rig.store.receive_ms.store(0, Relaxed);
        rig.until("ready again", 5 * SECOND, |r| r.handle.board().is_ready(&r.id())).await;
        tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
        let acked = rig.simulator.read_ledger(|l| l.acked().count());
        assert_eq!((acked, rig.copies("alice", "hello?")), (1, 1), "(acknowledged, answered)");
    });
}

/// While the store refuses the verdicts on held messages, a message that comes after them overtakes them.
#[test]
fn held_messages_are_answered_before_those_that_came_after_them_f016() {
    in_virtual_time(async {
        let world = World::prepare(Setup::default(), |simulator, apps| {
            simulator
                .set_fault(&apps[0].app_id, Fault::BotInfo(Answer::Status(503)), Times::UntilCleared)
                .unwrap();
        })
        .await;
        world.all_ready(5 * SECOND).await;
        let group = |text: &str| Push::group("oc_group", "ou_bob", text).mentioning_bot();
        world.simulator.push(world.app(0), group("first")).unwrap();
        tokio::time::sleep(SECOND).await;
        world.store.inject(StoreFault::Full(true));
        world.simulator.clear_faults(world.app(0)).unwrap();
        world
            .until("identity known", 120 * SECOND, |w| w.status(0).identity.state == IdentityState::Verified)
            .await;
        world.store.inject(StoreFault::Full(false));
        world.simulator.push(world.app(0), group("second")).unwrap();
        tokio::time::sleep(60 * SECOND).await;
        let chat = moorline_core::ChatId::new("oc_group");
        let texts: Vec<String> =
            world.simulator.read_ledger(|l| l.visible_in(&chat).map(|m| m.text.clone()).collect());
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("first"), "{texts:?}");
    });
}

// === Delays ===

#[test]
fn a_platform_that_says_wait_is_not_asked_earlier_because_a_neighbour_connected() {
    in_virtual_time(async {
        let world = World::prepare(Setup { accounts: 2, ..Setup::default() }, |simulator, apps| {
            let limited = Fault::Endpoint(Answer::RateLimited { reset: 3_600 });
            simulator.set_fault(&apps[0].app_id, limited, Times::UntilCleared).unwrap();
        })
        .await;
        world.until("a1 is ready", 5 * SECOND, |w| w.status(1).state == AccountState::Ready).await;
        tokio::time::sleep(10 * SECOND).await;
        let calls = |w: &World| w.simulator.counters(w.app(0)).unwrap().endpoint_calls;
        let before = calls(&world);
        for _ in 0..10 {
            world.simulator.drop_connections(world.app(1), &Cut::Reset).unwrap();
            tokio::time::sleep(130 * SECOND).await;
        }
        assert_eq!(calls(&world) - before, 0, "calls within 22 min although told to wait an hour");
    });
}

#[test]
fn a_send_that_the_platform_throttled_waits_as_long_as_it_said_also_over_a_reconnect_f054() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let limited = Fault::Send(Answer::RateLimited { reset: 120 });
        world.simulator.set_fault(world.app(0), limited, Times::Count(1)).unwrap();
        world.say(0, "alice", "slowly");
        tokio::time::sleep(SECOND).await;
        world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.copies("alice", "slowly"), 0, "sent again within the time the platform asked for");
        world.until("sent", 62 * SECOND, |w| w.copies("alice", "slowly") == 1).await;
    });
}

#[test]
fn channel_ready_ends_the_wait_of_all_replies_not_only_of_the_first_sixteen_f058() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Send(Answer::Reset), Times::UntilCleared).unwrap();
        for n in 0..60 {
            world.say(0, &format!("u{n}"), "hello");
        }
        tokio::time::sleep(600 * SECOND).await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        tokio::time::sleep(10 * SECOND).await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(61 * SECOND).await;
        let sent = |w: &World| (0..60).filter(|n| w.copies(&format!("u{n}"), "hello") == 1).count();
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(sent(&world), 60, "two seconds after ChannelReady");
    });
}

/// Replies wait by the wall clock: when it is set back, by its error.
#[test]
fn a_step_of_the_wall_clock_changes_no_delay_of_a_reply_f089() {
    in_virtual_time(async {
        let rig = Rig::start(true).await;
        rig.simulator.set_fault(&rig.app.app_id, Fault::Send(Answer::Status(503)), Times::Count(1)).unwrap();
        rig.say("alice", "hello");
        tokio::time::sleep(SECOND / 10).await;
        rig.clock.shift_ms.store(-6 * 3_600_000, Relaxed);
        tokio::time::sleep(300 * SECOND).await;
        assert_eq!(rig.copies("alice", "hello"), 1, "five minutes after one failed attempt");
    });
}

/// An attempt whose outcome is unknown is repeated after the platform has forgotten its key.
#[test]
fn a_reply_repeated_after_the_platform_has_forgotten_its_key_is_marked_g4() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::LoseSendAnswer(Lost::Reset), Times::Count(1)).unwrap();
        world.say(0, "alice", "once");
        world.until("visible", SECOND, |w| w.copies("alice", "once") == 1).await;
        world.simulator.set_reach(Reach::Refused);
        world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        world.simulator.set_reach(Reach::Open);
        tokio::time::sleep(120 * SECOND).await;
        // Repeated by policy, and marked: the one case in which a user may see something twice (design §6).
        assert_eq!(world.copies("alice", "once"), 2);
        let row = world.store.outbox_row(moorline_core::OutboxId::new(1)).await.unwrap().unwrap();
        assert!(row.possibly_repeated);
    });
}

// === The board and commands ===

fn check_board(world: &World, when: &str) {
    let now = world.handle.now();
    for n in 0..world.apps.len() {
        let status = world.status(n);
        assert!(status.next_attempt_at.is_none_or(|at| at >= now), "{when}: {status:#?}");
        assert!(status.identity.next_attempt_at.is_none_or(|at| at >= now), "{when}: {:#?}", status.identity);
    }
}

#[test]
fn a_stopped_account_announces_no_attempt() {
    in_virtual_time(async {
        let world = World::prepare(Setup::default(), |simulator, apps| {
            let fault = Fault::BotInfo(Answer::Status(503));
            simulator.set_fault(&apps[0].app_id, fault, Times::UntilCleared).unwrap();
        })
        .await;
        tokio::time::sleep(30 * SECOND).await;
        world.handle.stop(&world.id(0)).await.unwrap();
        tokio::time::sleep(300 * SECOND).await;
        check_board(&world, "stopped");
    });
}

#[test]
fn accounts_whose_supervisor_is_parked_are_not_shown_as_trying_again_soon_g14() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        let path = "runtime/accounts";
        let node = |w: &World| w.handle.tree().into_iter().find(|node| node.path == path).unwrap();
        for _ in 0..6 {
            world.until("it runs", 70 * SECOND, |w| node(w).state == NodeState::Running).await;
            tokio::time::sleep(SECOND / 2).await;
            assert!(world.handle.drills().inject(path, Drill::Panic));
            tokio::time::sleep(SECOND / 10).await;
        }
        assert_eq!(node(&world).state, NodeState::Parked);
        tokio::time::sleep(300 * SECOND).await;
        for n in 0..3 {
            assert_ne!(world.status(n).state, AccountState::Ready, "{n}");
        }
        check_board(&world, "parked above the accounts");
    });
}

#[test]
fn commands_to_a_parked_account_do_not_contradict_each_other() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let path = "runtime/accounts/feishu:a0";
        let node = |w: &World| w.handle.tree().into_iter().find(|node| node.path == path).unwrap();
        for _ in 0..6 {
            world.until("it runs", 70 * SECOND, |w| node(w).state == NodeState::Running).await;
            assert!(world.handle.drills().inject(path, Drill::Panic));
            tokio::time::sleep(SECOND / 10).await;
        }
        assert_eq!(world.status(0).state, AccountState::Parked);
        let id = world.id(0);
        let sent = world.handle.send(&id, chat_of("alice"), "kept".to_owned(), None).await;
        assert!(sent.is_ok(), "{sent:?}");
        let probed = world.handle.probe(&id).await;
        let is_stopped = matches!(&probed, Err(CommandError::IsStopped(_)));
        assert!(!is_stopped, "probe: {probed:?}, while start says: {:?}", world.handle.start(&id).await);
    });
}

#[test]
fn commands_in_any_order_and_at_once_leave_an_account_that_works() {
    in_virtual_time(async {
        for seed in 0..12_u64 {
            let world = World::start(Setup { seed, agent_delay: "300ms", ..Setup::default() }).await;
            world.settled().await;
            let id = world.id(0);
            let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut roll = |n: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % n
            };
            for step in 0..40 {
                let (a, b) = (roll(5), roll(5));
                let act = |which: u64| {
                    let (handle, id) = (world.handle.clone(), id.clone());
                    async move {
                        match which {
                            0 => handle.start(&id).await,
                            1 => handle.stop(&id).await,
                            2 => handle.restart(&id).await,
                            _ => handle.probe(&id).await,
                        }
                    }
                };
                world.say(0, &format!("u{}", step % 5), &format!("s{seed}-{step}"));
                if roll(4) == 0 {
                    let actors = ["connection", "identity", "outbox", "credentials"];
                    let actor = actors[usize::try_from(roll(4)).unwrap()];
                    world.handle.drills().inject(&format!("runtime/accounts/{id}/{actor}"), Drill::Panic);
                }
                let (x, y) = tokio::join!(act(a), act(b));
                for answer in [x, y] {
                    assert!(!matches!(answer, Err(CommandError::Busy)), "seed {seed} step {step}");
                }
                tokio::time::sleep(Duration::from_millis(roll(3_000))).await;
            }
            drop(world.handle.start(&id).await);
            drop(world.handle.restart(&id).await);
            world.all_ready(61 * SECOND).await;
            tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
            let missing: Vec<String> = (0..40)
                .map(|step| (format!("u{}", step % 5), format!("s{seed}-{step}")))
                .filter(|(user, text)| world.copies(user, text) != 1)
                .map(|(_, text)| text)
                .collect();
            assert!(missing.is_empty(), "seed {seed}: {missing:?}\n{}", world.describe());
            world.check().await;
        }
    });
}

/// A connection that comes back by itself while the process says goodbye.
#[test]
fn nothing_connects_again_during_an_orderly_end() {
    in_virtual_time(async {
        let mut world = World::start(Setup { agent_delay: "8s", ..Setup::default() }).await;
        world.settled().await;
        world.say(1, "alice", "slow question");
        tokio::time::sleep(SECOND).await;
        let opened = world.simulator.counters(world.app(0)).unwrap().opened;
        let handle = world.handle.clone();
        let fault = async {
            tokio::time::sleep(SECOND).await;
            assert!(handle.drills().inject("runtime/accounts/feishu:a0/connection", Drill::Panic));
        };
        tokio::join!(world.shutdown(), fault);
        assert_eq!(world.simulator.counters(world.app(0)).unwrap().opened, opened);
        assert_eq!(world.copies("alice", "slow question"), 1);
    });
}

// === Platforms that refuse ===

#[test]
fn a_platform_that_refuses_every_token_is_not_hammered() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let refused = Fault::Send(Answer::Code { status: 400, code: 99_991_663 });
        world.simulator.set_fault(world.app(0), refused, Times::UntilCleared).unwrap();
        let before = world.simulator.counters(world.app(0)).unwrap();
        for n in 0..10 {
            world.say(0, &format!("u{n}"), "hello");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let after = world.simulator.counters(world.app(0)).unwrap();
        let (tokens, sends) = (after.token_requests - before.token_requests, after.sends - before.sends);
        println!("an hour of refused tokens, ten chats: {tokens} token calls, {sends} sends");
        assert!(tokens < 2_000 && sends < 4_000, "{tokens} {sends}");
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.until("sent", 61 * SECOND, |w| (0..10).all(|n| w.copies(&format!("u{n}"), "hello") == 1)).await;
    });
}

#[test]
fn a_store_that_is_full_for_an_hour_loses_and_doubles_nothing_f074() {
    in_virtual_time(async {
        let world = World::start(Setup { agent_delay: "2s", ..Setup::default() }).await;
        world.settled().await;
        for n in 0..10 {
            world.say(n % 3, &format!("u{n}"), "before");
        }
        tokio::time::sleep(SECOND).await;
        world.store.inject(StoreFault::Full(true));
        for n in 0..10 {
            world.say(n % 3, &format!("u{n}"), "during");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        world.store.inject(StoreFault::Full(false));
        tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
        for n in 0..10 {
            for text in ["before", "during"] {
                assert_eq!(world.copies(&format!("u{n}"), text), 1, "{n} {text}");
            }
        }
        world.check().await;
    });
}
