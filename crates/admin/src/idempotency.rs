//! `Idempotency-Key`: a mutating request that is sent again gets the answer of the first time.

use actix_web::http::header::HeaderMap;

use crate::problem::Problem;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// The key of a request.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key");
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => well_formed(key.to_str().map_err(|_| Problem::InvalidKey)?).map(Some),
        (Some(_), Some(_)) => Err(Problem::InvalidKey),
    }
}

pub(crate) fn well_formed(key: &str) -> Result<&str, Problem> {
    let is_well_formed =
        (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_well_formed { Ok(key) } else { Err(Problem::InvalidKey) }
}
