//! Jobs, and the one commit in which a due time is over: its record, what it leads to, and the next due time.

use moorline_core::{JobId, Timestamp};
use rusqlite::{Connection, params};

use super::{Prepared, Scope, Step, Stop, sql};
use crate::cron::{NewJob, NewRun, RunContent, Trigger};
use crate::tx::Outcome;

pub(super) fn add_job(conn: &Connection, at: Timestamp, job: &NewJob) -> Step {
    let key = job.key.as_ref().map(|key| key.as_str());
    if let Some(key) = key
        && let Some(id) = conn.find(sql::JOB_BY_KEY, [key], |row| row.get(0))?
    {
        return Ok(Outcome::Duplicate(id));
    }
    let row = params![
        key,
        job.name,
        job.account.to_string(),
        job.chat.as_str(),
        job.schedule,
        job.zone,
        job.kind.as_str(),
        job.body,
        job.missed.as_str(),
        i64::try_from(job.max_delay_ms).unwrap_or(i64::MAX),
        at.as_millis(),
        job.next_due.map(Timestamp::as_millis)
    ];
    conn.run(sql::JOB_INSERT, row)?;
    Ok(Outcome::Applied(conn.last_insert_rowid()))
}

pub(super) fn remove_job(conn: &Connection, job: JobId) -> Step {
    conn.run(sql::JOB_RUNS_DELETE, [job.get()])?;
    match conn.run(sql::JOB_DELETE, [job.get()])? {
        0 => Err(Stop::Not(Outcome::Conflict)),
        _ => Ok(Outcome::Applied(0)),
    }
}

pub(super) fn switch_job(
    conn: &Connection,
    at: Timestamp,
    job: JobId,
    enabled: bool,
    next_due: Option<Timestamp>,
    reason: Option<&str>,
) -> Step {
    let next_due = next_due.map(Timestamp::as_millis);
    let before: Option<(bool, Option<i64>)> =
        conn.find(sql::JOB_ENABLED, [job.get()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match before {
        None => Err(Stop::Not(Outcome::Conflict)),
        Some(before) if before == (enabled, next_due) => Ok(Outcome::Duplicate(0)),
        Some(_) => {
            let row = params![job.get(), enabled, next_due, reason, at.as_millis()];
            conn.run(sql::JOB_SWITCH, row)?;
            Ok(Outcome::Applied(0))
        }
    }
}

/// `scope` is there when the transaction has a lease.
pub(super) fn record_run(
    conn: &Connection,
    at: Timestamp,
    scope: Option<&mut Scope<'_>>,
    run: &NewRun,
) -> Step {
    let id = run.job.get();
    let job: Option<(String, bool, Option<i64>)> =
        conn.find(sql::JOB_OF_RUN, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (account, enabled, next_due) = job.ok_or(Stop::Not(Outcome::Conflict))?;
    let (key, before) = match &run.trigger {
        Trigger::Operator { key } => {
            let before: Option<i64> =
                conn.find(sql::RUN_BY_KEY, params![id, key.as_str()], |row| row.get(0))?;
            (Some(key.as_str()), before)
        }
        Trigger::Schedule { seen, next_due: next } => {
            if !enabled || next_due != Some(seen.as_millis()) {
                return Err(Stop::Not(Outcome::Conflict));
            }
            conn.run(sql::JOB_ADVANCE, params![id, next.map(Timestamp::as_millis)])?;
            let last: Option<(i64, i64)> =
                conn.find(sql::RUN_AT, [id, run.until.as_millis()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            (None, last.filter(|(_, until)| *until >= run.due.as_millis()).map(|(id, _)| id))
        }
    };
    if let Some(before) = before {
        return Ok(Outcome::Duplicate(before));
    }
    let (outbox, parts, inbox) = put_down(scope, &account, &run.content)?;
    let row = params![
        id,
        run.due.as_millis(),
        run.until.as_millis(),
        i64::try_from(run.count).unwrap_or(i64::MAX),
        key,
        at.as_millis(),
        run.content.kind().as_str(),
        run.content.reason(),
        outbox,
        parts,
        inbox
    ];
    conn.run(sql::RUN_INSERT, row)?;
    Ok(Outcome::Applied(conn.last_insert_rowid()))
}

/// The rows a run leads to: the first in the outbox, how many, and the one in the inbox.
fn put_down(
    scope: Option<&mut Scope<'_>>,
    account: &str,
    content: &RunContent,
) -> Step<(Option<i64>, i64, Option<i64>)> {
    let needs_lease = matches!(content, RunContent::Text(_) | RunContent::Prompt(_));
    let Some(scope) = scope.filter(|_| needs_lease) else {
        return if needs_lease {
            Err(Stop::Refused("a run that does something needs a lease".to_owned()))
        } else {
            Ok((None, 0, None))
        };
    };
    let owner: Option<i64> = scope.conn.find(sql::ACCOUNT, [account], |row| row.get(0))?;
    if owner != Some(scope.lease.account) {
        return Err(Stop::Not(Outcome::Conflict));
    }
    match content {
        RunContent::Text(parts) => {
            let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
            Ok((row_of(scope.enqueue_parts(parts)?), count, None))
        }
        RunContent::Prompt(message) => Ok((None, 0, row_of(scope.receive(message)?))),
        _ => Ok((None, 0, None)),
    }
}

const fn row_of(outcome: Outcome) -> Option<i64> {
    match outcome {
        Outcome::Applied(id) | Outcome::Duplicate(id) => Some(id),
        Outcome::Fenced | Outcome::Conflict => None,
    }
}
