//! Connecting, tokens, and what a connection is worth once it is there.

use std::fs;
use std::time::Duration;

use moorline_core::{AccountState, Secret, Value};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, Cut, Fault, HandshakeFault, NewApp, Push, Reach, Times};
use moorline_simulator::server::{Options, Server};
use moorline_supervision::Fault as Drill;
use moorline_tests::world::chat_of;
use moorline_tests::{Settings, Setup, World, in_virtual_time};

use super::{SECOND, counters, one_account, settled};

#[test]
fn a_platform_that_is_away_at_the_start_is_connected_to_when_it_is_there_f002() {
    for away in [1, 3, 30, 600] {
        for reach in [Reach::Refused, Reach::Hangs] {
            in_virtual_time(async {
                let world = World::prepare(Setup::default(), |simulator, _| simulator.set_reach(reach)).await;
                tokio::time::sleep(away * SECOND).await;
                assert!((0..3).all(|n| world.status(n).state != AccountState::Ready));
                assert_eq!(world.handle.accounts().await.unwrap().len(), 3, "shown all the same");
                world.simulator.set_reach(Reach::Open);
                // A call that hangs is given up after 15 s at most; the next waits at most its back-off.
                let hung = if reach == Reach::Hangs { 15 * SECOND } else { Duration::ZERO };
                world.all_ready(hung + (2 * away * SECOND).min(60 * SECOND) + SECOND).await;
                world.check().await;
            });
        }
    }
}

#[test]
fn an_endpoint_that_refuses_for_a_minute_is_asked_a_dozen_times_and_by_nobody_in_step_f003() {
    in_virtual_time(async {
        let accounts = 8;
        let refuses = Fault::Endpoint(Answer::Status(503));
        let world = World::prepare(Setup { accounts, ..Setup::default() }, |simulator, apps| {
            for app in apps {
                simulator.set_fault(&app.app_id, refuses.clone(), Times::UntilCleared).unwrap();
            }
        })
        .await;
        tokio::time::sleep(60 * SECOND).await;
        for n in 0..accounts {
            // The waits are at least 0.5, 1, 2, 4, 8, 16 and 30 s: seven attempts fit into a minute with the first.
            let calls = counters(&world, n).endpoint_calls;
            assert!((5..=8).contains(&calls), "account {n}: {calls} calls");
        }
        let mut next: Vec<i64> =
            (0..accounts).map(|n| world.status(n).next_attempt_at.unwrap().as_millis()).collect();
        next.sort_unstable();
        assert!(next[accounts - 1] - next[0] > 3_000, "a tenth of the wait apart: {next:?}");
        assert!(next.windows(2).all(|pair| pair[0] != pair[1]), "{next:?}");
    });
}

#[test]
fn a_socket_that_falls_as_soon_as_it_is_up_is_tried_ever_more_slowly_f003() {
    in_virtual_time(async {
        let world = settled(one_account("0s")).await;
        let mut full = SECOND;
        for round in 0..50 {
            // Being ready for a moment is no health.
            tokio::time::sleep(SECOND / 5).await;
            world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
            world.until("noticed", SECOND, |w| w.status(0).state == AccountState::Reconnecting).await;
            let back = world.all_ready(61 * SECOND).await;
            let look = SECOND / 50;
            assert!(back + look >= full / 2 && back <= full + look, "round {round}: {back:?}, {full:?}");
            full = (full * 2).min(60 * SECOND);
        }
        world.check().await;
    });
}

#[test]
fn fifty_sends_with_an_expired_token_make_one_request_f008() {
    in_virtual_time(async {
        let world = World::prepare(one_account("0s"), |simulator, apps| {
            simulator.set_fault(&apps[0].app_id, Fault::TokenExpiry(20), Times::Count(1)).unwrap();
        })
        .await;
        world.settled().await;
        // Renewed at half its life, which now takes until it is over.
        let slow = Fault::Token(Answer::Delay(14 * SECOND));
        world.simulator.set_fault(world.app(0), slow, Times::UntilCleared).unwrap();
        tokio::time::sleep(22 * SECOND).await;
        for n in 0..50 {
            world.say(0, &format!("u{n}"), "hello");
        }
        let all = |w: &World| (0..50).all(|n| w.copies(&format!("u{n}"), "hello") == 1);
        tokio::time::sleep(SECOND).await;
        assert_eq!(counters(&world, 0).sends, 0, "nothing is sent with a token that is over");
        world.until("all sent", 4 * SECOND, all).await;
        let counters = counters(&world, 0);
        assert_eq!((counters.token_requests, counters.sends), (2, 50), "the first one, and one renewal");
        world.check().await;
    });
}

#[test]
fn a_step_of_the_wall_clock_fetches_no_token_and_moves_no_wait_f008() {
    in_virtual_time(async {
        let world = settled(Setup::default()).await;
        for hours in [1, -2, 25, -24] {
            let before = counters(&world, 0);
            world.clock.step(hours * 3_600_000);
            world.say(0, "alice", &format!("{hours}"));
            world.until("answered", SECOND, |w| w.copies("alice", &format!("{hours}")) == 1).await;
            tokio::time::sleep(60 * SECOND).await;
            let after = counters(&world, 0);
            assert_eq!((after.token_requests, after.opened), (before.token_requests, before.opened));
            assert_eq!(world.status(0).state, AccountState::Ready);
        }
        world.check().await;
    });
}

#[test]
fn sends_that_succeed_hide_no_dead_socket_f022() {
    in_virtual_time(async {
        let world = settled(one_account("0s")).await;
        world.say(0, "alice", "hello");
        tokio::time::sleep(SECOND).await;
        world.simulator.drop_connections(world.app(0), &Cut::BlackHole).unwrap();
        let began = world.elapsed();
        for n in 0..90 {
            let (id, chat) = (world.id(0), chat_of("alice"));
            world.handle.send(&id, chat, format!("{n}"), None).await.unwrap();
            tokio::time::sleep(SECOND / 2).await;
            if world.status(0).state != AccountState::Ready {
                break;
            }
        }
        let noticed = world.elapsed() - began;
        // A ping every 30 s, and 10 s for its pong: as if nothing had been sent.
        assert!(noticed <= 41 * SECOND, "{noticed:?}");
        let evidence = world.status(0).evidence;
        assert!(evidence.last_sent_at > evidence.last_frame_at, "shown apart: {evidence:?}");
        world.all_ready(2 * SECOND).await;
        world.check().await;
    });
}

/// What brings a connection to its end and the account to the next one.
#[derive(Debug, Clone, Copy)]
enum End {
    ServerClose,
    Silence,
    Reload,
    Panic,
    Restart,
}

async fn end(world: &mut World, how: End, round: u32) {
    let id = world.id(0);
    match how {
        End::ServerClose => {
            let close = Cut::Close { code: 1000, reason: String::new() };
            world.simulator.drop_connections(world.app(0), &close).unwrap();
        }
        End::Silence => {
            world.simulator.drop_connections(world.app(0), &Cut::BlackHole).unwrap();
            tokio::time::sleep(41 * SECOND).await;
        }
        End::Reload => {
            let secret = format!("rotated-{round}");
            let app = NewApp {
                bot_open_id: Some(world.apps[0].bot_open_id.clone()),
                ..NewApp::named("Bot 0").with_credentials(world.app(0).as_str(), secret.as_str())
            };
            world.simulator.add_app(app);
            let secret = Value::Secret(Secret::new(secret));
            let change = |config: &mut moorline_config::Config| {
                drop(config.accounts[0].settings.values.insert("app_secret".to_owned(), secret));
            };
            world.reload(change).await.unwrap();
        }
        End::Panic => {
            let path = "runtime/accounts/feishu:a0/connection";
            assert!(world.handle.drills().inject(path, Drill::Panic));
        }
        End::Restart => assert!(world.handle.restart(&id).await.unwrap()),
    }
}

#[test]
fn after_a_hundred_reconnects_of_each_kind_both_directions_work_f024_f026() {
    for how in [End::ServerClose, End::Silence, End::Reload, End::Panic, End::Restart] {
        in_virtual_time(async {
            let mut world = settled(Setup::default()).await;
            for round in 0..100 {
                // Long enough that each of them is the first failure again.
                tokio::time::sleep(61 * SECOND).await;
                let opened = counters(&world, 0).opened;
                end(&mut world, how, round).await;
                let next = |w: &World| counters(w, 0).opened > opened;
                world.until(&format!("{how:?} {round}: the next connection"), 2 * SECOND, next).await;
                world.settled().await;
                let text = format!("{how:?} {round}");
                world.say(0, "alice", &text);
                let group = Push::group("oc_group", "ou_bob", text.as_str()).mentioning_bot();
                let pushed = world.simulator.push(world.app(0), group).unwrap();
                let sent = format!("{text} by hand");
                world.say(0, "carol", "hello");
                world.handle.send(&world.id(0), chat_of("carol"), sent.clone(), None).await.unwrap();
                world
                    .until(&text, 2 * SECOND, |w| {
                        let replied =
                            w.simulator.read_ledger(|ledger| ledger.replies_to(&pushed.message_id).count());
                        w.copies("alice", &text) == 1 && replied == 1 && w.copies("carol", &sent) == 1
                    })
                    .await;
            }
            // World::check insists on one connection at a time.
            world.check().await;
        });
    }
}

#[test]
fn a_hundred_restarts_of_an_account_leave_no_socket_and_no_descriptor_f026() {
    let simulator = Simulator::new(23);
    let apps: Vec<_> = (0..2).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let counters = || simulator.counters(&apps[0].app_id).unwrap();
    let restart = |round: u64, process: &mut moorline_tests::Process| {
        let answer = process.call("POST", "/v1/accounts/feishu:a0/restart", None).unwrap();
        assert!(answer.status < 300, "{}", answer.text);
        process
            .until("the next connection", 10 * SECOND, |_| counters().opened > round && counters().open == 1);
    };
    let descriptors = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    // The bucket of connects to one host holds 50; then it is 20 a second.
    (1..=10).for_each(|round| restart(round, &mut process));
    process.ready(10 * SECOND);
    let before = descriptors(process.pid());
    (11..=100).for_each(|round| restart(round, &mut process));
    process.ready(10 * SECOND);
    let settled = |p: &moorline_tests::Process| descriptors(p.pid()) <= before + 2;
    process.until("descriptors back at their baseline", 10 * SECOND, settled);
    assert_eq!(counters().max_open, 1, "never two at once");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn an_account_that_hangs_at_the_start_delays_no_other_and_is_shown_f073() {
    in_virtual_time(async {
        let accounts = 12;
        let world = World::prepare(Setup { accounts, ..Setup::default() }, |simulator, apps| {
            let faults = [
                Fault::Endpoint(Answer::Hang),
                Fault::Handshake(HandshakeFault::Hang),
                Fault::Token(Answer::Hang),
                Fault::BotInfo(Answer::Hang),
            ];
            for (app, fault) in apps.iter().zip(faults) {
                simulator.set_fault(&app.app_id, fault, Times::UntilCleared).unwrap();
            }
        })
        .await;
        let healthy = |w: &World| {
            (4..accounts)
                .all(|n| w.status(n).state == AccountState::Ready && w.status(n).identity.id.is_some())
        };
        world.until("the others ready", 2 * SECOND, healthy).await;
        let shown = world.handle.accounts().await.unwrap();
        assert_eq!(shown.len(), accounts);
        tokio::time::sleep(20 * SECOND).await;
        for n in 0..2 {
            let status = world.status(n);
            assert!(status.state != AccountState::Ready && status.cause.is_some(), "{status:?}");
        }
        for n in 2..4 {
            let status = world.status(n);
            assert!(
                status.state == AccountState::Ready && status.identity.last_error.is_some(),
                "{status:?}"
            );
        }
    });
}
