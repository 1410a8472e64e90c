//! `sendmessage` (§5): shape, the right to write, and what becomes visible.

use moorline_core::UserId;
use serde_json::{Value, json};

use super::auth::INVALID;
use super::bot::BotId;
use super::calls::refusal;
use super::ledger::{Breach, Visible};
use super::platform::Platform;
use super::rules::{SendAnswer, Tokenless};
use crate::link::{LinkId, Now};

/// There is no sendable window (§5.4).
const NO_WINDOW: i64 = -2;

/// What items of a client may have beside their content.
const ITEM_FIELDS: [&str; 2] = ["type", "ref_msg"];

/// A send as far as its shape goes.
struct Outgoing<'a> {
    user: UserId,
    client_id: &'a str,
    context_token: &'a str,
    run_id: Option<&'a str>,
    item: &'a Value,
    item_type: i64,
    text: &'a str,
}

/// The right to write to a user.
enum Right {
    /// With the token of this message.
    Write { answers: Option<u64>, stale: bool },
    /// It looks like it, but nobody sees it.
    Drop,
    /// Not now; with this `errmsg`.
    None(&'static str),
}

impl Platform {
    /// `sendmessage`.
    pub(crate) fn send(&mut self, link: LinkId, bot: &BotId, body: &Value, now: Now) {
        if let Some(stale) = self.refused_session(bot) {
            return self.refuse_send(link, bot, stale, now);
        }
        let outgoing = match self.outgoing(&body["msg"]) {
            Ok(outgoing) => outgoing,
            Err(breach) => {
                self.breach(link, breach, now);
                return self.refuse_send(link, bot, refusal(INVALID, "invalid argument"), now);
            }
        };
        if let Some(known) = self.known(bot, &outgoing) {
            return self.answer_effect(link, self.sent(known), now);
        }
        let message_id = self.message_id();
        match self.right(link, bot, &outgoing, now) {
            Right::Write { answers, stale } => {
                if let Some(state) = self.bots.get_mut(bot) {
                    state.counters.sent += 1;
                    if let Some(window) = state.windows.get_mut(&outgoing.user) {
                        window.used += 1;
                    }
                }
                let media = self.sent_media(outgoing.item);
                if media.as_ref().is_some_and(|(_, sizes)| !sizes) {
                    self.breach(link, Breach::Upload, now);
                }
                self.ledger.visible.push_back(Visible {
                    bot: bot.clone(),
                    user: outgoing.user,
                    message_id,
                    client_id: outgoing.client_id.to_owned(),
                    item_type: outgoing.item_type,
                    text: outgoing.text.to_owned(),
                    item: outgoing.item.clone(),
                    media: media.map(|(plain, _)| plain),
                    context_token: outgoing.context_token.to_owned(),
                    answers,
                    stale_token: stale,
                    run_id: outgoing.run_id.map(str::to_owned),
                    at: now.wall,
                    repeats: 0,
                });
                self.answer_effect(link, self.sent(message_id), now);
            }
            Right::Drop => self.answer_effect(link, self.sent(message_id), now),
            Right::None(errmsg) => {
                if let Some(state) = self.bots.get_mut(bot) {
                    state.counters.no_window += 1;
                }
                self.refuse_send(link, bot, refusal(NO_WINDOW, errmsg), now);
            }
        }
    }

    fn refuse_send(&mut self, link: LinkId, bot: &BotId, refusal: Value, now: Now) {
        if let Some(state) = self.bots.get_mut(bot) {
            state.counters.refused_sends += 1;
        }
        self.answer(link, refusal, now);
    }

    /// Reads a message of the client (§5.1).
    fn outgoing<'a>(&self, message: &'a Value) -> Result<Outgoing<'a>, Breach> {
        let text = |key: &str| message[key].as_str();
        let from_nobody = text("from_user_id") == Some("");
        let of_a_bot = message["message_type"] == 2 && message["message_state"] == 2;
        let user = text("to_user_id").filter(|user| !user.is_empty());
        let client_id = text("client_id").filter(|id| !id.is_empty());
        let (Some(user), Some(client_id), true, true) = (user, client_id, from_nobody, of_a_bot) else {
            return Err(Breach::Field);
        };
        let [item] = message["item_list"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(Breach::Items);
        };
        let (item_type, key) = match item["type"].as_i64() {
            Some(1) => (1, "text_item"),
            Some(2) => (2, "image_item"),
            Some(4) => (4, "file_item"),
            Some(5) => (5, "video_item"),
            Some(11) => (11, "tool_call_start_item"),
            Some(12) => (12, "tool_call_result_item"),
            _ => return Err(Breach::Field),
        };
        let fields = item.as_object().into_iter().flat_map(|item| item.keys());
        if fields.into_iter().any(|field| field != key && !ITEM_FIELDS.contains(&field.as_str())) {
            return Err(Breach::ExtraFields);
        }
        let content = &item[key];
        if !content.is_object() || content["media"].get("full_url").is_some() {
            return Err(Breach::ExtraFields);
        }
        let text_of_item = match item_type {
            1 => content["text"].as_str().filter(|text| !text.is_empty()).ok_or(Breach::Field)?,
            4 => content["file_name"].as_str().ok_or(Breach::Field)?,
            _ => "",
        };
        if text_of_item.chars().count() > self.rules.text_limit {
            return Err(Breach::TextLimit);
        }
        Ok(Outgoing {
            user: UserId::new(user),
            client_id,
            context_token: text("context_token").unwrap_or_default(),
            run_id: text("run_id"),
            item,
            item_type,
            text: text_of_item,
        })
    }

    /// The message that this `client_id` has sent already, where the platform knows it again.
    fn known(&mut self, bot: &BotId, outgoing: &Outgoing<'_>) -> Option<u64> {
        if !self.rules.dedupe_client_ids {
            return None;
        }
        let same = |visible: &&mut Visible| visible.bot == *bot && visible.client_id == outgoing.client_id;
        let known = self.ledger.visible.iter_mut().rev().find(same)?;
        known.repeats += 1;
        Some(known.message_id)
    }

    /// Whether the bot may write to this user now (§5.3).
    fn right(&mut self, link: LinkId, bot: &BotId, outgoing: &Outgoing<'_>, now: Now) -> Right {
        let rules = &self.rules;
        let window = self.bots.get(bot).and_then(|state| state.windows.get(&outgoing.user));
        let open = |window: &&super::bot::Window| {
            window.opened_at + rules.window > now.wall && window.used < rules.sends_per_message
        };
        let newest = window.filter(open).map(|window| window.token.clone());
        if outgoing.context_token.is_empty() {
            return match (rules.tokenless, newest) {
                (Tokenless::Dropped, _) => Right::Drop,
                (Tokenless::Accepted, Some(_)) => Right::Write { answers: None, stale: false },
                _ => Right::None(""),
            };
        }
        let token = self.context_tokens.get(outgoing.context_token);
        let Some(token) = token.filter(|token| token.bot == *bot && token.user == outgoing.user) else {
            self.breach(link, Breach::ForeignToken, now);
            return Right::None("unknown error");
        };
        let (answers, at) = (Some(token.message_id), token.at);
        match newest {
            Some(newest) if at + self.rules.window > now.wall => {
                Right::Write { answers, stale: newest != outgoing.context_token }
            }
            _ => Right::None("prepare failed"),
        }
    }

    fn sent(&self, message_id: u64) -> Value {
        match self.rules.send_answer {
            SendAnswer::MessageId => json!({ "ret": 0, "message_id": self.wire_id(message_id) }),
            SendAnswer::Ret => json!({ "ret": 0 }),
            SendAnswer::Bare => json!({}),
        }
    }
}
