//! The endpoint's own requests.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::Method;
use moorline_core::{Distribution, Histogram};
use parking_lot::Mutex;

/// The classes of an answer's time, in microseconds.
const TIMES: &[u64] =
    &[1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 12_000_000];

/// The route of a request that has none.
const NOWHERE: &str = "none";

/// What a route was answered, by method and status.
type Answers = BTreeMap<(&'static str, u16), u64>;

/// Counts requests by route, which are as many as there are in the table of routes, and never by path.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<BTreeMap<String, Route>>);

#[derive(Debug)]
struct Route {
    took: Histogram,
    answers: Answers,
}

impl Traffic {
    /// Counts a request; `route` is the pattern it matched.
    pub(crate) fn answered(&self, route: Option<String>, method: &Method, status: u16, took: Duration) {
        let mut routes = self.0.lock();
        let route = routes
            .entry(route.unwrap_or_else(|| NOWHERE.to_owned()))
            .or_insert_with(|| Route { took: Histogram::new(TIMES), answers: BTreeMap::new() });
        route.took.observe_span(took);
        *route.answers.entry((known(method), status)).or_default() += 1;
    }

    /// Every route, how long its answers took, and what they were.
    pub(super) fn now(&self) -> Vec<(String, Distribution, Answers)> {
        let routes = self.0.lock();
        let routes = routes
            .iter()
            .map(|(name, route)| (name.clone(), route.took.distribution(), route.answers.clone()));
        routes.collect()
    }
}

/// A method may be any word.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
