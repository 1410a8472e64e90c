//! The API over an operator's side that is made up: in memory by tables, and over a real socket.

mod answers;
mod cron;
mod document;
mod fake;
mod idempotency;
mod lists;
mod login;
mod metrics;
mod pages;
mod refusals;
mod repair;
mod socket;
mod watchers;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use moorline_core::{Generation, Secret};
use serde_json::Value;

use crate::closing::Closing;
use crate::exchange::RequestIds;
use crate::gate::Gate;
use crate::operator::Operator;
use crate::routes::api;
use fake::Fake;

const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const MESSAGES: &str = "/v1/accounts/feishu:main/messages";

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

/// A request as the command line makes it.
fn get(path: &str) -> TestRequest {
    anonymous(path).insert_header(("authorization", format!("Bearer {TOKEN}")))
}

fn post(path: &str) -> TestRequest {
    get(path).method(actix_web::http::Method::POST)
}

fn delete(path: &str) -> TestRequest {
    get(path).method(actix_web::http::Method::DELETE)
}

fn with_body(path: &str, body: &str) -> TestRequest {
    post(path)
        .insert_header(("content-type", "application/json"))
        .insert_header(("content-length", body.len()))
        .set_payload(body.to_owned())
}

fn anonymous(path: &str) -> TestRequest {
    TestRequest::with_uri(path).insert_header(("host", "127.0.0.1:7117"))
}

fn ask(fake: &Arc<Fake>, request: TestRequest) -> Answer {
    ask_on("127.0.0.1", fake, request)
}

/// Asks an endpoint that listens on the address `listens_on`.
fn ask_on(listens_on: &str, fake: &Arc<Fake>, request: TestRequest) -> Answer {
    let gate = Data::new(Gate::new(Secret::new(TOKEN), listens_on.parse().unwrap()));
    let ids = Data::new(RequestIds::new(Generation::FIRST));
    let operator = Data::from(Arc::clone(fake) as Arc<dyn Operator>);
    actix_rt::System::new().block_on(async move {
        let closing = Data::new(Closing::new());
        let service = init_service(api(gate, ids, closing, operator)).await;
        let response = call_service(&service, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let is_json = headers.get("content-type").is_some_and(|of| of.to_str().unwrap().contains("json"));
        let body = read_body(response).await;
        let body = if is_json { serde_json::from_slice(&body).unwrap() } else { Value::Null };
        assert!(headers.contains_key("x-request-id"));
        Answer { status, headers, body }
    })
}
