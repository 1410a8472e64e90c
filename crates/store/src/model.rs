//! The store as a model: plain maps, no disk. Slow and obviously right; what SQLite is compared with, and a store
//! for tests that need none of its speed.

mod cron;
mod gap;
mod list;
mod operator;
mod ops;
mod prune;
mod replies;
mod requests;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use moorline_core::{
    AccountId, ChatId, ConversationId, DedupeKey, Epoch, Fingerprint, GapId, HoldReason, InboxId, JobId,
    OutboxId, RunId, Timestamp, TurnId,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cron::{JobRow, TurnResult};
use crate::gap::{Gap, LastHeard, Life};
use crate::rows::{
    Counts, Entry, InboxRow, InboxState, OutboxRow, OutboxState, ReplyWindow, StoredIdentity, TurnRow,
    TurnState, Waiting, Work,
};
use crate::tx::{Claim, Outcome, RequestAnswer, Tx};
use crate::{Health, Listing, Store, StoreError};

/// A store in memory. Every future is ready when it is returned.
#[derive(Debug)]
pub struct ModelStore {
    state: Mutex<State>,
    health: watch::Sender<Health>,
}

impl ModelStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Mutex::new(State::default()), health: watch::Sender::new(Health::Ok) }
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        ready(Ok(read(&self.state.lock()))).boxed()
    }
}

impl Default for ModelStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything there is. Numbers are given out in order, from 1, and never again.
#[derive(Debug, Clone, Default)]
struct State {
    /// In the order of their beginning.
    boots: Vec<Boot>,
    last: Last,
    accounts: BTreeMap<AccountId, Account>,
    inbox: BTreeMap<InboxId, InboxRow>,
    /// What an [`InboxEntry`](crate::InboxEntry) has beside its row.
    beside: BTreeMap<InboxId, Beside>,
    turns: BTreeMap<TurnId, Turn>,
    outbox: BTreeMap<OutboxId, Message>,
    answers: BTreeMap<String, (Timestamp, RequestAnswer)>,
    memos: BTreeMap<String, String>,
    jobs: BTreeMap<JobId, JobRow>,
    runs: BTreeMap<RunId, cron::Run>,
    gaps: BTreeMap<GapId, Gap>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Last {
    inbox: i64,
    turn: i64,
    outbox: i64,
    job: i64,
    run: i64,
    gap: i64,
}

#[derive(Debug, Clone)]
struct Boot {
    name: String,
    began_at: Timestamp,
    ended: bool,
}

#[derive(Debug, Clone, Default)]
struct Account {
    epoch: Epoch,
    cursors: BTreeMap<String, String>,
    tokens: BTreeMap<ChatId, replies::Token>,
    identities: BTreeMap<Fingerprint, StoredIdentity>,
    dedupe: BTreeMap<DedupeKey, Seen>,
    duplicates: u64,
    transcripts: BTreeMap<ConversationId, Vec<Entry>>,
    active: BTreeMap<ConversationId, Timestamp>,
    heard: Option<LastHeard>,
    /// Recorded, and gone or not.
    gaps: u64,
    /// What the messages that are gone counted for.
    pruned: Pruned,
    /// The same of each conversation that is still there.
    shortened: BTreeMap<ConversationId, Pruned>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    inbox: InboxId,
    at: Timestamp,
}

#[derive(Debug, Clone, Default)]
struct Pruned {
    latest: InboxId,
    answered: u64,
    dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default)]
struct Beside {
    written_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    raw_bytes: u64,
    repeats: u64,
    repeated_at: Option<Timestamp>,
    judged: Option<(HoldReason, Timestamp)>,
}

/// A turn; the inputs of its row are filled in when it is read.
#[derive(Debug, Clone)]
struct Turn {
    row: TurnRow,
    inputs: BTreeSet<InboxId>,
    interrupted_at: Option<Timestamp>,
    resumed_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    result: Option<TurnResult>,
}

#[derive(Debug, Clone)]
struct Message {
    row: OutboxRow,
    claim: Option<Claim>,
    settled_at: Option<Timestamp>,
}

impl Pruned {
    fn all(&self) -> u64 {
        self.answered + self.dropped.values().sum::<u64>()
    }
}

impl State {
    fn active_turn(&self, account: &AccountId, conversation: &ConversationId) -> Option<&Turn> {
        self.turns.values().find(|turn| {
            turn.row.account == *account && turn.row.conversation == *conversation && turn.is_active()
        })
    }

    fn turn_row(&self, turn: &Turn) -> TurnRow {
        let inputs = turn.inputs.iter().filter_map(|id| self.inbox.get(id)).cloned().collect();
        TurnRow { inputs, ..turn.row.clone() }
    }

    fn messages<'a>(&'a self, account: &'a AccountId) -> impl Iterator<Item = &'a InboxRow> {
        self.inbox.values().filter(move |row| row.account == *account)
    }

    fn next_work(&self, account: &AccountId, conversation: &ConversationId) -> Option<Work> {
        match self.active_turn(account, conversation) {
            Some(turn) if turn.row.state == TurnState::Running => None,
            Some(turn) => Some(Work::Resume(self.turn_row(turn))),
            None => self
                .messages(account)
                .find(|row| {
                    let waits = matches!(row.state, InboxState::Pending | InboxState::Held(_));
                    row.conversation == *conversation && waits
                })
                // Nothing overtakes a message that waits to be judged.
                .filter(|row| row.state == InboxState::Pending)
                .cloned()
                .map(Work::Answer),
        }
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> Vec<Waiting> {
        let mut found = Vec::<Waiting>::new();
        for row in self.inbox.values().filter(|row| row.state == InboxState::Pending) {
            let waiting = Waiting {
                account: row.account.clone(),
                conversation: row.conversation.clone(),
                since: row.id,
            };
            let wanted = account.is_none_or(|account| *account == row.account);
            let waits = self.next_work(&row.account, &row.conversation).is_some();
            let is_first = !found
                .iter()
                .any(|seen| seen.account == waiting.account && seen.conversation == waiting.conversation);
            if wanted && waits && is_first {
                found.push(waiting);
            }
        }
        found.into_iter().filter(|waiting| waiting.since > after).take(limit as usize).collect()
    }

    fn outbox_heads(&self, account: &AccountId, limit: u32) -> Vec<OutboxRow> {
        let mut heads = BTreeMap::new();
        for Message { row, .. } in self.outbox.values() {
            if row.account == *account && is_open(row.state) {
                heads.entry(&row.conversation).or_insert(row);
            }
        }
        let mut heads: Vec<_> = heads.into_values().cloned().collect();
        heads.retain(|row| row.state != OutboxState::Held);
        heads.sort_by_key(|row| (row.not_before, row.id));
        heads.truncate(limit as usize);
        heads
    }

    fn counts(&self, account: &AccountId, of: &Account) -> Counts {
        let mut counts = Counts {
            received: of.pruned.all(),
            answered: of.pruned.answered,
            dropped: of.pruned.dropped.clone(),
            duplicates: of.duplicates,
            gaps: of.gaps,
            ..Counts::default()
        };
        for row in self.messages(account) {
            counts.received += 1;
            match row.state {
                InboxState::Pending => counts.pending += 1,
                InboxState::Answered => counts.answered += 1,
                InboxState::Held(reason) => *counts.held.entry(reason.to_string()).or_default() += 1,
                InboxState::Dropped(reason) => *counts.dropped.entry(reason.to_string()).or_default() += 1,
            }
        }
        for Message { row, .. } in self.outbox.values().filter(|message| message.row.account == *account) {
            counts.outbox += u64::from(is_open(row.state));
            counts.outbox_held += u64::from(row.state == OutboxState::Held);
            counts.dead += u64::from(row.state == OutboxState::Dead);
            counts.discarded += u64::from(row.state == OutboxState::Discarded);
        }
        counts
    }
}

impl Turn {
    fn is_active(&self) -> bool {
        matches!(self.row.state, TurnState::Running | TurnState::Interrupted)
    }
}

const fn is_open(state: OutboxState) -> bool {
    matches!(state, OutboxState::Ready | OutboxState::Sending | OutboxState::Unknown | OutboxState::Held)
}

impl Store for ModelStore {
    fn commit(&self, tx: Tx) -> BoxFuture<'static, Result<Vec<Outcome>, StoreError>> {
        ready(self.state.lock().commit(&tx)).boxed()
    }

    fn next_work(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<Work>, StoreError>> {
        self.read(|state| state.next_work(account, conversation))
    }

    fn conversations_with_work(
        &self,
        account: Option<&AccountId>,
        after: InboxId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Waiting>, StoreError>> {
        self.read(|state| state.conversations_with_work(account, after, limit))
    }

    fn interrupted_turns(&self, account: &AccountId) -> BoxFuture<'static, Result<Vec<TurnRow>, StoreError>> {
        self.read(|state| {
            let turns = state
                .turns
                .values()
                .filter(|turn| turn.row.account == *account && turn.row.state == TurnState::Interrupted);
            turns.map(|turn| state.turn_row(turn)).collect()
        })
    }

    fn held(&self, account: &AccountId, limit: u32) -> BoxFuture<'static, Result<Vec<InboxRow>, StoreError>> {
        self.read(|state| {
            let held = state.messages(account).filter(|row| matches!(row.state, InboxState::Held(_)));
            held.take(limit as usize).cloned().collect()
        })
    }

    fn transcript(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        self.read(|state| {
            let entries = state
                .accounts
                .get(account)
                .and_then(|account| account.transcripts.get(conversation))
                .map_or(&[][..], Vec::as_slice);
            let skipped = entries.len().saturating_sub(limit as usize);
            entries.iter().skip(skipped).cloned().collect()
        })
    }

    fn outbox_heads(
        &self,
        account: &AccountId,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        self.read(|state| state.outbox_heads(account, limit))
    }

    fn outbox_row(&self, id: OutboxId) -> BoxFuture<'static, Result<Option<OutboxRow>, StoreError>> {
        self.read(|state| state.outbox.get(&id).map(|message| message.row.clone()))
    }

    fn held_sends(
        &self,
        account: &AccountId,
        before: Timestamp,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<OutboxRow>, StoreError>> {
        self.read(|state| state.held_sends(account, before, limit))
    }

    fn reply_window(
        &self,
        account: &AccountId,
        chat: &ChatId,
        credentials: &Fingerprint,
    ) -> BoxFuture<'static, Result<ReplyWindow, StoreError>> {
        self.read(|state| state.reply_window(account, chat, credentials))
    }

    fn identity(
        &self,
        account: &AccountId,
        fingerprint: &Fingerprint,
    ) -> BoxFuture<'static, Result<Option<StoredIdentity>, StoreError>> {
        self.read(|state| state.accounts.get(account)?.identities.get(fingerprint).cloned())
    }

    fn cursor(
        &self,
        account: &AccountId,
        kind: &str,
    ) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.read(|state| state.accounts.get(account)?.cursors.get(kind).cloned())
    }

    fn answer(&self, key: &str) -> BoxFuture<'static, Result<Option<RequestAnswer>, StoreError>> {
        self.read(|state| state.answers.get(key).map(|(_, answer)| answer.clone()))
    }

    fn remembered(&self, name: &str) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        self.read(|state| state.memos.get(name).cloned())
    }

    fn counts(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Counts>, StoreError>> {
        self.read(|state| {
            let accounts = state.accounts.iter();
            accounts.map(|(id, account)| (id.clone(), state.counts(id, account))).collect()
        })
    }

    fn lives(&self) -> BoxFuture<'static, Result<BTreeMap<AccountId, Life>, StoreError>> {
        self.read(State::lives)
    }

    fn listing(&self) -> &dyn Listing {
        self
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}
