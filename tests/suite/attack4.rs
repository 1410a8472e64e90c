//! Waits that were cut short, rows that were never forgotten, and trouble that nobody was told of: each test is named
//! after the property it holds the runtime to.

use std::time::Duration;

use moorline_simulator::feishu::{Answer, Fault, Times};
use moorline_store::Store;
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

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

