//! WebSocket handshakes.

use actix_service::Service;
use awc::error::{SendRequestError, WsClientError};
use awc::http::StatusCode as OldStatusCode;
use awc::http::header::HOST;
use awc::middleware::Transform;
use awc::{ConnectRequest, ConnectResponse};
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, StatusCode};
use moorline_channel::{BoxSocket, HandshakeError, NetworkErrorKind, WebSocket, WebSocketRequest};

use crate::codec::Codec;
use crate::exchange::Exchange;
use crate::headers;
use crate::socket::Socket;
use crate::target::Target;
use crate::transport::Transport;

impl WebSocket for Transport {
    fn open(&self, request: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>> {
        let clients = self.websockets.clone();
        Box::pin(async move {
            let target = Target::new(&request.url, "ws", "wss")?;
            let exchange = Exchange::new(target.peer.clone());
            let client = clients.for_target(&target);
            exchange.within(request.deadline, open(&exchange, &client, &target, &request)).await
        })
    }
}

async fn open(
    exchange: &Exchange,
    client: &awc::Client,
    target: &Target,
    request: &WebSocketRequest,
) -> Result<BoxSocket, HandshakeError> {
    let mut handshake = client.ws(target.uri.clone());
    for (name, value) in headers::outgoing(&request.headers) {
        handshake = handshake.header(name, value);
    }
    let connected = handshake.set_header(HOST, target.host.clone()).connect().await;
    let (_, framed) = connected.map_err(|error| failed(exchange, error))?;
    let parts = framed.into_parts();
    let codec = Codec::new(request.message_limit);
    Ok(Box::pin(Socket::new(parts.io, &parts.read_buf, codec, target.peer.clone())))
}

fn failed(exchange: &Exchange, error: WsClientError) -> HandshakeError {
    match error {
        WsClientError::SendRequest(SendRequestError::Custom(error, what)) => {
            match error.downcast::<HandshakeError>() {
                Ok(refused) => *refused,
                Err(error) => exchange.request_failed(SendRequestError::Custom(error, what)).into(),
            }
        }
        WsClientError::SendRequest(error) => exchange.request_failed(error).into(),
        // All others are about the answer's headers, and awc's texts for them are fixed.
        error => exchange.error(NetworkErrorKind::Protocol, &format!("no upgrade: {error}")).into(),
    }
}

/// Keeps the headers of a refused handshake: platforms put their reason there, and awc's own error has only the
/// status.
pub(crate) struct Refusals;

pub(crate) struct RefusalsService<S> {
    inner: S,
}

impl<S> Transform<S, ConnectRequest> for Refusals
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError> + 'static,
{
    type Transform = RefusalsService<S>;

    fn new_transform(self, service: S) -> Self::Transform {
        RefusalsService { inner: service }
    }
}

impl<S> Service<ConnectRequest> for RefusalsService<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError> + 'static,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = LocalBoxFuture<'static, Result<ConnectResponse, SendRequestError>>;

    actix_service::forward_ready!(inner);

    fn call(&self, request: ConnectRequest) -> Self::Future {
        let answering = self.inner.call(request);
        Box::pin(async move {
            match answering.await? {
                ConnectResponse::Tunnel(head, _) if head.status != OldStatusCode::SWITCHING_PROTOCOLS => {
                    let status =
                        StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
                    let headers: HeaderMap = headers::incoming(&head.headers);
                    let refused = HandshakeError::Refused { status, headers };
                    Err(SendRequestError::Custom(Box::new(refused), Box::new("refused")))
                }
                answer => Ok(answer),
            }
        })
    }
}
