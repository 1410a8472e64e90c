//! Jobs of the scheduler as an operator adds, sees and changes them. All of it may be asked for again: a job is added
//! once for each key, and run once for each key.

use std::time::Duration;

use moorline_core::{AccountId, ChatId, IdempotencyKey, JobId, RunId, Timestamp, millis};
use moorline_store::{
    JobKind, JobRow, Listed, MissedPolicy, NewJob, Op, Outcome, Page, RunRow, StoreError, Tx,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{COMMAND_DEADLINE, CommandError, Handle};
use crate::scheduler::{self, Look, RunNow, Schedule, local, streak};

/// The most jobs there may be: each look at them reads them all.
const MOST_JOBS: usize = 200;

/// A job as an operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddJob {
    /// What people call it.
    pub name: Option<String>,
    /// The account that sends.
    pub account: AccountId,
    /// Where to.
    pub to: ChatId,
    /// When, as a cron pattern.
    pub schedule: String,
    /// In which time zone, by its IANA name.
    pub zone: String,
    /// What it does.
    pub kind: JobKind,
    /// The text or the prompt.
    pub body: String,
    /// What becomes of missed due times.
    pub missed: MissedPolicy,
    /// A due time found later than this is not run any more.
    pub max_delay: Duration,
    /// Makes repeating the request harmless.
    pub key: Option<IdempotencyKey>,
}

/// A job and how it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub row: JobRow,
    /// Its account is not configured.
    pub account_gone: bool,
    /// How many of its last runs failed, one after the other, since it was enabled.
    pub failures: u32,
    /// What the last of them failed at.
    pub failure: Option<String>,
    /// Its latest run.
    pub last: Option<RunRow>,
    /// When it is due next, as the clocks in its zone show it.
    pub next_local: Option<String>,
}

/// The scheduler at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CronStatus {
    /// Jobs, enabled or not.
    pub jobs: usize,
    /// When the next of them is due.
    pub next_due: Option<Timestamp>,
}

impl Handle {
    pub(super) async fn cron_status(&self) -> Result<CronStatus, StoreError> {
        let jobs = self.store.listing().jobs().await?;
        let next_due = jobs.iter().filter_map(|row| row.job.next_due).min();
        Ok(CronStatus { jobs: jobs.len(), next_due })
    }

    /// All jobs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn jobs(&self) -> Result<Vec<JobView>, StoreError> {
        let mut views = Vec::new();
        for row in self.store.listing().jobs().await? {
            views.push(self.job_view(row).await?);
        }
        Ok(views)
    }

    /// One job.
    ///
    /// # Errors
    /// When there is no such job, or the store cannot be read.
    pub async fn job(&self, id: JobId) -> Result<JobView, CommandError> {
        let row = self.store.listing().job(id).await?.ok_or(CommandError::UnknownJob(id))?;
        Ok(self.job_view(row).await?)
    }

    /// A job's runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self, job: JobId, page: Page) -> Result<Listed<RunRow>, StoreError> {
        self.store.listing().runs(Some(job), page).await
    }

    /// Adds a job, and says whether it was added before, with the same key.
    ///
    /// # Errors
    /// When the account is not configured, the schedule or the zone cannot be read, or there are too many jobs.
    pub async fn add_job(&self, wanted: AddJob) -> Result<(JobView, bool), CommandError> {
        self.configured(&wanted.account).await?;
        let schedule = Schedule::parse(&wanted.schedule, &wanted.zone)?;
        let next_due = schedule.after(self.now());
        if next_due.is_none() {
            return Err(scheduler::InvalidSchedule::Never(wanted.schedule).into());
        }
        let jobs = self.store.listing().jobs().await?;
        let known = wanted.key.is_some() && jobs.iter().any(|row| row.job.key == wanted.key);
        if jobs.len() >= MOST_JOBS && !known {
            return Err(CommandError::TooManyJobs(jobs.len()));
        }
        let AddJob { name, account, to, schedule, zone, kind, body, missed, max_delay, key } = wanted;
        let max_delay_ms = millis(max_delay);
        let job = NewJob {
            name,
            account,
            chat: to,
            schedule,
            zone,
            kind,
            body,
            missed,
            max_delay_ms,
            next_due,
            key,
        };
        let (id, repeated) = match self.commit(Op::AddJob { job: Box::new(job) }).await? {
            Outcome::Applied(id) => (JobId::new(id), false),
            Outcome::Duplicate(id) => (JobId::new(id), true),
            Outcome::Fenced | Outcome::Conflict => return Err(CommandError::Busy),
        };
        self.scheduler.tell(Look);
        Ok((self.job(id).await?, repeated))
    }

    /// Removes a job and the records of its runs.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn remove_job(&self, id: JobId) -> Result<(), CommandError> {
        match self.commit(Op::RemoveJob { job: id }).await? {
            outcome if outcome.is_done() => Ok(()),
            _ => Err(CommandError::UnknownJob(id)),
        }
    }

    /// Enables or disables a job. One that is enabled is due from now on: what it missed meanwhile is not missed.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn switch_job(&self, id: JobId, enabled: bool) -> Result<JobView, CommandError> {
        let row = self.store.listing().job(id).await?.ok_or(CommandError::UnknownJob(id))?;
        if row.enabled != enabled {
            let schedule = Schedule::parse(&row.job.schedule, &row.job.zone)?;
            let next_due = schedule.after(self.now()).filter(|_| enabled);
            let switch = Op::SwitchJob { job: id, enabled, next_due, reason: None };
            if !self.commit(switch).await?.is_done() {
                return Err(CommandError::UnknownJob(id));
            }
            self.scheduler.tell(Look);
        }
        self.job(id).await
    }

    /// Runs a job now, whatever its schedule; a key used before answers with the run of that time.
    ///
    /// # Errors
    /// When there is no such job, or the store refuses.
    pub async fn run_job(&self, id: JobId, key: Option<IdempotencyKey>) -> Result<RunRow, CommandError> {
        let running = async {
            let (_, scheduler) = self.scheduler.ready().await;
            scheduler.send(RunNow { job: id, key }).await
        };
        let run: RunId = match tokio::time::timeout(COMMAND_DEADLINE, running).await {
            Ok(Ok(run)) => run?,
            Ok(Err(_)) | Err(_) => return Err(CommandError::Busy),
        };
        self.store.listing().run(run).await?.ok_or(CommandError::UnknownJob(id))
    }

    async fn job_view(&self, row: JobRow) -> Result<JobView, StoreError> {
        let page = Page { before: None, limit: scheduler::LOOKED_BACK };
        let runs = self.store.listing().runs(Some(row.id), page).await?.rows;
        let failed = streak(&row, &runs);
        Ok(JobView {
            account_gone: self.board.account(&row.job.account).is_none(),
            failures: failed.len().try_into().unwrap_or(u32::MAX),
            failure: failed.first().and_then(|run| run.reason.clone()),
            last: runs.first().cloned(),
            next_local: row.job.next_due.and_then(|due| local(due, &row.job.zone)),
            row,
        })
    }

    async fn commit(&self, op: Op) -> Result<Outcome, CommandError> {
        let outcomes = self.store.commit(Tx::global(self.now(), [op])).await?;
        outcomes.first().copied().ok_or(CommandError::Busy)
    }
}
