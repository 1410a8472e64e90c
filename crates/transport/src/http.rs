//! Calls.

use ::http::{Method, StatusCode, header};
use awc::body::None as NoBody;
use awc::http::{Method as OldMethod, Version};
use awc::{ClientRequest, ClientResponse};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{Stream, StreamExt};
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind};

use crate::body::{Body, BodyError};
use crate::exchange::Exchange;
use crate::headers;
use crate::target::Target;
use crate::transport::Transport;

impl Http for Transport {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let (calls, repeats) = (self.calls.clone(), self.repeats.clone());
        Box::pin(async move {
            let target = Target::new(&request.url, "http", "https")?;
            let exchange = Exchange::new(target.peer.clone());
            let (pooled, fresh) = (calls.for_target(&target), repeats.for_target(&target));
            exchange.within(request.deadline, attempts(&exchange, &pooled, &fresh, &target, &request)).await
        })
    }
}

/// One attempt; or two, if the first one met a connection that had died in the pool and the call may be repeated. The
/// second one has a connection of its own, because those beside the dead one have mostly died of the same.
async fn attempts(
    exchange: &Exchange,
    pooled: &awc::Client,
    fresh: &awc::Client,
    target: &Target,
    request: &HttpRequest,
) -> Result<HttpResponse, NetworkError> {
    let method = OldMethod::from_bytes(request.method.as_str().as_bytes())
        .map_err(|_| exchange.error(NetworkErrorKind::Connect, "the method cannot be sent"))?;
    let once = pooled.request(method.clone(), target.uri.clone());
    let first = match call(exchange, once, target, request).await {
        Err(error) if request.idempotent && exchange.was_stale(&error) => error,
        result => return result,
    };
    exchange.repeat();
    let again = fresh.request(method, target.uri.clone()).force_close();
    // Boxed: it is rare, and would make every call larger.
    let second = Box::pin(call(exchange, again, target, request)).await;
    second.map_err(|second| exchange.failed_again(first, second))
}

async fn call(
    exchange: &Exchange,
    call: ClientRequest,
    target: &Target,
    request: &HttpRequest,
) -> Result<HttpResponse, NetworkError> {
    // Decompression is ours, because awc's is not bounded; so is the offer of it.
    let mut call = call.no_decompress();
    for header in headers::outgoing(&request.headers) {
        call = call.append_header(header);
    }
    call = call
        .insert_header((awc::http::header::HOST, target.host.clone()))
        .insert_header((awc::http::header::ACCEPT_ENCODING, "gzip"));
    let bodiless = request.body.is_empty() && matches!(request.method, Method::GET | Method::HEAD);
    let sending = if bodiless { call.send_body(NoBody::new()) } else { call.send_body(request.body.clone()) };
    let answer = sending.await.map_err(|error| exchange.request_failed(error))?;
    read(exchange, answer, request).await
}

async fn read<S>(
    exchange: &Exchange,
    mut answer: ClientResponse<S>,
    request: &HttpRequest,
) -> Result<HttpResponse, NetworkError>
where
    S: Stream<Item = Result<Bytes, awc::error::PayloadError>> + Unpin,
{
    let status = StatusCode::from_u16(answer.status().as_u16())
        .map_err(|_| exchange.error(NetworkErrorKind::Protocol, "the status is out of range"))?;
    let mut headers = headers::incoming(answer.headers());
    let too_large = || {
        let limit = request.body_limit;
        exchange.error(NetworkErrorKind::TooLarge, &format!("the body is longer than {limit} bytes"))
    };
    let unreadable = |what: &str| exchange.error(NetworkErrorKind::Protocol, what);

    let has_body = request.method != Method::HEAD
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let length = headers
        .get(header::CONTENT_LENGTH)
        .filter(|_| has_body && !chunked)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if has_body && status.is_success() && !chunked && length.is_none() && answer.version() == Version::HTTP_11
    {
        // Such a body ends with the connection, and awc does not read it at all.
        return Err(unreadable("the answer does not say how long it is"));
    }

    let encoding = headers.get(header::CONTENT_ENCODING).filter(|_| has_body).map(|value| value.as_bytes());
    let compressed = encoding.is_some();
    let mut body = Body::new(encoding, request.body_limit)
        .ok_or_else(|| unreadable("the body is in an encoding we did not ask for"))?;
    if !compressed && length.is_some_and(|length| length > request.body_limit as u64) {
        return Err(too_large());
    }
    let failed = |error: BodyError| match error {
        BodyError::TooLarge => too_large(),
        BodyError::Corrupt => unreadable("the body is not gzip"),
    };

    let mut received = 0_u64;
    while let Some(piece) = answer.next().await {
        let piece = piece.map_err(|error| exchange.body_failed(&error))?;
        received += piece.len() as u64;
        body.push(&piece).map_err(failed)?;
    }
    // awc takes the end of the connection for the end of the body, whatever was announced.
    if length.is_some_and(|length| received < length) || (chunked && exchange.peer_finished()) {
        return Err(exchange.cut());
    }
    let body = if received == 0 { Bytes::new() } else { body.finish().map_err(failed)? };
    if compressed {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(HttpResponse { status, headers, body })
}
