//! What a mount and the platform say to each other about one link: a call, or a WebSocket from its handshake to
//! its end.

use bytes::Bytes;
use moorline_core::{Monotonic, Timestamp};

/// One call, or one WebSocket. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) u64);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub monotonic: Monotonic,
    /// For people.
    pub wall: Timestamp,
}

/// What happened to a link.
#[derive(Debug, Clone)]
pub enum Input {
    /// A call arrived.
    Call(Request),
    /// A WebSocket handshake arrived; only `query` matters.
    Handshake(Request),
    /// A message of the client.
    Message(WsMessage),
    /// The client is gone, whatever was under way.
    Gone,
}

/// A request as far as the platform looks at it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The decoded query.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
    /// Scheme, host and port under which the client can open WebSockets here, such as `ws://127.0.0.1:9000`.
    pub ws_origin: String,
}

/// Something a mount has to do on a link. A link without an action simply hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Where.
    pub link: LinkId,
    /// What.
    pub effect: Effect,
}

/// What a mount has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a call, or refuse a handshake.
    Respond(Response),
    /// Answer a handshake with 101.
    Upgrade,
    /// Send a WebSocket message.
    Send(WsMessage),
    /// Send a close frame, then end TCP in an orderly way.
    Close {
        /// RFC 6455 §7.4.
        code: u16,
        /// For people.
        reason: String,
    },
    /// End TCP in an orderly way, without a close frame.
    Fin,
    /// Reset TCP.
    Reset,
    /// Read and write nothing any more; keep TCP open until the client closes it.
    BlackHole,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// A WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WsMessage {
    /// Bytes.
    Binary(Vec<u8>),
    /// Text.
    Text(String),
    /// RFC 6455 ping.
    Ping(Vec<u8>),
    /// RFC 6455 pong.
    Pong(Vec<u8>),
    /// Close.
    Close,
}

impl Request {
    /// The first value under this key of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}
