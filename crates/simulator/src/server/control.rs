//! The control interface under `/_simulator/`: JSON, for people and for tests in other processes. The calls are
//! listed in the documentation of [`super`].

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::connection::Context;
use crate::hub::Reach;
use crate::mount::{Refusal, read};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformBody {
    refuse: Option<bool>,
    reach: Option<Reach>,
    for_ms: Option<u64>,
}

/// Answers a control call.
pub(super) async fn answer(context: &Context, parts: &Parts, body: &Bytes) -> hyper::Response<Body> {
    let (status, value) = match act(context, parts, body).await {
        Ok(value) => (StatusCode::OK, value),
        Err(refusal) => {
            let (status, message) = match refusal {
                Refusal::NotFound => (StatusCode::NOT_FOUND, "there is no such control call".to_owned()),
                Refusal::Forbidden => (StatusCode::FORBIDDEN, "not for web pages".to_owned()),
                Refusal::Body(error) => {
                    (StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}"))
                }
                Refusal::Unknown(what) => (StatusCode::NOT_FOUND, what),
            };
            (status, json!({ "error": message }))
        }
    };
    let mut answer = hyper::Response::new(Body::from(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What every platform has is done here, the rest by the platform.
async fn act(context: &Context, parts: &Parts, body: &[u8]) -> Result<Value, Refusal> {
    if !is_local(parts) {
        return Err(Refusal::Forbidden);
    }
    let simulator = &context.simulator;
    let path: Vec<&str> = parts.uri.path().trim_start_matches("/_simulator/").split('/').collect();
    match (&parts.method, path.as_slice()) {
        (&Method::POST, ["platform"]) => {
            let body: PlatformBody = read(body)?;
            let refused = body.refuse.map(|refuse| if refuse { Reach::Refused } else { Reach::Open });
            simulator.set_reach(body.reach.or(refused).unwrap_or_default());
            if let Some(millis) = body.for_ms {
                // Full only when sixteen recoveries are being taken up at once; then this one waits its turn.
                let _ = context.recoveries.send(Duration::from_millis(millis)).await;
            }
            Ok(json!({ "reach": simulator.reach() }))
        }
        (method, path) => simulator.control(method, path, body),
    }
}

/// Web pages, and names that were made to point here, are kept out (F-091).
fn is_local(parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback && !parts.headers.contains_key(header::ORIGIN)
}
