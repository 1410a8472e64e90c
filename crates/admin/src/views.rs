//! Rows as they are shown. The bytes of a delivery are never among it, only how many they were.

use moorline_core::{
    AccountId, Chat, ConversationId, DropReason, EventId, HoldReason, IdempotencyKey, InboxId, MessageId,
    OutboxId, Route, Timestamp, TurnId,
};
use moorline_runtime::{
    InboxEntry, InboxKind, InboxState, OutboxRow, OutboxState, Role, SessionRow, SessionState, TurnState,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::session_id;

/// A conversation: what was received in it, what waits, what is running.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Session {
    /// `account~conversation`, with whatever a path would have to encode encoded.
    id: String,
    account: AccountId,
    conversation: ConversationId,
    state: SessionState,
    /// When its last message was received.
    active_at: Timestamp,
    received: u64,
    answered: u64,
    pending: u64,
    held: u64,
    dropped: u64,
    /// Entries of its transcript.
    entries: u64,
    /// The turn that is not over.
    turn: Option<SessionTurn>,
}

/// The turn of a conversation that is not over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionTurn {
    id: TurnId,
    state: TurnState,
    attempt: u32,
    since: Timestamp,
}

/// A conversation with the end of its transcript.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionInFull {
    #[serde(flatten)]
    pub(crate) session: Session,
    /// Oldest first.
    pub(crate) transcript: Vec<Entry>,
}

/// One entry of a transcript.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Entry {
    role: Role,
    text: String,
    at: Timestamp,
}

/// A message that was received, and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Received {
    id: InboxId,
    account: AccountId,
    conversation: ConversationId,
    session: String,
    state: InboxKind,
    /// Why it is held or was dropped.
    reason: Option<Reason>,
    text: String,
    chat: Chat,
    /// The platform's id of the delivery.
    event_id: EventId,
    /// The platform's id of the message.
    message_id: Option<MessageId>,
    /// When it was written, as the platform says.
    written_at: Option<Timestamp>,
    received_at: Timestamp,
    /// When it was answered or dropped.
    settled_at: Option<Timestamp>,
    /// How long the delivery was.
    raw_bytes: u64,
}

/// Why a message was not given to the agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Reason {
    /// It waits until it can be judged.
    Held(HoldReason),
    /// It will not be answered.
    Dropped(DropReason),
}

/// A message that was received, with what the access policy was told of it, and where the answer goes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReceivedInFull {
    #[serde(flatten)]
    received: Received,
    /// Null for what could not be parsed, which was judged by nothing.
    facts: Value,
    route: Route,
}

/// A message of ours, and how far it got.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Ours {
    id: OutboxId,
    account: AccountId,
    conversation: ConversationId,
    session: String,
    state: OutboxState,
    text: String,
    route: Route,
    /// The turn that produced it; null for one that an operator sent.
    turn: Option<TurnId>,
    /// The key that every attempt carries.
    idempotency_key: IdempotencyKey,
    attempts: u32,
    /// It was sent again after the platform had forgotten its key, so a user may see it twice.
    possibly_repeated: bool,
    /// The platform took it although no user had written to us there, and may have shown it to nobody.
    delivery_doubted: bool,
    last_error: Option<String>,
    /// The platform's id of it.
    message_id: Option<MessageId>,
    created_at: Timestamp,
    first_attempt_at: Option<Timestamp>,
    /// It waits until then; null while it is held, and once it is settled.
    not_before: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    retried_at: Option<Timestamp>,
    /// When it was last held, until its user writes.
    held_at: Option<Timestamp>,
    /// When a message of its user last let it go.
    released_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

pub(crate) fn session(session: &SessionRow) -> Session {
    Session {
        id: session_id::encode(&session.account, &session.conversation),
        account: session.account.clone(),
        conversation: session.conversation.clone(),
        state: session.state(),
        active_at: session.active_at,
        received: session.received,
        answered: session.answered,
        pending: session.pending,
        held: session.held,
        dropped: session.dropped,
        entries: session.entries,
        turn: session.turn.map(|turn| SessionTurn {
            id: turn.id,
            state: turn.state,
            attempt: turn.attempt,
            since: turn.since,
        }),
    }
}

pub(crate) fn entry(entry: &moorline_runtime::Entry) -> Entry {
    Entry { role: entry.role, text: entry.text.clone(), at: entry.at }
}

pub(crate) fn received(entry: &InboxEntry) -> Received {
    let row = &entry.row;
    let (state, reason) = match row.state {
        InboxState::Pending => (InboxKind::Pending, None),
        InboxState::Held(reason) => (InboxKind::Held, Some(Reason::Held(reason))),
        InboxState::Answered => (InboxKind::Answered, None),
        InboxState::Dropped(reason) => (InboxKind::Dropped, Some(Reason::Dropped(reason))),
    };
    Received {
        id: row.id,
        account: row.account.clone(),
        conversation: row.conversation.clone(),
        session: session_id::encode(&row.account, &row.conversation),
        state,
        reason,
        text: row.text.clone(),
        chat: row.chat.clone(),
        event_id: row.event_id.clone(),
        message_id: row.message_id.clone(),
        written_at: entry.written_at,
        received_at: row.received_at,
        settled_at: entry.settled_at,
        raw_bytes: entry.raw_bytes,
    }
}

pub(crate) fn received_in_full(entry: &InboxEntry) -> ReceivedInFull {
    let facts = serde_json::from_str(&entry.row.context).unwrap_or_default();
    ReceivedInFull { received: received(entry), facts, route: entry.row.route.clone() }
}

pub(crate) fn ours(row: &OutboxRow) -> Ours {
    Ours {
        id: row.id,
        account: row.account.clone(),
        conversation: row.conversation.clone(),
        session: session_id::encode(&row.account, &row.conversation),
        state: row.state,
        text: row.outbound.text.clone(),
        route: row.outbound.route.clone(),
        turn: row.turn,
        idempotency_key: row.key.clone(),
        attempts: row.attempts,
        possibly_repeated: row.possibly_repeated,
        delivery_doubted: row.delivery_doubted,
        last_error: row.last_error.clone(),
        message_id: row.message_id.clone(),
        created_at: row.created_at,
        first_attempt_at: row.first_attempt_at,
        not_before: has_time(row.state).then_some(row.not_before),
        sent_at: row.sent_at,
        retried_at: row.retried_at,
        held_at: row.held_at,
        released_at: row.released_at,
        ended_at: row.ended_at,
    }
}

/// Whether it is known when it is tried.
const fn has_time(state: OutboxState) -> bool {
    matches!(state, OutboxState::Ready | OutboxState::Sending | OutboxState::Unknown)
}

/// The states of a message of ours in the order of its life.
pub(crate) const OUTBOX_STATES: [OutboxState; 7] = [
    OutboxState::Ready,
    OutboxState::Sending,
    OutboxState::Unknown,
    OutboxState::Held,
    OutboxState::Sent,
    OutboxState::Dead,
    OutboxState::Discarded,
];

pub(crate) const fn outbox_state(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Ready => "ready",
        OutboxState::Sending => "sending",
        OutboxState::Unknown => "unknown",
        OutboxState::Held => "held",
        OutboxState::Sent => "sent",
        OutboxState::Dead => "dead",
        OutboxState::Discarded => "discarded",
    }
}

pub(crate) const fn turn_state(state: TurnState) -> &'static str {
    match state {
        TurnState::Running => SessionState::Running.as_str(),
        TurnState::Interrupted => SessionState::Interrupted.as_str(),
        TurnState::Done => "done",
        TurnState::Parked => "parked",
        TurnState::Reset => "reset",
    }
}
