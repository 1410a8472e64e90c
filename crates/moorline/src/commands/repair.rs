//! What is done about messages that are stuck.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::lists::foreign;
use super::{sum, text};
use crate::cli::Place;
use crate::client::Client;
use crate::exit::Code;
use crate::output::{self, Table};

/// `moorline outbox retry`.
pub async fn retry(place: &Place, id: u64, as_json: bool) -> Result<()> {
    let answer = post(place, &format!("/v1/outbox/{id}/retry")).await?;
    said(as_json, &answer, || format!("message {id} is sent now; its key is the one it always had"))
}

/// `moorline outbox discard`.
pub async fn discard(place: &Place, id: u64, as_json: bool) -> Result<()> {
    let answer = post(place, &format!("/v1/outbox/{id}/discard")).await?;
    said(as_json, &answer, || format!("message {id} is discarded and will not be sent"))
}

/// `moorline session resume`.
pub async fn resume(place: &Place, session: &str, as_json: bool) -> Result<()> {
    let answer = post(place, &format!("/v1/sessions/{session}/resume")).await?;
    let resumed = &answer["resumed"];
    said(as_json, &answer, || match (text(&resumed["from"]).as_str(), &resumed["waits_for_channel"]) {
        ("parked", _) => format!("{} messages that had been given up are answered now", resumed["messages"]),
        ("interrupted", Value::Bool(true)) => {
            "the interrupted turn is taken up as soon as its account is ready".to_owned()
        }
        ("interrupted", _) => "the interrupted turn is taken up now".to_owned(),
        _ => "the messages that wait are answered now".to_owned(),
    })
}

/// `moorline session reset`.
pub async fn reset(place: &Place, session: &str, as_json: bool) -> Result<()> {
    let answer = post(place, &format!("/v1/sessions/{session}/reset")).await?;
    said(as_json, &answer, || {
        let turn = &answer["given_up"];
        let given_up = if turn.is_null() { String::new() } else { format!(", turn {turn} was given up") };
        let waiting = &answer["session"]["pending"];
        format!("the session begins anew{given_up}; {waiting} messages wait to be answered")
    })
}

/// `moorline account discard-rows`. The endpoint works for some seconds at a time, and is asked until it is done.
pub async fn discard_rows(client: &Client, id: &str, as_json: bool) -> Result<Code> {
    let path = format!("/v1/accounts/{id}/rows");
    let answer = loop {
        let answer = client.expect(Method::DELETE, &path, None).await?;
        if answer["done"] != json!(false) {
            break answer;
        }
        output::note(&format!("{id}: {} messages left", answer["counts"]["received"]));
    };
    let login = if answer["login_removed"] == json!(true) { ", and its saved login" } else { "" };
    said(as_json, &answer, || format!("{id}: every row is deleted{login}"))?;
    Ok(Code::Ok)
}

/// The accounts that are not configured and have rows, below the others.
pub fn orphans(orphaned: &Value) -> Result<()> {
    let orphaned = orphaned.as_array().map_or(&[][..], Vec::as_slice);
    if orphaned.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["NOT CONFIGURED", "RECEIVED", "PENDING", "HELD", "OUTBOX", "DEAD"]);
    for orphan in orphaned {
        let counts = &orphan["counts"];
        table.row(vec![
            foreign(&orphan["id"], usize::MAX),
            counts["received"].to_string(),
            counts["pending"].to_string(),
            sum(&counts["held"]).to_string(),
            counts["outbox"].to_string(),
            counts["dead"].to_string(),
        ]);
    }
    output::line("")?;
    table.print()
}

async fn post(place: &Place, path: &str) -> Result<Value> {
    Client::of_running(place)?.expect(Method::POST, path, None).await
}

fn said(as_json: bool, answer: &Value, words: impl FnOnce() -> String) -> Result<()> {
    if as_json { output::json(answer) } else { output::line(&words()) }
}
