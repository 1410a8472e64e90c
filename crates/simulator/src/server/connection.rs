//! One TCP connection: HTTP calls, the control interface, and what a handshake turns it into.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::body::Body;
use super::control;
use super::wire::{Fate, Wire};
use crate::hub::Reach;
use crate::link::{Effect, Input, Request, Response, WsMessage};
use crate::mount::{Mountable, Outlet};

/// The longest body of a call: more than the longest upload the platform takes.
const BODY_LIMIT: usize = 32 << 20;

/// Messages to a client that does not read them.
const WRITE_LIMIT: usize = 65_536;

/// How long a close frame may wait for its answer.
const GOODBYE: Duration = Duration::from_secs(2);

/// What every connection of a listener shares.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) simulator: Mountable,
    /// Takes how long from now the platform becomes reachable again.
    pub(super) recoveries: mpsc::Sender<Duration>,
    address: SocketAddr,
}

/// One connection while it speaks HTTP.
struct Visit {
    context: Context,
    wire: Wire,
    /// Only the control interface is served.
    control_only: bool,
    /// Whether a call to the platform was made: such connections end when the platform becomes unreachable, so
    /// that a client's pool cannot go on as if nothing had happened.
    platform: AtomicBool,
    /// The WebSocket this connection is about to become.
    upgrade: Mutex<Option<(OnUpgrade, Outlet)>>,
}

type Answer = hyper::Response<Body>;

impl Context {
    pub(super) fn new(simulator: Mountable, recoveries: mpsc::Sender<Duration>, address: SocketAddr) -> Self {
        Self { simulator, recoveries, address }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(wire: Wire, context: Context, control_only: bool, hangs: bool) {
    if hangs {
        return wire.closed_by_peer().await;
    }
    let upgrade = Mutex::new(None);
    let platform = AtomicBool::new(false);
    let visit = Arc::new(Visit { context, wire: wire.clone(), control_only, platform, upgrade });
    let talk = async {
        tokio::select! {
            () = visit.http() => {}
            () = visit.unreachable() => return wire.decide(Fate::Reset),
        }
        let upgrade = visit.upgrade.lock().take();
        if let Some((upgrade, outlet)) = upgrade
            && let Ok(upgraded) = upgrade.await
        {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            websocket(socket, outlet, &wire).await;
        }
    };
    tokio::select! {
        () = talk => {}
        () = wire.over() => return,
    }
    // What was decided in the last moment still has to be carried out.
    tokio::select! {
        biased;
        () = wire.over() => {}
        () = std::future::ready(()) => {}
    }
}

impl Visit {
    async fn http(self: &Arc<Self>) {
        let service = service_fn(|request| {
            let visit = Arc::clone(self);
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let served = http1::Builder::new()
            .serve_connection(TokioIo::new(self.wire.clone()), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "A client of the simulator broke off.");
        }
    }

    /// Returns when the platform has become unreachable and this connection is one of its.
    async fn unreachable(&self) {
        let mut reach = self.context.simulator.reach_changes();
        loop {
            if *reach.borrow_and_update() != Reach::Open && self.platform.load(Ordering::Relaxed) {
                return;
            }
            if reach.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn answer(&self, mut request: hyper::Request<Incoming>) -> Answer {
        if request.uri().path().starts_with("/_simulator/") {
            let (parts, body) = request.into_parts();
            let body = collect(body).await;
            return control::answer(&self.context, &parts, &body).await;
        }
        if self.control_only {
            return plain(StatusCode::NOT_FOUND);
        }
        self.platform.store(true, Ordering::Relaxed);
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
        if let Some(key) = key {
            let upgrade = hyper::upgrade::on(&mut request);
            let handshake = self.request(&request.into_parts().0, Bytes::new());
            return self.handshake(handshake, &key, upgrade).await;
        }
        let (parts, body) = request.into_parts();
        let call = self.request(&parts, collect(body).await);
        // While this waits, hyper reads on, and drops it as soon as the client has closed the connection.
        let mut outlet = self.context.simulator.open(Input::Call(call));
        match outlet.next().await {
            Some(Effect::Respond(response)) => {
                answer(response, |bytes| Body::whole(bytes, outlet, self.wire.clone()))
            }
            Some(Effect::Break(response, after)) => {
                answer(response, |bytes| Body::broken(bytes, after, outlet, self.wire.clone()))
            }
            other => self.outcome(other).await,
        }
    }

    async fn handshake(&self, request: Request, key: &HeaderValue, upgrade: OnUpgrade) -> Answer {
        let mut outlet = self.context.simulator.open(Input::Handshake(request));
        match outlet.next().await {
            Some(Effect::Upgrade) => {
                *self.upgrade.lock() = Some((upgrade, outlet));
                let mut answer = plain(StatusCode::SWITCHING_PROTOCOLS);
                let headers = answer.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
                answer
            }
            other => self.outcome(other).await,
        }
    }

    /// The answer to a call or a refused handshake. For everything else the connection is ended instead.
    async fn outcome(&self, effect: Option<Effect>) -> Answer {
        match effect {
            Some(Effect::Respond(response)) => answer(response, Body::from),
            Some(Effect::Fin | Effect::Close { .. }) => {
                self.wire.decide(Fate::Fin);
                std::future::pending().await
            }
            _ => {
                self.wire.decide(Fate::Reset);
                std::future::pending().await
            }
        }
    }

    fn request(&self, parts: &http::request::Parts, body: Bytes) -> Request {
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Request {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: query.into_owned().collect(),
            headers: Vec::new(),
            body,
            ws_origin: format!("ws://{}", self.context.address),
        }
        .with_headers(&parts.headers)
    }
}

/// Reading, writing and taking effects go on side by side: a client that does not read must not keep a reset from
/// reaching its connection.
async fn websocket(socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, outlet: Outlet, wire: &Wire) {
    let (mut sink, mut stream) = socket.split();
    let (writes, mut pending) = mpsc::channel::<Message>(WRITE_LIMIT);
    let outlet = Mutex::new(outlet);
    let input = |input| outlet.lock().input(input);
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) => input(Input::Message(WsMessage::Binary(bytes.to_vec()))),
                Message::Text(text) => input(Input::Message(WsMessage::Text(text.to_string()))),
                // The next read sends the answer and ends the stream.
                Message::Close(_) => input(Input::Gone),
                Message::Pong(payload) => input(Input::Message(WsMessage::Pong(payload.to_vec()))),
                _ => {}
            }
        }
    };
    let write = async {
        while let Some(message) = pending.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let act = async {
        loop {
            let next = std::future::poll_fn(|cx| outlet.lock().poll_next(cx)).await;
            let message = match next {
                Some(Effect::Send(WsMessage::Binary(bytes))) => Message::binary(bytes),
                Some(Effect::Send(WsMessage::Text(text))) => Message::text(text),
                Some(Effect::Send(WsMessage::Ping(payload))) => Message::Ping(payload.into()),
                Some(Effect::Close { code, reason }) => {
                    let _ = writes.try_send(Message::Close(Some(CloseFrame {
                        code: code.into(),
                        reason: reason.into(),
                    })));
                    return tokio::time::sleep(GOODBYE).await;
                }
                Some(Effect::Fin) => return wire.decide(Fate::Fin),
                Some(Effect::BlackHole) => {
                    wire.decide(Fate::BlackHole);
                    continue;
                }
                Some(Effect::Reset) | None => return wire.decide(Fate::Reset),
                Some(_) => continue,
            };
            if writes.try_send(message).is_err() {
                return wire.decide(Fate::Reset);
            }
        }
    };
    // What the platform has decided comes before what the client says next: a black hole reads nothing.
    tokio::select! {
        biased;
        () = act => {}
        () = write => {}
        () = read => {}
    }
}

/// The body; empty when it is too long or breaks off, which no call accepts.
async fn collect(body: Incoming) -> Bytes {
    Limited::new(body, BODY_LIMIT).collect().await.map(|body| body.to_bytes()).unwrap_or_default()
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = hyper::Response::new(Body::from(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// An answer of the platform, with a body made from its bytes.
fn answer(response: Response, body: impl FnOnce(Bytes) -> Body) -> Answer {
    let mut answer = hyper::Response::new(body(response.body));
    *answer.status_mut() = StatusCode::from_u16(response.status).unwrap_or_default();
    let headers = response.headers.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    });
    answer.headers_mut().extend(headers.collect::<HeaderMap>());
    answer
}
