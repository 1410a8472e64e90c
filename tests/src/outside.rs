//! What is outside of the process beside the platform: the machine under it, its disk, and a webhook at
//! `http://hooks.test` that takes alerts. Answers carry the true date, whatever the process's own clock says.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError};
use moorline_core::Timestamp;
use moorline_runtime::{Machine, MachineFacts};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

/// A configuration whose alerts go to the webhook here.
pub const ALERTS: &str = "[alerts]\nwebhook = \"http://hooks.test/services/token-of-the-webhook\"\n";

/// Both; clones are the same ones.
#[derive(Clone, Default)]
pub struct Outside(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    machine: MachineFacts,
    /// What the webhook answers, if not 200.
    status: Option<u16>,
    posted: Vec<(Instant, Value)>,
    refused: usize,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outside, posted {}", self.0.lock().posted.len())
    }
}

impl Outside {
    /// Changes the machine.
    pub fn machine(&self, change: impl FnOnce(&mut MachineFacts)) {
        change(&mut self.0.lock().machine);
    }

    /// From now on the webhook answers with this status; with `None` it takes what is posted.
    pub fn webhook(&self, status: Option<u16>) {
        self.0.lock().status = status;
    }

    /// Every alert that was taken, and when.
    #[must_use]
    pub fn posted(&self) -> Vec<(Instant, Value)> {
        self.0.lock().posted.clone()
    }

    /// How many were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.0.lock().refused
    }

    /// A network in which the webhook is there beside everybody else; `date` tells the true time.
    #[must_use]
    pub fn beside(&self, http: Rc<dyn Http>, date: Rc<dyn Fn() -> Timestamp>) -> Rc<dyn Http> {
        Rc::new(Beside { outside: self.clone(), http, date })
    }
}

impl Machine for Outside {
    fn look(&self) -> MachineFacts {
        self.0.lock().machine.clone()
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct Beside {
    outside: Outside,
    http: Rc<dyn Http>,
    date: Rc<dyn Fn() -> Timestamp>,
}

impl Http for Beside {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        if request.url.host_str() == Some("hooks.test") {
            let mut state = self.outside.0.lock();
            let status = state.status.unwrap_or(200);
            if state.status.is_some() {
                state.refused += 1;
            } else {
                let body = serde_json::from_slice(&request.body).unwrap();
                state.posted.push((Instant::now(), body));
            }
            let answer = HttpResponse {
                status: status.try_into().unwrap(),
                headers: Default::default(),
                body: "ok".into(),
            };
            return async { Ok(answer) }.boxed_local();
        }
        let date = Rc::clone(&self.date);
        let answering = self.http.call(request);
        async move {
            let mut answer = answering.await?;
            let now = jiff::Timestamp::from_millisecond(date().as_millis()).unwrap();
            let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers.insert("date", text.parse().unwrap());
            Ok(answer)
        }
        .boxed_local()
    }
}
