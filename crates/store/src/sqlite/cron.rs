//! Jobs and runs as they are read. What a run came to is looked up in the rows it names.

use moorline_core::{ChatId, IdempotencyKey, InboxId, JobId, OutboxId, RunId};
use rusqlite::{Connection, Params, Result, Row, params};

use super::apply::Prepared;
use super::list::inbox_by_id;
use super::read::{account_id, maybe_time, named, outbox_state, time};
use super::statements as sql;
use crate::cron::{
    Delivery, Found, JobKind, JobRow, MissedPolicy, NewJob, RunKind, RunResult, RunRow, TurnResult, judge,
};
use crate::listing::{Listed, Page};
use crate::rows::OutboxState;

pub(super) fn jobs(conn: &Connection) -> Result<Vec<JobRow>> {
    conn.all(sql::JOBS, [], job_row)
}

pub(super) fn job(conn: &Connection, id: JobId) -> Result<Option<JobRow>> {
    conn.find(sql::JOB, [id.get()], job_row)
}

pub(super) fn run(conn: &Connection, id: RunId) -> Result<Option<RunRow>> {
    let stored = conn.find(sql::RUN, [id.get()], stored)?;
    stored.map(|stored| run_row(conn, stored)).transpose()
}

pub(super) fn runs(conn: &Connection, job: Option<JobId>, page: Page) -> Result<Listed<RunRow>> {
    // One more than is wanted tells whether there is a next page.
    let count = i64::try_from(page.rows() + 1).unwrap_or(i64::MAX);
    let found = match job {
        Some(job) => conn.all(sql::RUNS, params![job.get(), page.below(), count], stored)?,
        None => conn.all(sql::RUNS_OF_ALL, params![page.below(), count], stored)?,
    };
    let listed = page.of(found, None, |stored| stored.run.id.get());
    let rows = listed.rows.into_iter().map(|stored| run_row(conn, stored)).collect::<Result<_>>()?;
    Ok(Listed { rows, next: listed.next })
}

fn job_row(row: &Row<'_>) -> Result<JobRow> {
    let job = NewJob {
        key: row.get::<_, Option<String>>(1)?.map(IdempotencyKey::new),
        name: row.get(2)?,
        account: account_id(row, 3)?,
        chat: ChatId::new(row.get::<_, String>(4)?),
        schedule: row.get(5)?,
        zone: row.get(6)?,
        kind: named(row, 7, JobKind::from_name)?,
        body: row.get(8)?,
        missed: named(row, 9, MissedPolicy::from_name)?,
        max_delay_ms: row.get::<_, i64>(10).map(|span| u64::try_from(span).unwrap_or(0))?,
        next_due: maybe_time(row, 14)?,
    };
    Ok(JobRow {
        id: JobId::new(row.get(0)?),
        job,
        enabled: row.get(11)?,
        reason: row.get(12)?,
        created_at: time(row, 13)?,
        enabled_at: time(row, 15)?,
    })
}

/// A run before it is known what came of it.
struct Stored {
    run: RunRow,
    kind: RunKind,
    first: Option<i64>,
    parts: i64,
}

fn stored(row: &Row<'_>) -> Result<Stored> {
    let kind = named(row, 7, RunKind::from_name)?;
    let run = RunRow {
        id: RunId::new(row.get(0)?),
        job: JobId::new(row.get(1)?),
        due: time(row, 2)?,
        until: time(row, 3)?,
        count: row.get::<_, i64>(4).map(|count| u64::try_from(count).unwrap_or(0))?,
        by_operator: row.get::<_, Option<String>>(5)?.is_some(),
        at: time(row, 6)?,
        result: RunResult::Forgotten,
        delivery: Delivery::Forgotten,
        reason: row.get(8)?,
        inbox: row.get::<_, Option<i64>>(11)?.map(InboxId::new),
        outbox: None,
    };
    Ok(Stored { run, kind, first: row.get(9)?, parts: row.get(10)? })
}

fn run_row(conn: &Connection, Stored { run, kind, first, parts }: Stored) -> Result<RunRow> {
    let mut found = Found::default();
    match (kind, first, run.inbox) {
        (RunKind::Text, Some(first), _) => found.ours = ours(conn, sql::RUN_PARTS, [first, parts])?,
        (RunKind::Prompt, _, Some(inbox)) => {
            found.prompt = inbox_by_id(conn, inbox)?.map(|entry| entry.row.state);
            let turn: Option<i64> = conn.find(sql::RUN_TURN, [inbox.get()], |row| row.get(0))?;
            if let Some(turn) = turn {
                found.turn = conn
                    .find(sql::RUN_TURN_RESULT, [turn], |row| row.get::<_, Option<String>>(0))?
                    .flatten()
                    .and_then(|name| TurnResult::from_name(&name));
                found.ours = ours(conn, sql::RUN_REPLIES, [turn])?;
            }
        }
        _ => {}
    }
    let (result, delivery, reason) = judge(kind, run.reason.clone(), &found);
    let outbox = found.ours.first().map(|(id, ..)| *id);
    Ok(RunRow { result, delivery, reason, outbox, ..run })
}

fn ours(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
) -> Result<Vec<(OutboxId, OutboxState, Option<String>)>> {
    conn.all(sql, params, |row| Ok((OutboxId::new(row.get(0)?), named(row, 1, outbox_state)?, row.get(2)?)))
}
