//! The driver against a scripted machine, in virtual time.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future;
use http::{HeaderMap, Method, StatusCode};
use moorline_core::{FailureClass, Monotonic, Timestamp, UserId};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;
use url::Url;

use super::*;
use crate::connector::RequestId;
use crate::login::SavedLogin;
use crate::network::{HttpRequest, HttpResponse, NetworkError, NetworkErrorKind};

struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// Asks for a code, shows it, asks whether it was scanned once a second, wants a number, and is done with `7`.
struct Script {
    log: Rc<RefCell<Vec<String>>>,
    wake_at: Option<Monotonic>,
}

const QR: RequestId = RequestId(1);
const POLL: RequestId = RequestId(2);

fn request(path: &str) -> HttpRequest {
    HttpRequest::new(Method::GET, Url::parse(&format!("http://peer/{path}")).unwrap())
}

fn ask(id: RequestId, path: &str) -> Vec<LoginEffect> {
    vec![LoginEffect::Request { id, request: request(path) }]
}

impl Login for Script {
    fn step(&mut self, event: LoginEvent, now: Monotonic) -> Vec<LoginEffect> {
        let name: String = format!("{event:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
        self.log.borrow_mut().push(format!("{name} {}", now.since_origin().as_millis()));
        self.wake_at = None;
        let show = |step| vec![LoginEffect::Show(step)];
        match event {
            LoginEvent::Start => ask(QR, "qr"),
            LoginEvent::Response { id: QR, result: Ok(_) } => {
                self.wake_at = Some(now + Duration::from_secs(1));
                let (code, lasts) = (Secret::new("https://scan.me/1"), Duration::from_secs(300));
                show(LoginStep::Scan { code, lasts, number: 1 })
            }
            LoginEvent::Response { id: POLL, result: Ok(_) } => show(LoginStep::Code { wrong: false }),
            LoginEvent::Response { result: Err(error), .. } => {
                vec![LoginEffect::Finish(Err(Failure::transient(error.to_string())))]
            }
            LoginEvent::Response { .. } => Vec::new(),
            LoginEvent::Wake => ask(POLL, "poll"),
            LoginEvent::Typed(text) if text.expose() == "7" => {
                let login = Some(SavedLogin(Secret::new("{}")));
                vec![LoginEffect::Finish(Ok(LoggedIn { login, person: Some(UserId::new("alice")) }))]
            }
            LoginEvent::Typed(_) => show(LoginStep::Code { wrong: true }),
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        self.wake_at
    }
}

/// Answers each path after its own time; `None` is a call that is never answered.
struct Peer {
    takes: fn(&str) -> Option<Duration>,
    refuses: bool,
    /// Calls that are under way.
    open: Rc<Cell<i32>>,
}

struct Call(Rc<Cell<i32>>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Http for Peer {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let (takes, refuses) = ((self.takes)(request.url.path()), self.refuses);
        self.open.set(self.open.get() + 1);
        let call = Call(Rc::clone(&self.open));
        Box::pin(async move {
            match takes {
                Some(takes) => tokio::time::sleep(takes).await,
                None => future::pending().await,
            }
            drop(call);
            if refuses {
                return Err(NetworkError::new(NetworkErrorKind::Connect, "peer"));
            }
            Ok(HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() })
        })
    }
}

struct Running {
    outcome: JoinHandle<Result<LoggedIn, Failure>>,
    typed: mpsc::Sender<Secret>,
    steps: mpsc::Receiver<LoginStep>,
    log: Rc<RefCell<Vec<String>>>,
    open: Rc<Cell<i32>>,
}

fn begin(takes: fn(&str) -> Option<Duration>, refuses: bool) -> Running {
    let (log, open) = (Rc::default(), Rc::new(Cell::new(0)));
    let machine = Script { log: Rc::clone(&log), wake_at: None };
    let peer = Peer { takes, refuses, open: Rc::clone(&open) };
    let (typed, typed_rx) = mpsc::channel(1);
    let (steps_tx, steps) = mpsc::channel(1);
    let clock = Arc::new(TokioClock(Instant::now()));
    let outcome = spawn_local(drive_login(Box::new(machine), Rc::new(peer), clock, typed_rx, steps_tx));
    Running { outcome, typed, steps, log, open }
}

fn in_a_second(_: &str) -> Option<Duration> {
    Some(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn what_the_machine_wants_is_done_in_order_and_in_time() {
    LocalSet::new()
        .run_until(async {
            let mut login = begin(in_a_second, false);
            let scan = login.steps.recv().await.unwrap();
            assert!(matches!(&scan, LoginStep::Scan { number: 1, .. }), "{scan:?}");
            assert_eq!(login.steps.recv().await, Some(LoginStep::Code { wrong: false }));
            login.typed.send(Secret::new("6")).await.unwrap();
            assert_eq!(login.steps.recv().await, Some(LoginStep::Code { wrong: true }));
            login.typed.send(Secret::new("7")).await.unwrap();
            let logged_in = login.outcome.await.unwrap().unwrap();
            assert_eq!(logged_in.person, Some(UserId::new("alice")));
            let expected =
                ["Start 0", "Response 1000", "Wake 2000", "Response 3000", "Typed 3000", "Typed 3000"];
            assert_eq!(*login.log.borrow(), expected);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_person_who_has_gone_keeps_nothing_from_going_on() {
    LocalSet::new()
        .run_until(async {
            let login = begin(in_a_second, false);
            drop((login.typed, login.steps));
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(!login.outcome.is_finished());
            assert_eq!(login.log.borrow().last().map(String::as_str), Some("Response 3000"));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_machine_ends_with_is_the_outcome() {
    LocalSet::new()
        .run_until(async {
            let login = begin(in_a_second, true);
            let failure = login.outcome.await.unwrap().unwrap_err();
            assert_eq!(failure.class, FailureClass::Transient);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_login_ends_its_calls() {
    LocalSet::new()
        .run_until(async {
            let login = begin(|_| None, false);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(login.open.get(), 1);
            login.outcome.abort();
            assert!(login.outcome.await.unwrap_err().is_cancelled());
            assert_eq!(login.open.get(), 0, "no call may outlive its login");
        })
        .await;
}
