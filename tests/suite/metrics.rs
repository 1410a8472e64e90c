//! `/metrics` of a whole process: the format, and that it says what the status says.

use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, Cut, Fault, HandshakeFault, NewApp, Push, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::exposition::Exposition;
use moorline_tests::{Process, Settings, http};

const SECOND: Duration = Duration::from_secs(1);

fn started(seed: u64) -> (Simulator, Server, Vec<App>, Settings, Process) {
    let simulator = Simulator::new(seed);
    let apps: Vec<App> = (0..2).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    (simulator, server, apps, settings, process)
}

fn page(process: &Process) -> Exposition {
    let answer = process.call("GET", "/metrics", None).unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        answer.head
    );
    Exposition::parse(&answer.text).unwrap_or_else(|why| panic!("{why}\n{}", answer.text))
}

/// F-101: one truth. What the page says is what the status says, and what really happened is in the histograms.
#[test]
fn the_page_says_what_the_status_says_f101() {
    let (simulator, _server, apps, _settings, mut process) = started(51);
    let address = process.address().unwrap();
    assert_eq!(http::call(address, "GET", "/metrics", None, None).unwrap().status, 401);
    for n in 0..20 {
        let user = format!("ou_{n}");
        simulator
            .push(&apps[0].app_id, Push::direct(format!("oc_{n}").as_str(), user.as_str(), "hi"))
            .unwrap();
    }
    simulator.push(&apps[1].app_id, Push::group("oc_team", "ou_bob", "not for you")).unwrap();
    process.until("all sent", 10 * SECOND, |process| {
        let status = process.get("/v1/status");
        let counts = |n: usize| status["accounts"][n]["counts"].clone();
        counts(0)["answered"] == 20
            && counts(0)["outbox"] == 0
            && !counts(1)["dropped"]["not_mentioned"].is_null()
    });
    let (page, status) = (page(&process), process.get("/v1/status"));
    assert_eq!(page.value("moorline_ready"), 1.0);
    assert_eq!(page.value("moorline_store_readable"), 1.0);
    assert_eq!(page.value("moorline_store_state{state=\"ok\"}"), 1.0);
    let version = status["version"].as_str().unwrap();
    assert_eq!(page.value(&format!("moorline_build_info{{version=\"{version}\"}}")), 1.0);
    for account in status["accounts"].as_array().unwrap() {
        let (id, counts) = (account["id"].as_str().unwrap(), &account["counts"]);
        for (metric, count) in [
            ("moorline_messages_received_total", "received"),
            ("moorline_messages_answered_total", "answered"),
            ("moorline_messages_duplicate_total", "duplicates"),
            ("moorline_messages_pending", "pending"),
            ("moorline_outbox_messages", "outbox"),
            ("moorline_outbox_dead_messages", "dead"),
        ] {
            let value = page.value(&format!("{metric}{{account=\"{id}\"}}"));
            assert_eq!(Some(value), counts[count].as_f64(), "{metric} of {id}");
        }
        let state = account["state"].as_str().unwrap();
        assert_eq!(page.value(&format!("moorline_account_state{{account=\"{id}\",state=\"{state}\"}}")), 1.0);
        assert_eq!(page.value(&format!("moorline_account_down_seconds{{account=\"{id}\"}}")), 0.0);
        assert_eq!(
            page.value(&format!("moorline_account_identity{{account=\"{id}\",state=\"verified\"}}")),
            1.0
        );
    }
    let dropped = "moorline_messages_dropped{account=\"feishu:a1\",reason=\"not_mentioned\"}";
    assert_eq!(page.value(dropped), 1.0);
    assert_eq!(page.value("moorline_acknowledgement_duration_seconds_count"), 21.0);
    assert_eq!(page.value("moorline_turns_total{agent=\"default\",outcome=\"answered\"}"), 20.0);
    assert_eq!(page.value("moorline_turn_duration_seconds_count{agent=\"default\"}"), 20.0);
    assert_eq!(page.value("moorline_send_attempts_total{account=\"feishu:a0\",outcome=\"sent\"}"), 20.0);
    assert_eq!(page.value("moorline_send_duration_seconds_count{outcome=\"sent\"}"), 20.0);
    // Five commits for each message, and one for the dropped one, at least; several share a sync.
    assert!(page.value("moorline_store_commit_transactions_sum") >= 101.0);
    let commits = page.value("moorline_store_commit_duration_seconds_count");
    assert!(commits >= 1.0 && commits == page.value("moorline_store_commit_transactions_count"));
    assert!(page.value("moorline_process_resident_memory_bytes") > 1e6);
    assert!(page.value("moorline_process_open_fds") > 5.0 && page.value("moorline_process_max_fds") > 5.0);
    for thread in ["runtime", "admin", "store_writer"] {
        assert!(
            page.value(&format!("moorline_heartbeat_age_seconds{{thread=\"{thread}\"}}")) < 5.0,
            "{thread}"
        );
    }
    // F-090: names of chats, users and messages are nowhere, nor is a text.
    let text = process.call("GET", "/metrics", None).unwrap().text;
    for never in ["oc_", "ou_", "om_", "not for you", "cli_", &apps[0].app_secret] {
        assert!(!text.contains(never), "{never}");
    }
    let again = Exposition::parse(&text).unwrap();
    assert_eq!(
        again.value("moorline_admin_requests_total{route=\"/metrics\",method=\"GET\",status=\"200\"}"),
        1.0
    );
    assert!(page.names().all(|name| again.names().any(|other| other == name)), "no metric comes and goes");
    assert!(process.terminate(15 * SECOND).success());
}

/// F-101: an outage shows as it is, and what was counted stays counted when it is over.
#[test]
fn an_outage_is_in_the_numbers_f101() {
    let (simulator, _server, apps, _settings, mut process) = started(52);
    let gone = Fault::Handshake(HandshakeFault::Reset);
    simulator.set_fault(&apps[0].app_id, gone, Times::UntilCleared).unwrap();
    simulator.drop_connections(&apps[0].app_id, &Cut::Reset).unwrap();
    let down = "moorline_account_state{account=\"feishu:a0\",state=\"reconnecting\"}";
    process.until("down", 30 * SECOND, |process| page(process).value(down) == 1.0);
    let during = page(&process);
    assert_eq!(during.value("moorline_ready"), 0.0);
    assert_eq!(during.value("moorline_account_state{account=\"feishu:a1\",state=\"ready\"}"), 1.0);
    let finding = "moorline_findings{severity=\"error\",kind=\"not_ready\",account=\"feishu:a0\"}";
    assert_eq!(during.value(finding), 1.0);
    simulator.clear_faults(&apps[0].app_id).unwrap();
    process.ready(90 * SECOND);
    let after = page(&process);
    assert_eq!(after.get(finding), None);
    assert_eq!(after.value("moorline_account_reconnects_total{account=\"feishu:a0\"}"), 1.0);
    assert_eq!(after.value("moorline_account_reconnects_total{account=\"feishu:a1\"}"), 0.0);
    let failures = "moorline_account_connection_failures_total{account=\"feishu:a0\",class=\"transient\"}";
    assert!(after.value(failures) >= 1.0);
    assert!(process.terminate(15 * SECOND).success());
}
