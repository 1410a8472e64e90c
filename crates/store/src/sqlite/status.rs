//! What the store's threads tell each other and the outside: health, heartbeat, counters, drills.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use moorline_core::Histogram;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Health, StoreError};

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Group commits: one sync each.
    pub commits: u64,
    /// Transactions in them, refused ones included.
    pub transactions: u64,
    /// Checkpoints that were run.
    pub checkpoints: u64,
}

/// The classes by which group commits are counted, in microseconds: from a cached write to a disk that is in trouble.
const COMMIT_TIMES: &[u64] = &[
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// The classes by which their sizes are counted.
const GROUP_SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// A fault to rehearse. Drills and tests ask for it; nothing else in the store behaves differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The writer panics at its next step.
    PanicWriter,
    /// The next commit is reported as a failed sync.
    FailSync,
    /// From now on the disk is full, or no longer.
    Full(bool),
}

/// Shared by the store's threads.
#[derive(Debug)]
pub(super) struct Status {
    health: watch::Sender<Health>,
    opened: Instant,
    beat: AtomicU64,
    commits: AtomicU64,
    transactions: AtomicU64,
    checkpoints: AtomicU64,
    failed_commits: AtomicU64,
    pub(super) commit_times: Histogram,
    pub(super) group_sizes: Histogram,
    panic_writer: AtomicBool,
    fail_sync: AtomicBool,
    full: AtomicBool,
    /// About how many bytes were written to the log since the last checkpoint.
    pub(super) unchecked: AtomicU64,
}

impl Status {
    pub(super) fn new() -> Self {
        Self {
            health: watch::Sender::new(Health::Ok),
            opened: Instant::now(),
            beat: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            failed_commits: AtomicU64::new(0),
            commit_times: Histogram::new(COMMIT_TIMES),
            group_sizes: Histogram::new(GROUP_SIZES),
            panic_writer: AtomicBool::new(false),
            fail_sync: AtomicBool::new(false),
            full: AtomicBool::new(false),
            unchecked: AtomicU64::new(0),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Why nothing may be acknowledged any more, if that is so.
    pub(super) fn failed(&self) -> Option<String> {
        match &*self.health.borrow() {
            Health::Failed(reason) => Some(reason.clone()),
            Health::Ok | Health::Full => None,
        }
    }

    /// The error every commit gets once the store has failed or is closed.
    pub(super) fn gone(&self) -> StoreError {
        StoreError::Failed(self.failed().unwrap_or_else(|| "it was closed".to_owned()))
    }

    /// For ever: the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        let changed = self.health.send_if_modified(|health| {
            let first = !matches!(health, Health::Failed(_));
            if first {
                *health = Health::Failed(reason.to_owned());
            }
            first
        });
        if changed {
            tracing::error!(reason, "the store failed: nothing is acknowledged any more by this process");
        }
    }

    pub(super) fn no_room(&self) {
        if self.health.send_if_modified(|health| swap(health, &Health::Ok, Health::Full)) {
            tracing::error!("the disk is full: messages are refused until there is room");
        }
    }

    pub(super) fn room(&self) {
        if self.health.send_if_modified(|health| swap(health, &Health::Full, Health::Ok)) {
            tracing::info!("there is room on the disk again: messages are stored");
        }
    }

    /// What an error of SQLite means. A failed sync, a damaged file or a log that cannot be written ends the right
    /// to acknowledge: SQLite itself would accept the next commit as if nothing had happened (storage.md §1.5).
    pub(super) fn judge(&self, doing: &str, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error() {
            // The log's index lives in a file too, and growing it is how a full disk may show first.
            Some(code) if code.code == ErrorCode::DiskFull || code.extended_code == SQLITE_IOERR_SHMSIZE => {
                self.no_room();
                StoreError::Full
            }
            Some(code)
                if matches!(
                    code.code,
                    ErrorCode::SystemIoFailure
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::CannotOpen
                        | ErrorCode::ReadOnly
                ) =>
            {
                let reason = format!("{doing}: {error} (code {})", code.extended_code);
                self.fail(&reason);
                StoreError::Failed(reason)
            }
            _ => StoreError::Refused(format!("{doing}: {error}")),
        }
    }

    pub(super) fn beat(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Relaxed);
    }

    pub(super) fn last_beat(&self) -> Instant {
        self.opened + Duration::from_millis(self.beat.load(Relaxed))
    }

    pub(super) fn committed(&self, transactions: usize, took: Duration) {
        let transactions = transactions.try_into().unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.transactions.fetch_add(transactions, Relaxed);
        self.commit_times.observe_span(took);
        self.group_sizes.observe(transactions);
    }

    pub(super) fn not_committed(&self) {
        self.failed_commits.fetch_add(1, Relaxed);
    }

    pub(super) fn failed_commits(&self) -> u64 {
        self.failed_commits.load(Relaxed)
    }

    pub(super) fn checkpointed(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            commits: self.commits.load(Relaxed),
            transactions: self.transactions.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
        }
    }

    pub(super) fn inject(&self, fault: Fault) {
        match fault {
            Fault::PanicWriter => self.panic_writer.store(true, Relaxed),
            Fault::FailSync => self.fail_sync.store(true, Relaxed),
            Fault::Full(full) => self.full.store(full, Relaxed),
        }
    }

    /// Panics when a drill asks for it.
    pub(super) fn drill_panic(&self) {
        if self.panic_writer.swap(false, Relaxed) {
            #[allow(clippy::panic, reason = "the drill is that the writer panics")]
            {
                panic!("drill: the writer panics");
            }
        }
    }

    /// The error that a drill wants the next commit to end with.
    pub(super) fn drill_commit(&self) -> rusqlite::Result<()> {
        let code = if self.fail_sync.swap(false, Relaxed) {
            rusqlite::ffi::SQLITE_IOERR_FSYNC
        } else if self.full.load(Relaxed) {
            rusqlite::ffi::SQLITE_FULL
        } else {
            return Ok(());
        };
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("drill".to_owned())))
    }
}

fn swap(health: &mut Health, from: &Health, to: Health) -> bool {
    let changes = health == from;
    if changes {
        *health = to;
    }
    changes
}
