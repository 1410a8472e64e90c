//! Which failures of a call are worth another attempt, and when: those of a process that is being replaced (F-080).
//! Everything else fails at once, for nobody likes to wait for the same answer.

use std::time::Duration;

use crate::run_file::Phase;

/// What is waited before each further attempt (design §9).
pub const DELAYS: [Duration; 4] = [
    Duration::from_millis(150),
    Duration::from_millis(350),
    Duration::from_millis(750),
    Duration::from_millis(1_500),
];

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure<'a> {
    /// It was answered with an error: its status and its code.
    Answered(u16, &'a str),
    /// The connection was reset, or closed without an answer.
    Closed,
    /// There was no answer in time.
    TimedOut,
    /// Nobody listens.
    Refused,
    /// A WebSocket was closed with this code before it was any use.
    #[allow(dead_code, reason = "for whoever keeps a WebSocket open")]
    WebSocketClosed(u16),
    /// Whatever else: an answer that makes no sense, an address that cannot be reached.
    Other,
}

/// Whether a process that is being replaced may fail a call like this. `phase` is what run.json says of the process, if
/// that is alive.
pub fn is_restart(failure: Failure<'_>, phase: Option<Phase>) -> bool {
    match failure {
        Failure::Answered(503, "restarting") | Failure::Closed | Failure::TimedOut => true,
        // The attempt before this one, whose answer was lost.
        Failure::Answered(409, "in_progress") => true,
        Failure::WebSocketClosed(1000 | 1012) => true,
        Failure::Refused => matches!(phase, Some(Phase::Starting | Phase::Restarting)),
        Failure::Answered(..) | Failure::WebSocketClosed(_) | Failure::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_what_is_tried_again_f080() {
        let phases = [
            None,
            Some(Phase::Starting),
            Some(Phase::Running),
            Some(Phase::Stopping),
            Some(Phase::Restarting),
        ];
        let (always, never) = ([true; 5], [false; 5]);
        let table = [
            (Failure::Answered(503, "restarting"), always),
            (Failure::Closed, always),
            (Failure::TimedOut, always),
            (Failure::WebSocketClosed(1000), always),
            (Failure::WebSocketClosed(1012), always),
            (Failure::Refused, [false, true, false, false, true]),
            (Failure::Answered(503, "store_full"), never),
            (Failure::Answered(503, "store_failed"), never),
            (Failure::Answered(503, "no_answer"), never),
            (Failure::Answered(503, "busy"), never),
            (Failure::Answered(503, ""), never),
            (Failure::Answered(500, "restarting"), never),
            (Failure::Answered(401, "unauthorized"), never),
            (Failure::Answered(404, "unknown_account"), never),
            (Failure::Answered(409, "in_progress"), always),
            (Failure::Answered(409, "wrong_state"), never),
            (Failure::WebSocketClosed(1006), never),
            (Failure::WebSocketClosed(1008), never),
            (Failure::Other, never),
        ];
        for (failure, expected) in table {
            assert_eq!(phases.map(|phase| is_restart(failure, phase)), expected, "{failure:?}");
        }
    }

    #[test]
    fn another_attempt_comes_after_longer_and_longer_delays() {
        assert_eq!(DELAYS.map(|delay| delay.as_millis()), [150, 350, 750, 1500]);
    }
}
