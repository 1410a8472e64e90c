//! The durable store: everything that must survive the process, behind one trait.
//!
//! A caller describes what must become true together as a [`Tx`] and hands it to [`Store::commit`]; when the
//! future resolves, it is on disk. Two implementations pass one conformance suite: SQLite, and a model in memory.

mod cron;
mod data_dir;
mod gap;
mod listing;
mod measured;
mod model;
mod names;
mod rows;
mod sqlite;
mod trace;
mod tx;

pub use cron::{
    Delivery, JobKind, JobRow, KEPT_RUNS, MissedPolicy, NewJob, NewRun, RunContent, RunKind, RunResult,
    RunRow, Trigger, TurnResult,
};
pub use data_dir::{DataDir, OpenError};
pub use gap::{Gap, GapKind, LastHeard, Life, NewGap};
pub use listing::{
    ActiveTurn, InboxEntry, InboxFilter, InboxKind, LONGEST_PAGE, Listed, Listing, OutboxFilter, PREVIEW,
    Page, ParkedTurn, Scope, SessionFilter, SessionRow, SessionState,
};
pub use measured::Measured;
pub use model::ModelStore;
pub use rows::{
    Counts, Entry, InboxRow, InboxState, OutboxRow, OutboxState, ReplyToken, ReplyWindow, Role,
    StoredIdentity, TurnRow, TurnState, Waiting, Work,
};
pub use sqlite::{Fault, Inspection, LastRun, SqliteOptions, SqliteStore, Statistics, inspect};
pub use trace::{LONGEST_TRACE, Receipt, Trace, Traced, TurnEntry};
pub use tx::{
    Claim, KEPT_ENTRIES, Lease, NewMessage, NewReply, NewReplyToken, Op, Outcome, RequestAnswer, SendResult,
    Tx, Verdict,
};

use futures_util::future::BoxFuture;
use moorline_core::{AccountId, ChatId, ConversationId, Fingerprint, InboxId, OutboxId, Timestamp};
use tokio::sync::watch;

/// A durable store. `commit` resolves when the transaction is synced to disk (G1, G11), reads see every commit
/// that resolved before they were asked.
pub trait Store: Send + Sync {
    /// Makes all operations of `tx` durable, or none of them. One outcome per operation, in their order; when one
    /// of them is [`Outcome::Fenced`] or [`Outcome::Conflict`], nothing of this transaction has happened, all of its
    /// outcomes are that one, and other transactions of the same group commit are untouched. Nothing is promised about
    /// a commit whose future was dropped: it may still happen.
    ///
    /// # Errors
    /// [`StoreError::Full`] may pass; after [`StoreError::Failed`] no commit of this process will ever succeed.
    fn commit(&self, tx: Tx) -> BoxFuture<'static, Result<Vec<Outcome>, StoreError>>;

    /// What the conversation has to do next: its interrupted turn if there is one, else its oldest message if that is
    /// pending; `None` while that is held (nothing overtakes it, G3), while a turn of it is running or nothing is pending.
    fn next_work(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<Work>, StoreError>>;

    /// The conversations with an interrupted turn or a pending message and no running turn, of one account or of all;
    /// oldest work first, those whose work is later than `after`, at most `limit`.
    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Waiting>, StoreError>>;

    /// The account's interrupted turns, oldest first.
    fn interrupted_turns(&self, account: &AccountId) -> BoxFuture<'static, Result<Vec<TurnRow>, StoreError>>;

    /// The account's held messages in order of receipt, at most `limit`.
    fn held(&self, account: &AccountId, limit: u32) -> BoxFuture<'static, Result<Vec<InboxRow>, StoreError>>;

    /// The last `limit` entries of the conversation's transcript, oldest first.
    fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>>;

    /// For each conversation of the account, its first row that is not settled: the only one that may be sent, so that
    /// replies go out in order (G3). None where that one is held. Ordered by `not_before`, then id.
    fn outbox_heads(
        &self,
        account: &AccountId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>>;

    /// One row of the outbox.
    fn outbox_row(&self, id: OutboxId) -> BoxFuture<'static, Result<Option<OutboxRow>, StoreError>>;

    /// The account's messages that have been held since before `before`, in the order of their numbers.
    fn held_sends(
        &self,
        account: &AccountId,
        before: Timestamp,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>>;

    /// What the chat's user last gave these credentials to write with (F-060).
    fn reply_window(
        &self,
        account: &AccountId,
        chat: &ChatId,
        credentials: &Fingerprint,
    ) -> BoxFuture<'static, Result<ReplyWindow, StoreError>>;

    /// The identity last verified with these credentials.
    fn identity(
        &self,
        account: &AccountId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<Option<StoredIdentity>, StoreError>>;

    /// A connector's cursor of this kind.
    fn cursor(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> BoxFuture<'static, Result<Option<String>, StoreError>>;

    /// What the request under this key was answered with.
    fn answer(&self, key: &str) -> BoxFuture<'static, Result<Option<RequestAnswer>, StoreError>>;
    /// What is kept under this name.
    fn remembered(&self, name: &str) -> BoxFuture<'static, Result<Option<String>, StoreError>>;

    /// How many messages of each account are in which state. Costs the number of accounts, not of messages.
    fn counts(&self)
    -> BoxFuture<'static, Result<std::collections::BTreeMap<AccountId, Counts>, StoreError>>;

    /// What a process that takes accounts over has to know of each account that was ever taken over. Costs the number of
    /// accounts.
    fn lives(&self) -> BoxFuture<'static, Result<std::collections::BTreeMap<AccountId, Life>, StoreError>>;

    /// The reads of an operator.
    fn listing(&self) -> &dyn Listing;

    /// Whether the store still takes commits; changes are seen by every receiver.
    fn health(&self) -> watch::Receiver<Health>;

    /// How it fares and what it has done since it was opened. Waits for nothing. `None`: this one measures nothing.
    fn measured(&self) -> Option<Measured> {
        None
    }
}

/// Whether commits can succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// They can.
    Ok,
    /// The disk is full: commits are refused until there is room, then succeed again (F-074).
    Full,
    /// A sync failed or the writer died: the process has lost its right to acknowledge anything (G11).
    Failed(String),
}

/// Why a commit or a read did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk. Nothing was written; the same commit may succeed later.
    #[error(
        "the disk that holds the data directory is full: nothing was stored, and nothing is acknowledged until there is room"
    )]
    Full,
    /// A sync failed or the writer is gone. Nothing may be acknowledged any more by this process.
    #[error("the store failed and takes nothing more in this process: {0}")]
    Failed(String),
    /// This one request could not be carried out; others are not affected.
    #[error("the store could not carry out a request: {0}")]
    Refused(String),
}
