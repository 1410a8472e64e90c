//! What the tests of this crate share: the hex dumps of the protocol page, an app, and an HTTP of canned answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use moorline_channel::{
    Answering, Http, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind, Outgoing,
};
use moorline_core::{ChatId, IdempotencyKey, MessageId, Outbound, Secret};
use serde_json::Value;

use crate::app::{App, Base};

/// Protocol §2.1, 25 bytes.
pub(crate) const PING: &str = "
08 00 10 00 18 f6 81 80 10 20 00 2a 0c 0a 04 74
79 70 65 12 04 70 69 6e 67";

/// Protocol §2.2, 109 bytes.
pub(crate) const PONG: &str = "
08 00 10 00 18 f6 81 80 10 20 00 2a 0c 0a 04 74
79 70 65 12 04 70 6f 6e 67 42 52 7b 22 52 65 63
6f 6e 6e 65 63 74 43 6f 75 6e 74 22 3a 2d 31 2c
22 52 65 63 6f 6e 6e 65 63 74 49 6e 74 65 72 76
61 6c 22 3a 39 30 2c 22 52 65 63 6f 6e 6e 65 63
74 4e 6f 6e 63 65 22 3a 32 35 2c 22 50 69 6e 67
49 6e 74 65 72 76 61 6c 22 3a 39 30 7d";

/// Protocol §2.3, 118 bytes.
pub(crate) const DATA: &str = "
08 01 10 81 80 e8 e2 aa ea b3 a7 65 18 f6 81 80
10 20 01 2a 0d 0a 04 74 79 70 65 12 05 65 76 65
6e 74 2a 11 0a 0a 6d 65 73 73 61 67 65 5f 69 64
12 03 6d 2d 31 2a 08 0a 03 73 75 6d 12 01 31 2a
08 0a 03 73 65 71 12 01 30 2a 0f 0a 08 74 72 61
63 65 5f 69 64 12 03 74 2d 31 42 10 7b 22 73 63
68 65 6d 61 22 3a 22 32 2e 30 22 7d 4a 08 32 30
32 34 30 31 30 31";

/// Protocol §2.4, 160 bytes: the acknowledgement of [`DATA`] after 12 ms.
pub(crate) const ACK: &str = "
08 01 10 81 80 e8 e2 aa ea b3 a7 65 18 f6 81 80
10 20 01 2a 0d 0a 04 74 79 70 65 12 05 65 76 65
6e 74 2a 11 0a 0a 6d 65 73 73 61 67 65 5f 69 64
12 03 6d 2d 31 2a 08 0a 03 73 75 6d 12 01 31 2a
08 0a 03 73 65 71 12 01 30 2a 0f 0a 08 74 72 61
63 65 5f 69 64 12 03 74 2d 31 2a 0c 0a 06 62 69
7a 5f 72 74 12 02 31 32 42 2c 7b 22 63 6f 64 65
22 3a 20 32 30 30 2c 20 22 68 65 61 64 65 72 73
22 3a 20 6e 75 6c 6c 2c 20 22 64 61 74 61 22 3a
20 6e 75 6c 6c 7d 4a 08 32 30 32 34 30 31 30 31";

/// A canary: no message of ours may ever contain it (F-090).
pub(crate) const SECRET: &str = "canary-app-secret";

/// A canary.
pub(crate) const TOKEN: &str = "t-canary-token";

pub(crate) const APP_ID: &str = "cli_a1b2c3d4e5f60718";

/// The bytes of a dump.
pub(crate) fn bytes(dump: &str) -> Bytes {
    dump.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// An app on this base.
pub(crate) fn app(base: &str) -> Arc<App> {
    let base = Base::parse(base).unwrap();
    Arc::new(App {
        id: APP_ID.to_owned(),
        secret: Secret::new(SECRET),
        base,
        rhythm: crate::app::Rhythm::default(),
    })
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
pub(crate) fn json(status: u16, body: Value) -> HttpResponse {
    answer(status, body.to_string())
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
    NetworkError::new(kind, "open.feishu.cn, reading the answer")
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

    /// A header of call `n`.
    pub(crate) fn header(&self, n: usize, name: &str) -> Option<String> {
        Some(self.calls.borrow()[n].headers.get(name)?.to_str().unwrap().to_owned())
    }
}

impl Http for FakeHttp {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        self.calls.borrow_mut().push(request);
        let answer = self.answers.borrow_mut().pop_front().expect("a call nobody expected");
        Box::pin(async move { answer })
    }
}

/// The outcome of a future that never has to wait.
pub(crate) fn now<T>(future: LocalBoxFuture<'static, T>) -> T {
    future.now_or_never().expect("the fake answers at once")
}

/// A message as the runtime hands it over.
pub(crate) fn outgoing<'a>(outbound: &'a Outbound, key: &'a IdempotencyKey) -> Outgoing<'a> {
    Outgoing { outbound, key, reply_token: None }
}

/// What is being answered, as the runtime says it.
pub(crate) fn answering(message: &MessageId) -> Answering<'_> {
    static CHAT: std::sync::LazyLock<ChatId> = std::sync::LazyLock::new(|| ChatId::new("oc_1"));
    Answering { chat: &CHAT, message, reply_token: None }
}
