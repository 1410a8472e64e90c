//! What a user writes, and how it looks on the wire (§5.5).

use moorline_core::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message of a user to a bot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// From whom.
    pub from: UserId,
    /// What it consists of, mostly one item.
    pub items: Vec<Item>,
    /// `message_type`: 1 of a user; 2 is the bot's own.
    #[serde(default = "of_a_user")]
    pub message_type: i64,
    /// `group_id`; empty outside groups.
    #[serde(default)]
    pub group_id: String,
    /// Which ids it shows.
    #[serde(default)]
    pub ids: Ids,
    /// Whether it comes without a context token.
    #[serde(default)]
    pub without_token: bool,
    /// Merged into the message at last; `null` takes a field away.
    #[serde(default)]
    pub merge: Value,
}

/// One item of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Item {
    /// Type 1.
    Text(String),
    /// Type 2.
    Image(Media),
    /// Type 3.
    Voice {
        /// What was said, as phones send it along; `None` where there is nothing.
        transcript: Option<String>,
        /// The sound.
        media: Media,
    },
    /// Type 4.
    File {
        /// Its name.
        name: String,
        /// Its content.
        media: Media,
    },
    /// Type 5.
    Video(Media),
    /// An item of another type, with these fields.
    Other(i64, Value),
    /// An item that quotes something.
    Quoting(Quote, Box<Item>),
}

/// A quoted message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quote {
    /// Its text comes along.
    Full {
        /// Who wrote it, as the phone shows it.
        title: String,
        /// What it says.
        text: String,
    },
    /// Only its id, as newer phones do it.
    Id(u64),
}

/// The content of a file, and how its key is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// The plain content.
    pub bytes: Vec<u8>,
    /// How the key is told.
    #[serde(default)]
    pub key: KeyForm,
}

/// How the key of a file is told (§7.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// `aes_key` is the base64 of 32 hex digits.
    #[default]
    Hex,
    /// `aes_key` is the base64 of 16 bytes.
    Raw,
    /// `aeskey` of the item, in hex; `aes_key` is a wrong one.
    Item,
    /// There is none: the content is not encrypted.
    None,
}

/// Which ids a message shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// `message_id`.
    #[default]
    Message,
    /// None, but its items have a `msg_id`.
    Items,
    /// None at all.
    None,
}

fn of_a_user() -> i64 {
    1
}

impl NewMessage {
    /// This item.
    pub fn new(from: impl Into<String>, item: Item) -> Self {
        Self {
            from: UserId::new(from),
            items: vec![item],
            message_type: of_a_user(),
            group_id: String::new(),
            ids: Ids::Message,
            without_token: false,
            merge: Value::Null,
        }
    }

    /// A text.
    pub fn text(from: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(from, Item::Text(text.into()))
    }

    /// In a group.
    #[must_use]
    pub fn in_group(mut self, group_id: impl Into<String>) -> Self {
        self.group_id = group_id.into();
        self
    }

    /// Of the bot itself.
    #[must_use]
    pub fn of_the_bot(mut self) -> Self {
        self.message_type = 2;
        self
    }

    /// Which ids it shows.
    #[must_use]
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Quoting something in its last item.
    #[must_use]
    pub fn quoting(mut self, quote: Quote) -> Self {
        if let Some(item) = self.items.pop() {
            self.items.push(Item::Quoting(quote, Box::new(item)));
        }
        self
    }
}

impl Media {
    /// This content, its key told as the reference client does.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), key: KeyForm::Hex }
    }

    /// With its key told like this.
    #[must_use]
    pub fn with_key(mut self, key: KeyForm) -> Self {
        self.key = key;
        self
    }
}

impl Item {
    /// What a reader reads: the text, or the transcript.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Voice { transcript: Some(text), .. } => Some(text),
            Self::Quoting(_, item) => item.text(),
            _ => None,
        }
    }
}
