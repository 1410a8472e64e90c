//! What accounts on the same host share: the pace of their connects, and their fate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_core::{Monotonic, TokenBucket};
use tokio::sync::Notify;

/// Connects to one host: this many at once, then one every [`CONNECT_INTERVAL`] (design §4, F-099).
const CONNECT_BURST: u32 = 50;
const CONNECT_INTERVAL: Duration = Duration::from_millis(50);

/// Most hosts that are remembered (G12): a platform names them, and may name new ones for ever.
const HOSTS: usize = 256;

/// All hosts any account connects to. Lives on the runtime's arbiter and is never borrowed across an await.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    by_name: Rc<RefCell<BTreeMap<String, Host>>>,
}

#[derive(Debug)]
struct Host {
    connects: TokenBucket,
    /// Calls nobody waits for: the identity probes of accounts that start together.
    probes: TokenBucket,
    /// Strikes when a connection became ready. Whoever waits is told in the order of asking, which a `watch` would not
    /// do, and a seed would not repeat a run.
    success: Arc<Notify>,
}

impl Host {
    fn new() -> Self {
        let bucket = TokenBucket::new(CONNECT_BURST, CONNECT_INTERVAL);
        Self { connects: bucket.clone(), probes: bucket, success: Arc::default() }
    }
}

impl Hosts {
    /// Reserves a connect to `host` and says how long to wait before making it.
    pub(crate) fn admit_connect(&self, host: &str, now: Monotonic) -> Duration {
        self.with(host, |host| host.connects.take(now))
    }

    /// The same for a call that nobody waits for. A thousand accounts that start together would otherwise open a
    /// thousand HTTP connections at once, and keep them.
    pub(crate) fn admit_probe(&self, host: &str, now: Monotonic) -> Duration {
        self.with(host, |host| host.probes.take(now))
    }

    /// A connection to `host` became ready: whoever waits to try again there may do so now.
    pub(crate) fn succeeded(&self, host: &str) {
        self.with(host, |host| host.success.notify_waiters());
    }

    /// Resolves at the next success on `host` after this call.
    pub(crate) fn next_success(&self, host: &str) -> impl Future<Output = ()> + use<> {
        self.with(host, |host| Arc::clone(&host.success).notified_owned())
    }

    fn with<R>(&self, name: &str, act: impl FnOnce(&mut Host) -> R) -> R {
        let mut by_name = self.by_name.borrow_mut();
        if by_name.len() >= HOSTS && !by_name.contains_key(name) {
            // Somebody waits for what becomes of the others.
            by_name.retain(|_, host| Arc::strong_count(&host.success) > 1);
        }
        act(by_name.entry(name.to_owned()).or_insert_with(Host::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-097: hosts come and go; those that somebody waits for stay.
    #[test]
    fn hosts_are_forgotten_before_they_are_too_many_f097() {
        let hosts = Hosts::default();
        let waited_for = hosts.next_success("waited.test");
        for n in 0..10 * HOSTS {
            hosts.succeeded(&format!("h{n}.test"));
            assert!(hosts.by_name.borrow().len() <= HOSTS);
        }
        assert!(hosts.by_name.borrow().contains_key("waited.test"));
        drop(waited_for);
    }
}
