//! What every exchange has, whatever its route: the gate in front, an id, the same headers and a line in the log.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

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

use crate::closing::Closing;
use crate::connections::Unasked;
use crate::gate::Gate;
use crate::idempotency::{UnderWay, once};
use crate::metrics::Traffic;
use crate::operator::Operator;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request under way may still take when the endpoint closes; less than the server waits for it.
const FINISHES_WITHIN: Duration = Duration::from_millis(500);

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
    (ids, traffic): (web::Data<RequestIds>, web::Data<Traffic>),
    closing: web::Data<Closing>,
    under_way: web::Data<UnderWay>,
    operator: web::Data<dyn Operator>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(connection) = request.conn_data::<Unasked>() {
        connection.asked();
    }
    let since = Instant::now();
    let id = ids.next();
    let (method, path) = (request.method().clone(), gate.without_token(request.path()));
    let admitted = gate.admit(request.request());
    let is_mutation = admitted.is_ok() && !method.is_safe();
    let answered = match admitted {
        Ok(()) => {
            // A handler that panics costs its own request only; the server's thread serves the others (F-085).
            let answering = AssertUnwindSafe(once(&under_way, &**operator, request, next)).catch_unwind();
            tokio::select! {
                biased;
                answered = answering => match answered {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(error)) => Err((Problem::Internal, format!("was answered by nobody: {error}"))),
                    Err(_) => Err((Problem::Internal, "panicked".to_owned())),
                },
                () = patience(&closing) => Err((Problem::Restarting, "was not finished in time".to_owned())),
            }
        }
        Err(problem) => {
            let body = request.take_payload();
            let response = request.into_response(problem.error_response());
            Ok(response.map_body(|_, answer| BoxBody::new(Unread { answer, _body: body })))
        }
    };
    let mut response = match answered {
        Ok(response) => response,
        Err((problem, what)) => {
            if matches!(problem, Problem::Restarting) {
                tracing::warn!(actor = "admin", request = id, %method, path, "the request {what}");
            } else {
                tracing::error!(actor = "admin", request = id, %method, path, "the request {what}");
            }
            let mut response = problem.error_response();
            dress(response.headers_mut(), &id);
            traffic.answered(None, &method, response.status().as_u16(), since.elapsed());
            return Err(InternalError::from_response(problem, response).into());
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

/// What is under way when the endpoint closes may still be answered, for a moment (F-080).
async fn patience(closing: &Closing) {
    closing.closed().await;
    tokio::time::sleep(FINISHES_WITHIN).await;
}

fn dress(headers: &mut HeaderMap, id: &str) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}
