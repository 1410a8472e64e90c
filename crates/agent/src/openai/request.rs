//! What the model is asked.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use moorline_channel::HttpRequest;
use serde_json::{Value, json};
use url::Url;

use super::OpenAi;
use crate::turn::{AgentError, SILENT, Turn};

/// The longest answer, with whatever the endpoint puts around it.
const BODY_LIMIT: usize = 4 << 20;

/// The request for a turn.
///
/// # Errors
/// [`AgentError::Refused`] when there can be none: what is configured makes no address, or no header.
pub(super) fn of(agent: &OpenAi, turn: &Turn) -> Result<HttpRequest, AgentError> {
    let address = format!("{}/chat/completions", agent.base_url.trim_end_matches('/'));
    let url = Url::parse(&address).map_err(|_| refused("base_url is no address"))?;
    let mut request = HttpRequest::new(Method::POST, url);
    let json = HeaderValue::from_static("application/json");
    request.headers.insert(CONTENT_TYPE, json.clone());
    request.headers.insert(ACCEPT, json);
    if let Some(key) = &agent.api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|_| refused("api_key has characters that no header can carry"))?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
    }
    let body = json!({ "model": agent.model, "messages": messages(agent, turn), "stream": false });
    request.body = body.to_string().into();
    request.body_limit = BODY_LIMIT;
    request.idempotent = true;
    Ok(request)
}

/// System prompt, transcript, the note about an interruption, input. One message of the user for each turn: many models
/// want users and assistants to take turns.
fn messages(agent: &OpenAi, turn: &Turn) -> Vec<Value> {
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let prompt = agent.system_prompt.iter().map(|prompt| message("system", prompt));
    // The oldest turn may have lost its beginning.
    let whole = turn.recent().iter().filter(|exchange| !exchange.input.is_empty());
    let transcript = whole.flat_map(|exchange| {
        let said = exchange.reply.text().unwrap_or(SILENT);
        [message("user", &exchange.input.join("\n")), message("assistant", said)]
    });
    let note = turn.note().map(|note| message("system", note));
    prompt.chain(transcript).chain(note).chain([message("user", &turn.text())]).collect()
}

fn refused(reason: &str) -> AgentError {
    AgentError::Refused { reason: reason.to_owned() }
}
