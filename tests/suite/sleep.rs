//! The machine sleeps, or the process is stopped and goes on: connections die unseen, and no timer tells (F-020).

use std::time::Duration;

use moorline_core::AccountState;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Cut, Fault, NewApp, Times};
use moorline_simulator::server::Server;
use moorline_tests::process::{pause, signal};
use moorline_tests::{Settings, Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn after_a_sleep_every_dead_connection_is_found_out_at_once_and_no_healthy_one_is_touched_f020() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        for n in [0, 1] {
            world.simulator.drop_connections(world.app(n), &Cut::BlackHole).unwrap();
        }
        world.sleep_machine(8 * HOUR);
        // One tick to notice, ten seconds for an answer, and then the first delay.
        let noticed = |w: &World| (0..2).all(|n| w.status(n).state != AccountState::Ready);
        world.until("the dead ones are found out", 12 * SECOND, noticed).await;
        world.all_ready(2 * SECOND).await;
        let opened = |n| world.simulator.counters(world.app(n)).unwrap().opened;
        assert_eq!([opened(0), opened(1), opened(2)], [2, 2, 1]);
        for n in 0..3 {
            world.say(n, &format!("u{n}"), "good morning");
        }
        world
            .until("answered", 2 * SECOND, |w| {
                (0..3).all(|n| w.copies(&format!("u{n}"), "good morning") == 1)
            })
            .await;
        world.check().await;
    });
}

#[test]
fn a_sleep_ends_the_wait_for_the_next_attempt_f020() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        tokio::time::sleep(600 * SECOND).await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        // Whatever is left of the wait, up to a minute, would come on top of the sleep.
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.sleep_machine(HOUR);
        world.all_ready(2 * SECOND).await;
        world.check().await;
    });
}

#[test]
fn a_process_that_was_stopped_finds_out_what_died_meanwhile_f020() {
    let simulator = Simulator::new(5);
    let apps: Vec<_> = (0..3).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, moorline_simulator::server::Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    signal(process.pid(), "STOP");
    simulator.drop_connections(&apps[0].app_id, &Cut::BlackHole).unwrap();
    pause(8 * SECOND);
    signal(process.pid(), "CONT");
    let lost = process.until("the dead connection is found out", 13 * SECOND, |p| {
        p.get("/v1/accounts/feishu:a0")["state"] == "reconnecting"
    });
    let back = process.ready(3 * SECOND);
    println!("found out {lost:?} after SIGCONT, ready {back:?} later");
    let opened = |n: usize| simulator.counters(&apps[n].app_id).unwrap().opened;
    assert_eq!([opened(0), opened(1), opened(2)], [2, 1, 1], "the healthy ones kept their connections");
    assert!(std::fs::read_to_string(settings.log()).unwrap().contains("the process stood still"));
    assert!(process.terminate(15 * SECOND).success());
}
