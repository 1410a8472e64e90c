//! The statements of jobs and runs.

pub(in crate::sqlite) const JOB_BY_KEY: &str = "SELECT id FROM cron_job WHERE key = ?1";
pub(in crate::sqlite) const JOB_INSERT: &str = "
    INSERT INTO cron_job (key, name, account, chat, schedule, zone, kind, body, missed, max_delay, enabled, created_at,
                          enabled_at, next_due)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, ?11, ?11, ?12)";
pub(in crate::sqlite) const JOB_RUNS_DELETE: &str = "DELETE FROM cron_run WHERE job = ?1";
pub(in crate::sqlite) const JOB_DELETE: &str = "DELETE FROM cron_job WHERE id = ?1";
pub(in crate::sqlite) const JOB_ENABLED: &str = "SELECT enabled, next_due FROM cron_job WHERE id = ?1";
pub(in crate::sqlite) const JOB_SWITCH: &str = "
    UPDATE cron_job
    SET enabled_at = iif(?2 AND NOT enabled, ?5, enabled_at), enabled = ?2, next_due = ?3, reason = ?4
    WHERE id = ?1";
pub(in crate::sqlite) const JOB_OF_RUN: &str =
    "SELECT account, enabled, next_due FROM cron_job WHERE id = ?1";
pub(in crate::sqlite) const JOB_ADVANCE: &str = "UPDATE cron_job SET next_due = ?2 WHERE id = ?1";

/// The row that a due time is in: rows of one job never overlap.
pub(in crate::sqlite) const RUN_AT: &str = "
    SELECT id, until FROM cron_run INDEXED BY cron_run_due
    WHERE job = ?1 AND due <= ?2 AND key IS NULL ORDER BY due DESC LIMIT 1";
pub(in crate::sqlite) const RUN_BY_KEY: &str = "SELECT id FROM cron_run WHERE job = ?1 AND key = ?2";
pub(in crate::sqlite) const RUN_INSERT: &str = "
    INSERT INTO cron_run (job, due, until, count, key, at, kind, reason, outbox, parts, inbox)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub(in crate::sqlite) const PRUNE_RUNS: &str = "
    DELETE FROM cron_run WHERE id IN (
        SELECT id FROM cron_run AS old
        WHERE at < ?1 AND id < coalesce((
            SELECT id FROM cron_run AS kept INDEXED BY cron_run_job
            WHERE kept.job = old.job ORDER BY id DESC LIMIT 1 OFFSET ?3), 0)
        ORDER BY at, id LIMIT ?2)";

/// The columns of a job in the order that `cron::job_row` expects.
macro_rules! job_columns {
    () => {
        "SELECT id, key, name, account, chat, schedule, zone, kind, body, missed, max_delay, enabled, reason,
                created_at, next_due, enabled_at
         FROM cron_job "
    };
}

/// The columns of a run in the order that `cron::run_row` expects.
macro_rules! run_columns {
    () => {
        "SELECT id, job, due, until, count, key, at, kind, reason, outbox, parts, inbox FROM cron_run "
    };
}

/// All of them, which are few.
pub(in crate::sqlite) const JOBS: &str = concat!(job_columns!(), "ORDER BY id");
pub(in crate::sqlite) const JOB: &str = concat!(job_columns!(), "WHERE id = ?1");
pub(in crate::sqlite) const RUN: &str = concat!(run_columns!(), "WHERE id = ?1");
pub(in crate::sqlite) const RUNS: &str =
    concat!(run_columns!(), "WHERE job = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
pub(in crate::sqlite) const RUNS_OF_ALL: &str =
    concat!(run_columns!(), "WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
pub(in crate::sqlite) const RUN_PARTS: &str =
    "SELECT id, state, last_error FROM outbox WHERE id >= ?1 AND id < ?1 + ?2 ORDER BY id";
pub(in crate::sqlite) const RUN_TURN: &str =
    "SELECT turn FROM turn_input WHERE inbox = ?1 ORDER BY turn DESC LIMIT 1";
pub(in crate::sqlite) const RUN_TURN_RESULT: &str = "SELECT result FROM turn WHERE id = ?1";
pub(in crate::sqlite) const RUN_REPLIES: &str =
    "SELECT id, state, last_error FROM outbox WHERE turn = ?1 ORDER BY id";

/// All of them but the list of all jobs, for the test that none reads a whole table.
#[cfg(test)]
pub(in crate::sqlite) const CRON: &[&str] = &[
    JOB_BY_KEY,
    JOB_RUNS_DELETE,
    JOB_DELETE,
    JOB_ENABLED,
    JOB_SWITCH,
    JOB_OF_RUN,
    JOB_ADVANCE,
    RUN_AT,
    RUN_BY_KEY,
    PRUNE_RUNS,
    JOB,
    RUN,
    RUNS,
    RUNS_OF_ALL,
    RUN_PARTS,
    RUN_TURN,
    RUN_TURN_RESULT,
    RUN_REPLIES,
];
