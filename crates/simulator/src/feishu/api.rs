//! The HTTP side: routes, answers in the platform's shapes, the endpoint (§1), tokens (§3.1) and bot info (§3.3).

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{AppId, Ticket, Token};
use super::connection::{TOO_MANY, client_config};
use super::fault::{Answer, ConfigShape, Fault, Lost};
use super::limits::{RefusedAt, rate_limited};
use super::platform::Platform;
use super::resources::ResourceKind;
use crate::link::{Effect, LinkId, Now, Request, Response};

/// No token in the request.
pub(crate) const TOKEN_MISSING: i64 = 99_991_661;
/// The tenant token is invalid or expired.
pub(crate) const TOKEN_INVALID: i64 = 99_991_663;
/// What is there is no token.
pub(crate) const TOKEN_MALFORMED: i64 = 99_991_671;
/// A scope is missing.
const SCOPE_MISSING: i64 = 99_991_672;
/// A field is missing or has the wrong form.
pub(crate) const FIELD_VALIDATION: i64 = 99_992_402;

/// The longest a token lives.
const TOKEN_LIFETIME: Duration = Duration::from_secs(7_200);
/// Below this a new token is minted; above it the same one comes back.
const TOKEN_RENEWAL: Duration = Duration::from_secs(1_800);
/// Addresses handed out and not used that are remembered per app.
const TICKET_LIMIT: usize = 64;

/// The im calls, each of which has rate limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Api {
    Send,
    Reply,
    Patch,
    Edit,
    Recall,
    Read,
    React,
    Unreact,
    Reactions,
    Upload,
    Download,
}

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
            (_, ["open-apis", "im", "v1", rest @ ..]) => self.call_im(link, request, rest, now),
            _ => self.not_found(link),
        }
    }

    /// Routes a call about messages that are there, or about what they carry.
    fn call_im(&mut self, link: LinkId, request: &Request, path: &[&str], now: Now) {
        match (request.method.as_str(), path) {
            ("PATCH", ["messages", target]) => self.patch(link, request, target, now),
            ("PUT", ["messages", target]) => self.edit(link, request, target, now),
            ("DELETE", ["messages", target]) => self.recall(link, request, target, now),
            ("GET", ["messages", target]) => self.read(link, request, target, now),
            ("POST", ["messages", target, "reactions"]) => self.react(link, request, target, now),
            ("GET", ["messages", target, "reactions"]) => self.reactions(link, request, target, now),
            ("DELETE", ["messages", target, "reactions", id]) => {
                self.unreact(link, request, target, id, now);
            }
            ("GET", ["messages", target, "resources", key]) => {
                self.download(link, request, target, key, now);
            }
            ("POST", ["images"]) => self.upload(link, request, ResourceKind::Image, now),
            ("GET", ["images", key]) => self.download_own(link, request, key, now),
            ("POST", ["files"]) => self.upload(link, request, ResourceKind::File, now),
            _ => self.not_found(link),
        }
    }

    fn not_found(&mut self, link: LinkId) {
        let body = "404 page not found".into();
        self.answer(link, Response { status: 404, headers: Vec::new(), body });
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
        let limit = state.connection_limit;
        if limit.refused_at == RefusedAt::Endpoint && state.links.len() >= limit.connections {
            let refusal = endpoint_refusal(200, TOO_MANY, "the number of connections exceeded the limit");
            return self.act_later(link, Effect::Respond(refusal), delay, now);
        }
        let service = state.app.service_id;
        let (ticket, device_id) =
            (self.hex(32), self.rng.u64(7_000_000_000_000_000_000..8_000_000_000_000_000_000));
        let access_key = self.hex(32);
        let url = format!(
            "{}/ws/v2?fpid=493&aid=552564&device_id={device_id}&access_key={access_key}&service_id={service}&ticket={ticket}",
            request.ws_origin
        );
        let Some(state) = self.apps.get_mut(&body.app_id) else { return };
        let expiry = state.faults.take(|fault| match fault {
            Fault::TicketExpiry(span) => Some(*span),
            _ => None,
        });
        let expires_at = expiry.map(|span| now.monotonic + span);
        state.tickets.push_back(Ticket { text: ticket, device_id: device_id.to_string(), expires_at });
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
        let lost = |fault: &Fault| match fault {
            Fault::LoseTokenAnswer(lost) => Some(*lost),
            _ => None,
        };
        let answer = if right { Ok(answer) } else { Err(answer) };
        self.conclude(link, &body.app_id, answer, delay, lost, now);
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
        let status = state.faults.take(|fault| match fault {
            Fault::BotStatus(status) => Some(*status),
            _ => None,
        });
        if let Some(status) = status {
            bot["activate_status"] = json!(status);
        }
        match (open_id, bot.as_object_mut()) {
            (Some(Some(open_id)), Some(bot)) => drop(bot.insert("open_id".to_owned(), json!(open_id))),
            (Some(None), Some(bot)) => drop(bot.remove("open_id")),
            _ => {}
        }
        let answer = json_answer(200, &json!({ "code": 0, "msg": "ok", "bot": bot }));
        let lost = |fault: &Fault| match fault {
            Fault::LoseBotInfoAnswer(lost) => Some(*lost),
            _ => None,
        };
        self.conclude(link, &app, Ok(answer), delay, lost, now);
    }

    /// What every im call goes through first: token, gateway, scopes, fault. The app, and how late it is answered;
    /// `None` when it was answered, or never will be.
    pub(crate) fn admit(
        &mut self,
        link: LinkId,
        request: &Request,
        api: Api,
        now: Now,
    ) -> Option<(AppId, Duration)> {
        let app = match self.authorized(request, now) {
            Ok(app) => app,
            Err(refusal) => {
                self.answer(link, refusal);
                return None;
            }
        };
        let counters = &mut self.apps.get_mut(&app)?.counters;
        match api {
            Api::Send | Api::Reply => counters.sends += 1,
            Api::Patch | Api::Edit | Api::Recall | Api::Read => counters.edits += 1,
            Api::React | Api::Unreact | Api::Reactions => counters.reactions += 1,
            Api::Upload => counters.uploads += 1,
            Api::Download => counters.downloads += 1,
        }
        if let Err(refusal) = self.within_gateway(&app, api, now.monotonic) {
            self.answer(link, refusal);
            return None;
        }
        let scopes = self.take_fault(&app, |fault| match fault {
            Fault::MissingScopes(scopes) => Some(scopes.join(", ")),
            _ => None,
        });
        if let Some(scopes) = scopes {
            let msg = format!("Access denied. One of the following scopes is required: [{scopes}].");
            self.answer(link, refusal(400, SCOPE_MISSING, &msg));
            return None;
        }
        let fault = self.take_fault(&app, |fault| match (api, fault) {
            (Api::Send | Api::Reply, Fault::Send(answer))
            | (Api::Patch | Api::Edit | Api::Recall | Api::Read, Fault::Edit(answer))
            | (Api::React | Api::Unreact | Api::Reactions, Fault::Reaction(answer))
            | (Api::Upload, Fault::Upload(answer))
            | (Api::Download, Fault::Download(answer)) => Some(answer.clone()),
            _ => None,
        });
        self.interfere(link, fault, refusal).map(|delay| (app, delay))
    }

    /// Answers a call that was carried out; a fault `lost` knows loses the answer to one that took effect.
    pub(crate) fn conclude(
        &mut self,
        link: LinkId,
        app: &AppId,
        result: Result<Response, Response>,
        delay: Duration,
        lost: impl Fn(&Fault) -> Option<Lost>,
        now: Now,
    ) {
        let (answer, took_effect) = match result {
            Ok(answer) => (answer, true),
            Err(refusal) => (refusal, false),
        };
        let lost = if took_effect { self.take_fault(app, lost) } else { None };
        match lost {
            None => self.act_later(link, Effect::Respond(answer), delay, now),
            Some(Lost::Reset) => self.act_later(link, Effect::Reset, delay, now),
            Some(Lost::Hang) => {}
        }
    }

    /// The app whose valid token the request carries (§3.2).
    pub(crate) fn authorized(&self, request: &Request, now: Now) -> Result<AppId, Response> {
        let Some(header) = request.header("authorization").filter(|header| !header.is_empty()) else {
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
                self.answer(link, rate_limited(429, 100, reset));
            }
            Some(Answer::Body { status, body }) => {
                let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
                self.answer(link, Response { status, headers, body: body.into() });
            }
            Some(Answer::Redirect(location)) => {
                let headers = vec![("location", location)];
                self.answer(link, Response { status: 302, headers, body: Bytes::new() });
            }
            Some(Answer::Garbage) => {
                let body = "{\"code\":0,\"ms".into();
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
    Response { status, headers, body: body.to_string().into() }
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
    Response { status, headers, body: format!("<html><body>{status}</body></html>").into() }
}
