//! The routes that show sessions, received messages and messages of ours: newest first, a page at a time.

use actix_web::dev::Payload;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ConversationId, InboxId, OutboxId};
use moorline_runtime::{InboxFilter, InboxKind, Listed, OutboxFilter, SessionFilter, SessionState};
use serde_json::{Value, json};

use crate::operator::Operator;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::{Answer, in_time};
use crate::{session_id, views};

/// Entries of a transcript when nobody says how many.
const ENTRIES: u32 = 20;

/// The session a path names.
#[derive(Debug)]
pub(crate) struct OfSession(pub(crate) AccountId, pub(crate) ConversationId);

/// The number of a message in a path.
#[derive(Debug)]
pub(crate) struct Number(pub(crate) i64);

pub(crate) async fn sessions(operator: Data<dyn Operator>, parameters: Parameters) -> Answer {
    let filter = SessionFilter {
        account: parameters.account()?,
        state: parameters.state(SessionState::ALL, SessionState::as_str)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().sessions(&filter, page)).await?;
    Ok(answer("sessions", &listed, views::session))
}

pub(crate) async fn session(
    operator: Data<dyn Operator>,
    OfSession(account, conversation): OfSession,
    parameters: Parameters,
) -> Answer {
    let entries = parameters.count("entries", ENTRIES)?;
    parameters.end()?;
    let found = in_time(operator.listing().session(&account, &conversation)).await?;
    let mut view = views::session(&found.ok_or(Problem::UnknownSession)?);
    let transcript = in_time(operator.transcript(&account, &conversation, entries)).await?;
    view["transcript"] = transcript.iter().map(views::entry).collect();
    Ok(HttpResponse::Ok().json(view))
}

pub(crate) async fn inbox(operator: Data<dyn Operator>, parameters: Parameters) -> Answer {
    let filter = InboxFilter {
        scope: parameters.scope()?,
        state: parameters.state(InboxKind::ALL, InboxKind::as_str)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().inbox(&filter, page)).await?;
    Ok(answer("messages", &listed, views::received))
}

pub(crate) async fn inbox_row(
    operator: Data<dyn Operator>,
    Number(id): Number,
    parameters: Parameters,
) -> Answer {
    parameters.end()?;
    let found = in_time(operator.listing().inbox_row(InboxId::new(id))).await?;
    Ok(HttpResponse::Ok().json(views::received_in_full(&found.ok_or(Problem::UnknownMessage(id))?)))
}

pub(crate) async fn outbox(operator: Data<dyn Operator>, parameters: Parameters) -> Answer {
    let filter = OutboxFilter {
        scope: parameters.scope()?,
        state: parameters.state(&views::OUTBOX_STATES, views::outbox_state)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().outbox(&filter, page)).await?;
    Ok(answer("messages", &listed, views::ours))
}

pub(crate) async fn outbox_row(
    operator: Data<dyn Operator>,
    Number(id): Number,
    parameters: Parameters,
) -> Answer {
    parameters.end()?;
    let found = in_time(operator.outbox_row(OutboxId::new(id))).await?;
    Ok(HttpResponse::Ok().json(views::ours(&found.ok_or(Problem::UnknownMessage(id))?)))
}

/// A page; `next` is what `before` of the next one has to be, null when there is none.
fn answer<T>(name: &str, listed: &Listed<T>, view: impl Fn(&T) -> Value) -> HttpResponse {
    let rows: Vec<Value> = listed.rows.iter().map(view).collect();
    HttpResponse::Ok().json(json!({ name: rows, "next": listed.next }))
}

impl FromRequest for OfSession {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = web::Path::<String>::from_request(request, &mut Payload::None).into_inner();
        let found = id.ok().and_then(|id| session_id::decoded(&id));
        ready(
            found.map(|(account, conversation)| Self(account, conversation)).ok_or(Problem::InvalidSessionId),
        )
    }
}

impl FromRequest for Number {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = web::Path::<i64>::from_request(request, &mut Payload::None).into_inner();
        ready(id.map(|id| Self(id.into_inner())).map_err(|_| Problem::InvalidMessageId))
    }
}
