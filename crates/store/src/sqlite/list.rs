//! Pages for an operator. A statement first picks the numbers of a page's rows along one index, which is named so that
//! no plan can drift off it, and only then reads those rows.

use moorline_core::{AccountId, ConversationId, InboxId, Timestamp, TurnId};
use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, params_from_iter};

use super::apply::Prepared;
use super::read::{account_id, inbox_row, named, outbox_row, settled_state, time, turn_state};
use super::statements as sql;
use crate::listing::{
    ActiveTurn, InboxEntry, InboxFilter, InboxKind, Listed, OutboxFilter, Page, ParkedTurn, Scope,
    SessionFilter, SessionRow, SessionState, cut,
};
use crate::rows::{OutboxRow, OutboxState};

/// How many rows of other states are passed over for one page. A page that ends there says where to go on, so that no
/// filter makes a read long, however few rows match it.
pub(super) const LOOKED_AT: u32 = 20_000;

pub(super) fn sessions(conn: &Connection, filter: &SessionFilter, page: Page) -> Result<Listed<SessionRow>> {
    let scope = filter.account.clone().map_or(Scope::All, Scope::Account);
    let rows = all(conn, &sessions_sql(filter), page, &scope, 0, session_row)?;
    Ok(page.of(rows, None, |row| row.latest.get()))
}

pub(super) fn session(
    conn: &Connection,
    account: &AccountId,
    conversation: &ConversationId,
) -> Result<Option<SessionRow>> {
    conn.find(sql::SESSION, [&account.to_string(), conversation.as_str()], session_row)
}

pub(super) fn inbox(conn: &Connection, filter: &InboxFilter, page: Page) -> Result<Listed<InboxEntry>> {
    let passes_over = matches!(filter.state, Some(InboxKind::Answered | InboxKind::Dropped));
    let floor = if passes_over { floor(conn, "inbox", &filter.scope, page)? } else { None };
    let read = |row: &Row<'_>| {
        inbox_entry(row).map(|mut entry| {
            cut(&mut entry.row.text);
            entry
        })
    };
    let rows = all(conn, &inbox_sql(filter), page, &filter.scope, floor.unwrap_or(0), read)?;
    Ok(page.of(rows, floor, |entry| entry.row.id.get()))
}

pub(super) fn inbox_by_id(conn: &Connection, id: InboxId) -> Result<Option<InboxEntry>> {
    conn.find(sql::INBOX_ROW, [id.get()], inbox_entry)
}

pub(super) fn outbox(conn: &Connection, filter: &OutboxFilter, page: Page) -> Result<Listed<OutboxRow>> {
    let passes_over = filter.state == Some(OutboxState::Sent);
    let floor = if passes_over { floor(conn, "outbox", &filter.scope, page)? } else { None };
    let read = |row: &Row<'_>| {
        outbox_row(row).map(|mut row| {
            cut(&mut row.outbound.text);
            row
        })
    };
    let rows = all(conn, &outbox_sql(filter), page, &filter.scope, floor.unwrap_or(0), read)?;
    Ok(page.of(rows, floor, |row| row.id.get()))
}

pub(super) fn parked(conn: &Connection, limit: u32) -> Result<Vec<ParkedTurn>> {
    conn.all(sql::TURNS_PARKED, [limit], |row| {
        Ok(ParkedTurn {
            account: account_id(row, 0)?,
            conversation: ConversationId::new(row.get::<_, String>(1)?),
            turn: TurnId::new(row.get(2)?),
            at: time(row, 3)?,
        })
    })
}

/// The number of the last row that one page looks at, unless it may look at all there are.
fn floor(conn: &Connection, table: &'static str, scope: &Scope, page: Page) -> Result<Option<i64>> {
    let found = all(conn, &floor_sql(table, scope), page, scope, i64::from(LOOKED_AT) - 1, |row| row.get(0))?;
    Ok(found.into_iter().next())
}

/// Runs a statement of this module. Its parameters: 1 the number its rows are below, 2 how many of them, 3 the account,
/// 4 the conversation, 5 the number they are not below (where a floor is looked for: how many rows come before it).
fn all<T>(
    conn: &Connection,
    statement: &str,
    page: Page,
    scope: &Scope,
    fifth: i64,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let (account, conversation) = match scope {
        Scope::All => (None, None),
        Scope::Account(account) => (Some(account.to_string()), None),
        Scope::Conversation(account, conversation) => {
            (Some(account.to_string()), Some(conversation.as_str().to_owned()))
        }
    };
    // One more than is wanted tells whether there is a next page.
    let count = i64::try_from(page.rows() + 1).unwrap_or(i64::MAX);
    let values: [Value; 5] =
        [page.below().into(), count.into(), account.into(), conversation.into(), fifth.into()];
    let mut statement = conn.prepare_cached(statement)?;
    let used = statement.parameter_count();
    statement.query_map(params_from_iter(values.iter().take(used)), read)?.collect()
}

// === The statements ===

const OF_ACCOUNT: &str = "account = (SELECT id FROM account WHERE name = ?3)";

/// The table by the index that fits the scope, and the condition that goes with it.
fn from_scope(table: &str, scope: &Scope) -> String {
    match scope {
        Scope::All => format!("FROM {table} NOT INDEXED"),
        Scope::Account(_) => format!("FROM {table} INDEXED BY {table}_account"),
        Scope::Conversation(..) => format!("FROM {table} INDEXED BY {table}_conversation"),
    }
}

fn in_scope(table: &str, scope: &Scope) -> String {
    match scope {
        Scope::All => String::new(),
        Scope::Account(_) => format!("{table}.{OF_ACCOUNT} AND "),
        Scope::Conversation(..) => format!("{table}.{OF_ACCOUNT} AND {table}.conversation = ?4 AND "),
    }
}

fn floor_sql(table: &str, scope: &Scope) -> String {
    let (from, scope) = (from_scope(table, scope), in_scope(table, scope));
    format!(
        "SELECT id {from} WHERE {scope} {table}.id < ?1 ORDER BY {table}.id DESC LIMIT min(1, ?2) OFFSET ?5"
    )
}

fn inbox_sql(filter: &InboxFilter) -> String {
    let from = from_scope("inbox", &filter.scope);
    let scope = in_scope("inbox", &filter.scope);
    let waiting = in_scope("pending", &filter.scope);
    let picked = match filter.state {
        None => format!("SELECT id {from} WHERE {scope} inbox.id < ?1 ORDER BY inbox.id DESC LIMIT ?2"),
        // What waits is a small part of what there is.
        Some(InboxKind::Pending) => format!(
            "SELECT inbox FROM pending WHERE {waiting} held IS NULL AND inbox < ?1 ORDER BY inbox DESC LIMIT ?2"
        ),
        Some(InboxKind::Held) => format!(
            "SELECT inbox FROM pending WHERE {waiting} held IS NOT NULL AND inbox < ?1 ORDER BY inbox DESC LIMIT ?2"
        ),
        Some(InboxKind::Answered) => settled_sql(&from, &scope, "settled.dropped IS NULL"),
        Some(InboxKind::Dropped) => settled_sql(&from, &scope, "settled.dropped IS NOT NULL"),
    };
    format!("{} WHERE inbox.id IN ({picked}) ORDER BY inbox.id DESC", sql::INBOX_ENTRIES)
}

/// In the order of the first table, which a cross join keeps.
fn settled_sql(from: &str, scope: &str, condition: &str) -> String {
    format!(
        "SELECT id {from} CROSS JOIN settled ON settled.inbox = inbox.id
         WHERE {scope} inbox.id < ?1 AND inbox.id >= ?5 AND {condition} ORDER BY inbox.id DESC LIMIT ?2"
    )
}

fn outbox_sql(filter: &OutboxFilter) -> String {
    let scope = in_scope("outbox", &filter.scope);
    let rest = "outbox.id < ?1 ORDER BY outbox.id DESC LIMIT ?2";
    let open = |state| {
        format!(
            "FROM outbox INDEXED BY outbox_unsettled
             WHERE {scope} state IN ('ready', 'sending', 'unknown', 'held') AND state = '{state}' AND {rest}"
        )
    };
    let picked = match filter.state {
        None => format!("{} WHERE {scope} {rest}", from_scope("outbox", &filter.scope)),
        Some(OutboxState::Ready) => open("ready"),
        Some(OutboxState::Sending) => open("sending"),
        Some(OutboxState::Unknown) => open("unknown"),
        Some(OutboxState::Held) => {
            format!("FROM outbox INDEXED BY outbox_held WHERE {scope} state = 'held' AND {rest}")
        }
        Some(OutboxState::Dead) => {
            format!("FROM outbox INDEXED BY outbox_dead WHERE {scope} state = 'dead' AND {rest}")
        }
        Some(OutboxState::Discarded) => {
            format!("FROM outbox INDEXED BY outbox_discarded WHERE {scope} state = 'discarded' AND {rest}")
        }
        Some(OutboxState::Sent) => format!(
            "{} WHERE {scope} state = 'sent' AND outbox.id >= ?5 AND {rest}",
            from_scope("outbox", &filter.scope)
        ),
    };
    format!("{} WHERE outbox.id IN (SELECT id {picked}) ORDER BY outbox.id DESC", sql::OUTBOX_ENTRIES)
}

fn sessions_sql(filter: &SessionFilter) -> String {
    // One account's sessions are found by their key and sorted; all of them are in the order of an index.
    let (from, scope) = match filter.account {
        None => ("FROM session INDEXED BY session_latest", "session.latest < ?1".to_owned()),
        Some(_) => ("FROM session NOT INDEXED", format!("session.{OF_ACCOUNT} AND session.latest < ?1")),
    };
    // The sessions of which something waits: found from the backlog, which is a small part of what there is.
    let open = "FROM session NOT INDEXED";
    let is_open = format!(
        "(session.account, session.conversation) IN (SELECT account, conversation FROM pending) AND {scope}"
    );
    let (from, condition) = match filter.state {
        None => (from, scope),
        Some(SessionState::Idle) => (from, format!("session.pending = 0 AND session.held = 0 AND {scope}")),
        Some(SessionState::Running) => (open, format!("turn.state = 'running' AND {is_open}")),
        Some(SessionState::Interrupted) => (open, format!("turn.state = 'interrupted' AND {is_open}")),
        Some(SessionState::Waiting) => {
            (open, format!("turn.id IS NULL AND session.pending > 0 AND {is_open}"))
        }
        Some(SessionState::Held) => (open, format!("session.pending = 0 AND {is_open}")),
    };
    let (columns, turn) = (sql::SESSION_COLUMNS, sql::SESSION_TURN);
    format!("{columns} {from} {turn} WHERE {condition} ORDER BY session.latest DESC LIMIT ?2")
}

// === The rows ===

fn session_row(row: &Row<'_>) -> Result<SessionRow> {
    let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    let turn = match row.get::<_, Option<i64>>(10)? {
        None => None,
        Some(id) => Some(ActiveTurn {
            id: TurnId::new(id),
            state: named(row, 11, turn_state)?,
            attempt: row.get(12)?,
            since: time(row, 13)?,
        }),
    };
    Ok(SessionRow {
        account: account_id(row, 0)?,
        conversation: ConversationId::new(row.get::<_, String>(1)?),
        latest: InboxId::new(row.get(2)?),
        active_at: time(row, 3)?,
        received: count(4)?,
        answered: count(5)?,
        dropped: count(6)?,
        held: count(7)?,
        pending: count(8)?,
        entries: count(9)?,
        turn,
    })
}

pub(super) fn inbox_entry(row: &Row<'_>) -> Result<InboxEntry> {
    let settled_at = row.get::<_, Option<i64>>(12)?.map(Timestamp::from_millis);
    let mut message = inbox_row(row)?;
    if settled_at.is_some() {
        message.state = settled_state(row, 13)?;
    }
    Ok(InboxEntry {
        row: message,
        written_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
        settled_at,
        raw_bytes: row.get::<_, i64>(15).map(|bytes| u64::try_from(bytes).unwrap_or(0))?,
    })
}

#[cfg(test)]
mod tests;
