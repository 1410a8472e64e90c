//! What can be read back.

use std::collections::BTreeMap;

use moorline_core::{
    AccountId, Chat, ConversationId, DropReason, EventId, HoldReason, IdempotencyKey, Identity, InboxId,
    MessageId, Outbound, OutboxId, Route, Secret, Timestamp, TurnId,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::tx::Claim;

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// Its number; the order of receipt.
    pub id: InboxId,
    /// The account that received it.
    pub account: AccountId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// The delivery's id.
    pub event_id: EventId,
    /// The message's own id.
    pub message_id: Option<MessageId>,
    /// Where it was written.
    pub chat: Chat,
    /// Where its answer goes.
    pub route: Route,
    /// What the agent reads.
    pub text: String,
    /// What the receiver kept to judge it later.
    pub context: String,
    /// When it was stored.
    pub received_at: Timestamp,
    /// What became of it so far.
    pub state: InboxState,
}

/// What became of a received message. Every message is in exactly one of these (design §2: outcomes are conserved).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxState {
    /// Waits for its turn, or its turn is not over.
    Pending,
    /// Waits until it can be judged.
    Held(HoldReason),
    /// Its turn is done.
    Answered,
    /// Will not be answered.
    Dropped(DropReason),
}

/// What a conversation has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Take up the turn that was interrupted.
    Resume(TurnRow),
    /// Answer this message.
    Answer(InboxRow),
}

/// A conversation that has something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its account.
    pub account: AccountId,
    /// Its name within the account.
    pub conversation: ConversationId,
    /// Its oldest message that waits: its place among the others.
    pub since: InboxId,
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRow {
    /// Its number.
    pub id: TurnId,
    /// The account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The messages it answers, in order of receipt.
    pub inputs: Vec<InboxRow>,
    /// How many times it was started, from 1.
    pub attempt: u32,
    /// Who ran it last.
    pub claim: Claim,
    /// Where it stands.
    pub state: TurnState,
    /// When it was first started.
    pub started_at: Timestamp,
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
    /// Its claim is current.
    Running,
    /// Its claim is over and nobody has taken it up.
    Interrupted,
    /// Its replies are in the outbox.
    Done,
    /// Given up.
    Parked,
    /// Given up when an operator reset the conversation.
    Reset,
}

/// One entry of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose words.
    pub role: Role,
    /// The words.
    pub text: String,
    /// When they were added.
    pub at: Timestamp,
}

/// Whose words an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user's.
    User,
    /// The agent's.
    Agent,
    /// Ours, to the agent.
    System,
}

/// A message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number; within a conversation the order of sending.
    pub id: OutboxId,
    /// The account that sends it.
    pub account: AccountId,
    /// The conversation in whose order it is sent.
    pub conversation: ConversationId,
    /// The turn that produced it, if one did.
    pub turn: Option<TurnId>,
    /// The message.
    pub outbound: Outbound,
    /// The key every attempt carries.
    pub key: IdempotencyKey,
    /// Where it stands.
    pub state: OutboxState,
    /// How often it was claimed.
    pub attempts: u32,
    /// A user may see it twice: it was sent again after the platform had forgotten its key.
    pub possibly_repeated: bool,
    /// When it was first claimed: the start of the platform's idempotency window.
    pub first_attempt_at: Option<Timestamp>,
    /// The earliest time of the next attempt.
    pub not_before: Timestamp,
    /// What failed last.
    pub last_error: Option<String>,
    /// The id the platform gave it.
    pub message_id: Option<MessageId>,
    /// When it was put here.
    pub created_at: Timestamp,
    /// When the platform confirmed it.
    pub sent_at: Option<Timestamp>,
    /// An earlier attempt may have succeeded: it was claimed again as `unknown`.
    pub doubted: bool,
    /// When it was last given up: became dead or was discarded.
    pub ended_at: Option<Timestamp>,
    /// When an operator last asked for it to be sent at once.
    pub retried_at: Option<Timestamp>,
    /// When it was last held.
    pub held_at: Option<Timestamp>,
    /// When a message of its user last let it go.
    pub released_at: Option<Timestamp>,
    /// Of the attempts that may have been repetitions, those of which nobody knows whether they took effect; since an
    /// operator last asked for it.
    pub repeats: u32,
    /// The platform took it, and may have shown it to nobody (F-059).
    pub delivery_doubted: bool,
}

/// Where a message of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// Waits to be sent.
    Ready,
    /// Claimed; a call may be under way.
    Sending,
    /// Confirmed by the platform.
    Sent,
    /// Claimed once, and nobody can tell whether it went out.
    Unknown,
    /// Waits for its user: the platform takes nothing more for this chat until that writes again (F-060).
    Held,
    /// Will not be sent, unless an operator asks for it; the last error says why.
    Dead,
    /// Given up by an operator.
    Discarded,
}

/// What a chat's user last gave us to write with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyWindow {
    /// The newest reply token, if the credentials have one for this chat.
    pub token: Option<ReplyToken>,
    /// The last message that the account has received, in whatever chat: a later one is news to whoever read this.
    pub heard: InboxId,
}

/// A reply token, which is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyToken {
    /// The token.
    pub secret: Secret,
    /// When the message that it came with was stored.
    pub received_at: Timestamp,
}

/// A remembered identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// The identity.
    pub identity: Identity,
    /// When the platform last confirmed it.
    pub verified_at: Timestamp,
}

/// An account's messages by state, since the data directory exists: `received` is always the sum of `answered`,
/// `dropped`, `held` and `pending`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Stored messages.
    pub received: u64,
    /// Messages whose turn is done.
    pub answered: u64,
    /// Messages that will not be answered, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Messages that wait until they can be judged, by reason.
    pub held: BTreeMap<String, u64>,
    /// Messages that wait for their turn, or whose turn is not over.
    pub pending: u64,
    /// Deliveries of messages that were stored before; not part of `received`.
    pub duplicates: u64,
    /// Messages of ours that are not settled.
    pub outbox: u64,
    /// Those of them that are held until their user writes.
    pub outbox_held: u64,
    /// Messages of ours that the platform will not take.
    pub dead: u64,
    /// Messages of ours that an operator gave up.
    pub discarded: u64,
    /// Times in which messages may have been lost; shown beside the last of them.
    #[serde(skip)]
    pub gaps: u64,
}
