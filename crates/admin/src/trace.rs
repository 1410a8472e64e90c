//! A message's life as it is shown: every step with its time, in order, and the rows that the steps are from.

use moorline_core::Timestamp;
use moorline_runtime::{InboxState, OutboxRow, OutboxState, Receipt, Trace, TurnEntry};
use serde_json::{Value, json};

use crate::session_id;
use crate::views;

/// One thing that happened.
struct Step {
    at: Timestamp,
    /// Whose: `in:7`, `turn:3`, `out:9`.
    of: String,
    what: &'static str,
    detail: Value,
}

pub(crate) fn view(trace: &Trace) -> Value {
    let mut steps = Vec::new();
    trace.received.iter().for_each(|message| received(message, &mut steps));
    trace.turns.iter().for_each(|entry| turn(entry, &mut steps));
    trace.ours.iter().for_each(|row| ours(row, &mut steps));
    // Stable: what happened in the same millisecond stays in the order of a life.
    steps.sort_by_key(|step| step.at);
    let steps: Vec<Value> = steps
        .into_iter()
        .map(|step| json!({ "at": step.at, "of": step.of, "what": step.what, "detail": step.detail }))
        .collect();
    json!({
        "steps": steps,
        "received": trace.received.iter().map(received_view).collect::<Vec<_>>(),
        "turns": trace.turns.iter().map(turn_view).collect::<Vec<_>>(),
        "sent": trace.ours.iter().map(views::ours).collect::<Vec<_>>(),
    })
}

fn received(message: &Receipt, steps: &mut Vec<Step>) {
    let row = &message.entry.row;
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("in:{}", row.id), what, detail });
    step(row.received_at, "received", json!(row.account));
    if let Some(at) = message.repeated_at {
        step(at, "repeated", json!(format!("{} times, the last", message.repeats)));
    }
    match (message.judged, row.state) {
        (Some((reason, at)), state) => {
            step(row.received_at, "held", json!(reason.as_str()));
            let verdict =
                if message.entry.settled_at == Some(at) { reason_of(state) } else { json!("allowed") };
            step(at, "judged", verdict);
        }
        (None, InboxState::Held(reason)) => step(row.received_at, "held", json!(reason.as_str())),
        (None, _) => {}
    }
    match (message.entry.settled_at, row.state) {
        (Some(at), InboxState::Answered) => step(at, "answered", Value::Null),
        (Some(at), state @ InboxState::Dropped(_)) => step(at, "dropped", reason_of(state)),
        _ => {}
    }
}

fn reason_of(state: InboxState) -> Value {
    match state {
        InboxState::Dropped(reason) => json!(reason.as_str()),
        _ => Value::Null,
    }
}

fn turn(turn: &TurnEntry, steps: &mut Vec<Step>) {
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("turn:{}", turn.id), what, detail });
    step(turn.started_at, "started", Value::Null);
    if let Some(at) = turn.interrupted_at {
        step(at, "interrupted", Value::Null);
    }
    if let Some(at) = turn.resumed_at {
        step(at, "resumed", Value::Null);
    }
    if let Some(at) = turn.ended_at {
        let attempts =
            if turn.attempt == 1 { "1 attempt".to_owned() } else { format!("{} attempts", turn.attempt) };
        step(at, views::turn_state(turn.state), json!(attempts));
    }
}

fn ours(row: &OutboxRow, steps: &mut Vec<Step>) {
    let mut step = |at, what, detail| steps.push(Step { at, of: format!("out:{}", row.id), what, detail });
    step(row.created_at, "queued", json!(row.account));
    if let Some(at) = row.first_attempt_at {
        step(at, "first attempt", Value::Null);
    }
    if let Some(at) = row.ended_at {
        // One that was retried since had been dead.
        let what = if row.state == OutboxState::Discarded { "discarded" } else { "dead" };
        step(at, what, json!(row.last_error));
    }
    if let Some(at) = row.retried_at {
        step(at, "retried", Value::Null);
    }
    if let Some(at) = row.sent_at {
        step(at, "sent", json!(row.message_id));
    }
}

fn received_view(message: &Receipt) -> Value {
    let mut view = views::received(&message.entry);
    view["duplicates"] = json!(message.repeats);
    view["repeated_at"] = json!(message.repeated_at);
    view["held_for"] = json!(message.judged.map(|(reason, _)| reason.as_str()));
    view["judged_at"] = json!(message.judged.map(|(_, at)| at));
    view
}

fn turn_view(turn: &TurnEntry) -> Value {
    json!({
        "id": turn.id,
        "account": turn.account,
        "conversation": turn.conversation,
        "session": session_id::encode(&turn.account, &turn.conversation),
        "state": views::turn_state(turn.state),
        "attempt": turn.attempt,
        "inputs": turn.inputs,
        "started_at": turn.started_at,
        "interrupted_at": turn.interrupted_at,
        "resumed_at": turn.resumed_at,
        "ended_at": turn.ended_at,
    })
}
