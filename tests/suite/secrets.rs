//! No secret in any output, ever (F-090). The binary runs against the simulator on sockets with secrets that are
//! easily recognised; everything goes wrong that can; then all that was printed, logged, served and stored is searched
//! for every secret, configured or handed out, in whole or in part, in whatever spelling.

mod bait;
mod quoting;
mod recorder;
mod scanner;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, Cut, Fault, NewApp, Push, Reach, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::{binary, pause};
use moorline_tests::{Process, Settings, api, http};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use quoting::Quoting;
use recorder::Recorder;
use scanner::Scanner;

const SECOND: Duration = Duration::from_secs(1);

/// Secrets whose every part is recognised; the second comes from the environment.
const SECRETS: [&str; 2] = ["qZ7/kW2+vX9=mJ4&hR6%tB1", "LpV3-yGn8_dKs5~wEf0!cUa"];
const AGENT_KEY: &str = "sk-Jw4!nTz8@bKr2#yPc6$uEa";
const PASSWORD: &str = "Hx6uTq1oRz9eNb4iMv7a";
const TOKEN: &str = "c0ffee00deadbeef0badf00dfeedface1337c0de5eedcafe8badd00dfacefeed";

/// Everything that was said, by where.
#[derive(Default)]
struct Said(Vec<(String, Vec<u8>)>);

impl Said {
    fn add(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((place.into(), text.into()));
    }
}

struct Run {
    simulator: Simulator,
    agent: Quoting,
    recorder: Recorder,
    apps: Vec<App>,
    settings: Settings,
    said: Said,
}

#[test]
fn no_secret_is_printed_logged_served_or_stored_f090() {
    let began = tokio::time::Instant::now();
    let simulator = Simulator::new(90);
    let apps: Vec<App> = SECRETS
        .iter()
        .enumerate()
        .map(|(n, secret)| {
            let new = NewApp::named(format!("Bot {n}"));
            simulator.add_app(new.with_credentials(format!("cli_00000000000000{n:02}"), *secret))
        })
        .collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let recorder = Recorder::start(server.address());
    let fast = "liveness = \"2s\"\nretry = { initial = \"50ms\", max = \"200ms\", reset_after = \"60s\" }";
    let settings = Settings::with_channel(recorder.address(), &apps, "0s", fast);
    fs::create_dir_all(settings.data()).unwrap();
    fs::write(settings.data().join("admin.token"), TOKEN).unwrap();
    let mut run = Run { simulator, agent: Quoting::start(), recorder, apps, settings, said: Said::default() };

    // Both formats of the log, with the proxy and without.
    let proxy = format!("http://operator:{PASSWORD}@{}", run.recorder.address());
    run.configure("format = \"json\"\nfilter = \"trace\"", Some(&proxy));
    run.one_life();
    assert!(run.recorder.tunnels() > 0, "the proxy was used");
    run.configure("format = \"pretty\"\nfilter = \"debug\"", None);
    run.one_life();
    run.wrong_configurations();
    assert!(run.agent.calls() >= quoting::STATUSES.len(), "not everything was answered by the agent");

    let ran = began.elapsed();
    let log = fs::read(run.settings.log()).unwrap();
    let lines = log.split(|byte| *byte == b'\n').count();
    run.said.add("the log", log);
    let chats: Vec<String> = run
        .simulator
        .read_ledger(|ledger| ledger.visible().iter().map(|message| format!("{message:?}")).collect());
    run.said.add("chats", chats.join("\n"));
    files_below(&run.settings.data(), &mut run.said);

    let handed_out = run.recorder.handed_out();
    for kind in ["token", "ticket", "access_key"] {
        let of_kind = handed_out.iter().filter(|(of, _)| *of == kind).count();
        assert!(of_kind > 10, "{of_kind} canaries of kind {kind}: the run was not what it should be");
    }
    let mut scanner = Scanner::default();
    for secret in SECRETS {
        scanner.forbid("app_secret", secret, 8);
    }
    scanner.forbid("api_key", AGENT_KEY, 8);
    scanner.forbid("proxy password", PASSWORD, 8);
    scanner.forbid("proxy credentials", &format!("operator:{PASSWORD}"), 16);
    // Of hexadecimal digits, eight in a row are found by chance in what has so many of them.
    scanner.forbid("admin token", TOKEN, 11);
    for bait in bait::TICKETS {
        scanner.forbid("an address in an error", bait, 11);
    }
    for (kind, text) in &handed_out {
        scanner.forbid(kind, text, 12);
    }
    let bytes: usize = run.said.0.iter().map(|(_, text)| text.len()).sum();
    // What is no secret is found everywhere, so that what is one would be.
    let mut control = Scanner::default();
    control.forbid("an account", "feishu:a0", 9);
    for place in [
        "the log",
        "GET /v1/status",
        "moorline status",
        "moorline.db",
        "moorline session list",
        "moorline watch",
    ] {
        let mut texts = run.said.0.iter().filter(|(of, _)| of.contains(place));
        assert!(texts.any(|(_, text)| !control.find(text).is_empty()), "{place} was not searched");
    }
    let mut found = Vec::new();
    for (place, text) in &run.said.0 {
        found.extend(scanner.find(text).into_iter().map(|hit| format!("{place}: {hit}")));
    }
    println!(
        "{} secrets, {lines} log lines, {bytes} bytes searched; run {ran:?}, search {:?}",
        handed_out.len() + 5,
        began.elapsed() - ran
    );
    found.truncate(20);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

impl Run {
    /// Writes the configuration: one secret in the file, one in the environment.
    fn configure(&self, log: &str, proxy: Option<&str>) {
        let network = proxy
            .map(|proxy| format!("[network]\nproxy = \"{proxy}\"\nno_proxy = [\"localhost\"]\n"))
            .unwrap_or_default();
        let text = format!(
            "data_dir = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\n{log}\n{network}\
             [agents.default]\nkind = \"echo\"\n\
             [agents.model]\nkind = \"openai\"\nbase_url = \"{}\"\nmodel = \"m\"\napi_key = \"{AGENT_KEY}\"\n\
             [channels.feishu]\nbase_url = \"http://{}\"\nliveness = \"2s\"\n\
             retry = {{ initial = \"50ms\", max = \"200ms\", reset_after = \"60s\" }}\n\
             [channels.feishu.accounts.a0]\napp_id = \"{}\"\napp_secret = \"{}\"\n\
             [channels.feishu.accounts.a1]\napp_id = \"{}\"\napp_secret = {{ env = \"CANARY\" }}\nagent = \"model\"\n",
            self.settings.data().display(),
            self.agent.base_url(),
            self.recorder.address(),
            self.apps[0].app_id,
            SECRETS[0],
            self.apps[1].app_id,
        );
        fs::write(self.settings.file(), text).unwrap();
    }

    fn one_life(&mut self) {
        // What goes wrong before anything works.
        let environment = BTreeMap::from([("CANARY".to_owned(), SECRETS[1].to_owned())]);
        self.simulator.set_fault(&self.apps[0].app_id, bait::endpoint(503), Times::Count(1)).unwrap();
        self.recorder.refuse_tunnels(2);
        let mut process = self.settings.start_with(&binary(), &environment);
        process.until("listening", 10 * SECOND, |p| p.address().is_some());
        let watching = self.watch(&mut process);
        self.ready(&mut process);
        self.answered(&mut process, "good morning");
        self.faults(&mut process);
        self.answered(&mut process, "still here");
        self.requests(&process);
        self.commands();
        let status = process.terminate(15 * SECOND);
        assert!(status.success(), "{status}");
        for mut child in watching {
            assert_eq!(child.wait().unwrap().code(), Some(69), "there is nothing left to watch");
        }
        self.said.add("moorline watch", fs::read(self.settings.data().join("watched")).unwrap());
    }

    /// Watches for the whole life, in both forms; and once with the token as the first message.
    fn watch(&mut self, process: &mut Process) -> [Child; 2] {
        let address = process.address().unwrap();
        process.until("it serves", 10 * SECOND, |p| p.call("GET", "/healthz", None).is_some());
        let stream = std::net::TcpStream::connect(address).unwrap();
        let (mut socket, _) = tungstenite::client(format!("ws://{address}/v1/events"), stream).unwrap();
        socket.send(tungstenite::Message::text(json!({ "auth": TOKEN }).to_string())).unwrap();
        self.said.add("GET /v1/events", socket.read().unwrap().into_text().unwrap().as_str());
        ["watch", "--json"].map(|form| {
            let watched =
                File::options().create(true).append(true).open(self.settings.data().join("watched"));
            let watched = watched.unwrap();
            Command::new(binary())
                .arg("--config")
                .arg(self.settings.file())
                .args([form, "watch"].iter().skip(usize::from(form == "watch")))
                .arg("--messages")
                .stdout(watched.try_clone().unwrap())
                .stderr(watched)
                .spawn()
                .unwrap()
        })
    }

    /// Ready, with a nudge where an account waits for an operator.
    fn ready(&self, process: &mut Process) {
        let began = tokio::time::Instant::now();
        loop {
            let status = process.get("/v1/status");
            if status["ready"] == json!(true) {
                return;
            }
            for account in status["accounts"].as_array().into_iter().flatten() {
                if account["state"] == "blocked" || account["attempt"].as_u64() > Some(0) {
                    let id = account["id"].as_str().unwrap_or_default();
                    drop(process.call("POST", &format!("/v1/accounts/{id}/probe"), None));
                }
            }
            assert!(began.elapsed() < 40 * SECOND, "not ready: {status}\n{}", process.log_tail());
            pause(Duration::from_millis(20));
        }
    }

    fn answered(&self, process: &mut Process, text: &str) {
        for app in &self.apps {
            self.simulator.push(&app.app_id, Push::direct("oc_alice", "ou_alice", text)).unwrap();
        }
        process.until("answered", 30 * SECOND, |p| {
            let status = p.get("/v1/status");
            status["accounts"].as_array().is_some_and(|accounts| {
                accounts.len() == 2
                    && accounts.iter().all(|account| {
                        account["counts"]["pending"] == json!(0) && account["counts"]["outbox"] == json!(0)
                    })
            })
        });
    }

    /// Every fault that makes anybody say something.
    fn faults(&mut self, process: &mut Process) {
        let app = self.apps[0].app_id.clone();
        for fault in bait::on_connecting() {
            self.simulator.set_fault(&app, fault.clone(), Times::Count(2)).unwrap();
            self.simulator.drop_connections(&app, &Cut::Reset).unwrap();
            pause(Duration::from_millis(60));
            self.see(process, &format!("{fault:?}"));
            self.ready(process);
            self.simulator.clear_faults(&app).unwrap();
        }
        for cut in bait::cuts() {
            self.simulator.drop_connections(&app, &cut).unwrap();
            pause(Duration::from_millis(30));
            self.ready(process);
        }
        for frame in bait::frames() {
            self.simulator.inject(&app, frame).unwrap();
            pause(Duration::from_millis(5));
        }
        self.ready(process);
        for fault in bait::on_calls() {
            self.simulator.set_fault(&app, fault.clone(), Times::Count(2)).unwrap();
            if !matches!(fault, Fault::Send(_) | Fault::LoseSendAnswer(_)) {
                // Asked for again with the next message, the identity with the next probe.
                self.simulator.revoke_tokens(&app).unwrap();
                drop(process.call("POST", "/v1/accounts/feishu:a0/probe", None));
            }
            let text = format!("with {fault:?}");
            self.simulator.push(&app, Push::direct("oc_alice", "ou_alice", text.as_str())).unwrap();
            pause(Duration::from_millis(100));
            self.see(process, &text);
            self.simulator.clear_faults(&app).unwrap();
        }
        for reach in [Reach::Refused, Reach::Hangs] {
            self.simulator.set_reach(reach);
            for app in &self.apps {
                self.simulator.drop_connections(&app.app_id, &Cut::Reset).unwrap();
            }
            pause(Duration::from_millis(300));
            self.see(process, &format!("{reach:?}"));
            self.simulator.set_reach(Reach::Open);
            self.ready(process);
        }
        // The platform has another secret than we do, for a while.
        let simulator = self.simulator.clone();
        let other = |secret: &str| {
            drop(simulator.add_app(NewApp::named("Bot 0").with_credentials(app.as_str(), secret)));
        };
        other("another");
        self.simulator.revoke_tokens(&app).unwrap();
        self.simulator.drop_connections(&app, &Cut::Reset).unwrap();
        process.until("blocked", 20 * SECOND, |p| p.get("/v1/accounts/feishu:a0")["state"] == "blocked");
        self.see(process, "wrong credentials");
        other(SECRETS[0]);
        self.ready(process);
        for path in ["stop", "start", "restart", "probe"] {
            self.call(process, "POST", &format!("/v1/accounts/feishu:a1/{path}"));
        }
        self.ready(process);
    }

    /// What an operator would be shown just now.
    fn see(&mut self, process: &Process, what: &str) {
        for path in [
            "/v1/status",
            "/readyz",
            "/metrics",
            "/v1/doctor",
            "/v1/tree",
            "/v1/outbox",
            "/v1/accounts/feishu:a0",
        ] {
            let answer = process.call("GET", path, None);
            self.said
                .add(format!("{path} during {what}"), answer.map(|a| a.head + &a.text).unwrap_or_default());
        }
    }

    fn call(&mut self, process: &Process, method: &str, path: &str) {
        let answer = process.call(method, path, None).unwrap();
        self.said.add(format!("{method} {path}"), answer.head + &answer.text);
    }

    /// Every route, as it is meant and as it is not.
    fn requests(&mut self, process: &Process) {
        let session = process.get("/v1/sessions")["sessions"][0]["id"].as_str().unwrap().to_owned();
        for route in api::routes("feishu:a0", &session).into_iter().filter(|route| route.method == "GET") {
            self.call(process, "GET", &route.path);
        }
        let more = [
            "/v1/accounts/feishu:nobody",
            "/v1/accounts/x",
            "/v1/sessions?state=idle",
            "/v1/inbox?limit=500",
            "/v1/inbox?state=dropped",
            "/v1/inbox/999999",
            "/v1/inbox/x",
            "/v1/outbox?limit=500",
            "/v1/outbox?state=dead",
            "/v1/outbox/x",
            "/nothing",
            "/v1/inbox?what=1",
        ];
        for path in more {
            self.call(process, "GET", path);
        }
        self.call(process, "GET", &format!("/v1/sessions/{session}?entries=500"));
        self.call(process, "DELETE", "/v1/status");
        self.call(process, "POST", "/v1/accounts/feishu:a0/messages");
        let address = process.address().unwrap();
        // The token where it does not belong, and others in its place.
        let wrong: [(&str, String, Option<String>); 6] = [
            ("GET", format!("/v1/status?token={TOKEN}"), None),
            ("POST", format!("/v1/shutdown?x={TOKEN}"), Some(TOKEN.to_owned())),
            ("GET", format!("/v1/accounts/{TOKEN}"), Some(TOKEN.to_owned())),
            ("GET", format!("/v1/inbox/{TOKEN}"), None),
            ("POST", format!("/v1/accounts/feishu:a0/{TOKEN}"), Some(TOKEN.to_owned())),
            ("GET", "/v1/status".to_owned(), Some(format!("{TOKEN}0"))),
        ];
        for (method, path, token) in wrong {
            let answer = http::call(address, method, &path, token.as_deref(), None).unwrap();
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
            self.said.add(format!("{method} a path with the token"), answer.head + &answer.text);
        }
        let body = json!({ "to": "oc_nobody", "text": "hello" });
        let answer = process.call("POST", "/v1/accounts/feishu:a0/messages", Some(&body)).unwrap();
        self.said.add("a message", answer.head + &answer.text);
    }

    /// Every command, for people and for programs.
    fn commands(&mut self) {
        let commands: [&[&str]; 22] = [
            &["status"],
            &["tree"],
            &["account", "list"],
            &["account", "show", "feishu:a0"],
            &["account", "show", "feishu:nobody"],
            &["account", "start", "feishu:a0"],
            &["account", "probe", "feishu:a1"],
            &["session", "list"],
            &["session", "list", "--state", "idle", "--account", "feishu:a0"],
            &["session", "show", "feishu:a0~oc_alice"],
            &["session", "show", "x"],
            &["inbox", "list"],
            &["inbox", "list", "--state", "held"],
            &["inbox", "show", "1"],
            &["inbox", "show", "999999"],
            &["outbox", "list"],
            &["outbox", "list", "--state", "sent"],
            &["outbox", "show", "1"],
            &["send", "feishu:a0", "oc_alice", "by hand"],
            &["send", "feishu:nobody", "oc_alice", "by hand"],
            &["check"],
            &["no-such-command"],
        ];
        for command in commands {
            for json in [false, true] {
                let mut arguments = command.to_vec();
                arguments.extend(json.then_some("--json"));
                let (code, output) = self.settings.command(&arguments);
                assert_ne!(code, Some(70), "{arguments:?}: {output}");
                self.said.add(format!("moorline {}", arguments.join(" ")), output);
            }
        }
    }

    /// Files that are wrong at the very place where a secret is.
    fn wrong_configurations(&mut self) {
        let right = fs::read_to_string(self.settings.file()).unwrap();
        let (secret, other) = (SECRETS[0], SECRETS[1]);
        let variants = [
            right.replace(&format!("\"{secret}\""), &format!("\"{secret}")),
            right.replace(&format!("\"{secret}\""), &format!("[\"{secret}\"]")),
            right.replace(&format!("\"{secret}\""), &format!("{{ env = \"{secret}\" }}")),
            right.replace(&format!("\"{secret}\""), &format!("{{ file = \"{secret}\" }}")),
            right.replace(&format!("\"{secret}\""), &format!("{{ value = \"{secret}\" }}")),
            right.replace(&format!("\"{secret}\""), &format!("\"{secret}\"\"{other}\"")),
            right.replace("app_secret = \"", "app_secrt = \""),
            right.replace("api_key = \"", "api_kye = \""),
            right.replace(&format!("\"{AGENT_KEY}\""), &format!("[\"{AGENT_KEY}\"]")),
            right.replace("app_secret = \"", "app_secret = \"\"\napp_secret = \""),
            right.replace(&format!("app_secret = \"{secret}\""), &format!("app_secret = {secret}")),
            right.replace(
                "[agents.default]",
                &format!("[network]\nproxy = \"http://operator:{PASSWORD}@@host:port\"\n[agents.default]"),
            ),
            right.replace(
                "[agents.default]",
                &format!("[network]\nproxy = \"socks5://operator:{PASSWORD}@host:1\"\n[agents.default]"),
            ),
            right.replace(
                "[agents.default]",
                &format!("[network]\nproxy = [\"http://operator:{PASSWORD}@host:1\"]\n[agents.default]"),
            ),
        ];
        for (number, text) in variants.into_iter().enumerate() {
            assert_ne!(text, right, "variant {number} changes something");
            fs::write(self.settings.file(), text).unwrap();
            for command in ["check", "run"] {
                let (code, output) = self.settings.command(&[command]);
                assert_eq!(code, Some(78), "variant {number}, {command}: {output}");
                // Names of variables and files are no secrets, unless somebody put the secret itself there.
                let shown = if matches!(number, 2 | 3) { String::new() } else { output };
                self.said.add(format!("moorline {command} with configuration {number}"), shown);
            }
        }
    }
}

/// Everything stored, but for the token's own file.
fn files_below(directory: &Path, said: &mut Said) {
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            files_below(&path, said);
        } else if path.file_name().is_none_or(|name| name != "admin.token") {
            said.add(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
}

/// The guard on the test above.
#[test]
fn the_scanner_finds_a_secret_in_every_spelling() {
    let secret = SECRETS[0];
    let mut scanner = Scanner::default();
    scanner.forbid("app_secret", secret, 8);
    scanner.forbid("admin token", TOKEN, 11);
    let reversed: String = secret.chars().rev().collect();
    let planted = [
        format!("error: {secret} is wrong"),
        format!("…{}", &secret[5..13]),
        format!("first {}\nsecond", &secret[..8]),
        format!("{}\n{}", &secret[..6], &secret[6..12]),
        format!("{}\\n  {}", &secret[..6], &secret[6..12]),
        scanner::url_encoded(secret),
        scanner::url_encoded(&secret[3..12]).replace("%2F", "%2f"),
        scanner::base64(format!("user:{secret}").as_bytes()),
        scanner::base64(format!("a{secret}").as_bytes()),
        scanner::base64(format!("ab{secret}").as_bytes()).replace('+', "-").replace('/', "_"),
        reversed[2..11].to_owned(),
        format!("bearer {}", &TOKEN[20..31]),
        Value::String(format!("\u{1}{secret}\"")).to_string(),
    ];
    for text in planted {
        assert!(!scanner.find(text.as_bytes()).is_empty(), "not found: {text}");
    }
    for text in ["", "nothing of it", &secret[..7], &TOKEN[..10], "c0ffee is good"] {
        assert!(scanner.find(text.as_bytes()).is_empty(), "found: {text}");
    }
}
