//! One notice to the webhook: one call, with a deadline over the whole exchange.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method};
use moorline_channel::{Http, HttpRequest};
use moorline_config::AlertBody;
use moorline_core::{Failure, Secret};
use serde_json::{Value, json};
use url::Url;

use super::notice::{Notice, NoticeKind};

/// From the name lookup to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Of an answer nobody wants to read more.
const ANSWER: usize = 16 << 10;

/// A server that asks to be left alone is left alone so long at most.
const LONGEST_WAIT: u64 = 600;

/// Posts it.
///
/// # Errors
/// When it was not taken. Says neither the address, which may hold a token, nor what the server says (F-090).
pub(super) async fn post(
    http: &dyn Http,
    webhook: &Secret,
    body: AlertBody,
    notice: &Notice,
    host: Option<&str>,
) -> Result<(), Failure> {
    let url = Url::parse(webhook.expose())
        .map_err(|_| Failure::transient("the webhook's address cannot be read"))?;
    let mut request = HttpRequest::new(Method::POST, url);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    request.body = Bytes::from(written(body, notice, host).to_string());
    (request.deadline, request.body_limit) = (DEADLINE, ANSWER);
    let answer = http.call(request).await.map_err(|error| Failure::transient(format!("webhook: {error}")))?;
    if !answer.status.is_success() {
        let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let wait = wait.map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_WAIT)));
        let what = format!("webhook: answered with status {}", answer.status.as_u16());
        return Err(Failure::transient(what).with_retry_after(wait));
    }
    // Feishu refuses with a status of success and a code.
    let code = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|said| said["code"].as_i64());
    match (body, code) {
        (AlertBody::Feishu, Some(code)) if code != 0 => {
            Err(Failure::transient("webhook: refused").with_code(code))
        }
        _ => Ok(()),
    }
}

fn written(body: AlertBody, notice: &Notice, host: Option<&str>) -> Value {
    let head = match notice.kind {
        NoticeKind::Alert => "needs attention",
        NoticeKind::AllClear => "is well again",
    };
    let place = host.map(|host| format!(" on {host}")).unwrap_or_default();
    let text = format!("Moorline{place} {head}\n{}", notice.text());
    match body {
        AlertBody::Feishu => json!({ "msg_type": "text", "content": { "text": text } }),
        AlertBody::Json => json!({
            "text": text,
            "kind": notice.kind,
            "host": host,
            "at": notice.at,
            "count": notice.items.len(),
            "findings": notice.told(),
        }),
    }
}
