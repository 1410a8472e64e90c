//! The HTTP side: routes, what every call has in common, and answers in the platform's shape.

use std::time::Duration;

use bytes::Bytes;
use moorline_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bot::BotId;
use super::fault::{Answer, CodeField, Fault};
use super::ledger::{Breach, CallOutcome, CallRecord, Violation};
use super::platform::Platform;
use super::polling::Handed;
use crate::link::{Break, BreakHow, Effect, LinkId, Now, Request, Response};

/// What a client can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `get_bot_qrcode` (§2.1).
    GetQrcode,
    /// `get_qrcode_status` (§2.2).
    QrcodeStatus,
    /// `msg/notifystart` (§3).
    NotifyStart,
    /// `msg/notifystop` (§3).
    NotifyStop,
    /// `getupdates` (§4).
    GetUpdates,
    /// `sendmessage` (§5).
    SendMessage,
    /// `getconfig` (§6).
    GetConfig,
    /// `sendtyping` (§6).
    SendTyping,
    /// `getuploadurl` (§7.1).
    GetUploadUrl,
    /// The upload of a ciphertext (§7.1).
    Upload,
    /// The download of a ciphertext (§7.2).
    Download,
    /// Any other path.
    Other,
}

/// A call that has not been answered to its last byte.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) bot: Option<BotId>,
    pub(crate) endpoint: Endpoint,
    /// Its number in the ledger.
    number: u64,
    /// What its proper answer suffers.
    spoilt: Option<Answer>,
    /// The messages in its answer.
    pub(crate) handed: Vec<Handed>,
}

impl Endpoint {
    /// The one behind a path; a base URL may have a path of its own in front.
    fn of(method: &str, path: &str) -> Self {
        let api = path.split_once("/ilink/bot/").map(|(_, rest)| rest);
        match (method, api) {
            ("POST", Some("get_bot_qrcode")) => Self::GetQrcode,
            ("GET", Some("get_qrcode_status")) => Self::QrcodeStatus,
            ("POST", Some("msg/notifystart")) => Self::NotifyStart,
            ("POST", Some("msg/notifystop")) => Self::NotifyStop,
            ("POST", Some("getupdates")) => Self::GetUpdates,
            ("POST", Some("sendmessage")) => Self::SendMessage,
            ("POST", Some("getconfig")) => Self::GetConfig,
            ("POST", Some("sendtyping")) => Self::SendTyping,
            ("POST", Some("getuploadurl")) => Self::GetUploadUrl,
            ("POST", None) if path.ends_with("/upload") => Self::Upload,
            ("GET", None) if path.ends_with("/download") => Self::Download,
            _ => Self::Other,
        }
    }
}

impl Platform {
    /// Takes a call: what all have in common comes first, in the order in which a gateway looks at it.
    pub(crate) fn call(&mut self, link: LinkId, request: &Request, now: Now) {
        let endpoint = Endpoint::of(&request.method, &request.path);
        let bot = self.caller(endpoint, request);
        self.begin(link, endpoint, bot.clone(), now);
        if endpoint == Endpoint::Other {
            self.breach(link, Breach::Path, now);
            return self.not_found(link);
        }
        let fault = self.take_fault(bot.as_ref(), |fault| match fault {
            Fault::Answer(at, answer) if *at == endpoint => Some(answer.clone()),
            _ => None,
        });
        match fault {
            Some(answer) if !answer.needs_the_proper_one() => {
                self.ended(link, CallOutcome::Faulted, now.wall);
                return self.spoil(link, answer, good_enough(), now);
            }
            spoilt => self.set_spoilt(link, spoilt),
        }
        match endpoint {
            Endpoint::GetQrcode => self.get_qrcode(link, request, now),
            Endpoint::QrcodeStatus => self.qrcode_status(link, request, now),
            Endpoint::Upload => self.upload(link, request, now),
            Endpoint::Download => self.download(link, request, now),
            _ => match self.admit(link, endpoint, request, now) {
                Ok((bot, body)) => self.call_of_bot(link, endpoint, &bot, &body, now),
                Err(refusal) => self.answer(link, refusal, now),
            },
        }
    }

    fn call_of_bot(&mut self, link: LinkId, endpoint: Endpoint, bot: &BotId, body: &Value, now: Now) {
        let independent =
            [Endpoint::NotifyStart, Endpoint::NotifyStop, Endpoint::GetUpdates, Endpoint::SendMessage];
        if !independent.contains(&endpoint)
            && let Some(stale) = self.refused_session(bot)
        {
            return self.answer(link, stale, now);
        }
        match endpoint {
            Endpoint::NotifyStart => self.notifystart(link, bot, now),
            Endpoint::NotifyStop => self.notifystop(link, bot, now),
            Endpoint::GetUpdates => self.poll(link, bot, body, now),
            Endpoint::SendMessage => self.send(link, bot, body, now),
            Endpoint::GetConfig => self.getconfig(link, bot, body, now),
            Endpoint::SendTyping => self.sendtyping(link, bot, body, now),
            Endpoint::GetUploadUrl => self.getuploadurl(link, bot, body, now),
            _ => self.not_found(link),
        }
    }

    /// Enters a call into the ledger and the counters.
    fn begin(&mut self, link: LinkId, endpoint: Endpoint, bot: Option<BotId>, now: Now) {
        if let Some(state) = bot.as_ref().and_then(|bot| self.bots.get_mut(bot)) {
            *state.counters.calls.entry(endpoint).or_default() += 1;
        }
        let record = CallRecord {
            bot: bot.clone(),
            endpoint,
            at: now.wall,
            ended_at: None,
            outcome: CallOutcome::Open,
        };
        self.ledger.calls.push_back(record);
        self.trim();
        let number = self.last_call;
        self.last_call += 1;
        self.open.insert(link, OpenCall { bot, endpoint, number, spoilt: None, handed: Vec::new() });
    }

    fn set_spoilt(&mut self, link: LinkId, spoilt: Option<Answer>) {
        if let Some(call) = self.open.get_mut(&link) {
            call.spoilt = spoilt;
        }
    }

    /// Writes down how a call ended.
    fn ended(&mut self, link: LinkId, outcome: CallOutcome, at: Timestamp) {
        let Some(number) = self.open.get(&link).map(|call| call.number) else { return };
        if let Some(record) =
            self.ledger.call_mut(number).filter(|record| record.outcome == CallOutcome::Open)
        {
            record.outcome = outcome;
            record.ended_at = Some(at);
        }
    }

    /// The answer went out to its last byte.
    pub(crate) fn delivered(&mut self, link: LinkId, now: Now) {
        if let Some(call) = self.open.remove(&link) {
            self.handed_over(&call.handed, now);
        }
    }

    /// The link is over. What was in an answer that did not get out is lost.
    pub(crate) fn gone(&mut self, link: LinkId, now: Now) {
        self.ended(link, CallOutcome::Gone, now.wall);
        if let Some(call) = self.open.remove(&link) {
            match &call.bot {
                Some(bot) => self.forget_poll(bot, link),
                None => self.forget_status(link),
            }
            self.lost(&call.handed);
        }
    }

    /// Writes down what a client did wrong.
    pub(crate) fn breach(&mut self, link: LinkId, breach: Breach, now: Now) {
        let Some(call) = self.open.get(&link) else { return };
        let (bot, endpoint) = (call.bot.clone(), call.endpoint);
        if let Some(state) = bot.as_ref().and_then(|bot| self.bots.get_mut(bot)) {
            state.counters.violations += 1;
        }
        self.ledger.violations.push_back(Violation { bot, endpoint, breach, at: now.wall });
    }

    /// Uses up the first fault of this bot, or of the calls without one, that `pick` knows.
    pub(crate) fn take_fault<T>(
        &mut self,
        bot: Option<&BotId>,
        pick: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        match bot {
            Some(bot) => self.bots.get_mut(bot)?.faults.take(pick),
            None => self.faults.take(pick),
        }
    }

    /// Answers in the platform's shape.
    pub(crate) fn answer(&mut self, link: LinkId, value: Value, now: Now) {
        self.respond(link, json_answer(&value), code_of(&value), now);
    }

    /// Answers with a call that has taken effect: its answer may be lost.
    pub(crate) fn answer_effect(&mut self, link: LinkId, value: Value, now: Now) {
        self.respond_effect(link, json_answer(&value), now);
    }

    /// The same with any response.
    pub(crate) fn respond_effect(&mut self, link: LinkId, response: Response, now: Now) {
        let Some((bot, endpoint)) = self.open.get(&link).map(|call| (call.bot.clone(), call.endpoint)) else {
            return;
        };
        let lost = self.take_fault(bot.as_ref(), |fault| match fault {
            Fault::LoseAnswer(at, answer) if *at == endpoint => Some(answer.clone()),
            _ => None,
        });
        match lost {
            Some(answer) => {
                let outcome = match answer {
                    Answer::Delay(_) | Answer::Oversized(_) => CallOutcome::Answered(0),
                    _ => CallOutcome::Faulted,
                };
                self.ended(link, outcome, now.wall);
                self.spoil(link, answer, response, now);
            }
            None => self.respond(link, response, 0, now),
        }
    }

    /// Answers, as well as the call's fault lets it.
    pub(crate) fn respond(&mut self, link: LinkId, response: Response, code: i64, now: Now) {
        self.ended(link, CallOutcome::Answered(code), now.wall);
        match self.open.get_mut(&link).and_then(|call| call.spoilt.take()) {
            Some(answer) => self.spoil(link, answer, response, now),
            None => self.act(link, Effect::Respond(response)),
        }
    }

    /// Answers with something else than this response, or with it spoilt.
    fn spoil(&mut self, link: LinkId, answer: Answer, proper: Response, now: Now) {
        let cut = |after: usize, how| (Break { after, how }, Duration::ZERO);
        let half = proper.body.len() / 2;
        let (effect, delay) = match answer {
            Answer::Hang => return,
            Answer::Fin => (Effect::Fin, Duration::ZERO),
            Answer::Reset => (Effect::Reset, Duration::ZERO),
            Answer::StallHeaders => broken(proper, cut(0, BreakHow::Stall)),
            Answer::StallBody => broken(proper, cut(half, BreakHow::Stall)),
            Answer::CutBody => broken(proper, cut(half, BreakHow::Fin)),
            Answer::Status(status) => (Effect::Respond(page(status)), Duration::ZERO),
            Answer::Garbage => {
                (Effect::Respond(text_answer(200, "{\"ret\": 0, oops".to_owned())), Duration::ZERO)
            }
            Answer::Empty => (Effect::Respond(text_answer(200, String::new())), Duration::ZERO),
            Answer::Body { status, body } => (Effect::Respond(text_answer(status, body)), Duration::ZERO),
            Answer::Code { code, field, errmsg } => {
                (Effect::Respond(json_answer(&refusal_in(code, field, &errmsg))), Duration::ZERO)
            }
            Answer::Delay(delay) => (Effect::Respond(proper), delay),
            Answer::Oversized(size) => (Effect::Respond(blown_up(proper, size)), Duration::ZERO),
        };
        // An answer that says nothing of the messages has not brought them, however whole it is.
        if let Effect::Respond(response) = &effect
            && let Some(call) = self.open.get_mut(&link)
            && !call.handed.is_empty()
            && !response.body.windows(7).any(|part| part == b"\"msgs\":")
        {
            let handed = std::mem::take(&mut call.handed);
            self.lost(&handed);
        }
        self.act_later(link, effect, delay, now);
    }

    pub(crate) fn not_found(&mut self, link: LinkId) {
        self.act(link, Effect::Respond(text_answer(404, "404 page not found".to_owned())));
    }
}

fn broken(proper: Response, (at, delay): (Break, Duration)) -> (Effect, Duration) {
    (Effect::Break(proper, at), delay)
}

/// A refusal with this code in `ret`.
pub(crate) fn refusal(code: i64, errmsg: &str) -> Value {
    refusal_in(code, CodeField::Ret, errmsg)
}

/// A refusal with its code in this field.
pub(crate) fn refusal_in(code: i64, field: CodeField, errmsg: &str) -> Value {
    let mut value = match field {
        CodeField::Errcode => json!({ "errcode": code }),
        CodeField::Ret => json!({ "ret": code }),
        CodeField::Both => json!({ "ret": code, "errcode": code }),
    };
    if !errmsg.is_empty() {
        value["errmsg"] = errmsg.into();
    }
    value
}

/// The code in an answer; 0 for success.
fn code_of(value: &Value) -> i64 {
    let code = |key: &str| value.get(key).and_then(Value::as_i64).filter(|code| *code != 0);
    code("ret").or_else(|| code("errcode")).unwrap_or_default()
}

fn json_answer(value: &Value) -> Response {
    Response {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: value.to_string().into(),
    }
}

pub(crate) fn text_answer(status: u16, body: String) -> Response {
    Response { status, headers: vec![("content-type", "text/plain".to_owned())], body: body.into() }
}

/// What a proxy answers; the CDN has its reason in a header (§7.1).
fn page(status: u16) -> Response {
    let body = format!("<html><head><title>{status}</title></head><body>{status}</body></html>");
    let headers = vec![("content-type", "text/html".to_owned()), ("x-error-message", "refused".to_owned())];
    Response { status, headers, body: body.into() }
}

/// What stands in for the proper answer of a call that had no effect.
fn good_enough() -> Response {
    json_answer(&json!({ "ret": 0, "errmsg": "" }))
}

/// The same answer with spaces at its end, up to this size.
fn blown_up(mut response: Response, size: usize) -> Response {
    let mut body = response.body.to_vec();
    body.resize(size.max(body.len()), b' ');
    response.body = Bytes::from(body);
    response
}
