//! `moorline trace`: the life of a message, step by step.

use anyhow::Result;
use http::Method;
use serde_json::Value;

use super::lists::{encoded, foreign};
use super::text;
use crate::cli::Place;
use crate::client::Client;
use crate::exit::Code;
use crate::output::{self, Table};

/// How wide a text may be above the steps.
const TEXT_WIDTH: usize = 100;

/// `moorline trace`.
pub async fn trace(place: &Place, message: &str, as_json: bool) -> Result<Code> {
    let path = format!("/v1/trace/{}", encoded(message, b"-._~:"));
    let answer = Client::of_running(place)?.expect(Method::GET, &path, None).await?;
    if as_json {
        output::json(&answer)?;
        return Ok(Code::Ok);
    }
    let rows = |name: &str| answer[name].as_array().map_or(&[][..], Vec::as_slice);
    for row in rows("received") {
        head("in", row, &row["event_id"])?;
    }
    for row in rows("sent") {
        head("out", row, &row["idempotency_key"])?;
    }
    output::line("")?;
    let mut table = Table::new(&["WHEN", "OF", "WHAT", ""]);
    for step in rows("steps") {
        let detail = &step["detail"];
        table.row(vec![
            text(&step["at"]),
            text(&step["of"]),
            text(&step["what"]),
            if detail.is_null() { String::new() } else { foreign(detail, TEXT_WIDTH) },
        ]);
    }
    table.print()?;
    Ok(Code::Ok)
}

/// One message: its number, its state, its names and its text.
fn head(kind: &str, row: &Value, other_name: &Value) -> Result<()> {
    let id = &row["id"];
    let reason = if row["reason"].is_null() { String::new() } else { format!(" ({})", text(&row["reason"])) };
    let twice = if row["possibly_repeated"] == Value::Bool(true) { ", maybe seen twice" } else { "" };
    let shown = if row["delivery_doubted"] == Value::Bool(true) { ", maybe shown to nobody" } else { "" };
    output::line(&format!(
        "{kind}:{id} {}{reason}{twice}{shown}, {} {} in {}: {}",
        text(&row["state"]),
        foreign(&row["message_id"], usize::MAX),
        foreign(other_name, usize::MAX),
        foreign(&row["session"], usize::MAX),
        foreign(&row["text"], TEXT_WIDTH)
    ))
}
