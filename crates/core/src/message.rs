//! Messages as the runtime sees them, whatever platform they came from.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{ChatId, ConversationId, DedupeKey, EventId, MessageId, UserId};
use crate::secret::Secret;

/// For at least this long after it was last seen, a delivery is recognised as a repeated one (G2). The longest known
/// ladder of redeliveries ends after seven hours (F-032).
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// One message that a user wrote to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The delivery's id.
    pub event_id: EventId,
    /// Every key under which the platform may deliver it again: a hit on any of them makes it a duplicate (F-032).
    pub dedupe: Vec<DedupeKey>,
    /// What it belongs to; messages of one conversation are answered one at a time, in order of receipt (G3).
    pub conversation: ConversationId,
    /// Where it was written.
    pub chat: Chat,
    /// The message's own id.
    pub message_id: MessageId,
    /// Who wrote it.
    pub sender: Sender,
    /// Whom it mentions, by the platform's mention entities only, never by text (F-093).
    pub mentions: Vec<Mention>,
    /// What the agent gets to read. `None` when there is nothing readable in it.
    pub text: Option<String>,
    /// What is attached to it, in order.
    pub attachments: Vec<Attachment>,
    /// Where the answer goes: bound to this message, not to the conversation's latest (F-049).
    pub route: Route,
    /// When the platform says it was written.
    pub written_at: Option<Timestamp>,
    /// What the platform wants to see with whatever we write into this chat; the newest one of a chat counts, whichever
    /// message is being answered. Stored with the message. `None` where the platform has no such thing.
    pub reply_token: Option<Secret>,
    /// The delivery as received.
    pub raw: Bytes,
}

/// A chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chat {
    /// The platform's id.
    pub id: ChatId,
    /// One person or several.
    pub kind: ChatKind,
}

/// Whether a chat has one person in it or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatKind {
    /// One person and us.
    Direct,
    /// Several people.
    Group,
}

/// The author of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Every stable id the platform gave for the author, the most specific first; names are never among them
    /// (F-018, F-093). Empty when the platform gave none.
    pub ids: Vec<UserId>,
    /// A person or a program.
    pub kind: SenderKind,
}

/// What wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderKind {
    /// A person.
    User,
    /// A program, ourselves included (F-041).
    Bot,
}

/// Something attached to a message: a name for its bytes, which the platform keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What it is.
    pub kind: AttachmentKind,
    /// The platform's key for its bytes.
    pub key: String,
    /// The name its sender gave it; for people only, never a path (F-094).
    pub name: Option<String>,
}

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentKind {
    /// A picture.
    Image,
    /// A recording.
    Audio,
    /// A film.
    Video,
    /// Anything else.
    File,
}

/// A mention entity of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mention {
    /// One user or bot, under every id the platform gave for it.
    One(Vec<UserId>),
    /// Everybody in the chat.
    All,
}

impl Inbound {
    /// Whether one of the mention entities carries `id`. Everybody (`@all`) is not us.
    pub fn mentions(&self, id: &UserId) -> bool {
        self.mentions.iter().any(|mention| matches!(mention, Mention::One(ids) if ids.contains(id)))
    }
}

/// Where a message of ours goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The chat, or whatever the channel's address notation says (`docs/` page of the channel).
    pub chat: ChatId,
    /// The message it answers, where there is one.
    pub reply_to: Option<MessageId>,
    /// Whether it belongs into the thread of that message.
    pub in_thread: bool,
}

/// One message of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbound {
    /// Where it goes.
    pub route: Route,
    /// What it says.
    pub text: String,
}

/// The platform's confirmation that a message of ours is visible (F-059: nothing less counts as sent).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The id the platform gave our message.
    pub message_id: MessageId,
}

/// Who we are on a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The id that mentions of us carry.
    pub id: UserId,
    /// The name people see.
    pub name: String,
}
