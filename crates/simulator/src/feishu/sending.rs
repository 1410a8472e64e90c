//! Sending and replying (§3.4, §3.5): what makes a message visible, once per uuid and hour.

use std::time::Duration;

use moorline_core::{ChatId, MessageId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{FIELD_VALIDATION, json_answer, refusal};
use super::app::AppId;
use super::fault::{Fault, Lost};
use super::ledger::Visible;
use super::link::{Effect, LinkId, Now, Request, Response};
use super::platform::Platform;
use super::push::{ChatType, TENANT, union_id};

/// How long a uuid protects from a second message.
const UUID_WINDOW: Duration = Duration::from_secs(3_600);
/// The longest uuid.
const UUID_LIMIT: usize = 50;
/// The longest content of a text.
const TEXT_LIMIT: usize = 150 << 10;
/// The longest content of a card or post.
const RICH_LIMIT: usize = 30 << 10;

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

/// A message, by a user or a bot, as far as answering it goes.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) chat: ChatId,
    pub(crate) root: Option<MessageId>,
    pub(crate) thread: Option<String>,
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
        let app = match self.authorized(request, now) {
            Ok(app) => app,
            Err(refusal) => return self.answer(link, refusal),
        };
        let Some(state) = self.apps.get_mut(&app) else { return };
        state.counters.sends += 1;
        let fault = state.faults.take(|fault| match fault {
            Fault::Send(answer) => Some(answer.clone()),
            _ => None,
        });
        let Some(delay) = self.interfere(link, fault, refusal) else { return };
        let answer = match self.post(&app, request, target, now) {
            Ok(index) => self.sent(index),
            Err(refusal) => return self.act_later(link, Effect::Respond(refusal), delay, now),
        };
        // The message is visible by now; only the answer can still be lost.
        let lost = self.take_fault(&app, |fault| match fault {
            Fault::LoseSendAnswer(lost) => Some(*lost),
            _ => None,
        });
        match lost {
            None => self.act_later(link, Effect::Respond(answer), delay, now),
            Some(Lost::Reset) => self.act_later(link, Effect::Reset, delay, now),
            Some(Lost::Hang) => {}
        }
    }

    /// Makes the message visible, or finds the one its uuid sent before. Its place in the visible ledger.
    fn post(
        &mut self,
        app: &AppId,
        request: &Request,
        target: Option<&str>,
        now: Now,
    ) -> Result<usize, Response> {
        let body: Body = serde_json::from_slice(&request.body)
            .map_err(|error| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {error}")))?;
        let content = check(&body)?;
        let destination = match target {
            Some(target) => self.reply_destination(app, target, body.reply_in_thread)?,
            None => self.send_destination(app, request, body.receive_id.as_deref())?,
        };
        let key = body.uuid.clone().filter(|uuid| !uuid.is_empty()).map(|uuid| (app.clone(), uuid));
        if let Some(key) = &key
            && let Some(&(index, at)) = self.uuids.get(key)
            && now.monotonic - at < UUID_WINDOW
            && let Some(first) = self.ledger.visible.get_mut(index)
        {
            first.repeats += 1;
            return Ok(index);
        }
        let message_id = MessageId::new(format!("om_{}", self.hex(32)));
        let posted = Posted {
            chat: destination.chat.clone(),
            root: destination.root.clone(),
            thread: destination.thread.clone(),
        };
        self.messages.insert(message_id.clone(), posted);
        let index = self.ledger.visible.len();
        if let Some(key) = key {
            self.uuids.insert(key, (index, now.monotonic));
        }
        self.ledger.visible.push(Visible {
            app: app.clone(),
            message_id,
            chat: destination.chat,
            text: text_of(&body.msg_type, &content),
            msg_type: body.msg_type,
            content: body.content,
            uuid: body.uuid,
            reply_to: destination.parent,
            thread: destination.thread,
            at: now.wall,
            repeats: 0,
        });
        Ok(index)
    }

    fn send_destination(
        &self,
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
                self.direct_chat(app, |user| user.as_str() == receive_id)?
            }
            Some("union_id") if receive_id.starts_with("on_") => {
                self.direct_chat(app, |user| union_id(user) == receive_id)?
            }
            Some("open_id" | "union_id") => {
                return Err(refusal(400, 230_001, "invalid receive_id; ext=not of the receive_id_type"));
            }
            // Users here have neither.
            Some("user_id" | "email") => {
                return Err(refusal(400, 230_013, "Bot has NO availability to this user"));
            }
            _ => return Err(invalid("receive_id_type is required")),
        };
        self.require_member(app, &chat)?;
        Ok(Destination { chat, parent: None, root: None, thread: None })
    }

    fn reply_destination(&self, app: &AppId, target: &str, in_thread: bool) -> Result<Destination, Response> {
        let parent = MessageId::new(target);
        let Some(posted) = self.messages.get(&parent) else {
            return Err(refusal(400, 230_001, "invalid message_id; ext=no such message"));
        };
        self.require_member(app, &posted.chat)?;
        let started = || in_thread.then(|| format!("omt_{}", target.trim_start_matches("om_")));
        Ok(Destination {
            chat: posted.chat.clone(),
            root: posted.root.clone().or_else(|| Some(parent.clone())),
            thread: posted.thread.clone().or_else(started),
            parent: Some(parent),
        })
    }

    /// The direct chat of a user of whom this app has heard.
    fn direct_chat(&self, app: &AppId, is: impl Fn(&UserId) -> bool) -> Result<ChatId, Response> {
        let found = self.chats.iter().find(|(_, chat)| {
            chat.chat_type == ChatType::P2p && chat.apps.contains(app) && chat.user.as_ref().is_some_and(&is)
        });
        let missing = || refusal(400, 230_013, "Bot has NO availability to this user");
        found.map(|(id, _)| id.clone()).ok_or_else(missing)
    }

    fn require_member(&self, app: &AppId, chat: &ChatId) -> Result<(), Response> {
        let member = self.chats.get(chat).is_some_and(|chat| chat.apps.contains(app));
        if member { Ok(()) } else { Err(refusal(400, 230_002, "Bot is NOT in the chat")) }
    }

    /// The answer to a call that sent this message, now or before.
    fn sent(&self, index: usize) -> Response {
        let Some(message) = self.ledger.visible.get(index) else {
            return refusal(500, 2_200, "internal error");
        };
        let at = message.at.as_millis().to_string();
        let mut data = json!({
            "message_id": message.message_id,
            "msg_type": message.msg_type,
            "create_time": at,
            "update_time": at,
            "deleted": false,
            "updated": false,
            "chat_id": message.chat,
            "sender": { "id": message.app, "id_type": "app_id", "sender_type": "app", "tenant_key": TENANT },
            "body": { "content": message.content },
        });
        let root = self.messages.get(&message.message_id).and_then(|posted| posted.root.clone());
        let relations = [
            ("parent_id", json!(message.reply_to)),
            ("root_id", json!(root)),
            ("thread_id", json!(message.thread)),
        ];
        if let Some(data) = data.as_object_mut() {
            let present = relations.into_iter().filter(|(_, value)| !value.is_null());
            data.extend(present.map(|(key, value)| (key.to_owned(), value)));
        }
        json_answer(200, &json!({ "code": 0, "msg": "success", "data": data }))
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

fn text_of(msg_type: &str, content: &Value) -> String {
    let text = if msg_type == "text" { content.get("text").and_then(Value::as_str) } else { None };
    text.unwrap_or_default().to_owned()
}
