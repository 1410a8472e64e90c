//! Answers to requests that may be sent again.

use moorline_core::Timestamp;
use rusqlite::{Connection, params};

use super::{Prepared, Step, rows, sql};
use crate::tx::{Outcome, RequestAnswer};

pub(super) fn remember(conn: &Connection, key: &str, at: Timestamp, answer: &RequestAnswer) -> Step {
    let RequestAnswer { request, status, body } = answer;
    let values = params![key, request, status, body, at.as_millis()];
    let inserted = conn.run(sql::ANSWER_REMEMBER, values)?;
    Ok(if inserted == 1 { Outcome::Applied(0) } else { Outcome::Duplicate(0) })
}

pub(super) fn forget(conn: &Connection, before: Timestamp, limit: u32) -> Step {
    let forgotten = conn.run(sql::ANSWERS_FORGET, params![before.as_millis(), limit])?;
    Ok(Outcome::Applied(rows(forgotten)))
}
