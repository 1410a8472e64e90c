//! How long to wait before trying again: the one table of design §4.

use std::time::Duration;

use crate::failure::{Failure, FailureClass};

/// No platform makes us wait longer than this, whatever number it sends.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Exponential back-off with equal jitter: half of each delay is fixed, half is random. The fixed half keeps a
/// failing platform from being hammered, the random half keeps accounts from failing in step (F-003, F-099).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay, before jitter.
    pub initial: Duration,
    /// The longest delay, before jitter and therefore after it too.
    pub max: Duration,
    /// How long things must have been well before the next failure counts as the first again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::STANDARD
    }
}

impl Backoff {
    /// Design §4: 1 s, doubled up to 60 s, the first again after 60 s of health.
    pub const STANDARD: Self = Self {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        reset_after: Duration::from_secs(60),
    };

    /// The delay before attempt `attempt` (from 1), with `unit` drawn from `0.0..1.0`; in `[d/2, d]` for
    /// `d = min(initial × 2^(attempt-1), max)`.
    pub fn delay(&self, attempt: u32, unit: f64) -> Duration {
        let full = self.full(attempt);
        full / 2 + full.mul_f64(unit.clamp(0.0, 1.0) / 2.0)
    }

    fn full(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

/// What each class of failure costs in waiting. One for all channels; `[channels.<c>.retry]` changes `transient`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Transient failures, and every class that falls back to it.
    pub transient: Backoff,
    /// First wait when somebody else holds the connection; doubles up to `conflict_max`.
    pub conflict: Duration,
    /// Longest wait when somebody else holds the connection.
    pub conflict_max: Duration,
    /// Wait between probes while an operator has to act. A change of configuration or a command cuts it short.
    pub operator: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::STANDARD
    }
}

impl RetryPolicy {
    /// Design §4.
    pub const STANDARD: Self = Self {
        transient: Backoff::STANDARD,
        conflict: Duration::from_secs(60),
        conflict_max: Duration::from_secs(300),
        operator: Duration::from_secs(600),
    };

    /// The delay before attempt `attempt` (from 1) after `failure`, with `unit` drawn from `0.0..1.0`.
    ///
    /// `retry_after` is a lower bound, whatever the class. There is no attempt after which this says "never" (G5).
    pub fn delay(&self, failure: &Failure, attempt: u32, unit: f64) -> Duration {
        let own = match failure.class {
            FailureClass::SessionExpired if attempt <= 1 => Duration::ZERO,
            FailureClass::SessionExpired => self.transient.delay(attempt - 1, unit),
            FailureClass::Conflict => {
                let doublings = attempt.saturating_sub(1).min(31);
                self.conflict.saturating_mul(1 << doublings).min(self.conflict_max)
            }
            FailureClass::Credentials | FailureClass::Permission | FailureClass::NeedsLogin => self.operator,
            FailureClass::Throttled if failure.retry_after.is_some() => Duration::ZERO,
            FailureClass::Transient
            | FailureClass::Throttled
            | FailureClass::Protocol
            | FailureClass::Rejected
            | FailureClass::AwaitsUser => self.transient.delay(attempt, unit),
        };
        own.max(failure.retry_after.unwrap_or(Duration::ZERO).min(LONGEST_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Design §4, row by row: class, attempt, `retry_after`, expected least and greatest delay.
    #[test]
    fn the_table_of_delays() {
        use FailureClass::*;
        let rows: &[(FailureClass, u32, Option<u64>, u64, u64)] = &[
            (Transient, 1, None, 500, 1_000),
            (Transient, 2, None, 1_000, 2_000),
            (Transient, 7, None, 30_000, 60_000),
            (Transient, u32::MAX, None, 30_000, 60_000),
            (Transient, 1, Some(5), 5_000, 5_000),
            (Transient, 7, Some(5), 30_000, 60_000),
            (Protocol, 1, None, 500, 1_000),
            (SessionExpired, 1, None, 0, 0),
            (SessionExpired, 2, None, 500, 1_000),
            (SessionExpired, 200, None, 30_000, 60_000),
            (Throttled, 1, Some(3), 3_000, 3_000),
            (Throttled, 9, Some(3), 3_000, 3_000),
            (Throttled, 1, None, 500, 1_000),
            (Conflict, 1, None, 60_000, 60_000),
            (Conflict, 2, None, 120_000, 120_000),
            (Conflict, 200, None, 300_000, 300_000),
            (Credentials, 1, None, 600_000, 600_000),
            (Permission, 200, None, 600_000, 600_000),
            (NeedsLogin, 3, None, 600_000, 600_000),
            (Transient, 1, Some(u64::MAX), 86_400_000, 86_400_000),
        ];
        let policy = RetryPolicy::default();
        for &(class, attempt, retry_after, least, greatest) in rows {
            let failure = Failure::new(class, "test").with_retry_after(retry_after.map(secs));
            let delay = |unit| policy.delay(&failure, attempt, unit).as_millis();
            assert_eq!(delay(0.0), u128::from(least), "{class} attempt {attempt}");
            assert_eq!(delay(1.0), u128::from(greatest), "{class} attempt {attempt}");
        }
    }

    proptest! {
        /// supervision.md §8.10: a delay is always in [d/2, d], whatever the attempt and the draw.
        #[test]
        fn a_delay_is_between_half_and_full(attempt in 1u32.., unit in 0.0f64..1.0) {
            let backoff = Backoff::default();
            let full = backoff.full(attempt);
            let delay = backoff.delay(attempt, unit);
            prop_assert!(delay >= full / 2 && delay <= full && full <= backoff.max);
        }
    }
}
