//! What the endpoint's answers mean. Its own words are never repeated: they may quote the key (F-090).

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::fmt::rfc2822::DateTimeParser;
use moorline_channel::HttpResponse;
use serde::Deserialize;
use serde_json::Value;

use crate::turn::{AgentError, Reply};

/// An answer of the endpoint.
pub(super) enum Answer {
    /// It says what became of the turn.
    Given(Result<Reply, AgentError>),
    /// A success that is no chat completion.
    Unreadable,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Value,
}

#[derive(Deserialize)]
struct Message {
    /// A string, or parts of which some have `text`.
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Value,
}

pub(super) fn read(response: &HttpResponse) -> Answer {
    if !response.status.is_success() {
        return Answer::Given(Err(refusal(response.status, &response.headers)));
    }
    let Ok(completion) = serde_json::from_slice::<Completion>(&response.body) else {
        return Answer::Unreadable;
    };
    match completion.choices.first() {
        Some(choice) => Answer::Given(said(choice)),
        // Gateways in front of several endpoints say so what went wrong behind them.
        None => match status_of(&completion.error) {
            Some(status) => Answer::Given(Err(refusal(status, &response.headers))),
            None => Answer::Unreadable,
        },
    }
}

fn status_of(error: &Value) -> Option<StatusCode> {
    let code = u16::try_from(error.get("code")?.as_u64()?).ok()?;
    StatusCode::from_u16(code).ok().filter(|status| status.is_client_error() || status.is_server_error())
}

fn said(choice: &Choice) -> Result<Reply, AgentError> {
    let refused = |reason: &str| Err(AgentError::Refused { reason: reason.to_owned() });
    let content = text(&choice.message.content);
    let reason = choice.finish_reason.as_str();
    if reason == Some("content_filter") {
        return refused("its content filter stopped the answer");
    }
    if !content.trim().is_empty() {
        // Models like to begin with empty lines.
        return Reply::from_backend(content.trim());
    }
    if choice.message.refusal.as_str().is_some_and(|refusal| !refusal.is_empty()) {
        return refused("the model refused to answer");
    }
    match reason {
        Some("length") => refused("it ran out of tokens before it had said anything"),
        Some("tool_calls" | "function_call") => refused("it asked for a tool, and was offered none"),
        _ => Reply::from_backend(content),
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// What a status means that is no success.
fn refusal(status: StatusCode, headers: &HeaderMap) -> AgentError {
    let code = status.as_u16();
    let advice = match code {
        408 | 409 | 425 | 429 | 500..=599 => {
            let reason = format!("status {code}");
            return AgentError::Unavailable { reason, retry_after: wait_demanded(headers) };
        }
        300..=399 => "a redirect, which is not followed: base_url has to be the final address",
        400 | 422 => "check model and system_prompt; the conversation may be too long for the model",
        401 => "check api_key",
        403 => "check whether the key in api_key may use the model",
        404 | 405 => "check base_url and model",
        413 => "the conversation is too long for it",
        _ => "check base_url, model and api_key",
    };
    AgentError::Refused { reason: format!("status {code}: {advice}") }
}

/// How long the endpoint wants us to wait: seconds, or a date, which is measured by the endpoint's own clock.
fn wait_demanded(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let demanded = text(RETRY_AFTER)?;
    if let Ok(seconds) = demanded.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let (until, now) = (date(demanded)?, date(text(DATE)?)?);
    Duration::try_from(until.duration_since(now)).ok()
}
