//! A platform with a reply window: what the runtime makes of it, whichever platform it is (F-060, G10).

use std::time::Duration;

use moorline_core::{AccountState, Failure, FailureClass};
use moorline_runtime::FindingKind;
use moorline_store::{OutboxState, Store};
use moorline_tests::scripted::{Scripted, TYPING_LASTS, closed};
use moorline_tests::{Logs, in_virtual_time};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn expired() -> Failure {
    Failure::new(FailureClass::SessionExpired, "session timeout")
}

/// Alice has used up all that the platform takes after her message.
async fn used_up(quota: u32) -> Scripted {
    let world = Scripted::start("0s", "", |platform| platform.quota = quota).await;
    world.platform.say("alice", "hello");
    world.sees("alice", 1, SECOND).await;
    for n in 1..quota {
        world.send("alice", &format!("news {n}")).await;
    }
    world.sees("alice", quota as usize, 10 * SECOND).await;
    world
}

#[test]
fn what_the_window_does_not_take_goes_out_in_order_and_once_when_the_user_writes_f060() {
    in_virtual_time(async {
        let world = used_up(10).await;
        let mut sent = Vec::new();
        for n in 10..=13 {
            sent.push(world.send("alice", &format!("news {n}")).await);
        }
        sleep(SECOND).await;
        let calls = world.platform.get(|platform| platform.calls.len());
        assert_eq!(world.in_state(OutboxState::Held).await, ["news 10"]);
        assert_eq!(world.in_state(OutboxState::Ready).await, ["news 11", "news 12", "news 13"]);
        let report = world.handle.doctor().await.unwrap();
        let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::RepliesHeld]);
        assert_eq!(report.accounts[0].counts.outbox_held, 1);

        // No clock tries it, and nobody else's message lets it go.
        world.platform.say("bob", "hello");
        sleep(24 * HOUR).await;
        world.sees("bob", 1, SECOND).await;
        assert_eq!(world.platform.get(|platform| platform.calls.len()), calls + 1);

        world.platform.say("alice", "still there?");
        let took = world.sees("alice", 15, 2 * SECOND).await;
        assert!(took <= 2 * SECOND, "F-060: flushed within 2 s of the message, and not after {took:?}");
        sleep(MINUTE).await;
        let seen = world.platform.seen("alice");
        let news: Vec<String> = (1..=13).map(|n| format!("news {n}")).collect();
        assert_eq!(seen.iter().filter(|text| text.starts_with("news")).cloned().collect::<Vec<_>>(), news);
        assert_eq!(seen.len(), 15, "{seen:?}");
        let keys = world.platform.get(|platform| {
            let calls = platform.calls.iter().filter(|call| call.text == "news 10");
            calls.map(|call| call.key.clone()).collect::<Vec<_>>()
        });
        assert!(keys.len() == 2 && keys[0] == keys[1], "one key for every attempt: {keys:?}");
        let row = world.store.outbox_row(sent[0]).await.unwrap().unwrap();
        assert_eq!((row.state, row.attempts, row.possibly_repeated), (OutboxState::Sent, 2, false));
        assert!(row.held_at.is_some() && row.released_at > row.held_at, "{row:?}");
        world.check().await;
    });
}

#[test]
fn an_answer_that_took_long_goes_with_the_token_of_the_last_message_f060() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let world = Scripted::start("9m", "", |_| {}).await;
        world.platform.say("alice", "a long question");
        sleep(8 * MINUTE).await;
        world.platform.say("alice", "hello?");
        world.sees("alice", 1, 2 * MINUTE).await;
        let tokens = world.platform.get(|platform| {
            platform.calls.iter().map(|call| call.token.clone().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(tokens, ["token-2-of-alice"]);
        assert!(logs.take("token-").is_empty(), "a token is a secret");
    });
}

/// The user writes while an attempt is under way that the platform then refuses for want of just that.
#[test]
fn a_message_that_crosses_with_a_refusal_is_not_missed_f060() {
    in_virtual_time(async {
        let world = used_up(1).await;
        world.platform.set(|platform| platform.latency = 2 * SECOND);
        let row = world.send("alice", "news").await;
        sleep(SECOND).await;
        world.platform.set(|platform| {
            platform.quota = 10;
            // What is on its way was refused before her message came.
            platform.next.push_back(Err(closed()));
        });
        world.platform.say("alice", "hello?");
        world.sees("alice", 3, 10 * SECOND).await;
        let row = world.store.outbox_row(row).await.unwrap().unwrap();
        assert_eq!((row.state, row.held_at), (OutboxState::Sent, None), "{row:?}");
    });
}

#[test]
fn what_is_held_stays_so_over_crashes_and_goes_out_once_f060() {
    in_virtual_time(async {
        let mut world = used_up(3).await;
        for n in 3..6 {
            world.send("alice", &format!("news {n}")).await;
        }
        sleep(SECOND).await;
        let calls = world.platform.get(|platform| platform.calls.len());
        for _ in 0..3 {
            world.crash().await;
            world.boot().await;
            sleep(10 * MINUTE).await;
        }
        assert_eq!(world.platform.get(|platform| platform.calls.len()), calls, "nobody tried it");
        assert_eq!(world.in_state(OutboxState::Held).await, ["news 3"]);

        // She writes while nobody is there; the process dies again while it sends.
        world.crash().await;
        world.platform.set(|platform| (platform.quota, platform.latency) = (10, SECOND));
        world.platform.say("alice", "hello?");
        world.boot().await;
        while world.in_state(OutboxState::Sending).await.is_empty() {
            sleep(SECOND / 100).await;
        }
        world.crash().await;
        world.boot().await;
        world.sees("alice", 7, MINUTE).await;
        sleep(10 * MINUTE).await;
        let seen = world.platform.seen("alice");
        let news: Vec<&String> = seen.iter().filter(|text| text.starts_with("news")).collect();
        assert_eq!(news, ["news 1", "news 2", "news 3", "news 4", "news 5"]);
        assert_eq!(seen.len(), 7, "{seen:?}");
        world.check().await;
    });
}

#[test]
fn what_is_held_for_too_long_is_a_dead_letter_that_says_why_f060() {
    in_virtual_time(async {
        let world = Scripted::start("0s", "held_reply_limit = \"1h\"", |_| {}).await;
        let first = world.send("alice", "one").await;
        world.send("alice", "two").await;
        sleep(50 * MINUTE).await;
        world.send("alice", "three").await;
        assert_eq!(world.in_state(OutboxState::Held).await, ["one"]);
        assert!(world.platform.get(|platform| platform.calls.iter().all(|call| call.token.is_none())));
        sleep(17 * MINUTE).await;
        assert_eq!(world.in_state(OutboxState::Dead).await, ["one", "two"], "two has waited as long");
        assert_eq!(world.in_state(OutboxState::Held).await, ["three"]);
        let row = world.store.outbox_row(first).await.unwrap().unwrap();
        let error = row.last_error.unwrap();
        assert!(error.contains("no message of its user came"), "{error}");
        let texts = world
            .platform
            .get(|platform| platform.calls.iter().map(|call| call.text.clone()).collect::<Vec<_>>());
        assert_eq!(texts, ["one", "three"], "two would have been tried in vain");

        world.platform.say("alice", "I was away");
        world.sees("alice", 2, 2 * SECOND).await;
        world.handle.retry_send(first).await.unwrap();
        world.sees("alice", 3, 2 * SECOND).await;
        world.check().await;
    });
}

/// A send that was made, and that nobody answers.
fn lost() -> Failure {
    Failure::transient("send: reset").with_unknown_effect()
}

fn tries(world: &Scripted, text: &str) -> usize {
    world.platform.get(|platform| platform.calls.iter().filter(|call| call.text == text).count())
}

/// It was repeated for ever, every minute, and the platform may have shown it every time.
#[test]
fn what_nobody_confirms_is_repeated_once_where_no_keys_are_known_and_then_given_up_visibly_f056() {
    in_virtual_time(async {
        let world = used_up(1).await;
        world.platform.set(|platform| (platform.quota, platform.refuses) = (10, Some(lost())));
        let row = world.send("alice", "news").await;
        sleep(24 * HOUR).await;
        assert_eq!(tries(&world, "news"), 2, "never more than two copies");
        let dead = world.store.outbox_row(row).await.unwrap().unwrap();
        assert_eq!(
            (dead.state, dead.doubted, dead.possibly_repeated),
            (OutboxState::Dead, true, true),
            "{dead:?}"
        );
        let error = dead.last_error.unwrap();
        assert!(error.contains("may have been delivered"), "{error}");
        let report = world.handle.doctor().await.unwrap();
        let found = report.findings.iter().find(|finding| finding.kind == FindingKind::DeadLetters).unwrap();
        assert!(found.why.contains("may have been delivered"), "{found:?}");

        // What waits behind it goes its way, and an operator may have it sent once more.
        world.platform.set(|platform| platform.refuses = None);
        world.platform.say("alice", "hello?");
        world.send("alice", "more").await;
        world.sees("alice", 3, 2 * SECOND).await;
        world.handle.retry_send(row).await.unwrap();
        world.sees("alice", 4, 2 * SECOND).await;
        assert_eq!(tries(&world, "news"), 3);
        world.check().await;
    });
}

/// Trouble that certainly had no effect is tried for ever, also after an attempt of which nobody knows.
#[test]
fn an_attempt_that_had_no_effect_is_no_repetition_f056() {
    in_virtual_time(async {
        let world = used_up(1).await;
        world.platform.set(|platform| {
            platform.next.push_back(Err(lost()));
            (platform.quota, platform.refuses) = (10, Some(Failure::transient("send: not connected")));
        });
        world.platform.set(|platform| platform.quota = 10);
        let row = world.send("alice", "news").await;
        sleep(24 * HOUR).await;
        assert!(tries(&world, "news") > 1_000);
        assert_eq!(world.in_state(OutboxState::Unknown).await, ["news"]);
        world.platform.set(|platform| {
            platform.refuses = None;
            platform.next.push_back(Ok(()));
        });
        world.sees("alice", 2, 2 * MINUTE).await;
        let row = world.store.outbox_row(row).await.unwrap().unwrap();
        assert_eq!((row.state, row.possibly_repeated), (OutboxState::Sent, true), "{row:?}");
    });
}

/// Every process that dies while it sends leaves a send of which nobody knows.
#[test]
fn crashes_repeat_a_message_no_more_often_than_lost_answers_do_f056() {
    in_virtual_time(async {
        let mut world = used_up(1).await;
        world.platform.set(|platform| platform.latency = 10 * SECOND);
        let row = world.send("alice", "news").await;
        for attempts in [1, 2] {
            sleep(5 * SECOND).await;
            let sending = world.store.outbox_row(row).await.unwrap().unwrap();
            assert_eq!((sending.state, sending.attempts), (OutboxState::Sending, attempts), "{sending:?}");
            world.crash().await;
            world.boot().await;
        }
        sleep(HOUR).await;
        assert_eq!(world.in_state(OutboxState::Dead).await, ["news"]);
        assert_eq!(tries(&world, "news"), 0, "the third process made no call");
        let dead = world.store.outbox_row(row).await.unwrap().unwrap();
        assert!(dead.last_error.unwrap().contains("may have been delivered"));
        world.check().await;
    });
}

/// Some saw that the platform takes a message for somebody who never wrote, and shows it to nobody (F-059).
#[test]
fn what_is_taken_for_somebody_who_never_wrote_is_sent_in_doubt_f059_f060() {
    in_virtual_time(async {
        let world = used_up(10).await;
        world.platform.set(|platform| platform.next.push_back(Ok(())));
        let to_bob = world.send("bob", "hello, stranger").await;
        world.sees("bob", 1, SECOND).await;
        sleep(SECOND).await;
        let doubted = async |row| {
            let row = world.store.outbox_row(row).await.unwrap().unwrap();
            (row.state, row.delivery_doubted)
        };
        assert_eq!(doubted(to_bob).await, (OutboxState::Sent, true));
        world.platform.say("bob", "who is this?");
        let again = world.send("bob", "it is me").await;
        world.sees("bob", 3, SECOND).await;
        sleep(SECOND).await;
        assert_eq!(doubted(again).await, (OutboxState::Sent, false));
    });
}

/// A wall clock that is set forward makes nothing older (F-089).
#[test]
fn a_step_of_the_wall_clock_gives_nothing_up_f089() {
    in_virtual_time(async {
        let world = Scripted::start("0s", "", |_| {}).await;
        world.send("alice", "one").await;
        sleep(MINUTE).await;
        world.clock.step(30 * 24 * 3600 * 1000);
        sleep(HOUR).await;
        assert_eq!(world.in_state(OutboxState::Held).await, ["one"]);
    });
}

#[test]
fn an_operator_may_try_what_is_held_at_once() {
    in_virtual_time(async {
        let world = used_up(1).await;
        let row = world.send("alice", "news").await;
        sleep(SECOND).await;
        world.handle.retry_send(row).await.unwrap();
        sleep(SECOND).await;
        let held = world.store.outbox_row(row).await.unwrap().unwrap();
        assert_eq!((held.state, held.attempts), (OutboxState::Held, 2));
        world.platform.set(|platform| platform.next.push_back(Ok(())));
        world.handle.retry_send(row).await.unwrap();
        world.sees("alice", 2, SECOND).await;
        let row = world.send("alice", "more").await;
        sleep(SECOND).await;
        assert_eq!(world.handle.discard_send(row).await.unwrap().state, OutboxState::Discarded);
        world.platform.say("alice", "anything?");
        world.sees("alice", 3, SECOND).await;
        sleep(MINUTE).await;
        assert!(!world.platform.seen("alice").contains(&"more".to_owned()));
        world.check().await;
    });
}

#[test]
fn what_is_throttled_again_and_again_waits_for_its_user() {
    in_virtual_time(async {
        let world = used_up(2).await;
        let throttled =
            Failure::new(FailureClass::Throttled, "rate limited").with_retry_after(Some(10 * SECOND));
        world.platform.set(|platform| platform.refuses = Some(throttled));
        world.send("alice", "news").await;
        sleep(30 * SECOND).await;
        assert_eq!(world.in_state(OutboxState::Ready).await, ["news"]);
        sleep(HOUR).await;
        assert_eq!(world.in_state(OutboxState::Held).await, ["news"]);
        let tries = world.platform.get(|platform| platform.calls.iter().filter(|c| c.text == "news").count());
        assert_eq!(tries, 5);
        world.platform.set(|platform| platform.refuses = None);
        world.platform.say("alice", "hello?");
        world.sees("alice", 4, 2 * SECOND).await;
    });
}

/// Thirty conversations with something to say, and a login that is good no more.
async fn revoked() -> (Scripted, Instant) {
    let world = Scripted::start("0s", "", |_| {}).await;
    for n in 0..30 {
        world.platform.say(&format!("user{n}"), "hello");
    }
    sleep(5 * SECOND).await;
    world.platform.set(|platform| platform.refuses = Some(expired()));
    let began = Instant::now();
    for n in 0..30 {
        world.send(&format!("user{n}"), "news").await;
        // One after the other, as they come up in conversations.
        sleep(SECOND / 10).await;
    }
    (world, began)
}

fn news_seen(world: &Scripted) -> usize {
    let of = |n| world.platform.seen(&format!("user{n}")).iter().filter(|text| *text == "news").count();
    (0..30).map(of).sum()
}

#[test]
fn a_revoked_login_is_tried_by_one_message_at_a_time_however_many_wait_g10() {
    in_virtual_time(async {
        let (world, began) = revoked().await;
        sleep(30 * MINUTE).await;
        for minute in 0..30 {
            let calls = world.platform.calls_between(began, 60 * minute, 60 * minute + 60);
            assert!(calls <= 5, "{calls} calls in minute {minute}");
            assert!(minute == 0 || calls >= 1, "nobody tries in minute {minute}");
        }
        assert_eq!(world.platform.get(|platform| platform.probes), 1, "the connection is asked once");
        assert_eq!(news_seen(&world), 0);
        world.platform.set(|platform| platform.refuses = None);
        sleep(62 * SECOND).await;
        assert_eq!(news_seen(&world), 30, "one that is taken opens the gate for all");
        let keys = world.platform.get(|platform| {
            platform.calls.iter().filter(|call| call.answer.is_ok() && call.text == "news").count()
        });
        assert_eq!(keys, 30, "each once");
        // Another series asks again.
        world.platform.set(|platform| platform.refuses = Some(expired()));
        world.send("user1", "more").await;
        sleep(MINUTE).await;
        assert_eq!(world.platform.get(|platform| platform.probes), 2);
        world.check().await;
    });
}

#[test]
fn a_connection_that_is_ready_again_opens_the_gate_at_once_f058() {
    in_virtual_time(async {
        let (world, _) = revoked().await;
        sleep(10 * MINUTE).await;
        world.platform.set(|platform| platform.down = Some(expired()));
        sleep(10 * SECOND).await;
        world.platform.set(|platform| (platform.down, platform.refuses) = (None, None));
        let began = Instant::now();
        while world.handle.board().account(&Scripted::id()).unwrap().state != AccountState::Ready {
            sleep(SECOND / 100).await;
        }
        sleep(SECOND).await;
        assert_eq!(news_seen(&world), 30, "{:?} after it could", began.elapsed());
    });
}

/// A login that flaps must not multiply the calls either.
#[test]
fn readiness_that_comes_and_goes_multiplies_no_calls_g10() {
    in_virtual_time(async {
        let (world, _) = revoked().await;
        let began = Instant::now();
        for _ in 0..60 {
            world.platform.set(|platform| platform.down = Some(Failure::transient("reset")));
            sleep(SECOND).await;
            world.platform.set(|platform| platform.down = None);
            sleep(SECOND).await;
        }
        for minute in 0..2 {
            let calls = world.platform.calls_between(began, 60 * minute, 60 * minute + 60);
            assert!(calls <= 5, "{calls} calls in minute {minute}");
        }
    });
}

/// A new process does not know that the login is no good: it finds out with one call, and not with one for each row.
#[test]
fn a_new_process_finds_out_with_one_message() {
    in_virtual_time(async {
        let (mut world, _) = revoked().await;
        world.crash().await;
        sleep(10 * MINUTE).await;
        let began = Instant::now();
        world.boot().await;
        sleep(MINUTE).await;
        let calls = world.platform.calls_between(began, 0, 60);
        assert!(calls <= 5, "{calls} calls");
    });
}

#[test]
fn sending_never_looks_at_the_connection_g10() {
    in_virtual_time(async {
        let world = used_up(3).await;
        world.platform.say("alice", "hello");
        world.sees("alice", 4, SECOND).await;
        let state = || world.handle.board().account(&Scripted::id()).unwrap().state;
        for (class, expected) in [
            (FailureClass::Transient, AccountState::Reconnecting),
            (FailureClass::SessionExpired, AccountState::Reconnecting),
            (FailureClass::NeedsLogin, AccountState::Blocked),
        ] {
            world.platform.set(|platform| platform.down = Some(Failure::new(class, "gone")));
            sleep(3 * SECOND).await;
            assert_eq!(state(), expected, "{class}");
            let before = world.platform.seen("alice").len();
            // Sent by somebody who knows nothing of connections.
            world.platform.set(|platform| platform.next.push_back(Ok(())));
            world.send("alice", &format!("while {class}")).await;
            world.sees("alice", before + 1, SECOND / 10).await;
            assert_eq!(state(), expected, "{class}");
        }
    });
}

#[test]
fn the_tokens_of_a_bot_are_no_use_to_another() {
    in_virtual_time(async {
        let mut world = used_up(2).await;
        world.crash().await;
        world.platform.set(|platform| platform.bot = "bot-2");
        world.boot().await;
        world.send("alice", "news").await;
        sleep(SECOND).await;
        let token = || world.platform.get(|platform| platform.calls.last().unwrap().token.clone());
        assert_eq!(token(), None);
        world.platform.say("alice", "hello?");
        world.sees("alice", 4, 2 * SECOND).await;
        assert_eq!(token().as_deref(), Some("token-2-of-alice"));
    });
}

#[test]
fn a_sign_that_fades_is_shown_again_while_the_turn_runs_f048() {
    in_virtual_time(async {
        let world = Scripted::start("12s", "", |platform| platform.typing = true).await;
        let asked = Instant::now();
        world.platform.say("alice", "hello");
        world.sees("alice", 1, 20 * SECOND).await;
        sleep(MINUTE).await;
        let shown = world.platform.get(|platform| platform.shown.clone());
        let times: Vec<u64> = shown.iter().map(|(at, ..)| (*at - asked).as_secs()).collect();
        assert_eq!(times, [1, 6, 11]);
        let marks: Vec<_> = shown.iter().map(|(_, mark, _)| mark.as_deref()).collect();
        assert_eq!(marks, [None, Some("mark-1"), Some("mark-2")]);
        assert!(shown.iter().all(|(.., token)| token.as_deref() == Some("token-1-of-alice")), "{shown:?}");
        assert_eq!(world.platform.get(|platform| platform.taken_down.clone()), ["mark-3"]);
        let kept = world.store.cursor(&Scripted::id(), "typing:talk with alice").await.unwrap();
        assert_eq!(kept, None, "it fades by itself: nothing is stored of it");
    });
}

#[test]
fn a_sign_that_is_refused_is_not_shown_again_and_stops_nothing_f048() {
    in_virtual_time(async {
        let world = Scripted::start("12s", "", |platform| platform.typing = true).await;
        world.platform.say("alice", "hello");
        sleep(2 * SECOND).await;
        world.platform.set(|platform| platform.refuses = Some(Failure::transient("no ticket")));
        sleep(TYPING_LASTS).await;
        world.platform.set(|platform| platform.refuses = None);
        world.sees("alice", 1, 10 * SECOND).await;
        sleep(MINUTE).await;
        assert_eq!(world.platform.get(|platform| platform.shown.len()), 2);
    });
}
