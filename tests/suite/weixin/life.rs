//! Messages in, answers out, through everything that is no -14.

use std::time::Duration;

use moorline_core::{AccountState, BlockReason};
use moorline_runtime::supervision::Fault as Drill;
use moorline_runtime::{GapKind, LoginState};
use moorline_simulator::weixin::{Answer, Cursor, Endpoint, Fault, Ids, Malformed, NewMessage, Times};
use moorline_tests::in_virtual_time;
use moorline_tests::weixin::WeixinWorld;

const SECOND: Duration = Duration::from_secs(1);
const ALICE: &str = "alice@im.wechat";

#[test]
fn a_text_is_answered_with_the_token_it_came_with() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("7s").await;
        let pushed = world.say(0, ALICE, "hello");
        world.until("answered", 10 * SECOND, |world| world.copies(ALICE, "hello") == 1).await;
        world.simulator.read_ledger(|ledger| {
            let reply = ledger.replies_to(pushed.message_id).next().unwrap();
            assert_eq!(reply.context_token, pushed.context_token);
            assert!(reply.client_id.starts_with("moorline-"));
            assert!(ledger.typing().any(|typing| typing.calls >= 2), "shown again while the agent works");
        });
        world.check().await;
    });
}

/// Protocol §2 from one end to the other, with a number that is wrong the first time.
#[test]
fn a_login_with_a_number_is_taken_up_without_a_restart() {
    in_virtual_time(async {
        let mut world = WeixinWorld::start(1, "0s").await;
        let waits = |world: &WeixinWorld| world.status(0).blocked == Some(BlockReason::NeedsLogin);
        world.until("needs a login", SECOND, waits).await;
        let (id, secret) = (world.id(0), |text: &str| Some(moorline_core::Secret::new(text)));
        world.handle.login(&id, None).await.unwrap();
        world.login_state(0, LoginState::Scan).await;
        let code = world.simulator.login_codes().pop().unwrap().qrcode;
        world.simulator.scan(&code, &moorline_core::UserId::new("owner@im.wechat")).unwrap();
        world.simulator.require_code(&code, "4711").unwrap();
        world.login_state(0, LoginState::Code).await;
        world.handle.login(&id, secret("1234")).await.unwrap();
        tokio::time::sleep(3 * SECOND).await;
        world.login_state(0, LoginState::Code).await;
        world.handle.login(&id, secret("4711")).await.unwrap();
        tokio::time::sleep(3 * SECOND).await;
        let bot = world.simulator.confirm(&code).unwrap().unwrap();
        world.login_state(0, LoginState::Done).await;
        world.bots.push(bot);
        world.until("ready", 5 * SECOND, |world| world.status(0).state == AccountState::Ready).await;
        world.say(0, ALICE, "at last");
        world.until("answered", 5 * SECOND, |world| world.copies(ALICE, "at last") == 1).await;
        world.check().await;
    });
}

/// Protocol §4.2, G1, G2: in both of the ways in which the platform may behave.
#[test]
fn a_crash_loses_nothing_that_was_stored_and_answers_nothing_twice() {
    for cursor in [Cursor::Consumed, Cursor::Replay] {
        in_virtual_time(async {
            let mut world = WeixinWorld::ready("2s").await;
            world.simulator.set_cursor_behaviour(cursor);
            for n in 0..8 {
                world.say(0, &format!("user{n}@im.wechat"), &format!("text {n}"));
                tokio::time::sleep(SECOND / 2).await;
            }
            world.crash().await;
            world.say(0, ALICE, "while you were away");
            tokio::time::sleep(5 * SECOND).await;
            world.boot().await;
            world
                .until("all answered", 60 * SECOND, |world| world.copies(ALICE, "while you were away") == 1)
                .await;
            for n in 0..8 {
                let (user, text) = (format!("user{n}@im.wechat"), format!("text {n}"));
                world.until("answered", 60 * SECOND, |world| world.copies(&user, &text) >= 1).await;
            }
            tokio::time::sleep(60 * SECOND).await;
            let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
            assert_eq!((counts.received, counts.answered), (9, 9), "{counts:?}");
            world.check().await;
        });
    }
}

/// Protocol §4.2, F-032: what comes twice is answered once, in whichever way it is known.
#[test]
fn whatever_comes_twice_is_answered_once_f032() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        for (n, (fault, ids)) in [
            (Fault::DuplicateInAnswer, Ids::Message),
            (Fault::DuplicateAcross, Ids::Message),
            (Fault::DuplicateAcross, Ids::Items),
            (Fault::DuplicateAcross, Ids::None),
            (Fault::Reversed, Ids::Message),
            (Fault::NoCursor, Ids::Message),
            (Fault::EmptyCursor, Ids::Message),
        ]
        .into_iter()
        .enumerate()
        {
            world.simulator.set_fault(bot, fault, Times::Count(1)).unwrap();
            let text = format!("text {n}");
            world.simulator.push(bot, NewMessage::text(ALICE, &text).with_ids(ids)).unwrap();
            world.until("answered", 10 * SECOND, |world| world.copies(ALICE, &text) == 1).await;
            tokio::time::sleep(40 * SECOND).await;
            assert_eq!(world.copies(ALICE, &text), 1, "{text}");
        }
        world.check().await;
    });
}

/// F-037: one bad message takes no other with it.
#[test]
fn a_message_that_cannot_be_read_is_kept_and_the_next_is_answered_f037() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        let mut bad = NewMessage::text(ALICE, "bad");
        bad.merge = serde_json::json!({ "from_user_id": null });
        world.simulator.push(bot, bad).unwrap();
        world.say(0, ALICE, "good");
        world.until("answered", 5 * SECOND, |world| world.copies(ALICE, "good") == 1).await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!(counts.dropped.get("unreadable"), Some(&1), "{counts:?}");
        world.check().await;
    });
}

/// F-023, F-019, protocol §1.5: every way in which a poll can go wrong is left by itself.
#[test]
fn no_answer_of_a_poll_makes_an_account_deaf_f019_f023() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        for (n, answer) in [
            Answer::Hang,
            Answer::Fin,
            Answer::Reset,
            Answer::StallHeaders,
            Answer::StallBody,
            Answer::CutBody,
            Answer::Status(500),
            Answer::Status(404),
            Answer::Garbage,
            Answer::Empty,
            Answer::code(-1),
            Answer::ret(-2, "rate limited"),
        ]
        .into_iter()
        .enumerate()
        {
            world
                .simulator
                .set_fault(bot, Fault::Answer(Endpoint::GetUpdates, answer), Times::Count(2))
                .unwrap();
            tokio::time::sleep(240 * SECOND).await;
            let text = format!("text {n}");
            world.say(0, ALICE, &text);
            world.until("answered", 30 * SECOND, |world| world.copies(ALICE, &text) == 1).await;
            assert_eq!(world.status(0).state, AccountState::Ready, "{text}");
        }
        world.check().await;
    });
}

/// F-037: whatever stands among the messages, the messages beside it are answered.
#[test]
fn noise_among_messages_costs_none_of_them_f037() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        for (n, malformed) in [
            Malformed::NotAnObject,
            Malformed::ItemsAreText,
            Malformed::NoSender,
            Malformed::FractionalId,
            Malformed::Null,
        ]
        .into_iter()
        .enumerate()
        {
            world.simulator.set_fault(bot, Fault::Malformed(malformed), Times::Count(1)).unwrap();
            let text = format!("text {n}");
            world.say(0, ALICE, &text);
            world.until("answered", 10 * SECOND, |world| world.copies(ALICE, &text) == 1).await;
        }
        world.check().await;
    });
}

/// Protocol §3.
#[test]
fn an_orderly_end_says_so_and_a_start_does_too() {
    in_virtual_time(async {
        let mut world = WeixinWorld::ready("0s").await;
        let counters = |world: &WeixinWorld| world.simulator.counters(&world.bots[0].bot_id).unwrap();
        assert_eq!((counters(&world).notifystarts, counters(&world).notifystops), (1, 0));
        world.shutdown().await;
        assert_eq!((counters(&world).notifystarts, counters(&world).notifystops), (1, 1));
        assert_eq!(counters(&world).open_polls, 0);
        world.boot().await;
        world.until("ready", 5 * SECOND, |world| world.status(0).state == AccountState::Ready).await;
        assert_eq!(counters(&world).notifystarts, 2);
        world.check().await;
    });
}

/// Protocol §4.2, F-028, F-040: the platform has forgotten the answer, and the store does not take it for half a minute.
#[test]
fn what_the_store_refuses_is_not_lost_even_if_the_platform_forgets_it_f028_f040() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        world.simulator.set_cursor_behaviour(Cursor::Consumed);
        world.lag.set_full(true);
        for n in 0..3 {
            world.say(0, &format!("user{n}@im.wechat"), "are you there?");
            tokio::time::sleep(SECOND).await;
        }
        tokio::time::sleep(120 * SECOND).await;
        assert_eq!(
            world.status(0).state,
            AccountState::Ready,
            "our own trouble is not the platform's silence"
        );
        world.lag.set_full(false);
        for n in 0..3 {
            let user = format!("user{n}@im.wechat");
            world.until("answered", 60 * SECOND, |world| world.copies(&user, "are you there?") == 1).await;
        }
        world.check().await;
    });
}

/// Polls were never answered, and each new connection said that it was ready for as long as its first one was held.
#[test]
fn polls_that_are_never_answered_make_no_account_ready_again_and_again_f019() {
    in_virtual_time(async {
        let mut world = WeixinWorld::ready("0s").await;
        let hang = Fault::Answer(Endpoint::GetUpdates, Answer::Hang);
        world.simulator.set_fault(&world.bots[0].bot_id, hang, Times::UntilCleared).unwrap();
        // What was held before it began is answered; then there is one patience.
        tokio::time::sleep(150 * SECOND).await;
        for _ in 0..1_800 {
            assert_ne!(world.status(0).state, AccountState::Ready, "nothing was ever answered");
            tokio::time::sleep(SECOND).await;
        }
        // Neither does a new process say so for longer than its first poll may take.
        world.shutdown().await;
        world.boot().await;
        let mut ready = 0;
        for _ in 0..600 {
            ready += u32::from(world.status(0).state == AccountState::Ready);
            tokio::time::sleep(SECOND).await;
        }
        assert!(ready <= 43, "{ready} s");
        world.simulator.clear_faults(&world.bots[0].bot_id).unwrap();
        // The one that hangs, the longest wait, and an idle one.
        let back = (43 + 60 + 36) * SECOND;
        world.until("ready", back, |world| world.status(0).state == AccountState::Ready).await;
        world.say(0, ALICE, "are you there?");
        world.until("answered", SECOND, |world| world.copies(ALICE, "are you there?") == 1).await;
        world.check().await;
    });
}

/// An operator asked for a sign of life while the store was full, and the platform gave none: the connection was ended, and
/// the answer in hand was lost.
#[test]
fn a_probe_that_fails_takes_nothing_from_a_store_that_is_slow_f028_f040() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        world.simulator.set_cursor_behaviour(Cursor::Consumed);
        world.lag.set_full(true);
        world.say(0, ALICE, "are you there?");
        tokio::time::sleep(SECOND).await;
        for answer in [Answer::Hang, Answer::Reset, Answer::Status(503), Answer::code(-14)] {
            let fault = Fault::Answer(Endpoint::NotifyStart, answer);
            world.simulator.set_fault(bot, fault, Times::Count(1)).unwrap();
            world.handle.probe(&world.id(0)).await.unwrap();
            tokio::time::sleep(30 * SECOND).await;
            assert_eq!(world.status(0).state, AccountState::Ready);
        }
        world.lag.set_full(false);
        world.until("answered", 15 * SECOND, |world| world.copies(ALICE, "are you there?") == 1).await;
        assert_eq!(world.handle.gaps(&world.id(0)).await.unwrap(), []);
        world.check().await;
    });
}

/// What the disk had no room for was dropped by a stop in order, and nothing told of it.
#[test]
fn what_is_in_hand_when_the_account_is_stopped_is_a_gap_f040() {
    in_virtual_time(async {
        for restart in [false, true] {
            let mut world = WeixinWorld::ready("0s").await;
            let id = world.id(0);
            world.simulator.set_cursor_behaviour(Cursor::Consumed);
            world.lag.set_full(true);
            world.say(0, ALICE, "are you there?");
            let lost = world.handle.now();
            tokio::time::sleep(60 * SECOND).await;
            if restart {
                world.shutdown().await;
                world.lag.set_full(false);
                world.boot().await;
            } else {
                world.handle.stop(&id).await.unwrap();
                world.lag.set_full(false);
                world.handle.start(&id).await.unwrap();
            }
            tokio::time::sleep(40 * SECOND).await;
            let gaps = world.handle.gaps(&id).await.unwrap();
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert!(gaps[0].gap.from <= lost && lost <= gaps[0].gap.to, "{lost}: {gaps:?}");
        }
    });
}

/// Nothing was open yet, so nothing was in doubt: what the first poll of a connection had been answered with was lost without
/// a word when the connection, or the process, ended just then.
#[test]
fn an_end_during_the_first_poll_is_a_gap_and_a_restart_in_order_is_none_f040() {
    in_virtual_time(async {
        for kill in [false, true] {
            let mut world = WeixinWorld::ready("0s").await;
            tokio::time::sleep(300 * SECOND).await;
            for _ in 0..2 {
                world.shutdown().await;
                tokio::time::sleep(300 * SECOND).await;
                world.boot().await;
                tokio::time::sleep(SECOND).await;
            }
            assert_eq!(world.status(0).state, AccountState::Connecting, "its first poll is held");
            let broken_off = world.handle.now();
            if kill {
                world.crash().await;
                world.boot().await;
            } else {
                let connection = "runtime/accounts/weixin:a0/connection";
                assert!(world.handle.drills().inject(connection, Drill::Panic));
            }
            tokio::time::sleep(100 * SECOND).await;
            let gaps = world.handle.gaps(&world.id(0)).await.unwrap();
            let [gap] = gaps.as_slice() else { panic!("killed: {kill}, {gaps:?}") };
            assert_eq!(gap.gap.kind, GapKind::BrokenOff);
            let before = broken_off.since(gap.gap.from);
            // What was written while it was down may be what is lost; not what was written before.
            assert!(before >= 600 * SECOND && before <= (602 + 36 + 60) * SECOND, "{before:?}");
            world.check().await;
        }
    });
}
