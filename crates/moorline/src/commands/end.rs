//! `moorline shutdown` and `moorline restart`: both wait until it is done, unless told not to.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::cli::{Place, Wait};
use crate::client::{Client, data_dir, running};
use crate::exit::{Code, Failed};
use crate::output;
use crate::run_file::{Phase, RunFile};

/// How often is looked whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// After which whoever waits is told what for.
const TELL_AFTER: Duration = Duration::from_millis(500);

/// The longest wait: turns under way may take the grace that is configured, and it may be long.
const PATIENCE: Duration = Duration::from_secs(600);

/// `moorline shutdown`.
pub async fn shutdown(place: &Place, wait: &Wait, as_json: bool) -> Result<Code> {
    let (dir, old) = told(place, false).await?;
    if !wait.no_wait {
        let gone = |run: Option<&RunFile>| run.is_none_or(|run| run.boot != old.boot || !run.is_alive());
        until(&dir, "turns under way may finish", gone).await?;
    }
    let word = if wait.no_wait { "shutting down" } else { "shut down" };
    say(as_json, word, &old)
}

/// `moorline restart`.
pub async fn restart(place: &Place, wait: &Wait, as_json: bool) -> Result<Code> {
    let (dir, old) = told(place, true).await?;
    if wait.no_wait {
        return say(as_json, "restarting", &old);
    }
    let is_up =
        |run: Option<&RunFile>| run.is_some_and(|run| run.boot != old.boot && run.phase == Phase::Running);
    let new = until(&dir, "turns under way may finish", is_up).await?.unwrap_or(old);
    Client::of_running(place)?.expect(Method::GET, "/healthz", None).await?;
    say(as_json, "restarted", &new)
}

/// Tells the process; gives what it was before.
async fn told(place: &Place, restart: bool) -> Result<(std::path::PathBuf, RunFile)> {
    let dir = data_dir(place)?;
    let old = running(&dir)?;
    let body = json!({ "restart": restart });
    let answer = Client::of_running(place)?.call(Method::POST, "/v1/shutdown", Some(&body)).await?;
    if answer.status.is_success() {
        return Ok((dir, old));
    }
    let code = match answer.status {
        // What the fresh process could not start with is found before it is too late (F-079).
        StatusCode::UNPROCESSABLE_ENTITY => Code::BadConfiguration,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unreachable,
        _ => Code::Internal,
    };
    Err(Failed::new(code, super::text(&answer.body["error"]["message"])).into())
}

async fn until(dir: &Path, why: &str, done: impl Fn(Option<&RunFile>) -> bool) -> Result<Option<RunFile>> {
    let began = Instant::now();
    let mut has_told = false;
    loop {
        let run = RunFile::read(dir);
        if done(run.as_ref()) {
            return Ok(run);
        }
        let waits_for = run.as_ref().and_then(|run| run.problem.as_deref()).unwrap_or(why);
        if began.elapsed() > PATIENCE {
            let message = format!("not done after {} s: {waits_for}", PATIENCE.as_secs());
            return Err(Failed::new(Code::Unreachable, message).into());
        }
        let is_gone = run.as_ref().is_none_or(|run| !run.is_alive());
        if is_gone {
            let message = "the process has ended instead of being replaced; its log says why";
            return Err(Failed::new(Code::Internal, message).into());
        }
        if !has_told && began.elapsed() > TELL_AFTER {
            has_told = true;
            output::note(&format!("waiting: {waits_for}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn say(as_json: bool, word: &str, run: &RunFile) -> Result<Code> {
    if as_json {
        output::json(&json!({ "done": word, "pid": run.pid, "boot": run.boot }))?;
    } else {
        output::line(&format!("{word} (pid {})", run.pid))?;
    }
    Ok(Code::Ok)
}
