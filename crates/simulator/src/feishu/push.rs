//! What a user does, as the app is told (§4).

use moorline_core::{ChatId, MessageId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::app::App;

/// A message of a user. In JSON only `chat_id`, `user` and `text` are needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The chat.
    pub chat_id: ChatId,
    /// Direct or group.
    #[serde(default)]
    pub chat_type: ChatType,
    /// The user's open_id.
    pub user: UserId,
    /// What they wrote. Where the bot is mentioned, the mention's placeholder is put in front.
    pub text: String,
    /// Whether they mention the bot.
    #[serde(default)]
    pub mentions_bot: bool,
    /// Other users they mention, by open_id.
    #[serde(default)]
    pub mentions: Vec<UserId>,
    /// The message they answer.
    #[serde(default)]
    pub parent_id: Option<MessageId>,
    /// The first message of what they answer; the parent when absent.
    #[serde(default)]
    pub root_id: Option<MessageId>,
    /// The thread they write in.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// Who wrote: `user`, or `app` for another bot; `user` when absent.
    #[serde(default)]
    pub sender_type: Option<String>,
    /// Another type than `text`, with its content: (message_type, content as JSON text).
    #[serde(default)]
    pub other: Option<(String, String)>,
    /// How long before the push it was written, in milliseconds: for messages that waited.
    #[serde(default)]
    pub age_ms: u64,
    /// The event's type instead of `im.message.receive_v1`, with the same body.
    #[serde(default)]
    pub event_type: Option<String>,
}

/// What kind of chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatType {
    /// Between one user and the bot.
    #[default]
    P2p,
    /// With several.
    Group,
}

/// What a push became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// The event, the same in every delivery.
    pub event_id: moorline_core::EventId,
    /// The chat message, the same in every delivery.
    pub message_id: MessageId,
}

impl ChatType {
    /// As the platform writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P2p => "p2p",
            Self::Group => "group",
        }
    }
}

impl Push {
    /// A direct message in this chat.
    pub fn direct(chat: impl Into<String>, user: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            chat_id: ChatId::new(chat),
            chat_type: ChatType::P2p,
            user: UserId::new(user),
            text: text.into(),
            mentions_bot: false,
            mentions: Vec::new(),
            parent_id: None,
            root_id: None,
            thread_id: None,
            sender_type: None,
            other: None,
            age_ms: 0,
            event_type: None,
        }
    }

    /// A group message that mentions nobody.
    pub fn group(chat: impl Into<String>, user: impl Into<String>, text: impl Into<String>) -> Self {
        Self { chat_type: ChatType::Group, ..Self::direct(chat, user, text) }
    }

    /// The same, mentioning the bot.
    #[must_use]
    pub fn mentioning_bot(mut self) -> Self {
        self.mentions_bot = true;
        self
    }

    /// The same, as an answer to a message.
    #[must_use]
    pub fn replying_to(mut self, message: MessageId) -> Self {
        self.parent_id = Some(message);
        self
    }

    /// The same, in a thread.
    #[must_use]
    pub fn in_thread(mut self, thread: impl Into<String>) -> Self {
        self.thread_id = Some(thread.into());
        self
    }

    /// The envelope (§4.1, §4.2).
    pub(crate) fn envelope(&self, app: &App, pushed: &Pushed, at: Timestamp) -> Value {
        let created = at.minus(std::time::Duration::from_millis(self.age_ms)).as_millis().to_string();
        let (message_type, content) = match &self.other {
            Some((message_type, content)) => (message_type.clone(), content.clone()),
            None => ("text".to_owned(), json!({ "text": self.text_with_mentions() }).to_string()),
        };
        let mut message = Map::new();
        message.insert("message_id".to_owned(), json!(pushed.message_id));
        if let Some(parent) = &self.parent_id {
            message.insert("parent_id".to_owned(), json!(parent));
            message.insert("root_id".to_owned(), json!(self.root_id.as_ref().unwrap_or(parent)));
        }
        if let Some(thread) = &self.thread_id {
            message.insert("thread_id".to_owned(), json!(thread));
        }
        message.insert("create_time".to_owned(), json!(created));
        message.insert("update_time".to_owned(), json!(created));
        message.insert("chat_id".to_owned(), json!(self.chat_id));
        message.insert("chat_type".to_owned(), json!(self.chat_type.as_str()));
        message.insert("message_type".to_owned(), json!(message_type));
        message.insert("content".to_owned(), json!(content));
        let mentions = self.mentions(app);
        if !mentions.is_empty() {
            message.insert("mentions".to_owned(), Value::Array(mentions));
        }
        json!({
            "schema": "2.0",
            "header": {
                "event_id": pushed.event_id,
                "event_type": self.event_type.as_deref().unwrap_or("im.message.receive_v1"),
                "create_time": created,
                "token": "",
                "app_id": app.app_id,
                "tenant_key": TENANT,
            },
            "event": {
                "sender": {
                    "sender_id": { "open_id": self.user, "union_id": union_id(&self.user), "user_id": null },
                    "sender_type": self.sender_type.as_deref().unwrap_or("user"),
                    "tenant_key": TENANT,
                },
                "message": message,
            },
        })
    }

    fn mentioned<'a>(&'a self, app: &'a App) -> impl Iterator<Item = (&'a UserId, &'a str)> {
        let bot = self.mentions_bot.then_some((&app.bot_open_id, app.bot_name.as_str()));
        bot.into_iter().chain(self.mentions.iter().map(|user| (user, user.as_str())))
    }

    fn text_with_mentions(&self) -> String {
        let placeholders = usize::from(self.mentions_bot) + self.mentions.len();
        let mut text: String = (1..=placeholders).map(|n| format!("@_user_{n} ")).collect();
        text.push_str(&self.text);
        text
    }

    fn mentions(&self, app: &App) -> Vec<Value> {
        self.mentioned(app)
            .zip(1..)
            .map(|((user, name), n)| {
                json!({
                    "key": format!("@_user_{n}"),
                    "id": { "open_id": user, "union_id": union_id(user), "user_id": null },
                    "name": name,
                    "tenant_key": TENANT,
                })
            })
            .collect()
    }
}

/// The one tenant everybody belongs to.
pub(crate) const TENANT: &str = "736588c9260f175d";

/// The id of a user that is the same for every app.
pub(crate) fn union_id(user: &UserId) -> String {
    format!("on_{}", user.as_str().trim_start_matches("ou_"))
}
