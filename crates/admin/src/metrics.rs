//! `/metrics`: the runtime in numbers, in Prometheus' text format. What it shows is read from the snapshots that the
//! status shows too, at the moment of the request: between two requests it costs nothing, and there is one truth
//! (F-101). The names are in one table, [`catalogue`], and in docs/metrics.md.

pub(crate) mod catalogue;
mod page;
mod process;
mod render;
mod traffic;

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::operator::Operator;
pub(crate) use traffic::Traffic;

/// The version of the format is part of its type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(operator: Data<dyn Operator>, traffic: Data<Traffic>) -> HttpResponse {
    let vitals = operator.vitals().await;
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(render::render(&vitals, &traffic))
}
