//! The HTTP side: routes, answers in the platform's shapes, the endpoint (§1), tokens (§3.1) and bot info (§3.3).

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{AppId, Token};
use super::connection::client_config;
use super::fault::{Answer, ConfigShape, Fault};
use super::link::{Effect, LinkId, Now, Request, Response};
use super::platform::Platform;

/// No token in the request.
pub(crate) const TOKEN_MISSING: i64 = 99_991_661;
/// The tenant token is invalid or expired.
pub(crate) const TOKEN_INVALID: i64 = 99_991_663;
/// What is there is no token.
pub(crate) const TOKEN_MALFORMED: i64 = 99_991_671;
/// A field is missing or has the wrong form.
pub(crate) const FIELD_VALIDATION: i64 = 99_992_402;

/// The longest a token lives.
const TOKEN_LIFETIME: Duration = Duration::from_secs(7_200);
/// Below this a new token is minted; above it the same one comes back.
const TOKEN_RENEWAL: Duration = Duration::from_secs(1_800);
/// Addresses handed out and not used that are remembered per app.
const TICKET_LIMIT: usize = 64;

#[derive(Deserialize)]
struct EndpointBody {
    #[serde(rename = "AppID")]
    app_id: AppId,
    #[serde(rename = "AppSecret")]
    app_secret: String,
}

#[derive(Deserialize)]
struct TokenBody {
    app_id: AppId,
    app_secret: String,
}

impl Platform {
    /// Routes a call.
    pub(crate) fn call(&mut self, link: LinkId, request: &Request, now: Now) {
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("POST", ["callback", "ws", "endpoint"]) => self.endpoint(link, request, now),
            ("POST", ["open-apis", "auth", "v3", "tenant_access_token", "internal"]) => {
                self.token(link, request, now);
            }
            ("GET", ["open-apis", "bot", "v3", "info"]) => self.bot_info(link, request, now),
            ("POST", ["open-apis", "im", "v1", "messages"]) => self.send(link, request, None, now),
            ("POST", ["open-apis", "im", "v1", "messages", target, "reply"]) => {
                self.send(link, request, Some(target), now);
            }
            _ => {
                let body = "404 page not found".to_owned();
                self.act(link, Effect::Respond(Response { status: 404, headers: Vec::new(), body }));
            }
        }
    }

    fn endpoint(&mut self, link: LinkId, request: &Request, now: Now) {
        let Ok(body) = serde_json::from_slice::<EndpointBody>(&request.body) else {
            return self
                .answer(link, endpoint_refusal(200, 1_000_040_344, "app_id or app_secret is missing"));
        };
        let Some(state) = self.apps.get_mut(&body.app_id) else {
            return self
                .answer(link, endpoint_refusal(200, 1_000_040_345, "app_id or app_secret is invalid"));
        };
        state.counters.endpoint_calls += 1;
        if state.faults.held() {
            return self.answer(link, page(503));
        }
        let fault = state.faults.take(|fault| match fault {
            Fault::Endpoint(answer) => Some(answer.clone()),
            _ => None,
        });
        let Some(delay) = self.interfere(link, fault, endpoint_refusal) else { return };
        let state = self.apps.get(&body.app_id);
        let Some(state) = state.filter(|state| state.app.app_secret == body.app_secret) else {
            let refusal = endpoint_refusal(200, 1_000_040_345, "app_id or app_secret is invalid");
            return self.act_later(link, Effect::Respond(refusal), delay, now);
        };
        let service = state.app.service_id;
        let (ticket, device_id) =
            (self.hex(32), self.rng.u64(7_000_000_000_000_000_000..8_000_000_000_000_000_000));
        let access_key = self.hex(32);
        let url = format!(
            "{}/ws/v2?fpid=493&aid=552564&device_id={device_id}&access_key={access_key}&service_id={service}&ticket={ticket}",
            request.ws_origin
        );
        let Some(state) = self.apps.get_mut(&body.app_id) else { return };
        state.tickets.push_back((ticket, device_id.to_string()));
        if state.tickets.len() > TICKET_LIMIT {
            state.tickets.pop_front();
        }
        let url = state
            .faults
            .take(|fault| match fault {
                Fault::EndpointUrl(url) => Some(url.clone()),
                _ => None,
            })
            .unwrap_or(url);
        let shape = state.faults.take(|fault| match fault {
            Fault::ClientConfig(shape) => Some(shape.clone()),
            _ => None,
        });
        let mut data = json!({ "URL": url });
        match shape.unwrap_or_else(|| ConfigShape::Json(client_config())) {
            ConfigShape::Json(config) => data["ClientConfig"] = config,
            ConfigShape::Missing => {}
        }
        let answer = json_answer(200, &json!({ "code": 0, "msg": "", "data": data }));
        self.act_later(link, Effect::Respond(answer), delay, now);
    }

    fn token(&mut self, link: LinkId, request: &Request, now: Now) {
        let Ok(body) = serde_json::from_slice::<TokenBody>(&request.body) else {
            return self.answer(link, refusal(400, 10_003, "invalid param"));
        };
        let Some(state) = self.apps.get_mut(&body.app_id) else {
            return self.answer(link, refusal(400, 10_003, "invalid param"));
        };
        state.counters.token_requests += 1;
        let fault = state.faults.take(|fault| match fault {
            Fault::Token(answer) => Some(answer.clone()),
            _ => None,
        });
        let Some(delay) = self.interfere(link, fault, refusal) else { return };
        let right = self.apps.get(&body.app_id).is_some_and(|state| state.app.app_secret == body.app_secret);
        let answer = if right {
            let (token, expire) = self.current_token(&body.app_id, now);
            json_answer(
                200,
                &json!({ "code": 0, "msg": "ok", "tenant_access_token": token, "expire": expire.as_secs() }),
            )
        } else {
            refusal(400, 10_014, "app secret invalid")
        };
        self.act_later(link, Effect::Respond(answer), delay, now);
    }

    /// The newest token while it has 30 min left, else a new one; earlier ones stay valid until their own end.
    fn current_token(&mut self, app: &AppId, now: Now) -> (String, Duration) {
        let minted = format!("t-{}", self.hex(40));
        let Some(state) = self.apps.get_mut(app) else { return (minted, Duration::ZERO) };
        if let Some(token) = state.tokens.back()
            && token.expires_at - now.monotonic >= TOKEN_RENEWAL
        {
            return (token.text.clone(), token.expires_at - now.monotonic);
        }
        let lifetime = state.faults.take(|fault| match fault {
            Fault::TokenExpiry(seconds) => Some(Duration::from_secs(*seconds)),
            _ => None,
        });
        let lifetime = lifetime.unwrap_or(TOKEN_LIFETIME);
        state.tokens.retain(|token| token.expires_at > now.monotonic);
        state.tokens.push_back(Token { text: minted.clone(), expires_at: now.monotonic + lifetime });
        (minted, lifetime)
    }

    fn bot_info(&mut self, link: LinkId, request: &Request, now: Now) {
        let app = match self.authorized(request, now) {
            Ok(app) => app,
            Err(refusal) => return self.answer(link, refusal),
        };
        let Some(state) = self.apps.get_mut(&app) else { return };
        state.counters.bot_info_requests += 1;
        let fault = state.faults.take(|fault| match fault {
            Fault::BotInfo(answer) => Some(answer.clone()),
            _ => None,
        });
        let Some(delay) = self.interfere(link, fault, refusal) else { return };
        let Some(state) = self.apps.get_mut(&app) else { return };
        let mut bot = json!({
            "activate_status": 2,
            "app_name": state.app.bot_name,
            "avatar_url": "",
            "ip_white_list": [],
            "open_id": state.app.bot_open_id,
        });
        let open_id = state.faults.take(|fault| match fault {
            Fault::BotOpenId(open_id) => Some(open_id.clone()),
            _ => None,
        });
        match (open_id, bot.as_object_mut()) {
            (Some(Some(open_id)), Some(bot)) => drop(bot.insert("open_id".to_owned(), json!(open_id))),
            (Some(None), Some(bot)) => drop(bot.remove("open_id")),
            _ => {}
        }
        let answer = json_answer(200, &json!({ "code": 0, "msg": "ok", "bot": bot }));
        self.act_later(link, Effect::Respond(answer), delay, now);
    }

    /// The app whose valid token the request carries (§3.2).
    pub(crate) fn authorized(&self, request: &Request, now: Now) -> Result<AppId, Response> {
        let Some(header) = request.authorization.as_deref().filter(|header| !header.is_empty()) else {
            return Err(refusal(400, TOKEN_MISSING, "Missing access token for authorization"));
        };
        let token = header.strip_prefix("Bearer ").filter(|token| token.starts_with("t-"));
        let Some(token) = token else {
            return Err(refusal(400, TOKEN_MALFORMED, "Invalid access token format"));
        };
        let valid = |t: &Token| t.text == token && t.expires_at > now.monotonic;
        let app = self.apps.iter().find(|(_, state)| state.tokens.iter().any(valid));
        app.map(|(id, _)| id.clone())
            .ok_or_else(|| refusal(400, TOKEN_INVALID, "Invalid access token for authorization"))
    }

    pub(crate) fn answer(&mut self, link: LinkId, response: Response) {
        self.act(link, Effect::Respond(response));
    }

    /// Carries out a fault of a call. The delay of the proper answer, or `None` when there will be none.
    pub(crate) fn interfere(
        &mut self,
        link: LinkId,
        fault: Option<Answer>,
        refuse: fn(u16, i64, &str) -> Response,
    ) -> Option<Duration> {
        match fault {
            None => return Some(Duration::ZERO),
            Some(Answer::Delay(delay)) => return Some(delay),
            Some(Answer::Hang) => {}
            Some(Answer::Reset) => self.act(link, Effect::Reset),
            Some(Answer::Status(status)) => self.answer(link, page(status)),
            Some(Answer::Code { status, code }) => {
                self.answer(link, refuse(status, code, "refused by a fault"));
            }
            Some(Answer::Refusal { status, code, msg }) => self.answer(link, refuse(status, code, &msg)),
            Some(Answer::RateLimited { reset }) => {
                let mut answer = refusal(429, 99_991_400, "request trigger frequency limit");
                answer.headers.push(("x-ogw-ratelimit-limit", "100".to_owned()));
                answer.headers.push(("x-ogw-ratelimit-reset", reset.to_string()));
                self.answer(link, answer);
            }
            Some(Answer::Garbage) => {
                let body = "{\"code\":0,\"ms".to_owned();
                self.answer(link, Response { status: 200, headers: Vec::new(), body });
            }
        }
        None
    }
}

/// A JSON answer with the platform's log id.
pub(crate) fn json_answer(status: u16, body: &Value) -> Response {
    let headers = vec![
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("x-tt-logid", "20261120120000simulator".to_owned()),
    ];
    Response { status, headers, body: body.to_string() }
}

/// A refusal of a REST call.
pub(crate) fn refusal(status: u16, code: i64, msg: &str) -> Response {
    json_answer(
        status,
        &json!({ "code": code, "msg": msg, "error": { "log_id": "20261120120000simulator" } }),
    )
}

/// A refusal of the endpoint call, which still has `data` (§1.2).
fn endpoint_refusal(status: u16, code: i64, msg: &str) -> Response {
    let message = json!({ "locale": "zh", "message": msg });
    json_answer(
        status,
        &json!({
            "error": { "id": code, "localizedMessage": message, "ErrX": null },
            "msg": msg,
            "data": { "URL": "" },
            "code": code,
        }),
    )
}

/// What a proxy in front of the platform would say.
fn page(status: u16) -> Response {
    let headers = vec![("content-type", "text/html".to_owned())];
    Response { status, headers, body: format!("<html><body>{status}</body></html>") }
}
