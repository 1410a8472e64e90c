//! `Idempotency-Key`: a mutating request that is sent again under its key gets the answer of the first time, over
//! restarts too, and nothing happens twice (F-080).
//!
//! An answer is remembered when what was asked for has happened. A process that is killed or replaced between the two
//! does it once more when it is asked again; messages, jobs and runs happen once all the same, for their rows have the
//! key with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse, ResponseError, web};
use moorline_runtime::RequestAnswer;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::body;
use crate::operator::Operator;
use crate::problem::Problem;
use crate::routes::{END, in_time, is_served};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// The longest answer that is remembered, in bytes; those to mutating requests are short.
const LONGEST_ANSWER: usize = 256 << 10;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The keys of requests that are being carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<BTreeSet<String>>>);

/// One of them; dropped when it is over.
struct Turn<'a> {
    key: &'a str,
    among: &'a UnderWay,
}

/// What an answer announces: it begins when the answer is remembered, so that a call which is sent again to the process
/// that comes does not end that one too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThenEnd {
    pub(crate) restart: bool,
}

/// What an answer announces that is a credential: it is never stored. Such a request does no harm when it is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForItsReaderOnly;

/// Carries a request out, or gives the answer of the first time.
pub(crate) async fn once<B: MessageBody + 'static>(
    under_way: &UnderWay,
    operator: &dyn Operator,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // What no route takes is refused by itself, whatever its key.
    let served = request.match_pattern().is_some_and(|path| is_served(request.method(), &path));
    let key = if served && !request.method().is_safe() { key_of(request.headers()) } else { Ok(None) };
    let response = match key.map(|key| key.map(str::to_owned)) {
        Ok(None) => next.call(request).await?.map_into_boxed_body(),
        Ok(Some(key)) => match under_way.enter(&key) {
            Some(_turn) => under_key(&key, operator, request, next).await?,
            None => request.into_response(Problem::InProgress.error_response()),
        },
        Err(problem) => request.into_response(problem.error_response()),
    };
    let then = response.response().extensions().get::<ThenEnd>().copied();
    if let Some(ThenEnd { restart }) = then {
        operator.end(restart);
    }
    Ok(response)
}

async fn under_key<B: MessageBody + 'static>(
    key: &str,
    operator: &dyn Operator,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let payload = request.extract::<web::Payload>().await?;
    let bytes = match body::read(payload).await {
        Ok(bytes) => bytes,
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    };
    let hash = hash(&request, &bytes);
    match in_time(operator.answer(key)).await {
        Ok(None) => {}
        Ok(Some(first)) if first.request == hash => return Ok(request.into_response(replay(first))),
        Ok(Some(_)) => return Ok(request.into_response(Problem::KeyReused.error_response())),
        // A process whose store does not answer is ended like any other; asked twice, it ends once.
        Err(_) if request.path() == END => {}
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    }
    request.set_payload(Payload::from(bytes));
    let response = next.call(request).await?.map_into_boxed_body();
    // What failed in here may go better the next time.
    if response.status().is_server_error()
        || response.response().extensions().get::<ForItsReaderOnly>().is_some()
    {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let Ok(Ok(body)) = to_bytes_limited(body, LONGEST_ANSWER).await else {
        return Ok(ServiceResponse::new(request, Problem::Internal.error_response()));
    };
    let answer = RequestAnswer {
        request: hash,
        status: response.status().as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    if let Err(problem) = in_time(operator.remember(key, answer)).await {
        // It has happened, so that is the answer.
        tracing::warn!(actor = "admin", "the answer to a request is not remembered: {problem}");
    }
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(body))))
}

fn hash(request: &ServiceRequest, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{} {}\n", request.method(), request.uri()));
    hash.update(body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn replay(first: RequestAnswer) -> HttpResponse {
    let status = StatusCode::from_u16(first.status).unwrap_or(StatusCode::OK);
    HttpResponse::build(status)
        .insert_header(ContentType::json())
        .insert_header((REPLAYED, HeaderValue::from_static("true")))
        .body(first.body)
}

impl UnderWay {
    fn enter<'a>(&'a self, key: &'a str) -> Option<Turn<'a>> {
        let is_first = self.0.lock().insert(key.to_owned());
        // Made only if it is ours: the end of one lets its key go.
        is_first.then(|| Turn { key, among: self })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.among.0.lock().remove(self.key);
    }
}

/// The key of a request.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key");
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => well_formed(key.to_str().map_err(|_| Problem::InvalidKey)?).map(Some),
        (Some(_), Some(_)) => Err(Problem::InvalidKey),
    }
}

pub(crate) fn well_formed(key: &str) -> Result<&str, Problem> {
    let is_well_formed =
        (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_well_formed { Ok(key) } else { Err(Problem::InvalidKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second request under a key waited for a lock that it held itself, and the endpoint with it.
    #[test]
    fn a_key_has_one_request_at_a_time() {
        let under_way = UnderWay::default();
        let first = under_way.enter("k1");
        assert!(first.is_some() && under_way.enter("k1").is_none());
        assert!(under_way.enter("k1").is_none(), "nobody but the first lets it go");
        drop(first);
        assert!(under_way.enter("k1").is_some());
    }
}
