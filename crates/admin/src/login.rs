//! Logging an account in. The answers hold the QR code: they are for the one who logs in, and nobody remembers them.

use actix_web::body::BoxBody;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, Responder};
use moorline_core::Secret;
use moorline_runtime::LoginView;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answer::{Answer, Answers, Shown};
use crate::body::{Body, Nothing};
use crate::code::Code;
use crate::endpoint::{Endpoint, delete, get, post};
use crate::idempotency::ForItsReaderOnly;
use crate::operation::Operation;
use crate::operator::Operator;
use crate::problem::Problem;
use crate::routes::{Named, in_time};

const PATH: &str = "/v1/accounts/{id}/login";

/// The longest number that is handed on to a platform, in characters.
pub(crate) const LONGEST_CODE: usize = 64;

/// What somebody who logs in may have typed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// The number that the phone shows, when it is asked for.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(max = 64), regex(pattern = r"\S"))]
    verify_code: Option<Secret>,
}

/// Where a login stands.
#[derive(Debug)]
struct Login(LoginView);

/// The routes.
pub(crate) fn endpoints() -> [Endpoint; 3] {
    [
        post(PATH, "Begins a login or joins the one under way; with a number, hands that in.", begin)
            .refuses(&[
                Code::Busy,
                Code::LoginNotNeeded,
                Code::WrongState,
                Code::EmptyField,
                Code::InvalidField,
            ]),
        get(PATH, "Where the last login of an account stands.", look).refuses(&[
            Code::NoAnswer,
            Code::Busy,
            Code::LoginNotNeeded,
        ]),
        delete(PATH, "Gives the login under way up.", give_up).refuses(&[
            Code::NoAnswer,
            Code::Busy,
            Code::LoginNotNeeded,
        ]),
    ]
}

async fn begin(operator: Data<dyn Operator>, Named(id): Named, Body(typed): Body<Typed>) -> Answer<Login> {
    if let Some(code) = &typed.verify_code {
        if code.expose().trim().is_empty() {
            return Err(Problem::EmptyField("verify_code"));
        }
        if code.expose().chars().count() > LONGEST_CODE {
            return Err(Problem::LongCode);
        }
    }
    Ok(Login(in_time(operator.login(&id, typed.verify_code)).await?))
}

async fn look(operator: Data<dyn Operator>, Named(id): Named) -> Answer<Login> {
    Ok(Login(in_time(operator.login_state(&id)).await?))
}

async fn give_up(operator: Data<dyn Operator>, Named(id): Named, _: Body<Nothing>) -> Answer<Login> {
    Ok(Login(in_time(operator.give_login_up(&id)).await?))
}

impl Responder for Login {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut response = Shown(self.0).respond_to(request);
        response.extensions_mut().insert(ForItsReaderOnly);
        response
    }
}

impl Answers for Login {
    fn describe(operation: &mut Operation<'_>) {
        Shown::<LoginView>::describe(operation);
    }
}
