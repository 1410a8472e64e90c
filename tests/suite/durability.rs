//! What the binary asks of the disk, counted at the C library's door.

use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Push, Redelivery};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::process::binary;
use moorline_tests::syncs::SyncCounter;
use moorline_tests::world::chat_of;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_commit_is_one_fdatasync_and_never_an_fsync() {
    let counter = SyncCounter::build();
    let simulator = Simulator::new(3);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
    let mut process = settings.start_with(&binary(), &counter.environment());
    process.ready(10 * SECOND);
    process.until("the identity is stored", 5 * SECOND, |p| {
        p.get("/v1/accounts/feishu:a0")["identity"]["state"] == "verified"
    });
    moorline_tests::process::pause(SECOND);
    let (fsyncs, fdatasyncs) = (counter.fsyncs(), counter.fdatasyncs());
    assert!(fdatasyncs > 0, "the counter counts");
    const MESSAGES: usize = 20;
    for n in 0..MESSAGES {
        let text = format!("message {n}");
        simulator.push(&app.app_id, Push::direct("oc_alice", "ou_alice", text.as_str())).unwrap();
        process.until("answered", 5 * SECOND, |_| {
            simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), &text)) == 1
        });
        process.until("settled", 5 * SECOND, |p| p.get("/v1/accounts/feishu:a0")["counts"]["outbox"] == 0);
    }
    let each = (counter.fdatasyncs() - fdatasyncs) as f64 / MESSAGES as f64;
    println!(
        "{each} fdatasync for each message: received, turn claimed, turn finished, send claimed, send settled"
    );
    assert!((4.9..6.0).contains(&each), "{each} fdatasync for each message");
    // Creating files costs an fsync of their directory; commits cost none.
    assert!(counter.fsyncs() - fsyncs <= 2, "{} fsync during {MESSAGES} messages", counter.fsyncs() - fsyncs);
    assert!(process.terminate(15 * SECOND).success());
}

/// A failed sync is the end of the right to acknowledge: the message is refused, and the process replaces itself until
/// there is a store again, in which the message arrives (F-074, design §3 rule 7). Its id stays, and so does its socket.
#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_a_fresh_process_takes_over_g11() {
    let shim = SyncCounter::build();
    let simulator = Simulator::new(4);
    simulator.set_redelivery(Redelivery { ladder: vec![SECOND; 60], ..Redelivery::default() });
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
    let mut process = settings.start_with(&binary(), &shim.environment());
    process.ready(10 * SECOND);
    moorline_tests::process::pause(SECOND);
    let boot = process.run_file()["boot"].clone();
    shim.break_disk();
    let pushed =
        simulator.push(&app.app_id, Push::direct("oc_alice", "ou_alice", "on a broken disk")).unwrap();
    // The fresh process cannot open the store either, says so, and goes on trying.
    process.until("run.json says why", 30 * SECOND, |p| {
        let run = p.run_file();
        run["phase"] == "starting" && run["problem"].is_string()
    });
    assert!(!simulator.ledger().event(&pushed.event_id).unwrap().is_acked());
    assert_eq!(process.run_file()["pid"], process.pid());
    process.until("it says that it lives and is not ready", 10 * SECOND, |p| {
        p.call("GET", "/healthz", None).is_some_and(|answer| answer.status == 200)
            && p.call("GET", "/readyz", None).is_some_and(|answer| answer.status == 503)
            && p.call("GET", "/v1/status", None).is_some_and(|answer| answer.text.contains("\"restarting\""))
    });
    shim.mend_disk();
    process.ready(90 * SECOND);
    assert_ne!(process.run_file()["boot"], boot);
    process.until("answered by the fresh process", 20 * SECOND, |_| {
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), "on a broken disk")) == 1
    });
    assert!(process.terminate(15 * SECOND).success());
}
