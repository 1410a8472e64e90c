//! `notifystart` and `notifystop` (§3), and what the first one heals (§4.4).

use serde_json::json;

use super::auth::stale;
use super::bot::BotId;
use super::expiry::Session;
use super::platform::Platform;
use crate::link::{LinkId, Now};

impl Platform {
    pub(crate) fn notifystart(&mut self, link: LinkId, bot: &BotId, now: Now) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        let before = state.session;
        if state.session.notifystart() {
            state.present = true;
            state.counters.notifystarts += 1;
            self.answer_effect(link, json!({ "ret": 0, "errmsg": "" }), now);
        } else if let Session::Lapsed(expiry) = before {
            state.counters.refused_notifystarts += 1;
            self.answer(link, stale(expiry), now);
        }
    }

    pub(crate) fn notifystop(&mut self, link: LinkId, bot: &BotId, now: Now) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        state.present = false;
        state.counters.notifystops += 1;
        self.answer_effect(link, json!({ "ret": 0, "errmsg": "" }), now);
    }
}
