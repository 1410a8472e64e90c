//! Readers: threads of their own with connections that cannot write, so that no read waits behind a commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rusqlite::Connection;

use super::queue::{Queue, Taken};

/// A read and the delivery of its answer.
pub(super) type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A reader's thread, until the queue is closed and empty. A read that panics ends nobody but itself: its answer is
/// dropped, and whoever waits for it is told.
pub(super) fn run(conn: &Connection, queue: &Queue<Job>) {
    loop {
        match queue.take(1, 1, |_| 1, Duration::from_secs(60)) {
            Taken::Items(jobs) => {
                for job in jobs {
                    if catch_unwind(AssertUnwindSafe(|| job(conn))).is_err() {
                        tracing::error!("a read of the store panicked");
                    }
                }
            }
            Taken::Nothing => {}
            Taken::Closed => return,
        }
    }
}

/// Runs `read` in one read transaction, so that all of it sees the same state.
pub(super) fn snapshot<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = conn.unchecked_transaction()?;
    let result = read(&transaction)?;
    transaction.finish()?;
    Ok(result)
}
