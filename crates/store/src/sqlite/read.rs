//! Reads: each a function of a connection, run inside one read transaction by the caller. A row that cannot be
//! understood is an error of that one request.

use std::collections::BTreeMap;

use moorline_core::{
    AccountId, Chat, ChatId, ChatKind, ConversationId, DropReason, Epoch, EventId, Fingerprint, Generation,
    HoldReason, IdempotencyKey, Identity, InboxId, MessageId, OutboxId, Secret, Timestamp, TurnId, UserId,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Result, Row, params};
use serde::de::DeserializeOwned;

use super::apply::Prepared;
use super::statements as sql;
use crate::rows::{
    Counts, Entry, InboxRow, InboxState, OutboxRow, OutboxState, ReplyToken, ReplyWindow, Role,
    StoredIdentity, TurnRow, TurnState, Waiting, Work,
};
use crate::tx::{Claim, RequestAnswer};

pub(super) fn next_work(
    conn: &Connection,
    account: &AccountId,
    conversation: &ConversationId,
) -> Result<Option<Work>> {
    let key = params![account.to_string(), conversation.as_str()];
    match conn.find(sql::ACTIVE_TURN, key, turn_row)? {
        Some(turn) if turn.state == TurnState::Running => Ok(None),
        Some(turn) => Ok(Some(Work::Resume(with_inputs(conn, turn)?))),
        None => Ok(conn.find(sql::NEXT_PENDING, key, inbox_row)?.map(Work::Answer)),
    }
}

pub(super) fn conversations_with_work(
    conn: &Connection,
    account: Option<&AccountId>,
    after: InboxId,
    limit: u32,
) -> Result<Vec<Waiting>> {
    let read = |row: &Row<'_>| {
        Ok(Waiting {
            account: account_id(row, 0)?,
            conversation: ConversationId::new(row.get::<_, String>(1)?),
            since: InboxId::new(row.get(2)?),
        })
    };
    match account {
        Some(account) => conn.all(sql::WORK_OF_ONE, params![after.get(), limit, account.to_string()], read),
        None => conn.all(sql::WORK_OF_ALL, params![after.get(), limit], read),
    }
}

pub(super) fn interrupted_turns(conn: &Connection, account: &AccountId) -> Result<Vec<TurnRow>> {
    let turns = conn.all(sql::INTERRUPTED_TURNS, [account.to_string()], turn_row)?;
    turns.into_iter().map(|turn| with_inputs(conn, turn)).collect()
}

pub(super) fn held(conn: &Connection, account: &AccountId, limit: u32) -> Result<Vec<InboxRow>> {
    conn.all(sql::HELD, params![account.to_string(), limit], inbox_row)
}

pub(super) fn transcript(
    conn: &Connection,
    account: &AccountId,
    conversation: &ConversationId,
    limit: u32,
) -> Result<Vec<Entry>> {
    conn.all(sql::TRANSCRIPT, params![account.to_string(), conversation.as_str(), limit], |row| {
        Ok(Entry { role: named(row, 0, role)?, text: row.get(1)?, at: time(row, 2)? })
    })
}

pub(super) fn outbox_heads(conn: &Connection, account: &AccountId, limit: u32) -> Result<Vec<OutboxRow>> {
    conn.all(sql::OUTBOX_HEADS, params![account.to_string(), limit], outbox_row)
}

pub(super) fn outbox_by_id(conn: &Connection, id: OutboxId) -> Result<Option<OutboxRow>> {
    conn.find(sql::OUTBOX_ROW, [id.get()], outbox_row)
}

pub(super) fn held_sends(
    conn: &Connection,
    account: &AccountId,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<OutboxRow>> {
    conn.all(sql::HELD_SENDS, params![account.to_string(), before.as_millis(), limit], outbox_row)
}

pub(super) fn reply_window(
    conn: &Connection,
    account: &AccountId,
    chat: &ChatId,
    fingerprint: &Fingerprint,
) -> Result<ReplyWindow> {
    let key = params![account.to_string(), chat.as_str(), fingerprint.as_str()];
    let token = conn.find(sql::REPLY_TOKEN, key, |row| {
        Ok(ReplyToken { secret: Secret::new(row.get::<_, String>(0)?), received_at: time(row, 1)? })
    })?;
    let heard = conn.find(sql::INBOX_LATEST, [account.to_string()], |row| row.get(0).map(InboxId::new))?;
    Ok(ReplyWindow { token, heard: heard.unwrap_or_default() })
}

pub(super) fn identity(
    conn: &Connection,
    account: &AccountId,
    fingerprint: &Fingerprint,
) -> Result<Option<StoredIdentity>> {
    conn.find(sql::IDENTITY, params![account.to_string(), fingerprint.as_str()], |row| {
        let identity = Identity { id: UserId::new(row.get::<_, String>(0)?), name: row.get(1)? };
        Ok(StoredIdentity { identity, verified_at: time(row, 2)? })
    })
}

pub(super) fn cursor(conn: &Connection, account: &AccountId, kind: &str) -> Result<Option<String>> {
    conn.find(sql::CURSOR, params![account.to_string(), kind], |row| row.get(0))
}

pub(super) fn answer(conn: &Connection, key: &str) -> Result<Option<RequestAnswer>> {
    conn.find(sql::ANSWER, [key], |row| {
        Ok(RequestAnswer { request: row.get(0)?, status: row.get(1)?, body: row.get(2)? })
    })
}

pub(super) fn remembered(conn: &Connection, name: &str) -> Result<Option<String>> {
    conn.find(sql::MEMO, [name], |row| row.get(0))
}

/// The counts kept by every transaction.
pub(super) fn counts(conn: &Connection) -> Result<BTreeMap<AccountId, Counts>> {
    tallied(conn, sql::TALLY)
}

/// The same counts from the rows themselves; costs the whole database.
pub(super) fn recount(conn: &Connection) -> Result<BTreeMap<AccountId, Counts>> {
    tallied(conn, sql::RECOUNT)
}

fn tallied(conn: &Connection, sql: &'static str) -> Result<BTreeMap<AccountId, Counts>> {
    let rows = conn.all(sql, [], |row| {
        let counted: (Option<String>, Option<String>, Option<i64>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((account_id(row, 0)?, counted))
    })?;
    let mut accounts = BTreeMap::<AccountId, Counts>::new();
    for (account, counted) in rows {
        let counts = accounts.entry(account).or_default();
        let (Some(kind), Some(reason), Some(count)) = counted else { continue };
        // A reason nobody waits for any more is not shown.
        let (Ok(count), true) = (u64::try_from(count), count != 0) else { continue };
        match kind.as_str() {
            "received" => counts.received = count,
            "answered" => counts.answered = count,
            "dropped" => _ = counts.dropped.insert(reason, count),
            "held" => _ = counts.held.insert(reason, count),
            "pending" => counts.pending = count,
            "duplicates" => counts.duplicates = count,
            "outbox" => counts.outbox = count,
            "outbox_held" => counts.outbox_held = count,
            "dead" => counts.dead = count,
            "discarded" => counts.discarded = count,
            "gaps" => counts.gaps = count,
            _ => {}
        }
    }
    Ok(accounts)
}

fn with_inputs(conn: &Connection, mut turn: TurnRow) -> Result<TurnRow> {
    turn.inputs = conn.all(sql::INPUTS, [turn.id.get()], inbox_row)?;
    Ok(turn)
}

/// A message that is not settled.
pub(super) fn inbox_row(row: &Row<'_>) -> Result<InboxRow> {
    let held: Option<String> = row.get(11)?;
    Ok(InboxRow {
        id: InboxId::new(row.get(0)?),
        account: account_id(row, 1)?,
        conversation: ConversationId::new(row.get::<_, String>(2)?),
        event_id: EventId::new(row.get::<_, String>(3)?),
        message_id: row.get::<_, Option<String>>(4)?.map(MessageId::new),
        chat: Chat { id: ChatId::new(row.get::<_, String>(5)?), kind: named(row, 6, chat_kind)? },
        route: json(row, 7)?,
        text: row.get(8)?,
        context: row.get(9)?,
        received_at: time(row, 10)?,
        state: match held {
            None => InboxState::Pending,
            Some(_) => InboxState::Held(named(row, 11, HoldReason::from_name)?),
        },
    })
}

/// The state of a message that is settled, by the column with the reason why it was dropped.
pub(super) fn settled_state(row: &Row<'_>, column: usize) -> Result<InboxState> {
    match row.get::<_, Option<String>>(column)? {
        None => Ok(InboxState::Answered),
        Some(_) => named(row, column, DropReason::from_name).map(InboxState::Dropped),
    }
}

/// A turn without its inputs.
fn turn_row(row: &Row<'_>) -> Result<TurnRow> {
    Ok(TurnRow {
        id: TurnId::new(row.get(0)?),
        account: account_id(row, 1)?,
        conversation: ConversationId::new(row.get::<_, String>(2)?),
        inputs: Vec::new(),
        attempt: row.get(3)?,
        claim: Claim { epoch: Epoch::new(row.get(4)?), generation: generation(row, 5)? },
        state: named(row, 6, turn_state)?,
        started_at: time(row, 7)?,
    })
}

pub(super) fn outbox_row(row: &Row<'_>) -> Result<OutboxRow> {
    Ok(OutboxRow {
        id: OutboxId::new(row.get(0)?),
        account: account_id(row, 1)?,
        conversation: ConversationId::new(row.get::<_, String>(2)?),
        turn: row.get::<_, Option<i64>>(3)?.map(TurnId::new),
        outbound: json(row, 4)?,
        key: IdempotencyKey::new(row.get::<_, String>(5)?),
        state: named(row, 6, outbox_state)?,
        attempts: row.get(7)?,
        possibly_repeated: row.get(14)?,
        first_attempt_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
        not_before: time(row, 9)?,
        last_error: row.get(10)?,
        message_id: row.get::<_, Option<String>>(11)?.map(MessageId::new),
        created_at: time(row, 12)?,
        sent_at: maybe_time(row, 13)?,
        doubted: row.get(15)?,
        ended_at: maybe_time(row, 16)?,
        retried_at: maybe_time(row, 17)?,
        held_at: maybe_time(row, 18)?,
        released_at: maybe_time(row, 19)?,
        repeats: row.get(20)?,
        delivery_doubted: row.get(21)?,
    })
}

fn role(name: &str) -> Option<Role> {
    match name {
        "user" => Some(Role::User),
        "agent" => Some(Role::Agent),
        "system" => Some(Role::System),
        _ => None,
    }
}

fn chat_kind(name: &str) -> Option<ChatKind> {
    match name {
        "direct" => Some(ChatKind::Direct),
        "group" => Some(ChatKind::Group),
        _ => None,
    }
}

pub(super) fn turn_state(name: &str) -> Option<TurnState> {
    match name {
        "running" => Some(TurnState::Running),
        "interrupted" => Some(TurnState::Interrupted),
        "done" => Some(TurnState::Done),
        "parked" => Some(TurnState::Parked),
        "reset" => Some(TurnState::Reset),
        _ => None,
    }
}

pub(super) fn outbox_state(name: &str) -> Option<OutboxState> {
    match name {
        "ready" => Some(OutboxState::Ready),
        "sending" => Some(OutboxState::Sending),
        "sent" => Some(OutboxState::Sent),
        "unknown" => Some(OutboxState::Unknown),
        "held" => Some(OutboxState::Held),
        "dead" => Some(OutboxState::Dead),
        "discarded" => Some(OutboxState::Discarded),
        _ => None,
    }
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn account_id(row: &Row<'_>, column: usize) -> Result<AccountId> {
    named(row, column, |name| name.parse().ok())
}

fn generation(row: &Row<'_>, column: usize) -> Result<Generation> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map(Generation::new).map_err(|error| strange(column, error.to_string()))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| strange(column, error.to_string()))
}

pub(super) fn named<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    let name: String = row.get(column)?;
    parse(&name).ok_or_else(|| strange(column, format!("`{name}` is not known here")))
}

fn strange(column: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}
