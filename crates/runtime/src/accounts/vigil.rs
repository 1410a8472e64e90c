//! Notices that the machine slept or the process stood still: whatever was connected before may be gone without a
//! word, and no timer has told (design §4, F-020).

use std::time::Duration;

use moorline_core::{Clock, Monotonic};

/// How often it looks.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// A tick that is later than this was not just a busy moment.
const LATE: Duration = Duration::from_secs(5);

/// The clock that counts sleep runs ahead by this much only when there was some.
const SLEPT: Duration = Duration::from_secs(1);

/// What happened between two ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The machine slept this long.
    Slept(Duration),
    /// The process did not run for this long.
    Frozen(Duration),
}

/// Remembers when it last looked.
pub(super) struct Vigil {
    now: Monotonic,
    with_sleep: Monotonic,
}

impl Vigil {
    pub(super) fn begin(clock: &dyn Clock) -> Self {
        Self { now: clock.now(), with_sleep: clock.with_sleep() }
    }

    /// To be called every [`TICK`]. A step of the wall clock is no gap.
    pub(super) fn tick(&mut self, clock: &dyn Clock) -> Option<Gap> {
        let before = std::mem::replace(self, Self::begin(clock));
        let ran = self.now - before.now;
        let slept = (self.with_sleep - before.with_sleep).saturating_sub(ran);
        if slept >= SLEPT {
            Some(Gap::Slept(slept))
        } else {
            Some(ran.saturating_sub(TICK)).filter(|late| *late > LATE).map(Gap::Frozen)
        }
    }
}

#[cfg(test)]
mod tests {
    use moorline_core::Timestamp;

    use super::*;

    /// What the three clocks say, in seconds.
    struct Clocks(u64, u64, i64);

    impl Clock for Clocks {
        fn now(&self) -> Monotonic {
            Monotonic::from_origin(Duration::from_secs(self.0))
        }

        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.2 * 1000)
        }

        fn with_sleep(&self) -> Monotonic {
            Monotonic::from_origin(Duration::from_secs(self.1))
        }
    }

    #[test]
    fn sleep_and_standstill_are_noticed_and_the_wall_clock_is_not_f020() {
        let mut vigil = Vigil::begin(&Clocks(10, 500, 0));
        let seconds = Duration::from_secs;
        let rows = [
            (Clocks(11, 501, 1), None),
            (Clocks(12, 502, 3_600), None),
            (Clocks(13, 503, -3_600), None),
            (Clocks(19, 509, 0), None),
            (Clocks(20, 7_710, 0), Some(Gap::Slept(seconds(7_200)))),
            (Clocks(21, 7_711, 0), None),
            (Clocks(142, 7_832, 0), Some(Gap::Frozen(seconds(120)))),
            (Clocks(143, 7_833, 0), None),
        ];
        for (clocks, gap) in rows {
            assert_eq!(vigil.tick(&clocks), gap, "{} {} {}", clocks.0, clocks.1, clocks.2);
        }
    }
}
