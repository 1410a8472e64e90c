//! An app (a bot account) as the platform keeps it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use moorline_core::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::limits::ConnectionLimit;
use crate::link::LinkId;

/// An app's id: `cli_` and 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(String);

/// What an app is made from; what is left out is drawn from the seed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewApp {
    /// The bot's name; "Bot" when empty.
    pub bot_name: String,
    /// The app's id.
    pub app_id: Option<AppId>,
    /// Its secret.
    pub app_secret: Option<String>,
    /// The bot's open_id.
    pub bot_open_id: Option<UserId>,
}

/// An app: what a client has to know, and how the platform calls its bot. The secret is a made-up one and is shown
/// on purpose, so that a client can be configured from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct App {
    /// The app's id.
    pub app_id: AppId,
    /// Its secret.
    pub app_secret: String,
    /// The bot's name.
    pub bot_name: String,
    /// The bot's open_id.
    pub bot_open_id: UserId,
    /// The number in every frame of its connections.
    pub service_id: i32,
}

/// What the platform counted for one app since it was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls of the endpoint with this app's id.
    pub endpoint_calls: u64,
    /// Handshakes with a ticket of this app, refused ones included.
    pub handshakes: u64,
    /// Handshakes that were answered with 101.
    pub opened: u64,
    /// Connections open now, black holes included until the peer closes them.
    pub open: usize,
    /// The most connections that were ever open at the same time.
    pub max_open: usize,
    /// Ping frames.
    pub pings: u64,
    /// Token calls with this app's id.
    pub token_requests: u64,
    /// Bot-info calls.
    pub bot_info_requests: u64,
    /// Send and reply calls, refused ones included.
    pub sends: u64,
    /// Updates, edits, recalls and reads of messages, refused ones included.
    pub edits: u64,
    /// Reaction calls, refused ones included.
    pub reactions: u64,
    /// Uploads, refused ones included.
    pub uploads: u64,
    /// Downloads, refused ones included.
    pub downloads: u64,
    /// Calls refused by a rate limit, at the gateway or for a chat, user or message.
    pub rate_limited: u64,
    /// Events pushed.
    pub events: u64,
    /// Acks with code 200 that matched a delivery.
    pub acks: u64,
    /// Acks with another code that matched a delivery.
    pub refusals: u64,
    /// Data frames that matched no delivery: a header missing or changed, wrong connection, incomplete set.
    pub bad_acks: u64,
    /// Messages of the client that are no frame, or a frame clients do not send.
    pub bad_frames: u64,
    /// RFC 6455 pongs.
    pub websocket_pongs: u64,
}

/// One open connection, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// `device_id` of the address.
    pub device_id: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Whether it is a black hole.
    pub black_hole: bool,
    /// Pings received on it.
    pub pings: u64,
}

/// Everything the platform keeps per app.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) app: App,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    /// Open connections, in the order of opening.
    pub(crate) links: BTreeSet<LinkId>,
    pub(crate) connection_limit: ConnectionLimit,
    /// Addresses handed out and not used yet, oldest first.
    pub(crate) tickets: VecDeque<Ticket>,
    /// Tokens, oldest first; dead ones are kept until a newer one is minted.
    pub(crate) tokens: VecDeque<Token>,
    /// Events waiting for a connection, when attempts without one do not count.
    pub(crate) waiting: VecDeque<u64>,
}

/// What makes an address good for a handshake.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) text: String,
    pub(crate) device_id: String,
    /// `None` for never.
    pub(crate) expires_at: Option<moorline_core::Monotonic>,
}

/// A tenant token.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) expires_at: moorline_core::Monotonic,
}

impl AppId {
    /// Wraps the platform's own text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The platform's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NewApp {
    /// An app whose bot has this name; everything else is drawn from the seed.
    pub fn named(bot_name: impl Into<String>) -> Self {
        Self { bot_name: bot_name.into(), ..Self::default() }
    }

    /// With these credentials, as they stand in a configuration.
    #[must_use]
    pub fn with_credentials(mut self, app_id: impl Into<String>, app_secret: impl Into<String>) -> Self {
        self.app_id = Some(AppId::new(app_id));
        self.app_secret = Some(app_secret.into());
        self
    }
}

impl AppState {
    pub(crate) fn new(app: App) -> Self {
        Self {
            app,
            faults: Faults::default(),
            counters: Counters::default(),
            links: BTreeSet::new(),
            connection_limit: ConnectionLimit::default(),
            tickets: VecDeque::new(),
            tokens: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Keeps the counters of open connections true after `links` changed.
    pub(crate) fn recount(&mut self) {
        self.counters.open = self.links.len();
        self.counters.max_open = self.counters.max_open.max(self.counters.open);
    }
}
