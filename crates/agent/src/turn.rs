//! What an agent is asked and what it may answer.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_core::ConversationId;

/// Something that answers.
pub trait Agent {
    /// Answers one turn. The future owns all it needs; dropping it gives the turn up, and the backend must not go
    /// on working for it.
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>>;
}

/// One turn of a conversation: everything the agent gets to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The conversation, for backends that keep a session of their own.
    pub conversation: ConversationId,
    /// The turns before this one, the oldest first.
    pub transcript: Vec<Exchange>,
    /// The messages to answer, in the order in which they were received: several when they came in while the
    /// agent was busy.
    pub input: Vec<String>,
    /// Whether an earlier attempt began and did not end (crash, restart); its effects, if any, are unknown. Not
    /// set for an attempt that follows an [`AgentError`].
    pub interrupted: bool,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// A turn that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What was said to the agent.
    pub input: Vec<String>,
    /// What it answered.
    pub reply: Reply,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Send this. Never empty: see [`Reply::from_text`].
    Text(String),
    /// Send nothing, on purpose. The turn is answered.
    Silent,
}

/// Why there is no answer. The message never holds what a backend said: that may quote credentials (F-090).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The backend cannot answer now (unreachable, overloaded, throttled). The same turn may succeed later.
    #[error("the agent is not available: {reason}; the turn will be tried again")]
    Unavailable {
        /// What failed, in our words.
        reason: String,
        /// Not before this long from now, if the backend said so; a lower bound.
        retry_after: Option<Duration>,
    },
    /// The backend will not answer this turn, however often it is asked (bad request, wrong key, content filter).
    #[error("the agent refused the turn: {reason}; it will not be tried again")]
    Refused {
        /// Why, in our words.
        reason: String,
    },
    /// The backend took longer than a turn may. What it did until then is unknown, so the turn is not repeated.
    #[error("the agent did not answer within {} s; the turn will not be tried again", limit.as_secs_f64())]
    Timeout {
        /// How long it had.
        limit: Duration,
    },
}

/// What an agent is told about an interrupted turn.
const INTERRUPTION_NOTE: &str = "Your previous attempt to answer the following message was interrupted before it \
    finished, and its answer was not delivered. Actions you took in that attempt may have had effects: check before \
    you repeat them, then answer the message.";

impl Turn {
    /// What a backend puts before the input as a system message, if anything; the same words for all backends.
    pub fn note(&self) -> Option<&'static str> {
        self.interrupted.then_some(INTERRUPTION_NOTE)
    }

    /// The messages to answer as one text, a line break between them.
    pub fn text(&self) -> String {
        self.input.join("\n")
    }
}

impl Reply {
    /// The answer that a backend gave as text: nothing but white space is silence.
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.trim().is_empty() { Self::Silent } else { Self::Text(text) }
    }

    /// The text to send; `None` for silence.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(interrupted: bool) -> Turn {
        Turn {
            conversation: ConversationId::new("oc_1"),
            transcript: Vec::new(),
            input: vec!["first".to_owned(), "second".to_owned()],
            interrupted,
            attempt: 1,
        }
    }

    #[test]
    fn only_an_interrupted_turn_has_a_note() {
        assert_eq!(turn(false).note(), None);
        assert!(turn(true).note().is_some_and(|note| note.contains("interrupted")));
    }

    #[test]
    fn a_reply_without_text_is_silence() {
        for (text, reply) in [("", None), (" \n\t", None), ("hi", Some("hi")), (" hi ", Some(" hi "))] {
            assert_eq!(Reply::from_text(text).text(), reply, "{text:?}");
        }
    }

    #[test]
    fn an_error_says_what_happens_next() {
        let unavailable =
            AgentError::Unavailable { reason: "connection refused".to_owned(), retry_after: None };
        let refused = AgentError::Refused { reason: "status 401".to_owned() };
        let timeout = AgentError::Timeout { limit: Duration::from_millis(1500) };
        let rows = [
            (unavailable, "the agent is not available: connection refused; the turn will be tried again"),
            (refused, "the agent refused the turn: status 401; it will not be tried again"),
            (timeout, "the agent did not answer within 1.5 s; the turn will not be tried again"),
        ];
        for (error, message) in rows {
            assert_eq!(error.to_string(), message);
        }
    }
}
