//! The two ledgers: what the platform counts as handed out, and what each WeChat user sees. *Handed out, not lost by
//! the platform, and never dispatched* is a loss of the client; *visible more than once* is a duplicate.

use std::collections::VecDeque;
use std::time::Duration;

use moorline_core::{Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;

use super::bot::BotId;
use super::calls::Endpoint;

/// Both ledgers of a platform, and every call: complete since its start, except for what [`Ledger::forgotten`]
/// counts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// Every message to a bot, in the order of writing.
    pub(crate) messages: VecDeque<MessageRecord>,
    /// Every message of a bot, in the order in which they became visible.
    pub(crate) visible: VecDeque<Visible>,
    /// What users saw as typing.
    pub(crate) typing: VecDeque<TypingRecord>,
    /// Every call, in the order of arrival.
    pub(crate) calls: VecDeque<CallRecord>,
    /// What clients did that the protocol page does not have.
    pub(crate) violations: VecDeque<Violation>,
    pub(crate) forgotten: Forgotten,
}

/// How much was dropped to keep a long run small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Messages to bots.
    pub messages: u64,
    /// Messages of bots.
    pub visible: u64,
    /// Typing signs.
    pub typing: u64,
    /// Calls.
    pub calls: u64,
    /// Violations.
    pub violations: u64,
}

/// One message to a bot, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageRecord {
    /// Counts the messages; what the machine calls it.
    #[serde(skip)]
    pub(crate) number: u64,
    /// To whom.
    pub bot: BotId,
    /// From whom.
    pub from: UserId,
    /// The platform's id, also where the message does not show it.
    pub message_id: u64,
    /// Its place among the messages to the bot.
    pub seq: u64,
    /// The text of its first text or transcript; empty where there is none.
    pub text: String,
    /// `message_type`: 1 of a user, 2 of the bot itself.
    pub message_type: i64,
    /// The token it came with.
    pub context_token: String,
    /// When the user wrote it.
    pub written_at: Timestamp,
    /// When it was put into an answer, each time.
    pub handed_out: Vec<Timestamp>,
    /// When an answer with it went out to its last byte, each time.
    pub delivered: Vec<Timestamp>,
    /// When a poll first came with a cursor from an answer that had it, or from a later one: its client has surely
    /// read that answer.
    pub confirmed_at: Option<Timestamp>,
    /// It was handed out only in answers that surely never reached the client, and will not come again. Nobody but
    /// the platform can be blamed for it.
    pub lost_by_platform: bool,
}

/// One message as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visible {
    /// The bot that wrote it.
    pub bot: BotId,
    /// Who sees it.
    pub user: UserId,
    /// The platform's id.
    pub message_id: u64,
    /// The client's id of it.
    pub client_id: String,
    /// The type of its item.
    pub item_type: i64,
    /// The text; of a file its name.
    pub text: String,
    /// The item as it was sent.
    pub item: Value,
    /// The file behind a media item; `None` for text, and where nothing was uploaded under the parameter and key.
    pub media: Option<Vec<u8>>,
    /// The token it was sent with.
    pub context_token: String,
    /// The id of the message which brought that token.
    pub answers: Option<u64>,
    /// Whether the user had written again by then, so that there was a newer token.
    pub stale_token: bool,
    /// `run_id`.
    pub run_id: Option<String>,
    /// When it became visible.
    pub at: Timestamp,
    /// How many later calls with the same `client_id` were answered with this message (only where the platform
    /// knows them again).
    pub repeats: u32,
}

/// A user sees that the bot is typing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypingRecord {
    /// The bot.
    pub bot: BotId,
    /// Who sees it.
    pub user: UserId,
    /// Since when.
    pub on: Timestamp,
    /// When it was last renewed.
    pub renewed: Timestamp,
    /// How often it was shown or renewed.
    pub calls: u32,
    /// When it was taken back; `None` where it has run out by itself, or is still there.
    pub off: Option<Timestamp>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// The bot whose token it had.
    pub bot: Option<BotId>,
    /// What was called.
    pub endpoint: Endpoint,
    /// When it arrived.
    pub at: Timestamp,
    /// When it was answered or broken off.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: CallOutcome,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It has not ended.
    Open,
    /// With an answer of the platform: its code, 0 for success.
    Answered(i64),
    /// A fault took the place of its answer.
    Faulted,
    /// The client went away before.
    Gone,
}

/// A call that was not as the protocol page has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The bot whose token it had.
    pub bot: Option<BotId>,
    /// What was called.
    pub endpoint: Endpoint,
    /// What was wrong.
    pub breach: Breach,
    /// When.
    pub at: Timestamp,
}

/// What was wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Breach {
    /// `iLink-App-Id` or `iLink-App-ClientVersion` is missing, empty or no version.
    AppHeaders,
    /// `AuthorizationType` or `Authorization` is missing or has the wrong form.
    Authorization,
    /// No bot has, or ever had, this token.
    UnknownToken,
    /// A call of a login carries a token.
    UnwantedToken,
    /// `X-WECHAT-UIN` is missing, or not the base64 of a decimal number of 32 bits.
    Uin,
    /// `X-WECHAT-UIN` is the one of the call before.
    UinRepeated,
    /// `Content-Type` is not `application/json`.
    ContentType,
    /// The body is no JSON object.
    Body,
    /// `base_info` or its `channel_version` is missing.
    BaseInfo,
    /// `bot_agent` is not ASCII, or longer than 256 bytes.
    BotAgent,
    /// A poll came while another one of the bot was open.
    Overlap,
    /// A cursor of another bot, or none of ours.
    ForeignCursor,
    /// A field of the call is missing or has the wrong form.
    Field,
    /// More or fewer than one item.
    Items,
    /// Fields in an item that clients do not send.
    ExtraFields,
    /// The text is too long.
    TextLimit,
    /// A `context_token` that this bot never had from this user.
    ForeignToken,
    /// A typing ticket that is not this user's, or too old.
    Ticket,
    /// An upload that is not as announced.
    Upload,
    /// A path that the platform does not have.
    Path,
}

impl Ledger {
    /// Every message to a bot, in the order of writing.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &MessageRecord> {
        self.messages.iter()
    }

    /// The message with this id.
    pub fn message(&self, id: u64) -> Option<&MessageRecord> {
        self.messages.iter().find(|message| message.message_id == id)
    }

    /// The messages that an answer has brought to the client's door, to the last byte: those the platform holds it
    /// responsible for.
    pub fn acked(&self) -> impl Iterator<Item = &MessageRecord> {
        self.messages.iter().filter(|message| message.is_acked())
    }

    /// The messages that nobody but the platform has lost.
    pub fn lost_by_platform(&self) -> impl Iterator<Item = &MessageRecord> {
        self.messages.iter().filter(|message| message.lost_by_platform)
    }

    /// Every message of a bot, in the order in which they became visible.
    pub fn visible(&self) -> impl DoubleEndedIterator<Item = &Visible> {
        self.visible.iter()
    }

    /// What this user sees of our bots.
    pub fn visible_to<'a>(&'a self, user: &'a UserId) -> impl Iterator<Item = &'a Visible> {
        self.visible.iter().filter(move |message| message.user == *user)
    }

    /// How many messages with exactly this text the user sees: 1 is right, 0 is a loss, more is a duplicate.
    pub fn visible_copies(&self, user: &UserId, text: &str) -> usize {
        self.visible_to(user).filter(|message| message.text == text).count()
    }

    /// The messages that were sent with the token of this one.
    pub fn replies_to(&self, message_id: u64) -> impl Iterator<Item = &Visible> {
        self.visible.iter().filter(move |visible| visible.answers == Some(message_id))
    }

    /// What users saw as typing, in the order of appearance.
    pub fn typing(&self) -> impl DoubleEndedIterator<Item = &TypingRecord> {
        self.typing.iter()
    }

    /// Every call, in the order of arrival.
    pub fn calls(&self) -> impl DoubleEndedIterator<Item = &CallRecord> {
        self.calls.iter()
    }

    /// The calls of one endpoint for one bot.
    pub fn calls_of<'a>(
        &'a self,
        bot: &'a BotId,
        endpoint: Endpoint,
    ) -> impl DoubleEndedIterator<Item = &'a CallRecord> {
        self.calls.iter().filter(move |call| call.endpoint == endpoint && call.bot.as_ref() == Some(bot))
    }

    /// The most calls of one endpoint for one bot in any stretch of time that is this long.
    pub fn most_calls_within(&self, bot: &BotId, endpoint: Endpoint, span: Duration) -> usize {
        let times: Vec<Timestamp> = self.calls_of(bot, endpoint).map(|call| call.at).collect();
        let within = |from: usize| times.iter().skip(from).take_while(|at| **at < times[from] + span).count();
        (0..times.len()).map(within).max().unwrap_or_default()
    }

    /// What clients did that the protocol page does not have.
    pub fn violations(&self) -> impl DoubleEndedIterator<Item = &Violation> {
        self.violations.iter()
    }

    /// What was dropped to keep a long run small.
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// The record with this number.
    pub(crate) fn record_mut(&mut self, number: u64) -> Option<&mut MessageRecord> {
        let first = self.messages.front()?.number;
        self.messages.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The call with this number; the first one ever has 0.
    pub(crate) fn call_mut(&mut self, number: u64) -> Option<&mut CallRecord> {
        self.calls.get_mut(usize::try_from(number.checked_sub(self.forgotten.calls)?).ok()?)
    }
}

impl MessageRecord {
    /// Whether an answer with it went out to its last byte.
    pub fn is_acked(&self) -> bool {
        !self.delivered.is_empty()
    }
}
