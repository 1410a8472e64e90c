//! Sending and replying (§3.4, §3.5): what makes a message visible, once per uuid and hour.

use std::time::Duration;

use moorline_core::{ChatId, MessageId, Monotonic, Timestamp, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, FIELD_VALIDATION, json_answer, refusal};
use super::app::AppId;
use super::fault::{Fault, Lost};
use super::ledger::Visible;
use super::people::Identity;
use super::platform::{Chat, Platform};
use super::push::{ChatType, Mention, TENANT};
use super::reactions::Reaction;
use crate::link::{LinkId, Now, Request, Response};

/// How long a uuid protects from a second message.
const UUID_WINDOW: Duration = Duration::from_secs(3_600);
/// The longest uuid.
const UUID_LIMIT: usize = 50;
/// The longest content of a text.
pub(crate) const TEXT_LIMIT: usize = 150 << 10;
/// The longest content of a card or post.
pub(crate) const RICH_LIMIT: usize = 30 << 10;

const MSG_TYPES: [&str; 11] = [
    "text",
    "post",
    "image",
    "file",
    "audio",
    "media",
    "sticker",
    "interactive",
    "share_chat",
    "share_user",
    "system",
];

/// A message, by a user or a bot, as the platform keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) chat: ChatId,
    pub(crate) root: Option<MessageId>,
    pub(crate) parent: Option<MessageId>,
    pub(crate) thread: Option<String>,
    pub(crate) author: Author,
    pub(crate) msg_type: String,
    pub(crate) content: String,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) edits: u32,
    pub(crate) recalled: bool,
    pub(crate) reactions: Vec<Reaction>,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Author {
    Bot(AppId),
    User(UserId),
}

/// What a uuid sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) message: MessageId,
    pub(crate) at: Monotonic,
    /// Until then the call that sent it is still being answered.
    pub(crate) busy_until: Monotonic,
}

#[derive(Deserialize)]
struct Body {
    receive_id: Option<String>,
    msg_type: String,
    content: String,
    uuid: Option<String>,
    #[serde(default)]
    reply_in_thread: bool,
}

/// Where a message goes, and what it answers.
struct Destination {
    chat: ChatId,
    parent: Option<MessageId>,
    root: Option<MessageId>,
    thread: Option<String>,
}

impl Platform {
    /// Send, or reply to `target`.
    pub(crate) fn send(&mut self, link: LinkId, request: &Request, target: Option<&str>, now: Now) {
        let api = if target.is_some() { Api::Reply } else { Api::Send };
        let Some((app, mut delay)) = self.admit(link, request, api, now) else { return };
        let slow = self.take_fault(&app, |fault| match fault {
            Fault::SlowSend(span) => Some(*span),
            _ => None,
        });
        delay += slow.unwrap_or_default();
        let result = self.post(&app, request, target, slow.unwrap_or_default(), now);
        let fresh = result.as_ref().ok().filter(|(_, fresh)| *fresh).map(|(id, _)| id.clone());
        let answer = result.map(|(id, _)| self.sent(&app, &id));
        // The message is visible by now; only the answer can still be lost.
        self.conclude(link, &app, answer, delay, lost, now);
        if let Some(id) = fresh {
            self.echo(&app, &id, now);
            self.forget_visible();
        }
    }

    /// Makes the message visible, or finds the one its uuid sent before. Its id, and whether it is new.
    fn post(
        &mut self,
        app: &AppId,
        request: &Request,
        target: Option<&str>,
        slow: Duration,
        now: Now,
    ) -> Result<(MessageId, bool), Response> {
        let body: Body = serde_json::from_slice(&request.body)
            .map_err(|error| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {error}")))?;
        let content = check(&body)?;
        self.check_keys(app, &body.msg_type, &content)?;
        let destination = match target {
            Some(target) => self.reply_destination(app, target, body.reply_in_thread)?,
            None => self.send_destination(app, request, body.receive_id.as_deref())?,
        };
        let code = self.take_fault(app, |fault| match fault {
            Fault::Chat { chat_id, code } if *chat_id == destination.chat => Some(*code),
            _ => None,
        });
        if let Some(code) = code {
            return Err(refusal(400, code, "refused by a fault of this chat"));
        }
        self.within_chat(app, &destination.chat, now.monotonic)?;
        let key = body.uuid.clone().filter(|uuid| !uuid.is_empty()).map(|uuid| (app.clone(), uuid));
        let known = key.as_ref().and_then(|key| self.uuids.get(key)).cloned();
        if let Some(first) = known.filter(|sent| now.monotonic - sent.at < UUID_WINDOW) {
            if now.monotonic < first.busy_until {
                return Err(refusal(400, 230_049, "The message is being sent"));
            }
            if let Some(visible) = self.ledger.visible_mut(&first.message) {
                visible.repeats += 1;
            }
            return Ok((first.message, false));
        }
        let message_id = MessageId::new(format!("om_{}", self.hex(32)));
        let posted = Posted {
            chat: destination.chat.clone(),
            root: destination.root,
            parent: destination.parent.clone(),
            thread: destination.thread.clone(),
            author: Author::Bot(app.clone()),
            msg_type: body.msg_type.clone(),
            content: body.content.clone(),
            mentions: Vec::new(),
            created: now.wall,
            updated: now.wall,
            edits: 0,
            recalled: false,
            reactions: Vec::new(),
        };
        self.messages.insert(message_id.clone(), posted);
        if let Some(key) = key {
            let busy_until = now.monotonic + slow;
            self.uuids.insert(key, Sent { message: message_id.clone(), at: now.monotonic, busy_until });
            self.forget_uuids(now.monotonic, UUID_WINDOW);
        }
        self.ledger.visible.push(Visible {
            app: app.clone(),
            message_id: message_id.clone(),
            chat: destination.chat,
            text: text_of(&body.msg_type, &content),
            msg_type: body.msg_type,
            content: body.content,
            uuid: body.uuid,
            reply_to: destination.parent,
            thread: destination.thread,
            at: now.wall,
            repeats: 0,
            edits: 0,
            recalled: None,
        });
        Ok((message_id, true))
    }

    fn send_destination(
        &mut self,
        app: &AppId,
        request: &Request,
        receive_id: Option<&str>,
    ) -> Result<Destination, Response> {
        let invalid =
            |what: &str| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {what}"));
        let Some(receive_id) = receive_id.filter(|id| !id.is_empty()) else {
            return Err(invalid("receive_id is required"));
        };
        let chat = match request.query("receive_id_type") {
            Some("chat_id") if receive_id.starts_with("ou_") || receive_id.starts_with("on_") => {
                return Err(refusal(400, 230_001, "invalid receive_id; ext=not a chat_id"));
            }
            Some("chat_id") => ChatId::new(receive_id),
            Some("open_id") if receive_id.starts_with("ou_") => {
                self.direct_chat(app, receive_id, |user| user.open_id.as_str() == receive_id)?
            }
            Some("union_id") if receive_id.starts_with("on_") => {
                self.direct_chat(app, receive_id, |user| user.union_id == receive_id)?
            }
            Some("open_id" | "union_id") => {
                return Err(refusal(400, 230_001, "invalid receive_id; ext=not of the receive_id_type"));
            }
            // Only people who were made known have these.
            Some("user_id") => {
                self.direct_chat(app, receive_id, |user| user.user_id.as_deref() == Some(receive_id))?
            }
            Some("email") => {
                let union_id = self.person(app, receive_id).map(|person| person.union_id.clone());
                self.direct_chat(app, receive_id, |user| Some(&user.union_id) == union_id.as_ref())?
            }
            _ => return Err(invalid("receive_id_type is required")),
        };
        self.require_member(app, &chat)?;
        Ok(Destination { chat, parent: None, root: None, thread: None })
    }

    fn reply_destination(&self, app: &AppId, target: &str, in_thread: bool) -> Result<Destination, Response> {
        let parent = MessageId::new(target);
        let posted = self.readable(app, target)?;
        let started = || in_thread.then(|| format!("omt_{}", target.trim_start_matches("om_")));
        Ok(Destination {
            chat: posted.chat.clone(),
            root: posted.root.clone().or_else(|| Some(parent.clone())),
            thread: posted.thread.clone().or_else(started),
            parent: Some(parent),
        })
    }

    /// The direct chat of a user of whom this app has heard. For a person everybody knows it begins now.
    fn direct_chat(
        &mut self,
        app: &AppId,
        receive_id: &str,
        is: impl Fn(&Identity) -> bool,
    ) -> Result<ChatId, Response> {
        let found = self.chats.iter().find(|(_, chat)| {
            let with =
                chat.user.as_ref().filter(|_| chat.chat_type == ChatType::P2p && chat.apps.contains(app));
            with.is_some_and(|user| is(&self.identity(app, user)))
        });
        if let Some((id, _)) = found {
            return Ok(id.clone());
        }
        let person = self.person(app, receive_id).map(|person| UserId::new(person.union_id.as_str()));
        let person = person.filter(|person| is(&self.identity(app, person)));
        let Some(person) = person else {
            return Err(refusal(400, 230_013, "Bot has NO availability to this user"));
        };
        let id = ChatId::new(format!("oc_{}", self.hex(32)));
        let apps = std::iter::once(app.clone()).collect();
        self.chats.insert(id.clone(), Chat { apps, user: Some(person), chat_type: ChatType::P2p });
        Ok(id)
    }

    pub(crate) fn require_member(&self, app: &AppId, chat: &ChatId) -> Result<(), Response> {
        let member = self.chats.get(chat).is_some_and(|chat| chat.apps.contains(app));
        if member { Ok(()) } else { Err(refusal(400, 230_002, "Bot is NOT in the chat")) }
    }

    /// The answer to a call that sent this message, now or before.
    fn sent(&self, app: &AppId, id: &MessageId) -> Response {
        let data = match self.messages.get(id) {
            Some(posted) => self.message_json(app, id, posted),
            // Forgotten within the hour of its uuid.
            None => json!({ "message_id": id }),
        };
        json_answer(200, &json!({ "code": 0, "msg": "success", "data": data }))
    }

    /// A message as this app reads it (§3.4).
    pub(crate) fn message_json(&self, viewer: &AppId, id: &MessageId, posted: &Posted) -> Value {
        let sender = match &posted.author {
            Author::Bot(app) => {
                json!({ "id": app, "id_type": "app_id", "sender_type": "app", "tenant_key": TENANT })
            }
            Author::User(user) => {
                let open_id = self.identity(viewer, user).open_id;
                json!({ "id": open_id, "id_type": "open_id", "sender_type": "user", "tenant_key": TENANT })
            }
        };
        let content = if posted.recalled { "This message was recalled" } else { &posted.content };
        let mut data = json!({
            "message_id": id,
            "msg_type": posted.msg_type,
            "create_time": posted.created.as_millis().to_string(),
            "update_time": posted.updated.as_millis().to_string(),
            "deleted": posted.recalled,
            "updated": posted.edits > 0,
            "chat_id": posted.chat,
            "sender": sender,
            "body": { "content": content },
        });
        let mentions = self.mentions_json(viewer, &posted.mentions);
        let relations = [
            ("parent_id", json!(posted.parent)),
            ("root_id", json!(posted.root)),
            ("thread_id", json!(posted.thread)),
            ("mentions", if mentions.is_empty() { Value::Null } else { Value::Array(mentions) }),
        ];
        if let Some(data) = data.as_object_mut() {
            let present = relations.into_iter().filter(|(_, value)| !value.is_null());
            data.extend(present.map(|(key, value)| (key.to_owned(), value)));
        }
        data
    }

    /// Mentions as REST answers have them: `id` is text.
    fn mentions_json(&self, viewer: &AppId, mentions: &[Mention]) -> Vec<Value> {
        let identities = mentions.iter().filter_map(|mention| match mention {
            Mention::User(user) | Mention::Foreign(user, _) => Some(self.identity(viewer, user)),
            Mention::Bot(bot) => Some(self.identity(viewer, &UserId::new(bot.as_str()))),
            Mention::All => None,
        });
        identities
            .zip(1..)
            .map(|(identity, n)| {
                json!({
                    "key": format!("@_user_{n}"),
                    "id": identity.open_id,
                    "id_type": "open_id",
                    "name": identity.name,
                    "tenant_key": TENANT,
                })
            })
            .collect()
    }
}

fn lost(fault: &Fault) -> Option<Lost> {
    match fault {
        Fault::LoseSendAnswer(lost) => Some(*lost),
        _ => None,
    }
}

/// What the platform checks before it looks where the message goes. The content, read.
fn check(body: &Body) -> Result<Value, Response> {
    let invalid = |what: &str| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {what}"));
    if body.uuid.as_ref().is_some_and(|uuid| uuid.chars().count() > UUID_LIMIT) {
        return Err(invalid("the max len of uuid is 50"));
    }
    if !MSG_TYPES.contains(&body.msg_type.as_str()) {
        return Err(refusal(400, 230_001, "invalid msg_type; ext=unknown"));
    }
    let content = serde_json::from_str::<Value>(&body.content).ok().filter(Value::is_object);
    let Some(content) = content else {
        return Err(refusal(400, 230_001, "content is not a string in json format"));
    };
    if body.msg_type == "text" && !content.get("text").is_some_and(Value::is_string) {
        return Err(refusal(400, 230_001, "invalid content; ext=text is required"));
    }
    let limit = match body.msg_type.as_str() {
        "post" | "interactive" => RICH_LIMIT,
        _ => TEXT_LIMIT,
    };
    if body.content.len() > limit {
        return Err(refusal(400, 230_025, "The length of the message content reaches its limit"));
    }
    Ok(content)
}

pub(crate) fn text_of(msg_type: &str, content: &Value) -> String {
    let text = if msg_type == "text" { content.get("text").and_then(Value::as_str) } else { None };
    text.unwrap_or_default().to_owned()
}
