//! What the tests of this crate share: a site, a bot, and an HTTP of canned answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind, SavedLogin};
use serde_json::Value;

use crate::bot::{Bot, save};
use crate::site::{Base, Site};

/// A canary: no message of ours may ever contain it (F-090).
pub(crate) const TOKEN: &str = "canary-bot-token";

/// Another.
pub(crate) const CONTEXT: &str = "canary-context-token";

pub(crate) const BOT: &str = "b0f5860fdecb@im.bot";

pub(crate) const USER: &str = "o9cq80alice@im.wechat";

pub(crate) fn site() -> Site {
    Site {
        base: Base::parse("https://ilink.test").unwrap(),
        cdn: Base::parse("https://cdn.test/c2c").unwrap(),
        route_tag: None,
        liveness: None,
    }
}

pub(crate) fn saved() -> SavedLogin {
    save(TOKEN, &site().base, BOT, Some(USER))
}

pub(crate) fn bot() -> Bot {
    Bot::read(&site(), &saved()).unwrap()
}

/// An answer.
pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

/// An answer in JSON.
pub(crate) fn json(body: &Value) -> HttpResponse {
    answer(200, body.to_string())
}

/// The same answer with one more header.
pub(crate) fn with_header(mut response: HttpResponse, name: &'static str, value: &str) -> HttpResponse {
    response
        .headers
        .insert(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    response
}

/// A network error whose text is what `transport` would say.
pub(crate) fn lost(kind: NetworkErrorKind) -> NetworkError {
    NetworkError::new(kind, "ilink.test, reading the answer")
}

/// Gives the canned answers, in order, at once; keeps what it was asked.
pub(crate) struct FakeHttp {
    answers: RefCell<VecDeque<Result<HttpResponse, NetworkError>>>,
    calls: RefCell<Vec<HttpRequest>>,
}

impl FakeHttp {
    pub(crate) fn new(answers: impl IntoIterator<Item = Result<HttpResponse, NetworkError>>) -> Rc<Self> {
        Rc::new(Self {
            answers: RefCell::new(answers.into_iter().collect()),
            calls: RefCell::new(Vec::new()),
        })
    }

    /// What was called, as `METHOD url`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.borrow().iter().map(|call| format!("{} {}", call.method, call.url)).collect()
    }

    /// Call `n`.
    pub(crate) fn request(&self, n: usize) -> HttpRequest {
        self.calls.borrow()[n].clone()
    }

    /// The body of call `n`.
    pub(crate) fn body(&self, n: usize) -> Value {
        serde_json::from_slice(&self.calls.borrow()[n].body).unwrap()
    }
}

impl Http for FakeHttp {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        self.calls.borrow_mut().push(request);
        let answer = self.answers.borrow_mut().pop_front().expect("a call nobody expected");
        Box::pin(async move { answer })
    }
}

/// A header of a request.
pub(crate) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

/// The outcome of a future that never has to wait.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the fake answers at once")
}
