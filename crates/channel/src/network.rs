//! The network as a channel sees it: two traits on `http` 1.x types. `transport` implements them over real
//! sockets, the simulator in memory.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{Sink, Stream};
use http::{HeaderMap, Method, StatusCode};
use moorline_core::Effect;
use url::Url;

/// Everything a channel may do to the world.
#[derive(Clone)]
pub struct Network {
    /// For calls.
    pub http: Rc<dyn Http>,
    /// For long connections.
    pub websocket: Rc<dyn WebSocket>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// Makes HTTP calls.
pub trait Http {
    /// One exchange, from the name lookup to the last byte of the body, within `request.deadline` (F-023). Every
    /// status is an answer, not an error. Redirects are not followed: calls carry credentials.
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>>;
}

/// Opens WebSockets.
pub trait WebSocket {
    /// Name lookup, TCP, TLS and upgrade together within `request.deadline` (F-027).
    fn open(&self, request: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>>;
}

/// An HTTP call.
#[derive(Clone)]
pub struct HttpRequest {
    /// GET, POST, …
    pub method: Method,
    /// Absolute `http` or `https` address.
    pub url: Url,
    /// Headers; `Host` and `Content-Length` are the implementation's.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// For the whole exchange.
    pub deadline: Duration,
    /// The longest body taken, after decompression.
    pub body_limit: usize,
    /// Whether the call may be repeated although it may have taken effect: because it changes nothing, or because
    /// it carries a key by which the platform recognises it. Such a call is repeated once, within its deadline, when
    /// a kept-alive connection turns out to be dead under it (awc never does so by itself).
    pub idempotent: bool,
}

impl HttpRequest {
    /// A call without body, with the default limits: 15 s, 2 MiB. Only a GET is taken to be idempotent.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            idempotent: method == Method::GET,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            deadline: Duration::from_secs(15),
            body_limit: 2 << 20,
        }
    }
}

/// Shows neither query, headers nor body: any of them may hold a credential (F-090).
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.url.host_str().unwrap_or_default(), self.url.path())
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A WebSocket handshake.
#[derive(Clone)]
pub struct WebSocketRequest {
    /// Absolute `ws` or `wss` address, used unchanged.
    pub url: Url,
    /// Additional headers.
    pub headers: HeaderMap,
    /// From the name lookup to the 101.
    pub deadline: Duration,
    /// The longest message taken, all fragments together.
    pub message_limit: usize,
}

/// Shows the host only: the address is a credential (protocol page of the channel).
impl fmt::Debug for WebSocketRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open {}", self.url.host_str().unwrap_or_default())
    }
}

/// An open WebSocket. It answers pings by itself, joins fragments, and yields whole messages; dropping it closes
/// the TCP connection at once, without waiting for the peer (F-019, F-026).
pub trait Socket: Stream<Item = Result<Message, NetworkError>> + Sink<Message, Error = NetworkError> {}

impl<T> Socket for T where
    T: Stream<Item = Result<Message, NetworkError>> + Sink<Message, Error = NetworkError>
{
}

/// An open WebSocket, whoever opened it.
pub type BoxSocket = Pin<Box<dyn Socket>>;

/// One whole WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// A ping of the peer, already answered by the socket; or one of ours, to be sent.
    Ping(Bytes),
    /// An answer to a ping of ours.
    Pong(Bytes),
    /// The peer closes, or we do.
    Close(Option<Close>),
}

/// Why a WebSocket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// RFC 6455 §7.4.
    pub code: u16,
    /// For people.
    pub reason: String,
}

/// A handshake that gave no WebSocket.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandshakeError {
    /// It never got an answer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The peer answered something else than 101. Platforms put their reason into headers.
    #[error("the handshake was answered with status {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: HeaderMap,
    },
}

/// The network failed; what it means is decided by whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct NetworkError {
    /// What failed.
    pub kind: NetworkErrorKind,
    /// Details for people: host and phase, never a query or a header.
    pub message: String,
}

/// What failed on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkErrorKind {
    /// The name could not be resolved.
    Resolve,
    /// No TCP connection.
    Connect,
    /// No TLS session.
    Tls,
    /// The deadline passed before the request was out.
    ConnectTimeout,
    /// The deadline passed after that.
    Timeout,
    /// The connection ended in the middle.
    Reset,
    /// A frame, message or body is longer than we take.
    TooLarge,
    /// The peer does not speak HTTP or WebSocket.
    Protocol,
}

impl NetworkError {
    /// An error of this kind.
    pub fn new(kind: NetworkErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error for a sentence that has named `host` already.
    pub fn at(&self, host: &str) -> String {
        let details = self.message.split_once(": ").filter(|(named, _)| named.starts_with(host));
        format!("{}: {}", self.kind, details.map_or(&*self.message, |(_, details)| details))
    }

    /// Whether the request may have taken effect all the same.
    pub const fn effect(&self) -> Effect {
        match self.kind {
            NetworkErrorKind::Resolve
            | NetworkErrorKind::Connect
            | NetworkErrorKind::Tls
            | NetworkErrorKind::ConnectTimeout => Effect::None,
            NetworkErrorKind::Timeout
            | NetworkErrorKind::Reset
            | NetworkErrorKind::TooLarge
            | NetworkErrorKind::Protocol => Effect::Unknown,
        }
    }
}

impl fmt::Display for NetworkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name not resolved",
            Self::Connect => "no connection",
            Self::Tls => "no TLS session",
            Self::ConnectTimeout => "no connection in time",
            Self::Timeout => "no answer in time",
            Self::Reset => "connection lost",
            Self::TooLarge => "too large",
            Self::Protocol => "not HTTP or WebSocket",
        })
    }
}
