//! `moorline watch` as a process, against the binary and against an endpoint that does what it is told.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, Cut, NewApp};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::{binary, pause, signal};
use moorline_tests::{Process, Settings};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, accept};

use super::SECOND;

/// `moorline watch` as a process, and its lines as they come.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(settings: &Settings, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .arg("--config")
            .arg(settings.file())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let told = told.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    drop(told.send(line));
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for a line.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let (began, mut seen) = (Instant::now(), Vec::new());
        while began.elapsed() < 20 * SECOND {
            match self.lines.recv_timeout(SECOND) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => seen.push(line),
                Err(_) => {}
            }
        }
        panic!("not told: {what}\n{}", seen.join("\n"));
    }

    /// Its exit code.
    fn end(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < 20 * SECOND, "it goes on");
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn started() -> (Simulator, Server, Vec<App>, Settings, Process) {
    let simulator = Simulator::new(17);
    let apps: Vec<_> = (0..2).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::with_channel(
        server.address(),
        &apps,
        "0s",
        "[channels.feishu.retry]\ninitial = \"50ms\"\n",
    );
    let mut process = settings.start();
    process.ready(10 * SECOND);
    (simulator, server, apps, settings, process)
}

/// An account's event with these states, or the snapshot.
fn is(line: &str, account: &str, from: &str, to: &str) -> bool {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    event["kind"] == "account" && event["account"] == account && event["from"] == from && event["to"] == to
}

#[test]
fn watch_shows_an_outage_as_it_happens_and_ends_when_there_is_nothing_left_f103() {
    let (simulator, _server, apps, settings, process) = started();
    let mut raw = Watching::start(&settings, &["--json", "watch"]);
    let mut one = Watching::start(&settings, &["watch", "--messages", "--account", "feishu:a1"]);
    let snapshot = raw.until("the snapshot", |line| line.contains(r#""kind":"snapshot""#));
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!(snapshot["accounts"][1]["state"], "ready");
    one.until("a1", |line| line.contains("[feishu:a1] ready since"));

    simulator.drop_connections(&apps[1].app_id, &Cut::Reset).unwrap();
    raw.until("the outage", |line| is(line, "feishu:a1", "ready", "reconnecting"));
    raw.until("its end", |line| is(line, "feishu:a1", "reconnecting", "ready"));
    one.until("the outage", |line| line.contains("[feishu:a1] disconnected: "));
    let line = one.until("its end", |line| line.contains("[feishu:a1] reconnected after "));
    assert!(line.ends_with(" attempt)") || line.ends_with(" attempts)"), "{line}");

    let push = moorline_simulator::feishu::Push::direct("oc_alice", "ou_alice", "hello");
    simulator.push(&apps[1].app_id, push).unwrap();
    one.until("the message", |line| {
        line.contains("[feishu:a1] message 1 received: allowed conversation=oc_alice")
    });
    one.until("its reply", |line| line.contains("[feishu:a1] message 1 sent (1 attempt)"));

    signal(one.child.id(), "INT");
    assert_eq!(one.end(), Some(0));

    assert!(process.terminate(15 * SECOND).success());
    raw.until("the end", |line| line.contains(r#""kind":"draining""#));
    raw.until("why", |line| line.contains("service restart (1012)"));
    assert_eq!(raw.end(), Some(69));
    let (code, text) = settings.command(&["watch"]);
    assert!(code == Some(69) && text.contains("nothing runs"), "{text}");
}

#[test]
fn watch_says_what_it_cannot_watch_and_sees_a_process_that_was_killed() {
    let (_simulator, _server, _apps, settings, process) = started();
    let (code, text) = settings.command(&["watch", "--account", "feishu:nobody"]);
    assert!(code == Some(64) && text.contains("there is no account `feishu:nobody`"), "{text}");
    assert_eq!(settings.command(&["watch", "--account", "nobody"]).0, Some(64));
    let mut watching = Watching::start(&settings, &["watch"]);
    watching.until("the snapshot", |line| line.contains("watching moorline"));
    // Its run.json stays behind.
    process.kill();
    assert_eq!(watching.end(), Some(69));
}

#[test]
fn watch_goes_on_with_the_process_that_takes_the_place_of_the_first_f080() {
    let (_simulator, _server, _apps, settings, process) = started();
    let watching = Watching::start(&settings, &["--json", "watch"]);
    let snapshot = || {
        let line = watching.until("a snapshot", |line| line.contains(r#""kind":"snapshot""#));
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let first = snapshot();
    let answer = process.call("POST", "/v1/shutdown", Some(&json!({ "restart": true }))).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let draining = |line: &str| line.contains(r#""kind":"draining","restart":true"#);
    watching.until("that it is replaced", draining);
    let second = snapshot();
    assert_eq!(first["pid"], second["pid"], "the binary was executed in place");
    assert_ne!(first["boot"], second["boot"]);
    // They may have been quicker than the watcher.
    let is_up = |account: &Value| account["id"] == "feishu:a1" && account["state"] == "ready";
    if !second["accounts"].as_array().unwrap().iter().any(is_up) {
        watching.until("its accounts", |line| is(line, "feishu:a1", "connecting", "ready"));
    }
    assert!(process.terminate(15 * SECOND).success());
}

/// Report 5: around a restart commands failed with a bare 1000 or 1006, or could not connect.
#[test]
fn watch_comes_back_through_everything_that_a_restart_may_look_like_f080() {
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings::new(endpoint.local_addr().unwrap(), &[], "0s");
    std::fs::create_dir_all(settings.data()).unwrap();
    let run = json!({
        "pid": std::process::id(), "address": endpoint.local_addr().unwrap(), "boot": "b",
        "started_at": "2026-11-20T12:00:00.000Z", "phase": "running",
    });
    let run_file = settings.data().join("run.json");
    std::fs::write(&run_file, run.to_string()).unwrap();
    std::fs::write(settings.data().join("admin.token"), "t0k3n").unwrap();
    let mut watching = Watching::start(&settings, &["watch", "--json"]);
    let event = |n: u32| json!({ "seq": n, "kind": "draining", "restart": true }).to_string();
    for (round, code) in [Some(1012), Some(1000), Some(1001), None].into_iter().enumerate() {
        let (stream, _) = endpoint.accept().unwrap();
        let mut socket = accept(stream).unwrap();
        let number = u32::try_from(round).unwrap();
        socket.send(Message::text(event(number))).unwrap();
        watching.until("the event", |line| line == event(number));
        if let Some(code) = code {
            let reason = "service restart".into();
            socket.close(Some(CloseFrame { code: u16::into(code), reason })).unwrap();
        }
        // Without a code it breaks, as at a crash.
        drop(socket);
        watching.until("that it comes back", |line| line.contains("trying again in 150 ms"));
    }
    // It begins, and does not serve yet; then it is replaced, and does not listen for a moment.
    let (mut stream, _) = endpoint.accept().unwrap();
    let body = r#"{"error":{"code":"restarting","message":"not yet"}}"#;
    let answer = format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
    watching.until("why", |line| line.contains("not yet (503)") && line.contains("350 ms"));
    let address = endpoint.local_addr().unwrap();
    drop((stream, endpoint));
    watching.until("why", |line| line.contains("does not answer") && line.contains("750 ms"));
    let endpoint = TcpListener::bind(address).unwrap();
    let mut socket = accept(endpoint.accept().unwrap().0).unwrap();
    socket.send(Message::text(event(9))).unwrap();
    watching.until("the event", |line| line == event(9));
    // A refusal that is meant is the end.
    socket.close(Some(CloseFrame { code: 1013.into(), reason: "too many watchers".into() })).unwrap();
    watching.until("why", |line| line.contains("too many watchers (1013)"));
    assert_eq!(watching.end(), Some(69));
}
