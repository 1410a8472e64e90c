//! The clients: how each is found, started and ended, and what it does in its own way.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use moorline_core::ChatId;
use moorline_simulator::feishu::App;
use moorline_tests::process::{Process, Settings, binary};
use serde_json::{Value, json};

/// How long our own binary may take to end in an orderly way.
const GOODBYE: Duration = Duration::from_secs(10);
/// Our own waits, of the size of those the SDKs are told by the platform.
const RETRY: &str = "retry = { initial = \"200ms\", max = \"1s\", reset_after = \"60s\" }";
/// The lines of a client's log that are shown when it fails.
const LOG_TAIL: usize = 25;

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The official Python SDK under `python/bot.py`.
    Python,
    /// The official Node SDK under `node/bot.js`.
    Node,
    /// Our own binary.
    Moorline,
}

/// What a client answers to an event of a type it has no handler for (protocol page §4.3, SDK facts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Acked with 200, and nothing else.
    Acked,
    /// Acked with 200 and a text as answer.
    AckedWithText,
    /// Acked with 500, so that it comes again in vain.
    Refused,
}

/// One client on its own app.
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) app: App,
    platform: SocketAddr,
    running: Option<Running>,
}

/// A process; whichever it is, it is killed by its id when dropped.
enum Running {
    Sdk(Sdk),
    // The settings own the directory the process works in.
    Moorline(Process, Settings),
}

struct Sdk(Child);

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Moorline];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Moorline => "moorline",
        }
    }

    pub(crate) const fn unknown(self) -> Unknown {
        match self {
            Self::Python => Unknown::Refused,
            Self::Node => Unknown::AckedWithText,
            Self::Moorline => Unknown::Acked,
        }
    }

    /// Name and version of what is installed.
    ///
    /// # Errors
    /// When it is not installed, or does not run.
    pub(crate) fn version(self) -> anyhow::Result<String> {
        let (mut command, name) = match self {
            Self::Python => {
                let ask = "import importlib.metadata as m; print(m.version('lark-oapi'))";
                let mut command = Command::new(python());
                command.args(["-c", ask]);
                (command, "lark-oapi")
            }
            Self::Node => {
                let ask = "console.log(require('@larksuiteoapi/node-sdk/package.json').version)";
                let mut command = Command::new("node");
                command.args(["-e", ask]).env("NODE_PATH", node_modules());
                (command, "node-sdk")
            }
            Self::Moorline => {
                let mut command = Command::new(binary());
                command.arg("--version");
                (command, "")
            }
        };
        let missing =
            || format!("the client {} is not there or does not run: `make interop` installs it", self.name());
        let output = command.output().with_context(missing)?;
        ensure!(output.status.success(), "{}\n{}", missing(), String::from_utf8_lossy(&output.stderr).trim());
        Ok(format!("{name} {}", String::from_utf8_lossy(&output.stdout).trim()).trim().to_owned())
    }

    fn log(self) -> PathBuf {
        installed().join(format!("{}.log", self.name()))
    }
}

// === impl Client ===

impl Client {
    pub(crate) const fn new(kind: Kind, app: App, platform: SocketAddr) -> Self {
        Self { kind, app, platform, running: None }
    }

    /// Starts it; connecting is its own business.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
        let mut command = match self.kind {
            Kind::Python => {
                let mut command = Command::new(python());
                command.arg("-u").arg(ours.join("python/bot.py"));
                command
            }
            Kind::Node => {
                let mut command = Command::new("node");
                command.arg(ours.join("node/bot.js")).env("NODE_PATH", node_modules());
                command
            }
            Kind::Moorline => {
                let apps = std::slice::from_ref(&self.app);
                let settings = Settings::with_channel(self.platform, apps, "0s", RETRY);
                self.running = Some(Running::Moorline(settings.start(), settings));
                return Ok(());
            }
        };
        let log = File::create(self.kind.log())?;
        let child = command
            .env("DOMAIN", format!("http://{}", self.platform))
            .env("APP_ID", self.app.app_id.as_str())
            .env("APP_SECRET", &self.app.app_secret)
            // A proxy of the surroundings is not on the way to loopback.
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.running = Some(Running::Sdk(Sdk(child)));
        Ok(())
    }

    /// Fails when the process is gone, with the end of its log.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match &mut self.running {
            Some(Running::Sdk(Sdk(child))) => match child.try_wait()? {
                Some(status) => bail!("the process ended by itself with {status}"),
                None => Ok(()),
            },
            Some(Running::Moorline(process, _)) => {
                ensure!(Path::new("/proc").join(process.pid().to_string()).exists(), "the process is gone");
                Ok(())
            }
            None => bail!("not started"),
        }
    }

    /// Has it send a message that answers none. False when it has to be asked in the chat instead.
    pub(crate) fn send(&self, chat: &ChatId, text: &str) -> anyhow::Result<bool> {
        let Some(Running::Moorline(process, _)) = &self.running else { return Ok(false) };
        let body = json!({ "to": chat, "text": text });
        let answer = process.call("POST", "/v1/accounts/feishu:a0/messages", Some(&body));
        let answer = answer.context("the admin endpoint does not answer")?;
        ensure!(answer.status == 202, "the admin endpoint says {}: {}", answer.status, answer.text);
        Ok(true)
    }

    /// Ends it, an SDK without a goodbye, and waits until it is gone.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        match self.running.take() {
            Some(Running::Moorline(process, _settings)) => {
                let status = process.terminate(GOODBYE);
                ensure!(status.success(), "ended with {status}");
            }
            other => drop(other),
        }
        Ok(())
    }

    /// The end of what it logged.
    pub(crate) fn log_tail(&self) -> String {
        if let Some(Running::Moorline(process, _)) = &self.running {
            return process.log_tail();
        }
        log_tail(&self.kind.log())
    }
}

// === impl Sdk ===

impl Drop for Sdk {
    fn drop(&mut self) {
        // By its id, and only this one; already gone is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The end of a log.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_TAIL)..).unwrap_or_default().join("\n")
}

/// Where `tests/interop/install` puts everything.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop")
}

fn python() -> PathBuf {
    installed().join("python/bin/python")
}

fn node_modules() -> PathBuf {
    installed().join("node/node_modules")
}

/// The kind of a text a Node client gives for an event it does not know: JSON, in base64.
pub(crate) fn text_for(event_type: &str) -> Value {
    Value::String(format!("no {event_type} event handle"))
}
