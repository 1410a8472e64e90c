//! Who may ask. A browser on the same machine reaches a loopback port too, with whatever page it shows: so the
//! token is wanted always, and `Host` and `Origin` are looked at before it (F-091).

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, header::HeaderMap};
use actix_web::web::Query;
use moorline_core::Secret;

use crate::body::LONGEST_BODY;
use crate::events;
use crate::problem::Problem;
use crate::token;

/// Paths that need no token: whether the process is alive and well is asked by what has none.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Query parameters in which other programs take a token.
const TOKEN_NAMES: [&str; 7] = ["token", "access_token", "auth", "authorization", "bearer", "api_key", "key"];

/// What a request is judged by.
#[derive(Debug)]
pub(crate) struct Gate {
    token: Secret,
    listens_on: IpAddr,
}

impl Gate {
    pub(crate) fn new(token: Secret, listens_on: IpAddr) -> Self {
        Self { token, listens_on }
    }

    /// Judges by the head alone, before anything of the body is read.
    pub(crate) fn admit(&self, request: &HttpRequest) -> Result<(), Problem> {
        let headers = request.headers();
        let host = self.host(request)?;
        origin(headers, &host)?;
        self.query(request.query_string())?;
        if !OPEN.contains(&request.path()) && !proves_later(request) {
            self.bearer(headers)?;
        }
        body(request.method(), headers)
    }

    /// Whether this is the token. Takes a time that tells nothing of how much of it is right.
    pub(crate) fn is_token(&self, given: &str) -> bool {
        token::is_same(&self.token, given)
    }

    /// A path for the log. Nothing of ours has a token in it, but somebody may have put one there.
    pub(crate) fn without_token(&self, path: &str) -> String {
        path.replace(self.token.expose(), "[token]")
    }

    /// The one host the request is for: a name that somebody else may point at this machine is refused.
    fn host(&self, request: &HttpRequest) -> Result<Authority, Problem> {
        let host: Authority = only(request.headers(), header::HOST)
            .and_then(|host| host.parse().ok())
            .ok_or(Problem::Misdirected)?;
        let in_the_target = request.uri().authority();
        if [Some(&host), in_the_target].into_iter().flatten().all(|authority| self.is_ours(authority)) {
            Ok(host)
        } else {
            Err(Problem::Misdirected)
        }
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        match address(authority) {
            // Behind an unspecified address are all of the machine's. An address, unlike a name, cannot be made to
            // mean this machine by somebody else.
            Some(address) => {
                address.is_loopback() || address == self.listens_on || self.listens_on.is_unspecified()
            }
            None => is_localhost(authority),
        }
    }

    fn query(&self, query: &str) -> Result<(), Problem> {
        // What cannot be read as parameters is no use to any route, and is passed on as if it were not there.
        let pairs =
            Query::<Vec<(String, String)>>::from_query(query).map(Query::into_inner).unwrap_or_default();
        let is_token = |(name, value): &(String, String)| {
            TOKEN_NAMES.contains(&name.to_ascii_lowercase().as_str())
                || token::is_same(&self.token, value)
                || token::is_same(&self.token, name)
        };
        if pairs.iter().any(is_token) { Err(Problem::TokenInQuery) } else { Ok(()) }
    }

    pub(crate) fn bearer(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = only(headers, header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, given))
                if scheme.eq_ignore_ascii_case("bearer") && token::is_same(&self.token, given.trim()) =>
            {
                Ok(())
            }
            _ => Err(Problem::Unauthorized),
        }
    }
}

/// A browser cannot send the token with an upgrade to a WebSocket: the one there is takes it as its first message. Who
/// sends a header is judged by it.
fn proves_later(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let upgrades =
        only(headers, header::UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    upgrades
        && *request.method() == Method::GET
        && request.path() == events::PATH
        && !headers.contains_key(header::AUTHORIZATION)
}

/// A page may ask only if this endpoint served it, which it does to nobody but this machine.
fn origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let is_loopback = address(host).map_or_else(|| is_localhost(host), |address| address.is_loopback());
    let ours = format!("http://{host}");
    let is_ours = |origin: &header::HeaderValue| {
        is_loopback && origin.to_str().is_ok_and(|origin| origin.eq_ignore_ascii_case(&ours))
    };
    if headers.get_all(header::ORIGIN).all(is_ours) { Ok(()) } else { Err(Problem::ForeignOrigin) }
}

/// Types a form can send are refused, and lengths nobody needs or nobody knows.
fn body(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::LengthRequired);
    }
    let length = only(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > LONGEST_BODY) {
        return Err(Problem::PayloadTooLarge);
    }
    if *method == Method::GET || length.is_none_or(|length| length == 0) {
        return Ok(());
    }
    let media_type = only(headers, header::CONTENT_TYPE).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::UnsupportedMediaType) }
}

/// The header's value. Two of them are no value: whoever is in front of us may have looked at the other one.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn address(authority: &Authority) -> Option<IpAddr> {
    authority.host().trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_localhost(authority: &Authority) -> bool {
    authority.host().eq_ignore_ascii_case("localhost")
}
