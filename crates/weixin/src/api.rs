//! One call: how it is written, and how its answer is read (protocol §1).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use moorline_channel::{HttpRequest, HttpResponse, NetworkError};
use moorline_core::{Effect, Failure, FailureClass};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::class::{self, Judge, Refusal};
use crate::quote::quote;
use crate::site::{Base, Site};

mod mend;

/// The client whose protocol we speak; the platform looks at it (protocol §1.1, §1.2).
pub(crate) const CHANNEL_VERSION: &str = "2.4.9";

/// The same as `major << 16 | minor << 8 | patch`.
const CLIENT_VERSION: &str = "132105";

/// For the platform's own logs.
pub(crate) const BOT_AGENT: &str = concat!("Moorline/", env!("CARGO_PKG_VERSION"));

/// Longest id, in bytes: of messages, chats and users. Real ones have up to 60.
pub(crate) const ID_BYTES: usize = 256;

/// The call is missing, or answered wrongly, without these two (protocol §1.1).
pub(crate) fn app_headers(site: &Site) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("ilink-app-id"), HeaderValue::from_static("bot"));
    headers
        .insert(HeaderName::from_static("ilink-app-clientversion"), HeaderValue::from_static(CLIENT_VERSION));
    if let Some(tag) = &site.route_tag {
        headers.insert(HeaderName::from_static("skroutetag"), tag.clone());
    }
    headers
}

/// A POST with everything but the token.
pub(crate) fn post(site: &Site, base: &Base, endpoint: &Endpoint, uins: &Uins, body: &Value) -> HttpRequest {
    let mut request = HttpRequest::new(Method::POST, endpoint.url(base));
    request.headers = app_headers(site);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers.insert("authorizationtype", HeaderValue::from_static("ilink_bot_token"));
    request.headers.insert("x-wechat-uin", uins.next());
    request.body = Bytes::from(body.to_string());
    request.deadline = endpoint.deadline;
    request.idempotent = endpoint.idempotent;
    request
}

/// A call there is.
pub(crate) struct Endpoint {
    /// What follows `ilink/bot/`.
    path: &'static [&'static str],
    /// For the whole exchange (protocol §1.5).
    deadline: Duration,
    /// Whether a repetition changes nothing.
    idempotent: bool,
}

/// The deadline of each poll is set when it is made.
pub(crate) const GET_UPDATES: Endpoint = endpoint(&["getupdates"], 35, false);
/// Whether the platform recognises a message that comes twice, nobody knows (protocol §5.1).
pub(crate) const SEND_MESSAGE: Endpoint = endpoint(&["sendmessage"], 15, false);
/// A sign that comes later than this is of no use (F-048).
pub(crate) const GET_CONFIG: Endpoint = endpoint(&["getconfig"], 5, true);
/// As above.
pub(crate) const SEND_TYPING: Endpoint = endpoint(&["sendtyping"], 5, true);
pub(crate) const GET_UPLOAD_URL: Endpoint = endpoint(&["getuploadurl"], 15, true);
pub(crate) const NOTIFY_START: Endpoint = endpoint(&["msg", "notifystart"], 10, true);
/// The driver gives a goodbye no longer than this.
pub(crate) const NOTIFY_STOP: Endpoint = endpoint(&["msg", "notifystop"], 2, true);
pub(crate) const GET_BOT_QRCODE: Endpoint = endpoint(&["get_bot_qrcode"], 15, true);

const fn endpoint(path: &'static [&'static str], seconds: u64, idempotent: bool) -> Endpoint {
    Endpoint { path, deadline: Duration::from_secs(seconds), idempotent }
}

impl Endpoint {
    fn url(&self, base: &Base) -> Url {
        let segments: Vec<_> = ["ilink", "bot"].into_iter().chain(self.path.iter().copied()).collect();
        base.at(&segments)
    }
}

/// Values of `X-WECHAT-UIN`: another one for each request (protocol §1.1).
#[derive(Debug)]
pub(crate) struct Uins(AtomicU32);

impl Uins {
    /// Values that begin where `seed` says.
    #[allow(clippy::cast_possible_truncation, reason = "32 of its bits are enough")]
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU32::new((seed ^ (seed >> 32)) as u32))
    }

    /// Random to look at, and none of them twice in four thousand million: a counter, mixed so that no two counts give
    /// the same.
    pub(crate) fn next(&self) -> HeaderValue {
        header(mixed(self.0.fetch_add(1, Relaxed)))
    }
}

/// The decimal digits of a number, in base64.
fn header(uin: u32) -> HeaderValue {
    // Base64 is always a header.
    HeaderValue::from_str(&STANDARD.encode(uin.to_string())).unwrap_or(HeaderValue::from_static("MQ=="))
}

/// Each step can be undone, so different numbers stay different.
const fn mixed(mut n: u32) -> u32 {
    n ^= n >> 16;
    n = n.wrapping_mul(0x7feb_352d);
    n ^= n >> 15;
    n = n.wrapping_mul(0x846c_a68b);
    n ^ (n >> 16)
}

/// The fields of a good answer, each as it was received: numbers have up to 64 bits, and would lose some as doubles
/// (protocol §1.4).
#[derive(Debug, Default)]
pub(crate) struct Answer(BTreeMap<String, Box<RawValue>>);

impl Answer {
    /// A field that is there and not null.
    pub(crate) fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key).map(|raw| &**raw).filter(|raw| raw.get() != "null")
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let text: String = serde_json::from_str(self.raw(key)?.get()).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// An id, whether it is written as a number or as text.
    pub(crate) fn id(&self, key: &str) -> Option<String> {
        id(&serde_json::from_str(self.raw(key)?.get()).ok()?)
    }

    /// A whole number; text is taken too.
    pub(crate) fn whole(&self, key: &str) -> Option<i64> {
        whole(&serde_json::from_str(self.raw(key)?.get()).ok()?)
    }

    /// `ret` or `errcode`, whichever is not 0; -14 wherever it is. `None` when one of them is no whole number, and the
    /// other says nothing either.
    fn code(&self) -> Option<i64> {
        let codes = ["ret", "errcode"].map(|key| if self.says(key) { self.whole(key) } else { Some(0) });
        if codes.contains(&Some(class::STALE)) {
            return Some(class::STALE);
        }
        let refused = codes.into_iter().flatten().find(|&code| code != 0);
        refused.or_else(|| codes.iter().all(Option::is_some).then_some(0))
    }

    /// Whether a field has anything in it. An empty text is nothing.
    fn says(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|raw| {
            serde_json::from_str::<String>(raw.get()).map_or(true, |text| !text.trim().is_empty())
        })
    }

    /// Whether it brings messages, or what may have been some.
    fn brings_messages(&self) -> bool {
        self.raw("msgs").is_some_and(|msgs| {
            serde_json::from_str::<Vec<&RawValue>>(msgs.get()).map_or(true, |msgs| !msgs.is_empty())
        })
    }
}

/// An id: text, or a whole number. Not empty, and not longer than anything that is kept as a key.
pub(crate) fn id(value: &Value) -> Option<String> {
    let id = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return None,
    };
    (1..=ID_BYTES).contains(&id.len()).then_some(id)
}

/// A whole number, also one that is written as `1.0`, or text that is one.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    let text = || value.as_str()?.trim().parse().ok();
    value.as_i64().or_else(|| value.as_f64().and_then(without_fraction)).or_else(text)
}

/// Beyond 53 bits a double does not say which number was meant.
#[allow(clippy::cast_possible_truncation, reason = "it has no fraction, and fits")]
fn without_fraction(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// Reads how a call ended. Success is HTTP 2xx with a JSON object in which `ret` and `errcode` are 0 or not there
/// (protocol §1.3).
///
/// # Errors
/// Everything else, with its class and with what is known of its effect. `secrets` are never quoted.
pub(crate) fn read(
    phase: &str,
    result: Result<HttpResponse, NetworkError>,
    judge: Judge,
    secrets: &[&str],
) -> Result<Answer, Failure> {
    let response = result.map_err(|error| lost(phase, &error))?;
    if !response.status.is_success() {
        return Err(refused_by_http(phase, &response));
    }
    let unreadable = |what: &str| {
        let message = format!("{phase}: answered {what}, status {}", response.status);
        Failure::transient(message).with_unknown_effect()
    };
    let answer = serde_json::from_str(&mend::mended(&response.body)).map(Answer);
    let answer = answer.map_err(|_| unreadable("with something that is no JSON object"))?;
    let code = match answer.code() {
        Some(code) => code,
        // They were handed out, whatever the code was meant to say, and may not be handed out again (protocol §4.2).
        None if answer.brings_messages() => 0,
        None => return Err(unreadable("with a code that is no number")),
    };
    if code == 0 {
        return Ok(answer);
    }
    let errmsg = answer.text("errmsg").unwrap_or_default();
    let meaning = judge(&Refusal { code, errmsg: &errmsg });
    let said = match quote(&errmsg, secrets.iter().copied()) {
        said if said.is_empty() => "no reason given".to_owned(),
        said => said,
    };
    Err(Failure::new(meaning.class, format!("{phase}: refused: {said}"))
        .with_code(code)
        .with_retry_after(meaning.wait))
}

/// A call that got no whole answer.
pub(crate) fn lost(phase: &str, error: &NetworkError) -> Failure {
    let failure = Failure::transient(format!("{phase}: {error}"));
    match error.effect() {
        Effect::None => failure,
        Effect::Unknown => failure.with_unknown_effect(),
    }
}

/// An answer of HTTP itself: the platform says what it has to say with status 200 (protocol §1). A 4xx was refused
/// before anything came of it; of all others nobody can tell.
pub(crate) fn refused_by_http(phase: &str, response: &HttpResponse) -> Failure {
    let class = match response.status {
        StatusCode::TOO_MANY_REQUESTS => FailureClass::Throttled,
        _ => FailureClass::Transient,
    };
    let failure = Failure::new(class, format!("{phase}: answered with status {}", response.status))
        .with_retry_after(wait_demanded(&response.headers));
    if response.status.is_client_error() { failure } else { failure.with_unknown_effect() }
}

/// At least a second: whoever refuses and says 0 would be asked without a pause.
fn wait_demanded(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests;
