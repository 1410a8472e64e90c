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

/// An answer of just this word is silence: the turn is answered and nothing is sent. Backends say it, because an empty
/// answer is taken for what it usually is, a failure that the user should hear of (F-047).
pub const SILENT: &str = "NO_REPLY";

/// How much of what was said before a backend is given, in bytes of text; what does not fit is left out from the
/// oldest turn on.
const TRANSCRIPT_BYTES: usize = 128 << 10;

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

    /// As much of the end of the transcript as a backend is given.
    pub fn recent(&self) -> &[Exchange] {
        let mut left = TRANSCRIPT_BYTES;
        let fits = |exchange: &&Exchange| {
            let remaining = left.checked_sub(exchange.size());
            left = remaining.unwrap_or_default();
            remaining.is_some()
        };
        let count = self.transcript.iter().rev().take_while(fits).count();
        self.transcript.get(self.transcript.len() - count..).unwrap_or_default()
    }
}

impl Exchange {
    fn size(&self) -> usize {
        self.input.iter().map(String::len).sum::<usize>() + self.reply.text().map_or(0, str::len)
    }
}

impl Reply {
    /// The answer of a backend that may want to be silent on purpose, and then says [`SILENT`].
    ///
    /// # Errors
    /// [`AgentError::Refused`] when there is nothing but white space: that nobody answered must not look like silence
    /// (F-047).
    pub fn from_backend(text: impl Into<String>) -> Result<Self, AgentError> {
        let text = text.into();
        match text.trim() {
            "" => Err(AgentError::Refused {
                reason: format!(
                    "it gave an empty answer; `{SILENT}` is how it says that it wants to be silent"
                ),
            }),
            SILENT => Ok(Self::Silent),
            _ => Ok(Self::Text(text)),
        }
    }

    /// The text that stands for an answer in a transcript, or for nothing: nothing but white space is silence.
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
    fn an_empty_answer_of_a_backend_is_no_silence_f047() {
        for text in ["", " \n\t"] {
            assert!(matches!(Reply::from_backend(text), Err(AgentError::Refused { .. })), "{text:?}");
        }
        for text in ["NO_REPLY", " NO_REPLY\n"] {
            assert_eq!(Reply::from_backend(text), Ok(Reply::Silent), "{text:?}");
        }
        for text in ["hi", " hi ", "NO_REPLY is what I say", "no_reply"] {
            assert_eq!(Reply::from_backend(text), Ok(Reply::Text(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn the_transcript_a_backend_gets_is_bounded_and_its_end_is_kept() {
        let exchange = |input: usize, reply: usize| Exchange {
            input: vec!["i".repeat(input)],
            reply: Reply::from_text("r".repeat(reply)),
        };
        let kept = |sizes: &[(usize, usize)]| {
            let transcript = sizes.iter().map(|&(input, reply)| exchange(input, reply)).collect();
            Turn { transcript, ..turn(false) }.recent().len()
        };
        let k = 1 << 10;
        assert_eq!(kept(&[]), 0);
        assert_eq!(kept(&[(64 * k, 64 * k)]), 1);
        assert_eq!(kept(&[(1, 0), (64 * k, 64 * k)]), 1);
        assert_eq!(kept(&[(1, 1), (100 * k, 100 * k), (1, 1), (64 * k, 1)]), 2);
        assert_eq!(kept(&[(1, 1), (64 * k, 65 * k)]), 0);
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
