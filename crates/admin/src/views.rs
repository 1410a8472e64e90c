//! Rows as they are shown. The bytes of a delivery are never among it, only how many they were.

use moorline_core::TurnId;
use moorline_runtime::{
    Entry, InboxEntry, InboxKind, InboxState, OutboxRow, OutboxState, Role, SessionRow, SessionState,
    TurnState,
};
use serde_json::{Value, json};

use crate::session_id;

pub(crate) fn session(session: &SessionRow) -> Value {
    json!({
        "id": session_id::encode(&session.account, &session.conversation),
        "account": session.account,
        "conversation": session.conversation,
        "state": session.state().as_str(),
        "active_at": session.active_at,
        "received": session.received,
        "answered": session.answered,
        "pending": session.pending,
        "held": session.held,
        "dropped": session.dropped,
        "entries": session.entries,
        "turn": session.turn.map(|turn| json!({
            "id": turn.id,
            "state": turn_state(turn.state),
            "attempt": turn.attempt,
            "since": turn.since,
        })),
    })
}

pub(crate) fn entry(entry: &Entry) -> Value {
    let role = match entry.role {
        Role::User => "user",
        Role::Agent => "agent",
        Role::System => "system",
    };
    json!({ "role": role, "text": entry.text, "at": entry.at })
}

pub(crate) fn received(entry: &InboxEntry) -> Value {
    let row = &entry.row;
    let (state, reason) = match row.state {
        InboxState::Pending => (InboxKind::Pending, None),
        InboxState::Held(reason) => (InboxKind::Held, Some(reason.as_str())),
        InboxState::Answered => (InboxKind::Answered, None),
        InboxState::Dropped(reason) => (InboxKind::Dropped, Some(reason.as_str())),
    };
    json!({
        "id": row.id,
        "account": row.account,
        "conversation": row.conversation,
        "session": session_id::encode(&row.account, &row.conversation),
        "state": state.as_str(),
        "reason": reason,
        "text": row.text,
        "chat": row.chat,
        "event_id": row.event_id,
        "message_id": row.message_id,
        "written_at": entry.written_at,
        "received_at": row.received_at,
        "settled_at": entry.settled_at,
        "raw_bytes": entry.raw_bytes,
    })
}

/// With what the access policy was told, and where the answer goes.
pub(crate) fn received_in_full(entry: &InboxEntry) -> Value {
    let mut view = received(entry);
    // What could not be parsed was judged by nothing.
    view["facts"] = serde_json::from_str(&entry.row.context).unwrap_or_default();
    view["route"] = json!(entry.row.route);
    view
}

pub(crate) fn ours(row: &OutboxRow) -> Value {
    json!({
        "id": row.id,
        "account": row.account,
        "conversation": row.conversation,
        "session": session_id::encode(&row.account, &row.conversation),
        "state": row.state,
        "text": row.outbound.text,
        "route": row.outbound.route,
        "turn": row.turn.map(TurnId::get),
        "idempotency_key": row.key,
        "attempts": row.attempts,
        "possibly_repeated": row.possibly_repeated,
        "last_error": row.last_error,
        "message_id": row.message_id,
        "created_at": row.created_at,
        "first_attempt_at": row.first_attempt_at,
        // A settled one waits for nothing.
        "not_before": is_open(row.state).then_some(row.not_before),
        "sent_at": row.sent_at,
        "retried_at": row.retried_at,
        "ended_at": row.ended_at,
    })
}

const fn is_open(state: OutboxState) -> bool {
    matches!(state, OutboxState::Ready | OutboxState::Sending | OutboxState::Unknown)
}

/// The states of a message of ours in the order of its life.
pub(crate) const OUTBOX_STATES: [OutboxState; 6] = [
    OutboxState::Ready,
    OutboxState::Sending,
    OutboxState::Unknown,
    OutboxState::Sent,
    OutboxState::Dead,
    OutboxState::Discarded,
];

pub(crate) const fn outbox_state(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Ready => "ready",
        OutboxState::Sending => "sending",
        OutboxState::Unknown => "unknown",
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
