//! What every call of a bot has to carry: headers (§1.1) and `base_info` (§1.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::bot::BotId;
use super::calls::{Endpoint, refusal, refusal_in};
use super::expiry::{Expiry, Session};
use super::fault::CodeField;
use super::ledger::Breach;
use super::platform::Platform;
use crate::link::{LinkId, Now, Request};

/// The session is over.
pub(crate) const STALE: i64 = -14;
/// A call that is not as it has to be. The page names no code for it.
pub(crate) const INVALID: i64 = -1;

/// The longest `bot_agent`, in bytes.
const AGENT_LIMIT: usize = 256;

impl Platform {
    /// The bot whose token a call has, dead ones included.
    pub(crate) fn caller(&self, endpoint: Endpoint, request: &Request) -> Option<BotId> {
        match endpoint {
            Endpoint::GetQrcode | Endpoint::QrcodeStatus => return None,
            Endpoint::Upload | Endpoint::Download => return self.media_owner(request),
            _ => {}
        }
        let token = request.header("authorization")?.strip_prefix("Bearer ")?;
        self.tokens.get(token).cloned()
    }

    /// Looks at headers and `base_info` of a bot's call, and gives the bot and the body; or how it is refused.
    pub(crate) fn admit(
        &mut self,
        link: LinkId,
        endpoint: Endpoint,
        request: &Request,
        now: Now,
    ) -> Result<(BotId, Value), Value> {
        let app = self.app_headers(link, request, now);
        self.uin(link, request, now);
        if content_type(request) != Some("application/json") {
            self.breach(link, Breach::ContentType, now);
        }
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let kind = request.header("authorizationtype");
        if bearer.is_none_or(str::is_empty) || kind != Some("ilink_bot_token") {
            self.breach(link, Breach::Authorization, now);
            return Err(refusal(INVALID, "unauthorized"));
        }
        let Some(bot) = self.caller(endpoint, request) else {
            self.breach(link, Breach::UnknownToken, now);
            return Err(refusal_in(STALE, CodeField::Errcode, "stale token"));
        };
        if !app {
            return Err(refusal_in(STALE, CodeField::Errcode, "stale token"));
        }
        let body = serde_json::from_slice::<Value>(&request.body).ok().filter(Value::is_object);
        let Some(body) = body else {
            self.breach(link, Breach::Body, now);
            return Err(refusal(INVALID, "invalid argument"));
        };
        self.base_info(link, &body, now);
        Ok((bot, body))
    }

    /// Whether both headers of the app are there (§1.1).
    pub(crate) fn app_headers(&mut self, link: LinkId, request: &Request, now: Now) -> bool {
        let version = request.header("ilink-app-clientversion").and_then(|text| text.parse::<u32>().ok());
        let good =
            request.header("ilink-app-id") == Some("bot") && version.is_some_and(|version| version > 0);
        if !good {
            self.breach(link, Breach::AppHeaders, now);
        }
        good
    }

    /// `X-WECHAT-UIN` is made anew for each call.
    pub(crate) fn uin(&mut self, link: LinkId, request: &Request, now: Now) {
        let uin = request.header("x-wechat-uin").unwrap_or_default().to_owned();
        if !is_uin(&uin) {
            return self.breach(link, Breach::Uin, now);
        }
        let bot = self.open.get(&link).and_then(|call| call.bot.clone());
        let Some(state) = bot.and_then(|bot| self.bots.get_mut(&bot)) else { return };
        if std::mem::replace(&mut state.last_uin, uin.clone()) == uin {
            self.breach(link, Breach::UinRepeated, now);
        }
    }

    fn base_info(&mut self, link: LinkId, body: &Value, now: Now) {
        let info = &body["base_info"];
        if info["channel_version"].as_str().is_none_or(str::is_empty) {
            self.breach(link, Breach::BaseInfo, now);
        }
        let good = match &info["bot_agent"] {
            Value::Null => true,
            Value::String(agent) => agent.is_ascii() && agent.len() <= AGENT_LIMIT,
            _ => false,
        };
        if !good {
            self.breach(link, Breach::BotAgent, now);
        }
    }

    /// What a call other than a poll or a presence call is refused with, when the login has lapsed for it too.
    pub(crate) fn refused_session(&self, bot: &BotId) -> Option<Value> {
        match self.bots.get(bot)?.session {
            Session::Lapsed(expiry) if expiry.sends_refused => Some(stale(expiry)),
            _ => None,
        }
    }
}

/// The answer of a lapsed login.
pub(crate) fn stale(expiry: Expiry) -> Value {
    refusal_in(STALE, expiry.code, "stale token")
}

/// `Content-Type` without its parameters.
fn content_type(request: &Request) -> Option<&str> {
    request.header("content-type")?.split(';').next().map(str::trim)
}

/// The base64 of the decimal text of a number of 32 bits, without leading zeroes.
fn is_uin(text: &str) -> bool {
    let plain = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    plain.is_some_and(|plain| plain.parse::<u32>().is_ok_and(|number| number.to_string() == plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uin_is_the_base64_of_a_decimal_number() {
        assert!(is_uin("MzA1NDE5ODk2"), "the page's example");
        for wrong in ["", "305419896", "MzA1NDE5ODk2OTk=", "MDE=", "LTE="] {
            assert!(!is_uin(wrong), "{wrong}");
        }
    }
}
