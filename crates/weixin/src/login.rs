//! The login by QR code (protocol §2), as a machine without I/O.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use moorline_channel::{
    HttpRequest, HttpResponse, LoggedIn, Login, LoginEffect, LoginEvent, LoginStep, NetworkError, RequestId,
    SavedLogin,
};
use moorline_core::{Failure, FailureClass, Monotonic, Secret, UserId};
use serde_json::json;

use crate::api::{self, Answer, GET_BOT_QRCODE, Uins};
use crate::bot::{authorization, save, token_of};
use crate::class;
use crate::quote::quote;
use crate::site::{Base, Site};

const PHASE: &str = "login";

/// Of the whole login, and of one code (protocol §2.2).
const OVERALL: Duration = Duration::from_secs(8 * 60);
const CODE_LASTS: Duration = Duration::from_secs(5 * 60);

/// Codes in all; nobody stands there any more who lets three of them expire.
const CODES: u32 = 3;

/// Of one poll: the platform holds it for 35 s.
const POLL_DEADLINE: Duration = Duration::from_secs(43);

/// Between two polls.
const PAUSE: Duration = Duration::from_secs(1);

/// Most tokens that are shown to the platform, so that it can say that one of them is good still.
const HELD: usize = 10;

/// One login.
pub(crate) struct QrLogin {
    site: Arc<Site>,
    /// Tokens that this installation holds, the newest first.
    held: Vec<String>,
    uins: Uins,
    next: u32,
    /// When it is over, whatever happens.
    ends: Monotonic,
    /// How many codes there were.
    codes: u32,
    phase: Phase,
}

/// How far the login is.
enum Phase {
    /// Not begun, or over.
    Idle,
    /// A code is asked for.
    Asking(RequestId),
    /// A code is shown.
    Showing(Code, Turn),
}

/// A code that is shown.
struct Code {
    /// What the platform knows it by.
    qrcode: String,
    /// Where to ask for it.
    base: Base,
    /// Until when it is good.
    stale: Monotonic,
    /// Whether it was seen to be scanned.
    scanned: bool,
    /// The number that was typed, until the platform has said what it thinks of it.
    typed: Option<Secret>,
}

/// What happens to it.
enum Turn {
    Polling(RequestId),
    Pausing(Monotonic),
    /// Someone is typing.
    Typing,
}

impl QrLogin {
    pub(crate) fn new(site: Arc<Site>, held: &[SavedLogin], seed: u64) -> Self {
        Self {
            site,
            held: held.iter().filter_map(token_of).take(HELD).collect(),
            uins: Uins::new(seed),
            next: 0,
            ends: Monotonic::default(),
            codes: 0,
            phase: Phase::Idle,
        }
    }

    fn request(&mut self, request: HttpRequest) -> (RequestId, LoginEffect) {
        let id = RequestId(self.next);
        self.next = self.next.wrapping_add(1);
        (id, LoginEffect::Request { id, request })
    }

    /// Asks for a code, if there may be another one.
    fn ask(&mut self) -> Vec<LoginEffect> {
        if self.codes >= CODES {
            return self.failed(format!("{CODES} codes expired without being confirmed"));
        }
        self.codes += 1;
        let body = json!({ "local_token_list": self.held });
        let mut request = api::post(&self.site, &self.site.base, &GET_BOT_QRCODE, &self.uins, &body);
        request.url.query_pairs_mut().append_pair("bot_type", "3");
        let (id, request) = self.request(request);
        self.phase = Phase::Asking(id);
        vec![request]
    }

    /// Shows the code that came.
    fn asked(&mut self, result: Result<HttpResponse, NetworkError>, now: Monotonic) -> Vec<LoginEffect> {
        let secrets: Vec<&str> = self.held.iter().map(String::as_str).collect();
        let answer = match api::read(PHASE, result, class::call, &secrets) {
            Ok(answer) => answer,
            Err(failure) => return self.finish(Err(failure)),
        };
        let (Some(qrcode), Some(text)) = (answer.text("qrcode"), answer.text("qrcode_img_content")) else {
            return self.unusable("without a code to scan");
        };
        let scan = LoginStep::Scan { code: Secret::new(text), lasts: CODE_LASTS, number: self.codes };
        let (base, stale) = (self.site.base.clone(), now + CODE_LASTS);
        let code = Code { qrcode, base, stale, scanned: false, typed: None };
        let mut effects = vec![LoginEffect::Show(scan)];
        effects.extend(self.poll(code, now));
        effects
    }

    /// Asks what became of a code, or for another one when it is stale.
    fn poll(&mut self, code: Code, now: Monotonic) -> Vec<LoginEffect> {
        if now >= code.stale {
            return self.ask();
        }
        let mut url = code.base.at(&["ilink", "bot", "get_qrcode_status"]);
        url.query_pairs_mut().append_pair("qrcode", &code.qrcode);
        if let Some(typed) = &code.typed {
            url.query_pairs_mut().append_pair("verify_code", typed.expose());
        }
        let mut request = HttpRequest::new(Method::GET, url);
        request.headers = api::app_headers(&self.site);
        request.deadline = POLL_DEADLINE;
        // A status is told once: what a hidden repetition misses would be lost.
        request.idempotent = false;
        let (id, request) = self.request(request);
        self.phase = Phase::Showing(code, Turn::Polling(id));
        vec![request]
    }

    fn pause(&mut self, code: Code, now: Monotonic) -> Vec<LoginEffect> {
        self.phase = Phase::Showing(code, Turn::Pausing(now + PAUSE));
        Vec::new()
    }

    /// What became of a code. No answer, and one that cannot be read, are no news (protocol §2.2).
    fn polled(
        &mut self,
        mut code: Code,
        result: Result<HttpResponse, NetworkError>,
        now: Monotonic,
    ) -> Vec<LoginEffect> {
        let refused = matches!(&result, Ok(response) if is_final(response.status));
        let secrets = [code.qrcode.as_str(), code.typed.as_ref().map_or("", Secret::expose)];
        let answer = match api::read(PHASE, result, class::call, &secrets) {
            Ok(answer) => answer,
            Err(failure) if refused || is_refusal(&failure) => return self.finish(Err(failure)),
            Err(failure) => {
                tracing::debug!("no news of the login: {failure}");
                return self.pause(code, now);
            }
        };
        let status = answer.text("status").unwrap_or_default();
        let typed = code.typed.take().is_some();
        match status.as_str() {
            "scaned" if !code.scanned => {
                code.scanned = true;
                self.pause(code, now);
                vec![LoginEffect::Show(LoginStep::Scanned)]
            }
            "need_verifycode" => {
                self.phase = Phase::Showing(code, Turn::Typing);
                vec![LoginEffect::Show(LoginStep::Code { wrong: typed })]
            }
            "verify_code_blocked" | "expired" => self.ask(),
            "scaned_but_redirect" => {
                let host = answer.text("redirect_host").unwrap_or_default();
                code.base = code.base.redirected_to(&host).unwrap_or(code.base);
                self.pause(code, now)
            }
            "binded_redirect" => self.finish(Ok(LoggedIn { login: None, person: None })),
            "confirmed" => self.confirmed(&answer),
            "wait" | "scaned" => self.pause(code, now),
            status => {
                tracing::warn!("a login has the status {}, which is not known", quote(status, []));
                self.pause(code, now)
            }
        }
    }

    fn confirmed(&mut self, answer: &Answer) -> Vec<LoginEffect> {
        let Some(bot_id) = answer.text("ilink_bot_id") else {
            return self.unusable("with a login that has no ilink_bot_id");
        };
        let token = answer.text("bot_token").filter(|token| authorization(token).is_some());
        let Some(token) = token else { return self.unusable("with a login that has no usable bot_token") };
        let base = self.site.base.succeeded_by(&answer.text("baseurl").unwrap_or_default());
        let user_id = answer.text("ilink_user_id");
        let login = Some(save(&token, &base, &bot_id, user_id.as_deref()));
        self.finish(Ok(LoggedIn { login, person: user_id.map(UserId::new) }))
    }

    fn unusable(&mut self, what: &str) -> Vec<LoginEffect> {
        let message = format!("{PHASE}: the platform answers {what}");
        self.finish(Err(Failure::new(FailureClass::Protocol, message)))
    }

    fn failed(&mut self, what: String) -> Vec<LoginEffect> {
        self.finish(Err(Failure::new(FailureClass::NeedsLogin, format!("{PHASE}: {what}; begin again"))))
    }

    fn finish(&mut self, outcome: Result<LoggedIn, Failure>) -> Vec<LoginEffect> {
        self.phase = Phase::Idle;
        vec![LoginEffect::Finish(outcome)]
    }
}

impl Login for QrLogin {
    fn step(&mut self, event: LoginEvent, now: Monotonic) -> Vec<LoginEffect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        if !matches!(phase, Phase::Idle) && now >= self.ends {
            return self.failed(format!("not confirmed within {} minutes", OVERALL.as_secs() / 60));
        }
        match (phase, event) {
            (Phase::Idle, LoginEvent::Start) => {
                self.ends = now + OVERALL;
                self.ask()
            }
            (Phase::Asking(asking), LoginEvent::Response { id, result }) if id == asking => {
                self.asked(result, now)
            }
            (Phase::Showing(code, Turn::Polling(poll)), LoginEvent::Response { id, result })
                if id == poll =>
            {
                self.polled(code, result, now)
            }
            (Phase::Showing(mut code, Turn::Typing), LoginEvent::Typed(typed)) => {
                code.typed = Some(typed);
                self.poll(code, now)
            }
            (Phase::Showing(code, Turn::Pausing(until)), LoginEvent::Wake) if now >= until => {
                self.poll(code, now)
            }
            (Phase::Showing(code, Turn::Typing), LoginEvent::Wake) if now >= code.stale => self.ask(),
            // Late or out of place.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Asking(_) | Phase::Showing(_, Turn::Polling(_)) => Some(self.ends),
            Phase::Showing(_, Turn::Pausing(until)) => Some((*until).min(self.ends)),
            Phase::Showing(code, Turn::Typing) => Some(code.stale.min(self.ends)),
        }
    }
}

/// The platform's own no; to ask more slowly is none.
fn is_refusal(failure: &Failure) -> bool {
    failure.code.is_some() && failure.class != FailureClass::Throttled
}

/// A status that asking again does not change. All others count as no news.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

#[cfg(test)]
mod tests;
