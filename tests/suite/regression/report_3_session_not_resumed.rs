//! A Feishu turn that a restart interrupted was never resumed: recovery ran on a timer of five seconds, before the store
//! was loaded and eleven minutes before the channel was up.
//!
//! Here what was interrupted is marked in the store before anything starts, and taken up at ChannelReady, however late,
//! by a compare-and-set, so once.

use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Cut, Fault, NewApp, Push, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::pause;
use moorline_tests::world::chat_of;
use moorline_tests::{Settings, Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn one_account(agent_delay: &'static str) -> Setup {
    Setup { accounts: 1, agent_delay, ..Setup::default() }
}

/// A world whose process died during the turn that answers `text` of alice. Nothing runs.
async fn interrupted(setup: Setup, text: &str) -> World {
    let mut world = World::start(setup).await;
    world.settled().await;
    world.say(0, "alice", text);
    world.until("the turn runs", SECOND, |w| w.handle.board().turns() == 1).await;
    tokio::time::sleep(10 * MILLI).await;
    world.crash().await;
    world
}

fn hold(world: &World, n: usize) {
    world.simulator.set_fault(world.app(n), Fault::Hold, Times::UntilCleared).unwrap();
}

/// Recovery had run five seconds after the start, and the channel was there eleven minutes after it: the user never got
/// an answer. Here each account's turn is resumed within a second of its own ChannelReady, never before, and once.
#[test]
fn turns_are_resumed_when_their_channel_is_ready_eleven_minutes_late_g9_f064() {
    in_virtual_time(async {
        let mut world = World::start(Setup { agent_delay: "5s", ..Setup::default() }).await;
        world.settled().await;
        for n in 0..3 {
            world.say(n, &format!("u{n}"), "do not forget me");
        }
        world.until("all turns run", SECOND, |w| w.handle.board().turns() == 3).await;
        world.crash().await;
        (0..3).for_each(|n| hold(&world, n));
        world.boot().await;
        let mut passed = Duration::ZERO;
        for (n, late) in [SECOND / 10, 10 * SECOND, 660 * SECOND].into_iter().enumerate() {
            while passed < late {
                let step = (late - passed).min(SECOND);
                tokio::time::sleep(step).await;
                passed += step;
                assert_eq!(world.copies(&format!("u{n}"), "do not forget me"), 0, "not before ChannelReady");
            }
            world.simulator.clear_faults(world.app(n)).unwrap();
            let began = world.elapsed();
            world.until("ready", 62 * SECOND, |w| w.handle.board().is_ready(&w.id(n))).await;
            world.until("resumed", SECOND, |w| w.handle.board().turns() == 1).await;
            let answered = |w: &World| w.copies(&format!("u{n}"), "do not forget me") == 1;
            world.until("answered", 6 * SECOND, answered).await;
            passed += world.elapsed() - began;
        }
        tokio::time::sleep(600 * SECOND).await;
        assert!((0..3).all(|n| world.copies(&format!("u{n}"), "do not forget me") == 1), "once each");
        world.check().await;
    });
}

/// Only a new message of the user woke the session, and it could meet the recovery on its way. Here a message at every
/// millisecond from 50 before to 50 after ChannelReady joins the queue of the resumed turn: there are never two agents,
/// and both are answered, in order.
#[test]
fn a_fresh_message_around_channel_ready_starts_no_second_agent_f068() {
    // The platform's first pong, and with it ChannelReady, comes this long after the connection is open.
    let ready_after = 100 * MILLI;
    for (agent_delay, fresh) in [("40ms", 1), ("2s", 3)] {
        for offset in 0..=100 {
            in_virtual_time(async {
                let mut world = interrupted(one_account(agent_delay), "interrupted").await;
                world
                    .simulator
                    .set_fault(world.app(0), Fault::LatePong(ready_after), Times::Count(1))
                    .unwrap();
                world.boot().await;
                tokio::time::sleep(ready_after / 2 + offset * MILLI).await;
                for n in 0..fresh {
                    world.say(0, "alice", &format!("fresh {n}"));
                }
                let mut expected = vec!["interrupted".to_owned()];
                expected.extend((0..fresh).map(|n| format!("fresh {n}")));
                while world.replies(&chat_of("alice")).len() < expected.len() {
                    assert!(world.handle.board().turns() <= 1, "two agents at once, offset {offset}");
                    assert!(world.elapsed() < 30 * SECOND, "offset {offset}\n{}", world.describe());
                    tokio::time::sleep(MILLI).await;
                }
                tokio::time::sleep(10 * SECOND).await;
                assert_eq!(world.replies(&chat_of("alice")), expected, "offset {offset}");
                world.check().await;
            });
        }
    }
}

/// The channel came and went while it was being looked into, and each time recovery could have begun again. Here a
/// channel that flaps ten times during the resumed turn changes nothing: one turn, one answer.
#[test]
fn a_channel_that_flaps_ten_times_during_the_resume_resumes_once_f064() {
    in_virtual_time(async {
        let channel = "retry = { initial = \"100ms\", max = \"200ms\" }";
        let mut world = interrupted(Setup { channel, ..one_account("30s") }, "interrupted").await;
        world.boot().await;
        world.until("resumed", 2 * SECOND, |w| w.handle.board().turns() == 1).await;
        for flap in 0..10 {
            world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
            world.until("down", SECOND, |w| !w.handle.board().is_ready(&w.id(0))).await;
            world.all_ready(SECOND).await;
            assert_eq!(world.handle.board().turns(), 1, "flap {flap}");
            tokio::time::sleep(SECOND).await;
        }
        world.until("answered", 30 * SECOND, |w| w.copies("alice", "interrupted") == 1).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(world.replies(&chat_of("alice")), ["interrupted"]);
        assert_eq!(world.simulator.counters(world.app(0)).unwrap().opened, 12, "two starts, ten flaps");
        world.check().await;
    });
}

/// The session store was not loaded when recovery looked for what was interrupted, so it found nothing. Here reads that
/// take seconds, so that the channel is ready long before the first of them is answered, only make it later.
#[test]
fn a_store_that_is_slow_to_read_delays_the_resume_and_loses_nothing_f065() {
    for lag in [SECOND / 10, 3 * SECOND, 20 * SECOND] {
        in_virtual_time(async {
            let mut world = interrupted(one_account("5s"), "interrupted").await;
            world.lag.set(lag);
            world.boot().await;
            world.all_ready(SECOND).await;
            world.say(0, "alice", "fresh");
            // A handful of reads, one after the other: what is there, the work, the transcript, the outbox.
            let answered = |w: &World| w.replies(&chat_of("alice")).len() == 2;
            world.until("answered", 10 * SECOND + 12 * lag, answered).await;
            assert!(world.handle.board().turns() <= 1);
            world.lag.set(Duration::ZERO);
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(world.replies(&chat_of("alice")), ["interrupted", "fresh"], "lag {lag:?}");
            world.check().await;
        });
    }
}

/// A process that died once may die again, and what it was recovering was forgotten then. Here crashes before the channel
/// is ready cost nothing, however many; and those during the resumed turn count: after three attempts the turn is parked,
/// and the user is told, once.
#[test]
fn up_to_five_crashes_during_recovery_end_in_one_answer_or_one_notice_f066_f067_f069() {
    for crashes in 0..=5 {
        for resumed in [false, true] {
            in_virtual_time(async {
                let mut world = interrupted(one_account("5s"), "interrupted").await;
                for _ in 0..crashes {
                    if !resumed {
                        hold(&world, 0);
                    }
                    world.boot().await;
                    tokio::time::sleep(2 * SECOND).await;
                    world.crash().await;
                    world.simulator.clear_faults(world.app(0)).unwrap();
                }
                world.boot().await;
                world.all_ready(5 * SECOND).await;
                tokio::time::sleep(20 * SECOND).await;
                // The first attempt was the one that was interrupted; two more may end with their process.
                let parked = resumed && crashes >= 2;
                let replies = world.replies(&chat_of("alice"));
                assert_eq!(replies.len(), 1, "{crashes} crashes, resumed {resumed}: {replies:?}");
                assert_eq!(replies[0] == "interrupted", !parked, "{crashes} crashes: {replies:?}");
                let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
                assert_eq!(counts.dropped.get("turn_parked"), parked.then_some(&1));
                world.say(0, "alice", "next");
                world.until("the next is answered", 7 * SECOND, |w| w.copies("alice", "next") == 1).await;
                assert_eq!(world.replies(&chat_of("alice")).len(), 2, "no second notice");
                world.check().await;
            });
        }
    }
}

const SIX: [usize; 6] = [0, 1, 2, 3, 4, 5];

fn question(n: usize) -> (ChatId, String) {
    (chat_of(&format!("u{n}")), format!("question {n}"))
}

/// Users had to write again to get an answer to what they had asked before the restart. Here six turns of ten seconds,
/// cut short by a crash, are all answered within eleven seconds of ChannelReady, once each.
#[test]
fn six_interrupted_turns_of_10_s_are_answered_within_11_s_of_channel_ready_g9() {
    in_virtual_time(async {
        let mut world = World::start(Setup { agent_delay: "10s", ..Setup::default() }).await;
        world.settled().await;
        SIX.iter().for_each(|&n| drop(world.say(n % 3, &format!("u{n}"), &question(n).1)));
        world.until("all turns run", SECOND, |w| w.handle.board().turns() == 6).await;
        tokio::time::sleep(3 * SECOND).await;
        world.crash().await;
        world.boot().await;
        world.all_ready(5 * SECOND).await;
        let copies = |w: &World, n: usize| w.copies(&format!("u{n}"), &question(n).1);
        let took = world.until("all answered", 11 * SECOND, |w| SIX.iter().all(|&n| copies(w, n) == 1)).await;
        println!("six turns of 10 s answered {took:?} after ChannelReady");
        tokio::time::sleep(60 * SECOND).await;
        assert!(SIX.iter().all(|&n| copies(&world, n) == 1), "once each");
        world.check().await;
    });
}

/// The same with the real binary and SIGKILL: what was promised has to hold on a disk and on sockets.
#[test]
fn six_turns_of_10_s_cut_short_by_sigkill_are_answered_within_11_s_of_channel_ready_g9() {
    let simulator = Simulator::new(17);
    let apps: Vec<_> = (0..3).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "10s");
    let mut first = settings.start();
    first.ready(10 * SECOND);
    for n in SIX {
        let (chat, text) = question(n);
        let push = Push::direct(chat.as_str(), format!("ou_u{n}"), text);
        simulator.push(&apps[n % 3].app_id, push).unwrap();
    }
    first.until("all turns run", 2 * SECOND, |p| p.get("/v1/status")["turns"]["running"] == 6);
    pause(SECOND / 2);
    first.kill();
    let copies = |n: usize| {
        let (chat, text) = question(n);
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat, &text))
    };
    assert!(SIX.iter().all(|&n| copies(n) == 0));
    let mut second = settings.start();
    second.ready(10 * SECOND);
    let took = second.until("all answered", 11 * SECOND, |_| SIX.iter().all(|&n| copies(n) == 1));
    println!("six turns of 10 s answered {took:?} after ChannelReady");
    pause(2 * SECOND);
    assert!(SIX.iter().all(|&n| copies(n) == 1), "once each");
    assert!(second.terminate(15 * SECOND).success());
}
