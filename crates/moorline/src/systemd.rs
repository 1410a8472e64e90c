//! What the service manager is told: datagrams to the socket that `NOTIFY_SOCKET` names (sd_notify(3)). Nothing, where
//! there is none.
//!
//! Written here and not taken from a crate, because sending must never block: it is done on the arbiter, so that an
//! arbiter that hangs is silent.

mod feeder;

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::Pin;
use std::time::Duration;

use moorline_core::AccountState;
use moorline_runtime::Handle;

use feeder::Feeder;

/// What a shutdown may take beyond its grace: the tree's own limits, the last word to the store, its last checkpoint.
const BEYOND_GRACE: Duration = Duration::from_secs(60);

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    channel: Option<(UnixDatagram, SocketAddr)>,
    /// How long it waits for a sign of life, if it waits for one.
    watchdog: Option<Duration>,
}

/// Signs of life, for as long as something goes on.
pub struct Watch<'a> {
    feeding: Pin<Box<dyn Future<Output = Infallible> + 'a>>,
}

impl Manager {
    /// The one that this process's environment names.
    pub fn of_this_process() -> Self {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    /// The one that the environment of the process `pid` names.
    pub fn of(environment: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let number = |name| environment(name)?.to_str()?.parse::<u64>().ok();
        // A parent's watchdog is no business of ours.
        let is_ours = number("WATCHDOG_PID").is_none_or(|of| of == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        let channel = environment("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::warn!("the service manager cannot be told anything: {error}");
                None
            }
        });
        Self { channel, watchdog }
    }

    /// Tells it that everything is up once it is, how the accounts are, and, if it wants to know, that the threads that
    /// must not stand still do not.
    pub fn watch(&self, handle: Handle) -> Watch<'_> {
        Watch { feeding: Box::pin(self.feed(handle)) }
    }

    /// The process is on its way down. `grace` is what the work in hand may take.
    pub fn stopping(&self, grace: Duration) {
        let at_most = (grace + BEYOND_GRACE).as_micros();
        self.tell(&format!("STOPPING=1\nSTATUS=shutting down\nEXTEND_TIMEOUT_USEC={at_most}"));
    }

    /// A fresh process is about to take over, under the same number: for the manager the service runs on.
    pub fn restarting(&self) {
        self.tell("STATUS=restarting");
    }

    /// The start failed and is tried again after `span`, in which there is nothing that could show a sign of life.
    pub fn waiting(&self, span: Duration) {
        let watchdog =
            self.watchdog.map(|watchdog| format!("\nWATCHDOG_USEC={}", (watchdog + span).as_micros()));
        self.tell(&format!("STATUS=could not start, tries again{}", watchdog.unwrap_or_default()));
    }

    /// The start is tried again.
    pub fn starting(&self) {
        if let Some(watchdog) = self.watchdog {
            self.tell(&format!("WATCHDOG_USEC={}", watchdog.as_micros()));
        }
    }

    /// Sends lines of the protocol; false when they could not be sent just now.
    pub fn tell(&self, lines: &str) -> bool {
        let Some((socket, address)) = &self.channel else { return true };
        socket.send_to_addr(lines.as_bytes(), address).is_ok()
    }

    async fn feed(&self, handle: Handle) -> Infallible {
        if self.channel.is_none() {
            return std::future::pending().await;
        }
        let mut feeder = Feeder::new(self.watchdog);
        loop {
            let lines = feeder.look(&handle.heartbeats(), &status(&handle));
            if !lines.is_empty() && self.tell(&lines) {
                feeder.told();
            }
            tokio::time::sleep(feeder.pause()).await;
        }
    }
}

impl Watch<'_> {
    /// Goes on with the signs of life beside `work`.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            outcome = work => outcome,
            never = &mut self.feeding => match never {},
        }
    }
}

/// In one line, for `systemctl status`.
fn status(handle: &Handle) -> String {
    let accounts = handle.board().accounts();
    let in_state = |state| accounts.iter().filter(|account| account.state == state).count();
    let wanted = accounts.len() - in_state(AccountState::Stopped);
    format!("{} of {wanted} accounts ready", in_state(AccountState::Ready))
}

fn open(name: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> std::io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> std::io::Result<SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Manager {
        let variables: std::collections::BTreeMap<&str, &str> = variables.iter().copied().collect();
        Manager::of(|name| variables.get(name).map(OsString::from), 7)
    }

    #[test]
    fn nothing_is_told_where_nobody_listens() {
        let manager = manager(&[]);
        assert!(manager.channel.is_none() && manager.watchdog.is_none());
        assert!(manager.tell("READY=1"));
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let usec = ("WATCHDOG_USEC", "30000000");
        assert_eq!(manager(&[usec]).watchdog, Some(Duration::from_secs(30)));
        assert_eq!(manager(&[usec, ("WATCHDOG_PID", "7")]).watchdog, Some(Duration::from_secs(30)));
        assert_eq!(manager(&[usec, ("WATCHDOG_PID", "8")]).watchdog, None);
        assert_eq!(manager(&[("WATCHDOG_USEC", "0")]).watchdog, None);
        assert_eq!(manager(&[("WATCHDOG_USEC", "soon")]).watchdog, None);
    }

    #[test]
    fn a_full_socket_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _nobody_reads = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let told = (0..100_000).take_while(|_| manager.tell("WATCHDOG=1")).count();
        assert!((1..100_000).contains(&told), "{told}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_told_too() {
        let name = format!("moorline-test-{}", std::process::id());
        let address = abstract_address(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        assert!(manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).tell("READY=1"));
        let mut heard = [0; 16];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }
}
