//! Waits that were cut short, rows that were never forgotten, and trouble that nobody was told of: each test is named
//! after the property it holds the runtime to.

use std::sync::Arc;
use std::time::Duration;

use moorline_channel::Factory;
use moorline_config::Config;
use moorline_core::{AccountState, ConversationId};
use moorline_feishu::Feishu;
use moorline_runtime::{ConfigFile, FindingKind};
use moorline_simulator::feishu::{Answer, Fault, Redelivery, Times};
use moorline_store::{SqliteStore, Store};
use moorline_supervision::Fault as Drill;
use moorline_tests::model::{AGENT, Behaviour};
use moorline_tests::sim::store::{Mood, Moody};
use moorline_tests::world::{Parts, chat_of};
use moorline_tests::{Setup, World, in_virtual_time};
use parking_lot::Mutex;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn kinds(world: &World) -> Vec<FindingKind> {
    world.handle.doctor().await.unwrap().findings.into_iter().map(|finding| finding.kind).collect()
}

/// A bot that had lost its right to send kept every reply for hours, and its doctor said "healthy".
#[test]
fn replies_that_nobody_can_send_are_a_finding_until_they_are_sent_f101_g14() {
    for (code, within) in [(230_006, MINUTE), (230_987, 10 * MINUTE)] {
        in_virtual_time(async {
            let world = World::start(Setup::default()).await;
            world.settled().await;
            let refused = Fault::Send(Answer::Code { status: 400, code });
            world.simulator.set_fault(world.app(0), refused, Times::UntilCleared).unwrap();
            world.say(0, "alice", "hello");
            sleep(within).await;
            let found = world.handle.doctor().await.unwrap().findings;
            // Where a permission is missing, that is a finding of its own.
            let found: Vec<_> =
                found.into_iter().filter(|finding| finding.kind != FindingKind::MissingScopes).collect();
            assert_eq!(found.len(), 1, "{code}: {found:?}");
            assert!(found[0].why.contains(&code.to_string()), "{found:?}");
            world.simulator.clear_faults(world.app(0)).unwrap();
            world.until("sent", 11 * MINUTE, |world| world.copies("alice", "hello") == 1).await;
            assert_eq!(kinds(&world).await, [], "{code}");
            world.check().await;
        });
    }
}

/// What a look at the outbox had read before an attempt ended was sent once more as if that had never been tried.
#[test]
fn a_slow_look_at_the_outbox_cuts_no_wait_short_f062() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        for user in ["alice", "bob"] {
            world.say(0, user, "before");
            world.until("answered", SECOND, |world| world.copies(user, "before") == 1).await;
        }
        let limited = Fault::Send(Answer::RateLimited { reset: 120 });
        world.simulator.set_fault(world.app(0), limited, Times::Count(1)).unwrap();
        world.lag.set(5 * SECOND);
        let id = world.id(0);
        let send = |user, text: &str| world.handle.send(&id, chat_of(user), text.to_owned(), None);
        // The second hint comes during the first look: the next one begins while the first message is being claimed.
        let hinting = async {
            sleep(SECOND).await;
            send("bob", "hi").await.unwrap();
        };
        let (sent, ()) = futures_util::future::join(send("alice", "hello"), hinting).await;
        sleep(60 * SECOND).await;
        let row = world.store.outbox_row(sent.unwrap().id).await.unwrap().unwrap();
        assert_eq!(row.attempts, 1, "the platform asked for 120 s: {row:?}");
        world.lag.set(Duration::ZERO);
        world.until("sent", 120 * SECOND, |world| world.copies("alice", "hello") == 1).await;
        world.check().await;
    });
}

/// One row for every conversation in which a turn ever took a second, for ever.
#[test]
fn a_sign_of_typing_that_was_taken_down_leaves_no_row_g12() {
    in_virtual_time(async {
        let world = World::start(Setup { agent_delay: "3s", ..Setup::default() }).await;
        world.settled().await;
        world.say(0, "alice", "hello");
        let kind = format!("typing:{}", chat_of("alice"));
        sleep(2 * SECOND).await;
        let mark = world.store.cursor(&world.id(0), &kind).await.unwrap();
        assert!(mark.is_some_and(|mark| !mark.is_empty()));
        world.until("answered", 5 * SECOND, |world| world.copies("alice", "hello") == 1).await;
        sleep(SECOND).await;
        assert_eq!(world.store.cursor(&world.id(0), &kind).await.unwrap(), None);
        world.check().await;
    });
}

/// it too: a disk that stands still for minutes cost memory without bound.
#[test]
fn a_store_that_stands_still_is_handed_a_bounded_number_of_deliveries_g12() {
    in_virtual_time(async {
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let moody = Moody::new(Arc::clone(&store), Duration::ZERO);
        let front = Arc::new(moody.clone()) as Arc<dyn Store>;
        let parts = Parts { front: Some(front), store: Some(store), ..Parts::default() };
        let world = World::assemble(Setup { accounts: 1, ..Setup::default() }, parts, |_, _| {}).await;
        world.settled().await;
        let ladder = [300, 600, 1_200, 2_400].map(Duration::from_secs).to_vec();
        world.simulator.set_redelivery(Redelivery { ladder, ..Redelivery::default() });
        moody.set(Mood::Slow(40 * SECOND));
        for n in 0..40_u32 {
            for m in 0..100 {
                world.say(0, &format!("u{m}"), &format!("m{n}"));
            }
            sleep(SECOND).await;
        }
        moody.clear();
        // The one that is under way.
        sleep(41 * SECOND).await;
        let counts = world.store.counts().await.unwrap()[&world.id(0)].clone();
        let handed = counts.received + counts.duplicates;
        assert!(handed <= 1_100, "{handed} waited for the store at the same time");
        // Nothing is lost by it: the platform says it again.
        let all = |world: &World| (0..100).all(|m| world.copies(&format!("u{m}"), "m39") == 1);
        world.until("all answered", DAY, all).await;
        world.check().await;
    });
}

/// and its author told so, though nothing had ever been tried.
#[test]
fn a_turn_that_waits_is_not_given_up_because_its_account_is_taken_out_f051_f075() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 2, tables: AGENT, ..Setup::default() }).await;
        let model = world.model();
        world.settled().await;
        model.set(Behaviour::Refuse);
        let own = |config: &mut moorline_config::Config| {
            let away = config.agents["default"].clone();
            config.agents.insert("own".to_owned(), away);
            config.accounts[1].agent = "own".to_owned();
        };
        world.reload(own).await.unwrap();
        let with_own = world.config();
        world.say(1, "alice", "hello");
        world.until("it waits", SECOND, |world| world.handle.board().waiting() == 1).await;
        world
            .reload(|config| {
                config.accounts.pop();
                config.agents.remove("own");
            })
            .await
            .unwrap();
        sleep(MINUTE).await;
        assert_eq!(world.handle.board().waiting(), 0, "nobody waits for an account that is gone");
        world.begin_reload(with_own).await.unwrap();
        model.set(Behaviour::Echo(Duration::ZERO));
        world.settled().await;
        world.until("answered", MINUTE, |world| world.copies("alice", "hello") == 1).await;
        let chat = chat_of("alice");
        let seen = world.simulator.read_ledger(|ledger| ledger.visible_in(&chat).count());
        assert_eq!(seen, 1);
        world.check().await;
    });
}

/// The file was read once and could not be applied just then: it was called wrong, which it was not, and nobody read it
/// again until somebody touched it.
#[test]
fn a_configuration_that_could_not_be_applied_is_applied_when_it_can_be_f077_f079() {
    in_virtual_time(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moorline.toml");
        std::fs::write(&path, "one").unwrap();
        let wanted = Arc::new(Mutex::new(None::<Config>));
        let load = {
            let wanted = Arc::clone(&wanted);
            Arc::new(move || {
                let config = wanted.lock().clone().ok_or_else(|| vec!["nothing yet".to_owned()])?;
                let plan = |account: &moorline_config::Account| {
                    (account.id.clone(), Feishu.parse(&account.settings).unwrap())
                };
                let plans = config.accounts.iter().map(plan).collect();
                Ok((config, plans))
            })
        };
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let moody = Moody::new(Arc::clone(&store), Duration::ZERO);
        let front = Arc::new(moody.clone()) as Arc<dyn Store>;
        let file = Some(ConfigFile { path: path.clone(), load });
        let parts = Parts { front: Some(front), store: Some(store), file, ..Parts::default() };
        let mut world = World::assemble(Setup { accounts: 1, ..Setup::default() }, parts, |_, _| {}).await;
        world.settled().await;
        let mut config = world.config();
        world.add_account(&mut config);
        *wanted.lock() = Some(config);
        moody.set(Mood::Full);
        std::fs::write(&path, "another").unwrap();
        sleep(10 * SECOND).await;
        let problems = |world: &World| {
            let handle = world.handle.clone();
            async move { handle.status().await.unwrap().config.problems }
        };
        assert!(problems(&world).await.iter().any(|problem| problem.contains("full")));
        moody.clear();
        world
            .until("the new account is ready", MINUTE, |world| {
                world
                    .handle
                    .board()
                    .account(&world.id(1))
                    .is_some_and(|status| status.state == AccountState::Ready)
            })
            .await;
        assert_eq!(problems(&world).await, Vec::<String>::new());
        assert!(!kinds(&world).await.contains(&FindingKind::ConfigInvalid));
    });
}

/// An operator's reset met a conversation that had just ended by a fault, and the store refused it: each took the other
/// for the one who sees to the turn, and nobody ever answered there again.
#[test]
fn a_reset_that_the_store_refuses_leaves_no_turn_to_nobody_f046_f052() {
    in_virtual_time(async {
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let moody = Moody::new(Arc::clone(&store), Duration::ZERO);
        let front = Arc::new(moody.clone()) as Arc<dyn Store>;
        let parts = Parts { front: Some(front), store: Some(store), ..Parts::default() };
        let setup = Setup { accounts: 1, agent_delay: "5s", ..Setup::default() };
        let world = World::assemble(setup, parts, |_, _| {}).await;
        world.settled().await;
        let mut stuck = Vec::new();
        for polls in 0..12 {
            let user = format!("u{polls}");
            world.say(0, &user, "hello");
            world.until("the turn runs", SECOND, |w| w.handle.board().turns() == 1).await;
            let path = world
                .handle
                .tree()
                .into_iter()
                .find(|node| node.path.contains(&format!("~oc_{user}")))
                .unwrap()
                .path;
            assert!(world.handle.drills().inject(&path, Drill::Panic));
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
            let conversation = ConversationId::new(chat_of(&user).as_str());
            moody.set(Mood::Refuse(1));
            let reset = world.handle.reset_session(&world.id(0), &conversation).await;
            moody.clear();
            sleep(MINUTE).await;
            if reset.is_err() && world.copies(&user, "hello") == 0 {
                stuck.push(polls);
            }
        }
        assert!(stuck.is_empty(), "{stuck:?}");
        world.check().await;
    });
}
