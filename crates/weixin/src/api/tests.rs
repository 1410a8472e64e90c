//! Headers, codes and answers (protocol §1).

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fake;

fn answer(body: &str) -> Result<Answer, Failure> {
    read("call", Ok(fake::answer(200, body.to_owned())), class::call, &["canary"])
}

/// Protocol §1.1, §1.2.
#[test]
fn every_authenticated_call_carries_all_headers_and_who_we_are() {
    let mut bot = fake::bot();
    bot.site.route_tag = Some(HeaderValue::from_static("tag-7"));
    let request = bot.request(&SEND_MESSAGE, None, json!({"msg": {}}));
    let header = |name| fake::header(&request, name);
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("authorizationtype"), Some("ilink_bot_token"));
    assert_eq!(header("authorization"), Some("Bearer canary-bot-token"));
    assert_eq!(header("ilink-app-id"), Some("bot"));
    assert_eq!(header("ilink-app-clientversion"), Some("132105"));
    assert_eq!(header("skroutetag"), Some("tag-7"));
    assert_eq!(CLIENT_VERSION, (2 << 16 | 4 << 8 | 9).to_string());
    assert!(request.headers["authorization"].is_sensitive(), "whoever logs headers does not log this one");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let base_info = json!({"channel_version": "2.4.9", "bot_agent": BOT_AGENT});
    assert_eq!(body, json!({"msg": {}, "base_info": base_info}));
    assert!(BOT_AGENT.len() <= 256 && BOT_AGENT.is_ascii());
    assert!(!format!("{request:?}").contains("canary"));
}

#[test]
fn without_a_route_tag_there_is_no_header_for_it() {
    assert_eq!(fake::header(&fake::bot().request(&GET_CONFIG, None, json!({})), "skroutetag"), None);
}

/// Protocol §1.1: the page's own example, and never the same twice in a row.
#[test]
fn a_uin_is_the_digits_of_a_number_in_base64() {
    assert_eq!(header(305_419_896), "MzA1NDE5ODk2");
    let uins = Uins::new(7);
    let seen: std::collections::BTreeSet<_> =
        (0..10_000).map(|_| uins.next().to_str().unwrap().to_owned()).collect();
    assert_eq!(seen.len(), 10_000);
    assert_ne!(Uins::new(1).next(), Uins::new(2).next());
    assert_ne!(Uins::new(1 << 32).next(), Uins::new(2 << 32).next());
}

/// Protocol §1.3.
#[test]
fn success_is_a_zero_or_nothing_in_both_fields() {
    for body in [
        "{}",
        r#"{"ret":0}"#,
        r#"{"errcode":0,"ret":null}"#,
        r#"{"ret":"0"}"#,
        r#"{"x":[1]}"#,
        r#"{"ret":0.0,"errcode":""}"#,
        r#"{"ret":-0.0,"errcode":" "}"#,
    ] {
        assert!(answer(body).is_ok(), "{body}");
    }
    for (body, code) in [
        (r#"{"ret":-14}"#, "-14"),
        (r#"{"errcode":-14}"#, "-14"),
        (r#"{"ret":3,"errcode":-14}"#, "-14"),
        (r#"{"ret":0,"errcode":5}"#, "5"),
        (r#"{"ret":4,"errcode":5}"#, "4"),
        (r#"{"ret":-14.0}"#, "-14"),
        (r#"{"ret":"?","errcode":-14}"#, "-14"),
        (r#"{"ret":{},"errcode":5}"#, "5"),
        (r#"{"ret":7,"errcode":1.5,"msgs":[{}]}"#, "7"),
        (r#"{"ret":"","errcode":-14}"#, "-14"),
    ] {
        assert_eq!(answer(body).unwrap_err().code.as_deref(), Some(code), "{body}");
    }
    for body in [
        "",
        "null",
        "[]",
        "7",
        "{",
        r#"{"ret":{}}"#,
        r#"{"ret":1e99}"#,
        r#"{"errcode":"x"}"#,
        r#"{"ret":0.5,"msgs":[ ]}"#,
        r#"{"ret":true,"msgs":null}"#,
    ] {
        let failure = answer(body).unwrap_err();
        assert_eq!((failure.class, failure.effect), (FailureClass::Transient, Effect::Unknown), "{body}");
    }
}

/// F-090: quoted, but not what must not be.
#[test]
fn a_refusal_says_what_the_platform_said() {
    let failure = answer(r#"{"ret":7,"errmsg":"bad canary\nthing"}"#).unwrap_err();
    assert_eq!(failure.to_string(), "call: refused: bad [secret] thing (transient, code 7)");
}

#[test]
fn a_status_is_an_answer_of_http_itself() {
    for (status, class, effect) in [
        (400, FailureClass::Transient, Effect::None),
        (429, FailureClass::Throttled, Effect::None),
        (500, FailureClass::Transient, Effect::Unknown),
        (302, FailureClass::Transient, Effect::Unknown),
    ] {
        let response = fake::with_header(fake::answer(status, r#"{"ret":0}"#), "retry-after", "0");
        let failure = read("call", Ok(response), class::call, &[]).unwrap_err();
        assert_eq!((failure.class, failure.effect, failure.code), (class, effect, None), "{status}");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(1)));
    }
}

/// Protocol §1.4.
#[test]
fn ids_are_read_without_losing_a_digit() {
    let answer =
        answer(r#"{"a":7448678501208393000,"b":"x","c":18446744073709551615,"d":-5,"e":1.5,"f":"","g":1e3}"#);
    let answer = answer.unwrap();
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|key| answer.id(key));
    let wanted = [
        Some("7448678501208393000"),
        Some("x"),
        Some("18446744073709551615"),
        Some("-5"),
        None,
        None,
        None,
        None,
    ];
    assert_eq!(ids, wanted.map(|id| id.map(str::to_owned)));
}

/// Protocol §1.5.
#[test]
fn every_call_has_its_deadline_and_only_harmless_ones_are_repeated() {
    for (endpoint, path, seconds, idempotent) in [
        (&GET_UPDATES, "getupdates", 35, false),
        (&SEND_MESSAGE, "sendmessage", 15, false),
        (&GET_CONFIG, "getconfig", 5, true),
        (&SEND_TYPING, "sendtyping", 5, true),
        (&GET_UPLOAD_URL, "getuploadurl", 15, true),
        (&NOTIFY_START, "msg/notifystart", 10, true),
        (&NOTIFY_STOP, "msg/notifystop", 2, true),
    ] {
        let request = fake::bot().request(endpoint, None, json!({}));
        assert_eq!(request.url.as_str(), format!("https://ilink.test/ilink/bot/{path}"));
        assert_eq!((request.deadline.as_secs(), request.idempotent), (seconds, idempotent), "{path}");
    }
}

proptest! {
    /// Whatever an answer is: no panic, and no secret.
    #[test]
    fn any_answer_has_a_meaning(status in 100u16..600, noise in prop::collection::vec(any::<u8>(), 0..64), code in any::<i64>()) {
        let coded = fake::answer(status, json!({"ret": code, "errmsg": format!("x{}", fake::TOKEN)}).to_string());
        for answer in [coded, fake::answer(status, noise)] {
            if let Err(failure) = read("call", Ok(answer), class::send, &[fake::TOKEN]) {
                prop_assert!(!failure.to_string().contains(fake::TOKEN));
            }
        }
    }
}
