//! When to tell the service manager what: a pure machine over the heartbeats. That this process exists is no sign of
//! life, nor is any account's state; only beats are (design §9, F-101).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use moorline_runtime::WRITER;
use tokio::time::Instant;

/// Between two looks, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A beat that is older than this is none, or older than half of a watchdog's time,
const STALE: Duration = Duration::from_secs(10);
/// but never one that a busy machine may have delayed: they come twice a second.
const FRESH: Duration = Duration::from_secs(2);

/// Threads without which nothing works.
const ESSENTIAL: [&str; 2] = ["runtime", WRITER];

/// What has to be up before the process is.
const AT_START: [&str; 3] = ["runtime", WRITER, "admin"];

/// Decides what is told.
#[derive(Debug)]
pub(super) struct Feeder {
    watchdog: Option<Duration>,
    ready: bool,
    status: String,
    fed: Option<Instant>,
    next: Next,
}

/// What the last look decided, and is so once it was told.
#[derive(Debug, Default)]
struct Next {
    ready: bool,
    status: Option<String>,
    fed: bool,
}

impl Feeder {
    pub(super) fn new(watchdog: Option<Duration>) -> Self {
        Self { watchdog, ready: false, status: String::new(), fed: None, next: Next::default() }
    }

    /// Between two looks.
    pub(super) fn pause(&self) -> Duration {
        self.watchdog.map_or(LOOK_EVERY, |watchdog| LOOK_EVERY.min(watchdog / 8))
    }

    /// The lines to send now, if there are any; to be followed by [`Feeder::told`] when they were sent.
    pub(super) fn look(&mut self, heartbeats: &BTreeMap<&'static str, Duration>, status: &str) -> String {
        let is_up = |names: &[&str]| names.iter().all(|name| heartbeats.contains_key(name));
        // One that is restarted has no beat, and is missed only if nothing works without it.
        let alive = heartbeats.values().all(|age| *age < self.stale()) && is_up(&ESSENTIAL);
        let ready = self.ready || (alive && is_up(&AT_START));
        let since = self.fed.map(|fed| fed.elapsed());
        let is_due = |watchdog: Duration| since.is_none_or(|since| since >= watchdog / 2);
        self.next = Next {
            ready,
            status: Some(status).filter(|status| ready && *status != self.status).map(str::to_owned),
            fed: ready && alive && self.watchdog.is_some_and(is_due),
        };
        let mut lines = String::new();
        if ready && !self.ready {
            lines.push_str("READY=1\n");
        }
        if let Some(status) = &self.next.status {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "STATUS={status}");
        }
        if self.next.fed {
            lines.push_str("WATCHDOG=1\n");
        }
        lines
    }

    /// What the last look decided was told.
    pub(super) fn told(&mut self) {
        let Next { ready, status, fed } = std::mem::take(&mut self.next);
        self.ready = ready;
        if let Some(status) = status {
            self.status = status;
        }
        if fed {
            self.fed = Some(Instant::now());
        }
    }

    fn stale(&self) -> Duration {
        self.watchdog.map_or(STALE, |watchdog| STALE.min(watchdog / 2).max(FRESH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(30);
    const ALL: [&str; 3] = ["runtime", WRITER, "admin"];

    fn beats(names: &[&'static str]) -> BTreeMap<&'static str, Duration> {
        names.iter().map(|name| (*name, Duration::from_millis(300))).collect()
    }

    /// Looks for a minute, as often as it does, and says how often the watchdog was fed.
    async fn fed_in_a_minute(feeder: &mut Feeder, heartbeats: &BTreeMap<&'static str, Duration>) -> usize {
        let mut fed = 0;
        for _ in 0..60 {
            tokio::time::advance(feeder.pause()).await;
            let lines = feeder.look(heartbeats, "");
            fed += usize::from(lines.contains("WATCHDOG=1"));
            feeder.told();
        }
        fed
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_everything_is_up_and_says_so_until_it_was_heard() {
        let mut feeder = Feeder::new(Some(WATCHDOG));
        for missing in ALL {
            let mut some = beats(&ALL);
            some.remove(missing);
            assert_eq!(feeder.look(&some, "1 of 1"), "", "without {missing}");
            feeder.told();
        }
        let all = "READY=1\nSTATUS=1 of 1\nWATCHDOG=1\n";
        assert_eq!(feeder.look(&beats(&ALL), "1 of 1"), all);
        assert_eq!(feeder.look(&beats(&ALL), "1 of 1"), all, "the first was not sent");
        feeder.told();
        assert_eq!(feeder.look(&beats(&ALL), "1 of 1"), "");
        assert_eq!(feeder.look(&beats(&ALL), "0 of 1"), "STATUS=0 of 1\n");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_at_half_its_time_by_beats_and_by_nothing_else() {
        let mut feeder = Feeder::new(Some(WATCHDOG));
        assert_eq!(fed_in_a_minute(&mut feeder, &beats(&ALL)).await, 4);
        // An admin endpoint that is being restarted is no reason to end the process; one that hangs is.
        assert_eq!(fed_in_a_minute(&mut feeder, &beats(&ALL[..2])).await, 4);
        for hung in ALL {
            let mut heartbeats = beats(&ALL);
            heartbeats.insert(hung, STALE);
            assert_eq!(fed_in_a_minute(&mut feeder, &heartbeats).await, 0, "{hung} stands still");
        }
        for gone in ESSENTIAL {
            let mut heartbeats = beats(&ALL);
            heartbeats.remove(gone);
            assert_eq!(fed_in_a_minute(&mut feeder, &heartbeats).await, 0, "{gone} is gone");
        }
        assert_eq!(fed_in_a_minute(&mut feeder, &beats(&ALL)).await, 4, "and is fed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_without_a_watchdog_is_not_fed() {
        let mut feeder = Feeder::new(None);
        assert_eq!(feeder.look(&beats(&ALL), ""), "READY=1\n");
        feeder.told();
        assert_eq!(fed_in_a_minute(&mut feeder, &beats(&ALL)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_watchdog_is_looked_after_often_enough() {
        let feeder = Feeder::new(Some(Duration::from_secs(2)));
        assert_eq!((feeder.pause(), feeder.stale()), (Duration::from_millis(250), FRESH));
    }
}
