//! Signs of life of the threads that must not stand still. Nobody can end a thread that hangs, so whoever watches the
//! process from outside is told by their silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often each of them shows that it is alive.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

/// All pulses of a process; cheap to clone, good on any thread.
#[derive(Debug, Clone, Default)]
pub struct Pulses {
    last: Arc<Mutex<BTreeMap<(&'static str, u64), Instant>>>,
    /// Tells lives of one name apart: the next may begin before the one before is gone.
    lives: Arc<AtomicU64>,
}

/// One pulse; over when it is dropped.
#[derive(Debug)]
pub struct Pulse {
    pulses: Pulses,
    key: (&'static str, u64),
}

impl Pulses {
    /// Begins a pulse with its first beat.
    pub fn begin(&self, name: &'static str) -> Pulse {
        let pulse = Pulse { pulses: self.clone(), key: (name, self.lives.fetch_add(1, Relaxed)) };
        pulse.beat();
        pulse
    }

    /// How long ago each last beat. One that is over is not there.
    pub fn ages(&self) -> BTreeMap<&'static str, Duration> {
        let (mut ages, now) = (BTreeMap::new(), Instant::now());
        for ((name, _), last) in &*self.last.lock() {
            // Of two lives the later one counts: it comes last.
            ages.insert(*name, now.saturating_duration_since(*last));
        }
        ages
    }
}

impl Pulse {
    /// Shows that the thread that calls is alive.
    pub fn beat(&self) {
        self.pulses.last.lock().insert(self.key, Instant::now());
    }

    /// Beats for as long as the thread that polls it goes on.
    pub async fn keep(self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            self.beat();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.pulses.last.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pulse_ages_between_beats_and_is_gone_when_it_is_dropped() {
        let pulses = Pulses::default();
        let first = pulses.begin("admin");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pulses.ages()["admin"], Duration::from_secs(3));
        first.beat();
        assert_eq!(pulses.ages()["admin"], Duration::ZERO);
        tokio::time::advance(Duration::from_secs(9)).await;
        let second = pulses.begin("admin");
        assert_eq!(pulses.ages()["admin"], Duration::ZERO, "the later life counts");
        drop(first);
        assert_eq!(pulses.ages().len(), 1, "the earlier one takes nothing away");
        drop(second);
        assert!(pulses.ages().is_empty());
    }
}
