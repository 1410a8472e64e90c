//! The commands that talk to a running process.

pub mod cron;
mod doctor;
pub mod end;
pub mod lists;
pub mod login;
pub mod repair;
pub mod trace;
mod watch;

pub use doctor::{doctor, offline};
pub use watch::watch;

use anyhow::Result;
use http::{Method, StatusCode};
use moorline_admin::LONGEST_BODY;
use moorline_core::{Timestamp, millis};
use serde_json::{Value, json};

use crate::cli::{self, Account, Place};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::exit::{Code, Failed};
use crate::output::{self, Table, span};

/// `moorline status`.
pub async fn status(place: &Place, as_json: bool) -> Result<Code> {
    let status = Client::of_running(place)?.expect(Method::GET, "/v1/status", None).await?;
    let ready = status["ready"].as_bool().unwrap_or(false);
    if as_json {
        output::json(&status)?;
    } else {
        let up = age(&status["started_at"]).map_or_else(String::new, |up| format!(", up {up}"));
        let word = if ready { "ready" } else { "NOT READY" };
        output::line(&format!(
            "moorline {} (pid {}{up}): {word}, store {}, turns running {}, waiting {}",
            text(&status["version"]),
            status["pid"],
            text(&status["store"]["state"]),
            status["turns"]["running"],
            status["turns"]["waiting"]
        ))?;
        for (name, agent) in status["agents"].as_object().into_iter().flatten() {
            if agent["state"] != "ok" {
                output::line(&format!(
                    "agent {name} is {} for {}: {}; next attempt {}",
                    text(&agent["state"]),
                    age(&agent["since"]).unwrap_or_default(),
                    text(&agent["last_error"]),
                    until(&agent["next_attempt_at"])
                ))?;
            }
        }
        output::line("")?;
        let accounts = status["accounts"].as_array().map_or(&[][..], Vec::as_slice);
        accounts_table(accounts).print()?;
        login_problems(accounts)?;
        repair::orphans(&status["orphaned"])?;
    }
    Ok(if ready { Code::Ok } else { Code::NotHealthy })
}

/// `moorline tree`.
pub async fn tree(place: &Place, as_json: bool) -> Result<Code> {
    let tree = Client::of_running(place)?.expect(Method::GET, "/v1/tree", None).await?;
    if as_json {
        output::json(&tree)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["ACTOR", "STATE", "GENERATION", "RESTARTS", "IN FLIGHT", "LAST EXIT"]);
    let nodes = tree.get("actors").unwrap_or(&tree);
    for node in nodes.as_array().map_or(&[][..], Vec::as_slice) {
        let path = text(&node["path"]);
        let depth = path.matches('/').count();
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let exit = &node["last_exit"];
        let last = if exit.is_null() {
            "-".to_owned()
        } else {
            let reason = &exit["reason"];
            let kind = reason["kind"].as_str().or(reason.as_str()).unwrap_or("-");
            let message = reason["message"].as_str().map(|m| format!(": {m}")).unwrap_or_default();
            format!("{} ago, {kind}{message}", age(&exit["at"]).unwrap_or_default())
        };
        table.row(vec![
            format!("{}{name}", "  ".repeat(depth)),
            text(&node["state"]),
            node["generation"].to_string(),
            node["restarts"].to_string(),
            node["in_flight"].to_string(),
            last,
        ]);
    }
    table.print()?;
    Ok(Code::Ok)
}

/// `moorline account …`.
pub async fn account(place: &Place, action: &Account, as_json: bool) -> Result<Code> {
    let client = Client::of_running(place)?;
    let (verb, id) = match action {
        Account::List => {
            let accounts = client.expect(Method::GET, "/v1/accounts", None).await?;
            if as_json {
                output::json(&accounts)?;
            } else {
                let list = accounts.get("accounts").unwrap_or(&accounts);
                let accounts = list.as_array().map_or(&[][..], Vec::as_slice);
                accounts_table(accounts).print()?;
                login_problems(accounts)?;
            }
            return Ok(Code::Ok);
        }
        Account::Show { account } => return show(&client, account, as_json).await,
        Account::DiscardRows { account } => {
            let id = account_id(&client, account).await?;
            return repair::discard_rows(&client, &id, as_json).await;
        }
        Account::Start { account } => ("start", account),
        Account::Stop { account } => ("stop", account),
        Account::Restart { account } => ("restart", account),
        Account::Probe { account } => ("probe", account),
    };
    let id = account_id(&client, id).await?;
    let answer = client.expect(Method::POST, &format!("/v1/accounts/{id}/{verb}"), None).await?;
    if as_json {
        output::json(&answer)?;
    } else {
        output::line(&format!("{id}: {}", text(&answer["reason"])))?;
    }
    Ok(Code::Ok)
}

/// An account's id as it was typed, or that of the one account that has this name on any channel.
async fn account_id(client: &Client, typed: &str) -> Result<String> {
    if typed.contains(':') {
        let misspelt = |error| Failed::new(Code::Usage, format!("`{typed}` is not an account: {error}"));
        typed.parse::<moorline_core::AccountId>().map_err(misspelt)?;
        return Ok(typed.to_owned());
    }
    let status = client.expect(Method::GET, "/v1/status", None).await?;
    // Those that are not configured any more have rows to be looked at.
    let all =
        ["accounts", "orphaned"].into_iter().flat_map(|list| status[list].as_array().into_iter().flatten());
    let ids = all.map(|account| text(&account["id"]));
    let mut named: Vec<String> =
        ids.filter(|id| id.split_once(':').is_some_and(|(_, name)| name == typed)).collect();
    match (named.pop(), named.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(id), false) => {
            let message = format!("`{typed}` may be {id} or {}: name the channel too", named.join(" or "));
            Err(Failed::new(Code::Usage, message).into())
        }
        (None, _) => Err(Failed::new(Code::Usage, format!("there is no account `{typed}`")).into()),
    }
}

async fn show(client: &Client, id: &str, as_json: bool) -> Result<Code> {
    let id = account_id(client, id).await?;
    let account = client.expect(Method::GET, &format!("/v1/accounts/{id}"), None).await?;
    if as_json {
        output::json(&account)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("account", text(&account["id"]));
    row("state", format!("{} for {}", text(&account["state"]), age(&account["since"]).unwrap_or_default()));
    row("generation", account["generation"].to_string());
    if !account["cause"].is_null() {
        row(
            "cause",
            format!("{} ({})", text(&account["cause"]["message"]), text(&account["cause"]["class"])),
        );
        row("attempt", account["attempt"].to_string());
        row("next attempt", until(&account["next_attempt_at"]));
    }
    let identity = &account["identity"];
    row(
        "identity",
        format!("{} {} {}", text(&identity["state"]), text(&identity["name"]), text(&identity["id"])),
    );
    if !identity["last_error"].is_null() {
        row(
            "identity error",
            format!("{}, next probe {}", text(&identity["last_error"]), until(&identity["next_attempt_at"])),
        );
    }
    for (name, key) in [
        ("connected", "connected_at"),
        ("last frame", "last_frame_at"),
        ("last event", "last_event_at"),
        ("last sent", "last_sent_at"),
    ] {
        row(name, ago(&account["evidence"][key]));
    }
    let login = &account["login"];
    if !login["saved_at"].is_null() {
        let person = login["person"].as_str().map(|person| format!("{person}, ")).unwrap_or_default();
        row("login", format!("{person}saved {}", ago(&login["saved_at"])));
    }
    if !login["problem"].is_null() {
        row("login problem", text(&login["problem"]));
    }
    let counts = &account["counts"];
    for name in
        ["received", "answered", "pending", "duplicates", "outbox", "outbox_held", "dead", "discarded"]
    {
        row(&name.replace('_', " "), counts[name].to_string());
    }
    for name in ["dropped", "held"] {
        row(name, reasons(&counts[name]));
    }
    let (gaps, last) = (&account["gaps"], &account["gaps"]["last"]);
    let since = if last.is_null() { String::new() } else { format!(", the last ended {}", ago(&last["to"])) };
    row("gaps", format!("{}{since}", gaps["count"]));
    if !account["suspicion"].is_null() {
        row("may be deaf", text(&account["suspicion"]["why"]));
    }
    table.print()?;
    Ok(Code::Ok)
}

/// `moorline send`.
pub async fn send(place: &Place, send: &cli::Send, as_json: bool) -> Result<Code> {
    let mut body = json!({ "to": send.to, "text": send.text });
    if let Some(key) = &send.idempotency_key {
        body["idempotency_key"] = json!(key);
    }
    // Refused here: the endpoint closes the connection on a request that is too long, before all of it is written.
    let length = body.to_string().len();
    if length > LONGEST_BODY {
        let message =
            format!("the message is {length} bytes as it is sent, and the endpoint takes {LONGEST_BODY}");
        return Err(Failed::new(Code::Usage, message).into());
    }
    let client = Client::of_running(place)?;
    let path = format!("/v1/accounts/{}/messages", account_id(&client, &send.account).await?);
    let answer = client.expect(Method::POST, &path, Some(&body)).await?;
    if as_json {
        output::json(&answer)?;
    } else {
        let again = if answer["repeated"] == json!(true) { ", sent before under this key" } else { "" };
        // What the endpoint calls ready has only been put into the outbox.
        let state = text(&answer["state"]);
        let state = if state == "ready" { "queued" } else { &state };
        output::line(&format!("message {} is {state}{again}", answer["id"]))?;
    }
    Ok(Code::Ok)
}

/// `moorline reload`.
pub async fn reload(place: &Place, as_json: bool) -> Result<Code> {
    let answer = Client::of_running(place)?.call(Method::POST, "/v1/reload", None).await?;
    if !answer.status.is_success() {
        let message = text(&answer.body["error"]["message"]);
        let invalid = answer.status == StatusCode::UNPROCESSABLE_ENTITY;
        return Err(
            Failed::new(if invalid { Code::BadConfiguration } else { Code::Unreachable }, message).into()
        );
    }
    if as_json {
        output::json(&answer.body)?;
        return Ok(Code::Ok);
    }
    for (key, word) in [
        ("added", "added"),
        ("removed", "removed"),
        ("reconnected", "connecting anew"),
        ("updated", "updated without touching the connection"),
        ("needs_restart", "takes effect only when restarted"),
    ] {
        for name in answer.body[key].as_array().map_or(&[][..], Vec::as_slice) {
            output::line(&format!("{}: {word}", text(name)))?;
        }
    }
    output::line(&format!("{} accounts untouched", answer.body["untouched"]))?;
    for unread in answer.body["unreadable_logins"].as_array().map_or(&[][..], Vec::as_slice) {
        let line = format!("{}: {}", text(&unread["account"]), text(&unread["why"]));
        output::line(&output::harmless(&line))?;
    }
    Ok(Code::Ok)
}

fn accounts_table(accounts: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ACCOUNT",
        "STATE",
        "FOR",
        "IDENTITY",
        "LAST FRAME",
        "LAST EVENT",
        "LAST SENT",
        "RECEIVED",
        "ANSWERED",
        "PENDING",
        "DROPPED",
        "HELD",
        "OUTBOX",
        "AWAITS USER",
        "DEAD",
        "WHY NOT READY",
    ]);
    for account in accounts {
        let (counts, evidence) = (&account["counts"], &account["evidence"]);
        let cause = &account["cause"];
        let why = if cause.is_null() {
            String::new()
        } else {
            format!(
                "{} [{}], attempt {} {}",
                text(&cause["message"]),
                text(&cause["class"]),
                account["attempt"],
                until(&account["next_attempt_at"])
            )
        };
        table.row(vec![
            text(&account["id"]),
            text(&account["state"]),
            age(&account["since"]).unwrap_or_default(),
            text(&account["identity"]["state"]),
            ago(&evidence["last_frame_at"]),
            ago(&evidence["last_event_at"]),
            ago(&evidence["last_sent_at"]),
            counts["received"].to_string(),
            counts["answered"].to_string(),
            counts["pending"].to_string(),
            sum(&counts["dropped"]).to_string(),
            sum(&counts["held"]).to_string(),
            counts["outbox"].to_string(),
            counts["outbox_held"].to_string(),
            counts["dead"].to_string(),
            why,
        ]);
    }
    table
}

/// The logins that something is wrong with, of accounts that go on with the one they have. Of an account without one this is
/// why it is not ready.
fn login_problems(accounts: &[Value]) -> anyhow::Result<()> {
    let in_use = accounts.iter().filter(|account| !account["login"]["saved_at"].is_null());
    for account in in_use.filter(|account| !account["login"]["problem"].is_null()) {
        let (id, problem) = (text(&account["id"]), text(&account["login"]["problem"]));
        output::line(&output::harmless(&format!("{id} goes on with the login it has: {problem}")))?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { "-".to_owned() } else { value.to_string() }, str::to_owned)
}

fn sum(reasons: &Value) -> u64 {
    reasons.as_object().map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum())
}

fn reasons(reasons: &Value) -> String {
    let listed = reasons.as_object().into_iter().flatten().map(|(reason, count)| format!("{reason} {count}"));
    let listed: Vec<String> = listed.collect();
    if listed.is_empty() { "0".to_owned() } else { listed.join(", ") }
}

fn moment(value: &Value) -> Option<Timestamp> {
    serde_json::from_value(value.clone()).ok()
}

fn now() -> Timestamp {
    moorline_core::Clock::wall(&SystemClock::new())
}

fn age(value: &Value) -> Option<String> {
    let passed = moorline_core::Clock::wall(&SystemClock::new()).since(moment(value)?);
    Some(span(millis(passed)))
}

fn ago(value: &Value) -> String {
    age(value).map_or_else(|| "never".to_owned(), |age| format!("{age} ago"))
}

fn until(value: &Value) -> String {
    match moment(value) {
        Some(moment) => {
            let wait = moment.since(moorline_core::Clock::wall(&SystemClock::new()));
            format!("in {}", span(millis(wait)))
        }
        None => "under way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies that wait for their user were in no column, and the account looked as if all were said (F-060).
    #[test]
    fn the_status_shows_what_waits_for_its_user_f060() {
        let account = json!({
            "id": "weixin:main", "state": "ready",
            "counts": { "received": 9, "answered": 9, "pending": 0, "dropped": {}, "held": { "identity": 1 },
                        "outbox": 5, "outbox_held": 3, "dead": 2 },
        });
        let table = accounts_table(&[account]).render(false);
        let (head, row) = table.split_once('\n').unwrap();
        for (column, value) in [("HELD", "1"), ("OUTBOX", "5"), ("AWAITS USER", "3"), ("DEAD", "2")] {
            let at = head.find(column).unwrap();
            assert!(row[at..].starts_with(&format!("{value} ")) || &row[at..] == value, "{column}: {table}");
        }
    }
}
