//! What an operator looks through: sessions, received messages and messages of ours, newest first, a page at a time.
//!
//! Apart from [`Store`](crate::Store) because no actor needs any of it, and nothing here may cost the actors
//! anything: a page is bounded in rows and in the text of each row, and follows an index however large the database.

use futures_util::future::BoxFuture;
use moorline_core::{AccountId, ConversationId, InboxId, JobId, RunId, Timestamp, TurnId};

use crate::StoreError;
use crate::cron::{JobRow, RunRow};
use crate::gap::Gap;
use crate::names::named;
use crate::rows::{InboxRow, OutboxRow, OutboxState, TurnState};
use crate::trace::{Trace, Traced};

/// Reads for people.
pub trait Listing: Send + Sync {
    /// Sessions, the one that received a message last first.
    fn sessions(
        &self,
        filter: &SessionFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<SessionRow>, StoreError>>;

    /// One session; `None` when the conversation never received a message.
    fn session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> BoxFuture<'static, Result<Option<SessionRow>, StoreError>>;

    /// Received messages, newest first, their texts cut to [`PREVIEW`] characters.
    fn inbox(
        &self,
        filter: &InboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<InboxEntry>, StoreError>>;

    /// One received message with its whole text.
    fn inbox_row(&self, id: InboxId) -> BoxFuture<'static, Result<Option<InboxEntry>, StoreError>>;

    /// Messages of ours, newest first, their texts cut to [`PREVIEW`] characters.
    fn outbox(
        &self,
        filter: &OutboxFilter,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<OutboxRow>, StoreError>>;

    /// Turns that were given up and that nothing has happened after, oldest first, at most `limit`: until the session is
    /// resumed or reset, or another turn of it begins.
    fn parked(&self, limit: u32) -> BoxFuture<'static, Result<Vec<ParkedTurn>, StoreError>>;

    /// The life of a message, with whole texts; empty when nothing is known of it.
    fn trace(&self, traced: &Traced) -> BoxFuture<'static, Result<Trace, StoreError>>;

    /// All jobs of the scheduler, in the order of their numbers. They are few: whoever adds them sees to that.
    fn jobs(&self) -> BoxFuture<'static, Result<Vec<JobRow>, StoreError>>;

    /// One job.
    fn job(&self, id: JobId) -> BoxFuture<'static, Result<Option<JobRow>, StoreError>>;

    /// Runs of one job or of all, newest first.
    fn runs(&self, job: Option<JobId>, page: Page) -> BoxFuture<'static, Result<Listed<RunRow>, StoreError>>;

    /// Times in which messages of one account or of any may have been lost, the one recorded last first.
    fn gaps(
        &self,
        account: Option<&AccountId>,
        page: Page,
    ) -> BoxFuture<'static, Result<Listed<Gap>, StoreError>>;

    /// One run.
    fn run(&self, id: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreError>>;
}

/// The longest page, in rows.
pub const LONGEST_PAGE: u32 = 500;

/// How much of a text a list shows, in characters.
pub const PREVIEW: usize = 200;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Where the last page ended; `None` for the first one.
    pub before: Option<i64>,
    /// Rows on it; taken as between 1 and [`LONGEST_PAGE`].
    pub limit: u32,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its rows, newest first.
    pub rows: Vec<T>,
    /// What [`Page::before`] of the next page has to be; `None` when there is none. A page that was looked for among
    /// many rows that do not match may be short, or empty, and still have a next one.
    pub next: Option<i64>,
}

/// Whose rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    #[default]
    All,
    /// One account's.
    Account(AccountId),
    /// One conversation's; a conversation has a name within its account only.
    Conversation(AccountId, ConversationId),
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// In this state.
    pub state: Option<SessionState>,
}

/// Which received messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// Whose.
    pub scope: Scope,
    /// In this state.
    pub state: Option<InboxKind>,
}

/// Which messages of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFilter {
    /// Whose.
    pub scope: Scope,
    /// In this state.
    pub state: Option<OutboxState>,
}

/// A session: one conversation of one account, from its first message on. What it counts is what it was ever sent, also
/// where the messages are pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message received last: its place in the list.
    pub latest: InboxId,
    /// When a message of it was last received, judged, answered or given up.
    pub active_at: Timestamp,
    /// Messages received: the sum of the next four.
    pub received: u64,
    /// Messages whose turn is done.
    pub answered: u64,
    /// Messages that will not be answered.
    pub dropped: u64,
    /// Messages that wait until they can be judged.
    pub held: u64,
    /// Messages that wait for their turn, or whose turn is not over.
    pub pending: u64,
    /// The length of its transcript, in entries; of what is left of it.
    pub entries: u64,
    /// Its running or interrupted turn.
    pub turn: Option<ActiveTurn>,
}

/// A turn that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveTurn {
    /// The turn.
    pub id: TurnId,
    /// Running or interrupted.
    pub state: TurnState,
    /// How many times it was started, from 1.
    pub attempt: u32,
    /// When it was first started.
    pub since: Timestamp,
}

/// A turn that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedTurn {
    /// Its account.
    pub account: AccountId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// When it was given up.
    pub at: Timestamp,
}

/// A received message and what is known of it beside its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The row.
    pub row: InboxRow,
    /// When the platform says it was written.
    pub written_at: Option<Timestamp>,
    /// When it was answered or dropped.
    pub settled_at: Option<Timestamp>,
    /// How many bytes the delivery had. The bytes themselves are not for showing.
    pub raw_bytes: u64,
}

named! {
    /// What a session is doing: the first of these that is true.
    SessionState {
        /// An agent works on it.
        Running = "running",
        /// Its turn was interrupted and waits for its channel.
        Interrupted = "interrupted",
        /// Messages wait for a turn.
        Waiting = "waiting",
        /// Messages wait until they can be judged.
        Held = "held",
        /// Nothing is to be done.
        Idle = "idle",
    }
}

named! {
    /// The states of a received message without their reasons.
    InboxKind {
        /// Waits for its turn, or its turn is not over.
        Pending = "pending",
        /// Waits until it can be judged.
        Held = "held",
        /// Its turn is done.
        Answered = "answered",
        /// Will not be answered.
        Dropped = "dropped",
    }
}

impl SessionRow {
    /// What it is doing.
    pub fn state(&self) -> SessionState {
        match self.turn {
            Some(turn) if turn.state == TurnState::Running => SessionState::Running,
            Some(_) => SessionState::Interrupted,
            None if self.pending > 0 => SessionState::Waiting,
            None if self.held > 0 => SessionState::Held,
            None => SessionState::Idle,
        }
    }
}

impl Page {
    /// Rows on it.
    pub(crate) fn rows(self) -> usize {
        self.limit.clamp(1, LONGEST_PAGE) as usize
    }

    /// The number its rows are below.
    pub(crate) fn below(self) -> i64 {
        self.before.unwrap_or(i64::MAX)
    }

    /// A page of what was found, which is one row more than the page has when there are more. What was not looked at
    /// is below `floor`.
    pub(crate) fn of<T>(self, mut rows: Vec<T>, floor: Option<i64>, number: impl Fn(&T) -> i64) -> Listed<T> {
        let more = rows.len() > self.rows();
        rows.truncate(self.rows());
        let next = if more { rows.last().map(number) } else { floor };
        Listed { rows, next }
    }
}

/// Cuts a text to what a list shows.
pub(crate) fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(PREVIEW) {
        text.truncate(end);
        text.push('…');
    }
}
