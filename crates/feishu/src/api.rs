//! One REST call: how it is made, and how its answer is read (protocol §3).

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{Effect, Failure, FailureClass, Secret};
use serde_json::Value;
use url::Url;

use crate::class::{Judge, Refusal};
use crate::quote::quote;
use crate::scope;

/// What is taken of any answer, so that a small limit for files does not hide the refusal that explains everything.
const REFUSAL_BYTES: usize = 16 << 10;

/// One call and how its refusals are judged.
pub(crate) struct Call<'a> {
    /// What is being done, as failures name it: `send`, `token call`, …
    pub(crate) phase: &'static str,
    /// The request, complete but for the token.
    pub(crate) request: HttpRequest,
    /// What must never be quoted back: the token, the app secret.
    pub(crate) secrets: Vec<&'a str>,
    /// The table of [`crate::class`] that applies.
    pub(crate) judge: Judge,
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
        let response = self.exchange(http).await?;
        match serde_json::from_slice::<Value>(&response.body) {
            Ok(body) if response.status.is_success() && code(&body) == Some(0) => Ok(body),
            _ => Err(self.refusal(&response)),
        }
    }

    /// Makes a call whose success is answered with bytes of any kind, and its refusal in JSON (protocol §3.4).
    ///
    /// # Errors
    /// As for [`Call::make`]; [`FailureClass::Rejected`] when there are more than `limit` bytes.
    pub(crate) async fn bytes(mut self, http: &dyn Http, limit: usize) -> Result<Bytes, Failure> {
        self.request.body_limit = limit.max(REFUSAL_BYTES);
        let too_large =
            || Failure::new(FailureClass::Rejected, format!("{}: more than {limit} bytes", self.phase));
        let response = match http.call(self.request.clone()).await {
            Ok(response) => response,
            Err(error) if error.kind == NetworkErrorKind::TooLarge => return Err(too_large()),
            Err(error) => return Err(lost(self.phase, &error)),
        };
        if !response.status.is_success() || !is_file(&response) {
            return Err(self.refusal(&response));
        }
        if response.body.len() > limit { Err(too_large()) } else { Ok(response.body) }
    }

    async fn exchange(&self, http: &dyn Http) -> Result<HttpResponse, Failure> {
        http.call(self.request.clone()).await.map_err(|error| lost(self.phase, &error))
    }

    /// What an answer means that is no success. The code counts before the status.
    fn refusal(&self, response: &HttpResponse) -> Failure {
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
            return self.unreadable(response, "without JSON");
        };
        match code(&body) {
            Some(code) => self.refused(response, &body, code),
            None => self.unreadable(response, "without a code"),
        }
    }

    /// Proxies answer with pages of their own. What the platform did, if it was reached at all, nobody can tell.
    fn unreadable(&self, response: &HttpResponse, what: &str) -> Failure {
        let class = match response.status {
            StatusCode::TOO_MANY_REQUESTS => FailureClass::Throttled,
            _ => FailureClass::Transient,
        };
        let log_id = self.log_id(response, &Value::Null);
        Failure::new(class, format!("{}: answered {what}, status {}{log_id}", self.phase, response.status))
            .with_retry_after(wait_demanded(&response.headers))
            .with_unknown_effect()
    }

    fn refused(&self, response: &HttpResponse, body: &Value, code: i64) -> Failure {
        let msg = body.get("msg").and_then(Value::as_str).unwrap_or_default();
        let meaning = (self.judge)(&Refusal { code, msg, status: response.status });
        let wait = match meaning.class {
            FailureClass::Throttled => wait_demanded(&response.headers),
            _ => meaning.wait,
        };
        let said = quote(msg, self.secrets.iter().copied());
        let log_id = self.log_id(response, body);
        let message = format!("{}: refused with status {}: {said}{log_id}", self.phase, response.status);
        let mut failure = Failure::new(meaning.class, message).with_code(code).with_retry_after(wait);
        if meaning.class == FailureClass::Permission {
            failure = failure.with_lacks(scope::missing(msg, body));
        }
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

/// Whether a success is a file. What the platform sends as one has a `Content-Disposition`, and may be JSON or HTML;
/// without it, JSON with a code is a refusal, and HTML is a proxy's page.
fn is_file(response: &HttpResponse) -> bool {
    let html = |kind: &HeaderValue| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html");
    let refused = || serde_json::from_slice::<Value>(&response.body).is_ok_and(|body| code(&body).is_some());
    response.headers.contains_key(CONTENT_DISPOSITION)
        || !(response.headers.get(CONTENT_TYPE).is_some_and(html) || refused())
}

/// The `code` of an answer.
fn code(body: &Value) -> Option<i64> {
    body.get("code")?.as_i64()
}

/// How long we are asked to wait: in the gateway's own header (protocol §3.6), or in the one of HTTP, which proxies
/// send. At least a second: a gateway that refuses and says 0 would be asked without a pause.
pub(crate) fn wait_demanded(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let seconds = seconds("x-ogw-ratelimit-reset").or_else(|| seconds(RETRY_AFTER.as_str()))?;
    Some(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests;
