//! Messages on their way in: none lost, none taken twice, none out of order, none of our own.

use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::feishu::{Echo, Fault, Push, Redelivery, Times};
use moorline_store::Fault as StoreFault;
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, in_virtual_time};

use super::{SECOND, counters, one_account, settled};

#[test]
fn what_was_written_while_no_process_ran_is_answered_in_order_f030() {
    in_virtual_time(async {
        let mut world = settled(one_account("10ms")).await;
        // The platform keeps what it could not deliver; how its ladder counts attempts without a connection is not
        // documented, and with the other reading they come on its next rung.
        world.simulator.set_redelivery(Redelivery { offline_attempts_count: false, ..Redelivery::default() });
        world.crash().await;
        for n in 0..20 {
            world.say(0, "alice", &format!("{n}"));
            tokio::time::sleep(15 * SECOND).await;
        }
        world.boot().await;
        world.all_ready(SECOND).await;
        // Five a second is the pace of a chat.
        world.until("all answered", 5 * SECOND, |w| w.replies(&chat_of("alice")).len() == 20).await;
        let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(world.replies(&chat_of("alice")), expected);
        world.check().await;
    });
}

#[test]
fn a_message_that_comes_again_for_seven_hours_and_over_restarts_is_answered_once_f032() {
    in_virtual_time(async {
        let mut world = settled(one_account("1s")).await;
        let message = world.say(0, "alice", "once").message_id;
        // The same message under new event ids, twice within a millisecond, at once and at every rung of the ladder.
        for wait in [0, 15, 300, 3_600, 21_600, 25_200_u64] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            for _ in 0..2 {
                let event = world.simulator.push_again(world.app(0), &message).unwrap().unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(world.simulator.read_ledger(|l| l.event(&event).unwrap().is_acked()), "+{wait} s");
            }
            world.crash().await;
            world.boot().await;
            world.all_ready(SECOND).await;
        }
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.replies(&chat_of("alice")), ["once"]);
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.received, counts.answered, counts.duplicates), (1, 1, 12));
        world.check().await;
    });
}

#[test]
fn what_could_not_be_stored_is_refused_and_taken_when_it_comes_again_f033_f074() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        world.store.inject(StoreFault::Full(true));
        let pushed = world.say(0, "alice", "no room");
        tokio::time::sleep(2 * SECOND).await;
        let (acked, refused) = world.simulator.read_ledger(|ledger| {
            let event = ledger.event(&pushed.event_id).unwrap();
            (event.acked.len(), event.refused.len())
        });
        assert_eq!((acked, refused), (0, 1), "not acknowledged, and said so at once");
        let reasons = world.handle.readiness().unwrap_err();
        assert!(reasons.iter().any(|reason| reason.contains("full")), "{reasons:?}");
        world.store.inject(StoreFault::Full(false));
        // The platform's first rung.
        world.until("answered", 20 * SECOND, |w| w.copies("alice", "no room") == 1).await;
        assert_eq!(world.handle.readiness(), Ok(()));
        tokio::time::sleep(Duration::from_secs(8 * 3_600)).await;
        assert_eq!(world.replies(&chat_of("alice")), ["no room"]);
        world.check().await;
    });
}

#[test]
fn an_agent_that_stands_still_delays_no_acknowledgement_f034() {
    in_virtual_time(async {
        let world = settled(one_account("10m")).await;
        for n in 0..3_000 {
            world.say(0, &format!("u{}", n % 100), &format!("{n}"));
            if n % 5 == 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        tokio::time::sleep(SECOND).await;
        let (mut slowest, mut again) = (Duration::ZERO, 0);
        world.simulator.read_ledger(|ledger| {
            assert_eq!(ledger.events().len(), 3_000);
            for event in ledger.events() {
                slowest = slowest.max(event.acked[0].since(event.pushed_at));
                again += event.deliveries.len() - 1;
            }
        });
        assert!(slowest < Duration::from_millis(300), "{slowest:?}");
        assert_eq!(again, 0, "nothing came twice");
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.received, counts.pending), (3_000, 3_000));
        world.check().await;
    });
}

#[test]
fn a_thousand_messages_of_twenty_chats_are_answered_in_the_order_of_their_chats_f035() {
    in_virtual_time(async {
        let world = settled(one_account("20ms")).await;
        let mut dice = fastrand::Rng::with_seed(35);
        let mut said = vec![Vec::new(); 20];
        for n in 0..1_000 {
            let chat = dice.usize(0..20);
            let long = "so it goes ".repeat(dice.usize(0..100));
            let text = format!("{n} {long}");
            world.say(0, &format!("u{chat}"), text.trim_end());
            said[chat].push(text.trim_end().to_owned());
            tokio::time::sleep(Duration::from_millis(dice.u64(0..40))).await;
        }
        tokio::time::sleep(60 * SECOND).await;
        for (chat, said) in said.iter().enumerate() {
            assert_eq!(&world.replies(&chat_of(&format!("u{chat}"))), said, "chat {chat}");
        }
        world.check().await;
    });
}

#[test]
fn bots_talk_neither_to_themselves_nor_to_each_other_f041() {
    in_virtual_time(async {
        let world = settled(Setup { accounts: 2, ..Setup::default() }).await;
        for echo in [Echo::SameId, Echo::NewId, Echo::Others] {
            for n in 0..2 {
                world.simulator.set_fault(world.app(n), Fault::Echo(echo), Times::UntilCleared).unwrap();
            }
            let chat = ChatId::new(format!("oc_group_{echo:?}"));
            let push = Push::group(chat.as_str(), "ou_bob", "hello both");
            let both = [world.app(0).clone(), world.app(1).clone()];
            let push = both.iter().fold(push, |push, app| {
                push.mentioning(moorline_simulator::feishu::Mention::Bot(app.clone()))
            });
            world.simulator.push_to(&both, push).unwrap();
            world.say(0, &format!("{echo:?}"), "hello");
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            assert_eq!(world.replies(&chat).len(), 2, "{echo:?}: one answer of each");
            assert_eq!(world.copies(&format!("{echo:?}"), "hello"), 1, "{echo:?}");
            (0..2).for_each(|n| world.simulator.clear_faults(world.app(n)).unwrap());
        }
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert!(counts.dropped.contains_key("own_message") || counts.dropped.contains_key("from_bot"));
        assert_eq!(counters(&world, 0).sends + counters(&world, 1).sends, 9);
        world.check().await;
    });
}
