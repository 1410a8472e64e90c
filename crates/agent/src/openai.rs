//! Models behind an OpenAI-compatible endpoint, asked over the chat completions API, answers not streamed.

mod answer;
mod request;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, HttpRequest, NetworkError, NetworkErrorKind};
use moorline_core::Secret;
use tokio::time::Instant;

use crate::turn::{Agent, AgentError, Reply, Turn};
use answer::Answer;

/// How often an answer is asked for that cannot be read: a proxy's page may pass, and the wrong address does not.
const READINGS: u32 = 3;

/// Between two of these.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A model. Asking it has no effects of ours, so a call may be made again whatever became of it.
#[derive(Clone)]
pub struct OpenAi {
    /// The way there.
    pub http: Rc<dyn Http>,
    /// The API's address, below which `/chat/completions` is asked.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The key, if one is needed.
    pub api_key: Option<Secret>,
    /// What the model is told before every conversation.
    pub system_prompt: Option<String>,
    /// For one turn, all its calls together.
    pub timeout: Duration,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenAi {} at {}", self.model, self.base_url)
    }
}

impl Agent for OpenAi {
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        let (http, request, limit) = (Rc::clone(&self.http), request::of(self, &turn), self.timeout);
        async move { converse(&*http, request?, limit).await }.boxed_local()
    }
}

async fn converse(http: &dyn Http, request: HttpRequest, limit: Duration) -> Result<Reply, AgentError> {
    let deadline = Instant::now() + limit;
    for reading in 1..=READINGS {
        let left = deadline.saturating_duration_since(Instant::now());
        let call = http.call(HttpRequest { deadline: left, ..request.clone() });
        match call.await.map(|response| answer::read(&response)) {
            Ok(Answer::Given(answer)) => return answer,
            Ok(Answer::Unreadable) if reading < READINGS => {
                if deadline.saturating_duration_since(Instant::now()) <= READ_AGAIN {
                    return Err(AgentError::Timeout { limit });
                }
                tokio::time::sleep(READ_AGAIN).await;
            }
            Ok(Answer::Unreadable) => break,
            Err(error) => return Err(lost(&error, limit)),
        }
    }
    Err(AgentError::Refused {
        reason: format!("{READINGS} answers were no chat completions; check base_url"),
    })
}

/// What a call means that got no whole answer.
fn lost(error: &NetworkError, limit: Duration) -> AgentError {
    match error.kind {
        // It was asked and hangs: the user has waited long enough (F-044).
        NetworkErrorKind::Timeout => AgentError::Timeout { limit },
        NetworkErrorKind::TooLarge => AgentError::Refused { reason: "its answer is too large".to_owned() },
        NetworkErrorKind::Resolve
        | NetworkErrorKind::Connect
        | NetworkErrorKind::Tls
        | NetworkErrorKind::ConnectTimeout
        | NetworkErrorKind::Reset
        | NetworkErrorKind::Protocol => {
            AgentError::Unavailable { reason: error.to_string(), retry_after: None }
        }
    }
}

#[cfg(test)]
mod tests;
