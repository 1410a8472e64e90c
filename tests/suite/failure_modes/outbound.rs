//! Replies on their way out: sent once, in order, however long it takes, and held up by nobody else's trouble.

use std::time::Duration;

use moorline_core::IdempotencyKey;
use moorline_simulator::feishu::{Answer, Cut, Fault, Lost, Reach, Redelivery, Times};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};

use super::{SECOND, counters, one_account, settled};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_wait_that_the_platform_asks_for_is_kept_and_not_stretched_f053() {
    in_virtual_time(async {
        for seed in 0..20 {
            let world = settled(Setup { seed, ..one_account("0s") }).await;
            for (reset, times) in [(2, 1), (7, 1), (3, 4)] {
                let limited = Fault::Send(Answer::RateLimited { reset });
                world.simulator.set_fault(world.app(0), limited, Times::Count(times)).unwrap();
                let user = format!("u{reset}");
                world.say(0, &user, "hello");
                let span = Duration::from_secs(reset) * times;
                let took = world.until("sent", span * 2, |w| w.copies(&user, "hello") == 1).await;
                assert!(took >= span && took <= span.mul_f64(1.2), "{reset} s × {times}: {took:?}");
            }
            // Where it asks for nothing, the first back-off.
            for answer in [Answer::Status(500), Answer::Reset, Answer::Code { status: 400, code: 230_020 }] {
                world
                    .simulator
                    .set_fault(world.app(0), Fault::Send(answer.clone()), Times::Count(1))
                    .unwrap();
                let user = format!("{answer:?}").replace(' ', "");
                world.say(0, &user, "hello");
                let took = world.until("sent", 2 * SECOND, |w| w.copies(&user, "hello") == 1).await;
                assert!(took >= SECOND / 2 && took <= SECOND + 10 * MILLI, "{answer:?}: {took:?}");
            }
            world.check().await;
        }
    });
}

#[test]
fn a_dead_letter_stays_dead_over_ten_restarts_f055() {
    in_virtual_time(async {
        let mut world = settled(one_account("2s")).await;
        // The bot is thrown out of the chat while it thinks.
        world.say(0, "alice", "too late");
        tokio::time::sleep(SECOND).await;
        world.simulator.remove_chat(world.app(0), &chat_of("alice")).unwrap();
        tokio::time::sleep(5 * SECOND).await;
        let sends = counters(&world, 0).sends;
        assert_eq!(sends, 1, "one attempt");
        for _ in 0..10 {
            world.crash().await;
            world.boot().await;
            world.all_ready(SECOND).await;
            tokio::time::sleep(120 * SECOND).await;
        }
        assert_eq!(counters(&world, 0).sends, sends);
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.dead, counts.outbox), (1, 0));
        world.check().await;
    });
}

#[test]
fn rows_of_an_account_that_is_gone_are_kept_and_not_sent_f055() {
    in_virtual_time(async {
        let mut world = settled(Setup { accounts: 2, ..Setup::default() }).await;
        world
            .simulator
            .set_fault(world.app(1), Fault::Send(Answer::Status(503)), Times::UntilCleared)
            .unwrap();
        world.say(1, "alice", "wait for me");
        tokio::time::sleep(10 * SECOND).await;
        let full = world.config();
        world.reload(|config| config.accounts.truncate(1)).await.unwrap();
        let sends = counters(&world, 1).sends;
        world.simulator.clear_faults(world.app(1)).unwrap();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(counters(&world, 1).sends, sends, "nobody sends for it");
        let counts = moorline_store::Store::counts(&*world.store).await.unwrap();
        assert_eq!(counts[&world.id(1)].outbox, 1, "kept");
        world.reload(|config| *config = full).await.unwrap();
        world.until("sent when it is back", 5 * SECOND, |w| w.copies("alice", "wait for me") == 1).await;
        world.check().await;
    });
}

#[test]
fn a_process_that_dies_between_send_and_answer_sends_nothing_twice_f056() {
    in_virtual_time(async {
        for run in 0..120_u32 {
            let mut world = settled(Setup { seed: u64::from(run), ..one_account("50ms") }).await;
            // Visible at once, answered 200 ms later, or never.
            let fault = match run % 3 {
                0 => Fault::LoseSendAnswer(Lost::Hang),
                1 => Fault::LoseSendAnswer(Lost::Reset),
                _ => Fault::SlowSend(200 * MILLI),
            };
            world.simulator.set_fault(world.app(0), fault, Times::Count(1)).unwrap();
            world.say(0, "alice", "one");
            world.say(0, "alice", "two");
            tokio::time::sleep((40 + run * 3) * MILLI).await;
            world.crash().await;
            world.boot().await;
            world.until("both sent", 20 * SECOND, |w| w.replies(&chat_of("alice")).len() >= 2).await;
            tokio::time::sleep(30 * SECOND).await;
            assert_eq!(world.replies(&chat_of("alice")), ["one", "two"], "run {run}");
            let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
            assert_eq!((counts.outbox, counts.dead, counts.answered), (0, 0, 2), "run {run}");
            world.check().await;
        }
    });
}

#[test]
fn an_operators_key_stands_for_one_message_before_and_after_a_restart_f057() {
    in_virtual_time(async {
        let mut world = settled(one_account("0s")).await;
        world.say(0, "alice", "hello");
        tokio::time::sleep(SECOND).await;
        world
            .simulator
            .set_fault(world.app(0), Fault::Send(Answer::Status(502)), Times::UntilCleared)
            .unwrap();
        let send = async |world: &World| {
            let key = Some(IdempotencyKey::new("order-17"));
            world.handle.send(&world.id(0), chat_of("alice"), "your order".to_owned(), key).await.unwrap()
        };
        let first = send(&world).await;
        for _ in 0..5 {
            assert_eq!(send(&world).await.id, first.id);
            world.crash().await;
            world.boot().await;
            world.all_ready(SECOND).await;
            assert_eq!(send(&world).await.id, first.id);
        }
        assert_eq!(world.copies("alice", "your order"), 0);
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.until("sent", 61 * SECOND, |w| w.copies("alice", "your order") == 1).await;
        assert_eq!(send(&world).await.id, first.id);
        tokio::time::sleep(600 * SECOND).await;
        assert_eq!(world.copies("alice", "your order"), 1);
        world.check().await;
    });
}

/// The platform cannot be reached from 0.5 s on, the replies are there after 2 and 4 s, and the account is ready again
/// after `healed`; `crash` says when the process dies in between.
async fn outage(healed: Duration, crash: Option<Duration>) {
    let mut world = settled(one_account("2s")).await;
    world.simulator.set_redelivery(Redelivery { offline_attempts_count: false, ..Redelivery::default() });
    world.say(0, "alice", "one");
    world.say(0, "alice", "two");
    tokio::time::sleep(SECOND / 2).await;
    world.simulator.set_reach(Reach::Refused);
    world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
    let mut passed = SECOND / 2;
    if let Some(crash) = crash {
        tokio::time::sleep(crash - passed).await;
        world.crash().await;
        world.boot().await;
        passed = crash + MILLI;
    }
    tokio::time::sleep(healed - passed).await;
    world.simulator.set_reach(Reach::Open);
    world.handle.probe(&world.id(0)).await.unwrap();
    world.all_ready(SECOND).await;
    // A turn that was interrupted begins anew at ChannelReady.
    let begins_anew = if crash.is_some_and(|crash| crash < 4 * SECOND) { 4 * SECOND } else { Duration::ZERO };
    let left = (4 * SECOND).saturating_sub(healed) + begins_anew;
    let both = |w: &World| w.replies(&chat_of("alice")).len() == 2;
    world.until(&format!("sent, {healed:?} {crash:?}"), left + 2 * SECOND, both).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.replies(&chat_of("alice")), ["one", "two"], "{healed:?} {crash:?}");
    world.check().await;
}

#[test]
fn a_reply_that_is_done_at_any_moment_of_an_outage_goes_out_within_2_s_of_ready_f058() {
    // Around the moment at which the replies are done, and long after it.
    let around = (1_960..=2_040).chain((3_980..=4_020).step_by(4)).map(|ms| ms * MILLI);
    for healed in around.chain([10 * SECOND, 63 * SECOND, 600 * SECOND]) {
        in_virtual_time(outage(healed, None));
    }
    for crash in [SECOND, 3 * SECOND, 5 * SECOND, 100 * SECOND] {
        in_virtual_time(outage(600 * SECOND, Some(crash)));
    }
}

/// As many as are sent to at the same time hung until their deadlines, and everybody else waited for 15 s.
#[test]
fn chats_whose_sends_hang_hold_up_no_other_f062() {
    in_virtual_time(async {
        let world = settled(one_account("0s")).await;
        world.simulator.set_fault(world.app(0), Fault::Send(Answer::Hang), Times::Count(20)).unwrap();
        for n in 0..20 {
            world.say(0, &format!("hung{n}"), "hello");
        }
        tokio::time::sleep(100 * MILLI).await;
        world.say(0, "alice", "am I next?");
        let took = world.until("answered", SECOND, |w| w.copies("alice", "am I next?") == 1).await;
        println!("answered {took:?} behind twenty sends that hang");
        let all = |w: &World| (0..20).all(|n| w.copies(&format!("hung{n}"), "hello") == 1);
        world.until("the others are sent after their deadlines", 20 * SECOND, all).await;
        world.check().await;
    });
}

#[test]
fn a_chat_that_takes_nothing_for_a_minute_keeps_its_order_and_delays_nobody_f062() {
    in_virtual_time(async {
        let world = settled(one_account("0s")).await;
        let slow = Fault::Chat { chat_id: chat_of("slow"), code: 230_020 };
        world.simulator.set_fault(world.app(0), slow, Times::UntilCleared).unwrap();
        for n in 0..10 {
            world.say(0, "slow", &format!("{n}"));
            for user in 0..30 {
                world.say(0, &format!("u{user}"), &format!("{n}"));
            }
            let all = |w: &World| (0..30).all(|user| w.copies(&format!("u{user}"), &format!("{n}")) == 1);
            world.until("everybody else answered", SECOND, all).await;
            tokio::time::sleep(6 * SECOND).await;
        }
        assert_eq!(world.replies(&chat_of("slow")).len(), 0);
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.until("its turn", 65 * SECOND, |w| w.replies(&chat_of("slow")).len() == 10).await;
        let expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(world.replies(&chat_of("slow")), expected);
        world.check().await;
    });
}
