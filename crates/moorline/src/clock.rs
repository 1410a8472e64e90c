//! The machine's clock: the one place in the project that reads it.

use std::time::Duration;

use moorline_core::{Clock, Monotonic, Timestamp};
use tokio::time::Instant;

/// Tokio's monotonic clock for waiting, the machine's wall clock for people.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }

    #[cfg(target_os = "linux")]
    fn with_sleep(&self) -> Monotonic {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Monotonic::from_origin(Duration::try_from(boot).unwrap_or_default())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else is told to use")]
    fn wall(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
