//! Jobs and runs in the model.

use moorline_core::{IdempotencyKey, InboxId, JobId, OutboxId, RunId, Timestamp};

use super::State;
use super::ops::{CONFLICT, Step, Stop};
use crate::cron::Delivery;
use crate::cron::{
    Found, JobRow, KEPT_RUNS, NewJob, NewRun, RunContent, RunKind, RunResult, RunRow, Trigger, judge,
};
use crate::tx::{Lease, Outcome};

/// A run as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Run {
    row: RunRow,
    kind: RunKind,
    key: Option<IdempotencyKey>,
    reason: Option<String>,
    first: Option<OutboxId>,
    parts: i64,
}

impl State {
    pub(super) fn add_job(&mut self, at: Timestamp, job: &NewJob) -> Outcome {
        let same = |row: &&JobRow| job.key.is_some() && row.job.key == job.key;
        if let Some(row) = self.jobs.values().find(same) {
            return Outcome::Duplicate(row.id.get());
        }
        self.last.job += 1;
        let id = JobId::new(self.last.job);
        let row =
            JobRow { id, job: job.clone(), enabled: true, reason: None, created_at: at, enabled_at: at };
        self.jobs.insert(id, row);
        Outcome::Applied(id.get())
    }

    pub(super) fn remove_job(&mut self, job: JobId) -> Step {
        self.jobs.remove(&job).ok_or(CONFLICT)?;
        self.runs.retain(|_, run| run.row.job != job);
        Ok(Outcome::Applied(0))
    }

    pub(super) fn switch_job(
        &mut self,
        at: Timestamp,
        job: JobId,
        enabled: bool,
        next_due: Option<Timestamp>,
        reason: Option<&String>,
    ) -> Step {
        let row = self.jobs.get_mut(&job).ok_or(CONFLICT)?;
        if (row.enabled, row.job.next_due) == (enabled, next_due) {
            return Ok(Outcome::Duplicate(0));
        }
        if enabled && !row.enabled {
            row.enabled_at = at;
        }
        (row.enabled, row.job.next_due, row.reason) = (enabled, next_due, reason.cloned());
        Ok(Outcome::Applied(0))
    }

    pub(super) fn record_run(&mut self, lease: Option<&Lease>, at: Timestamp, run: &NewRun) -> Step {
        let job = self.jobs.get_mut(&run.job).ok_or(CONFLICT)?;
        let account = job.job.account.clone();
        let mut of_job = self.runs.values().filter(|before| before.row.job == run.job);
        let (key, before) = match &run.trigger {
            Trigger::Operator { key } => {
                (Some(key.clone()), of_job.find(|before| before.key.as_ref() == Some(key)))
            }
            Trigger::Schedule { seen, next_due } => {
                if !job.enabled || job.job.next_due != Some(*seen) {
                    return Err(CONFLICT);
                }
                job.job.next_due = *next_due;
                let before = of_job
                    .filter(|before| before.key.is_none() && before.row.due <= run.until)
                    .max_by_key(|before| before.row.due)
                    .filter(|before| before.row.until >= run.due);
                (None, before)
            }
        };
        if let Some(before) = before {
            return Ok(Outcome::Duplicate(before.row.id.get()));
        }
        let (first, parts, inbox) = match (&run.content, lease) {
            (RunContent::Text(_) | RunContent::Prompt(_), None) => {
                return Err(Stop::Refused("a run that does something needs a lease"));
            }
            (RunContent::Text(_) | RunContent::Prompt(_), Some(lease)) if lease.account != account => {
                return Err(CONFLICT);
            }
            (RunContent::Text(parts), Some(lease)) => {
                (number(self.enqueue_parts(lease, at, parts)?).map(OutboxId::new), parts.len() as i64, None)
            }
            (RunContent::Prompt(message), Some(lease)) => {
                (None, 0, number(self.receive(lease, at, message)?).map(InboxId::new))
            }
            _ => (None, 0, None),
        };
        self.last.run += 1;
        let id = RunId::new(self.last.run);
        let row = RunRow {
            id,
            job: run.job,
            due: run.due,
            until: run.until,
            count: run.count,
            by_operator: key.is_some(),
            at,
            result: RunResult::Forgotten,
            delivery: Delivery::Forgotten,
            reason: None,
            inbox,
            outbox: None,
        };
        let (kind, reason) = (run.content.kind(), run.content.reason().map(str::to_owned));
        self.runs.insert(id, Run { row, kind, key, reason, first, parts });
        Ok(Outcome::Applied(id.get()))
    }

    pub(super) fn forget_runs(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<(Timestamp, RunId)> = Vec::new();
        for run in self.runs.values().filter(|run| run.row.at < before) {
            let later =
                self.runs.values().filter(|other| other.row.job == run.row.job && other.row.id > run.row.id);
            if later.count() >= KEPT_RUNS as usize {
                old.push((run.row.at, run.row.id));
            }
        }
        old.sort();
        old.truncate(*left);
        *left -= old.len();
        for (_, id) in old {
            self.runs.remove(&id);
        }
    }

    /// A run with what came of it.
    pub(super) fn run(&self, run: &Run) -> RunRow {
        let mut found = Found::default();
        let ours =
            |message: &super::Message| (message.row.id, message.row.state, message.row.last_error.clone());
        if let Some(first) = run.first {
            let parts = self.outbox.range(first..OutboxId::new(first.get() + run.parts));
            found.ours = parts.map(|(_, message)| ours(message)).collect();
        }
        if let Some(inbox) = run.row.inbox {
            found.prompt = self.inbox.get(&inbox).map(|row| row.state);
            if let Some(turn) = self.turns.values().rev().find(|turn| turn.inputs.contains(&inbox)) {
                found.turn = turn.result;
                let replies = self.outbox.values().filter(|message| message.row.turn == Some(turn.row.id));
                found.ours = replies.map(ours).collect();
            }
        }
        let (result, delivery, reason) = judge(run.kind, run.reason.clone(), &found);
        let outbox = found.ours.first().map(|(id, ..)| *id);
        RunRow { result, delivery, reason, outbox, ..run.row.clone() }
    }
}

const fn number(outcome: Outcome) -> Option<i64> {
    match outcome {
        Outcome::Applied(id) | Outcome::Duplicate(id) => Some(id),
        Outcome::Fenced | Outcome::Conflict => None,
    }
}
