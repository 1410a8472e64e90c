//! The admin endpoint and the command line over a whole process: lists, logs, and clients that behave badly.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, App, ChatType, Fault, NewApp, Push, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::world::chat_of;
use moorline_tests::{Process, Settings, http};
use serde_json::{Value, json};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn started(agent_delay: &str) -> (Simulator, Server, Vec<App>, Settings, Process) {
    let simulator = Simulator::new(31);
    let apps: Vec<App> = (0..2).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, agent_delay);
    let mut process = settings.start();
    process.ready(10 * SECOND);
    (simulator, server, apps, settings, process)
}

fn ids(answer: &Value, list: &str) -> Vec<i64> {
    answer[list].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[test]
fn everything_that_happened_to_a_message_can_be_listed() {
    let (simulator, _server, apps, settings, mut process) = started("0s");
    for n in 0..7 {
        let text = format!(
            "message {n}\nwith a \u{1b}[31mcolour and many more words than anybody wants to see in a table"
        );
        simulator.push(&apps[0].app_id, Push::direct("oc_alice", "ou_alice", text.as_str())).unwrap();
    }
    simulator.push(&apps[1].app_id, Push::direct("oc_bob", "ou_bob", "hello")).unwrap();
    simulator.push(&apps[1].app_id, Push::group("oc_team", "ou_bob", "not for you")).unwrap();
    process.until("answered", 10 * SECOND, |p| {
        let sent = p.get("/v1/outbox?state=sent&limit=500");
        sent["messages"].as_array().is_some_and(|sent| sent.len() == 8)
    });
    let sessions = process.get("/v1/sessions");
    let named: Vec<_> =
        sessions["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(named.len(), 3);
    assert!(named[2] == "feishu:a0~oc_alice", "the latest last: {named:?}");
    let alice = process.get("/v1/sessions/feishu:a0~oc_alice?entries=4");
    assert_eq!(
        (&alice["received"], &alice["answered"], &alice["state"]),
        (&json!(7), &json!(7), &json!("idle"))
    );
    assert_eq!((alice["transcript"].as_array().unwrap().len(), &alice["entries"]), (4, &json!(14)));

    // In pages of three, newest first, without a gap and without a row twice.
    let (mut found, mut path) = (Vec::new(), "/v1/inbox?account=feishu:a0&limit=3".to_owned());
    loop {
        let page = process.get(&path);
        found.extend(ids(&page, "messages"));
        if page["next"].is_null() {
            break;
        }
        path = format!("/v1/inbox?account=feishu:a0&limit=3&before={}", page["next"]);
    }
    assert!(found.len() == 7 && found.is_sorted_by(|a, b| a > b), "{found:?}");
    let dropped = process.get("/v1/inbox?state=dropped");
    assert_eq!(dropped["messages"][0]["reason"], json!("not_mentioned"));
    let id = &dropped["messages"][0]["id"];
    let row = process.get(&format!("/v1/inbox/{id}"));
    assert!(
        row["raw_bytes"].as_u64().unwrap() > 100 && row["facts"]["sender"]["ids"][0] == "ou_bob",
        "{row}"
    );

    // The same on the command line.
    let (code, table) = settings.command(&["session", "list"]);
    assert!(
        code == Some(0) && table.starts_with("SESSION") && table.contains("feishu:a0~oc_alice"),
        "{table}"
    );
    let (code, table) = settings.command(&["inbox", "list", "--account", "feishu:a0", "--limit", "3"]);
    assert!(code == Some(0) && table.contains("more with --before"), "{table}");
    assert!(!table.contains('\u{1b}') && table.lines().all(|line| line.chars().count() < 140), "{table}");
    assert!(
        table.lines().nth(1).unwrap().contains("message 6 with a ·[31m") && table.contains('…'),
        "{table}"
    );
    let (code, table) = settings.command(&["inbox", "list", "--state", "held"]);
    assert_eq!((code, table.as_str()), (Some(0), "no messages\n"));
    let (code, shown) = settings.command(&["session", "show", "feishu:a0~oc_alice", "--entries", "2"]);
    assert!(code == Some(0) && shown.contains("user, ") && shown.contains("agent, "), "{shown}");
    let first = ids(&process.get("/v1/outbox?account=feishu:a0"), "messages").pop().unwrap().to_string();
    let (code, shown) = settings.command(&["outbox", "show", &first]);
    assert!(code == Some(0) && shown.contains("sent") && shown.contains("message 0"), "{shown}");
    let (code, shown) = settings.command(&["--json", "inbox", "show", "1"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["id"]), (Some(0), &json!(1)));
    let misuses: [&[&str]; 7] = [
        &["inbox", "show", "999"],
        &["inbox", "show", "x"],
        &["inbox", "list", "--state", "unknown"],
        &["inbox", "list", "--conversation", "oc_alice"],
        &["inbox", "list", "--limit", "0"],
        &["session", "show", "feishu:a0~oc_nobody"],
        &["session", "show", "oc_alice"],
    ];
    for misuse in misuses {
        let (code, said) = settings.command(misuse);
        assert_eq!(code, Some(64), "{misuse:?}: {said}");
    }
    assert!(process.terminate(15 * SECOND).success());
    assert_eq!(settings.command(&["inbox", "list"]).0, Some(69), "nothing runs any more");
}

#[test]
fn what_is_under_way_and_what_failed_can_be_listed() {
    let (simulator, _server, apps, settings, mut process) = started("3s");
    simulator.push(&apps[0].app_id, Push::direct("oc_alice", "ou_alice", "think")).unwrap();
    process.until("a turn runs", 5 * SECOND, |p| {
        p.get("/v1/sessions?state=running")["sessions"].as_array().is_some_and(|found| found.len() == 1)
    });
    let (code, table) = settings.command(&["session", "list", "--state", "running"]);
    assert!(code == Some(0) && table.contains("running for") && table.contains("attempt 1"), "{table}");
    assert_eq!(ids(&process.get("/v1/inbox?state=pending"), "messages"), [1]);

    simulator.add_chat(&apps[1].app_id, chat_of("bob"), ChatType::P2p).unwrap();
    let refusal = Answer::Code { status: 400, code: 230_002 };
    simulator.set_fault(&apps[1].app_id, Fault::Send(refusal), Times::Count(1)).unwrap();
    assert_eq!(settings.command(&["send", "feishu:a1", "oc_bob", "into the void"]).0, Some(0));
    process.until("dead", 5 * SECOND, |p| !ids(&p.get("/v1/outbox?state=dead"), "messages").is_empty());
    let (code, table) = settings.command(&["outbox", "list", "--state", "dead"]);
    assert!(code == Some(0) && table.contains("dead") && table.contains("230002"), "{table}");
}

/// What an operator does about stuck messages, on the command line of a whole process.
#[test]
fn stuck_messages_are_dealt_with_on_the_command_line_f053_f055() {
    let (simulator, _server, apps, settings, mut process) = started("0s");
    let said = |args: &[&str]| {
        let (code, said) = settings.command(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        said
    };
    let refuse = |times| {
        let refusal = Fault::Send(Answer::Code { status: 400, code: 230_001 });
        simulator.set_fault(&apps[1].app_id, refusal, Times::Count(times)).unwrap();
    };
    simulator.add_chat(&apps[1].app_id, chat_of("bob"), ChatType::P2p).unwrap();
    refuse(2);
    for text in ["one", "two"] {
        let sent = said(&["send", "a1", "oc_bob", text]);
        assert!(!sent.contains("ready"), "{sent}");
    }
    process.until("dead", 5 * SECOND, |p| ids(&p.get("/v1/outbox?state=dead"), "messages").len() == 2);
    let dead = ids(&process.get("/v1/outbox?state=dead"), "messages");
    let (second, first) = (dead[0].to_string(), dead[1].to_string());
    let table = said(&["status"]);
    assert!(table.contains("DEAD") && !table.contains("NOT CONFIGURED"), "{table}");
    assert!(said(&["account", "show", "a1"]).contains("feishu:a1"));
    assert_eq!(settings.command(&["account", "show", "a7"]).0, Some(64));
    assert_eq!(settings.command(&["account", "show", "Feishu:a1"]).0, Some(64));

    assert!(said(&["outbox", "retry", &first]).contains("sent now"));
    process.until("delivered", 5 * SECOND, |_| {
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("bob"), "one")) == 1
    });
    assert!(said(&["outbox", "discard", &second]).contains("discarded"));
    process.until("settled", 5 * SECOND, |p| ids(&p.get("/v1/outbox?state=sent"), "messages").len() == 1);
    for refused in [["retry", &first], ["discard", &first], ["retry", &second], ["retry", "999"]] {
        assert_eq!(settings.command(&["outbox", refused[0], refused[1]]).0, Some(64), "{refused:?}");
    }
    let (_, table) = settings.command(&["outbox", "list", "--state", "discarded"]);
    assert!(table.contains("discarded") && table.contains("two"), "{table}");

    let pushed = simulator.push(&apps[0].app_id, Push::direct("oc_alice", "ou_alice", "hello")).unwrap();
    process.until("answered", 5 * SECOND, |_| {
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), "hello")) == 1
    });
    process.until("settled", 5 * SECOND, |p| ids(&p.get("/v1/outbox?state=sent"), "messages").len() == 2);
    let life = said(&["trace", pushed.message_id.as_str()]);
    let steps = ["received", "started", "done", "answered", "queued", "first attempt", "sent"];
    assert!(steps.iter().all(|step| life.contains(step)), "{life}");
    let life: Value = serde_json::from_str(&said(&["--json", "trace", &format!("out:{first}")])).unwrap();
    let steps: Vec<_> = life["steps"].as_array().unwrap().iter().map(|step| &step["what"]).collect();
    assert_eq!(steps, ["queued", "first attempt", "dead", "retried", "sent"]);
    assert_eq!(settings.command(&["trace", "om_nobody"]).0, Some(64));

    assert!(said(&["session", "reset", "feishu:a0~oc_alice"]).contains("begins anew"));
    assert_eq!(
        settings.command(&["session", "resume", "feishu:a0~oc_alice"]).0,
        Some(64),
        "nothing to resume"
    );
    assert_eq!(settings.command(&["account", "discard-rows", "feishu:a0"]).0, Some(64), "it is configured");
    assert!(process.terminate(15 * SECOND).success());
}

/// F-104: a request in the log is found by what its sender was told, and has nothing of its query.
#[test]
fn a_mutating_request_is_in_the_log_with_its_id_and_without_its_query() {
    let (_simulator, _server, _apps, settings, process) = started("0s");
    let answer = process.call("POST", "/v1/accounts/feishu:a1/probe?why=curious", None).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let refused = process.call("POST", "/v1/accounts/feishu:nobody/stop", None).unwrap();
    assert_eq!(refused.status, 404);
    drop(process.get("/v1/status"));
    let id = |answer: &http::Answer| {
        let line = answer.head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
        line.unwrap().to_owned()
    };
    let (first, second) = (id(&answer), id(&refused));
    assert!(process.terminate(15 * SECOND).success());
    let log = fs::read_to_string(settings.log()).unwrap();
    assert!(!log.contains("curious"), "a query is in the log");
    let requests: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(requests.len(), 2, "only what changes something, at this level: {requests:#?}");
    let expected =
        [(first, "/v1/accounts/feishu:a1/probe", 202), (second, "/v1/accounts/feishu:nobody/stop", 404)];
    for (line, (id, path, status)) in requests.iter().zip(expected) {
        assert_eq!((&line["level"], &line["actor"]), (&json!("INFO"), &json!("admin")), "{line}");
        assert_eq!((&line["request"], &line["method"]), (&json!(id), &json!("POST")), "{line}");
        assert_eq!((&line["path"], &line["status"]), (&json!(path), &json!(status)), "{line}");
        assert!(line["ms"].as_u64().is_some(), "{line}");
    }
}

/// F-085: a thousand clients that never finish cost some memory for some seconds, and nobody else anything.
#[test]
fn a_thousand_slow_clients_are_noticed_by_nobody_f085() {
    let (simulator, _server, apps, settings, mut process) = started("0s");
    let address = process.address().unwrap();
    let before = process.resident_kib();
    let head = b"GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ";
    let mut slow: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let began = Instant::now();
        assert_eq!(process.call("GET", "/v1/status", None).unwrap().status, 200);
        slowest = slowest.max(began.elapsed());
        // A byte of each now and then, as a slow client has it; who was ended already does not mind.
        slow.iter_mut().skip(round).step_by(20).for_each(|stream| drop(stream.write_all(b"x")));
    }
    simulator.push(&apps[0].app_id, Push::direct("oc_alice", "ou_alice", "well?")).unwrap();
    process.until("answered meanwhile", 2 * SECOND, |_| {
        simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), "well?")) == 1
    });
    // A body without an end, on a connection of its own.
    let token = fs::read_to_string(settings.data().join("admin.token")).unwrap();
    let mut endless = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/shutdown HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        token.trim()
    );
    endless.set_write_timeout(Some(10 * SECOND)).unwrap();
    endless.set_read_timeout(Some(10 * SECOND)).unwrap();
    endless.write_all(head.as_bytes()).unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 16).into_bytes(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
    let (began, mut sent) = (Instant::now(), 0_usize);
    while endless.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(began.elapsed() < 5 * SECOND, "{sent} bytes were taken, and the connection is still there");
    }
    let ended = began.elapsed();
    let grown = process.resident_kib().saturating_sub(before);
    println!(
        "1,000 slow clients: slowest answer {slowest:?}, {grown} KiB more, an endless body ended after {ended:?}"
    );
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
    assert!(grown < 32 * 1024, "{grown} KiB");
    for app in &apps {
        assert_eq!(simulator.counters(&app.app_id).unwrap().opened, 1, "no channel noticed");
    }
    // All of them are ended: none may stay for as long as it likes.
    for stream in &mut slow {
        stream.set_read_timeout(Some(15 * SECOND)).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer)),
            // It wrote after the end, and was reset.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert!(process.terminate(15 * SECOND).success());
}
