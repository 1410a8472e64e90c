//! `make bench`: the release binary against the simulator on loopback. Every figure comes with the machine's load, and
//! none is printed unless the work behind it was checked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that goes wrong must not go on"
)]

mod status;

use std::io::Write;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::process::{Process, binary, pause};
use moorline_tests::syncs::SyncCounter;
use moorline_tests::world::chat_of;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    // `cargo bench` passes flags of its own; words are names of benches to run.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benches: [(&str, fn()); 6] = [
        ("start", cold_start),
        ("latency", latency),
        ("burst", burst),
        ("reload", reload),
        ("memory", memory),
        ("status", status::status_under_overload),
    ];
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            bench();
        }
    }
}

/// A platform, its apps, and a configuration for them.
struct Bench {
    simulator: Simulator,
    apps: Vec<App>,
    settings: Settings,
    _server: Server,
}

impl Bench {
    fn new(accounts: usize) -> Self {
        let simulator = Simulator::new(1);
        let apps: Vec<App> =
            (0..accounts).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
        let server = Server::start(&simulator, Options::default()).unwrap();
        let settings = Settings::new(server.address(), &apps, "0s");
        Self { simulator, apps, settings, _server: server }
    }

    fn answered(&self, user: &str, text: &str) -> bool {
        self.simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of(user), text)) == 1
    }

    fn say(&self, app: usize, user: &str, text: &str) {
        let push = Push::direct(chat_of(user).as_str(), user, text);
        self.simulator.push(&self.apps[app].app_id, push).unwrap();
    }
}

/// From the start of the process to the moment at which `/readyz` says yes.
fn cold_start() {
    let bench = Bench::new(3);
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let began = Instant::now();
            let mut process = bench.settings.start();
            process.ready(10 * SECOND);
            let took = began.elapsed();
            assert!(process.terminate(15 * SECOND).success());
            took
        })
        .collect();
    times.sort();
    // The first run also creates the database.
    report(
        "cold start to three accounts ready",
        "aim < 150 ms",
        &format!("median {}, worst {}", ms(times[5]), ms(times[10])),
    );
}

/// From a user's message to the visible reply, one at a time, with every durable commit in it.
fn latency() {
    const MESSAGES: usize = 300;
    let counter = SyncCounter::build();
    let bench = Bench::new(1);
    let mut process = bench.settings.start_with(&binary(), &counter.environment());
    process.ready(10 * SECOND);
    pause(SECOND);
    bench.say(0, "warm", "up");
    process.until("warm", 5 * SECOND, |_| bench.answered("warm", "up"));
    pause(SECOND);
    let before = counter.fdatasyncs();
    let mut times: Vec<Duration> = (0..MESSAGES)
        .map(|n| {
            let text = format!("message {n}");
            // A chat of its own for each: one chat gets four messages a second at most.
            let user = format!("u{n}");
            let began = Instant::now();
            bench.say(0, &user, &text);
            while !bench.answered(&user, &text) {
                assert!(began.elapsed() < 10 * SECOND, "no answer\n{}", process.log_tail());
                pause(Duration::from_micros(50));
            }
            let took = began.elapsed();
            pause(Duration::from_millis(5));
            took
        })
        .collect();
    pause(SECOND);
    let syncs = (counter.fdatasyncs() - before) as f64 / MESSAGES as f64;
    times.sort();
    let (p50, p99) = (times[MESSAGES / 2], times[MESSAGES * 99 / 100]);
    report(
        "message to reply",
        "aim p50 < 10 ms",
        &format!(
            "p50 {}, p99 {}, worst {}; {syncs:.1} fdatasync each, 4 of them before the reply",
            ms(p50),
            ms(p99),
            ms(times[MESSAGES - 1])
        ),
    );
    report("one fdatasync of 4 KiB here", "the disk's own share", &format!("p50 {}", ms(disk())));
}

/// The median time of a write and its sync on this disk, now.
fn disk() -> Duration {
    let mut file = tempfile::tempfile().unwrap();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[50]
}

/// 200 messages from 200 users over five accounts at the same moment.
fn burst() {
    let bench = Bench::new(5);
    let mut process = bench.settings.start();
    process.ready(10 * SECOND);
    pause(SECOND);
    let began = Instant::now();
    for n in 0..200 {
        bench.say(n % 5, &format!("u{n}"), &format!("m{n}"));
    }
    let all = process.until("all answered", 30 * SECOND, |_| {
        (0..200).all(|n| bench.answered(&format!("u{n}"), &format!("m{n}")))
    });
    let replies = began.elapsed();
    let mut acks: Vec<Duration> = bench.simulator.read_ledger(|ledger| {
        ledger.events().iter().map(|event| event.acked[0].since(event.pushed_at)).collect()
    });
    acks.sort();
    assert_eq!(acks.len(), 200);
    let deliveries: usize = bench
        .simulator
        .read_ledger(|ledger| ledger.events().iter().map(|event| event.deliveries.len()).sum());
    report(
        "200 messages from 200 users over five accounts",
        "aim acks < 500 ms, all replies < 2 s",
        &format!(
            "acks p50 {}, worst {}; all 200 replies after {} ({} seen by polling); {} deliveries",
            ms(acks[100]),
            ms(acks[199]),
            ms(replies),
            ms(all),
            deliveries
        ),
    );
}

/// A reload that changes one of a thousand accounts, from the request to its answer.
fn reload() {
    let bench = Bench::new(1_000);
    let mut process = bench.settings.start();
    process.ready(120 * SECOND);
    pause(2 * SECOND);
    let device = |app: &App| {
        let connections = bench.simulator.connections(&app.app_id).unwrap();
        connections.first().map(|connection| connection.device_id.clone())
    };
    let mut times: Vec<Duration> = (0..5)
        .map(|round| {
            let before: Vec<_> = bench.apps.iter().map(device).collect();
            let (changed, secret) = (&bench.apps[100 + round], format!("rotated-{round}"));
            let bot = NewApp::named("Bot").with_credentials(changed.app_id.as_str(), secret.as_str());
            bench.simulator.add_app(bot);
            let text = std::fs::read_to_string(bench.settings.file()).unwrap();
            std::fs::write(bench.settings.file(), text.replace(&changed.app_secret, &secret)).unwrap();
            let began = Instant::now();
            let answer = process.call("POST", "/v1/reload", None).unwrap();
            let took = began.elapsed();
            assert_eq!(answer.json()["reconnected"].as_array().map(Vec::len), Some(1), "{}", answer.text);
            process.ready(10 * SECOND);
            let after: Vec<_> = bench.apps.iter().map(device).collect();
            let touched = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert_eq!(touched, 1, "no other socket was touched");
            took
        })
        .collect();
    times.sort();
    report(
        "reload of 1 of 1,000 accounts",
        "aim < 150 ms, no other socket touched",
        &format!("median {}, worst {}", ms(times[2]), ms(times[4])),
    );
    assert!(process.terminate(30 * SECOND).success());
}

/// Resident memory with idle accounts.
fn memory() {
    for (accounts, aim) in [(1, 20), (50, 25), (1_000, 60)] {
        let bench = Bench::new(accounts);
        let mut process: Process = bench.settings.start();
        let ready = process.ready(120 * SECOND);
        pause(3 * SECOND);
        let open: usize =
            bench.apps.iter().map(|app| bench.simulator.counters(&app.app_id).unwrap().open).sum();
        assert_eq!(open, accounts);
        let megabytes = process.resident_kib() as f64 * 1_024.0 / 1e6;
        report(
            &format!("resident memory with {accounts} idle accounts"),
            &format!("aim < {aim} MB"),
            &format!("{megabytes:.1} MB (all ready after {})", ms(ready)),
        );
        assert!(process.terminate(30 * SECOND).success());
    }
}

fn ms(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

fn report(what: &str, aim: &str, figure: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let line = format!("{what} [{aim}]: {figure} (load {load})\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}
