//! One REST call: how it is made, and how its answer is read (protocol §3).

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError};
use moorline_core::{Effect, Failure, FailureClass, Secret};
use serde_json::Value;
use url::Url;

use crate::class::{Meaning, Refusal};
use crate::quote::quote;

/// One call and how its refusals are judged.
pub(crate) struct Call<'a> {
    /// What is being done, as failures name it: `send`, `token call`, …
    pub(crate) phase: &'static str,
    /// The request, complete but for the token.
    pub(crate) request: HttpRequest,
    /// What must never be quoted back: the token, the app secret.
    pub(crate) secrets: Vec<&'a str>,
    /// The table of [`crate::class`] that applies.
    pub(crate) judge: fn(&Refusal<'_>) -> Meaning,
}

/// A request that carries JSON.
pub(crate) fn json_request(method: Method, url: Url, body: &Value) -> HttpRequest {
    let mut request = HttpRequest::new(method, url);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    request.body = Bytes::from(body.to_string());
    request
}

/// Puts the tenant access token into a request.
///
/// # Errors
/// [`FailureClass::SessionExpired`] when there is no token, or none that a header can carry: either way another
/// one is needed, and no call is made.
pub(crate) fn authorize(
    phase: &str,
    request: &mut HttpRequest,
    token: Option<&Secret>,
) -> Result<(), Failure> {
    let no_token = || Failure::new(FailureClass::SessionExpired, format!("{phase}: no usable access token"));
    let token = token.filter(|token| !token.is_empty()).ok_or_else(no_token)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| no_token())?;
    value.set_sensitive(true);
    request.headers.insert(AUTHORIZATION, value);
    Ok(())
}

impl Call<'_> {
    /// Makes the call; the JSON body of a success.
    ///
    /// # Errors
    /// Everything but HTTP 2xx with code 0, each with its class and with what is known of its effect.
    pub(crate) async fn make(self, http: &dyn Http) -> Result<Value, Failure> {
        match http.call(self.request.clone()).await {
            Ok(response) => self.read(&response),
            Err(error) => Err(lost(self.phase, &error)),
        }
    }

    fn read(&self, response: &HttpResponse) -> Result<Value, Failure> {
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
            return Err(self.unreadable(response, "without JSON"));
        };
        let Some(code) = body.get("code").and_then(Value::as_i64) else {
            return Err(self.unreadable(response, "without a code"));
        };
        if code == 0 && response.status.is_success() {
            return Ok(body);
        }
        Err(self.refused(response, &body, code))
    }

    /// Proxies answer with pages of their own. What the platform did, if it was reached at all, nobody can tell.
    fn unreadable(&self, response: &HttpResponse, what: &str) -> Failure {
        let class = match response.status {
            StatusCode::TOO_MANY_REQUESTS => FailureClass::Throttled,
            _ => FailureClass::Transient,
        };
        let log_id = self.log_id(response, &Value::Null);
        Failure::new(class, format!("{}: answered {what}, status {}{log_id}", self.phase, response.status))
            .with_retry_after(rate_limit_reset(&response.headers))
            .with_unknown_effect()
    }

    fn refused(&self, response: &HttpResponse, body: &Value, code: i64) -> Failure {
        let msg = body.get("msg").and_then(Value::as_str).unwrap_or_default();
        let meaning = (self.judge)(&Refusal { code, msg, status: response.status });
        let wait = match meaning.class {
            FailureClass::Throttled => rate_limit_reset(&response.headers),
            _ => meaning.wait,
        };
        let said = quote(msg, self.secrets.iter().copied());
        let log_id = self.log_id(response, body);
        let message = format!("{}: refused with status {}: {said}{log_id}", self.phase, response.status);
        let failure = Failure::new(meaning.class, message).with_code(code).with_retry_after(wait);
        match meaning.effect {
            Effect::None => failure,
            Effect::Unknown => failure.with_unknown_effect(),
        }
    }

    /// What the platform's support asks for first (protocol §3).
    fn log_id(&self, response: &HttpResponse, body: &Value) -> String {
        let header = response.headers.get("x-tt-logid").and_then(|value| value.to_str().ok());
        let id = header.or_else(|| body.pointer("/error/log_id").and_then(Value::as_str));
        id.map(|id| format!(" (log id {})", quote(id, self.secrets.iter().copied()))).unwrap_or_default()
    }
}

/// A call that got no whole answer.
fn lost(phase: &str, error: &NetworkError) -> Failure {
    let failure = Failure::transient(format!("{phase}: {error}"));
    match error.effect() {
        Effect::None => failure,
        Effect::Unknown => failure.with_unknown_effect(),
    }
}

/// How long the gateway asks us to wait (protocol §3.6), in seconds.
pub(crate) fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-ogw-ratelimit-reset")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
