//! The routes of the scheduler's jobs. Each may be asked again after an answer that was lost: with an idempotency key a
//! job is added once, and run once.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ChatId, IdempotencyKey, InboxId, JobId, OutboxId, RunId, Timestamp};
use moorline_runtime::{AddJob, Delivery, JobKind, JobView, MissedPolicy, RunResult, RunRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Made, Shown, Taken};
use crate::body::{Body, Nothing};
use crate::code::Code;
use crate::endpoint::Takes;
use crate::operation::{KEY, Operation};
use crate::operator::Operator;
use crate::parameters::{self, Parameters};
use crate::problem::Problem;
use crate::routes::{idempotency_key, in_time};

/// A due time found later than this is not run, when nobody says otherwise: a daily job still runs at noon.
const MAX_DELAY_SECONDS: u64 = 12 * 3600;

/// The longest delay that can be asked for.
const LONGEST_DELAY_SECONDS: u64 = 366 * 24 * 3600;

/// The longest name, schedule or zone, in bytes.
const LONGEST_FIELD: usize = 255;

/// A job to add.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    account: AccountId,
    to: String,
    schedule: String,
    #[serde(default = "utc")]
    tz: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    missed: Missed,
    #[serde(default = "max_delay")]
    #[schemars(range(max = LONGEST_DELAY_SECONDS))]
    max_delay_seconds: u64,
    #[serde(default)]
    #[schemars(regex(pattern = KEY))]
    idempotency_key: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Missed {
    Skip,
    #[default]
    Once,
    All,
}

/// What running a job takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    #[serde(default)]
    #[schemars(regex(pattern = KEY))]
    idempotency_key: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn max_delay() -> u64 {
    MAX_DELAY_SECONDS
}

pub(crate) async fn list(operator: Data<dyn Operator>, parameters: Parameters) -> Answer<Shown<Jobs>> {
    parameters.end()?;
    let jobs = in_time(operator.jobs()).await?;
    Ok(Shown(Jobs { jobs: jobs.iter().map(view).collect() }))
}

pub(crate) async fn add(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Body(job): Body<NewJob>,
) -> Answer<Made<Added>> {
    let key = idempotency_key(&request, job.idempotency_key.clone())?;
    let (added, repeated) = in_time(operator.add_job(wanted(job, key)?)).await?;
    Ok(Made(Added { job: view(&added), repeated }))
}

fn wanted(job: NewJob, key: Option<IdempotencyKey>) -> Result<AddJob, Problem> {
    let (kind, body) = match (job.text, job.prompt) {
        (Some(text), None) => (JobKind::Text, text),
        (None, Some(prompt)) => (JobKind::Prompt, prompt),
        _ => return Err(Problem::InvalidJob("give either `text` or `prompt`".to_owned())),
    };
    let fields = [("to", Some(&job.to)), ("schedule", Some(&job.schedule)), ("tz", Some(&job.tz))];
    let fields: Vec<(&'static str, &String)> = fields
        .into_iter()
        .chain([("name", job.name.as_ref())])
        .filter_map(|(field, value)| Some((field, value?)))
        .collect();
    for (field, value) in fields.iter().copied().chain([(kind.as_str(), &body)]) {
        if value.trim().is_empty() {
            return Err(Problem::EmptyField(field));
        }
    }
    if let Some((field, _)) = fields.iter().find(|(_, value)| value.len() > LONGEST_FIELD) {
        return Err(Problem::InvalidJob(format!("`{field}` is longer than {LONGEST_FIELD} bytes")));
    }
    if job.max_delay_seconds > LONGEST_DELAY_SECONDS {
        return Err(Problem::InvalidJob(format!("`max_delay_seconds` is at most {LONGEST_DELAY_SECONDS}")));
    }
    Ok(AddJob {
        name: job.name,
        account: job.account,
        to: ChatId::new(job.to),
        schedule: job.schedule,
        zone: job.tz,
        kind,
        body,
        missed: match job.missed {
            Missed::Skip => MissedPolicy::Skip,
            Missed::Once => MissedPolicy::Once,
            Missed::All => MissedPolicy::All,
        },
        max_delay: Duration::from_secs(job.max_delay_seconds),
        key,
    })
}

pub(crate) async fn show(
    operator: Data<dyn Operator>,
    Numbered(id): Numbered,
    parameters: Parameters,
) -> Answer<Shown<JobInFull>> {
    let page = parameters.page()?;
    parameters.end()?;
    let job = in_time(operator.job(id)).await?;
    let runs = in_time(operator.runs(id, page)).await?;
    let shown = runs.rows.iter().map(run_view).collect();
    Ok(Shown(JobInFull { job: view(&job), runs: shown, next: runs.next }))
}

pub(crate) async fn remove(
    operator: Data<dyn Operator>,
    Numbered(id): Numbered,
    _: Body<Nothing>,
) -> Answer<Shown<Removed>> {
    in_time(operator.remove_job(id)).await?;
    Ok(Shown(Removed { id, removed: true }))
}

pub(crate) async fn enable(
    operator: Data<dyn Operator>,
    Numbered(id): Numbered,
    _: Body<Nothing>,
) -> Answer<Shown<Job>> {
    let job = in_time(operator.switch_job(id, true)).await?;
    Ok(Shown(view(&job)))
}

pub(crate) async fn disable(
    operator: Data<dyn Operator>,
    Numbered(id): Numbered,
    _: Body<Nothing>,
) -> Answer<Shown<Job>> {
    let job = in_time(operator.switch_job(id, false)).await?;
    Ok(Shown(view(&job)))
}

/// Answers with the run as it is when it is stored; sending it is only beginning then.
pub(crate) async fn run(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Numbered(id): Numbered,
    Body(asked): Body<Run>,
) -> Answer<Taken<RunView>> {
    let key = idempotency_key(&request, asked.idempotency_key)?;
    let run = in_time(operator.run_job(id, key)).await?;
    Ok(Taken(run_view(&run)))
}

/// The job that a path names.
#[derive(Debug)]
pub(crate) struct Numbered(JobId);

/// All jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
}

/// A job of the scheduler.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Job {
    id: JobId,
    /// What people call it.
    name: Option<String>,
    /// The account that sends.
    account: AccountId,
    /// Whether that account is not configured.
    account_gone: bool,
    to: ChatId,
    schedule: String,
    tz: String,
    kind: JobKind,
    /// The text or the prompt.
    body: String,
    missed: MissedPolicy,
    max_delay_seconds: u64,
    enabled: bool,
    /// Why it is disabled, unless an operator did it.
    disabled_reason: Option<String>,
    created_at: Timestamp,
    next_due: Option<Timestamp>,
    /// The same as the clocks in its zone show it.
    next_due_local: Option<String>,
    /// How many of its last runs failed, one after the other.
    failures: u32,
    last_run: Option<RunView>,
}

/// A job that was added, now or by the same request before.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Added {
    #[serde(flatten)]
    job: Job,
    repeated: bool,
}

/// A job and a page of its runs; `next` is what `before` of the next page has to be.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobInFull {
    #[serde(flatten)]
    job: Job,
    runs: Vec<RunView>,
    next: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Removed {
    id: JobId,
    #[schemars(extend("const" = true))]
    removed: bool,
}

/// A run of a job, or the record that it did not run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobRun")]
pub(crate) struct RunView {
    id: RunId,
    job: JobId,
    /// The time it was due; the first of several.
    due: Timestamp,
    /// The last of several.
    until: Option<Timestamp>,
    /// How many due times it stands for.
    count: u64,
    trigger: Trigger,
    /// When it ran, or was recorded.
    at: Timestamp,
    result: RunResult,
    delivery: Delivery,
    /// What is behind an error or a missed time, or why a message was not delivered.
    reason: Option<String>,
    /// The message in the inbox that asks the agent.
    inbox: Option<InboxId>,
    /// The first message of ours that came of it.
    outbox: Option<OutboxId>,
}

/// What brought a run about.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Trigger {
    /// An operator.
    Manual,
    Schedule,
}

fn view(view: &JobView) -> Job {
    let (row, job) = (&view.row, view.row.job.clone());
    Job {
        id: row.id,
        name: job.name,
        account: job.account,
        account_gone: view.account_gone,
        to: job.chat,
        schedule: job.schedule,
        tz: job.zone,
        kind: job.kind,
        body: job.body,
        missed: job.missed,
        max_delay_seconds: job.max_delay_ms / 1_000,
        enabled: row.enabled,
        disabled_reason: row.reason.clone().filter(|_| !row.enabled),
        created_at: row.created_at,
        next_due: job.next_due,
        next_due_local: view.next_local.clone(),
        failures: view.failures,
        last_run: view.last.as_ref().map(run_view),
    }
}

fn run_view(run: &RunRow) -> RunView {
    RunView {
        id: run.id,
        job: run.job,
        due: run.due,
        until: (run.count > 1).then_some(run.until),
        count: run.count,
        trigger: if run.by_operator { Trigger::Manual } else { Trigger::Schedule },
        at: run.at,
        result: run.result,
        delivery: run.delivery,
        reason: run.reason.clone(),
        inbox: run.inbox,
        outbox: run.outbox,
    }
}

impl Takes for Numbered {
    fn describe(operation: &mut Operation<'_>) {
        operation.path("id", "A job's number.", &parameters::number());
        operation.refuses(&[Code::InvalidJobId, Code::UnknownJob]);
    }
}

impl FromRequest for Numbered {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let number = web::Path::<i64>::from_request(request, &mut Payload::None).into_inner();
        let number = number.map(|number| Self(JobId::new(number.into_inner())));
        ready(number.map_err(|_| Problem::InvalidJobId))
    }
}
