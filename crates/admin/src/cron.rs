//! The routes of the scheduler's jobs. Each may be asked again after an answer that was lost: with an idempotency key a
//! job is added once, and run once.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use moorline_core::{AccountId, ChatId, IdempotencyKey, JobId};
use moorline_runtime::{AddJob, JobKind, JobView, MissedPolicy, RunRow};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{Body, Nothing};
use crate::lists::Number;
use crate::operator::Operator;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::{Answer, idempotency_key, in_time};

/// A due time found later than this is not run, when nobody says otherwise: a daily job still runs at noon.
const MAX_DELAY_SECONDS: u64 = 12 * 3600;

/// The longest delay that can be asked for.
const LONGEST_DELAY_SECONDS: u64 = 366 * 24 * 3600;

/// The longest name, schedule or zone, in bytes.
const LONGEST_FIELD: usize = 255;

/// A job to add.
#[derive(Debug, Deserialize)]
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
    max_delay_seconds: u64,
    #[serde(default)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missed {
    Skip,
    #[default]
    Once,
    All,
}

/// What running a job takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    #[serde(default)]
    idempotency_key: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn max_delay() -> u64 {
    MAX_DELAY_SECONDS
}

pub(crate) async fn list(operator: Data<dyn Operator>, parameters: Parameters) -> Answer {
    parameters.end()?;
    let jobs = in_time(operator.jobs()).await?;
    Ok(HttpResponse::Ok().json(json!({ "jobs": jobs.iter().map(view).collect::<Vec<_>>() })))
}

pub(crate) async fn add(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Body(job): Body<NewJob>,
) -> Answer {
    let key = idempotency_key(&request, job.idempotency_key.clone())?;
    let (added, repeated) = in_time(operator.add_job(wanted(job, key)?)).await?;
    let mut shown = view(&added);
    shown["repeated"] = json!(repeated);
    Ok(HttpResponse::Created().json(shown))
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

pub(crate) async fn show(operator: Data<dyn Operator>, Number(id): Number, parameters: Parameters) -> Answer {
    let page = parameters.page()?;
    parameters.end()?;
    let id = JobId::new(id);
    let job = in_time(operator.job(id)).await?;
    let runs = in_time(operator.runs(id, page)).await?;
    let mut shown = view(&job);
    shown["runs"] = runs.rows.iter().map(run_view).collect();
    shown["next"] = json!(runs.next);
    Ok(HttpResponse::Ok().json(shown))
}

pub(crate) async fn remove(operator: Data<dyn Operator>, Number(id): Number, _: Body<Nothing>) -> Answer {
    in_time(operator.remove_job(JobId::new(id))).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": id, "removed": true })))
}

pub(crate) async fn enable(operator: Data<dyn Operator>, Number(id): Number, _: Body<Nothing>) -> Answer {
    let job = in_time(operator.switch_job(JobId::new(id), true)).await?;
    Ok(HttpResponse::Ok().json(view(&job)))
}

pub(crate) async fn disable(operator: Data<dyn Operator>, Number(id): Number, _: Body<Nothing>) -> Answer {
    let job = in_time(operator.switch_job(JobId::new(id), false)).await?;
    Ok(HttpResponse::Ok().json(view(&job)))
}

/// Answers with the run as it is when it is stored; sending it is only beginning then.
pub(crate) async fn run(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Number(id): Number,
    Body(asked): Body<Run>,
) -> Answer {
    let key = idempotency_key(&request, asked.idempotency_key)?;
    let run = in_time(operator.run_job(JobId::new(id), key)).await?;
    Ok(HttpResponse::Accepted().json(run_view(&run)))
}

fn view(view: &JobView) -> Value {
    let (row, job) = (&view.row, &view.row.job);
    json!({
        "id": row.id,
        "name": job.name,
        "account": job.account,
        "account_gone": view.account_gone,
        "to": job.chat,
        "schedule": job.schedule,
        "tz": job.zone,
        "kind": job.kind.as_str(),
        "body": job.body,
        "missed": job.missed.as_str(),
        "max_delay_seconds": job.max_delay_ms / 1_000,
        "enabled": row.enabled,
        "disabled_reason": row.reason.as_ref().filter(|_| !row.enabled),
        "created_at": row.created_at,
        "next_due": job.next_due,
        "next_due_local": view.next_local,
        "failures": view.failures,
        "last_run": view.last.as_ref().map(run_view),
    })
}

fn run_view(run: &RunRow) -> Value {
    json!({
        "id": run.id,
        "job": run.job,
        "due": run.due,
        "until": (run.count > 1).then_some(run.until),
        "count": run.count,
        "trigger": if run.by_operator { "manual" } else { "schedule" },
        "at": run.at,
        "result": run.result.as_str(),
        "delivery": run.delivery.as_str(),
        "reason": run.reason,
        "inbox": run.inbox,
        "outbox": run.outbox,
    })
}
