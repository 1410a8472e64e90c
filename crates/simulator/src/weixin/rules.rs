//! What the protocol page leaves open, or what may change: how this platform behaves, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::millis;

/// What an older cursor brings (§4.2.3). Nobody knows which one the live service does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// A message is handed out once; no cursor brings it back.
    #[default]
    Consumed,
    /// Everything after the cursor comes again.
    Replay,
}

/// What a good send is answered with (§5.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendAnswer {
    /// `{"ret":0,"message_id":…}`.
    #[default]
    MessageId,
    /// `{"ret":0}`.
    Ret,
    /// `{}`.
    Bare,
}

/// What becomes of a send without a context token (§5.3: all three were reported).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokenless {
    /// It is refused with -2.
    #[default]
    Refused,
    /// It is answered as if it were sent, and nobody sees it.
    Dropped,
    /// It is sent, where the user has written within the window.
    Accepted,
}

/// The rules of a platform. In JSON whatever is left out is as at first; spans are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// What an older cursor brings.
    pub cursor: Cursor,
    /// How long a poll is held without a message: 35 s.
    #[serde(with = "millis")]
    pub hold: Duration,
    /// Whether answers say so, as `longpolling_timeout_ms`.
    pub announce_hold: bool,
    /// The most messages in one answer: 100.
    pub batch: usize,
    /// Whether ids are text instead of numbers.
    pub ids_as_text: bool,
    /// Whether good answers come without `ret`.
    pub omit_ret: bool,
    /// How long a user's message lets the bot write: 24 h.
    #[serde(with = "millis")]
    pub window: Duration,
    /// How many messages of the bot a user's message allows: 10.
    pub sends_per_message: u32,
    /// The longest text of one message, in characters: 4,000.
    pub text_limit: usize,
    /// Whether a `client_id` that was sent before is answered like the first time and not shown again.
    pub dedupe_client_ids: bool,
    /// What a good send is answered with.
    pub send_answer: SendAnswer,
    /// What becomes of a send without a token.
    pub tokenless: Tokenless,
    /// How many wrong numbers block a login code: 3.
    pub verify_attempts: u32,
    /// How long a login code is good: 5 min.
    #[serde(with = "millis")]
    pub code_lifetime: Duration,
    /// The `baseurl` of new logins; `None` for the address at which the client has asked.
    pub base_url: Option<String>,
    /// Whether answers about media have full addresses, below this one.
    pub cdn_url: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cursor: Cursor::Consumed,
            hold: Duration::from_secs(35),
            announce_hold: true,
            batch: 100,
            ids_as_text: false,
            omit_ret: false,
            window: Duration::from_hours(24),
            sends_per_message: 10,
            text_limit: 4_000,
            dedupe_client_ids: false,
            send_answer: SendAnswer::MessageId,
            tokenless: Tokenless::Refused,
            verify_attempts: 3,
            code_lifetime: Duration::from_mins(5),
            base_url: None,
            cdn_url: None,
        }
    }
}
