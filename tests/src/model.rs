//! A chat completions endpoint in memory, at `http://agent.test`, for agents of kind `openai`.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What is put into a configuration to ask it.
pub const AGENT: &str =
    "[agents.default]\nkind = \"openai\"\nbase_url = \"http://agent.test/v1\"\nmodel = \"m\"\n";

/// What the endpoint does with a call.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Says this.
    Say(&'static str),
    /// Says what it was told, after this long.
    Echo(Duration),
    /// Answers with this status, and with this `Retry-After`, in seconds.
    Status(u16, Option<u64>),
    /// Nobody is there.
    Refuse,
    /// Takes the call and says nothing.
    Hang,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// The messages array.
    pub messages: Vec<Value>,
}

type Rule = Arc<dyn Fn(&str) -> Behaviour + Send + Sync>;

/// The endpoint; clones are the same one.
#[derive(Clone)]
pub struct Model(Arc<Mutex<State>>);

struct State {
    rule: Rule,
    asked: Vec<Asked>,
}

impl Default for Model {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            rule: Arc::new(|_| Behaviour::Echo(Duration::ZERO)),
            asked: Vec::new(),
        })))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model asked {} times", self.asked().len())
    }
}

impl Model {
    /// From now on it does this, whatever it is told.
    pub fn set(&self, behaviour: Behaviour) {
        self.judge(move |_| behaviour.clone());
    }

    /// From now on it does this, by the text of the last message.
    pub fn judge(&self, rule: impl Fn(&str) -> Behaviour + Send + Sync + 'static) {
        self.0.lock().rule = Arc::new(rule);
    }

    /// Every call so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().asked.clone()
    }

    /// A network in which it is there beside everybody else.
    #[must_use]
    pub fn beside(&self, http: Rc<dyn Http>) -> Rc<dyn Http> {
        Rc::new(Beside { model: self.clone(), http })
    }

    fn take(&self, request: &HttpRequest) -> (Behaviour, String) {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let messages = body["messages"].as_array().cloned().unwrap();
        let said = messages.last().and_then(|last| last["content"].as_str()).unwrap().to_owned();
        let mut state = self.0.lock();
        state.asked.push(Asked { at: Instant::now(), messages });
        ((state.rule)(&said), said)
    }
}

struct Beside {
    model: Model,
    http: Rc<dyn Http>,
}

impl Http for Beside {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        if request.url.host_str() != Some("agent.test") {
            return self.http.call(request);
        }
        assert_eq!(request.url.path(), "/v1/chat/completions");
        let (behaviour, said) = self.model.take(&request);
        let answering = async move {
            match behaviour {
                Behaviour::Say(text) => Ok(completion(text)),
                Behaviour::Echo(delay) => {
                    tokio::time::sleep(delay).await;
                    Ok(completion(&said))
                }
                Behaviour::Status(status, retry_after) => Ok(refusal(status, retry_after)),
                Behaviour::Refuse => {
                    Err(NetworkError::new(NetworkErrorKind::Connect, "agent.test: connection refused"))
                }
                Behaviour::Hang => std::future::pending().await,
            }
        };
        let late = || Err(NetworkError::new(NetworkErrorKind::Timeout, "agent.test: no answer"));
        tokio::time::timeout(request.deadline, answering)
            .map(move |answer| answer.unwrap_or_else(|_| late()))
            .boxed_local()
    }
}

fn completion(text: &str) -> HttpResponse {
    let body = json!({ "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }] });
    response(200, body.to_string())
}

fn refusal(status: u16, retry_after: Option<u64>) -> HttpResponse {
    let mut response = response(status, json!({ "error": { "message": "no" } }).to_string());
    if let Some(seconds) = retry_after {
        response.headers.insert("retry-after", seconds.into());
    }
    response
}

fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse { status: status.try_into().unwrap(), headers: Default::default(), body: body.into() }
}
