//! The routes, and what each of them asks of the operator's side.

use std::future::Future;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Handler, Payload, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, FromRequest, HttpRequest, HttpResponse, Resource, Responder, Route};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ChatId, IdempotencyKey};
use serde::Deserialize;
use serde_json::json;

use crate::body::{Body, Nothing};
use crate::exchange::{RequestIds, exchange};
use crate::gate::Gate;
use crate::operator::{Operator, Verb};
use crate::problem::Problem;
use crate::{cron, lists, repair};

/// How long the runtime may take to answer; longer than its own deadline for commands, whose words say more.
const DEADLINE: Duration = Duration::from_secs(12);

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

pub(crate) type Answer = Result<HttpResponse, Problem>;

/// The account a path names.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) AccountId);

/// A message for a chat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    to: String,
    text: String,
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// The whole API.
pub(crate) fn api(
    gate: Data<Gate>,
    ids: Data<RequestIds>,
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
        .app_data(operator)
        .configure(routes)
        .default_service(web::to(|| async { Answer::Err(Problem::UnknownRoute) }))
        .wrap(from_fn(exchange))
}

fn routes(api: &mut ServiceConfig) {
    api.service(get("/healthz", healthz))
        .service(get("/readyz", readyz))
        .service(get("/v1/status", status))
        .service(get("/v1/tree", tree))
        .service(get("/v1/doctor", doctor))
        .service(get("/v1/accounts", accounts))
        .service(get("/v1/accounts/{id}", account))
        .service(post("/v1/accounts/{id}/messages", send))
        .service(get("/v1/sessions", lists::sessions))
        .service(get("/v1/sessions/{id}", lists::session))
        .service(get("/v1/inbox", lists::inbox))
        .service(get("/v1/inbox/{id}", lists::inbox_row))
        .service(get("/v1/outbox", lists::outbox))
        .service(get("/v1/outbox/{id}", lists::outbox_row))
        .service(post("/v1/outbox/{id}/retry", repair::retry))
        .service(post("/v1/outbox/{id}/discard", repair::discard))
        .service(post("/v1/sessions/{id}/resume", repair::resume))
        .service(post("/v1/sessions/{id}/reset", repair::reset))
        .service(delete("/v1/accounts/{id}/rows", repair::discard_rows))
        .service(get("/v1/trace/{message}", repair::trace))
        .service(only("GET, POST", "/v1/cron", web::get().to(cron::list)).route(web::post().to(cron::add)))
        .service(
            only("GET, DELETE", "/v1/cron/{id}", web::get().to(cron::show))
                .route(web::delete().to(cron::remove)),
        )
        .service(post("/v1/cron/{id}/run", cron::run))
        .service(post("/v1/cron/{id}/enable", cron::enable))
        .service(post("/v1/cron/{id}/disable", cron::disable))
        .service(post("/v1/reload", reload))
        .service(post("/v1/shutdown", shutdown));
    for verb in Verb::ALL {
        let path = format!("/v1/accounts/{{id}}/{}", verb.name());
        api.service(post(&path, move |operator: Data<dyn Operator>, named: Named, _: Body<Nothing>| {
            command(operator, named, verb)
        }));
    }
}

fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only("GET", path, web::get().to(handler))
}

fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only("POST", path, web::post().to(handler))
}

fn delete<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    only("DELETE", path, web::delete().to(handler))
}

fn only(method: &'static str, path: &str, route: Route) -> Resource {
    let refuse = move || async move { Answer::Err(Problem::MethodNotAllowed(method)) };
    web::resource(path).route(route).default_service(web::to(refuse))
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn readyz(operator: Data<dyn Operator>) -> HttpResponse {
    match operator.readiness() {
        Ok(()) => HttpResponse::Ok().json(json!({ "ready": true })),
        Err(reasons) => {
            HttpResponse::ServiceUnavailable().json(json!({ "ready": false, "reasons": reasons }))
        }
    }
}

async fn status(operator: Data<dyn Operator>) -> Answer {
    let status = in_time(operator.status()).await?;
    Ok(HttpResponse::Ok().json(status))
}

async fn tree(operator: Data<dyn Operator>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "actors": operator.tree() }))
}

async fn doctor(operator: Data<dyn Operator>) -> Answer {
    let report = in_time(operator.doctor()).await?;
    Ok(HttpResponse::Ok().json(report))
}

async fn accounts(operator: Data<dyn Operator>) -> Answer {
    let accounts = in_time(operator.accounts()).await?;
    Ok(HttpResponse::Ok().json(json!({ "accounts": accounts })))
}

async fn account(operator: Data<dyn Operator>, Named(id): Named) -> Answer {
    let view = in_time(operator.account(&id)).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// Answers with the account as it is when the command has been taken; what the command began may still go on.
async fn command(operator: Data<dyn Operator>, Named(id): Named, verb: Verb) -> Answer {
    in_time(operator.command(&id, verb)).await?;
    let view = in_time(operator.account(&id)).await?;
    Ok(HttpResponse::Accepted().json(view))
}

async fn send(
    operator: Data<dyn Operator>,
    request: HttpRequest,
    Named(id): Named,
    Body(message): Body<NewMessage>,
) -> Answer {
    for (name, value) in [("to", &message.to), ("text", &message.text)] {
        if value.trim().is_empty() {
            return Err(Problem::EmptyField(name));
        }
    }
    let key = idempotency_key(&request, message.idempotency_key)?;
    let enqueued = in_time(operator.send(&id, ChatId::new(message.to), message.text, key)).await?;
    Ok(HttpResponse::Accepted().json(enqueued))
}

/// Answers at once; the process ends in its own order afterwards.
async fn reload(operator: Data<dyn Operator>, _: Body<Nothing>) -> Answer {
    let applied = operator.reload().await.map_err(Problem::Reload)?;
    Ok(HttpResponse::Ok().json(applied))
}

async fn shutdown(operator: Data<dyn Operator>, _: Body<Nothing>) -> HttpResponse {
    operator.shutdown();
    HttpResponse::build(StatusCode::ACCEPTED).json(json!({ "shutting_down": true }))
}

/// The key of the body or of the header. When both are given they have to be the same (F-057).
pub(crate) fn idempotency_key(
    request: &HttpRequest,
    in_body: Option<String>,
) -> Result<Option<IdempotencyKey>, Problem> {
    let in_headers = request.headers().get_all("idempotency-key");
    let in_headers =
        in_headers.map(|value| value.to_str().map(str::to_owned).map_err(|_| Problem::InvalidKey));
    let mut keys = in_headers.chain(in_body.map(Ok)).collect::<Result<Vec<_>, _>>()?;
    keys.dedup();
    match keys.as_slice() {
        [] => Ok(None),
        [key]
            if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(IdempotencyKey::new(key)))
        }
        _ => Err(Problem::InvalidKey),
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

impl FromRequest for Named {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Percent-decoded as one segment: an encoded slash cannot lead anywhere else.
        let id = web::Path::<String>::from_request(request, &mut Payload::None).into_inner();
        let id = id.ok().and_then(|id| id.parse().ok());
        ready(id.map(Self).ok_or(Problem::InvalidAccountId))
    }
}
