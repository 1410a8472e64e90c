//! Real sockets: as many accounts on one host as it takes to find a limit somebody left in.

use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Cut, NewApp};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;

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
