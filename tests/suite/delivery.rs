//! Messages on their way in and out: stored before acknowledged, answered once, in order.

use std::time::Duration;

use moorline_simulator::feishu::{Answer, Cut, Fault, Lost, Push, Split, Times};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

async fn settled(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.settled().await;
    world
}

#[test]
fn a_message_delivered_many_times_is_answered_once_f032() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        for fault in [Fault::Duplicate, Fault::RedeliverAcked] {
            world.simulator.set_fault(world.app(0), fault, Times::Count(3)).unwrap();
        }
        for n in 0..6 {
            world.say(0, "alice", &format!("m{n}"));
        }
        tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
        for n in 0..6 {
            assert_eq!(world.copies("alice", &format!("m{n}")), 1, "m{n}");
        }
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.received, counts.answered), (6, 6));
        assert!(counts.duplicates >= 4, "{counts:?}");
        world.check().await;
    });
}

#[test]
fn answers_of_one_chat_come_in_order_and_chats_do_not_wait_for_each_other_f035() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "1s", ..Setup::default() }).await;
        for n in 0..5 {
            for user in ["alice", "bob", "carol"] {
                world.say(0, user, &format!("{n}"));
            }
        }
        world
            .until("all answered", 8 * SECOND, |w| {
                ["alice", "bob", "carol"].iter().all(|user| w.copies(user, "4") == 1)
            })
            .await;
        for user in ["alice", "bob", "carol"] {
            let chat = chat_of(user);
            let texts: Vec<String> =
                world.simulator.read_ledger(|l| l.visible_in(&chat).map(|m| m.text.clone()).collect());
            assert_eq!(texts, ["0", "1", "2", "3", "4"], "{user}");
        }
        world.check().await;
    });
}

/// The pause between two messages of one chat took a place among those that are sent to at the same time, so that
/// every seventeenth reply waited for a chat it had nothing to do with.
#[test]
fn the_pause_of_one_chat_is_no_pause_of_another_f062() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        for n in 0..64 {
            world.say(0, &format!("u{n}"), "hello");
        }
        let all = |w: &World| (0..64).all(|n| w.copies(&format!("u{n}"), "hello") == 1);
        let took = world.until("all answered", SECOND, all).await;
        assert!(took < Duration::from_millis(100), "{took:?}");
        world.check().await;
    });
}

#[test]
fn an_event_in_parts_is_joined_whatever_the_order_and_a_missing_part_costs_nothing_f038() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        let split = |order: Vec<usize>, missing| Fault::Split(Split { parts: 3, order, missing });
        world.simulator.set_fault(world.app(0), split(vec![2, 0, 1], None), Times::Count(1)).unwrap();
        world.say(0, "alice", "in parts, with a ü and a 消息");
        world.until("answered", SECOND, |w| w.copies("alice", "in parts, with a ü and a 消息") == 1).await;
        world.simulator.set_fault(world.app(0), split(vec![], Some(1)), Times::Count(1)).unwrap();
        world.say(0, "alice", "incomplete at first");
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(world.copies("alice", "incomplete at first"), 0);
        world
            .until("redelivered and answered", 10 * SECOND, |w| w.copies("alice", "incomplete at first") == 1)
            .await;
        world.check().await;
    });
}

#[test]
fn a_reply_whose_answer_is_lost_is_sent_again_with_its_key_and_seen_once_f056_f059() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        for lost in [Lost::Reset, Lost::Hang] {
            world.simulator.set_fault(world.app(0), Fault::LoseSendAnswer(lost), Times::Count(1)).unwrap();
            let text = format!("lost by {lost:?}");
            world.say(0, "alice", &text);
            world.until("visible", SECOND, |w| w.copies("alice", &text) == 1).await;
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(world.copies("alice", &text), 1);
        }
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.outbox, counts.dead), (0, 0));
        let repeats: u32 =
            world.simulator.read_ledger(|l| l.visible_in(&chat_of("alice")).map(|m| m.repeats).sum());
        assert_eq!(repeats, 2, "both were repeated, and recognised by their keys");
        world.check().await;
    });
}

#[test]
fn a_send_that_fails_is_tried_again_until_it_succeeds_f053() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        let failures = [
            Answer::Status(502),
            Answer::Reset,
            Answer::Garbage,
            Answer::RateLimited { reset: 2 },
            Answer::Code { status: 400, code: 230_020 },
            Answer::Code { status: 400, code: 99_991_663 },
        ];
        for failure in failures {
            world.simulator.set_fault(world.app(0), Fault::Send(failure.clone()), Times::Count(1)).unwrap();
            let text = format!("after {failure:?}");
            world.say(0, "alice", &text);
            world.until(&text, 4 * SECOND, |w| w.copies("alice", &text) == 1).await;
        }
        world.check().await;
    });
}

#[test]
fn a_message_the_platform_will_never_take_is_a_dead_letter_and_holds_up_nothing_f055() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        let refused = Fault::Send(Answer::Code { status: 400, code: 230_001 });
        world.simulator.set_fault(world.app(0), refused, Times::Count(1)).unwrap();
        world.say(0, "alice", "refused");
        world.say(0, "alice", "taken");
        world.until("the next is sent", 2 * SECOND, |w| w.copies("alice", "taken") == 1).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dead, counts.outbox), (1, 0));
        assert_eq!(world.copies("alice", "refused"), 0);
        world.check().await;
    });
}

#[test]
fn sending_goes_on_while_the_socket_is_down_and_receiving_while_tokens_are_f008_g10() {
    in_virtual_time(async {
        let world = settled(Setup { agent_delay: "2s", ..Setup::default() }).await;
        world.say(0, "alice", "asked before the drop");
        tokio::time::sleep(SECOND).await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        world
            .until("answered without a socket", 2 * SECOND, |w| {
                w.copies("alice", "asked before the drop") == 1
            })
            .await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(5 * SECOND).await;

        world.simulator.set_fault(world.app(1), Fault::Token(Answer::Hang), Times::UntilCleared).unwrap();
        world.simulator.revoke_tokens(world.app(1)).unwrap();
        for n in 0..3 {
            world.say(1, "bob", &format!("no token {n}"));
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let counts = world.handle.account(&world.id(1)).await.unwrap().counts;
        assert_eq!((counts.received, counts.answered, counts.outbox), (3, 3, 3), "received and queued");
        assert_eq!(world.simulator.counters(world.app(1)).unwrap().opened, 1, "the socket never noticed");
        world.simulator.clear_faults(world.app(1)).unwrap();
        world
            .until("sent", 80 * SECOND, |w| (0..3).all(|n| w.copies("bob", &format!("no token {n}")) == 1))
            .await;
        let texts: Vec<String> = world.simulator.read_ledger(|ledger| {
            ledger.visible_in(&chat_of("bob")).map(|message| message.text.clone()).collect()
        });
        assert_eq!(texts, ["no token 0", "no token 1", "no token 2"], "in order, once each");
        world.check().await;
    });
}

#[test]
fn an_operators_message_with_a_key_is_sent_once_however_often_it_is_asked_for_f057() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        world.say(0, "alice", "hello");
        let id = world.id(0);
        let key = || Some(moorline_core::IdempotencyKey::new("order-17"));
        let send = || world.handle.send(&id, chat_of("alice"), "your order".to_owned(), key());
        let first = send().await.unwrap();
        for _ in 0..10 {
            let again = send().await.unwrap();
            assert_eq!((again.id, again.repeated), (first.id, true));
        }
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(world.copies("alice", "your order"), 1);
        world.check().await;
    });
}

#[test]
fn messages_that_are_not_for_us_are_dropped_with_a_reason_and_counted_f102() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        let group = |text: &str| Push::group("oc_group", "ou_bob", text);
        world.simulator.push(world.app(0), group("among ourselves")).unwrap();
        world.simulator.push(world.app(0), group("you there").mentioning_bot()).unwrap();
        tokio::time::sleep(2 * SECOND).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.received, counts.answered), (2, 1));
        assert_eq!(counts.dropped.get("not_mentioned"), Some(&1));
        world.check().await;
    });
}

#[test]
fn an_orderly_end_lets_turns_finish_and_says_goodbye() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "3s", ..Setup::default() }).await;
        world.say(0, "alice", "last question");
        tokio::time::sleep(SECOND).await;
        world.shutdown().await;
        assert_eq!(world.copies("alice", "last question"), 1);
        for app in &world.apps {
            assert_eq!(world.simulator.counters(&app.app_id).unwrap().open, 0);
        }
        // What comes in while nobody runs is answered by the next process.
        world.say(0, "alice", "anybody?");
        world.boot().await;
        world.until("answered", Duration::from_secs(400), |w| w.copies("alice", "anybody?") == 1).await;
        world.check().await;
    });
}

#[test]
fn a_crash_during_a_turn_is_resumed_after_channel_ready_and_answered_once_f064_g9() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
        for user in ["alice", "bob", "carol"] {
            world.say(0, user, "interrupt me");
        }
        tokio::time::sleep(2 * SECOND).await;
        world.crash().await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        world.boot().await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.handle.board().turns(), 0, "nothing is resumed before the channel is ready");
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(61 * SECOND).await;
        let all =
            |w: &World| ["alice", "bob", "carol"].iter().all(|user| w.copies(user, "interrupt me") == 1);
        let took = world.until("resumed and answered", 6 * SECOND, all).await;
        println!("three turns of 5 s answered {took:?} after ChannelReady");
        for _ in 0..5 {
            world.simulator.drop_connections(world.app(0), &Cut::Fin).unwrap();
            tokio::time::sleep(61 * SECOND).await;
        }
        assert!(all(&world), "flapping resumes nothing twice");
        world.check().await;
    });
}

#[test]
fn a_long_turn_shows_that_it_is_under_way_and_a_short_one_does_not_f048() {
    in_virtual_time(async {
        for (delay, shown) in [("200ms", 0), ("5s", 1)] {
            let world = settled(Setup { agent_delay: delay, ..Setup::default() }).await;
            world.say(0, "alice", "think");
            tokio::time::sleep(3 * SECOND).await;
            let typing = world.simulator.read_ledger(|ledger| ledger.typing().count());
            assert_eq!(typing, shown, "{delay}: while it runs");
            world.until("answered", 5 * SECOND, |w| w.copies("alice", "think") == 1).await;
            tokio::time::sleep(2 * SECOND).await;
            assert_eq!(
                world.simulator.read_ledger(|ledger| ledger.typing().count()),
                0,
                "{delay}: afterwards"
            );
            world.check().await;
        }
    });
}

#[test]
fn a_sign_of_typing_that_fails_or_hangs_delays_no_answer_f048() {
    in_virtual_time(async {
        for answer in [Answer::Hang, Answer::Status(500), Answer::Code { status: 400, code: 231_001 }] {
            let world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
            world.simulator.set_fault(world.app(0), Fault::Reaction(answer), Times::UntilCleared).unwrap();
            world.say(0, "alice", "think");
            let took = world.until("answered", 6 * SECOND, |w| w.copies("alice", "think") == 1).await;
            assert!(took <= 5 * SECOND + Duration::from_millis(50), "{took:?}");
            world.check().await;
        }
    });
}

#[test]
fn a_crash_leaves_no_sign_of_typing_behind_once_the_turn_is_resumed() {
    in_virtual_time(async {
        let mut world = settled(Setup { agent_delay: "5s", ..Setup::default() }).await;
        world.say(0, "alice", "think");
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(world.simulator.read_ledger(|ledger| ledger.typing().count()), 1);
        world.crash().await;
        world.boot().await;
        world.until("answered", 10 * SECOND, |w| w.copies("alice", "think") == 1).await;
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(world.simulator.read_ledger(|ledger| ledger.typing().count()), 0);
        world.check().await;
    });
}

#[test]
fn a_revoked_token_costs_one_refresh_and_no_failed_send_f008() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        world.say(0, "warm", "up");
        world.until("answered", SECOND, |w| w.copies("warm", "up") == 1).await;
        let before = world.simulator.counters(world.app(0)).unwrap().token_requests;
        world.simulator.revoke_tokens(world.app(0)).unwrap();
        for n in 0..50 {
            world.say(0, &format!("u{n}"), "hello");
        }
        let all = |w: &World| (0..50).all(|n| w.copies(&format!("u{n}"), "hello") == 1);
        world.until("all answered", 2 * SECOND, all).await;
        let after = world.simulator.counters(world.app(0)).unwrap().token_requests;
        assert_eq!(after - before, 1, "fifty sends, one refresh");
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.outbox, counts.dead), (0, 0));
        world.check().await;
    });
}
