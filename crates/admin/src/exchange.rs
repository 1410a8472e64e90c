//! What every exchange has, whatever its route: the gate in front, an id, the same headers and a line in the log.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage, ResponseError, web};
use futures_util::FutureExt;
use moorline_core::Generation;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::metrics::Traffic;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers the requests of one life of the server: `3-17` is the seventeenth of the third.
#[derive(Debug)]
pub(crate) struct RequestIds {
    generation: Generation,
    last: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(generation: Generation) -> Self {
        Self { generation, last: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.generation, self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The answer to a request whose body nobody reads. A body in chunks that is given up before the answer is out is read
/// by the server to its end, and it may have none (F-085); while it is there, the connection is closed instead.
struct Unread {
    answer: BoxBody,
    _body: Payload,
}

impl MessageBody for Unread {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().answer).poll_next(cx)
    }
}

/// Lets a request through the gate to its route, and dresses the answer.
pub(crate) async fn exchange<B: MessageBody + 'static>(
    gate: web::Data<Gate>,
    ids: web::Data<RequestIds>,
    traffic: web::Data<Traffic>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let since = Instant::now();
    let id = ids.next();
    let (method, path) = (request.method().clone(), gate.without_token(request.path()));
    let admitted = gate.admit(request.request());
    let is_mutation = admitted.is_ok() && !method.is_safe();
    let outcome = match admitted {
        // A handler that panics costs its own request only; the server's thread serves the others (F-085).
        Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(Ok(response)) => Ok(response.map_into_boxed_body()),
            Ok(Err(error)) => Err(format!("was answered by nobody: {error}")),
            Err(_) => Err("panicked".to_owned()),
        },
        Err(problem) => {
            let body = request.take_payload();
            let response = request.into_response(problem.error_response());
            Ok(response.map_body(|_, answer| BoxBody::new(Unread { answer, _body: body })))
        }
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(what) => {
            tracing::error!(actor = "admin", request = id, %method, path, "the request {what}");
            let mut response = Problem::Internal.error_response();
            dress(response.headers_mut(), &id);
            traffic.answered(None, &method, response.status().as_u16(), since.elapsed());
            return Err(InternalError::from_response(Problem::Internal, response).into());
        }
    };
    dress(response.headers_mut(), &id);
    // The query is never logged: somebody may have put a token there.
    let status = response.status().as_u16();
    traffic.answered(response.request().match_pattern(), &method, status, since.elapsed());
    let ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    if is_mutation {
        tracing::info!(actor = "admin", request = id, %method, path, status, ms, "request");
    } else {
        tracing::debug!(actor = "admin", request = id, %method, path, status, ms, "request");
    }
    Ok(response)
}

fn dress(headers: &mut HeaderMap, id: &str) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}
