//! How much is too much: connections (§1.4) and calls (§3.6).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use moorline_core::{ChatId, MessageId, Monotonic};
use serde::{Deserialize, Serialize};

use super::api::{Api, refusal};
use super::app::AppId;
use super::platform::{Platform, UnknownApp};
use super::push::ChatType;
use crate::link::Response;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How many connections an app may have, and who says so when there are as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionLimit {
    /// The number; the platform documents 50, and users were refused with far fewer.
    pub connections: usize,
    /// Who refuses. The handshake does in any case.
    #[serde(default)]
    pub refused_at: RefusedAt,
}

/// Where one connection too many is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedAt {
    /// The endpoint answers 1000040350 (§1.2).
    Endpoint,
    /// The endpoint hands out an address; its handshake is refused with 514 and 1000040350 (§1.3).
    #[default]
    Handshake,
}

/// The rate limits of §3.6. A limit of N per second holds for *every* second: a sliding window, which is stricter
/// than a bucket of N tokens (that lets 2 N calls through in its first second). Whoever passes here paces itself.
/// Refused calls use nothing up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Calls of one API by one app in a minute; above it 99991400.
    pub api_per_minute: usize,
    /// The same in a second.
    pub api_per_second: usize,
    /// The status of 99991400: 429, or 400 as on some older APIs.
    pub gateway_status: u16,
    /// Messages into one group in a second, of all bots in it together; above it 230020.
    pub group_per_second: usize,
    /// Messages of one app to one user in a second; above it 230020.
    pub user_per_second: usize,
    /// Card updates of one message in a second; above it 230020.
    pub patch_per_second: usize,
}

/// What a limit is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    Api(AppId, Api),
    Group(ChatId),
    /// The direct chat of an app stands for its user.
    Direct(AppId, ChatId),
    Message(MessageId),
}

/// The platform's limits at work; off while there are none.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    rates: Option<Rates>,
    windows: BTreeMap<Counted, VecDeque<Monotonic>>,
    /// When windows nobody uses any more are thrown away next.
    sweep_at: Monotonic,
}

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self { connections: 50, refused_at: RefusedAt::Handshake }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            api_per_minute: 1_000,
            api_per_second: 50,
            gateway_status: 429,
            group_per_second: 5,
            user_per_second: 5,
            patch_per_second: 5,
        }
    }
}

impl Limiter {
    /// Counts a call at the gateway, or refuses it and says how to come back.
    fn gateway(&mut self, app: &AppId, api: Api, now: Monotonic) -> Result<(), Response> {
        let Some(rates) = self.rates.clone() else { return Ok(()) };
        let limits = [(rates.api_per_second, SECOND), (rates.api_per_minute, MINUTE)];
        self.count(Counted::Api(app.clone(), api), &limits, now).map_err(|wait| {
            // Whole seconds, rounded up: whoever waits this long is let in.
            let reset = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            rate_limited(rates.gateway_status, rates.api_per_minute, reset.max(1))
        })
    }

    /// Counts a message into a chat.
    fn chat(
        &mut self,
        app: &AppId,
        chat: &ChatId,
        chat_type: ChatType,
        now: Monotonic,
    ) -> Result<(), Response> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let (counted, limit) = match chat_type {
            ChatType::Group => (Counted::Group(chat.clone()), rates.group_per_second),
            ChatType::P2p => (Counted::Direct(app.clone(), chat.clone()), rates.user_per_second),
        };
        self.count(counted, &[(limit, SECOND)], now).map_err(|_| too_fast())
    }

    /// Counts a card update of a message.
    fn patch(&mut self, message: &MessageId, now: Monotonic) -> Result<(), Response> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let limits = [(rates.patch_per_second, SECOND)];
        self.count(Counted::Message(message.clone()), &limits, now).map_err(|_| too_fast())
    }

    /// Takes a place in every window, or none and says when there will be one.
    fn count(
        &mut self,
        counted: Counted,
        limits: &[(usize, Duration)],
        now: Monotonic,
    ) -> Result<(), Duration> {
        if now >= self.sweep_at {
            self.sweep_at = now + MINUTE;
            self.windows.retain(|_, calls| calls.back().is_some_and(|&last| now - last < MINUTE));
        }
        let longest = limits.iter().map(|(_, span)| *span).max().unwrap_or(SECOND);
        let calls = self.windows.entry(counted).or_default();
        while calls.front().is_some_and(|&first| now - first >= longest) {
            calls.pop_front();
        }
        let wait = limits.iter().filter_map(|&(limit, span)| {
            // The call that has to leave the window before there is room for this one.
            let oldest = *calls.get(calls.len().checked_sub(limit.max(1))?)?;
            span.checked_sub(now - oldest).filter(|wait| !wait.is_zero())
        });
        match wait.max() {
            Some(wait) => Err(wait),
            None => {
                calls.push_back(now);
                Ok(())
            }
        }
    }
}

impl Platform {
    /// Sets the rate limits, or turns them off, which they are at first. What was counted so far is forgotten.
    pub fn set_rates(&mut self, rates: Option<Rates>) {
        self.limiter = Limiter { rates, ..Limiter::default() };
    }

    /// The rate limits; `None` when they are off.
    pub fn rates(&self) -> Option<&Rates> {
        self.limiter.rates.as_ref()
    }

    /// Sets how many connections the app may have. Those there are stay.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn set_connection_limit(&mut self, app: &AppId, limit: ConnectionLimit) -> Result<(), UnknownApp> {
        self.app_mut(app)?.connection_limit = limit;
        Ok(())
    }
}

impl Platform {
    /// Lets a call of an API pass, or refuses it.
    pub(crate) fn within_gateway(&mut self, app: &AppId, api: Api, now: Monotonic) -> Result<(), Response> {
        let result = self.limiter.gateway(app, api, now);
        self.counted(app, result)
    }

    /// Lets a message into a chat, or refuses it.
    pub(crate) fn within_chat(&mut self, app: &AppId, chat: &ChatId, now: Monotonic) -> Result<(), Response> {
        let chat_type = self.chats.get(chat).map_or(ChatType::Group, |chat| chat.chat_type);
        let result = self.limiter.chat(app, chat, chat_type, now);
        self.counted(app, result)
    }

    /// Lets an update of a card pass, or refuses it.
    pub(crate) fn within_patch(
        &mut self,
        app: &AppId,
        message: &MessageId,
        now: Monotonic,
    ) -> Result<(), Response> {
        let result = self.limiter.patch(message, now);
        self.counted(app, result)
    }

    fn counted(&mut self, app: &AppId, result: Result<(), Response>) -> Result<(), Response> {
        if let Some(state) = self.apps.get_mut(app).filter(|_| result.is_err()) {
            state.counters.rate_limited += 1;
        }
        result
    }
}

/// The gateway's refusal.
pub(crate) fn rate_limited(status: u16, limit: usize, reset: u64) -> Response {
    let mut answer = refusal(status, 99_991_400, "request trigger frequency limit");
    answer.headers.push(("x-ogw-ratelimit-limit", limit.to_string()));
    answer.headers.push(("x-ogw-ratelimit-reset", reset.to_string()));
    answer
}

/// The chat's refusal, which has no header.
fn too_fast() -> Response {
    refusal(400, 230_020, "This operation triggers the frequency limit")
}
