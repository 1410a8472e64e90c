//! A platform whose bots a person logs in with a phone: as small as it can be, for what the runtime does with logins
//! whatever the channel is. Everything it is asked is answered by a test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, ready};
use moorline_channel::{
    BoxSocket, Capabilities, Connector, Credentials, Effect, Event, Factory, HandshakeError, Http,
    HttpRequest, HttpResponse, IdentityProbe, LoggedIn, Login, LoginEffect, LoginEvent, LoginStep, Network,
    NetworkError, NetworkErrorKind, Outgoing, Output, Plan, Redelivery, RequestId, SavedLogin, Sender, Start,
    WebSocket, WebSocketRequest,
};
use moorline_config::{AGENT_KINDS, Config, Source, load};
use moorline_core::{
    AccountId, AccountSettings, Failure, FailureClass, Field, FieldKind, Finding, Fingerprint, Identity,
    MessageId, Monotonic, Receipt, Schema, Secret, TextLimit, TextUnit, UserId,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use url::Url;

/// How long the platform keeps a poll waiting.
const HELD: Duration = Duration::from_secs(10);

static SCHEMA: Schema = Schema {
    channel: "chat",
    fields: &[Field {
        key: "base_url",
        kind: FieldKind::Url,
        required: false,
        default: Some("http://chat.test"),
        doc: "Where the platform is.",
    }],
};

static CAPABILITIES: Capabilities = Capabilities {
    redelivery: Redelivery::None,
    idempotency: None,
    text_limit: TextLimit { max: 1_000, unit: TextUnit::Bytes },
    chat_rate: 1,
    reply_window: false,
};

/// The platform.
#[derive(Debug, Clone, Default)]
pub struct Phones(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What comes of the QR code, in order: `scanned`, `code`, `wrong`, `expired`, `bound`, `refused`, or
    /// `in <token> <person>`.
    answers: VecDeque<String>,
    typed: Vec<String>,
    /// Tokens that are good.
    live: BTreeSet<String>,
    codes: u32,
    /// How many logins the platform was told of, at each login.
    held: Vec<usize>,
    polls: BTreeMap<String, u32>,
}

impl Phones {
    /// The next thing that a person does with a phone.
    pub fn then(&self, answer: &str) {
        let mut state = self.0.lock();
        if let Some(token) = answer.strip_prefix("in ").and_then(|rest| rest.split(' ').next()) {
            state.live.insert(token.to_owned());
        }
        state.answers.push_back(answer.to_owned());
    }

    /// Makes a token good for nothing.
    pub fn revoke(&self, token: &str) {
        self.0.lock().live.remove(token);
    }

    /// Makes a token good.
    pub fn issue(&self, token: &str) {
        self.0.lock().live.insert(token.to_owned());
    }

    /// What people have typed.
    #[must_use]
    pub fn typed(&self) -> Vec<String> {
        self.0.lock().typed.clone()
    }

    /// How many saved logins each login so far was begun with.
    #[must_use]
    pub fn held(&self) -> Vec<usize> {
        self.0.lock().held.clone()
    }

    /// How often this token was used to poll.
    #[must_use]
    pub fn polls(&self, token: &str) -> u32 {
        self.0.lock().polls.get(token).copied().unwrap_or(0)
    }

    /// The network on which it can be reached.
    #[must_use]
    pub fn network(&self) -> Network {
        Network { http: Rc::new(self.clone()), websocket: Rc::new(NoSockets) }
    }

    /// The configuration of accounts with these names, and their plans.
    ///
    /// # Panics
    /// When a name cannot be one.
    #[must_use]
    pub fn configure(&self, names: &[&str]) -> (Config, BTreeMap<AccountId, Arc<dyn Plan>>) {
        self.configure_at("http://chat.test", names)
    }

    /// The same, with the platform somewhere else.
    ///
    /// # Panics
    /// When a name or the address cannot be one.
    #[must_use]
    pub fn configure_at(
        &self,
        base_url: &str,
        names: &[&str],
    ) -> (Config, BTreeMap<AccountId, Arc<dyn Plan>>) {
        let mut text = format!(
            "data_dir = \"unused\"\n[agents.default]\nkind = \"echo\"\n[channels.chat]\nbase_url = \"{base_url}\"\n"
        );
        for name in names {
            let _ = writeln!(text, "[channels.chat.accounts.{name}]");
        }
        let source = Source { path: "phones.toml".into(), text };
        let config = load(&source, &BTreeMap::new(), &[&SCHEMA], AGENT_KINDS)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let accounts = config.accounts.iter();
        let plans = accounts.map(|account| (account.id.clone(), self.parse(&account.settings).unwrap()));
        let plans = plans.collect();
        (config, plans)
    }

    /// What is kept of a login.
    #[must_use]
    pub fn login(token: &str) -> SavedLogin {
        SavedLogin(Secret::new(format!("token={token}")))
    }

    fn answer(&self, path: &str, argument: Option<&str>) -> Option<(u16, String)> {
        let mut state = self.0.lock();
        match path {
            "/qr" => {
                state.codes += 1;
                Some((200, format!("https://scan.test/qQ7-{}", state.codes)))
            }
            "/typed" => {
                state.typed.push(argument.unwrap_or_default().to_owned());
                Some((200, "wait".to_owned()))
            }
            "/status" => state.answers.pop_front().map(|answer| (200, answer)),
            _ => {
                let live = state.live.contains(argument.unwrap_or_default());
                if live { None } else { Some((401, String::new())) }
            }
        }
    }
}

impl Http for Phones {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let phones = self.clone();
        Box::pin(async move {
            let argument = request.url.query().map(str::to_owned);
            let path = request.url.path().to_owned();
            if path == "/poll" {
                let token = argument.clone().unwrap_or_default();
                *phones.0.lock().polls.entry(token).or_default() += 1;
            }
            let began = Instant::now();
            loop {
                // A bot that is asked for the first time is answered at once, so that it counts as connected.
                let answer = phones.answer(&path, argument.as_deref());
                let answer = answer.or_else(|| (path == "/hello").then(|| (200, String::new())));
                if let Some((status, body)) = answer {
                    let status = status.try_into().unwrap();
                    return Ok(HttpResponse { status, headers: Default::default(), body: Bytes::from(body) });
                }
                if began.elapsed() >= HELD {
                    let body = Bytes::from_static(b"wait");
                    return Ok(HttpResponse {
                        status: 200.try_into().unwrap(),
                        headers: Default::default(),
                        body,
                    });
                }
                sleep(Duration::from_millis(100)).await;
            }
        })
    }
}

struct NoSockets;

impl WebSocket for NoSockets {
    fn open(&self, _: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>> {
        Box::pin(ready(Err(NetworkError::new(NetworkErrorKind::Connect, "there are none").into())))
    }
}

impl Factory for Phones {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn parse(&self, _: &AccountSettings) -> Result<Arc<dyn Plan>, Vec<Finding>> {
        Ok(Arc::new(Bot { phones: self.clone(), token: None }))
    }
}

struct Bot {
    phones: Phones,
    token: Option<String>,
}

impl Plan for Bot {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.token.clone().unwrap_or_default())
    }

    fn host(&self) -> &str {
        "chat.test"
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn connector(&self, _: Start) -> Box<dyn Connector> {
        Box::new(Poll { token: self.token.clone(), open: false })
    }

    fn login(&self, held: &[SavedLogin], _: u64) -> Option<Box<dyn Login>> {
        Some(Box::new(Scan { held: held.len(), phones: self.phones.clone(), number: 0 }))
    }

    fn logged_in(&self, login: &SavedLogin) -> Option<Result<Arc<dyn Plan>, Failure>> {
        let Some(token) = login.0.expose().strip_prefix("token=") else {
            return Some(Err(Failure::new(FailureClass::Protocol, "it has no token")));
        };
        Some(Ok(Arc::new(Self { phones: self.phones.clone(), token: Some(token.to_owned()) })))
    }

    fn credentials(&self) -> Option<Rc<dyn Credentials>> {
        None
    }

    fn identity(&self) -> Rc<dyn IdentityProbe> {
        Rc::new(Known(self.token.clone()))
    }

    fn sender(&self) -> Rc<dyn Sender> {
        Rc::new(Known(self.token.clone()))
    }
}

/// Knows who it is from its token, and sends whatever it is given.
struct Known(Option<String>);

impl Known {
    fn token(&self) -> Result<String, Failure> {
        self.0.clone().ok_or_else(|| Failure::new(FailureClass::NeedsLogin, "no token"))
    }
}

impl IdentityProbe for Known {
    fn probe(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
    ) -> LocalBoxFuture<'static, Result<Identity, Failure>> {
        let identity = |token: String| Identity { id: UserId::new(token), name: "Bot".to_owned() };
        Box::pin(ready(self.token().map(identity)))
    }
}

impl Sender for Known {
    fn send(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>> {
        let text = outgoing.outbound.text.clone();
        let receipt = |token| Receipt { message_id: MessageId::new(format!("{token}/{text}")) };
        Box::pin(ready(self.token().map(receipt)))
    }
}

fn ask(id: u32, path: &str, argument: &str) -> (RequestId, HttpRequest) {
    let url = Url::parse(&format!("http://chat.test/{path}?{argument}")).unwrap();
    (RequestId(id), HttpRequest { deadline: HELD * 2, ..HttpRequest::new(http::Method::GET, url) })
}

/// One poll after the other.
struct Poll {
    token: Option<String>,
    open: bool,
}

impl Poll {
    fn poll(&self, path: &str) -> Effect {
        let (id, request) = ask(1, path, self.token.as_deref().unwrap_or_default());
        Effect::Request { id, request }
    }
}

impl Connector for Poll {
    fn step(&mut self, event: Event, _: Monotonic) -> Vec<Effect> {
        let needs_login = |why| vec![Effect::Finish(Some(Failure::new(FailureClass::NeedsLogin, why)))];
        match event {
            Event::Start if self.token.is_none() => needs_login("there is no token"),
            Event::Start => vec![self.poll("hello")],
            Event::Response { result: Ok(answer), .. } if answer.status == 200 => {
                let opened = (!std::mem::replace(&mut self.open, true))
                    .then(|| Effect::Emit(Output::Open { connection: "poll".to_owned() }));
                opened.into_iter().chain([Effect::Emit(Output::Alive), self.poll("poll")]).collect()
            }
            Event::Response { result: Ok(_), .. } => needs_login("the token is good no more"),
            Event::Response { result: Err(error), .. } => {
                vec![Effect::Finish(Some(Failure::transient(error.to_string())))]
            }
            // What is asked for now comes with the poll that is under way.
            Event::Probe => vec![Effect::Emit(Output::Alive)],
            Event::Stop => vec![Effect::Finish(None)],
            _ => Vec::new(),
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        None
    }

    fn patience(&self) -> Duration {
        HELD * 3
    }
}

/// One QR code after the other.
struct Scan {
    held: usize,
    phones: Phones,
    number: u32,
}

impl Scan {
    fn ask(id: u32, path: &str, argument: &str) -> LoginEffect {
        let (id, request) = ask(id, path, argument);
        LoginEffect::Request { id, request }
    }

    fn answered(&mut self, answer: &str) -> Vec<LoginEffect> {
        let again = || Self::ask(2, "status", "");
        let mut words = answer.split(' ');
        match words.next().unwrap_or_default() {
            "scanned" => vec![LoginEffect::Show(LoginStep::Scanned), again()],
            word @ ("code" | "wrong") => {
                vec![LoginEffect::Show(LoginStep::Code { wrong: word == "wrong" }), again()]
            }
            "expired" => vec![Self::ask(1, "qr", "")],
            "refused" => vec![LoginEffect::Finish(Err(Failure::transient("the phone said no")))],
            "bound" => vec![LoginEffect::Finish(Ok(LoggedIn { login: None, person: None }))],
            "in" => {
                let login = words.next().map(Phones::login);
                let person = words.next().map(UserId::new);
                vec![LoginEffect::Finish(Ok(LoggedIn { login, person }))]
            }
            _ => vec![again()],
        }
    }
}

impl Login for Scan {
    fn step(&mut self, event: LoginEvent, _: Monotonic) -> Vec<LoginEffect> {
        match event {
            LoginEvent::Start => {
                self.phones.0.lock().held.push(self.held);
                vec![Self::ask(1, "qr", "")]
            }
            LoginEvent::Response { id: RequestId(1), result: Ok(answer) } => {
                self.number += 1;
                let code = Secret::new(String::from_utf8_lossy(&answer.body).into_owned());
                let step = LoginStep::Scan { code, lasts: Duration::from_secs(300), number: self.number };
                vec![LoginEffect::Show(step), Self::ask(2, "status", "")]
            }
            LoginEvent::Response { id: RequestId(2), result: Ok(answer) } => {
                let answer = String::from_utf8_lossy(&answer.body).into_owned();
                self.answered(&answer)
            }
            LoginEvent::Response { result: Ok(_), .. } | LoginEvent::Wake => Vec::new(),
            LoginEvent::Response { result: Err(error), .. } => {
                vec![LoginEffect::Finish(Err(Failure::transient(error.to_string())))]
            }
            LoginEvent::Typed(text) => vec![Self::ask(3, "typed", text.expose())],
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        None
    }
}
