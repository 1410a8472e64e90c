//! Pacing: how many things may start, and when.

use std::time::Duration;

use crate::clock::Monotonic;

/// A token bucket: `burst` at once, then one every `interval`.
///
/// Chosen over a sliding window because it needs two numbers per host whatever the rate, and because a caller
/// that has to wait can be told for exactly how long.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    burst: u32,
    interval: Duration,
    /// The moment at which the bucket will be full again (GCRA's theoretical arrival time).
    full_at: Monotonic,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that regains one every `interval`.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, full_at: Monotonic::from_origin(Duration::ZERO) }
    }

    /// Takes a token and says how long its taker has to wait before using it: takers queue in the order of
    /// their calls. Zero while the burst lasts.
    pub fn take(&mut self, now: Monotonic) -> Duration {
        let start = self.full_at.max(now);
        self.full_at = start + self.interval;
        let allowance = self.interval.saturating_mul(self.burst.saturating_sub(1));
        (start - now).saturating_sub(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_is_spread() {
        let mut bucket = TokenBucket::new(50, Duration::from_millis(50));
        let start = Monotonic::from_origin(Duration::from_secs(100));
        let waits: Vec<u64> = (0..100).map(|_| bucket.take(start).as_millis() as u64).collect();
        assert!(waits[..50].iter().all(|&w| w == 0));
        assert_eq!(waits[50..53], [50, 100, 150]);
        assert_eq!(waits[99], 2_500);
    }

    #[test]
    fn the_bucket_refills_while_nobody_takes() {
        let mut bucket = TokenBucket::new(2, Duration::from_secs(1));
        let start = Monotonic::from_origin(Duration::from_secs(10));
        assert_eq!([bucket.take(start), bucket.take(start)], [Duration::ZERO; 2]);
        assert_eq!(bucket.take(start), Duration::from_secs(1));
        let later = start + Duration::from_secs(60);
        assert_eq!([bucket.take(later), bucket.take(later)], [Duration::ZERO; 2]);
    }
}
