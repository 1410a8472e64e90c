//! Texts longer than one message may be: in parts, in order, each once whatever fails between them.

use std::time::Duration;

use moorline_core::IdempotencyKey;
use moorline_simulator::feishu::{Answer, Fault, Lost, Times};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// The longest text of one message on this platform, in bytes.
const LIMIT: usize = 20_000;

/// Numbered lines of about this many bytes in all.
fn long_text(bytes: usize) -> String {
    let lines: Vec<_> = (0..bytes / 40).map(|n| format!("line {n:>6} with an ü, a 消息 and a 👩‍🚀")).collect();
    lines.join("\n")
}

/// What alice sees, message by message.
fn seen(world: &World) -> Vec<String> {
    world
        .simulator
        .read_ledger(|ledger| ledger.visible_in(&chat_of("alice")).map(|m| m.text.clone()).collect())
}

#[test]
fn a_long_reply_arrives_whole_in_order_and_once_through_failures_and_a_crash_f054_f061() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        let text = long_text(170_000);
        world.say(0, "alice", &text);
        world.until("five parts", 5 * SECOND, |w| seen(w).len() == 5).await;
        world.simulator.set_fault(world.app(0), Fault::Send(Answer::Status(500)), Times::Count(3)).unwrap();
        world.until("eight parts", 30 * SECOND, |w| seen(w).len() == 8).await;
        // The ninth is accepted, and its answer is lost with the process.
        world.simulator.set_fault(world.app(0), Fault::LoseSendAnswer(Lost::Hang), Times::Count(1)).unwrap();
        world.until("nine parts", 5 * SECOND, |w| seen(w).len() == 9).await;
        world.crash().await;
        world.boot().await;
        world.until("all of it", 30 * SECOND, |w| seen(w).concat() == text).await;
        tokio::time::sleep(120 * SECOND).await;
        let parts = seen(&world);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.len() <= LIMIT && part.starts_with("line")), "cut at lines");
        let repeats: u32 =
            world.simulator.read_ledger(|l| l.visible_in(&chat_of("alice")).map(|m| m.repeats).sum());
        assert!(repeats >= 1, "the ninth was sent again, and recognised");
        world.check().await;
    });
}

#[test]
fn a_part_that_is_never_taken_costs_only_itself_f054_f055() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let refused = Fault::Send(Answer::Code { status: 400, code: 230_001 });
        let text = long_text(60_000);
        world.say(0, "alice", &text);
        world.until("one part", 5 * SECOND, |w| seen(w).len() == 1).await;
        world.simulator.set_fault(world.app(0), refused, Times::Count(1)).unwrap();
        tokio::time::sleep(10 * SECOND).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dead, counts.outbox), (1, 0));
        let parts = seen(&world);
        assert!(text.starts_with(&parts[0]) && text.ends_with(parts.last().unwrap()));
        world.check().await;
    });
}

#[test]
fn an_operators_long_message_is_sent_once_however_often_and_however_long_it_is_asked_for_f057() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.say(0, "alice", "hello");
        world.until("answered", SECOND, |w| seen(w).len() == 1).await;
        let (id, text) = (world.id(0), long_text(50_000));
        let send = |text: &str| {
            world.handle.send(&id, chat_of("alice"), text.to_owned(), Some(IdempotencyKey::new("k")))
        };
        let first = send(&text).await.unwrap();
        for again in [text.clone(), long_text(90_000), "short".to_owned()] {
            let again = send(&again).await.unwrap();
            assert_eq!((again.id, again.repeated), (first.id, true));
        }
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(seen(&world)[1..].concat(), text);
        world.check().await;
    });
}
