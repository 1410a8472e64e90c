//! A store whose reads take their time, as those of a large database on a busy disk do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moorline_core::{AccountId, ConversationId, Fingerprint, InboxId, OutboxId};
use moorline_store::{
    Counts, Entry, Health, InboxRow, Life, Listing, Measured, OutboxRow, Outcome, SqliteStore, Store,
    StoreError, StoredIdentity, TurnRow, Tx, Waiting, Work,
};
use tokio::sync::watch;

type Read<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Passes everything on; answers to reads come later by the lag.
pub struct Lagging {
    inner: Arc<SqliteStore>,
    lag_ms: AtomicU64,
    lists: AtomicU64,
}

impl Lagging {
    /// Without a lag.
    #[must_use]
    pub fn new(inner: Arc<SqliteStore>) -> Self {
        Self { inner, lag_ms: AtomicU64::new(0), lists: AtomicU64::new(0) }
    }

    /// From now on every read takes this long, in whole milliseconds.
    pub fn set(&self, lag: Duration) {
        self.lag_ms.store(moorline_core::millis(lag), Relaxed);
    }

    /// How often anybody asked for a list.
    pub fn lists(&self) -> u64 {
        self.lists.load(Relaxed)
    }

    fn late<T: Send + 'static>(&self, read: Read<T>) -> Read<T> {
        match self.lag_ms.load(Relaxed) {
            0 => read,
            lag => async move {
                tokio::time::sleep(Duration::from_millis(lag)).await;
                read.await
            }
            .boxed(),
        }
    }
}

impl Store for Lagging {
    fn commit(&self, tx: Tx) -> Read<Vec<Outcome>> {
        self.inner.commit(tx)
    }

    fn next_work(&self, account: &AccountId, conversation: &ConversationId) -> Read<Option<Work>> {
        self.late(self.inner.next_work(account, conversation))
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> Read<Vec<Waiting>> {
        self.late(self.inner.conversations_with_work(account, after, limit))
    }

    fn interrupted_turns(&self, account: &AccountId) -> Read<Vec<TurnRow>> {
        self.late(self.inner.interrupted_turns(account))
    }

    fn held(&self, account: &AccountId, limit: u32) -> Read<Vec<InboxRow>> {
        self.late(self.inner.held(account, limit))
    }

    fn transcript(&self, account: &AccountId, conversation: &ConversationId, limit: u32) -> Read<Vec<Entry>> {
        self.late(self.inner.transcript(account, conversation, limit))
    }

    fn outbox_heads(&self, account: &AccountId, limit: u32) -> Read<Vec<OutboxRow>> {
        self.late(self.inner.outbox_heads(account, limit))
    }

    fn outbox_row(&self, id: OutboxId) -> Read<Option<OutboxRow>> {
        self.late(self.inner.outbox_row(id))
    }

    fn held_sends(
        &self,
        account: &AccountId,
        before: moorline_core::Timestamp,
        limit: u32,
    ) -> Read<Vec<OutboxRow>> {
        self.late(self.inner.held_sends(account, before, limit))
    }

    fn reply_window(
        &self,
        account: &AccountId,
        chat: &moorline_core::ChatId,
        fingerprint: &Fingerprint,
    ) -> Read<moorline_store::ReplyWindow> {
        self.late(self.inner.reply_window(account, chat, fingerprint))
    }

    fn identity(&self, account: &AccountId, fingerprint: &Fingerprint) -> Read<Option<StoredIdentity>> {
        self.late(self.inner.identity(account, fingerprint))
    }

    fn cursor(&self, account: &AccountId, kind: &str) -> Read<Option<String>> {
        self.late(self.inner.cursor(account, kind))
    }

    fn answer(&self, key: &str) -> Read<Option<moorline_store::RequestAnswer>> {
        self.late(self.inner.answer(key))
    }

    fn remembered(&self, name: &str) -> Read<Option<String>> {
        self.late(self.inner.remembered(name))
    }

    fn counts(&self) -> Read<BTreeMap<AccountId, Counts>> {
        self.inner.counts()
    }

    fn lives(&self) -> Read<BTreeMap<AccountId, Life>> {
        self.late(self.inner.lives())
    }

    fn listing(&self) -> &dyn Listing {
        self.lists.fetch_add(1, Relaxed);
        self.inner.listing()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.inner.health()
    }

    fn measured(&self) -> Option<Measured> {
        self.inner.measured()
    }
}
