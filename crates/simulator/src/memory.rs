//! The platform in memory: a channel's network without any socket, under tokio's time, on one thread.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, Sink, Stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moorline_channel::{
    BoxSocket, Close, HandshakeError, Http, HttpRequest, HttpResponse, Message, Network, NetworkError,
    NetworkErrorKind, WebSocket, WebSocketRequest,
};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use url::Url;

use crate::hub::Reach;
use crate::link::{Break, BreakHow, Effect, Input, Request, Response, WsMessage};
use crate::mount::{Mountable, Outlet};

/// A network on which there is nothing but this platform, under every host name. Calls take no time unless a fault
/// makes them; whatever hangs ends at its deadline with [`NetworkErrorKind::Timeout`]. It must be used inside a
/// tokio runtime, and keeps the platform's timers running while it, a call or a socket of it exists.
pub fn network(simulator: impl Into<Mountable>) -> Network {
    let mount = Rc::new(Mount(Rc::new(Base { simulator: simulator.into(), timers: RefCell::new(None) })));
    Network { http: mount.clone(), websocket: mount }
}

/// One network with several platforms on it, each under host names of its own. Any other name is not known.
#[derive(Debug, Clone, Default)]
pub struct Router(Vec<(String, Mountable)>);

struct Routes(Vec<(String, Network)>);

struct Mount(Rc<Base>);

struct Base {
    simulator: Mountable,
    /// The task behind the platform's timers, from the first use on.
    timers: RefCell<Option<AbortHandle>>,
}

/// The client's end of a WebSocket.
struct MemorySocket {
    outlet: Outlet,
    message_limit: usize,
    /// Over for this side: nothing more is yielded or taken.
    ended: bool,
    _base: Rc<Base>,
}

impl Router {
    /// A network with nothing on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a platform under this host name too.
    #[must_use]
    pub fn route(mut self, host: &str, simulator: impl Into<Mountable>) -> Self {
        self.0.push((host.to_owned(), simulator.into()));
        self
    }

    /// The network; see [`network`].
    pub fn network(&self) -> Network {
        let routes = self.0.iter().map(|(host, platform)| (host.clone(), network(platform.clone())));
        let routes = Rc::new(Routes(routes.collect()));
        Network { http: routes.clone(), websocket: routes }
    }
}

impl Routes {
    fn find(&self, url: &Url) -> Result<&Network, NetworkError> {
        let host = url.host_str().unwrap_or_default();
        let found = self.0.iter().find(|(name, _)| name == host).map(|(_, network)| network);
        found.ok_or_else(|| NetworkError::new(NetworkErrorKind::Connect, format!("no host {host} here")))
    }
}

impl Http for Routes {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        match self.find(&request.url) {
            Ok(network) => network.http.call(request),
            Err(error) => std::future::ready(Err(error)).boxed_local(),
        }
    }
}

impl WebSocket for Routes {
    fn open(&self, request: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>> {
        match self.find(&request.url) {
            Ok(network) => network.websocket.open(request),
            Err(error) => std::future::ready(Err(error.into())).boxed_local(),
        }
    }
}

impl Base {
    /// Starts the timers where they do not run yet, or ended with another runtime.
    fn run_timers(&self) {
        let mut timers = self.timers.borrow_mut();
        if timers.as_ref().is_none_or(AbortHandle::is_finished) {
            #[allow(
                clippy::disallowed_methods,
                reason = "the platform's timers; ended when the mount is dropped"
            )]
            let task = tokio::spawn(self.simulator.clone().run_timers());
            *timers = Some(task.abort_handle());
        }
    }

    /// Whether there is anybody to connect to; hangs when the platform does.
    async fn connect(&self) -> Result<(), NetworkError> {
        self.run_timers();
        match self.simulator.reach() {
            Reach::Open => Ok(()),
            Reach::Refused => Err(NetworkError::new(NetworkErrorKind::Connect, "connection refused")),
            Reach::Hangs => std::future::pending().await,
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Some(timers) = self.timers.get_mut() {
            timers.abort();
        }
    }
}

impl Http for Mount {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let base = Rc::clone(&self.0);
        async move {
            let exchange = async {
                base.connect().await?;
                let input = Request {
                    method: request.method.to_string(),
                    body: request.body.clone(),
                    ..request_for(&request.url).with_headers(&request.headers)
                };
                let mut outlet = base.simulator.open(Input::Call(input));
                match outlet.next().await {
                    Some(Effect::Respond(response)) => {
                        let response = respond(response, request.body_limit)?;
                        outlet.input(Input::Delivered);
                        Ok(response)
                    }
                    Some(Effect::Break(_, Break { how: BreakHow::Stall, .. })) => {
                        std::future::pending().await
                    }
                    Some(Effect::Break(..)) => Err(reset("the answer broke off")),
                    _ => Err(reset("the call was answered with a reset")),
                }
            };
            timeout(request.deadline, exchange).await.unwrap_or_else(|_| Err(late()))
        }
        .boxed_local()
    }
}

impl WebSocket for Mount {
    fn open(&self, request: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>> {
        let base = Rc::clone(&self.0);
        async move {
            let handshake = async {
                base.connect().await?;
                let mut outlet = base.simulator.open(Input::Handshake(request_for(&request.url)));
                match outlet.next().await {
                    Some(Effect::Upgrade) => Ok(outlet),
                    Some(Effect::Respond(response)) => {
                        let HttpResponse { status, headers, .. } = respond(response, usize::MAX)?;
                        Err(HandshakeError::Refused { status, headers })
                    }
                    _ => Err(reset("the handshake was answered with a reset").into()),
                }
            };
            let outlet = timeout(request.deadline, handshake).await.unwrap_or_else(|_| Err(late().into()))?;
            let message_limit = request.message_limit;
            let socket = MemorySocket { outlet, message_limit, ended: false, _base: Rc::clone(&base) };
            Ok(Box::pin(socket) as BoxSocket)
        }
        .boxed_local()
    }
}

impl Stream for MemorySocket {
    type Item = Result<Message, NetworkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let message = match ready!(self.outlet.poll_next(cx)) {
                Some(Effect::Send(WsMessage::Binary(bytes))) => Message::Binary(bytes.into()),
                Some(Effect::Send(WsMessage::Text(text))) => Message::Text(text),
                Some(Effect::Send(WsMessage::Pong(payload))) => Message::Pong(payload.into()),
                Some(Effect::Send(WsMessage::Ping(payload))) => Message::Ping(payload.into()),
                Some(Effect::Close { code, reason }) => {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Message::Close(Some(Close { code, reason })))));
                }
                Some(Effect::Fin) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(reset("the connection ended without a close frame"))));
                }
                Some(Effect::Reset) | None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(reset("the connection was reset"))));
                }
                // The platform sends nothing more by itself: a black hole needs nothing here.
                Some(_) => continue,
            };
            let length = match &message {
                Message::Binary(bytes) => bytes.len(),
                Message::Text(text) => text.len(),
                _ => 0,
            };
            if length > self.message_limit {
                self.ended = true;
                let error =
                    NetworkError::new(NetworkErrorKind::TooLarge, format!("a message of {length} bytes"));
                return Poll::Ready(Some(Err(error)));
            }
            return Poll::Ready(Some(Ok(message)));
        }
    }
}

impl Sink<Message> for MemorySocket {
    type Error = NetworkError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        Poll::Ready(if self.ended { Err(reset("the connection has ended")) } else { Ok(()) })
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), NetworkError> {
        let message = match message {
            Message::Binary(bytes) => WsMessage::Binary(bytes.to_vec()),
            Message::Text(text) => WsMessage::Text(text),
            Message::Ping(payload) => WsMessage::Ping(payload.to_vec()),
            Message::Pong(payload) => WsMessage::Pong(payload.to_vec()),
            Message::Close(_) => WsMessage::Close,
        };
        self.outlet.input(Input::Message(message));
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), NetworkError>> {
        Poll::Ready(Ok(()))
    }
}

/// What an address says: path, query, and where WebSockets are to be opened.
fn request_for(url: &Url) -> Request {
    let scheme = if matches!(url.scheme(), "https" | "wss") { "wss" } else { "ws" };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Request {
        method: "GET".to_owned(),
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: Vec::new(),
        body: Bytes::new(),
        ws_origin: format!("{scheme}://{host}{port}"),
    }
}

fn respond(response: Response, limit: usize) -> Result<HttpResponse, NetworkError> {
    if response.body.len() > limit {
        return Err(NetworkError::new(NetworkErrorKind::TooLarge, "the body is longer than its limit"));
    }
    let status = StatusCode::from_u16(response.status)
        .map_err(|_| NetworkError::new(NetworkErrorKind::Protocol, "the status is none"))?;
    let headers: HeaderMap = response
        .headers
        .into_iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
        })
        .collect();
    Ok(HttpResponse { status, headers, body: response.body })
}

fn reset(message: &str) -> NetworkError {
    NetworkError::new(NetworkErrorKind::Reset, message)
}

fn late() -> NetworkError {
    NetworkError::new(NetworkErrorKind::Timeout, "the simulated platform gave no answer")
}

#[cfg(test)]
mod tests;
