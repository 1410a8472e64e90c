//! How a long connection is opened: the call that gives its address (protocol §1.1, §1.2), and what a refused
//! handshake means (§1.3).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moorline_channel::{HandshakeError, HttpRequest, HttpResponse, NetworkError, WebSocketRequest};
use moorline_core::{Failure, FailureClass};
use serde_json::{Value, json};
use url::Url;

use crate::api::wait_demanded;
use crate::app::{App, host_of};
use crate::class;
use crate::quote::quote;

/// Of the whole endpoint call, which has no deadline in the platform's own clients (protocol §1.2).
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// Of name lookup, TCP, TLS and upgrade as one (protocol §1.3, F-027).
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Longest answer of the endpoint; a real one has half a kilobyte.
const ANSWER_LIMIT: usize = 64 << 10;

/// Longest WebSocket message (F-095). Messages have at most 150 KB, and what is longer comes in parts.
const MESSAGE_LIMIT: usize = 2 << 20;

/// Where one long connection is to be opened. The address is a credential: it holds a ticket. Only host and
/// `device_id` may be shown (F-090).
pub(crate) struct Endpoint {
    url: Url,
    /// `device_id`: the platform's name for the connection.
    pub(crate) connection: String,
    /// `service_id`, which every frame of ours carries; 0 when the address has none.
    pub(crate) service_id: i32,
    /// `ClientConfig` as received; null when there is none.
    pub(crate) config: Value,
}

/// What the platform wishes of its clients, in its own words. Only `ping_interval` is obeyed: delays between
/// attempts are the runtime's, and a bot that obeys a small `ReconnectCount` is a dead bot (protocol §2.2, F-001).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientConfig {
    /// Attempts before giving up; negative for no limit. Shown in logs only.
    pub(crate) reconnect_count: i64,
    /// Between attempts. Shown in logs only.
    pub(crate) reconnect_interval: Duration,
    /// Upper bound of a random wait before the first attempt. Shown in logs only.
    pub(crate) reconnect_nonce: Duration,
    /// Between pings.
    pub(crate) ping_interval: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            reconnect_count: -1,
            reconnect_interval: Duration::from_secs(120),
            reconnect_nonce: Duration::from_secs(30),
            ping_interval: Duration::from_secs(120),
        }
    }
}

impl ClientConfig {
    /// Takes over every field that is a sensible whole number, and keeps the others as they are: the platform
    /// leaves out fields that are zero, and may send null or nothing at all (protocol §1.1).
    pub(crate) fn merge(&mut self, received: &Value) {
        let seconds = |key: &str, least: u64| {
            let seconds = received.get(key)?.as_u64().filter(|&seconds| seconds >= least)?;
            Some(Duration::from_secs(seconds))
        };
        self.ping_interval = seconds("PingInterval", 1).unwrap_or(self.ping_interval);
        self.reconnect_interval = seconds("ReconnectInterval", 0).unwrap_or(self.reconnect_interval);
        self.reconnect_nonce = seconds("ReconnectNonce", 0).unwrap_or(self.reconnect_nonce);
        let count = received.get("ReconnectCount").and_then(Value::as_i64);
        self.reconnect_count = count.unwrap_or(self.reconnect_count);
    }
}

/// The endpoint call. It carries the app secret and no token.
pub(crate) fn request(app: &App) -> HttpRequest {
    let body = json!({ "AppID": app.id, "AppSecret": app.secret.expose() });
    let mut request = HttpRequest::new(Method::POST, app.base.at(&["callback", "ws", "endpoint"]));
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Picks the language of `msg`.
    request.headers.insert("locale", HeaderValue::from_static("zh"));
    request.body = Bytes::from(body.to_string());
    request.deadline = CALL_DEADLINE;
    request.body_limit = ANSWER_LIMIT;
    request.idempotent = true;
    request
}

/// Reads the answer to [`request`].
///
/// # Errors
/// Every refusal, with its class.
pub(crate) fn read(app: &App, result: Result<HttpResponse, NetworkError>) -> Result<Endpoint, Failure> {
    let response =
        result.map_err(|error| failed(app, FailureClass::Transient, &error.at(app.base.host())))?;
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    let code = body.get("code").and_then(Value::as_i64);
    let fail = |class, what: &str| {
        let wait = (class == FailureClass::Throttled).then(|| wait_demanded(&response.headers)).flatten();
        let failure = failed(app, class, what).with_retry_after(wait);
        code.filter(|&code| code != 0).into_iter().fold(failure, Failure::with_code)
    };
    if response.status != StatusCode::OK {
        let class = class::endpoint_status(response.status, code);
        return Err(fail(class, &format!("answered with status {}", response.status)));
    }
    let Some(code) = code else {
        return Err(fail(FailureClass::Transient, "the answer is not the JSON it should be"));
    };
    if code != 0 {
        let msg = body.get("msg").and_then(Value::as_str).unwrap_or_default();
        return Err(fail(class::endpoint(code), &format!("refused: {}", quote(msg, [app.secret.expose()]))));
    }
    match body.pointer("/data/URL").and_then(Value::as_str) {
        Some(url) if !url.is_empty() => {
            let config = body.pointer("/data/ClientConfig").cloned().unwrap_or_default();
            Endpoint::new(app, url, config)
        }
        _ => Err(failed(app, FailureClass::Transient, "answered with success, but without an address")),
    }
}

/// A failed endpoint call. Its message names the base, never the address that it asked for.
fn failed(app: &App, class: FailureClass, what: &str) -> Failure {
    Failure::new(class, format!("endpoint call to {}: {what}", app.base.host()))
}

impl Endpoint {
    fn new(app: &App, url: &str, config: Value) -> Result<Self, Failure> {
        // The parser's own error is left out: it may repeat the address.
        let url = Url::parse(url).ok().filter(|url| url.has_host()).ok_or_else(|| {
            failed(app, FailureClass::Protocol, "answered with an address that cannot be read")
        })?;
        match url.scheme() {
            "wss" => {}
            "ws" if app.base.is_plain() => {}
            // F-095: whoever can change the answer could otherwise take the ticket off the wire.
            "ws" => {
                let what = "answered with an unencrypted address, which only an http base_url may do";
                return Err(failed(app, FailureClass::Protocol, what));
            }
            _ => {
                let what = "answered with an address that is neither ws nor wss";
                return Err(failed(app, FailureClass::Protocol, what));
            }
        }
        let value = |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value);
        let connection = value("device_id").map(|id| quote(&id, [])).unwrap_or_default();
        let service_id = value("service_id").and_then(|id| id.parse().ok()).unwrap_or_default();
        Ok(Self { url, connection, service_id, config })
    }

    /// The handshake: the address unchanged, no further headers.
    pub(crate) fn open(&self) -> WebSocketRequest {
        WebSocketRequest {
            url: self.url.clone(),
            headers: HeaderMap::new(),
            deadline: HANDSHAKE_DEADLINE,
            message_limit: MESSAGE_LIMIT,
        }
    }

    /// `text` of the platform, without anything of the address that may be a credential.
    pub(crate) fn quote(&self, text: &str) -> String {
        let others = || self.url.query_pairs().filter(|(key, _)| key != "device_id");
        let decoded: Vec<_> = others().map(|(_, value)| value).collect();
        let raw =
            self.url.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("device_id="));
        let raw = raw.filter_map(|pair| Some(pair.split_once('=')?.1));
        quote(text, raw.chain(decoded.iter().map(AsRef::as_ref)))
    }

    /// What a handshake that gave no connection means. The reason is in its headers (protocol §1.3).
    pub(crate) fn refused(&self, error: &HandshakeError) -> Failure {
        let (status, headers) = match error {
            HandshakeError::Network(error) => {
                let host = self.host();
                return Failure::transient(format!("handshake with {host}: {}", error.at(&host)));
            }
            HandshakeError::Refused { status, headers } => (status, headers),
        };
        // Bytes, because the reason may be in Chinese.
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let number = |name: &str| text(name).and_then(|text| text.trim().parse::<i64>().ok());
        let (reason, auth_code) = (number("handshake-status"), number("handshake-autherrcode"));
        let said = self.quote(&text("handshake-msg").unwrap_or("no reason given".into()));
        let message = format!("handshake with {}: refused with status {status}: {said}", self.host());
        let failure = Failure::new(class::handshake(reason, auth_code), message);
        match auth_code.filter(|_| reason == Some(514)).or(reason) {
            Some(code) => failure.with_code(code),
            None => failure,
        }
    }
}

impl Endpoint {
    /// The host it leads to; the rest of the address is a credential.
    pub(crate) fn host(&self) -> String {
        host_of(&self.url)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {}", self.connection, self.host())
    }
}

#[cfg(test)]
mod tests;
