//! The two ledgers: what was acknowledged to the platform, and what a user would see. *Acked and never dispatched*
//! is a loss, *visible more than once* is a duplicate (failure modes §2).

use moorline_core::{ChatId, EventId, MessageId, Timestamp};
use serde::Serialize;

use super::app::AppId;

/// Both ledgers of a platform, complete since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Every event, in the order of the pushes.
    pub(crate) events: Vec<EventRecord>,
    /// Every message of a bot, in the order in which they became visible.
    pub(crate) visible: Vec<Visible>,
}

/// One event and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRecord {
    /// The app it is for.
    pub app: AppId,
    /// `header.event_id`, the same in every delivery.
    pub event_id: EventId,
    /// The chat message it reports; `None` for other events.
    pub message_id: Option<MessageId>,
    /// The chat of that message.
    pub chat: Option<ChatId>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// When it was handed to a connection, first time and redeliveries; incomplete sets of parts count.
    pub deliveries: Vec<Timestamp>,
    /// When a matching ack with code 200 came, late ones included.
    pub acked: Vec<Timestamp>,
    /// When a matching ack with another code came.
    pub refused: Vec<Timestamp>,
    /// Acks, of either kind, that came after the budget of their delivery.
    pub late: u32,
    /// Attempts so far, those without any connection included.
    pub attempts: u32,
    /// True when the ladder is used up: the platform will not push it again.
    pub given_up: bool,
}

/// One message as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visible {
    /// The app whose bot wrote it.
    pub app: AppId,
    /// The platform's id.
    pub message_id: MessageId,
    /// Where it is.
    pub chat: ChatId,
    /// `text`, `post`, `interactive`, …
    pub msg_type: String,
    /// The content, JSON as text, byte for byte.
    pub content: String,
    /// The text of a text message; empty for others.
    pub text: String,
    /// The uuid it was sent with.
    pub uuid: Option<String>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// The thread it is in.
    pub thread: Option<String>,
    /// When it became visible.
    pub at: Timestamp,
    /// How many later calls with the same uuid were answered with this message.
    pub repeats: u32,
}

impl Ledger {
    /// Every event, in the order of the pushes.
    pub fn events(&self) -> &[EventRecord] {
        &self.events
    }

    /// Every message of a bot, in the order in which they became visible.
    pub fn visible(&self) -> &[Visible] {
        &self.visible
    }

    /// The event with this id.
    pub fn event(&self, id: &EventId) -> Option<&EventRecord> {
        self.events.iter().find(|event| event.event_id == *id)
    }

    /// The events that were acked with 200 at least once: those the platform holds us responsible for.
    pub fn acked(&self) -> impl Iterator<Item = &EventRecord> {
        self.events.iter().filter(|event| event.is_acked())
    }

    /// What a user sees of our bots in one chat.
    pub fn visible_in<'a>(&'a self, chat: &'a ChatId) -> impl Iterator<Item = &'a Visible> {
        self.visible.iter().filter(move |message| message.chat == *chat)
    }

    /// How many messages with exactly this text a user sees in the chat: 1 is right, 0 is a loss, more is a
    /// duplicate.
    pub fn visible_copies(&self, chat: &ChatId, text: &str) -> usize {
        self.visible_in(chat).filter(|message| message.text == text).count()
    }

    /// The messages a user sees as answers to this one.
    pub fn replies_to<'a>(&'a self, message: &'a MessageId) -> impl Iterator<Item = &'a Visible> {
        self.visible.iter().filter(move |visible| visible.reply_to.as_ref() == Some(message))
    }
}

impl EventRecord {
    /// Whether an ack with code 200 came.
    pub fn is_acked(&self) -> bool {
        !self.acked.is_empty()
    }
}
