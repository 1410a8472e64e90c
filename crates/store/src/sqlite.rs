//! The store on SQLite.

mod apply;
mod checkpoint;
mod cron;
mod gap;
mod group;
mod inspect;
mod list;
mod queue;
mod read;
mod reader;
mod schema;
mod statements;
mod status;
mod trace;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use moorline_core::{
    AccountId, ChatId, ConversationId, Fingerprint, InboxId, JobId, OutboxId, RunId, Timestamp,
};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use self::checkpoint::Bell;
use self::group::{Answer, Committer};
pub use self::inspect::{Inspection, LastRun, inspect};
use self::queue::Queue;
use self::reader::{Job, snapshot};
use self::status::Status;
pub use self::status::{Fault, Statistics};
use self::writer::Request;
use crate::cron::{JobRow, RunRow};
use crate::data_dir::{DataDir, OpenError};
use crate::gap::{Gap, Life};
use crate::listing::{
    InboxEntry, InboxFilter, Listed, Listing, OutboxFilter, Page, ParkedTurn, SessionFilter, SessionRow,
};
use crate::measured::Measured;
use crate::rows::{Counts, Entry, InboxRow, OutboxRow, ReplyWindow, StoredIdentity, TurnRow, Waiting, Work};
use crate::trace::{Trace, Traced};
use crate::tx::{Outcome, RequestAnswer, Tx};
use crate::{Health, Store, StoreError};

/// How a [`SqliteStore`] on its own threads is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How many transactions may wait for the writer; the next commit waits for room.
    pub queue: usize,
    /// How many threads read, at least one.
    pub readers: usize,
    /// After about how many bytes of log a checkpoint is run, if the store does not become idle before.
    pub checkpoint_every: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { queue: 1024, readers: 2, checkpoint_every: 8 << 20 }
    }
}

/// The store on SQLite: a write-ahead log, synced by every commit.
///
/// A transaction that was handed over is carried out even if its future is dropped; one whose future was never
/// polled is not.
pub struct SqliteStore {
    status: Arc<Status>,
    executor: Executor,
}

enum Executor {
    Threads(Threads),
    Inline(Mutex<Committer>),
}

struct Threads {
    writes: Arc<Queue<Request>>,
    reads: Arc<Queue<Job>>,
    bell: Arc<Bell>,
    running: Mutex<Option<Running>>,
}

/// What ends when the store is closed, in the order of the fields.
struct Running {
    writer: JoinHandle<()>,
    readers: Vec<JoinHandle<()>>,
    checkpointer: JoinHandle<()>,
    _directory: Arc<File>,
}

impl SqliteStore {
    /// Opens the store of a data directory on threads of its own: a writer, readers and a checkpointer. Keeps the
    /// directory locked until it is closed.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or was damaged by an unclean stop.
    pub fn open(dir: &DataDir, options: SqliteOptions) -> Result<Self, OpenError> {
        let file = dir.database();
        let status = Arc::new(Status::new());
        let committer = Committer::new(schema::open_writer(&file)?, Arc::clone(&status));
        let checkpoints = schema::open_checkpointer(&file)?;
        let read_connections =
            (0..options.readers.max(1)).map(|_| schema::open_reader(&file)).collect::<Result<Vec<_>, _>>()?;

        let writes = Arc::new(Queue::new(options.queue));
        let reads = Arc::new(Queue::new(options.queue));
        let bell = Arc::new(Bell::default());
        let starting = Starting { writes: &writes, reads: &reads, bell: &bell, armed: true };
        let writer = {
            let (queue, status, bell) = (Arc::clone(&writes), Arc::clone(&status), Arc::clone(&bell));
            let every = options.checkpoint_every;
            spawn(&file, "store", move || writer::run(committer, &queue, &status, &bell, every))?
        };
        let readers = read_connections
            .into_iter()
            .map(|conn| {
                let queue = Arc::clone(&reads);
                spawn(&file, "store-read", move || reader::run(&conn, &queue))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let checkpointer = {
            let (status, bell, log) = (Arc::clone(&status), Arc::clone(&bell), schema::log_of(&file));
            spawn(&file, "store-checkpoint", move || checkpoint::run(&checkpoints, &log, &status, &bell))?
        };
        starting.done();
        let running = Running { writer, readers, checkpointer, _directory: dir.hold() };
        let threads = Threads { writes, reads, bell, running: Mutex::new(Some(running)) };
        Ok(Self { status, executor: Executor::Threads(threads) })
    }

    /// Opens a store that works on the calling thread: every future is ready when it is returned. Needed where
    /// nothing may wait on another thread, as under tokio's paused time. `None`: in memory, gone with the store.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn inline(file: Option<&Path>) -> Result<Self, OpenError> {
        let conn = match file {
            Some(file) => schema::open_alone(file)?,
            None => schema::open_in_memory()?,
        };
        let status = Arc::new(Status::new());
        let committer = Committer::new(conn, Arc::clone(&status));
        Ok(Self { status, executor: Executor::Inline(Mutex::new(committer)) })
    }

    /// Carries out what waits, runs a last checkpoint and ends the threads; commits and reads asked for later fail.
    /// Blocks the calling thread meanwhile. Dropping the store does the same.
    pub fn close(&self) {
        let Executor::Threads(threads) = &self.executor else { return };
        let Some(running) = threads.running.lock().take() else { return };
        threads.writes.close();
        join(running.writer, "writer");
        threads.reads.close();
        for reader in running.readers {
            join(reader, "reader");
        }
        threads.bell.close();
        join(running.checkpointer, "checkpointer");
    }

    /// When the writer last showed that it is alive: at least every half second, and before each group commit. One
    /// that is much older stands for a disk that does not answer. Of an inline store it is the last commit.
    pub fn last_beat(&self) -> Instant {
        self.status.last_beat()
    }

    /// What the store has done since it was opened.
    pub fn statistics(&self) -> Statistics {
        self.status.statistics()
    }

    /// Rehearses a fault.
    pub fn inject(&self, fault: Fault) {
        self.status.inject(fault);
        if let Executor::Threads(threads) = &self.executor {
            threads.writes.wake();
        }
    }

    /// What [`Store::counts`] answers, counted from the rows themselves: for tests and drills, since it reads the
    /// whole database. Duplicates leave no row and are taken as counted.
    pub fn recount(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Counts>, StoreError>> {
        self.read(read::recount)
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let status = Arc::clone(&self.status);
        match &self.executor {
            Executor::Inline(committer) => {
                let result = snapshot(committer.lock().connection(), read);
                ready(result.map_err(|error| status.judge("a read", &error))).boxed()
            }
            Executor::Threads(threads) => {
                let queue = Arc::clone(&threads.reads);
                async move {
                    let (answer, answered) = oneshot::channel();
                    let for_errors = Arc::clone(&status);
                    let job: Job = Box::new(move |conn| {
                        let result = snapshot(conn, read).map_err(|error| for_errors.judge("a read", &error));
                        // Whoever asked may have gone.
                        let _ = answer.send(result);
                    });
                    queue.put(job).await.map_err(|queue::Closed| status.gone())?;
                    answered
                        .await
                        .unwrap_or_else(|_| Err(StoreError::Refused("a read ended early".to_owned())))
                }
                .boxed()
            }
        }
    }
}

impl Store for SqliteStore {
    fn commit(&self, tx: Tx) -> BoxFuture<'static, Result<Vec<Outcome>, StoreError>> {
        let status = Arc::clone(&self.status);
        match &self.executor {
            Executor::Inline(committer) => ready(commit_here(&mut committer.lock(), &status, &tx)).boxed(),
            Executor::Threads(threads) => {
                let queue = Arc::clone(&threads.writes);
                async move {
                    let (answer, answered) = oneshot::channel();
                    queue.put(Request { tx, answer }).await.map_err(|queue::Closed| status.gone())?;
                    answered.await.unwrap_or_else(|_| {
                        // The request was dropped unanswered: nobody knows whether it was stored.
                        Err(StoreError::Failed(
                            status.failed().unwrap_or_else(|| "the writer died".to_owned()),
                        ))
                    })
                }
                .boxed()
            }
        }
    }

    fn next_work(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<Work>, StoreError>> {
        let (account, conversation) = (account.clone(), conversation.clone());
        self.read(move |conn| read::next_work(conn, &account, &conversation))
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Waiting>, StoreError>> {
        let account = account.cloned();
        self.read(move |conn| read::conversations_with_work(conn, account.as_ref(), after, limit))
    }

    fn interrupted_turns(&self, account: &AccountId) -> BoxFuture<'static, Result<Vec<TurnRow>, StoreError>> {
        let account = account.clone();
        self.read(move |conn| read::interrupted_turns(conn, &account))
    }

    fn held(&self, account: &AccountId, limit: u32) -> BoxFuture<'static, Result<Vec<InboxRow>, StoreError>> {
        let account = account.clone();
        self.read(move |conn| read::held(conn, &account, limit))
    }

    fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        let (account, conversation) = (account.clone(), conversation.clone());
        self.read(move |conn| read::transcript(conn, &account, &conversation, limit))
    }

    fn outbox_heads(
        &self,
        account: &AccountId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        let account = account.clone();
        self.read(move |conn| read::outbox_heads(conn, &account, limit))
    }

    fn outbox_row(&self, id: OutboxId) -> BoxFuture<'static, Result<Option<OutboxRow>, StoreError>> {
        self.read(move |conn| read::outbox_by_id(conn, id))
    }

    fn held_sends(
        &self,
        account: &AccountId,
        before: Timestamp,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        let account = account.clone();
        self.read(move |conn| read::held_sends(conn, &account, before, limit))
    }

    fn reply_window(
        &self,
        account: &AccountId,
        chat: &ChatId,
        credentials: &Fingerprint,
    ) -> BoxFuture<'static, Result<ReplyWindow, StoreError>> {
        let (account, chat, credentials) = (account.clone(), chat.clone(), credentials.clone());
        self.read(move |conn| read::reply_window(conn, &account, &chat, &credentials))
    }

    fn identity(
        &self,
        account: &AccountId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<Option<StoredIdentity>, StoreError>> {
        let (account, fingerprint) = (account.clone(), fingerprint.clone());
        self.read(move |conn| read::identity(conn, &account, &fingerprint))
    }

    fn cursor(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        let (account, kind) = (account.clone(), kind.to_owned());
        self.read(move |conn| read::cursor(conn, &account, &kind))
    }

    fn answer(&self, key: &str) -> BoxFuture<'static, Result<Option<RequestAnswer>, StoreError>> {
        let key = key.to_owned();
        self.read(move |conn| read::answer(conn, &key))
    }

    fn remembered(&self, name: &str) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        let name = name.to_owned();
        self.read(move |conn| read::remembered(conn, &name))
    }

    fn counts(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Counts>, StoreError>> {
        self.read(read::counts)
    }

    fn lives(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Life>, StoreError>> {
        self.read(gap::lives)
    }

    fn listing(&self) -> &dyn Listing {
        self
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.status.subscribe()
    }

    fn measured(&self) -> Option<Measured> {
        let (writer_silent_for, queued, queue_capacity) = match &self.executor {
            Executor::Inline(_) => (Duration::ZERO, 0, 0),
            Executor::Threads(threads) => {
                (self.last_beat().elapsed(), threads.writes.len(), threads.writes.capacity())
            }
        };
        Some(Measured {
            writer_silent_for,
            queued,
            queue_capacity,
            commits: self.status.commit_times.distribution(),
            group_sizes: self.status.group_sizes.distribution(),
            failed_commits: self.status.failed_commits(),
            checkpoints: self.statistics().checkpoints,
        })
    }
}

impl Listing for SqliteStore {
    fn sessions(
        &self,
        filter: &SessionFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<SessionRow>, StoreError>> {
        let filter = filter.clone();
        self.read(move |conn| list::sessions(conn, &filter, page))
    }

    fn session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<SessionRow>, StoreError>> {
        let (account, conversation) = (account.clone(), conversation.clone());
        self.read(move |conn| list::session(conn, &account, &conversation))
    }

    fn inbox(
        &self,
        filter: &InboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<InboxEntry>, StoreError>> {
        let filter = filter.clone();
        self.read(move |conn| list::inbox(conn, &filter, page))
    }

    fn inbox_row(&self, id: InboxId) -> BoxFuture<'static, Result<Option<InboxEntry>, StoreError>> {
        self.read(move |conn| list::inbox_by_id(conn, id))
    }

    fn outbox(
        &self,
        filter: &OutboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<OutboxRow>, StoreError>> {
        let filter = filter.clone();
        self.read(move |conn| list::outbox(conn, &filter, page))
    }

    fn parked(&self, limit: u32) -> BoxFuture<'static, Result<Vec<ParkedTurn>, StoreError>> {
        self.read(move |conn| list::parked(conn, limit))
    }

    fn trace(&self, traced: &Traced) -> BoxFuture<'static, Result<Trace, StoreError>> {
        let traced = traced.clone();
        self.read(move |conn| trace::trace(conn, &traced))
    }

    fn jobs(&self) -> BoxFuture<'static, Result<Vec<JobRow>, StoreError>> {
        self.read(cron::jobs)
    }

    fn job(&self, id: JobId) -> BoxFuture<'static, Result<Option<JobRow>, StoreError>> {
        self.read(move |conn| cron::job(conn, id))
    }

    fn runs(&self, job: Option<JobId>, page: Page) -> BoxFuture<'static, Result<Listed<RunRow>, StoreError>> {
        self.read(move |conn| cron::runs(conn, job, page))
    }

    fn gaps(
        &self,
        account: Option<&AccountId>,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<Gap>, StoreError>> {
        let account = account.cloned();
        self.read(move |conn| gap::gaps(conn, account.as_ref(), page))
    }

    fn run(&self, id: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreError>> {
        self.read(move |conn| cron::run(conn, id))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A commit on the calling thread, which a panic of the store must not end.
fn commit_here(committer: &mut Committer, status: &Status, tx: &Tx) -> Answer {
    status.beat();
    match catch_unwind(AssertUnwindSafe(|| committer.commit(std::iter::once(tx)).pop())) {
        Ok(answer) => answer.unwrap_or_else(|| Err(status.gone())),
        Err(_) => {
            status.fail("the writer panicked");
            Err(status.gone())
        }
    }
}

/// Ends the threads that run already when a later one could not be started.
struct Starting<'a> {
    writes: &'a Queue<Request>,
    reads: &'a Queue<Job>,
    bell: &'a Bell,
    armed: bool,
}

impl Starting<'_> {
    fn done(mut self) {
        self.armed = false;
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.writes.close();
            self.reads.close();
            self.bell.close();
        }
    }
}

fn spawn(file: &Path, name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let io_error = |source| OpenError::Io { path: file.to_owned(), source };
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(io_error)
}

fn join(thread: JoinHandle<()>, name: &str) {
    if thread.join().is_err() {
        tracing::error!(name, "a thread of the store had panicked");
    }
}

#[cfg(test)]
mod tests;
