//! A bot as the platform keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use moorline_core::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::calls::Endpoint;
use super::expiry::Session;
use super::fault::Fault;
use super::polling::{HeldPoll, Queued};
use crate::faults::Faults;

/// A bot's id: twelve hex digits and `@im.bot`. A new login gives a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BotId(String);

/// What a bot that is already logged in is made from; what is left out is drawn from the seed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewBot {
    /// The WeChat user it belongs to. The user's earlier bot is dead from now on.
    pub user_id: Option<UserId>,
    /// The bot's id.
    pub bot_id: Option<BotId>,
    /// Its token.
    pub token: Option<String>,
}

/// A login: what a client has to know. The token is a made-up one and is shown on purpose, so that a client can be
/// configured from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bot {
    /// The bot's id.
    pub bot_id: BotId,
    /// Its token.
    pub token: String,
    /// The WeChat user who has scanned the code.
    pub user_id: UserId,
    /// Where its calls go.
    pub base_url: String,
}

/// What the platform counted for one bot since it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls of each endpoint with the bot's token, refused ones included.
    pub calls: BTreeMap<Endpoint, u64>,
    /// Polls open now: held, hung, or answered and not yet read to the end.
    pub open_polls: usize,
    /// The most polls that were ever open at the same time.
    pub max_open_polls: usize,
    /// Polls that came while another one was open.
    pub overlapping_polls: u64,
    /// Calls of `notifystart` that were answered with success.
    pub notifystarts: u64,
    /// Calls of `notifystart` that were refused.
    pub refused_notifystarts: u64,
    /// Calls of `notifystop` that were answered with success.
    pub notifystops: u64,
    /// Messages written to the bot.
    pub messages: u64,
    /// Sends that became visible.
    pub sent: u64,
    /// Sends that were refused, whatever for.
    pub refused_sends: u64,
    /// Sends that were refused because the bot may not write to that user now (§5.3).
    pub no_window: u64,
    /// Calls that were not as the protocol page has them; the ledger has what was wrong.
    pub violations: u64,
}

/// There is no such bot on the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no bot {0} on the simulated platform: add it first")]
pub struct UnknownBot(pub BotId);

/// Everything the platform keeps per bot.
#[derive(Debug)]
pub(crate) struct BotState {
    pub(crate) bot: Bot,
    pub(crate) session: Session,
    pub(crate) faults: Faults<Fault>,
    pub(crate) counters: Counters,
    /// Whether the client has said that it is there (§3).
    pub(crate) present: bool,
    /// Messages to the bot, by their place, as far as they can still be handed out.
    pub(crate) queue: VecDeque<Queued>,
    /// The place of the newest message.
    pub(crate) last_seq: u64,
    /// Polls that wait for a message, oldest first.
    pub(crate) held: Vec<HeldPoll>,
    /// By user: since when and how often the bot may write.
    pub(crate) windows: BTreeMap<UserId, Window>,
    /// Typing tickets by their text.
    pub(crate) tickets: BTreeMap<String, (UserId, Timestamp)>,
    /// The `X-WECHAT-UIN` of the last call.
    pub(crate) last_uin: String,
}

/// What a user's newest message allows (§5.3).
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) token: String,
    pub(crate) opened_at: Timestamp,
    /// Messages of the bot since then.
    pub(crate) used: u32,
}

impl BotId {
    /// Wraps the text of an id.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NewBot {
    /// A bot of this WeChat user.
    pub fn of(user: &UserId) -> Self {
        Self { user_id: Some(user.clone()), ..Self::default() }
    }

    /// With these credentials.
    #[must_use]
    pub fn with_credentials(mut self, bot_id: impl Into<String>, token: impl Into<String>) -> Self {
        self.bot_id = Some(BotId::new(bot_id));
        self.token = Some(token.into());
        self
    }
}

impl BotState {
    pub(crate) fn new(bot: Bot) -> Self {
        Self {
            bot,
            session: Session::Live,
            faults: Faults::default(),
            counters: Counters::default(),
            present: false,
            queue: VecDeque::new(),
            last_seq: 0,
            held: Vec::new(),
            windows: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_uin: String::new(),
        }
    }
}
