//! Traces: from what is named to its turns and from those to what they answered and made, each step along an index.

use std::collections::BTreeSet;

use moorline_core::{ConversationId, HoldReason, InboxId, OutboxId, TurnId};
use rusqlite::{Connection, Result, Row, params};

use super::apply::Prepared;
use super::list::inbox_by_id;
use super::read::{account_id, maybe_time, named, outbox_by_id, time, turn_state};
use super::statements as sql;
use crate::trace::{LONGEST_TRACE, Receipt, Trace, Traced, TurnEntry};

pub(super) fn trace(conn: &Connection, traced: &Traced) -> Result<Trace> {
    let mut received = BTreeSet::new();
    let mut turns = BTreeSet::new();
    let mut ours = BTreeSet::new();
    match traced {
        Traced::Name(name) => {
            received.extend(conn.all(sql::TRACE_RECEIVED, params![name, LONGEST_TRACE], number)?);
            ours.extend(conn.all(sql::TRACE_OURS, params![name, LONGEST_TRACE], number)?);
        }
        Traced::Inbox(id) => _ = received.insert(id.get()),
        Traced::Turn(id) => _ = turns.insert(id.get()),
        Traced::Outbox(id) => _ = ours.insert(id.get()),
    }
    for id in &received {
        turns.extend(conn.all(sql::TRACE_TURNS, params![id, LONGEST_TRACE], number)?);
    }
    let mut trace = Trace::default();
    for id in &ours {
        trace.ours.extend(outbox_by_id(conn, OutboxId::new(*id))?);
    }
    turns.extend(trace.ours.iter().filter_map(|row| row.turn).map(TurnId::get));
    for id in latest(&turns) {
        trace.turns.extend(turn_by_id(conn, id)?);
    }
    // What is meant is not hidden among what merely shares a turn with it.
    if received.is_empty() {
        received.extend(trace.turns.iter().flat_map(|turn| &turn.inputs).map(|id| id.get()));
    }
    if ours.is_empty() {
        for turn in &trace.turns {
            ours.extend(conn.all(sql::TRACE_REPLIES, params![turn.id.get(), LONGEST_TRACE], number)?);
        }
        for id in latest(&ours) {
            trace.ours.extend(outbox_by_id(conn, OutboxId::new(id))?);
        }
    }
    for id in latest(&received) {
        trace.received.extend(receipt(conn, InboxId::new(id))?);
    }
    Ok(trace)
}

fn number(row: &Row<'_>) -> Result<i64> {
    row.get(0)
}

fn latest(ids: &BTreeSet<i64>) -> impl Iterator<Item = i64> {
    ids.iter().copied().skip(ids.len().saturating_sub(LONGEST_TRACE as usize))
}

fn turn_by_id(conn: &Connection, id: i64) -> Result<Option<TurnEntry>> {
    let turn = conn.find(sql::TRACE_TURN, [id], |row| {
        Ok(TurnEntry {
            id: TurnId::new(row.get(0)?),
            account: account_id(row, 1)?,
            conversation: ConversationId::new(row.get::<_, String>(2)?),
            inputs: Vec::new(),
            state: named(row, 3, turn_state)?,
            attempt: row.get(4)?,
            started_at: time(row, 5)?,
            interrupted_at: maybe_time(row, 6)?,
            resumed_at: maybe_time(row, 7)?,
            ended_at: maybe_time(row, 8)?,
        })
    })?;
    let Some(turn) = turn else { return Ok(None) };
    let inputs = conn.all(sql::TURN_INPUTS, [id], |row| row.get(0).map(InboxId::new))?;
    Ok(Some(TurnEntry { inputs, ..turn }))
}

fn receipt(conn: &Connection, id: InboxId) -> Result<Option<Receipt>> {
    let Some(entry) = inbox_by_id(conn, id)? else { return Ok(None) };
    conn.find(sql::TRACE_BESIDE, [id.get()], |row| {
        let judged = match maybe_time(row, 3)? {
            Some(at) => Some((named(row, 2, HoldReason::from_name)?, at)),
            None => None,
        };
        Ok(Receipt {
            entry,
            repeats: row.get::<_, Option<i64>>(0)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
            repeated_at: maybe_time(row, 1)?,
            judged,
        })
    })
}
