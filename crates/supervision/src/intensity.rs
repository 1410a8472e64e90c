//! The standard restart policy of one child, as pure data.

use std::collections::VecDeque;
use std::time::Duration;

use moorline_core::Backoff;
use tokio::time::Instant;

use crate::exit::{Directive, ExitReason};

/// OTP's restart intensity, counted per child: more than this many restarts in this time is a crash loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed in the sliding window.
    pub max_restarts: u32,
    /// The window's length.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { max_restarts: 5, within: Duration::from_secs(60) }
    }
}

/// OTP's restart type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Permanent,
    Transient,
    Temporary,
}

/// When and how soon a child is restarted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Backoff,
    pub(crate) parked_retry: Duration,
}

/// What the policy remembers of a child between its generations.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When the latest restarts took, or will take, place; at most `max_restarts` of them.
    ///
    /// The time kept is that of the new generation, not of the exit before it: so neither the decisions nor the
    /// starts in any window are ever more than `max_restarts`, whatever the delays between them.
    starts: VecDeque<Instant>,
    /// Restarts since the child was last well.
    attempt: u32,
    /// Once over the intensity, a child stays parked until it has been well: one try per retry, not one burst.
    parked: bool,
}

impl Policy {
    pub(crate) fn is_temporary(&self) -> bool {
        self.restart == Restart::Temporary
    }

    /// Decides about an exit at `now`, with `unit` drawn from `0.0..1.0` for the jitter.
    pub(crate) fn decide(
        &self,
        history: &mut History,
        reason: &ExitReason,
        ran_for: Duration,
        now: Instant,
        unit: f64,
    ) -> Directive {
        let restarts = match self.restart {
            Restart::Permanent => true,
            Restart::Transient => reason.is_fault(),
            Restart::Temporary => false,
        };
        if !restarts {
            return Directive::Stop;
        }
        if ran_for >= self.backoff.reset_after {
            history.attempt = 0;
            history.parked = false;
        }
        history.attempt = history.attempt.saturating_add(1);
        history.starts.retain(|start| now.saturating_duration_since(*start) < self.intensity.within);
        let max_restarts = usize::try_from(self.intensity.max_restarts).unwrap_or(usize::MAX);
        history.parked |= history.starts.len() >= max_restarts;
        let directive = if history.parked {
            Directive::Park(self.parked_retry)
        } else {
            Directive::RestartAfter(self.backoff.delay(history.attempt, unit))
        };
        history.plan(now, directive, max_restarts);
        directive
    }
}

impl History {
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Keeps the time of the planned start. A delay beyond the end of time never starts anything.
    fn plan(&mut self, now: Instant, directive: Directive, max_restarts: usize) {
        let (Directive::RestartAfter(delay) | Directive::Park(delay)) = directive else { return };
        self.starts.extend(now.checked_add(delay));
        while self.starts.len() > max_restarts {
            self.starts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window is counted from when the restart took place: counted from the exits, 2 s and 11 s apart would pass
    /// although the two starts are less than 10 s apart.
    #[test]
    fn the_window_counts_starts_and_not_only_exits() {
        let secs = Duration::from_secs;
        let policy = Policy {
            restart: Restart::Permanent,
            intensity: Intensity { max_restarts: 1, within: secs(10) },
            backoff: Backoff { initial: secs(2), max: secs(2), reset_after: secs(60) },
            parked_retry: secs(900),
        };
        let origin = Instant::now();
        for (second_exit, expected) in
            [(11, Directive::Park(secs(900))), (12, Directive::RestartAfter(secs(1)))]
        {
            let mut history = History::default();
            let mut exit = |at: u64, unit: f64| {
                policy.decide(&mut history, &ExitReason::Killed, secs(1), origin + secs(at), unit)
            };
            assert_eq!(exit(0, 1.0), Directive::RestartAfter(secs(2)));
            assert_eq!(exit(second_exit, 0.0), expected, "exit at {second_exit} s");
        }
    }
}
