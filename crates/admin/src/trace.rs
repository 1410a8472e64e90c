//! A message's life as it is shown: every step with its time, in order, and the rows that the steps are from.

use moorline_core::{AccountId, ConversationId, HoldReason, InboxId, Timestamp, TurnId};
use moorline_runtime::{InboxState, OutboxRow, OutboxState, Receipt, Trace, TurnEntry, TurnState};
use schemars::JsonSchema;
use serde::Serialize;

use crate::session_id;
use crate::views::{self, Ours, Received};

/// A message's whole life.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Life {
    /// In the order of time.
    steps: Vec<Step>,
    received: Vec<Delivered>,
    turns: Vec<Turn>,
    sent: Vec<Ours>,
}

/// One thing that happened.
#[derive(Debug, Serialize, JsonSchema)]
struct Step {
    at: Timestamp,
    /// Whose: `in:7`, `turn:3`, `out:9`.
    of: String,
    what: &'static str,
    detail: Option<String>,
}

/// A received message with its repeated deliveries, and how it was judged when it had been held.
#[derive(Debug, Serialize, JsonSchema)]
struct Delivered {
    #[serde(flatten)]
    message: Received,
    duplicates: u64,
    repeated_at: Option<Timestamp>,
    held_for: Option<HoldReason>,
    judged_at: Option<Timestamp>,
}

/// One turn.
#[derive(Debug, Serialize, JsonSchema)]
struct Turn {
    id: TurnId,
    account: AccountId,
    conversation: ConversationId,
    session: String,
    state: TurnState,
    attempt: u32,
    /// The messages it answers.
    inputs: Vec<InboxId>,
    started_at: Timestamp,
    interrupted_at: Option<Timestamp>,
    resumed_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

pub(crate) fn view(trace: &Trace) -> Life {
    let mut steps = Vec::new();
    trace.received.iter().for_each(|message| received(message, &mut steps));
    trace.turns.iter().for_each(|entry| turn(entry, &mut steps));
    trace.ours.iter().for_each(|row| ours(row, &mut steps));
    // Stable: what happened in the same millisecond stays in the order of a life.
    steps.sort_by_key(|step| step.at);
    Life {
        steps,
        received: trace.received.iter().map(delivered).collect(),
        turns: trace.turns.iter().map(turn_view).collect(),
        sent: trace.ours.iter().map(views::ours).collect(),
    }
}

fn received(message: &Receipt, steps: &mut Vec<Step>) {
    let row = &message.entry.row;
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("in:{}", row.id), what, detail });
    step(row.received_at, "received", Some(row.account.to_string()));
    if let Some(at) = message.repeated_at {
        step(at, "repeated", Some(format!("{} times, the last", message.repeats)));
    }
    match (message.judged, row.state) {
        (Some((reason, at)), state) => {
            step(row.received_at, "held", Some(reason.as_str().to_owned()));
            let verdict = if message.entry.settled_at == Some(at) {
                reason_of(state)
            } else {
                Some("allowed".to_owned())
            };
            step(at, "judged", verdict);
        }
        (None, InboxState::Held(reason)) => step(row.received_at, "held", Some(reason.as_str().to_owned())),
        (None, _) => {}
    }
    match (message.entry.settled_at, row.state) {
        (Some(at), InboxState::Answered) => step(at, "answered", None),
        (Some(at), state @ InboxState::Dropped(_)) => step(at, "dropped", reason_of(state)),
        _ => {}
    }
}

fn reason_of(state: InboxState) -> Option<String> {
    match state {
        InboxState::Dropped(reason) => Some(reason.as_str().to_owned()),
        _ => None,
    }
}

fn turn(turn: &TurnEntry, steps: &mut Vec<Step>) {
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("turn:{}", turn.id), what, detail });
    step(turn.started_at, "started", None);
    if let Some(at) = turn.interrupted_at {
        step(at, "interrupted", None);
    }
    if let Some(at) = turn.resumed_at {
        step(at, "resumed", None);
    }
    if let Some(at) = turn.ended_at {
        let attempts =
            if turn.attempt == 1 { "1 attempt".to_owned() } else { format!("{} attempts", turn.attempt) };
        step(at, views::turn_state(turn.state), Some(attempts));
    }
}

fn ours(row: &OutboxRow, steps: &mut Vec<Step>) {
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("out:{}", row.id), what, detail });
    step(row.created_at, "queued", Some(row.account.to_string()));
    if let Some(at) = row.first_attempt_at {
        step(at, "first attempt", None);
    }
    if let Some(at) = row.held_at {
        // Of one that was sent since, the error is old news.
        step(at, "held", row.last_error.clone().filter(|_| row.state == OutboxState::Held));
    }
    if let Some(at) = row.released_at {
        step(at, "released", Some("its user wrote".to_owned()));
    }
    if let Some(at) = row.ended_at {
        // One that was retried since had been dead.
        let what = if row.state == OutboxState::Discarded { "discarded" } else { "dead" };
        step(at, what, row.last_error.clone());
    }
    if let Some(at) = row.retried_at {
        step(at, "retried", None);
    }
    if let Some(at) = row.sent_at {
        step(at, "sent", row.message_id.as_ref().map(ToString::to_string));
    }
}

fn delivered(message: &Receipt) -> Delivered {
    Delivered {
        message: views::received(&message.entry),
        duplicates: message.repeats,
        repeated_at: message.repeated_at,
        held_for: message.judged.map(|(reason, _)| reason),
        judged_at: message.judged.map(|(_, at)| at),
    }
}

fn turn_view(turn: &TurnEntry) -> Turn {
    Turn {
        id: turn.id,
        account: turn.account.clone(),
        conversation: turn.conversation.clone(),
        session: session_id::encode(&turn.account, &turn.conversation),
        state: turn.state,
        attempt: turn.attempt,
        inputs: turn.inputs.clone(),
        started_at: turn.started_at,
        interrupted_at: turn.interrupted_at,
        resumed_at: turn.resumed_at,
        ended_at: turn.ended_at,
    }
}
