//! Real sockets: as many accounts on one host as it takes to find a limit somebody left in.

use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Cut, NewApp, OddFrame, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::world::chat_of;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_hundred_and_fifty_accounts_are_open_at_once_on_one_host_and_none_times_out() {
    let simulator = Simulator::new(5);
    let apps: Vec<_> = (0..150).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    // 50 at once, then 20 a second (design §4).
    let took = process.ready(20 * SECOND);
    println!("150 accounts ready after {took:?}");
    let all = |apps: &[moorline_simulator::feishu::App]| -> Vec<_> {
        apps.iter().map(|app| simulator.counters(&app.app_id).unwrap()).collect()
    };
    assert_eq!(all(&apps).iter().map(|c| c.open).sum::<usize>(), 150);
    for counters in all(&apps) {
        assert_eq!((counters.endpoint_calls, counters.handshakes, counters.opened), (1, 1, 1));
    }

    // All lose their sockets at the same moment and come back, each on one connection.
    for app in &apps {
        simulator.drop_connections(&app.app_id, &Cut::Reset).unwrap();
    }
    process.until("all back", 20 * SECOND, |p| {
        all(&apps).iter().map(|c| c.open).sum::<usize>() == 150
            && p.call("GET", "/readyz", None).is_some_and(|answer| answer.status == 200)
    });
    assert!(
        all(&apps).iter().all(|counters| counters.max_open == 1),
        "one connection per account at any time"
    );
    assert!(process.terminate(15 * SECOND).success());
}

/// The same three falls as in virtual time, with real FINs, RSTs and silence, and delays in proportion.
#[test]
fn three_accounts_fall_over_on_real_sockets_and_nobody_else_notices_f019_f026() {
    let simulator = Simulator::new(6);
    let apps: Vec<_> = (0..4).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let fast = "liveness = \"2s\"\nretry = { initial = \"50ms\", max = \"400ms\", reset_after = \"60s\" }";
    let settings = Settings::with_channel(server.address(), &apps, "0s", fast);
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let device = |n: usize| simulator.connections(&apps[n].app_id).unwrap()[0].device_id.clone();
    let state =
        |p: &moorline_tests::Process, n: usize| p.get(&format!("/v1/accounts/feishu:a{n}"))["state"].clone();
    let (second, third) = (device(2), device(3));

    simulator.drop_connections(&apps[0].app_id, &Cut::BlackHole).unwrap();
    let noticed = process.until("the black hole is noticed", 3 * SECOND, |p| state(p, 0) != "ready");
    process.until("ready on a new socket", SECOND, |p| state(p, 0) == "ready");
    println!("black hole: noticed after {noticed:?}");
    for _ in 0..20 {
        simulator.drop_connections(&apps[1].app_id, &Cut::Reset).unwrap();
        process.until("noticed", SECOND, |_| simulator.counters(&apps[1].app_id).unwrap().open == 0);
        process.until("ready again", SECOND, |p| state(p, 1) == "ready");
    }
    for frame in
        [OddFrame::Truncated, OddFrame::WrongWireType, OddFrame::Text, OddFrame::Empty, OddFrame::SumZero]
    {
        assert_eq!(simulator.inject(&apps[2].app_id, frame).unwrap(), 1, "{frame:?}");
    }
    moorline_tests::process::pause(3 * SECOND);
    assert_eq!((device(2), device(3)), (second, third), "the same connections as before");

    for (n, app) in apps.iter().enumerate() {
        let user = format!("u{n}");
        simulator.push(&app.app_id, Push::direct(format!("oc_{user}"), user.as_str(), "well?")).unwrap();
        process.until("answered", 2 * SECOND, |_| {
            simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of(&user), "well?")) == 1
        });
        assert_eq!(simulator.counters(&app.app_id).unwrap().max_open, 1);
        assert_eq!(
            process.get(&format!("/v1/accounts/feishu:a{n}"))["generation"],
            1,
            "an outage is no fault"
        );
    }
    assert!(process.terminate(15 * SECOND).success());
}
