//! The routes, and what each of them asks of the operator's side.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, Error, FromRequest, HttpRequest, HttpResponse, Responder};
use futures_util::future::{Ready as Done, ready};
use moorline_core::{AccountId, AccountState, ChatId, IdempotencyKey};
use moorline_runtime::supervision::Node;
use moorline_runtime::{AccountView, Applied, Enqueued, InboxKind, NotReady, Report, SessionState, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, Answers, Shown, Taken};
use crate::body::{Body, Nothing};
use crate::closing::Closing;
use crate::code::Code;
use crate::document::DOCUMENT;
use crate::endpoint::{Endpoint, Takes, delete, get, post, serve};
use crate::exchange::{RequestIds, exchange};
use crate::gate::Gate;
use crate::idempotency::{ThenEnd, UnderWay, key_of, well_formed};
use crate::metrics::{Traffic, metrics};
use crate::operation::{KEY, Operation};
use crate::operator::{Operator, Verb};
use crate::problem::Problem;
use crate::{cron, events, lists, login, parameters, repair, views};

/// How long the runtime may take to answer; longer than its own deadline for commands, whose words say more.
const DEADLINE: Duration = Duration::from_secs(12);

/// What reading from the store may be refused for.
const STORE: &[Code] = &[Code::NoAnswer, Code::StoreFull, Code::StoreFailed, Code::StoreRefused];

/// Where the end of the process is asked for.
pub(crate) const END: &str = "/v1/shutdown";

/// The account a path names.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) AccountId);

/// A message for a chat.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    /// The chat, user or address it goes to, as the platform names it.
    #[schemars(regex(pattern = r"\S"))]
    to: String,
    #[schemars(regex(pattern = r"\S"))]
    text: String,
    /// The same as the header.
    #[serde(default)]
    #[schemars(regex(pattern = KEY))]
    idempotency_key: Option<String>,
}

/// What became of a command to an account.
#[derive(Debug, Serialize, JsonSchema)]
struct Commanded {
    #[serde(flatten)]
    account: AccountView,
    changed: bool,
    state_before: AccountState,
    state_after: AccountState,
    /// What has happened, or why nothing did.
    reason: &'static str,
}

/// How the process is to end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct End {
    /// Whether a fresh process takes its place.
    #[serde(default)]
    restart: bool,
}

/// The process lives.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
}

/// Everything is ready, or the reasons why not.
#[derive(Debug)]
struct Readiness(Result<(), NotReady>);

#[derive(Debug, Serialize, JsonSchema)]
struct Ready {
    #[schemars(extend("const" = true))]
    ready: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Unready {
    #[schemars(extend("const" = false))]
    ready: bool,
    /// One line each.
    #[schemars(length(min = 1))]
    reasons: NotReady,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Actors {
    actors: Vec<Node>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Accounts {
    accounts: Vec<AccountView>,
}

/// How the process ends.
#[derive(Debug, Serialize, JsonSchema)]
struct Ending {
    #[schemars(extend("const" = true))]
    shutting_down: bool,
    /// Whether a fresh process takes its place.
    restart: bool,
}

/// The whole API.
pub(crate) fn api(
    gate: Data<Gate>,
    ids: Data<RequestIds>,
    closing: Data<Closing>,
    operator: Data<dyn Operator>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(gate)
        .app_data(ids)
        .app_data(closing)
        .app_data(Data::new(UnderWay::default()))
        .app_data(Data::new(events::Watchers::default()))
        .app_data(operator)
        .app_data(Data::new(Traffic::default()))
        .configure(|api| serve(endpoints(), api))
        .default_service(web::to(|| async { Answer::<Shown<()>>::Err(Problem::UnknownRoute) }))
        .wrap(from_fn(exchange))
}

/// Every route there is. The document tells of these and of no others.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        get("/healthz", "Whether the process lives.", healthz).open(),
        get("/readyz", "Whether every wanted account is ready and the store takes commits.", readyz).open(),
        get("/metrics", "The runtime in numbers, for Prometheus.", metrics),
        get("/openapi.json", "This document.", openapi),
        get("/v1/status", "The whole runtime at one moment.", status).refuses(STORE),
        get("/v1/tree", "Every actor.", tree),
        get("/v1/doctor", "Everything that is wrong, and what to do about it.", doctor).refuses(STORE),
        get(events::PATH, "A WebSocket of what happens, what is retained first.", events::events)
            .takes(&events::parameters())
            .refuses(&[Code::TooManyWatchers, Code::UpgradeRequired]),
        get("/v1/accounts", "Every account.", accounts).refuses(STORE),
        get("/v1/accounts/{id}", "One account.", account).refuses(STORE),
        post("/v1/accounts/{id}/messages", "Puts a message into the outbox.", send)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::EmptyField]),
        delete(
            "/v1/accounts/{id}/rows",
            "Deletes the rows of an account that is not configured, and its saved login.",
            repair::discard_rows,
        )
        .refuses(STORE)
        .refuses(&[Code::Busy, Code::AccountConfigured]),
        get("/v1/sessions", "Sessions, the one that received a message last first.", lists::sessions)
            .takes(&[parameters::account(), parameters::state(SessionState::ALL, SessionState::as_str)])
            .takes(&parameters::page())
            .refuses(STORE),
        get("/v1/sessions/{id}", "One session and the end of its transcript.", lists::session)
            .takes(&[parameters::count("entries", "Entries of the transcript.", lists::ENTRIES)])
            .refuses(STORE),
        post("/v1/sessions/{id}/resume", "Lets a session go on that is stuck.", repair::resume)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::UnknownAccount, Code::AccountOrphaned, Code::NothingToResume]),
        post("/v1/sessions/{id}/reset", "Lets a session begin anew.", repair::reset)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::UnknownAccount, Code::AccountOrphaned]),
        get("/v1/inbox", "Received messages, newest first.", lists::inbox)
            .takes(&parameters::scope())
            .takes(&[parameters::state(InboxKind::ALL, InboxKind::as_str)])
            .takes(&parameters::page())
            .refuses(STORE),
        get("/v1/inbox/{id}", "One received message.", lists::inbox_row).refuses(STORE),
        get("/v1/outbox", "Messages of ours, newest first.", lists::outbox)
            .takes(&parameters::scope())
            .takes(&[parameters::state(&views::OUTBOX_STATES, views::outbox_state)])
            .takes(&parameters::page())
            .refuses(STORE),
        get("/v1/outbox/{id}", "One message of ours.", lists::outbox_row).refuses(STORE),
        post("/v1/outbox/{id}/retry", "Sends a message of ours now, dead or waiting.", repair::retry)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::AccountOrphaned, Code::WrongState]),
        post("/v1/outbox/{id}/discard", "Gives a message of ours up for good.", repair::discard)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::AccountOrphaned, Code::WrongState]),
        get("/v1/gaps", "Times in which messages may have been lost, the last recorded first.", lists::gaps)
            .takes(&[parameters::account()])
            .takes(&parameters::page())
            .refuses(STORE),
        get("/v1/trace/{message}", "A message's whole life.", repair::trace).refuses(STORE),
        get("/v1/cron", "Every job of the scheduler.", cron::list).refuses(STORE),
        post("/v1/cron", "Adds a job.", cron::add).refuses(STORE).refuses(&[
            Code::Busy,
            Code::EmptyField,
            Code::InvalidField,
            Code::InvalidSchedule,
            Code::TooManyJobs,
            Code::UnknownAccount,
        ]),
        get("/v1/cron/{id}", "One job and its runs, the newest first.", cron::show)
            .takes(&parameters::page())
            .refuses(STORE),
        delete("/v1/cron/{id}", "Removes a job and the records of its runs.", cron::remove)
            .refuses(STORE)
            .refuses(&[Code::Busy]),
        post("/v1/cron/{id}/run", "Runs a job now.", cron::run).refuses(STORE).refuses(&[Code::Busy]),
        post("/v1/cron/{id}/enable", "Lets a job run by its schedule again.", cron::enable)
            .refuses(STORE)
            .refuses(&[Code::Busy]),
        post("/v1/cron/{id}/disable", "Lets a job run by nobody but an operator.", cron::disable)
            .refuses(STORE)
            .refuses(&[Code::Busy]),
        post("/v1/reload", "Reads the configuration now and applies what changed.", reload)
            .refuses(STORE)
            .refuses(&[Code::Busy, Code::InvalidConfiguration, Code::NoConfigurationFile]),
        post(END, "Ends the process in an orderly way, or replaces it by a fresh one.", shutdown)
            .refuses(&[Code::InvalidConfiguration]),
    ];
    endpoints.extend(login::endpoints());
    endpoints.extend(Verb::ALL.map(|verb| {
        let handler = move |operator: Data<dyn Operator>, named: Named, _: Body<Nothing>| {
            command(operator, named, verb)
        };
        post(format!("/v1/accounts/{{id}}/{}", verb.name()), verb.summary(), handler)
            .refuses(STORE)
            .refuses(&[Code::Busy])
            .refuses(verb.refusals())
    }));
    endpoints
}

/// Whether a route takes this method of this pattern of a path.
pub(crate) fn is_served(method: &Method, path: &str) -> bool {
    static SERVED: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
        endpoints().into_iter().map(|endpoint| (endpoint.method.to_string(), endpoint.path)).collect()
    });
    SERVED.contains(&(method.to_string(), path.to_owned()))
}

async fn healthz() -> Shown<Health> {
    Shown(Health { status: "ok" })
}

async fn readyz(operator: Data<dyn Operator>) -> Readiness {
    Readiness(operator.readiness())
}

async fn openapi() -> Shown<&'static Value> {
    Shown(&DOCUMENT)
}

async fn status(operator: Data<dyn Operator>) -> Answer<Shown<Status>> {
    Ok(Shown(in_time(operator.status()).await?))
}

async fn tree(operator: Data<dyn Operator>) -> Shown<Actors> {
    Shown(Actors { actors: operator.tree() })
}

async fn doctor(operator: Data<dyn Operator>) -> Answer<Shown<Report>> {
    Ok(Shown(in_time(operator.doctor()).await?))
}

async fn accounts(operator: Data<dyn Operator>) -> Answer<Shown<Accounts>> {
    Ok(Shown(Accounts { accounts: in_time(operator.accounts()).await? }))
}

async fn account(operator: Data<dyn Operator>, Named(id): Named) -> Answer<Shown<AccountView>> {
    Ok(Shown(in_time(operator.account(&id)).await?))
}

/// Answers with the account as it is when the command has been taken, and what that changed; what the command began may
/// still go on. Nothing to do is no error (F-083).
async fn command(operator: Data<dyn Operator>, Named(id): Named, verb: Verb) -> Answer<Commanded> {
    let state_before = in_time(operator.account(&id)).await?.status.state;
    let changed = in_time(operator.command(&id, verb)).await?;
    let account = in_time(operator.account(&id)).await?;
    let reason = if changed { verb.done() } else { verb.nothing_to_do() };
    let state_after = account.status.state;
    Ok(Commanded { account, changed, state_before, state_after, reason })
}

async fn send(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Named(id): Named,
    Body(message): Body<NewMessage>,
) -> Answer<Taken<Enqueued>> {
    for (name, value) in [("to", &message.to), ("text", &message.text)] {
        if value.trim().is_empty() {
            return Err(Problem::EmptyField(name));
        }
    }
    let key = idempotency_key(&request, message.idempotency_key)?;
    Ok(Taken(in_time(operator.send(&id, ChatId::new(message.to), message.text, key)).await?))
}

async fn reload(operator: Data<dyn Operator>, _: Body<Nothing>) -> Answer<Shown<Applied>> {
    Ok(Shown(operator.reload().await.map_err(Problem::Reload)?))
}

/// Answers at once; the process ends, or is replaced, in its own order afterwards.
async fn shutdown(operator: Data<dyn Operator>, Body(end): Body<End>) -> Answer<Ending> {
    if end.restart {
        operator.may_restart().await.map_err(Problem::Reload)?;
    }
    Ok(Ending { shutting_down: true, restart: end.restart })
}

/// The key of the body, or else that of the request (F-057).
pub(crate) fn idempotency_key(
    request: &HttpRequest,
    in_body: Option<String>,
) -> Answer<Option<IdempotencyKey>> {
    match in_body {
        Some(key) => Ok(Some(IdempotencyKey::new(well_formed(&key)?))),
        None => Ok(key_of(request.headers())?.map(IdempotencyKey::new)),
    }
}

/// Waits for the runtime, but not for ever.
pub(crate) async fn in_time<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Problem>
where
    Problem: From<E>,
{
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Problem::NoAnswer),
    }
}

impl Takes for Named {
    fn describe(operation: &mut Operation<'_>) {
        operation.path("id", "An account: channel:name.", &parameters::account_id());
        operation.refuses(&[Code::InvalidAccountId, Code::UnknownAccount]);
    }
}

impl Responder for Readiness {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match self.0 {
            Ok(()) => HttpResponse::Ok().json(Ready { ready: true }),
            Err(reasons) => HttpResponse::ServiceUnavailable().json(Unready { ready: false, reasons }),
        }
    }
}

impl Responder for Commanded {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let status = if self.changed { StatusCode::ACCEPTED } else { StatusCode::OK };
        HttpResponse::build(status).json(self)
    }
}

impl Answers for Commanded {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<Self>(StatusCode::ACCEPTED, "It was taken; what it began may still go on.");
        operation.answers::<Self>(StatusCode::OK, "There was nothing to do.");
    }
}

impl Responder for Ending {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let then = ThenEnd { restart: self.restart };
        let mut response = HttpResponse::Accepted().json(self);
        response.extensions_mut().insert(then);
        response
    }
}

impl Answers for Ending {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<Self>(StatusCode::ACCEPTED, "It ends, in its own order.");
    }
}

impl Answers for Readiness {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<Ready>(StatusCode::OK, "Everything is ready.");
        operation.answers::<Unready>(StatusCode::SERVICE_UNAVAILABLE, "Something is not ready.");
    }
}

impl FromRequest for Named {
    type Error = Problem;
    type Future = Done<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Percent-decoded as one segment: an encoded slash cannot lead anywhere else.
        let id = web::Path::<String>::from_request(request, &mut Payload::None).into_inner();
        let id = id.ok().and_then(|id| id.parse().ok());
        ready(id.map(Self).ok_or(Problem::InvalidAccountId))
    }
}
