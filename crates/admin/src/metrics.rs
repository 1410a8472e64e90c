//! `/metrics`: the runtime in numbers, in Prometheus' text format. What it shows is read from the snapshots that the
//! status shows too, at the moment of the request: between two requests it costs nothing, and there is one truth
//! (F-101). The names are in one table, [`catalogue`], and in docs/metrics.md.

pub(crate) mod catalogue;
mod page;
mod process;
mod render;
mod traffic;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, Responder};

use crate::answer::Answers;
use crate::operation::Operation;
use crate::operator::Operator;
pub(crate) use traffic::Traffic;

/// The version of the format is part of its type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// 200: the page.
pub(crate) struct Page(String);

pub(crate) async fn metrics(operator: Data<dyn Operator>, traffic: Data<Traffic>) -> Page {
    let vitals = operator.vitals().await;
    Page(render::render(&vitals, &traffic))
}

impl Responder for Page {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().content_type(CONTENT_TYPE).body(self.0)
    }
}

impl Answers for Page {
    fn describe(operation: &mut Operation<'_>) {
        operation.shows(StatusCode::OK, "The page, read from the snapshots of this moment.", CONTENT_TYPE);
    }
}
