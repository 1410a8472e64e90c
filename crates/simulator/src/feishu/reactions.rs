//! Reactions (§3.4): the emoji `Typing` is the typing sign.

use moorline_core::{MessageId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, FIELD_VALIDATION, json_answer, refusal};
use super::app::AppId;
use super::fault::Fault;
use super::ledger::ReactionRecord;
use super::platform::Platform;
use crate::link::{LinkId, Now, Request, Response};

/// Names whose wrong spelling is noticed. Any other word passes: the platform's list is long, and not documented on
/// the protocol page.
const EMOJI: [&str; 8] = ["Typing", "OK", "THUMBSUP", "THANKS", "DONE", "SMILE", "HEART", "OnIt"];

/// Who reacted to a message, with what.
#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) id: String,
    pub(crate) by: UserId,
    pub(crate) emoji: String,
    pub(crate) at: moorline_core::Timestamp,
}

#[derive(Deserialize)]
struct Body {
    reaction_type: Type,
}

#[derive(Deserialize)]
struct Type {
    emoji_type: String,
}

impl Platform {
    /// Adds a reaction. Doing so twice gives the first one's id: a bot cannot react twice with one emoji.
    pub(crate) fn react(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::React, now) else { return };
        let result = self.add_reaction(&app, request, target, now);
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// Takes a reaction back.
    pub(crate) fn unreact(&mut self, link: LinkId, request: &Request, target: &str, id: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Unreact, now) else { return };
        let result = self.remove_reaction(&app, target, id, now);
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// All reactions to a message, or those with one emoji, on one page.
    pub(crate) fn reactions(&mut self, link: LinkId, request: &Request, target: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Reactions, now) else { return };
        let result = self.readable(&app, target).map(|posted| {
            let wanted = request.query("reaction_type");
            let reactions = posted.reactions.iter();
            let items: Vec<Value> = reactions
                .filter(|reaction| wanted.is_none_or(|wanted| wanted == reaction.emoji))
                .map(|reaction| self.reaction_json(&app, reaction))
                .collect();
            let data = json!({ "items": items, "has_more": false, "page_token": "" });
            json_answer(200, &json!({ "code": 0, "msg": "success", "data": data }))
        });
        self.conclude(link, &app, result, delay, lost, now);
    }

    fn add_reaction(
        &mut self,
        app: &AppId,
        request: &Request,
        target: &str,
        now: Now,
    ) -> Result<Response, Response> {
        let body: Body = serde_json::from_slice(&request.body)
            .map_err(|error| refusal(400, FIELD_VALIDATION, &format!("field validation failed: {error}")))?;
        let emoji = body.reaction_type.emoji_type;
        let misspelled = EMOJI.iter().any(|known| known.eq_ignore_ascii_case(&emoji) && *known != emoji);
        let word = !emoji.is_empty() && emoji.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if misspelled || !word {
            return Err(refusal(400, 230_001, "invalid reaction_type; ext=unknown emoji_type"));
        }
        self.readable(app, target)?;
        let by = UserId::new(app.as_str());
        let message_id = MessageId::new(target);
        let id = self.hex(40);
        let Some(posted) = self.messages.get_mut(&message_id) else {
            return Err(refusal(500, 2_200, "internal error"));
        };
        let known = posted.reactions.iter().find(|reaction| reaction.by == by && reaction.emoji == emoji);
        let reaction = match known {
            Some(known) => known.clone(),
            None => {
                let reaction = Reaction { id, by, emoji, at: now.wall };
                posted.reactions.push(reaction.clone());
                self.ledger.reactions.push(ReactionRecord {
                    app: app.clone(),
                    message_id,
                    chat: posted.chat.clone(),
                    reaction_id: reaction.id.clone(),
                    emoji: reaction.emoji.clone(),
                    on: now.wall,
                    off: None,
                });
                self.forget_reactions();
                reaction
            }
        };
        let data = self.reaction_json(app, &reaction);
        Ok(json_answer(200, &json!({ "code": 0, "msg": "success", "data": data })))
    }

    fn remove_reaction(
        &mut self,
        app: &AppId,
        target: &str,
        id: &str,
        now: Now,
    ) -> Result<Response, Response> {
        self.readable(app, target)?;
        let message_id = MessageId::new(target);
        let Some(posted) = self.messages.get_mut(&message_id) else {
            return Err(refusal(500, 2_200, "internal error"));
        };
        let Some(position) = posted.reactions.iter().position(|reaction| reaction.id == id) else {
            return Err(refusal(400, 230_001, "invalid reaction_id; ext=no such reaction"));
        };
        if posted.reactions.get(position).is_some_and(|reaction| reaction.by.as_str() != app.as_str()) {
            return Err(refusal(400, 230_017, "Bot is NOT the owner of the resource"));
        }
        let reaction = posted.reactions.remove(position);
        let record = self.ledger.reactions.iter_mut().rev().find(|record| record.reaction_id == id);
        if let Some(record) = record {
            record.off = Some(now.wall);
        }
        let data = self.reaction_json(app, &reaction);
        Ok(json_answer(200, &json!({ "code": 0, "msg": "success", "data": data })))
    }

    fn reaction_json(&self, viewer: &AppId, reaction: &Reaction) -> Value {
        let by = self.identity(viewer, &reaction.by);
        let operator = if by.bot {
            json!({ "operator_id": reaction.by, "operator_type": "app" })
        } else {
            json!({ "operator_id": by.open_id, "operator_type": "user" })
        };
        json!({
            "reaction_id": reaction.id,
            "operator": operator,
            "action_time": reaction.at.as_millis().to_string(),
            "reaction_type": { "emoji_type": reaction.emoji },
        })
    }
}

fn lost(fault: &Fault) -> Option<super::fault::Lost> {
    match fault {
        Fault::LoseReactionAnswer(lost) => Some(*lost),
        _ => None,
    }
}
