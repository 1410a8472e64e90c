//! How it is installed: what the service manager is told by the real binary, the unit, the image, the completions.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::{binary, signal};
use moorline_tests::{Process, Settings};
use tempfile::TempDir;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A service manager that only listens.
struct Listener {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Listener {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(20 * SECOND)).unwrap();
        Self { directory, socket }
    }

    /// The environment of a process that is watched by it.
    fn environment(&self, watchdog: Duration) -> BTreeMap<String, String> {
        let socket = self.directory.path().join("notify").display().to_string();
        let usec = watchdog.as_micros().to_string();
        BTreeMap::from([("NOTIFY_SOCKET".to_owned(), socket), ("WATCHDOG_USEC".to_owned(), usec)])
    }

    /// The next datagram.
    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("nothing was told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Listens until a line comes, and gives all that was heard up to it.
    fn until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|lines: &String| lines.lines().any(|l| l == line)) {
            heard.push(self.next());
            assert!(heard.len() < 30, "{line} never came: {heard:?}");
        }
        heard
    }

    /// Forgets what was told so far.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }
}

fn platform(seed: u64) -> (Simulator, Server, App) {
    let simulator = Simulator::new(seed);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    (simulator, server, app)
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The service manager hears that the process is up, how its accounts are, that it lives, also while it drains, and
/// that it ends.
#[test]
fn the_service_manager_hears_of_a_whole_life() {
    let (simulator, server, app) = platform(61);
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "4s");
    let listener = Listener::new();
    let process: Process = settings.start_with(&binary(), &listener.environment(2 * SECOND));
    let first = listener.next();
    assert!(first.starts_with("READY=1\nSTATUS="), "the first that is told: {first}");
    assert_eq!(process.call("GET", "/healthz", None).unwrap().status, 200, "ready, and answers");
    let up = "STATUS=1 of 1 accounts ready";
    if !first.lines().any(|line| line == up) {
        listener.until(up);
    }
    let beats = |heard: &[String]| heard.iter().filter(|lines| lines.contains("WATCHDOG=1")).count();
    let began = Instant::now();
    for _ in 0..3 {
        listener.until("WATCHDOG=1");
    }
    // At half the time that it has: three of them take at least two seconds.
    assert!(began.elapsed() >= 2 * SECOND - SECOND / 10, "{:?}", began.elapsed());

    // A turn of four seconds, of which the shutdown waits for the rest: the watchdog is fed meanwhile.
    simulator.push(&app.app_id, Push::direct("oc_alice", "ou_alice", "slowly")).unwrap();
    let deadline = Instant::now() + 10 * SECOND;
    while process.get("/v1/status")["turns"]["running"] != 1 {
        assert!(Instant::now() < deadline, "no turn runs\n{}", process.log_tail());
    }
    signal(process.pid(), "TERM");
    let told = listener.until("STOPPING=1");
    let last = told.last().unwrap();
    assert!(
        last.contains("STATUS=shutting down\n") && last.contains("EXTEND_TIMEOUT_USEC=70000000"),
        "{last}"
    );
    let heard = listener.until("WATCHDOG=1");
    assert_eq!(beats(&heard), 1, "{heard:?}");
    assert!(heard.iter().all(|lines| !lines.contains("READY=1")), "{heard:?}");
    let mut process = process;
    assert!(process.exit(20 * SECOND).success());
}

/// F-001, F-101: a platform that is away for longer than the watchdog waits does not end the process, and is told.
#[test]
fn an_outage_of_every_account_does_not_stop_the_watchdog() {
    let (_, server, app) = platform(62);
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
    let listener = Listener::new();
    let mut process = settings.start_with(&binary(), &listener.environment(SECOND));
    process.ready(10 * SECOND);
    server.stop();
    listener.until("STATUS=0 of 1 accounts ready");
    listener.forget();
    for _ in 0..6 {
        listener.until("WATCHDOG=1");
    }
    assert!(process.terminate(15 * SECOND).success());
}

/// The unit says of the binary what is so.
#[test]
fn the_unit_fits_the_program() {
    let unit = file("config/moorline.service");
    let value = |key: &str| {
        let values: Vec<&str> = unit.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix('=')).collect();
        assert_eq!(values.len(), 1, "{key} is there once");
        values[0]
    };
    for (key, wanted) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("WatchdogSec", "30"),
        ("Restart", "always"),
        ("KillMode", "mixed"),
        ("RestartPreventExitStatus", "64 78"),
        ("StateDirectory", "moorline"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
    ] {
        assert_eq!(value(key), wanted, "{key}");
    }
    let grace = file("config/reference.toml");
    let grace =
        grace.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("shutdown_grace = "));
    let grace: u64 = grace.unwrap().trim_matches('"').trim_end_matches('s').parse().unwrap();
    assert!(value("TimeoutStopSec").parse::<u64>().unwrap() >= grace + 30, "longer than a whole shutdown");
    for key in ["ExecStart", "ExecReload"] {
        let mut words = value(key).split(' ');
        assert_eq!(words.next(), Some("/usr/local/bin/moorline"));
        let known = Command::new(binary()).args(words).arg("--help").output().unwrap();
        assert!(known.status.success(), "{key}: {}", String::from_utf8_lossy(&known.stderr));
    }
}

/// The image's commands are commands of the binary, and its health check says whether the process answers.
#[test]
fn the_image_runs_and_asks_the_program_as_it_is() {
    let dockerfile = file("config/Dockerfile");
    let words = |instruction: &str| -> Vec<String> {
        let line = dockerfile.lines().rfind(|line| line.contains(instruction)).unwrap();
        serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
    };
    let entry = words("ENTRYPOINT");
    assert_eq!(entry, ["/usr/local/bin/moorline"]);
    let run = Command::new(binary()).args(words("\nCMD".trim_start())).arg("--help").output().unwrap();
    assert!(run.status.success());
    let instructions: Vec<&str> = dockerfile.lines().collect();
    for wanted in ["USER 65532:65532", "STOPSIGNAL SIGTERM", "VOLUME /data", "ENV MOORLINE__DATA_DIR=/data"] {
        assert!(instructions.contains(&wanted), "{wanted}");
    }
    // The profile that is built and the file that is copied are the same.
    assert!(
        dockerfile.contains("--profile dist -p moorline") && dockerfile.contains("/target/dist/moorline")
    );
    assert!(file("Cargo.toml").contains("[profile.dist]"));
    let ignored = file(".dockerignore");
    for kept_out in ["/target", "/data", "**/admin.token"] {
        assert!(ignored.lines().any(|line| line == kept_out), "{kept_out}");
    }

    let check = words("HEALTHCHECK");
    assert_eq!(check[0], entry[0]);
    let (_, server, app) = platform(63);
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
    let healthy = || {
        let mut command = Command::new(binary());
        command.args(&check[1..]).env("MOORLINE__DATA_DIR", settings.data()).current_dir(settings.data());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    let mut process = settings.start();
    process.ready(10 * SECOND);
    server.stop();
    process.until("down", 30 * SECOND, |p| p.call("GET", "/readyz", None).is_some_and(|a| a.status == 503));
    assert!(healthy(), "an account that cannot be reached is no reason to replace the process");
    assert!(process.terminate(15 * SECOND).success());
    assert!(!healthy(), "nothing runs");
}

/// What bash is given is bash, and completes what may be typed.
#[test]
fn completions_are_scripts_of_their_shells() {
    let script = |shell: &str| {
        let output = Command::new(binary()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{shell}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(shell);
        for word in ["outbox", "discard", "data-dir", "completions"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
    }
    let bash = |stdin: &str| {
        let mut shell =
            Command::new("bash").args(["--norc", "-s"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let shell = shell.as_mut().unwrap();
        shell.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut shell.stdout.take().unwrap(), &mut text).unwrap();
        assert!(shell.wait().unwrap().success(), "{text}");
        text
    };
    let complete = |words: &str, at: usize| {
        let ask = format!(
            "\nCOMP_WORDS=({words})\nCOMP_CWORD={at}\n_moorline moorline \"${{COMP_WORDS[{at}]}}\" \"\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        bash(&(script("bash") + &ask)).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("moorline doc", 1), ["doctor"]);
    assert_eq!(complete("moorline outbox re", 2), ["retry"]);
    let none = Command::new(binary()).args(["completions", "cmd"]).output().unwrap();
    assert_eq!(none.status.code(), Some(64));
}
