//! What a store measures of itself.

use std::time::Duration;

use moorline_core::Distribution;

/// One moment of a store, with what it has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// How long ago the writer last showed that it is alive. Much more than half a second stands for a disk that does
    /// not answer. Zero where whoever commits is the writer.
    pub writer_silent_for: Duration,
    /// Transactions that wait for the writer, those included that wait for room in its queue.
    pub queued: usize,
    /// How many there is room for.
    pub queue_capacity: usize,
    /// How long group commits took, sync included, in microseconds.
    pub commits: Distribution,
    /// How many transactions each of them held.
    pub group_sizes: Distribution,
    /// Group commits that were refused as a whole.
    pub failed_commits: u64,
    /// Checkpoints that were run.
    pub checkpoints: u64,
}
