//! What handlers answer with. A type says which status it is and what is in the body, to the caller and to the
//! document alike, so that neither can promise what the other does not keep.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Responder};
use schemars::JsonSchema;
use serde::Serialize;

use crate::code::Code;
use crate::operation::Operation;
use crate::problem::Problem;

/// An answer or a refusal.
pub(crate) type Answer<T> = Result<T, Problem>;

/// What a handler's result adds to the document.
pub(crate) trait Answers {
    fn describe(operation: &mut Operation<'_>);
}

/// 200: this is how it is.
#[derive(Debug)]
pub(crate) struct Shown<T>(pub(crate) T);

/// 202: it was taken; what it began may still go on.
#[derive(Debug)]
pub(crate) struct Taken<T>(pub(crate) T);

/// 201: it is there now.
#[derive(Debug)]
pub(crate) struct Made<T>(pub(crate) T);

impl<T: Serialize> Responder for Made<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Created().json(self.0)
    }
}

impl<T: JsonSchema> Answers for Made<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::CREATED, "It is there now.");
    }
}

impl<T: Serialize> Responder for Shown<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().json(self.0)
    }
}

impl<T: Serialize> Responder for Taken<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Accepted().json(self.0)
    }
}

impl<T: JsonSchema> Answers for Shown<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::OK, "This is how it is.");
    }
}

impl<T: JsonSchema> Answers for Taken<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::ACCEPTED, "It was taken; what it began may still go on.");
    }
}

impl<T: Answers> Answers for Answer<T> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
        operation.refuses(&[Code::InternalError]);
    }
}
