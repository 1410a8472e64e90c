//! The life of one message: what came in, the turns that worked on it, and what went out for it.

use moorline_core::{AccountId, ConversationId, HoldReason, InboxId, OutboxId, Timestamp, TurnId};

use crate::listing::InboxEntry;
use crate::rows::{OutboxRow, TurnState};

/// The most rows of each kind that one trace has, the latest of them.
pub const LONGEST_TRACE: u32 = 100;

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// Whatever the platform calls so: a message received or sent, or a delivery.
    Name(String),
    /// A received message.
    Inbox(InboxId),
    /// A turn.
    Turn(TurnId),
    /// A message of ours.
    Outbox(OutboxId),
}

/// What is known of it; each kind in the order of its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The received messages that are meant, or that led to what is meant.
    pub received: Vec<Receipt>,
    /// The turns that worked on them, or that made what is meant.
    pub turns: Vec<TurnEntry>,
    /// The messages of ours that are meant, or that these turns made.
    pub ours: Vec<OutboxRow>,
}

/// A received message and what happened to it before any turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub entry: InboxEntry,
    /// Deliveries of it after the first.
    pub repeats: u64,
    /// When the last of them came.
    pub repeated_at: Option<Timestamp>,
    /// What it was held for and when it was judged, if it was.
    pub judged: Option<(HoldReason, Timestamp)>,
}

/// A turn and when it was what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnEntry {
    /// Its number.
    pub id: TurnId,
    /// The account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The messages it answers.
    pub inputs: Vec<InboxId>,
    /// Where it stands.
    pub state: TurnState,
    /// How many times it was started, from 1.
    pub attempt: u32,
    /// When it was first started.
    pub started_at: Timestamp,
    /// When it was last found interrupted.
    pub interrupted_at: Option<Timestamp>,
    /// When it was last taken up.
    pub resumed_at: Option<Timestamp>,
    /// When it was done, parked or reset.
    pub ended_at: Option<Timestamp>,
}

impl Trace {
    /// Whether nothing of it is known.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty() && self.turns.is_empty() && self.ours.is_empty()
    }
}
