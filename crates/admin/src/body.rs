//! Bodies of requests: bounded in length and in time (F-085).

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::endpoint::Takes;
use crate::operation::Operation;
use crate::problem::Problem;

/// The longest body of a request, in bytes.
pub const LONGEST_BODY: usize = 64 * 1024;

/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// A JSON body. No body is read as the empty object.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// What a path takes that wants to know nothing. A field is refused, not ignored: who sends one expects something
/// of it (F-083).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// All of a body, as it came.
pub(crate) async fn read(payload: web::Payload) -> Result<Bytes, Problem> {
    tokio::time::timeout(ARRIVES_WITHIN, payload.to_bytes_limited(LONGEST_BODY))
        .await
        .map_err(|_| Problem::SlowBody)?
        .map_err(|_| Problem::PayloadTooLarge)?
        .map_err(|_| Problem::BrokenBody)
}

impl<T: JsonSchema> Takes for Body<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.body::<T>();
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let bytes = read(payload.await.map_err(|_| Problem::BrokenBody)?).await?;
            let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            // serde would fill the fields in from an array, by position.
            if text.trim_ascii_start().starts_with(b"[") {
                return Err(Problem::NotAnObject);
            }
            serde_json::from_slice(text).map(Self).map_err(|error| {
                if error.is_data() { Problem::InvalidField(error) } else { Problem::InvalidJson(error) }
            })
        })
    }
}
