//! The binary as a process: started, asked, killed, started again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use moorline_simulator::feishu::App;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::http::{self, Answer};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The binary that was built with the same profile as this test, or the one that `MOORLINE_BINARY` names: another
/// build, or a wrapper that runs it under a profiler.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("MOORLINE_BINARY") {
        return binary.into();
    }
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|dir| dir.join("moorline").is_file());
    profile.expect("build the binary first: `make test` does").join("moorline")
}

/// A configuration on disk and the data directory it names; both outlive the processes run on them.
pub struct Settings {
    directory: TempDir,
}

impl Settings {
    /// Accounts `feishu:a0`, … for these apps, on the platform at `platform`.
    #[must_use]
    pub fn new(platform: SocketAddr, apps: &[App], agent_delay: &str) -> Self {
        Self::with_channel(platform, apps, agent_delay, "")
    }

    /// The same, with more lines in the `[channels.feishu]` table.
    #[must_use]
    pub fn with_channel(platform: SocketAddr, apps: &[App], agent_delay: &str, channel: &str) -> Self {
        let agent = format!("kind = \"echo\"\ndelay = \"{agent_delay}\"");
        Self::with_agent(platform, apps, &agent, channel)
    }

    /// The same, with this for `[agents.default]`.
    #[must_use]
    pub fn with_agent(platform: SocketAddr, apps: &[App], agent: &str, channel: &str) -> Self {
        Self::from_text(|data| {
            let mut text = format!(
                "data_dir = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
                 [agents.default]\n{agent}\n\
                 [channels.feishu]\nbase_url = \"http://{platform}\"\n{channel}\n",
                data.display()
            );
            for (n, app) in apps.iter().enumerate() {
                let _ = writeln!(
                    text,
                    "[channels.feishu.accounts.a{n}]\napp_id = \"{}\"\napp_secret = \"{}\"",
                    app.app_id, app.app_secret
                );
            }
            text
        })
    }

    /// This configuration, made for the data directory it has to name.
    #[must_use]
    pub fn from_text(make: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = make(&directory.path().join("data"));
        let file = directory.path().join("moorline.toml");
        fs::write(&file, text).unwrap();
        // It holds secrets.
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        Self { directory }
    }

    /// The configuration file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("moorline.toml")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where the process's log goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Starts the binary on it.
    #[must_use]
    pub fn start(&self) -> Process {
        self.start_with(&binary(), &BTreeMap::new())
    }

    /// Starts this binary on it, with more environment.
    #[must_use]
    pub fn start_with(&self, binary: &Path, environment: &BTreeMap<String, String>) -> Process {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        // What an earlier process left must not be taken for the new one's.
        drop(fs::remove_file(self.data().join("run.json")));
        let child = Command::new(binary)
            .args(["run", "--config"])
            .arg(self.file())
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Process { child, data: self.data(), log: self.log() }
    }

    /// Runs a command of the binary against the running process and gives its exit code and output.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output =
            Command::new(binary()).arg("--config").arg(self.file()).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A running binary; killed when dropped.
pub struct Process {
    child: Child,
    data: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its admin endpoint listens, once it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let text = fs::read_to_string(self.data.join("run.json")).ok()?;
        let run: Value = serde_json::from_str(&text).ok()?;
        run["address"].as_str()?.parse().ok()
    }

    /// What it says of itself in run.json; null while there is none.
    #[must_use]
    pub fn run_file(&self) -> Value {
        let text = fs::read_to_string(self.data.join("run.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The token of its admin endpoint.
    #[must_use]
    pub fn token(&self) -> String {
        fs::read_to_string(self.data.join("admin.token")).unwrap().trim().to_owned()
    }

    /// A call of the admin endpoint; `None` while it does not answer.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let token = fs::read_to_string(self.data.join("admin.token")).ok()?;
        http::call(self.address()?, method, path, Some(token.trim()), body).ok()
    }

    /// The answer to a GET as JSON; null while there is none.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).map(|answer| answer.json()).unwrap_or_default()
    }

    /// Waits until every account is ready and says how long it took.
    pub fn ready(&mut self, limit: Duration) -> Duration {
        self.until("ready", limit, |process| {
            process.call("GET", "/readyz", None).is_some_and(|answer| answer.status == 200)
        })
    }

    /// Waits for a condition and says how long it took.
    ///
    /// # Panics
    /// When it does not come true in time, or the process ends; the message has the end of its log.
    pub fn until(&mut self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the process ended with {status} while waiting: {what}\n{}", self.log_tail());
            }
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.log_tail());
            pause(LOOK_EVERY);
        }
        began.elapsed()
    }

    /// SIGKILL: no goodbye, no flush.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it is ready; then SIGTERM, and the exit status.
    #[must_use]
    pub fn terminate_when_ready(mut self, limit: Duration) -> ExitStatus {
        self.ready(limit);
        self.terminate(limit)
    }

    /// SIGTERM, and the exit status.
    #[must_use]
    pub fn terminate(mut self, limit: Duration) -> ExitStatus {
        signal(self.child.id(), "TERM");
        self.exit(limit)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn exit(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < limit, "still running after {limit:?}\n{}", self.log_tail());
            pause(LOOK_EVERY);
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Its resident memory in KiB, from the kernel.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by its name.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits in real time: what is tested here is another process.
#[allow(clippy::disallowed_methods, reason = "no arbiter runs on this thread")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}
