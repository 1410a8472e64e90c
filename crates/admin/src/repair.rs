//! The routes by which an operator gets stuck messages moving, and the one that tells a message's life. Each may be asked
//! again after an answer that was lost: nothing is sent, answered or deleted twice for it.

use actix_web::dev::Payload;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ConversationId, InboxId, OutboxId, TurnId};
use moorline_runtime::{Discarded, Resumed, Traced};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Shown, Taken};
use crate::body::{Body, Nothing};
use crate::code::Code;
use crate::endpoint::Takes;
use crate::lists::{Number, OfSession};
use crate::operation::Operation;
use crate::operator::Operator;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::{Named, in_time};
use crate::trace::{self, Life};
use crate::views::{self, Ours, Session};

/// The longest name that is looked for, in bytes.
const LONGEST_NAME: usize = 512;

/// What a path wants to be traced.
#[derive(Debug)]
pub(crate) struct Wanted(Traced);

/// What resuming did, and the session as it is now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResumedSession {
    resumed: Resumed,
    session: Option<Session>,
}

/// The turn that was given up, and the session as it is now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResetSession {
    given_up: Option<i64>,
    session: Option<Session>,
}

/// Answers with the message as it is when the request has been taken; sending it is only beginning then.
pub(crate) async fn retry(
    operator: Data<dyn Operator>,
    Number(id): Number,
    _: Body<Nothing>,
) -> Answer<Taken<Ours>> {
    let row = in_time(operator.retry_send(OutboxId::new(id))).await?;
    Ok(Taken(views::ours(&row)))
}

pub(crate) async fn discard(
    operator: Data<dyn Operator>,
    Number(id): Number,
    _: Body<Nothing>,
) -> Answer<Shown<Ours>> {
    let row = in_time(operator.discard_send(OutboxId::new(id))).await?;
    Ok(Shown(views::ours(&row)))
}

pub(crate) async fn resume(
    operator: Data<dyn Operator>,
    OfSession(account, conversation): OfSession,
    _: Body<Nothing>,
) -> Answer<Taken<ResumedSession>> {
    let resumed = in_time(operator.resume_session(&account, &conversation)).await?;
    let session = session(&operator, &account, &conversation).await?;
    Ok(Taken(ResumedSession { resumed, session }))
}

pub(crate) async fn reset(
    operator: Data<dyn Operator>,
    OfSession(account, conversation): OfSession,
    _: Body<Nothing>,
) -> Answer<Shown<ResetSession>> {
    let given_up = in_time(operator.reset_session(&account, &conversation)).await?;
    let session = session(&operator, &account, &conversation).await?;
    Ok(Shown(ResetSession { given_up, session }))
}

/// The session as it is now.
async fn session(
    operator: &Data<dyn Operator>,
    account: &AccountId,
    conversation: &ConversationId,
) -> Answer<Option<Session>> {
    let found = in_time(operator.listing().session(account, conversation)).await?;
    Ok(found.as_ref().map(views::session))
}

pub(crate) async fn discard_rows(
    operator: Data<dyn Operator>,
    Named(id): Named,
    _: Body<Nothing>,
) -> Answer<Shown<Discarded>> {
    let discarded = in_time(operator.discard_rows(&id)).await?;
    Ok(Shown(discarded))
}

pub(crate) async fn trace(
    operator: Data<dyn Operator>,
    Wanted(wanted): Wanted,
    parameters: Parameters,
) -> Answer<Shown<Life>> {
    parameters.end()?;
    let found = in_time(operator.listing().trace(&wanted)).await?;
    if found.is_empty() {
        return Err(Problem::NothingToTrace);
    }
    Ok(Shown(trace::view(&found)))
}

impl Takes for Wanted {
    fn describe(operation: &mut Operation<'_>) {
        let names = json!({ "type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^(?!(in|turn|out):)" });
        let schema =
            json!({ "anyOf": [{ "type": "string", "pattern": "^(in|turn|out):[0-9]{1,18}$" }, names] });
        let description = "The platform's id of a message or of a delivery, or `in:`, `turn:` or `out:` with a number of ours.";
        operation.path("message", description, &schema);
        operation.refuses(&[Code::InvalidMessageId, Code::UnknownMessage]);
    }
}

impl FromRequest for Wanted {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = web::Path::<String>::from_request(request, &mut Payload::None).into_inner();
        ready(text.ok().and_then(|text| wanted(&text)).map(Self).ok_or(Problem::InvalidTrace))
    }
}

/// `in:7`, `turn:7` and `out:7` are our own numbers, everything else is a name that a platform gave.
fn wanted(text: &str) -> Option<Traced> {
    let numbered = |number: &str| number.parse::<i64>().ok();
    match text.split_once(':') {
        Some(("in", number)) => numbered(number).map(|id| Traced::Inbox(InboxId::new(id))),
        Some(("turn", number)) => numbered(number).map(|id| Traced::Turn(TurnId::new(id))),
        Some(("out", number)) => numbered(number).map(|id| Traced::Outbox(OutboxId::new(id))),
        _ if text.is_empty() || text.len() > LONGEST_NAME => None,
        _ => Some(Traced::Name(text.to_owned())),
    }
}
