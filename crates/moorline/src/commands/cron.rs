//! `moorline cron`: jobs that run by themselves.

use anyhow::Result;
use http::Method;
use moorline_core::{Clock, Timestamp};
use serde_json::{Value, json};

use super::lists::foreign;
use super::{account_id, ago, moment, text, until};
use crate::cli::{Cron, CronAdd, Place};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::exit::Code;
use crate::output::{self, Table, harmless, span};

/// How wide a text and a reason may be in a table.
const TEXT_WIDTH: usize = 40;
const REASON_WIDTH: usize = 80;

/// `moorline cron …`.
pub async fn cron(place: &Place, action: &Cron, as_json: bool) -> Result<Code> {
    let client = Client::of_running(place)?;
    let of = |id: &u64, verb: &str| format!("/v1/cron/{id}{verb}");
    let answer = match action {
        Cron::Add(job) => client.expect(Method::POST, "/v1/cron", Some(&wanted(&client, job).await?)).await?,
        Cron::List => client.expect(Method::GET, "/v1/cron", None).await?,
        Cron::Show { id, page } => {
            let before = page.before.map(|before| format!("&before={before}")).unwrap_or_default();
            let path = format!("/v1/cron/{id}?limit={}{before}", page.limit);
            client.expect(Method::GET, &path, None).await?
        }
        Cron::Remove { id } => client.expect(Method::DELETE, &of(id, ""), None).await?,
        Cron::Enable { id } => client.expect(Method::POST, &of(id, "/enable"), None).await?,
        Cron::Disable { id } => client.expect(Method::POST, &of(id, "/disable"), None).await?,
        Cron::Run { id, idempotency_key } => {
            let key = idempotency_key.clone().unwrap_or_else(fresh_key);
            let asked = json!({ "idempotency_key": key });
            client.expect(Method::POST, &of(id, "/run"), Some(&asked)).await?
        }
    };
    if as_json {
        output::json(&answer)?;
        return Ok(Code::Ok);
    }
    match action {
        Cron::Add(_) => {
            let again = if answer["repeated"] == true { ", it was added before" } else { "" };
            output::line(&format!("job {}: next due {}{again}", answer["id"], next(&answer)))?;
        }
        Cron::List => jobs_table(&answer)?,
        Cron::Show { .. } => show(&answer)?,
        Cron::Remove { id } => output::line(&format!("job {id} is removed"))?,
        Cron::Enable { id } => output::line(&format!("job {id} is enabled: next due {}", next(&answer)))?,
        Cron::Disable { id } => output::line(&format!("job {id} is disabled"))?,
        Cron::Run { id, .. } => {
            let words = outcome(&answer);
            output::line(&format!("job {id}, run {}: {words}; see `moorline cron show {id}`", answer["id"]))?;
        }
    }
    Ok(Code::Ok)
}

async fn wanted(client: &Client, job: &CronAdd) -> Result<Value> {
    let mut wanted = json!({
        "account": account_id(client, &job.account).await?,
        "to": job.to,
        "schedule": job.schedule,
        "tz": job.tz,
        "missed": super::lists::name(&job.missed),
        "idempotency_key": job.idempotency_key.clone().unwrap_or_else(fresh_key),
    });
    let given = [("text", &job.text), ("prompt", &job.prompt), ("name", &job.name)];
    for (field, value) in given {
        if let Some(value) = value {
            wanted[field] = json!(value);
        }
    }
    if let Some(minutes) = job.max_delay {
        wanted["max_delay_seconds"] = json!(minutes.saturating_mul(60));
    }
    Ok(wanted)
}

/// So that a call that is repeated because its answer was lost adds and runs nothing twice.
fn fresh_key() -> String {
    let now = SystemClock::new().wall().as_millis();
    format!("cli-{now}-{}-{:016x}", std::process::id(), fastrand::u64(..))
}

fn jobs_table(answer: &Value) -> Result<()> {
    let head = ["ID", "NAME", "ACCOUNT", "TO", "SCHEDULE", "ZONE", "NEXT DUE", "LAST RUN", "WHAT"];
    let mut table = Table::new(&head);
    for job in answer["jobs"].as_array().map_or(&[][..], Vec::as_slice) {
        let gone = if job["account_gone"] == true { " (gone)" } else { "" };
        let last = &job["last_run"];
        let last = match last.is_null() {
            true => "never".to_owned(),
            false => format!("{}, {}", ago(&last["at"]), outcome(last)),
        };
        table.row(vec![
            job["id"].to_string(),
            foreign(&job["name"], TEXT_WIDTH),
            format!("{}{gone}", text(&job["account"])),
            foreign(&job["to"], TEXT_WIDTH),
            foreign(&job["schedule"], TEXT_WIDTH),
            text(&job["tz"]),
            next(job),
            last,
            format!("{}: {}", text(&job["kind"]), foreign(&job["body"], TEXT_WIDTH)),
        ]);
    }
    table.print()
}

fn show(job: &Value) -> Result<()> {
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("job", job["id"].to_string());
    row("name", foreign(&job["name"], usize::MAX));
    let gone = if job["account_gone"] == true { ", which is not configured" } else { "" };
    row("account", format!("{}{gone}", text(&job["account"])));
    row("to", foreign(&job["to"], usize::MAX));
    row("schedule", format!("{} in {}", foreign(&job["schedule"], usize::MAX), text(&job["tz"])));
    row("next due", next(job));
    if !job["disabled_reason"].is_null() {
        row("disabled because", foreign(&job["disabled_reason"], usize::MAX));
    }
    let delay = span(1_000 * job["max_delay_seconds"].as_u64().unwrap_or(0));
    row("when missed", format!("{}, at most {delay} late", text(&job["missed"])));
    row("failures in a row", job["failures"].to_string());
    table.print()?;
    output::line(&format!("\n{}:\n{}\n", text(&job["kind"]), harmless(&text(&job["body"]))))?;
    let mut table =
        Table::new(&["RUN", "DUE", "COUNT", "TRIGGER", "RAN", "RESULT", "DELIVERY", "OUTBOX", "WHY"]);
    for run in job["runs"].as_array().map_or(&[][..], Vec::as_slice) {
        table.row(vec![
            run["id"].to_string(),
            text(&run["due"]),
            run["count"].to_string(),
            text(&run["trigger"]),
            ran(run),
            text(&run["result"]),
            text(&run["delivery"]),
            text(&run["outbox"]),
            foreign(&run["reason"], REASON_WIDTH),
        ]);
    }
    table.print()?;
    if !job["next"].is_null() {
        output::line(&format!("more with --before {}", job["next"]))?;
    }
    Ok(())
}

/// How long after its due time a run was recorded.
fn ran(run: &Value) -> String {
    match (moment(&run["at"]), moment(&run["due"])) {
        (Some(at), Some(due)) => format!("{} later", span(moorline_core::millis(at.since(due)))),
        _ => "-".to_owned(),
    }
}

/// What came of a run, in a word or two.
fn outcome(run: &Value) -> String {
    let (result, delivery) = (text(&run["result"]), text(&run["delivery"]));
    match delivery.as_str() {
        "not_requested" => result,
        _ => format!("{result}, {delivery}"),
    }
}

fn next(job: &Value) -> String {
    if job["enabled"] == false {
        return "disabled".to_owned();
    }
    let due: Option<Timestamp> = moment(&job["next_due"]);
    match due {
        Some(_) => format!("{} ({})", text(&job["next_due_local"]), until(&job["next_due"])),
        None => "never".to_owned(),
    }
}
