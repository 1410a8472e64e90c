//! What every code of the platform means for what we do next: the only place where codes are judged.
//!
//! A code that is not listed is transient and keeps its number: retried for ever, never a reason to go silent (F-001,
//! F-006). Only of a message is it said that the platform will not take it.

use std::time::Duration;

use moorline_core::FailureClass;

/// "Session expired", since 2.4.6 "stale token" (protocol §4.4).
pub(crate) const STALE: i64 = -14;

/// A limit, by its code (protocol §5.4).
const TOO_FAST: i64 = -12;

/// A limit or a closed window; only the words tell which (protocol §5.4).
const NOT_NOW: i64 = -2;

/// The first of the waits that the platform bears (protocol §5.4); the ones after it grow by themselves.
const PAUSE: Duration = Duration::from_secs(10);

/// A call that the platform answered in JSON, and not with success.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    /// `ret` or `errcode`, whichever is not 0; -14 wherever it is.
    pub(crate) code: i64,
    /// `errmsg` of the body.
    pub(crate) errmsg: &'a str,
}

/// One of the tables below.
pub(crate) type Judge = fn(&Refusal<'_>) -> Meaning;

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// For what we do next.
    pub(crate) class: FailureClass,
    /// The least wait, where the protocol page names one.
    pub(crate) wait: Option<Duration>,
}

const fn of(class: FailureClass) -> Meaning {
    Meaning { class, wait: None }
}

/// Refusals that every call may get (protocol §4.3, §4.4).
pub(crate) fn call(refusal: &Refusal<'_>) -> Meaning {
    match refusal.code {
        STALE => of(FailureClass::SessionExpired),
        TOO_FAST => Meaning { class: FailureClass::Throttled, wait: Some(PAUSE) },
        NOT_NOW if is_limit(refusal.errmsg) => Meaning { class: FailureClass::Throttled, wait: Some(PAUSE) },
        _ => of(FailureClass::Transient),
    }
}

/// Refusals of a message (protocol §5.4).
pub(crate) fn send(refusal: &Refusal<'_>) -> Meaning {
    match call(refusal) {
        Meaning { class: FailureClass::Transient, .. } if is_closed_window(refusal) => {
            of(FailureClass::AwaitsUser)
        }
        Meaning { class: FailureClass::Transient, .. } => of(FailureClass::Rejected),
        meaning => meaning,
    }
}

fn is_limit(errmsg: &str) -> bool {
    says(errmsg, &["rate limit", "freq limit"])
}

/// Ten messages since the user's last one, a day since then, or a reply token that is no good.
fn is_closed_window(refusal: &Refusal<'_>) -> bool {
    refusal.code == NOT_NOW
        && (refusal.errmsg.trim().is_empty() || says(refusal.errmsg, &["prepare failed", "unknown error"]))
}

fn says(errmsg: &str, words: &[&str]) -> bool {
    let errmsg = errmsg.to_ascii_lowercase();
    words.iter().any(|words| errmsg.contains(words))
}

#[cfg(test)]
mod tests {
    use FailureClass::*;

    use super::*;

    /// Protocol §4.3, §4.4, §5.4, row by row (F-006, F-057, F-060).
    #[test]
    fn the_tables_of_codes() {
        for (code, errmsg, of_call, of_send) in [
            (-14, "session expired", SessionExpired, SessionExpired),
            (-14, "", SessionExpired, SessionExpired),
            (-12, "", Throttled, Throttled),
            (-2, "rate limited", Throttled, Throttled),
            (-2, "freq limit", Throttled, Throttled),
            (-2, "Rate limited, slow down", Throttled, Throttled),
            (-2, "prepare failed", Transient, AwaitsUser),
            (-2, "unknown error", Transient, AwaitsUser),
            (-2, " ", Transient, AwaitsUser),
            (-2, "", Transient, AwaitsUser),
            (-2, "bad item", Transient, Rejected),
            (-1, "", Transient, Rejected),
            (-3, "prepare failed", Transient, Rejected),
            (1, "what?", Transient, Rejected),
            (i64::MIN, "", Transient, Rejected),
        ] {
            let refusal = Refusal { code, errmsg };
            assert_eq!((call(&refusal).class, send(&refusal).class), (of_call, of_send), "{code} {errmsg}");
            let wait = (of_call == Throttled).then_some(PAUSE);
            assert_eq!((call(&refusal).wait, send(&refusal).wait), (wait, wait), "{code} {errmsg}");
        }
    }
}
