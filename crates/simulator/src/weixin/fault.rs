//! What can be made to go wrong, per bot. A fault waits where it belongs and strikes there, a number of times or
//! until it is cleared.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Endpoint;
use crate::faults::millis;

/// Something that goes wrong at one place of the protocol. Faults of one place strike one after the other, in the
/// order in which they were set. In JSON: `{"answer":["getupdates",{"status":503}]}`, `"reversed"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// A call of this endpoint is answered like this, and nothing happens ([`Answer::Delay`] and
    /// [`Answer::Oversized`] excepted: those spoil the proper answer).
    Answer(Endpoint, Answer),
    /// A call of this endpoint takes effect, and its answer is spoilt like this. A poll takes effect when it is
    /// answered with messages; until then the fault waits.
    LoseAnswer(Endpoint, Answer),
    /// The next answer with messages has this beside them, before the first one.
    Malformed(Malformed),
    /// The next answer with messages has each of them twice.
    DuplicateInAnswer,
    /// The messages of the next answer come again in the one after it, whatever its cursor.
    DuplicateAcross,
    /// The next answer has its messages newest first.
    Reversed,
    /// The next answer with messages has an empty cursor, which means that the old one stays.
    EmptyCursor,
    /// The next answer with messages has no cursor at all.
    NoCursor,
}

/// What a call gets instead of its proper answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// Nothing, ever; the connection stays open.
    Hang,
    /// The end of TCP, in an orderly way.
    Fin,
    /// A reset of TCP.
    Reset,
    /// The headers, and then nothing, ever (§1.5).
    StallHeaders,
    /// Half of the body, and then nothing, ever.
    StallBody,
    /// Half of the body, and then the end of TCP.
    CutBody,
    /// This status with an HTML page, as a proxy would answer.
    Status(u16),
    /// Status 200 and a body that is not JSON.
    Garbage,
    /// Status 200 and no body.
    Empty,
    /// This status and this body.
    Body {
        /// HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
    /// Status 200 and a refusal in the platform's own shape.
    Code {
        /// The code: -14, -2, -12, …
        code: i64,
        /// Where it is.
        #[serde(default)]
        field: CodeField,
        /// The `errmsg`; none when empty.
        #[serde(default)]
        errmsg: String,
    },
    /// The proper answer, this much later.
    Delay(#[serde(with = "millis")] Duration),
    /// The proper answer, blown up to this many bytes.
    Oversized(usize),
}

/// Which field has a code (§1.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeField {
    /// `errcode`, without `ret`: so the live service was seen to answer.
    #[default]
    Errcode,
    /// `ret`.
    Ret,
    /// Both.
    Both,
}

/// Something in `msgs` that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// A number.
    NotAnObject,
    /// `item_list` is text.
    ItemsAreText,
    /// `from_user_id` is missing.
    NoSender,
    /// `message_id` is a broken number.
    FractionalId,
    /// `null`.
    Null,
}

impl Answer {
    /// A refusal with this code in `errcode`.
    pub fn code(code: i64) -> Self {
        Self::Code { code, field: CodeField::Errcode, errmsg: String::new() }
    }

    /// A refusal with this code in `ret`.
    pub fn ret(code: i64, errmsg: impl Into<String>) -> Self {
        Self::Code { code, field: CodeField::Ret, errmsg: errmsg.into() }
    }

    /// Whether it spoils the proper answer instead of replacing the call.
    pub(crate) fn needs_the_proper_one(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::Oversized(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_in_json_as_documented() {
        let cases = [
            (
                r#"{"answer":["getupdates",{"status":503}]}"#,
                Fault::Answer(Endpoint::GetUpdates, Answer::Status(503)),
            ),
            (
                r#"{"lose_answer":["sendmessage","reset"]}"#,
                Fault::LoseAnswer(Endpoint::SendMessage, Answer::Reset),
            ),
            (r#""reversed""#, Fault::Reversed),
            (r#"{"malformed":"null"}"#, Fault::Malformed(Malformed::Null)),
            (
                r#"{"answer":["getupdates",{"delay":1500}]}"#,
                Fault::Answer(Endpoint::GetUpdates, Answer::Delay(Duration::from_millis(1500))),
            ),
        ];
        for (json, fault) in cases {
            assert_eq!(serde_json::from_str::<Fault>(json).unwrap(), fault);
            assert_eq!(serde_json::to_string(&fault).unwrap(), json);
        }
    }
}
