//! `moorline doctor --offline`: what can be told without asking a process. Nothing is locked, and nothing is written.

use anyhow::Result;
use moorline_core::Clock;
use moorline_runtime::{MachineFacts, Offline, OfflineReport, examine_offline};
use moorline_store::inspect;
use serde_json::Value;

use super::super::{age, text};
use super::{list, print_findings};
use crate::cli::Place;
use crate::client::{self, running};
use crate::clock::SystemClock;
use crate::exit::Code;
use crate::logins;
use crate::machine;
use crate::output;
use crate::settings::Settings;

/// Prints the report; its code says whether anything is wrong.
///
/// # Errors
/// When not even the data directory's name can be told.
pub fn offline(place: &Place, as_json: bool) -> Result<Code> {
    let report = serde_json::to_value(look(place)?)?;
    if as_json {
        output::json(&report)?;
    } else {
        for line in head(&report) {
            output::line(&output::harmless(&line))?;
        }
        print_findings(list(&report["findings"]))?;
    }
    Ok(if report["healthy"] == Value::Bool(true) { Code::Ok } else { Code::NotHealthy })
}

fn look(place: &Place) -> Result<OfflineReport> {
    let settings = Settings::examine(place);
    let dir = match &settings {
        Ok(settings) => settings.config.data_dir.clone(),
        Err(_) => client::data_dir(place)?,
    };
    let exists = dir.is_dir();
    let mut facts = if exists { machine::facts(&dir) } else { MachineFacts::default() };
    // The limit is that of this command, not of the process that will be started.
    facts.open_files = None;
    let config = match &settings {
        Ok(settings) => {
            machine::add_warnings(&mut facts, settings.warnings.clone());
            Ok(&settings.config)
        }
        Err(diagnosis) => Err(diagnosis.to_string().lines().map(str::to_owned).collect()),
    };
    let logins = settings.as_ref().map(|settings| logins::examine(&dir, &settings.plans)).unwrap_or_default();
    let store = inspect(&dir).map_err(|error| error.to_string());
    Ok(examine_offline(&Offline {
        now: SystemClock::new().wall(),
        config,
        missing: (!exists).then(|| dir.display().to_string()),
        store: store.as_ref().map(Option::as_ref).map_err(Clone::clone),
        logins: &logins,
        running: running(&dir).is_ok(),
        machine: &facts,
    }))
}

/// What there is, before what is wrong with it.
fn head(report: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if report["running"] == Value::Bool(true) {
        lines.push(
            "a process runs on this data directory and knows more: `moorline doctor` asks it".to_owned(),
        );
    }
    let run = &report["last_run"];
    if !run.is_null() {
        let ended = age(&run["ended_at"]).map(|age| format!("ended in order {age} ago"));
        lines.push(format!(
            "last run: version {}, began {} ago, {}; turns under way {}",
            text(&run["version"]),
            age(&run["started_at"]).unwrap_or_default(),
            ended.unwrap_or_else(|| "no orderly end on record".to_owned()),
            report["open_turns"]
        ));
    }
    for (id, counts) in report["accounts"].as_object().into_iter().flatten() {
        lines.push(format!(
            "{id}: received {}, answered {}, pending {}; of ours unsent {}, dead {}",
            counts["received"], counts["answered"], counts["pending"], counts["outbox"], counts["dead"]
        ));
    }
    lines.push(String::new());
    lines
}
