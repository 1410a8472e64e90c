//! What a bot does to messages that are there (§3.4): update a card, edit a text, recall, read.

use std::time::Duration;

use moorline_core::MessageId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, FIELD_VALIDATION, json_answer, refusal};
use super::app::AppId;
use super::fault::{Fault, Lost};
use super::platform::Platform;
use super::sending::{Author, Posted, RICH_LIMIT, TEXT_LIMIT, text_of};
use crate::link::{LinkId, Now, Request, Response};

/// How old a card may be to be updated.
const CARD_AGE: Duration = Duration::from_secs(14 * 86_400);
/// How often a text or post can be edited.
const EDIT_LIMIT: u32 = 20;

#[derive(Deserialize)]
struct Body {
    msg_type: Option<String>,
    content: String,
}

impl Platform {
    /// `PATCH`: another content for a card.
    pub(crate) fn patch(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Patch, now) else { return };
        let result = self.patched(&app, request, target, now);
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// `PUT`: another text.
    pub(crate) fn edit(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Edit, now) else { return };
        let result = self.edited(&app, request, target, now);
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// `DELETE`: the message is gone for its readers.
    pub(crate) fn recall(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Recall, now) else { return };
        let id = MessageId::new(target);
        let result = self.own(&app, target).map(drop).map(|()| {
            self.recall_message(&id, now);
            json_answer(200, &json!({ "code": 0, "msg": "success", "data": {} }))
        });
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// `GET`: the message as it is now.
    pub(crate) fn read(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Read, now) else { return };
        let result = self.known(&app, target).map(|posted| {
            let item = self.message_json(&app, &MessageId::new(target), posted);
            json_answer(200, &json!({ "code": 0, "msg": "success", "data": { "items": [item] } }))
        });
        self.conclude(link, &app, result, delay, lost, now);
    }

    fn patched(
        &mut self,
        app: &AppId,
        request: &Request,
        target: &str,
        now: Now,
    ) -> Result<Response, Response> {
        let (body, content) = body(request)?;
        let posted = self.own(app, target)?;
        if posted.msg_type != "interactive" {
            return Err(refusal(400, 230_001, "This message is NOT a card; ext=cards only"));
        }
        if now.wall.as_millis() - posted.created.as_millis() > CARD_AGE.as_millis() as i64 {
            return Err(refusal(400, 230_031, "The message is too old to be updated"));
        }
        let before: Value = serde_json::from_str(&posted.content).unwrap_or_default();
        if !shared(&before) || !shared(&content) {
            return Err(refusal(400, 230_099, "Failed to update the card; ext=update_multi is not true"));
        }
        if body.content.len() > RICH_LIMIT {
            return Err(too_long());
        }
        let id = MessageId::new(target);
        self.within_patch(app, &id, now.monotonic)?;
        self.rewrite(&id, body.content, now);
        Ok(json_answer(200, &json!({ "code": 0, "msg": "success", "data": {} })))
    }

    fn edited(
        &mut self,
        app: &AppId,
        request: &Request,
        target: &str,
        now: Now,
    ) -> Result<Response, Response> {
        let (body, content) = body(request)?;
        let posted = self.own(app, target)?;
        let limit = match (posted.msg_type.as_str(), body.msg_type.as_deref()) {
            ("text", Some("text")) if content.get("text").is_some_and(Value::is_string) => TEXT_LIMIT,
            ("post", Some("post")) => RICH_LIMIT,
            ("text" | "post", Some("text" | "post")) => {
                return Err(refusal(400, 230_001, "invalid content; ext=not of the message's type"));
            }
            _ => return Err(refusal(400, 230_054, "This type of message can not be edited")),
        };
        if body.content.len() > limit {
            return Err(too_long());
        }
        if posted.edits >= EDIT_LIMIT {
            return Err(refusal(400, 230_001, "The message was edited too often; ext=20 times"));
        }
        let id = MessageId::new(target);
        self.rewrite(&id, body.content, now);
        let Some(posted) = self.messages.get(&id) else {
            return Err(refusal(500, 2_200, "internal error"));
        };
        let data = self.message_json(app, &id, posted);
        Ok(json_answer(200, &json!({ "code": 0, "msg": "success", "data": data })))
    }

    /// Gives a message another content, in its ledger too.
    pub(crate) fn rewrite(&mut self, id: &MessageId, content: String, now: Now) {
        let Some(posted) = self.messages.get_mut(id) else { return };
        posted.edits += 1;
        posted.updated = now.wall;
        posted.content.clone_from(&content);
        let value = serde_json::from_str(&content).unwrap_or_default();
        if let Some(visible) = self.ledger.visible_mut(id) {
            visible.edits += 1;
            visible.text = text_of(&visible.msg_type, &value);
            visible.content = content;
        }
    }

    /// Takes a message back.
    pub(crate) fn recall_message(&mut self, id: &MessageId, now: Now) {
        if let Some(posted) = self.messages.get_mut(id) {
            posted.recalled = true;
        }
        if let Some(visible) = self.ledger.visible_mut(id) {
            visible.recalled = Some(now.wall);
        }
    }

    /// A message in a chat of this bot, recalled or not.
    pub(crate) fn known(&self, app: &AppId, target: &str) -> Result<&Posted, Response> {
        let Some(posted) = self.messages.get(&MessageId::new(target)) else {
            return Err(refusal(400, 230_001, "invalid message_id; ext=no such message"));
        };
        self.require_member(app, &posted.chat)?;
        Ok(posted)
    }

    /// The same, and it was not recalled.
    pub(crate) fn readable(&self, app: &AppId, target: &str) -> Result<&Posted, Response> {
        let posted = self.known(app, target)?;
        if posted.recalled {
            return Err(refusal(400, 230_011, "The message was withdrawn"));
        }
        Ok(posted)
    }

    /// The same, and this bot wrote it.
    fn own(&self, app: &AppId, target: &str) -> Result<&Posted, Response> {
        let posted = self.readable(app, target)?;
        match &posted.author {
            Author::Bot(author) if author == app => Ok(posted),
            _ => Err(refusal(400, 230_017, "Bot is NOT the owner of the resource")),
        }
    }
}

fn body(request: &Request) -> Result<(Body, Value), Response> {
    let body: Body = serde_json::from_slice(&request.body)
        .map_err(|error| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {error}")))?;
    let content = serde_json::from_str::<Value>(&body.content).ok().filter(Value::is_object);
    let content = content.ok_or_else(|| refusal(400, 230_001, "content is not a string in json format"))?;
    Ok((body, content))
}

/// Whether a card is the same for all its readers.
fn shared(card: &Value) -> bool {
    card.pointer("/config/update_multi") == Some(&Value::Bool(true))
}

fn too_long() -> Response {
    refusal(400, 230_025, "The length of the message content reaches its limit")
}

fn lost(fault: &Fault) -> Option<Lost> {
    match fault {
        Fault::LoseEditAnswer(lost) => Some(*lost),
        _ => None,
    }
}
