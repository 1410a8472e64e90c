//! Checkpoints: the log is carried over into the database off the commit path. Inside a commit they made its 99th
//! percentile ten times its median (storage.md §1.5).

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::status::Status;

/// How long nothing must have been committed for the store to count as idle.
const IDLE: Duration = Duration::from_secs(1);
/// A log longer than this is cut when the store is idle,
const LARGE: u64 = 16 << 20;
/// and one longer than this even when it is not: under steady load a checkpoint that never waits never reaches the
/// log's end, and the log would grow without bound.
const HUGE: u64 = 64 << 20;

/// Wakes the checkpointer.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    rung: bool,
    closed: bool,
}

impl Bell {
    /// There is enough to do.
    pub(super) fn ring(&self) {
        self.state.lock().rung = true;
        self.changed.notify_one();
    }

    /// The store closes.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    fn wait(&self) -> State {
        let mut state = self.state.lock();
        if !state.rung && !state.closed {
            self.changed.wait_for(&mut state, IDLE);
        }
        let seen = *state;
        state.rung = false;
        seen
    }
}

/// The checkpointer's thread, until the store closes or has failed.
pub(super) fn run(conn: &Connection, log: &Path, status: &Status, bell: &Bell) {
    let mut commits = status.statistics().commits;
    loop {
        let seen = bell.wait();
        if status.failed().is_some() {
            return;
        }
        if seen.closed {
            checkpoint(conn, status, "TRUNCATE");
            return;
        }
        let before = std::mem::replace(&mut commits, status.statistics().commits);
        let idle = !seen.rung && before == commits;
        if (seen.rung || idle) && status.unchecked.swap(0, Relaxed) > 0 {
            checkpoint(conn, status, "PASSIVE");
        }
        let length = std::fs::metadata(log).map_or(0, |file| file.len());
        if length > HUGE || (idle && length > LARGE) {
            checkpoint(conn, status, "TRUNCATE");
        }
    }
}

fn checkpoint(conn: &Connection, status: &Status, mode: &str) {
    // The answer tells how far it got; whatever it left is for the next one.
    match conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())) {
        Ok(()) => status.checkpointed(),
        Err(error) => {
            // A full disk or a busy reader is no news here: commits notice the one, the next round the other.
            let meaning = status.judge("a checkpoint", &error);
            tracing::debug!(%meaning, mode, "a checkpoint did not happen");
        }
    }
}
