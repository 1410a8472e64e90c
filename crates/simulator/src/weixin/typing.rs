//! Typing (§6): tickets, and what a user sees.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moorline_core::UserId;
use serde_json::{Value, json};

use super::auth::INVALID;
use super::bot::BotId;
use super::calls::refusal;
use super::ledger::{Breach, TypingRecord};
use super::platform::Platform;
use crate::link::{LinkId, Now};

/// How long a ticket is good.
const TICKET_LIFETIME: Duration = Duration::from_hours(24);
/// How long the sign stays without being renewed. Our guess: twice the reference client's pace.
const SIGN_LIFETIME: Duration = Duration::from_secs(10);

impl Platform {
    /// `getconfig`.
    pub(crate) fn getconfig(&mut self, link: LinkId, bot: &BotId, body: &Value, now: Now) {
        let Some(user) = body["ilink_user_id"].as_str().filter(|user| !user.is_empty()) else {
            self.breach(link, Breach::Field, now);
            return self.answer(link, refusal(INVALID, "invalid argument"), now);
        };
        let user = UserId::new(user);
        let ticket = STANDARD.encode(self.hex(24));
        if let Some(state) = self.bots.get_mut(bot) {
            state.tickets.retain(|_, (_, at)| *at + TICKET_LIFETIME > now.wall);
            state.tickets.insert(ticket.clone(), (user, now.wall));
        }
        self.answer_effect(link, json!({ "ret": 0, "typing_ticket": ticket }), now);
    }

    /// `sendtyping`.
    pub(crate) fn sendtyping(&mut self, link: LinkId, bot: &BotId, body: &Value, now: Now) {
        let user = UserId::new(body["ilink_user_id"].as_str().unwrap_or_default());
        let ticket = body["typing_ticket"].as_str().unwrap_or_default();
        let known = self.bots.get(bot).and_then(|state| state.tickets.get(ticket));
        if !known.is_some_and(|(owner, at)| *owner == user && *at + TICKET_LIFETIME > now.wall) {
            self.breach(link, Breach::Ticket, now);
            return self.answer(link, refusal(INVALID, "invalid ticket"), now);
        }
        match body["status"].as_i64() {
            Some(1) => self.show_typing(bot, user, now),
            Some(2) => {
                if let Some(record) = self.sign_mut(bot, &user, now) {
                    record.off = Some(now.wall);
                }
            }
            _ => {
                self.breach(link, Breach::Field, now);
                return self.answer(link, refusal(INVALID, "invalid argument"), now);
            }
        }
        self.answer_effect(link, json!({ "ret": 0 }), now);
    }

    /// Whether this user sees the bot typing now.
    pub fn typing(&mut self, bot: &BotId, user: &UserId, now: Now) -> bool {
        self.sign_mut(bot, user, now).is_some()
    }

    fn show_typing(&mut self, bot: &BotId, user: UserId, now: Now) {
        match self.sign_mut(bot, &user, now) {
            Some(record) => {
                record.renewed = now.wall;
                record.calls += 1;
            }
            None => self.ledger.typing.push_back(TypingRecord {
                bot: bot.clone(),
                user,
                on: now.wall,
                renewed: now.wall,
                calls: 1,
                off: None,
            }),
        }
    }

    /// The sign that is there now.
    fn sign_mut(&mut self, bot: &BotId, user: &UserId, now: Now) -> Option<&mut TypingRecord> {
        let mut signs = self.ledger.typing.iter_mut().rev();
        let newest = signs.find(|record| record.bot == *bot && record.user == *user)?;
        let there = newest.off.is_none() && newest.renewed + SIGN_LIFETIME > now.wall;
        there.then_some(newest)
    }
}
