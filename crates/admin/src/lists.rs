//! The routes that show sessions, received messages, messages of ours and gaps: newest first, a page at a time.

use actix_web::dev::Payload;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ConversationId, InboxId, OutboxId};
use moorline_runtime::{Gap, InboxFilter, InboxKind, Listed, OutboxFilter, SessionFilter, SessionState};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Shown};
use crate::code::Code;
use crate::endpoint::Takes;
use crate::operation::Operation;
use crate::operator::Operator;
use crate::parameters::{self, Parameters};
use crate::problem::Problem;
use crate::routes::in_time;
use crate::session_id;
use crate::views::{self, Ours, Received, ReceivedInFull, Session, SessionInFull};

/// Entries of a transcript when nobody says how many.
pub(crate) const ENTRIES: u32 = 20;

/// The session a path names.
#[derive(Debug)]
pub(crate) struct OfSession(pub(crate) AccountId, pub(crate) ConversationId);

/// The number of a message in a path.
#[derive(Debug)]
pub(crate) struct Number(pub(crate) i64);

/// A page; `next` is what `before` of the next one has to be, null when there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    next: Option<i64>,
}

/// A page; `next` is what `before` of the next one has to be, null when there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReceivedMessages {
    messages: Vec<Received>,
    next: Option<i64>,
}

/// A page; `next` is what `before` of the next one has to be, null when there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OurMessages {
    messages: Vec<Ours>,
    next: Option<i64>,
}

/// A page; `next` is what `before` of the next one has to be, null when there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RecordedGaps {
    gaps: Vec<Gap>,
    next: Option<i64>,
}

pub(crate) async fn sessions(
    operator: Data<dyn Operator>,
    parameters: Parameters,
) -> Answer<Shown<Sessions>> {
    let filter = SessionFilter {
        account: parameters.account()?,
        state: parameters.state(SessionState::ALL, SessionState::as_str)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().sessions(&filter, page)).await?;
    Ok(Shown(Sessions { sessions: shown(&listed, views::session), next: listed.next }))
}

pub(crate) async fn session(
    operator: Data<dyn Operator>,
    OfSession(account, conversation): OfSession,
    parameters: Parameters,
) -> Answer<Shown<SessionInFull>> {
    let entries = parameters.count("entries", ENTRIES)?;
    parameters.end()?;
    let found = in_time(operator.listing().session(&account, &conversation)).await?;
    let session = views::session(&found.ok_or(Problem::UnknownSession)?);
    let transcript = in_time(operator.transcript(&account, &conversation, entries)).await?;
    let transcript = transcript.iter().map(views::entry).collect();
    Ok(Shown(SessionInFull { session, transcript }))
}

pub(crate) async fn inbox(
    operator: Data<dyn Operator>,
    parameters: Parameters,
) -> Answer<Shown<ReceivedMessages>> {
    let filter = InboxFilter {
        scope: parameters.scope()?,
        state: parameters.state(InboxKind::ALL, InboxKind::as_str)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().inbox(&filter, page)).await?;
    Ok(Shown(ReceivedMessages { messages: shown(&listed, views::received), next: listed.next }))
}

pub(crate) async fn inbox_row(
    operator: Data<dyn Operator>,
    Number(id): Number,
    parameters: Parameters,
) -> Answer<Shown<ReceivedInFull>> {
    parameters.end()?;
    let found = in_time(operator.listing().inbox_row(InboxId::new(id))).await?;
    Ok(Shown(views::received_in_full(&found.ok_or(Problem::UnknownMessage(id))?)))
}

pub(crate) async fn outbox(
    operator: Data<dyn Operator>,
    parameters: Parameters,
) -> Answer<Shown<OurMessages>> {
    let filter = OutboxFilter {
        scope: parameters.scope()?,
        state: parameters.state(&views::OUTBOX_STATES, views::outbox_state)?,
    };
    let page = parameters.page()?;
    parameters.end()?;
    let listed = in_time(operator.listing().outbox(&filter, page)).await?;
    Ok(Shown(OurMessages { messages: shown(&listed, views::ours), next: listed.next }))
}

pub(crate) async fn outbox_row(
    operator: Data<dyn Operator>,
    Number(id): Number,
    parameters: Parameters,
) -> Answer<Shown<Ours>> {
    parameters.end()?;
    let found = in_time(operator.outbox_row(OutboxId::new(id))).await?;
    Ok(Shown(views::ours(&found.ok_or(Problem::UnknownMessage(id))?)))
}

pub(crate) async fn gaps(
    operator: Data<dyn Operator>,
    parameters: Parameters,
) -> Answer<Shown<RecordedGaps>> {
    let (account, page) = (parameters.account()?, parameters.page()?);
    parameters.end()?;
    let listed = in_time(operator.listing().gaps(account.as_ref(), page)).await?;
    Ok(Shown(RecordedGaps { gaps: listed.rows, next: listed.next }))
}

fn shown<T, V>(listed: &Listed<T>, view: impl Fn(&T) -> V) -> Vec<V> {
    listed.rows.iter().map(view).collect()
}

impl Takes for OfSession {
    fn describe(operation: &mut Operation<'_>) {
        let schema = json!({ "type": "string", "pattern": "^[a-z0-9_-]+:[a-z0-9_-]+~.+$" });
        operation.path("id", "A session: account~conversation, as lists show it.", &schema);
        operation.refuses(&[Code::InvalidSessionId, Code::UnknownSession]);
    }
}

impl Takes for Number {
    fn describe(operation: &mut Operation<'_>) {
        operation.path("id", "A message's number, as lists show it.", &parameters::number());
        operation.refuses(&[Code::InvalidMessageId, Code::UnknownMessage]);
    }
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
