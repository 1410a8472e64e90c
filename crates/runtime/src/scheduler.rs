//! The scheduler: runs jobs when they are due, once each, and records every due time that went by without a run.
//!
//! It keeps nothing that a crash could lose. What is due is in the store; a due time is over in the same commit that
//! puts its message into the outbox or its prompt into the inbox (F-087), and everything after that is what happens to
//! any other message. It looks at the wall clock at least once a minute, so that a step of it, or a sleep of the
//! machine, is noticed (F-089).

mod firing;
mod plan;
mod schedule;

pub(crate) use firing::{LOOKED_BACK, streak};
pub use schedule::InvalidSchedule;
pub(crate) use schedule::{Schedule, local};

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{IdempotencyKey, JobId, Monotonic, RunId, Timestamp, millis};
use moorline_store::{JobRow, NewRun, Op, Outcome, RunContent, StoreError, Trigger, Tx};
use moorline_supervision::Env;

use crate::handle::CommandError;
use crate::services::{STORE_RETRY, Services};
use firing::Firing;
use plan::Step;

/// The longest time between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The shortest one: no schedule is faster than a second.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// Steps of one job in one look, so that none keeps the others waiting.
const STEPS: u32 = 8;

/// Between two runs that are late, at least; as much again is drawn at random. What was missed must not come all at
/// once (F-087).
const STAGGER: Duration = Duration::from_millis(500);

/// The wall clock may lag behind the monotonic one by this much without having been set back.
const DRIFT: Duration = Duration::from_secs(1);

/// The jobs have changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Look;

/// An operator wants a job to run now.
#[derive(Debug, Message)]
#[rtype(result = "Result<RunId, CommandError>")]
pub(crate) struct RunNow {
    pub(crate) job: JobId,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Runs jobs when they are due.
pub(crate) struct Scheduler {
    services: Rc<Services>,
    env: Env,
    /// Not here while a look is under way.
    clockwork: Option<Clockwork>,
    /// The jobs changed during a look.
    again: bool,
    timer: Option<SpawnHandle>,
}

impl Scheduler {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        let clockwork = Clockwork::new(Rc::clone(&services));
        Self { services, env, clockwork: Some(clockwork), again: false, timer: None }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(mut clockwork) = self.clockwork.take() else {
            self.again = true;
            return;
        };
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let guard = self.env.in_flight.enter();
        let looking = async move {
            let wait = clockwork.look().await;
            drop(guard);
            (clockwork, wait)
        };
        ctx.spawn(actix::fut::wrap_future(looking).map(|(clockwork, wait), this: &mut Self, ctx| {
            this.clockwork = Some(clockwork);
            let wait = match wait {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(actor = "scheduler", "jobs wait for the store, trying again: {error}");
                    STORE_RETRY
                }
            };
            if std::mem::take(&mut this.again) {
                return this.look(ctx);
            }
            this.timer = Some(ctx.run_later(wait, |this, ctx| {
                this.timer = None;
                this.look(ctx);
            }));
        }));
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
    }
}

impl Handler<Look> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Context<Self>) {
        self.look(ctx);
    }
}

impl Handler<RunNow> for Scheduler {
    type Result = ResponseFuture<Result<RunId, CommandError>>;

    fn handle(&mut self, RunNow { job, key }: RunNow, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(async move {
            let row = services.store.listing().job(job).await?.ok_or(CommandError::UnknownJob(job))?;
            let fresh = || IdempotencyKey::new(format!("{}/{}", services.boot, services.random.number()));
            let trigger = Trigger::Operator { key: key.unwrap_or_else(fresh) };
            let firing = Firing { services: &services, job: &row, due: services.clock.wall(), trigger };
            match firing.fire().await? {
                Outcome::Applied(run) | Outcome::Duplicate(run) => Ok(RunId::new(run)),
                Outcome::Fenced | Outcome::Conflict => Err(CommandError::Busy),
            }
        })
    }
}

/// What a look needs and keeps.
struct Clockwork {
    services: Rc<Services>,
    /// As they were read; `None` for what cannot be read any more.
    schedules: BTreeMap<JobId, Option<Schedule>>,
    /// No late run before this.
    late_from: Monotonic,
    /// When the last look was, by both clocks.
    looked: Option<(Monotonic, Timestamp)>,
}

impl Clockwork {
    fn new(services: Rc<Services>) -> Self {
        let late_from = services.clock.now();
        Self { services, schedules: BTreeMap::new(), late_from, looked: None }
    }

    /// Does what is due, and says how long to wait for the next.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        if self.services.draining.get() {
            return Ok(LONGEST_WAIT);
        }
        let jobs = self.services.store.listing().jobs().await?;
        self.schedules.retain(|id, _| jobs.iter().any(|row| row.id == *id));
        let rewound = self.rewound();
        let mut wait = LONGEST_WAIT;
        for job in jobs.into_iter().filter(|row| row.enabled) {
            wait = wait.min(self.work(job, rewound).await?);
        }
        Ok(wait.max(SHORTEST_WAIT))
    }

    /// Whether the wall clock may have been set back since the last look.
    fn rewound(&mut self) -> bool {
        let (now, wall) = (self.services.clock.now(), self.services.clock.wall());
        let before = self.looked.replace((now, wall));
        before.is_none_or(|(then, then_wall)| wall + DRIFT < then_wall + (now - then))
    }

    /// Does what is due of one job, step by step.
    async fn work(&mut self, mut job: JobRow, mut rewound: bool) -> Result<Duration, StoreError> {
        for _ in 0..STEPS {
            let now = self.services.clock.wall();
            let Some(schedule) = self.schedule(&job) else { return self.unreadable(&job).await };
            let step = plan::step(&job, schedule, now, std::mem::take(&mut rewound));
            match step {
                Step::Wait(None) => return Ok(LONGEST_WAIT),
                Step::Wait(Some(due)) => return Ok(due.since(now)),
                Step::Rewind(due) => {
                    tracing::warn!(actor = "scheduler", job = %job.id, account = %job.job.account, due = %due, "the clock was set back: the job is due earlier than it was");
                    let op = Op::SwitchJob { job: job.id, enabled: true, next_due: Some(due), reason: None };
                    self.commit(op).await?;
                    job.job.next_due = Some(due);
                }
                Step::Fire { late: true, .. } if self.services.clock.now() < self.late_from => {
                    return Ok(self.late_from - self.services.clock.now());
                }
                Step::Fire { due, late, next } => {
                    let trigger = Trigger::Schedule { seen: due, next_due: next };
                    let firing = Firing { services: &self.services, job: &job, due, trigger };
                    if firing.too_many_failures().await? {
                        return Ok(LONGEST_WAIT);
                    }
                    if !firing.fire().await?.is_done() {
                        return Ok(STORE_RETRY);
                    }
                    if late {
                        let pause = STAGGER.mul_f64(1.0 + self.services.random.unit());
                        self.late_from = self.services.clock.now() + pause;
                        tracing::warn!(actor = "scheduler", job = %job.id, account = %job.job.account, late_ms = millis(now.since(due)), "a due time was missed and is made up for");
                    }
                    job.job.next_due = next;
                }
                Step::Record { due, until, count, expired, next } => {
                    tracing::warn!(actor = "scheduler", job = %job.id, account = %job.job.account, due = %due, until = %until, count, expired, "due times went by without a run");
                    let reason = "nobody was there when it was due".to_owned();
                    let content = if expired { RunContent::Expired } else { RunContent::Missed { reason } };
                    let trigger = Trigger::Schedule { seen: due, next_due: next };
                    let run = NewRun { job: job.id, due, until, count, trigger, content };
                    if !self.commit(Op::RecordRun { run: Box::new(run) }).await?.is_done() {
                        return Ok(STORE_RETRY);
                    }
                    job.job.next_due = next;
                }
            }
        }
        Ok(Duration::ZERO)
    }

    fn schedule(&mut self, job: &JobRow) -> Option<&Schedule> {
        let read = || Schedule::parse(&job.job.schedule, &job.job.zone).ok();
        self.schedules.entry(job.id).or_insert_with(read).as_ref()
    }

    /// Its zone may be gone from a later version's table.
    async fn unreadable(&self, job: &JobRow) -> Result<Duration, StoreError> {
        tracing::error!(actor = "scheduler", job = %job.id, account = %job.job.account, "a job's schedule or time zone cannot be read any more, it is disabled");
        let reason = Some("its schedule or time zone cannot be read any more".to_owned());
        self.commit(Op::SwitchJob { job: job.id, enabled: false, next_due: None, reason }).await?;
        Ok(LONGEST_WAIT)
    }

    async fn commit(&self, op: Op) -> Result<Outcome, StoreError> {
        let outcomes = self.services.store.commit(Tx::global(self.services.clock.wall(), [op])).await?;
        Ok(outcomes.first().copied().unwrap_or(Outcome::Conflict))
    }
}
