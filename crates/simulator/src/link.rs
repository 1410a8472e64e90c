//! What a mount and a platform say to each other about one link: a call, or a WebSocket from its handshake to its
//! end.

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
    /// The whole answer of this call was handed to the client, to its last byte: it may have been read.
    Delivered,
    /// The link is over: the client is gone, whatever was under way, or it has been [served](Input::Delivered).
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
    /// All headers, their names in lower case; those whose value is no text are left out.
    pub headers: Vec<(String, String)>,
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
    /// Begin the answer of a call, and break off.
    Break(Response, Break),
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

/// How an answer that was begun breaks off. Its headers announce the whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// How many bytes of the body go out.
    pub after: usize,
    /// What happens then.
    pub how: BreakHow,
}

/// What happens after the last byte that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakHow {
    /// Nothing, ever: the connection stays open.
    Stall,
    /// TCP ends in an orderly way.
    Fin,
    /// TCP is reset.
    Reset,
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

    /// The first value of this header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, value)| value.as_str())
    }

    /// Scheme, host and port under which this call was made, such as `http://127.0.0.1:9000`.
    pub fn origin(&self) -> String {
        let (scheme, address) = self.ws_origin.split_once("://").unwrap_or(("ws", ""));
        format!("{}://{address}", if scheme == "wss" { "https" } else { "http" })
    }

    /// Takes over all headers whose value is text.
    pub(crate) fn with_headers(mut self, headers: &http::HeaderMap) -> Self {
        let text = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        self.headers = text.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self
    }
}
