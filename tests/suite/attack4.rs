//! Waits that were cut short, rows that were never forgotten, and trouble that nobody was told of: each test is named
//! after the property it holds the runtime to.

use std::sync::Arc;
use std::time::Duration;

use moorline_simulator::feishu::{Answer, Fault, Redelivery, Times};
use moorline_store::{SqliteStore, Store};
use moorline_tests::model::{AGENT, Behaviour};
use moorline_tests::sim::store::{Mood, Moody};
use moorline_tests::world::{Parts, chat_of};
use moorline_tests::{Setup, World, in_virtual_time};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

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
