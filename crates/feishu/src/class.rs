//! What every code of the platform means for what we do next: the only place where codes are judged.
//!
//! A code that is not listed is transient and keeps its number: retried for ever, never a reason to go silent
//! (F-001, F-006).

use std::ops::RangeInclusive;
use std::time::Duration;

use http::StatusCode;
use moorline_core::{Effect, Failure, FailureClass};

/// A call that the platform answered in JSON, and not with success.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    /// `code` of the body.
    pub(crate) code: i64,
    /// `msg` of the body.
    pub(crate) msg: &'a str,
    /// The status, which counts only where the code says nothing.
    pub(crate) status: StatusCode,
}

/// One of the tables below.
pub(crate) type Judge = fn(&Refusal<'_>) -> Meaning;

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// For what we do next.
    pub(crate) class: FailureClass,
    /// Whether the call may have taken effect.
    pub(crate) effect: Effect,
    /// The least wait, where the protocol page names one.
    pub(crate) wait: Option<Duration>,
}

impl Meaning {
    const fn of(class: FailureClass) -> Self {
        Self { class, effect: Effect::None, wait: None }
    }

    const fn unknown_effect(self) -> Self {
        Self { effect: Effect::Unknown, ..self }
    }
}

/// Too many connections of this app, as the endpoint and the handshake say it.
const TOO_MANY_CONNECTIONS: i64 = 1_000_040_350;

/// The gateway's limit, whatever is called (protocol §3.6).
const TOO_FAST: i64 = 99_991_400;

/// Refusals of the endpoint call (protocol §1.2).
pub(crate) const fn endpoint(code: i64) -> FailureClass {
    match code {
        514 | 1_000_040_344 | 1_000_040_345 => FailureClass::Credentials,
        403 => FailureClass::Permission,
        TOO_MANY_CONNECTIONS => FailureClass::Conflict,
        TOO_FAST => FailureClass::Throttled,
        _ => FailureClass::Transient,
    }
}

/// Answers of the endpoint call with another status than 200. The codes of its table come with 200; with another
/// status the call did not get that far, and the platform is busy, whatever the body says (protocol §1.2). Only the
/// gateway's limit is told by its status or its code (§3.6).
pub(crate) const fn endpoint_status(status: StatusCode, code: Option<i64>) -> FailureClass {
    match (status, code) {
        (StatusCode::TOO_MANY_REQUESTS, _) | (_, Some(TOO_FAST)) => FailureClass::Throttled,
        _ => FailureClass::Transient,
    }
}

/// Refusals of the handshake by `Handshake-Status` and `Handshake-Autherrcode` (protocol §1.3). A plain 514 is
/// cured by the new address that every attempt asks for.
pub(crate) const fn handshake(status: Option<i64>, auth_code: Option<i64>) -> FailureClass {
    match (status, auth_code) {
        (Some(403), _) => FailureClass::Permission,
        (Some(514), Some(TOO_MANY_CONNECTIONS)) => FailureClass::Conflict,
        _ => FailureClass::Transient,
    }
}

/// Refusals of the token call (protocol §3.1).
pub(crate) fn token(refusal: &Refusal<'_>) -> Meaning {
    match refusal.code {
        10_003 | 10_014 | 10_015 => Meaning::of(FailureClass::Credentials),
        _ => call(refusal),
    }
}

/// Refusals that every call with a token may get (protocol §3.2, §3.6).
pub(crate) fn call(refusal: &Refusal<'_>) -> Meaning {
    match refusal.code {
        99_991_663 | 99_991_664 | 99_991_668 | 99_991_671 => Meaning::of(FailureClass::SessionExpired),
        99_991_672 => Meaning::of(FailureClass::Permission),
        TOO_FAST => Meaning::of(FailureClass::Throttled),
        99_992_402 => Meaning::of(FailureClass::Rejected),
        // 99991661, a request without a token, is among the rest: a mistake of ours that a new token does not cure.
        _ => unlisted(refusal),
    }
}

/// Refusals of send and reply (protocol §3.5).
pub(crate) fn send(refusal: &Refusal<'_>) -> Meaning {
    match refusal.code {
        230_020 => Meaning::of(FailureClass::Throttled),
        // A repetition met its first attempt still on its way.
        230_049 => Meaning {
            class: FailureClass::Transient,
            effect: Effect::Unknown,
            wait: Some(Duration::from_secs(1)),
        },
        230_001 if refusal.msg.to_ascii_lowercase().contains("internal error") => {
            Meaning::of(FailureClass::Transient).unknown_effect()
        }
        // This message. 230110, deleted, is not on the protocol page; it is what 230011 is, by somebody else's hand.
        230_001 | 230_011 | 230_019 | 230_022 | 230_025 | 230_028 | 230_050 | 230_054 | 230_055 | 230_071
        | 230_072 | 230_099 | 230_110 | 230_111 => Meaning::of(FailureClass::Rejected),
        // This chat: the account is well, and other chats must not suffer.
        230_002 | 230_013 | 230_018 | 230_035 | 230_038 | 230_053 | 230_075 | 232_009 => {
            Meaning::of(FailureClass::Rejected)
        }
        // This account.
        230_006 | 230_017 | 230_027 => Meaning::of(FailureClass::Permission),
        _ => call(refusal),
    }
}

/// Refusals of an edit (protocol §3.4): those of sends, and that the message can no longer be changed, or never could
/// be by us (F-063). That one message is not ours says nothing about the account.
pub(crate) fn edit(refusal: &Refusal<'_>) -> Meaning {
    match refusal.code {
        230_017 | 230_031 => Meaning::of(FailureClass::Rejected),
        _ => send(refusal),
    }
}

/// Refusals of reactions. The protocol page lists none of their own; those that exist are one family, and all of it
/// says that this message can have no such sign, or not any more.
pub(crate) fn reaction(refusal: &Refusal<'_>) -> Meaning {
    of_one_thing(refusal, 231_000..=231_999)
}

/// Refusals of resources. As with reactions, their own family is about the one attachment.
pub(crate) fn resource(refusal: &Refusal<'_>) -> Meaning {
    of_one_thing(refusal, 234_000..=234_999)
}

/// What exists or does not: asking for it again changes nothing.
fn of_one_thing(refusal: &Refusal<'_>, family: RangeInclusive<i64>) -> Meaning {
    match send(refusal) {
        Meaning { class: FailureClass::Transient, effect: Effect::None, .. }
            if family.contains(&refusal.code) || refusal.status == StatusCode::NOT_FOUND =>
        {
            Meaning::of(FailureClass::Rejected)
        }
        meaning => meaning,
    }
}

/// Whether a reply failed because the message it answers is recalled or gone with its topic (protocol §3.5).
pub(crate) fn target_is_gone(failure: &Failure) -> bool {
    matches!(failure.code.as_deref(), Some("230011" | "230019" | "230110"))
}

/// Whether a reply failed because the chat has no threads (protocol §3.5).
pub(crate) fn has_no_threads(failure: &Failure) -> bool {
    matches!(failure.code.as_deref(), Some("230071" | "230072"))
}

fn unlisted(refusal: &Refusal<'_>) -> Meaning {
    let class = match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => FailureClass::Throttled,
        _ => FailureClass::Transient,
    };
    // 2200 is the platform's internal error. Code 0 with a status that is no success contradicts itself.
    let undecided = refusal.status.is_server_error() || matches!(refusal.code, 0 | 2_200);
    if undecided { Meaning::of(class).unknown_effect() } else { Meaning::of(class) }
}

#[cfg(test)]
mod tests {
    use FailureClass::*;

    use super::*;

    const BAD_REQUEST: u16 = 400;

    fn meaning(judge: Judge, code: i64, msg: &str, status: u16) -> (FailureClass, Effect) {
        let meaning = judge(&Refusal { code, msg, status: StatusCode::from_u16(status).unwrap() });
        (meaning.class, meaning.effect)
    }

    /// Protocol §1.2, row by row (F-006).
    #[test]
    fn the_table_of_the_endpoint_call() {
        for (code, class) in [
            (1, Transient),
            (1_000_040_343, Transient),
            (1_000_040_344, Credentials),
            (1_000_040_345, Credentials),
            (1_000_040_350, Conflict),
            (403, Permission),
            (514, Credentials),
            (1_000_040_351, Transient),
            (-1, Transient),
            (i64::MIN, Transient),
            (99_991_400, Throttled),
        ] {
            assert_eq!(endpoint(code), class, "{code}");
        }
    }

    /// Protocol §1.3.
    #[test]
    fn the_table_of_the_handshake() {
        for (status, auth_code, class) in [
            (Some(403), None, Permission),
            (Some(403), Some(1_000_040_350), Permission),
            (Some(514), Some(1_000_040_350), Conflict),
            (Some(514), Some(1_000_040_345), Transient),
            (Some(514), None, Transient),
            (Some(500), Some(1_000_040_350), Transient),
            (None, Some(1_000_040_350), Transient),
            (None, None, Transient),
        ] {
            assert_eq!(handshake(status, auth_code), class, "{status:?} {auth_code:?}");
        }
    }

    /// Protocol §3.1.
    #[test]
    fn the_table_of_the_token_call() {
        for (code, class) in [
            (10_003, Credentials),
            (10_014, Credentials),
            (10_015, Credentials),
            (99_991_400, Throttled),
            (10_016, Transient),
        ] {
            for status in [200, BAD_REQUEST] {
                assert_eq!(meaning(token, code, "", status), (class, Effect::None), "{code}");
            }
        }
    }

    /// Protocol §3.2 and §3.6: the same for every call, sends included.
    #[test]
    fn the_table_of_every_call() {
        for (code, class) in [
            (99_991_661, Transient),
            (99_991_663, SessionExpired),
            (99_991_664, SessionExpired),
            (99_991_668, SessionExpired),
            (99_991_671, SessionExpired),
            (99_991_672, Permission),
            (99_991_400, Throttled),
            (99_992_402, Rejected),
        ] {
            for status in [BAD_REQUEST, 401, 429] {
                let class = if (code, status) == (99_991_661, 429) { Throttled } else { class };
                assert_eq!(meaning(call, code, "", status), (class, Effect::None), "{code}");
                assert_eq!(meaning(send, code, "", status), (class, Effect::None), "{code}");
            }
        }
    }

    /// Protocol §3.5.
    #[test]
    fn the_table_of_sends() {
        let message = [
            230_001, 230_011, 230_019, 230_022, 230_028, 230_025, 230_050, 230_054, 230_055, 230_071,
            230_072, 230_099, 230_110, 230_111,
        ];
        let chat = [230_002, 230_013, 230_018, 230_035, 230_038, 230_053, 230_075, 232_009];
        for code in message.into_iter().chain(chat) {
            assert_eq!(meaning(send, code, "ext=invalid", BAD_REQUEST), (Rejected, Effect::None), "{code}");
        }
        for code in [230_006, 230_017, 230_027] {
            assert_eq!(meaning(send, code, "", BAD_REQUEST), (Permission, Effect::None), "{code}");
        }
        for (code, msg, status, class, effect) in [
            (230_020, "", BAD_REQUEST, Throttled, Effect::None),
            (230_049, "", BAD_REQUEST, Transient, Effect::Unknown),
            (230_001, "ext=Internal Error", BAD_REQUEST, Transient, Effect::Unknown),
            (2_200, "Internal Error", BAD_REQUEST, Transient, Effect::Unknown),
            (230_999, "", BAD_REQUEST, Transient, Effect::None),
            (230_999, "", 500, Transient, Effect::Unknown),
            (230_999, "", 429, Throttled, Effect::None),
            (0, "", BAD_REQUEST, Transient, Effect::Unknown),
        ] {
            assert_eq!(meaning(send, code, msg, status), (class, effect), "{code} {msg} {status}");
        }
    }
    /// Protocol §3.4: what can no longer be edited, and what never could be by us, says nothing about the account.
    #[test]
    fn the_table_of_edits() {
        for (code, class) in [
            (230_031, Rejected),
            (230_017, Rejected),
            (230_011, Rejected),
            (230_099, Rejected),
            (230_002, Rejected),
            (230_020, Throttled),
            (99_991_400, Throttled),
            (99_991_663, SessionExpired),
            (230_027, Permission),
            (230_998, Transient),
        ] {
            assert_eq!(meaning(edit, code, "", BAD_REQUEST), (class, Effect::None), "{code}");
        }
    }

    /// Protocol §3.4, which names no codes of reactions and resources: their families and 404 are about one thing that
    /// is not there, everything else is what it is elsewhere.
    #[test]
    fn the_tables_of_reactions_and_resources() {
        for (code, status, class, effect) in [
            (230_011, BAD_REQUEST, Rejected, Effect::None),
            (230_002, BAD_REQUEST, Rejected, Effect::None),
            (230_020, BAD_REQUEST, Throttled, Effect::None),
            (99_991_400, 429, Throttled, Effect::None),
            (99_991_672, BAD_REQUEST, Permission, Effect::None),
            (99_991_668, 401, SessionExpired, Effect::None),
            (42, BAD_REQUEST, Transient, Effect::None),
            (42, 404, Rejected, Effect::None),
            (42, 500, Transient, Effect::Unknown),
        ] {
            assert_eq!(meaning(reaction, code, "", status), (class, effect), "{code} {status}");
            assert_eq!(meaning(resource, code, "", status), (class, effect), "{code} {status}");
        }
        for (judge, own, other) in [(reaction as Judge, 231_003, 234_003), (resource, 234_003, 231_003)] {
            assert_eq!(meaning(judge, own, "", BAD_REQUEST), (Rejected, Effect::None));
            assert_eq!(meaning(judge, other, "", BAD_REQUEST), (Transient, Effect::None));
            assert_eq!(meaning(judge, own, "", 500), (Transient, Effect::Unknown));
            assert_eq!(meaning(judge, own, "", 429), (Throttled, Effect::None));
        }
    }
}
