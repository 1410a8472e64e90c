//! The binary replaced by itself: nobody notices, nothing is lost, nothing stays behind (F-070, F-080…F-083).

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, NewApp, Push, Redelivery};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::{Process, pause, signal};
use moorline_tests::world::chat_of;
use moorline_tests::{Settings, http};
use serde_json::json;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn platform(apps: usize) -> (Simulator, Server, Vec<App>) {
    let simulator = Simulator::new(23);
    simulator.set_redelivery(Redelivery { ladder: vec![SECOND; 60], ..Redelivery::default() });
    let apps = (0..apps).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    (simulator, server, apps)
}

fn copies(simulator: &Simulator, chat: &ChatId, text: &str) -> usize {
    simulator.read_ledger(|ledger| ledger.visible_copies(chat, text))
}

fn boot(process: &Process) -> String {
    process.run_file()["boot"].as_str().unwrap_or_default().to_owned()
}

/// What a process has open, by what it is: the numbers differ from life to life.
fn open_files(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let name = |file: std::io::Result<fs::DirEntry>| fs::read_link(file.ok()?.path()).ok();
    let mut names: Vec<String> = files.filter_map(name).map(|name| kind(&name.to_string_lossy())).collect();
    names.sort();
    names
}

fn kind(name: &str) -> String {
    name.split(":[").next().unwrap_or(name).to_owned()
}

/// Sockets on which the process listens, by their inode.
fn children_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

#[test]
fn the_command_line_never_fails_over_20_restarts_which_leave_nothing_behind_f070_f080() {
    let (simulator, server, apps) = platform(2);
    let settings = Arc::new(Settings::new(server.address(), &apps, "20ms"));
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let (pid, address) = (process.pid(), process.address());
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looping = {
        let (settings, over, calls) = (Arc::clone(&settings), Arc::clone(&over), Arc::clone(&calls));
        std::thread::spawn(move || {
            let commands: [&[&str]; 4] =
                [&["cron", "list"], &["outbox", "list"], &["cron", "list"], &["session", "list"]];
            let mut failed = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let command = commands[calls.fetch_add(1, Ordering::Relaxed) % commands.len()];
                let (code, output) = settings.command(command);
                if code != Some(0) {
                    failed.push(format!("{command:?}: {code:?} {output}"));
                }
                pause(50 * MS);
            }
            failed
        })
    };
    let mut boots = BTreeSet::from([boot(&process)]);
    let mut files = Vec::new();
    let mut texts = Vec::new();
    for round in 0..20 {
        let (app, user, text) =
            (&apps[round % 2].app_id, format!("u{}", round % 5), format!("message {round}"));
        simulator.push(app, Push::direct(format!("oc_{user}"), format!("ou_{user}"), text.as_str())).unwrap();
        texts.push((chat_of(&user), text));
        let (code, output) = settings.command(&["restart"]);
        assert_eq!(code, Some(0), "{output}\n{}", process.log_tail());
        assert!(boots.insert(boot(&process)), "a new run each time");
        assert_eq!((process.run_file()["pid"].as_u64(), process.address()), (Some(pid.into()), address));
        process.ready(30 * SECOND);
        if round == 0 || round == 19 {
            pause(SECOND);
            files.push(open_files(pid));
        }
    }
    over.store(true, Ordering::Relaxed);
    let failed = looping.join().unwrap();
    println!("{} calls over 20 restarts", calls.load(Ordering::Relaxed));
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(calls.load(Ordering::Relaxed) > 20);
    // A caller or a connection to the platform may come or go; what leaks, leaks every time.
    assert!(files[1].len() <= files[0].len() + 3, "before {:#?}\nafter {:#?}", files[0], files[1]);
    let count = |files: &[String], what: &str| files.iter().filter(|name| name.contains(what)).count();
    assert_eq!(count(&files[1], "/lock"), 1);
    assert_eq!(count(&files[1], "moorline.db"), count(&files[0], "moorline.db"));
    assert_eq!(children_of(pid), "", "no child is left");
    process.until("every message answered", 60 * SECOND, |_| {
        texts.iter().all(|(chat, text)| copies(&simulator, chat, text) >= 1)
    });
    pause(2 * SECOND);
    for (chat, text) in &texts {
        assert_eq!(copies(&simulator, chat, text), 1, "{text}");
    }
    assert!(process.terminate(15 * SECOND).success());
}

/// One call as an HTTP client of its own would make it.
fn call(address: SocketAddr, token: &str) -> Result<(u16, String), String> {
    let answer = http::call(address, "GET", "/v1/accounts", Some(token), None);
    answer.map(|answer| (answer.status, answer.head + &answer.text)).map_err(|error| error.to_string())
}

#[test]
fn a_call_at_any_moment_of_a_restart_is_answered_or_told_why_not_f080() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let (address, token) = (process.address().unwrap(), process.token());
    let (mut answered, mut told) = (0, 0);
    for round in 0..10_u64 {
        let before = boot(&process);
        let callers: Vec<_> = (0..20_u64)
            .map(|n| {
                let token = token.clone();
                // From before the request to well after the fresh process is up.
                let offset = MS * u32::try_from(n * 13 + round).unwrap();
                std::thread::spawn(move || {
                    pause(offset);
                    (offset, call(address, &token))
                })
            })
            .collect();
        pause(10 * MS);
        let told_to = process.call("POST", "/v1/shutdown", Some(&json!({ "restart": true }))).unwrap();
        assert_eq!(told_to.status, 202);
        for caller in callers {
            match caller.join().unwrap() {
                (_, Ok((200, _))) => answered += 1,
                (_, Ok((503, text))) if text.contains("\"restarting\"") && text.contains("retry-after") => {
                    told += 1
                }
                (offset, other) => panic!("at {offset:?} of round {round}: {other:?}"),
            }
        }
        process.until("up again", 10 * SECOND, |p| boot(p) != before && p.run_file()["phase"] == "running");
    }
    println!("200 calls: {answered} answered, {told} told that it was restarting");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn who_has_asked_nothing_or_half_is_told_why_it_ends_f080() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let address = process.address().unwrap();
    let half = "GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnec";
    let body = format!(
        "POST /v1/reload HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 10\r\n\r\n{{",
        process.token()
    );
    let open = |words: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(15 * SECOND)).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream
    };
    let waiting = [("nothing", open("")), ("half a head", open(half)), ("half a body", open(&body))];
    pause(100 * MS);
    let (code, output) = settings.command(&["restart"]);
    assert_eq!(code, Some(0), "{output}");
    for (what, mut stream) in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{what}: {answer:?}");
        assert!(answer.contains("retry-after: 1") && answer.contains("\"restarting\""), "{what}: {answer}");
    }
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn a_restart_that_is_asked_for_again_under_its_key_happens_once_f080() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let before = boot(&process);
    let token = process.token();
    let ask = |process: &Process| {
        let address = process.address().unwrap();
        let body = r#"{"restart":true}"#;
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(10 * SECOND)).unwrap();
        write!(
            stream,
            "POST /v1/shutdown HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nidempotency-key: once\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask(&process).starts_with("HTTP/1.1 202 "));
    process
        .until("a fresh process", 10 * SECOND, |p| boot(p) != before && p.run_file()["phase"] == "running");
    let after = boot(&process);
    let again = ask(&process);
    assert!(again.starts_with("HTTP/1.1 202 ") && again.contains("idempotent-replayed: true"), "{again}");
    pause(SECOND);
    assert_eq!(boot(&process), after, "it was not restarted again");
    assert_eq!(process.run_file()["phase"], "running");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn a_turn_under_way_outlives_a_restart_and_is_answered_once_f070_f064() {
    let (simulator, server, apps) = platform(1);
    // The grace is shorter than the turn: it is interrupted, and resumed by the fresh process.
    let agent = "kind = \"command\"\ncommand = [\"sh\", \"-c\", \"sleep 3; echo an answer\"]\n[runtime]\nshutdown_grace = \"1s\"";
    let settings = Settings::with_agent(server.address(), &apps, agent, "");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let pid = process.pid();
    simulator.push(&apps[0].app_id, Push::direct("oc_alice", "ou_alice", "do not forget me")).unwrap();
    process.until("the turn runs", 5 * SECOND, |p| p.get("/v1/status")["turns"]["running"] == 1);
    let program = children_of(pid);
    assert_ne!(program, "", "the agent's program runs");
    let (code, output) = settings.command(&["restart"]);
    assert_eq!(code, Some(0), "{output}");
    let first = program.split_whitespace().next().unwrap();
    assert!(!fs::exists(format!("/proc/{first}")).unwrap(), "the program of the turn is gone");
    process.ready(30 * SECOND);
    process.until("answered", 20 * SECOND, |_| copies(&simulator, &chat_of("alice"), "an answer") == 1);
    pause(4 * SECOND);
    assert_eq!(copies(&simulator, &chat_of("alice"), "an answer"), 1);
    assert_eq!(children_of(pid), "");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn sigterm_under_load_ends_in_time_and_a_second_one_at_once_f070() {
    let (simulator, server, apps) = platform(1);
    let agent = "kind = \"echo\"\ndelay = \"30s\"\n[runtime]\nshutdown_grace = \"2s\"";
    let settings = Settings::with_agent(server.address(), &apps, agent, "");
    let busy = |what: &str| {
        let mut process = settings.start();
        process.ready(10 * SECOND);
        simulator.push(&apps[0].app_id, Push::direct("oc_bob", "ou_bob", what)).unwrap();
        process.until("a turn runs", 5 * SECOND, |p| p.get("/v1/status")["turns"]["running"] == 1);
        process
    };
    let began = Instant::now();
    assert_eq!(busy("one").terminate(15 * SECOND).code(), Some(0));
    println!("SIGTERM under load: over after {:?}, start included", began.elapsed());

    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let mut process = busy(&format!("{first} {second}"));
        signal(process.pid(), first);
        process.until("it ends", 5 * SECOND, |p| p.run_file()["phase"] == "stopping");
        let began = Instant::now();
        signal(process.pid(), second);
        assert_eq!(process.exit(5 * SECOND).code(), Some(code));
        assert!(began.elapsed() < 2 * SECOND, "{first}, {second}: {:?}", began.elapsed());
    }

    // The first signal during an end that was asked for by a call says so, and makes a restart an end.
    let mut process = busy("by call");
    process.call("POST", "/v1/shutdown", Some(&json!({ "restart": true }))).unwrap();
    process.until("it restarts", 5 * SECOND, |p| p.run_file()["phase"] == "restarting");
    signal(process.pid(), "INT");
    let status = process.exit(10 * SECOND);
    assert_eq!(status.code(), Some(0), "{}", process.log_tail());
    assert!(process.log_tail().contains("one more ends it at once"), "{}", process.log_tail());
}

/// A SIGTERM that came when the drain was over and the fresh process not there yet was lost, and that one ran on.
#[test]
fn a_signal_between_two_processes_is_not_lost_f070() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    for round in 0..12 {
        let mut process = settings.start();
        process.ready(10 * SECOND);
        process.call("POST", "/v1/shutdown", Some(&json!({ "restart": true }))).unwrap();
        // From the end of the drain to the first steps of the next image.
        let is_over = |_: &Process| {
            let log = std::fs::read_to_string(settings.log()).unwrap_or_default();
            log.matches("shut down").count() > log.matches("shutting down").count()
                || log.contains("restarting: the fresh process takes over")
        };
        process.until("the drain is over", 10 * SECOND, is_over);
        pause(MS * round);
        signal(process.pid(), "TERM");
        // By the signal itself, or by the drain that it ends.
        let _status = process.exit(10 * SECOND);
        std::fs::remove_file(settings.log()).unwrap();
    }
}

#[test]
fn a_start_on_a_data_directory_in_use_is_refused_also_while_it_restarts_f070_f071() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let (code, output) = settings.command(&["run"]);
    assert_eq!(code, Some(75), "{output}");
    assert!(output.contains(&process.pid().to_string()), "{output}");
    process.kill();
    let mut next = settings.start();
    println!("ready {:?} after SIGKILL and an immediate start", next.ready(10 * SECOND));
    assert!(next.terminate(15 * SECOND).success());
}

#[test]
fn what_the_fresh_process_could_not_start_with_does_not_end_this_one_f079() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let before = boot(&process);
    let good = fs::read_to_string(settings.file()).unwrap();
    fs::write(settings.file(), format!("no_such_key = 1\n{good}")).unwrap();
    let (code, output) = settings.command(&["restart"]);
    assert_eq!(code, Some(78), "{output}");
    assert!(output.contains("no_such_key"), "{output}");
    assert_eq!(boot(&process), before);
    fs::write(settings.file(), &good).unwrap();
    let (code, output) = settings.command(&["restart"]);
    assert_eq!(code, Some(0), "{output}");
    process.ready(10 * SECOND);

    // Another address than before: the old one closes, the new one is found by its run.json.
    let old = process.address().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(settings.file(), good.replace("127.0.0.1:0", &free.to_string())).unwrap();
    let (code, output) = settings.command(&["restart"]);
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(process.address(), Some(free));
    assert!(TcpStream::connect(old).is_err(), "nobody listens at the old address");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn commands_may_be_given_twice_f083() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let post = |process: &Process, verb: &str| {
        let answer = process.call("POST", &format!("/v1/accounts/feishu:a0/{verb}"), None).unwrap();
        let body = answer.json();
        (answer.status, body["changed"].clone(), body["state_before"].clone(), body["state_after"].clone())
    };
    assert_eq!(post(&process, "start"), (200, json!(false), json!("ready"), json!("ready")));
    assert_eq!(post(&process, "stop"), (202, json!(true), json!("ready"), json!("stopped")));
    assert_eq!(post(&process, "stop"), (200, json!(false), json!("stopped"), json!("stopped")));
    assert_eq!(settings.command(&["account", "stop", "a0"]).0, Some(0));
    assert_eq!(post(&process, "start").1, json!(true));
    assert!(process.terminate(15 * SECOND).success());
}
