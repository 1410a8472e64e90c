//! What a user does, as the app is told (§4).

use moorline_core::{ChatId, MessageId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::app::{App, AppId};
use super::people::{Identity, open_id_for};

/// A message of a user. In JSON only `chat_id`, `user` and `text` are needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The chat.
    pub chat_id: ChatId,
    /// Direct or group.
    #[serde(default)]
    pub chat_type: ChatType,
    /// Who writes: an open_id, any id of a [`super::Person`], or the id of an app for its bot.
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
    /// Who wrote: `user`, or `app` for a bot; when absent, what `user` is.
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
    /// Whom else they mention; the placeholders come after those of `mentions`.
    #[serde(default)]
    pub mentioned: Vec<Mention>,
    /// Changes of the whole event, as a JSON merge patch (RFC 7396): null removes a key.
    #[serde(default)]
    pub merge: Option<Value>,
}

/// Somebody who is mentioned. In JSON: `{"user":"ou_…"}`, `{"bot":"cli_…"}`, `"all"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mention {
    /// A user, by any id.
    User(UserId),
    /// The bot of any app, with the open_id it has for the app that is told.
    Bot(AppId),
    /// Everybody: `@_all` in the text, and no entry among the mentions.
    All,
    /// A user or bot under an open_id that belongs to another app, as F-018 has it: (whom, that app).
    Foreign(UserId, AppId),
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
            mentioned: Vec::new(),
            merge: None,
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

    /// The same, mentioning somebody else too.
    #[must_use]
    pub fn mentioning(mut self, mention: Mention) -> Self {
        self.mentioned.push(mention);
        self
    }

    /// The same, with another type and content than text: `post`, `image`, `file`, `audio`, `sticker`,
    /// `merge_forward`, … In a post, the mentions are put in front of the first paragraph.
    #[must_use]
    pub fn with_content(mut self, message_type: impl Into<String>, content: &Value) -> Self {
        self.other = Some((message_type.into(), content.to_string()));
        self
    }

    /// The same, with its event changed like this (RFC 7396).
    #[must_use]
    pub fn merging(mut self, patch: Value) -> Self {
        self.merge = Some(patch);
        self
    }

    /// When the user wrote it.
    pub(crate) fn written(&self, at: Timestamp) -> Timestamp {
        at.minus(std::time::Duration::from_millis(self.age_ms))
    }

    /// Type and content, with the placeholders of all mentions.
    pub(crate) fn content(&self) -> (String, String) {
        match &self.other {
            Some((message_type, content)) if message_type == "post" => {
                (message_type.clone(), self.post_with_mentions(content))
            }
            Some(other) => other.clone(),
            None => ("text".to_owned(), json!({ "text": self.text_with_mentions() }).to_string()),
        }
    }

    /// The envelope (§4.1, §4.2).
    pub(crate) fn envelope(
        &self,
        app: &App,
        pushed: &Pushed,
        at: Timestamp,
        identify: &dyn Fn(&UserId) -> Identity,
    ) -> Value {
        let created = self.written(at).as_millis().to_string();
        let (message_type, content) = self.content();
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
        let mentions = self.mentions(app, identify);
        if !mentions.is_empty() {
            message.insert("mentions".to_owned(), Value::Array(mentions));
        }
        let sender = identify(&self.user);
        let sender_type = if sender.bot { "app" } else { "user" };
        let mut envelope = json!({
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
                    "sender_id": sender.ids(),
                    "sender_type": self.sender_type.as_deref().unwrap_or(sender_type),
                    "tenant_key": TENANT,
                },
                "message": message,
            },
        });
        if let Some(patch) = &self.merge {
            merge(&mut envelope, patch);
        }
        envelope
    }

    /// Every placeholder, in order.
    fn placeholders(&self) -> Vec<String> {
        let plain = usize::from(self.mentions_bot) + self.mentions.len();
        let mut number = 0;
        let mut next = || {
            number += 1;
            format!("@_user_{number}")
        };
        let mut keys: Vec<String> = std::iter::repeat_with(&mut next).take(plain).collect();
        for mention in &self.mentioned {
            keys.push(if *mention == Mention::All { "@_all".to_owned() } else { next() });
        }
        keys
    }

    fn text_with_mentions(&self) -> String {
        let mut text: String = self.placeholders().into_iter().map(|key| key + " ").collect();
        text.push_str(&self.text);
        text
    }

    /// A content that is not the documented one stays as it is.
    fn post_with_mentions(&self, content: &str) -> String {
        let keys = self.placeholders();
        let Ok(mut post) = serde_json::from_str::<Value>(content) else { return content.to_owned() };
        let first = post.pointer_mut("/content/0").and_then(Value::as_array_mut);
        let Some(first) = first.filter(|_| !keys.is_empty()) else { return content.to_owned() };
        let at = keys.into_iter().map(|key| json!({ "tag": "at", "user_id": key }));
        first.splice(0..0, at);
        post.to_string()
    }

    fn mentions(&self, app: &App, identify: &dyn Fn(&UserId) -> Identity) -> Vec<Value> {
        let bot = self.mentions_bot.then(|| Mention::Bot(app.app_id.clone()));
        let users = self.mentions.iter().cloned().map(Mention::User);
        let all = bot.into_iter().chain(users).chain(self.mentioned.iter().cloned());
        all.filter_map(|mention| {
            Some(match mention {
                Mention::User(user) => (identify(&user), None),
                Mention::Bot(bot) => (identify(&UserId::new(bot.as_str())), None),
                Mention::Foreign(user, other) => {
                    let identity = identify(&user);
                    let open_id = open_id_for(&identity.union_id, &other);
                    (identity, Some(open_id))
                }
                Mention::All => return None,
            })
        })
        .zip(1..)
        .map(|((identity, foreign), n)| {
            let mut ids = identity.ids();
            if let Some(foreign) = foreign {
                ids["open_id"] = json!(foreign);
            }
            json!({
                "key": format!("@_user_{n}"),
                "id": ids,
                "name": identity.name,
                "tenant_key": TENANT,
            })
        })
        .collect()
    }
}

/// A JSON merge patch (RFC 7396).
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return value.clone_from(patch) };
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(object) = value else { return };
    for (key, patch) in patch {
        if patch.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), patch);
        }
    }
}

/// The one tenant everybody belongs to.
pub(crate) const TENANT: &str = "736588c9260f175d";

/// The id of a user that is the same for every app.
pub(crate) fn union_id(user: &UserId) -> String {
    format!("on_{}", user.as_str().trim_start_matches("ou_"))
}
