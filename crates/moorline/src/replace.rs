//! A fresh process in the place of this one (design §3 rule 7, F-070): the binary is executed in place. The process id
//! stays, and with it the hold of whoever started the process; no two processes overlap; and the admin endpoint's
//! socket is handed on, so that it never stops listening.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use listenfd::ListenFd;
use moorline_admin::{Admin, Listener};
use moorline_core::Backoff;
use moorline_store::DataDir;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{WaitOptions, wait};

use crate::exit::{Code, Failed};

/// Says in the environment that the process replaces one, and how many in a row had failed before.
const REPLACED: &str = "MOORLINE_REPLACED";

/// Says in the environment in which data directory that one was.
const LEFT: &str = "MOORLINE_LEFT";

/// Delays between processes whose store failed: design §4's, without jitter, since there is one of us only.
const DELAYS: Backoff = Backoff::STANDARD;

/// How long children that were killed may take to be gone.
const CHILDREN_GO_WITHIN: Duration = Duration::from_secs(1);

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a process is born with.
pub struct Birth {
    /// Its binary, where the next version of it will be found as well.
    program: PathBuf,
    /// The sockets that it was handed.
    sockets: Vec<TcpListener>,
    /// The data directory of the process that it replaces.
    left: Option<PathBuf>,
    /// Whether it replaces a process, and how many had failed in a row.
    replaces: Option<u32>,
}

/// What is handed to the process that comes. Keeps the data directory locked until this one is gone.
pub struct Heir {
    program: PathBuf,
    socket: TcpListener,
    directory: DataDir,
    failures: u32,
}

impl Birth {
    /// Takes what was handed to this process. Has to be called once, before there are threads.
    ///
    /// # Errors
    /// When the environment speaks of a socket that is none.
    pub fn take() -> Result<Self, Failed> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        let mut unusable = None;
        for number in 0..handed.len() {
            match handed.take_tcp_listener(number) {
                Ok(socket) => sockets.extend(socket),
                Err(error) => unusable = Some(error),
            }
        }
        if let (Some(error), true) = (unusable, sockets.is_empty()) {
            let message =
                format!("LISTEN_FDS speaks of a socket for the admin endpoint that cannot be used: {error}");
            return Err(Failed::new(Code::BadConfiguration, message));
        }
        let left = std::env::var_os(LEFT).map(PathBuf::from);
        let replaces = std::env::var(REPLACED).ok().and_then(|count| count.parse().ok());
        Ok(Self { program: program(), sockets, left, replaces })
    }

    /// Whether it replaces a process: then nobody may be watching it, and it tries again what fails.
    pub fn is_replacement(&self) -> bool {
        self.replaces.is_some()
    }

    /// How long to wait before the next attempt: nothing, but after failures.
    pub fn delay(&self) -> Duration {
        delay(self.failures())
    }

    /// One more attempt failed.
    pub fn failed(&mut self) {
        self.replaces = Some(self.failures().saturating_add(1));
    }

    /// A second handle on the socket that it was handed.
    pub fn socket(&self) -> Option<TcpListener> {
        self.sockets.first().and_then(|socket| socket.try_clone().ok())
    }

    /// The process it replaces may have been in another data directory, where nothing runs any more.
    pub fn came_from(&mut self, directory: &Path) {
        if let Some(left) = self.left.take().filter(|left| left != directory) {
            crate::run_file::RunFile::remove(&left);
        }
    }

    /// The admin endpoint's socket: the one handed to us if it is at the configured address, else a new one.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub fn listener(&mut self, config: &moorline_config::Admin) -> std::io::Result<Listener> {
        for (number, socket) in self.sockets.iter().enumerate() {
            if let Some(listener) = Listener::inherit(socket.try_clone()?, config.listen)? {
                // One is enough: callers of the others would wait for ever.
                self.sockets = vec![self.sockets.swap_remove(number)];
                return Ok(listener);
            }
        }
        let listener = Admin::bind(config)?;
        for old in self.sockets.drain(..) {
            let old = old.local_addr().map_or_else(|_| "?".to_owned(), |old: SocketAddr| old.to_string());
            tracing::info!(actor = "admin", "admin.listen is {} now: {old} is closed", listener.local_addr());
        }
        // Kept for the next attempt, should this one fail.
        self.sockets.extend(listener.duplicate());
        Ok(listener)
    }

    /// What the next process gets. Put together at the start: later there may be no file left to open.
    ///
    /// # Errors
    /// When the process has no more files to open.
    pub fn heir(&self, listener: &Listener, directory: DataDir) -> std::io::Result<Heir> {
        Ok(Heir { program: self.program.clone(), socket: listener.duplicate()?, directory, failures: 0 })
    }

    /// Attempts in a row that failed.
    pub fn failures(&self) -> u32 {
        self.replaces.unwrap_or(0)
    }

    /// Failures in a row when one more comes after `ran_for`: a process that was well for long was no failure.
    pub fn failures_after(&self, ran_for: Duration) -> u32 {
        if ran_for >= DELAYS.reset_after { 1 } else { self.failures().saturating_add(1) }
    }
}

impl Heir {
    /// For a process that comes because this one failed, as the last of so many in a row.
    #[must_use]
    pub fn after(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// Becomes it. Returns only when that failed; then everything is over, with code 70.
    pub fn succeed(self) -> Failed {
        reap();
        let failed = |what: &str, error: std::io::Error| {
            let message = format!(
                "this process could not be replaced by {}, and is over: {what}: {error}; start it again",
                self.program.display()
            );
            tracing::error!("{message}");
            Failed::new(Code::Internal, message)
        };
        // The only open file that the next process is to have. Whatever else is open closes with this one.
        if let Err(error) = fcntl_setfd(&self.socket, FdFlags::empty()) {
            return failed("the socket cannot be handed on", error.into());
        }
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| self.program.clone().into());
        let error = Command::new(&self.program)
            .arg0(name)
            .args(arguments)
            .env("LISTEN_FDS", "1")
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDNAMES", "admin")
            .env("LISTEN_FDS_FIRST_FD", self.socket.as_raw_fd().to_string())
            .env(LEFT, self.directory.path())
            .env(REPLACED, self.failures.to_string())
            .exec();
        crate::run_file::RunFile::remove(self.directory.path());
        failed("it cannot be executed", error)
    }
}

fn delay(failures: u32) -> Duration {
    if failures == 0 { Duration::ZERO } else { DELAYS.delay(failures, 1.0) }
}

/// Where the binary is: as it was called, if that is what runs, so that an upgrade which points a link elsewhere is
/// followed. Asked at the start: later it may have been replaced, and the kernel would call it deleted.
fn program() -> PathBuf {
    let Ok(running) = std::env::current_exe() else {
        return std::env::args_os().next().unwrap_or_else(|| "moorline".into()).into();
    };
    let called = std::env::args_os().next().and_then(|name| called(Path::new(&name)));
    called.filter(|path| path.canonicalize().is_ok_and(|path| path == running)).unwrap_or(running)
}

/// The file that a name on the command line stands for, as a shell finds it.
fn called(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Waits for the children that were killed with their agents: what is not waited for would stay a zombie of the next
/// process for ever.
fn reap() {
    let looks = CHILDREN_GO_WITHIN.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => pause(LOOK_EVERY),
            // There is none.
            Err(_) => return,
        }
    }
    tracing::warn!("a child process is not gone after {} s", CHILDREN_GO_WITHIN.as_secs());
}

#[allow(clippy::disallowed_methods, reason = "no arbiter is left on this thread")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_wait_longer_and_longer() {
        let seconds: Vec<u64> = (0..=9).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(delay(u32::MAX).as_secs(), 60);
        let birth = Birth { program: PathBuf::new(), sockets: Vec::new(), left: None, replaces: Some(5) };
        assert_eq!(birth.failures_after(Duration::from_secs(59)), 6);
        assert_eq!(birth.failures_after(Duration::from_secs(60)), 1);
    }

    #[test]
    fn the_binary_is_found_where_it_was_called() {
        let running = std::env::current_exe().unwrap();
        assert_eq!(called(&running), Some(running.clone()));
        assert_eq!(called(Path::new("sh")).unwrap().file_name().unwrap(), "sh");
        assert_eq!(called(Path::new("no-such-program")), None);
        assert!(program().is_absolute());
    }
}
