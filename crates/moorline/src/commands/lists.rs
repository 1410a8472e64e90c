//! `moorline session`, `inbox`, `outbox` and `gaps`: tables for people, and the endpoint's own JSON for programs.

use anyhow::Result;
use clap::ValueEnum;
use http::Method;
use serde_json::Value;

use super::{account_id, ago, repair, text};
use crate::cli::{Gaps, Inbox, Outbox, Page, Place, Scope, Session};
use crate::client::Client;
use crate::exit::{Code, Failed};
use crate::output::{self, Table, cut, harmless};

/// How wide a text, a session's name and an error may be in a table. An error is the last of its row.
const TEXT_WIDTH: usize = 48;
const NAME_WIDTH: usize = 44;
const ERROR_WIDTH: usize = 120;

/// `moorline session …`.
pub async fn session(place: &Place, action: &Session, as_json: bool) -> Result<Code> {
    match action {
        Session::List { account, state, page } => {
            let mut query = Query::of(page);
            query.put("account", whole(place, account.as_deref()).await?);
            query.put("state", state.as_ref().map(name));
            let answer = get(place, &query.on("/v1/sessions")).await?;
            if as_json { output::json(&answer) } else { sessions_table(&answer) }?;
        }
        Session::Show { session, entries } => {
            let id = session_id(session)?;
            let answer = get(place, &format!("/v1/sessions/{id}?entries={entries}")).await?;
            if as_json { output::json(&answer) } else { show_session(&answer) }?;
        }
        Session::Resume { session } => repair::resume(place, &session_id(session)?, as_json).await?,
        Session::Reset { session } => repair::reset(place, &session_id(session)?, as_json).await?,
    }
    Ok(Code::Ok)
}

/// `moorline inbox …`.
pub async fn inbox(place: &Place, action: &Inbox, as_json: bool) -> Result<Code> {
    match action {
        Inbox::List { scope, state, page } => {
            let query = Query::of_messages(place, scope, state.as_ref().map(name), page).await?;
            let answer = get(place, &query.on("/v1/inbox")).await?;
            if as_json { output::json(&answer) } else { inbox_table(&answer) }?;
        }
        Inbox::Show { id } => {
            let answer = get(place, &format!("/v1/inbox/{id}")).await?;
            if as_json { output::json(&answer) } else { show_received(&answer) }?;
        }
    }
    Ok(Code::Ok)
}

/// `moorline outbox …`.
pub async fn outbox(place: &Place, action: &Outbox, as_json: bool) -> Result<Code> {
    match action {
        Outbox::List { scope, state, page } => {
            let query = Query::of_messages(place, scope, state.as_ref().map(name), page).await?;
            let answer = get(place, &query.on("/v1/outbox")).await?;
            if as_json { output::json(&answer) } else { outbox_table(&answer) }?;
        }
        Outbox::Show { id } => {
            let answer = get(place, &format!("/v1/outbox/{id}")).await?;
            if as_json { output::json(&answer) } else { show_ours(&answer) }?;
        }
        Outbox::Retry { id } => repair::retry(place, *id, as_json).await?,
        Outbox::Discard { id } => repair::discard(place, *id, as_json).await?,
    }
    Ok(Code::Ok)
}

/// `moorline gaps`.
pub async fn gaps(place: &Place, gaps: &Gaps, as_json: bool) -> Result<Code> {
    let mut query = Query::of(&gaps.page);
    query.put("account", whole(place, gaps.account.as_deref()).await?);
    let answer = get(place, &query.on("/v1/gaps")).await?;
    if as_json { output::json(&answer) } else { gaps_table(&answer) }?;
    Ok(Code::Ok)
}

/// An account's whole id, if one was typed.
async fn whole(place: &Place, typed: Option<&str>) -> Result<Option<String>> {
    match typed {
        Some(typed) => account_id(&Client::of_running(place)?, typed).await.map(Some),
        None => Ok(None),
    }
}

async fn get(place: &Place, path: &str) -> Result<Value> {
    Client::of_running(place)?.expect(Method::GET, path, None).await
}

// === What is asked ===

/// The parameters of a list.
struct Query(Vec<String>);

impl Query {
    fn of(page: &Page) -> Self {
        let mut query = Self(vec![format!("limit={}", page.limit)]);
        query.put("before", page.before);
        query
    }

    async fn of_messages(place: &Place, scope: &Scope, state: Option<String>, page: &Page) -> Result<Self> {
        let mut query = Self::of(page);
        query.put("account", whole(place, scope.account.as_deref()).await?);
        query.put("conversation", scope.conversation.as_ref());
        query.put("state", state);
        Ok(query)
    }

    fn put(&mut self, name: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| format!("{name}={}", encoded(&value.to_string(), b"-._~"))));
    }

    fn on(&self, path: &str) -> String {
        format!("{path}?{}", self.0.join("&"))
    }
}

/// As it is typed, which is how the endpoint calls it.
pub(super) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A session's id is used as it was printed; one that was put together by hand may lack the encoding.
fn session_id(given: &str) -> Result<String> {
    if given.contains('~') {
        Ok(encoded(given, b"-._~:@%"))
    } else {
        let message =
            format!("`{given}` is not a session: `moorline session list` shows them as account~conversation");
        Err(Failed::new(Code::Usage, message).into())
    }
}

pub(super) fn encoded(text: &str, kept: &[u8]) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

// === What is shown ===

fn sessions_table(answer: &Value) -> Result<()> {
    let head = [
        "SESSION", "STATE", "ACTIVE", "RECEIVED", "ANSWERED", "PENDING", "HELD", "DROPPED", "ENTRIES", "TURN",
    ];
    list(answer, "sessions", &head, |session| {
        let mut row =
            vec![foreign(&session["id"], NAME_WIDTH), text(&session["state"]), ago(&session["active_at"])];
        let counts = ["received", "answered", "pending", "held", "dropped", "entries"];
        row.extend(counts.iter().map(|name| session[name].to_string()));
        row.push(turn(&session["turn"]));
        row
    })
}

fn inbox_table(answer: &Value) -> Result<()> {
    let head = ["ID", "RECEIVED", "STATE", "SESSION", "TEXT"];
    list(answer, "messages", &head, |message| {
        vec![
            message["id"].to_string(),
            ago(&message["received_at"]),
            state(message),
            foreign(&message["session"], NAME_WIDTH),
            foreign(&message["text"], TEXT_WIDTH),
        ]
    })
}

fn outbox_table(answer: &Value) -> Result<()> {
    let head = ["ID", "CREATED", "STATE", "ATTEMPTS", "SESSION", "TEXT", "LAST ERROR"];
    list(answer, "messages", &head, |message| {
        let error = &message["last_error"];
        vec![
            message["id"].to_string(),
            ago(&message["created_at"]),
            ours_state(message),
            message["attempts"].to_string(),
            foreign(&message["session"], NAME_WIDTH),
            foreign(&message["text"], TEXT_WIDTH),
            if error.is_null() { String::new() } else { foreign(error, ERROR_WIDTH) },
        ]
    })
}

/// Why messages may be missing is a sentence, and stands below its row.
fn gaps_table(answer: &Value) -> Result<()> {
    page(answer, "gaps", gaps_rows)
}

fn gaps_rows(gaps: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "ACCOUNT", "FROM", "TO", "KIND"]);
    for gap in gaps {
        let names = ["id", "account", "from", "to", "kind"];
        table.row(names.iter().map(|name| text(&gap[*name])).collect());
        table.note(&foreign(&gap["why"], usize::MAX));
    }
    table
}

/// A table of one page, and how to get the next one.
fn list(
    answer: &Value,
    name: &str,
    head: &[&'static str],
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<()> {
    page(answer, name, |rows| {
        let mut table = Table::new(head);
        rows.iter().for_each(|found| table.row(row(found)));
        table
    })
}

fn page(answer: &Value, name: &str, table: impl Fn(&[Value]) -> Table) -> Result<()> {
    let rows = answer[name].as_array().map_or(&[][..], Vec::as_slice);
    let next = &answer["next"];
    if rows.is_empty() {
        output::line(&format!("no {name}{}", if next.is_null() { "" } else { " on this page" }))?;
    } else {
        table(rows).print()?;
    }
    if next.is_null() { Ok(()) } else { output::line(&format!("\nmore with --before {next}")) }
}

fn show_session(session: &Value) -> Result<()> {
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("session", foreign(&session["id"], usize::MAX));
    row("state", text(&session["state"]));
    row("active", ago(&session["active_at"]));
    if !session["turn"].is_null() {
        row("turn", format!("{} {}", session["turn"]["id"], turn(&session["turn"])));
    }
    for name in ["received", "answered", "pending", "held", "dropped", "entries"] {
        row(name, session[name].to_string());
    }
    table.print()?;
    for entry in session["transcript"].as_array().map_or(&[][..], Vec::as_slice) {
        let words = harmless(&text(&entry["text"])).replace('\n', "\n    ");
        output::line(&format!("\n{}, {}\n    {words}", text(&entry["role"]), ago(&entry["at"])))?;
    }
    Ok(())
}

fn show_received(message: &Value) -> Result<()> {
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("message", message["id"].to_string());
    row("session", foreign(&message["session"], usize::MAX));
    row("state", state(message));
    row("received", ago(&message["received_at"]));
    row("written", ago(&message["written_at"]));
    if !message["settled_at"].is_null() {
        row("settled", ago(&message["settled_at"]));
    }
    row("chat", foreign(&message["chat"]["id"], usize::MAX));
    row("chat kind", text(&message["chat"]["kind"]));
    row("message id", foreign(&message["message_id"], usize::MAX));
    row("event id", foreign(&message["event_id"], usize::MAX));
    row("delivery", format!("{} bytes", message["raw_bytes"]));
    row("facts", harmless(&message["facts"].to_string()));
    table.print()?;
    words(message)
}

fn show_ours(message: &Value) -> Result<()> {
    let mut table = Table::new(&["", ""]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("message", message["id"].to_string());
    row("session", foreign(&message["session"], usize::MAX));
    row("state", ours_state(message));
    row("created", ago(&message["created_at"]));
    row("attempts", message["attempts"].to_string());
    let times = [
        ("first attempt", "first_attempt_at"),
        ("given up", "ended_at"),
        ("retried", "retried_at"),
        ("sent", "sent_at"),
    ];
    for (name, key) in times {
        if !message[key].is_null() {
            row(name, ago(&message[key]));
        }
    }
    if !message["not_before"].is_null() {
        row("next attempt", super::until(&message["not_before"]));
    }
    if !message["last_error"].is_null() {
        row("last error", foreign(&message["last_error"], usize::MAX));
    }
    row("to", foreign(&message["route"]["chat"], usize::MAX));
    row("answers", foreign(&message["route"]["reply_to"], usize::MAX));
    row("message id", foreign(&message["message_id"], usize::MAX));
    row("key", foreign(&message["idempotency_key"], usize::MAX));
    table.print()?;
    words(message)
}

fn words(message: &Value) -> Result<()> {
    output::line(&format!("\n{}", harmless(&text(&message["text"]))))
}

/// A state with its reason.
fn state(message: &Value) -> String {
    let state = text(&message["state"]);
    if message["reason"].is_null() { state } else { format!("{state}: {}", text(&message["reason"])) }
}

/// A state, and whether a user may see the message twice, or not at all.
fn ours_state(message: &Value) -> String {
    let marks = [("possibly_repeated", ", maybe twice"), ("delivery_doubted", ", maybe shown to nobody")];
    let marks = marks.into_iter().filter(|(name, _)| message[*name] == Value::Bool(true));
    marks.fold(text(&message["state"]), |state, (_, mark)| state + mark)
}

fn turn(turn: &Value) -> String {
    if turn.is_null() {
        return String::new();
    }
    let began = super::age(&turn["since"]).unwrap_or_default();
    format!("{} for {began}, attempt {}", text(&turn["state"]), turn["attempt"])
}

/// A text that we did not write.
pub(super) fn foreign(value: &Value, width: usize) -> String {
    cut(&text(value), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was the last of six columns, cut off, and broken by the terminal wherever that ended.
    #[test]
    fn why_messages_may_be_missing_can_be_read_whole() {
        let why = "an answer was cut off after it had been asked for: what was in it may never come again; and again, \
                   the connection ended without a goodbye while it was open, which says nothing of what was under way";
        let gap = serde_json::json!({
            "id": 1, "account": "weixin:main", "from": "2026-11-20T22:04:11.020Z",
            "to": "2026-11-21T06:31:40.773Z", "kind": "handed_out", "why": why,
        });
        let table = gaps_rows(&[gap.clone(), gap]).render(false);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "ID  ACCOUNT      FROM                      TO                        KIND");
        assert!(lines[1].ends_with("  handed_out"), "{table}");
        let read: Vec<&str> = lines[2..].iter().map_while(|line| line.strip_prefix("    ")).collect();
        assert_eq!(read.join(" "), why, "{table}");
        assert!(lines.iter().all(|line| line.chars().count() <= 90), "{table}");
    }

    #[test]
    fn a_state_says_what_is_doubted() {
        let state = |twice: bool, shown: bool| {
            ours_state(&serde_json::json!({
                "state": "sent", "possibly_repeated": twice, "delivery_doubted": shown
            }))
        };
        assert_eq!(state(false, false), "sent");
        assert_eq!(state(true, false), "sent, maybe twice");
        assert_eq!(state(false, true), "sent, maybe shown to nobody");
    }

    #[test]
    fn what_is_typed_goes_into_a_path_whole() {
        let mut query = Query::of(&Page { limit: 7, before: Some(9) });
        query.put("conversation", Some("a/b&c=d ü"));
        query.put("state", None::<String>);
        assert_eq!(query.on("/v1/inbox"), "/v1/inbox?limit=7&before=9&conversation=a%2Fb%26c%3Dd%20%C3%BC");
        assert_eq!(session_id("feishu:main~oc%2F1").unwrap(), "feishu:main~oc%2F1");
        assert_eq!(session_id("feishu:main~oc/1?").unwrap(), "feishu:main~oc%2F1%3F");
        assert!(session_id("oc_1").is_err());
    }
}
