//! The two ledgers: what was acknowledged to the platform, and what a user would see. *Acked and never dispatched*
//! is a loss, *visible more than once* is a duplicate (failure modes §2).

use moorline_core::{ChatId, EventId, MessageId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::app::AppId;
use super::callback::Callback;
use super::retention::Forgotten;

/// Both ledgers of a platform: complete since its start, except for what [`Ledger::forgotten`] counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Every event, in the order of the pushes.
    pub(crate) events: Vec<EventRecord>,
    /// Every message of a bot, in the order in which they became visible.
    pub(crate) visible: Vec<Visible>,
    /// Every reaction of a bot, in the order in which they appeared.
    pub(crate) reactions: Vec<ReactionRecord>,
    pub(crate) forgotten: Forgotten,
}

/// One event and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRecord {
    /// Counts the pushes; what the machine calls the event.
    #[serde(skip)]
    pub(crate) number: u64,
    /// The app it is for.
    pub app: AppId,
    /// `im.message.receive_v1`, …; empty for a raw payload.
    pub event_type: String,
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
    /// What matching acks carried back in `data` (§2.4), read from its base64; null where that holds no JSON.
    pub answers: Vec<Value>,
    /// Acks, of either kind, that came after the budget of their delivery.
    pub late: u32,
    /// Attempts so far, those without any connection included.
    pub attempts: u32,
    /// True when the ladder is used up: the platform will not push it again.
    pub given_up: bool,
    /// What the user of a card sees; `None` for other events.
    pub callback: Option<Callback>,
}

/// One reaction of a bot. `Typing` is the typing sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReactionRecord {
    /// The app whose bot reacted.
    pub app: AppId,
    /// To what.
    pub message_id: MessageId,
    /// Where that is.
    pub chat: ChatId,
    /// The platform's id.
    pub reaction_id: String,
    /// With what.
    pub emoji: String,
    /// Since when.
    pub on: Timestamp,
    /// Until when; `None` while it is there.
    pub off: Option<Timestamp>,
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
    /// The content as it is now, JSON as text, byte for byte.
    pub content: String,
    /// The text of a text message as it is now; empty for others.
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
    /// How often its content was changed, by updates, edits and answers to card actions.
    pub edits: u32,
    /// When it was taken back. Users have seen it all the same, so it still counts as visible.
    pub recalled: Option<Timestamp>,
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

    /// Every reaction of a bot, in the order in which they appeared.
    pub fn reactions(&self) -> &[ReactionRecord] {
        &self.reactions
    }

    /// The typing signs that are on.
    pub fn typing(&self) -> impl Iterator<Item = &ReactionRecord> {
        self.reactions.iter().filter(|reaction| reaction.emoji == "Typing" && reaction.off.is_none())
    }

    /// What was dropped to keep a long run small.
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// The newest record of this message.
    pub(crate) fn visible_mut(&mut self, id: &MessageId) -> Option<&mut Visible> {
        self.visible.iter_mut().rev().find(|visible| visible.message_id == *id)
    }

    /// The record with this number.
    pub(crate) fn record_mut(&mut self, number: u64) -> Option<&mut EventRecord> {
        let index = self.events.binary_search_by_key(&number, |record| record.number).ok()?;
        self.events.get_mut(index)
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
