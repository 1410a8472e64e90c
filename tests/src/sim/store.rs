//! A store with moods, in front of the real one: a writer of its own that takes its time, is full, refuses, or fails
//! before or after a commit; and that loses what it has not carried out when the process dies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moorline_core::{AccountId, ConversationId, Fingerprint, InboxId, OutboxId};
use moorline_store::{
    Counts, Entry, Health, InboxRow, Life, Listing, OutboxRow, Outcome, SqliteStore, Store, StoreError,
    StoredIdentity, TurnRow, Tx, Waiting, Work,
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// What goes wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Every commit takes this long, until the mood is over.
    Slow(Duration),
    /// There is no room, until the mood is over.
    Full,
    /// So many commits are refused. A refusal has no effect: that is what the store's contract says of it.
    Refuse(u32),
    /// So many reads are refused.
    RefuseReads(u32),
    /// The next commit fails for good, and has not happened.
    FailBefore,
    /// The next commit fails for good, and has happened.
    FailAfter,
}

/// The kinds of trouble, as they are counted.
pub const KINDS: [&str; 6] = [
    "store: slow",
    "store: full",
    "store: refuses",
    "store: refuses reads",
    "store: fails before a commit",
    "store: fails after a commit",
];

/// A store in front of another.
#[derive(Clone)]
pub struct Moody {
    inner: Arc<SqliteStore>,
    state: Arc<Mutex<State>>,
    health: watch::Sender<Health>,
}

#[derive(Default)]
struct State {
    /// What every commit takes.
    latency: Duration,
    slow: Option<Duration>,
    full: bool,
    refuse: u32,
    refuse_reads: u32,
    fail: Option<Mood>,
    failed: bool,
    queue: VecDeque<Request>,
    writer: Option<AbortHandle>,
    struck: BTreeMap<&'static str, u64>,
}

struct Request {
    tx: Tx,
    answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

impl Moody {
    /// In front of `inner`; every commit takes `latency`.
    #[must_use]
    pub fn new(inner: Arc<SqliteStore>, latency: Duration) -> Self {
        let state = State { latency, ..State::default() };
        Self { inner, state: Arc::new(Mutex::new(state)), health: watch::Sender::new(Health::Ok) }
    }

    /// Changes the mood.
    pub fn set(&self, mood: Mood) {
        let mut state = self.state.lock();
        match mood {
            Mood::Slow(span) => state.slow = Some(span),
            Mood::Full => {
                state.full = true;
                // A store that has failed stays failed.
                if !state.failed {
                    self.health.send_replace(Health::Full);
                }
            }
            Mood::Refuse(n) => state.refuse += n,
            Mood::RefuseReads(n) => state.refuse_reads += n,
            Mood::FailBefore | Mood::FailAfter => state.fail = Some(mood),
        }
    }

    /// All is well again, but for what has failed for good.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        (state.slow, state.full, state.refuse, state.refuse_reads, state.fail) = (None, false, 0, 0, None);
        if !state.failed {
            self.health.send_replace(Health::Ok);
        }
    }

    /// The process dies: what the writer has not carried out never happens. The next process finds a store that works.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        if let Some(writer) = state.writer.take() {
            writer.abort();
        }
        state.queue.clear();
        state.failed = false;
        let full = state.full;
        drop(state);
        self.health.send_replace(if full { Health::Full } else { Health::Ok });
    }

    /// Whether nothing will be taken any more by this process.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.state.lock().failed
    }

    /// How often each kind of trouble struck.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().struck.clone()
    }

    /// Hands a transaction to the writer, which is started if it rests.
    fn put(&self, tx: Tx) -> oneshot::Receiver<Result<Vec<Outcome>, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state.lock();
        state.queue.push_back(Request { tx, answer });
        if state.writer.is_none() {
            #[allow(clippy::disallowed_methods, reason = "stands for the store's own thread")]
            let writer = tokio::spawn(self.clone().write());
            state.writer = Some(writer.abort_handle());
        }
        answered
    }

    async fn write(self) {
        loop {
            let (request, wait) = {
                let mut state = self.state.lock();
                let Some(request) = state.queue.pop_front() else {
                    state.writer = None;
                    return;
                };
                if state.slow.is_some() {
                    state.strike("store: slow");
                }
                (request, state.slow.unwrap_or(state.latency))
            };
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let result = self.commit_one(request.tx);
            // Whoever asked may have gone.
            drop(request.answer.send(result));
        }
    }

    fn commit_one(&self, tx: Tx) -> Result<Vec<Outcome>, StoreError> {
        let gone = || Err(StoreError::Failed("drill".to_owned()));
        let mut state = self.state.lock();
        if state.failed {
            return gone();
        }
        if let Some(mood) = state.fail.take() {
            state.failed = true;
            let after = mood == Mood::FailAfter;
            state.strike(if after { "store: fails after a commit" } else { "store: fails before a commit" });
            drop(state);
            if after {
                drop(self.inner.commit(tx).now_or_never());
            }
            self.health.send_replace(Health::Failed("drill".to_owned()));
            return gone();
        }
        if state.full {
            state.strike("store: full");
            return Err(StoreError::Full);
        }
        if state.refuse > 0 {
            state.refuse -= 1;
            state.strike("store: refuses");
            return Err(StoreError::Refused("drill".to_owned()));
        }
        drop(state);
        self.health.send_if_modified(|health| std::mem::replace(health, Health::Ok) != Health::Ok);
        self.inner.commit(tx).now_or_never().unwrap_or_else(gone)
    }

    fn read<T: Send + 'static>(
        &self,
        read: BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let mut state = self.state.lock();
        if state.refuse_reads > 0 {
            state.refuse_reads -= 1;
            state.strike("store: refuses reads");
            return async { Err(StoreError::Refused("drill".to_owned())) }.boxed();
        }
        read
    }
}

impl State {
    fn strike(&mut self, kind: &'static str) {
        *self.struck.entry(kind).or_default() += 1;
    }
}

impl Store for Moody {
    fn commit(&self, tx: Tx) -> BoxFuture<'static, Result<Vec<Outcome>, StoreError>> {
        let store = self.clone();
        async move {
            store.put(tx).await.unwrap_or_else(|_| Err(StoreError::Failed("the writer died".to_owned())))
        }
        .boxed()
    }

    fn next_work(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<Work>, StoreError>> {
        self.read(self.inner.next_work(account, conversation))
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Waiting>, StoreError>> {
        self.read(self.inner.conversations_with_work(account, after, limit))
    }

    fn interrupted_turns(&self, account: &AccountId) -> BoxFuture<'static, Result<Vec<TurnRow>, StoreError>> {
        self.read(self.inner.interrupted_turns(account))
    }

    fn held(&self, account: &AccountId, limit: u32) -> BoxFuture<'static, Result<Vec<InboxRow>, StoreError>> {
        self.read(self.inner.held(account, limit))
    }

    fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        self.read(self.inner.transcript(account, conversation, limit))
    }

    fn outbox_heads(
        &self,
        account: &AccountId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        self.read(self.inner.outbox_heads(account, limit))
    }

    fn outbox_row(&self, id: OutboxId) -> BoxFuture<'static, Result<Option<OutboxRow>, StoreError>> {
        self.read(self.inner.outbox_row(id))
    }

    fn held_sends(
        &self,
        account: &AccountId,
        before: moorline_core::Timestamp,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        self.read(self.inner.held_sends(account, before, limit))
    }

    fn reply_window(
        &self,
        account: &AccountId,
        chat: &moorline_core::ChatId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<moorline_store::ReplyWindow, StoreError>> {
        self.read(self.inner.reply_window(account, chat, fingerprint))
    }

    fn identity(
        &self,
        account: &AccountId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<Option<StoredIdentity>, StoreError>> {
        self.read(self.inner.identity(account, fingerprint))
    }

    fn cursor(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.read(self.inner.cursor(account, kind))
    }

    fn answer(
        &self,
        key: &str,
    ) -> BoxFuture<'static, Result<Option<moorline_store::RequestAnswer>, StoreError>> {
        self.read(self.inner.answer(key))
    }

    fn remembered(&self, name: &str) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.read(self.inner.remembered(name))
    }

    fn counts(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Counts>, StoreError>> {
        self.inner.counts()
    }

    fn lives(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Life>, StoreError>> {
        self.inner.lives()
    }

    fn listing(&self) -> &dyn Listing {
        self.inner.listing()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}
