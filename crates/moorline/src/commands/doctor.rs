//! `moorline doctor`: what is wrong, since when, why, and what to do about it.

mod offline;

pub use offline::offline;

use anyhow::Result;
use http::Method;
use serde_json::Value;

use super::{age, ago, text, until};
use crate::cli::Place;
use crate::client::Client;
use crate::exit::{Code, Failed, code_of};
use crate::output;

/// Prints the report; its code says whether anything is wrong.
pub async fn doctor(place: &Place, as_json: bool) -> Result<Code> {
    let report = ask(place).await.map_err(|error| match code_of(&error) {
        Code::Unreachable => {
            let message = format!("{error:#}; `moorline doctor --offline` looks at what is there without it");
            Failed::new(Code::Unreachable, message).into()
        }
        _ => error,
    })?;
    if as_json {
        output::json(&report)?;
    } else {
        for account in list(&report["accounts"]) {
            output::line(&output::harmless(&evidence(account)))?;
        }
        output::line("")?;
        print_findings(list(&report["findings"]))?;
    }
    Ok(if report["healthy"] == Value::Bool(true) { Code::Ok } else { Code::NotHealthy })
}

async fn ask(place: &Place) -> Result<Value> {
    Client::of_running(place)?.expect(Method::GET, "/v1/doctor", None).await
}

fn print_findings(findings: &[Value]) -> Result<()> {
    output::line(&match findings.len() {
        0 => "nothing is wrong".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    })?;
    for finding in findings {
        output::line("")?;
        for line in lines(finding) {
            output::line(&output::harmless(&line))?;
        }
    }
    Ok(())
}

/// One account's signs of life in one line.
fn evidence(account: &Value) -> String {
    let (seen, identity) = (&account["evidence"], &account["identity"]);
    let mut line = format!(
        "{}: {} for {}; last frame {}, last event {}, last sent {}; identity {}",
        text(&account["id"]),
        text(&account["state"]),
        age(&account["since"]).unwrap_or_default(),
        ago(&seen["last_frame_at"]),
        ago(&seen["last_event_at"]),
        ago(&seen["last_sent_at"]),
        text(&identity["state"]),
    );
    if !identity["id"].is_null() {
        line.push_str(&format!(" as {} ({})", text(&identity["name"]), text(&identity["id"])));
    }
    if !account["token"].is_null() {
        let token = &account["token"];
        line.push_str(&format!("; token {}", text(&token["state"])));
        if !token["fetched_at"].is_null() {
            let left = super::moment(&token["expires_at"]).map(|moment| moment > super::now());
            let expiry = match left {
                Some(false) => format!("expired {}", ago(&token["expires_at"])),
                _ => format!("expires {}", until(&token["expires_at"])),
            };
            line.push_str(&format!(", fetched {}, {expiry}", ago(&token["fetched_at"])));
        }
    }
    line
}

fn lines(finding: &Value) -> Vec<String> {
    let account = finding["account"].as_str().map(|id| format!("{id} ")).unwrap_or_default();
    let head = format!(
        "{}: {account}{} [{}]",
        text(&finding["severity"]),
        text(&finding["what"]),
        text(&finding["kind"])
    );
    let mut lines = vec![head];
    if !finding["since"].is_null() {
        let since = age(&finding["since"]).unwrap_or_default();
        let next = match &finding["next_attempt_at"] {
            Value::Null => String::new(),
            next => format!(", next attempt {}", until(next)),
        };
        lines.push(format!("  since: {} ({since}){next}", text(&finding["since"])));
    }
    lines.push(format!("  why:   {}", text(&finding["why"])));
    lines.push(format!("  do:    {}", text(&finding["what_to_do"])));
    lines.push(format!("  more:  {}", text(&finding["page"])));
    lines
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
