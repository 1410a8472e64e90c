//! Exit codes (design §9, after sysexits), and the error that carries one to `main`.

use std::fmt;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// Done, and the answer is "not healthy".
    NotHealthy = 1,
    /// The command line makes no sense.
    Usage = 64,
    /// Nobody answers at the admin endpoint.
    Unreachable = 69,
    /// Something failed in here.
    Internal = 70,
    /// Another process runs on this data directory.
    AlreadyRunning = 75,
    /// The configuration is wrong, or asks for what cannot be had, such as a port that is in use.
    BadConfiguration = 78,
    /// SIGHUP ended it: its terminal is gone.
    HungUp = 129,
    /// SIGINT ended it at once, as a shell expects to see it; a process that drains needs a second one.
    Interrupted = 130,
    /// The same for SIGTERM.
    Terminated = 143,
}

impl Code {
    /// What it is called under `--json`, where the endpoint gave no code of its own (docs/api.md).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotHealthy => "not_healthy",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Internal => "internal",
            Self::AlreadyRunning => "already_running",
            Self::BadConfiguration => "bad_configuration",
            Self::HungUp => "hung_up",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Ends the process with `code` after `span`, should it still be there: a disk that does not answer must not keep it.
pub fn at_latest(span: Duration, code: Code) {
    let waiting = move || {
        let (_never, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(span);
        std::process::exit(code as i32);
    };
    // Without it the process only ends as late as it does.
    drop(thread::Builder::new().name("end".to_owned()).spawn(waiting));
}

/// An error that ends the process with a code of its own.
#[derive(Debug)]
pub struct Failed {
    /// The code.
    pub code: Code,
    /// The endpoint's own name for it, when it refused.
    pub name: Option<String>,
    /// What to tell the user.
    pub message: String,
}

impl Failed {
    /// Ends the process with `code` and this message.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, name: None, message: message.to_string() }
    }

    /// The same, under the name that the endpoint gave it.
    pub fn named(self, name: Option<&str>) -> Self {
        Self { name: name.map(str::to_owned), ..self }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// The code for an error that reached `main`: its own, or that of something unexpected.
pub fn code_of(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Failed>().map_or(Code::Internal, |failed| failed.code)
}

/// What to call it for programs.
pub fn name_of(error: &anyhow::Error) -> &str {
    let failed = error.downcast_ref::<Failed>();
    failed.and_then(|failed| failed.name.as_deref()).unwrap_or_else(|| code_of(error).name())
}
