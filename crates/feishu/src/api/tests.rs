//! Every REST call against every answer that is none: one table for all of them (protocol §3).

use std::cell::RefCell;
use std::rc::Rc;

use moorline_channel::{Credentials, Editor, IdentityProbe, Resources, Sender, Typing, TypingMark};
use moorline_core::{Attachment, AttachmentKind, ChatId, IdempotencyKey, MessageId, Outbound, Route};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::card::Cards;
use crate::fake::{self, FakeHttp};
use crate::identity::BotInfo;
use crate::reaction::Reactions;
use crate::resource::MessageResources;
use crate::sender::TextSender;
use crate::token::TenantToken;

/// Makes every call there is, on `base`, with `token`; each gets `answer`. What was asked, and how each failed.
fn every_call(base: &str, token: &str, answer: &HttpResponse) -> Vec<(Rc<FakeHttp>, Failure)> {
    let app = || fake::app(base);
    let token = || Some(Secret::new(token));
    let (message, key) = (MessageId::new("om_1"), IdempotencyKey::new("key"));
    let outbound = |reply: bool| Outbound {
        route: Route {
            chat: ChatId::new("oc_1"),
            reply_to: reply.then(|| message.clone()),
            in_thread: false,
        },
        text: "hi".to_owned(),
    };
    let attachment = Attachment { kind: AttachmentKind::Image, key: "img_1".to_owned(), name: None };
    let mark = TypingMark(json!(["om_1", "r_1"]).to_string());
    let asked = RefCell::new(Vec::new());
    let http = || {
        let http = FakeHttp::new([Ok(answer.clone())]);
        asked.borrow_mut().push(Rc::clone(&http));
        http as Rc<dyn Http>
    };
    let failures = [
        fake::now(TenantToken { app: app() }.fetch(http())).map(drop),
        fake::now(BotInfo { app: app() }.probe(http(), token())).map(drop),
        fake::now(TextSender { app: app() }.send(http(), token(), fake::outgoing(&outbound(false), &key)))
            .map(drop),
        fake::now(TextSender { app: app() }.send(http(), token(), fake::outgoing(&outbound(true), &key)))
            .map(drop),
        fake::now(Cards { app: app() }.send_editable(
            http(),
            token(),
            fake::outgoing(&outbound(false), &key),
        ))
        .map(drop),
        fake::now(Cards { app: app() }.edit(http(), token(), &message, "hi")),
        fake::now(Reactions { app: app() }.start(http(), token(), fake::answering(&message), None)).map(drop),
        fake::now(Reactions { app: app() }.stop(http(), token(), &mark)),
        fake::now(MessageResources { app: app() }.fetch(http(), token(), &message, &attachment, 1 << 20))
            .map(drop),
    ];
    asked.into_inner().into_iter().zip(failures.map(Result::unwrap_err)).collect()
}

/// Protocol §3: redirects are not followed, and pages of proxies say nothing of what the platform did. Whatever the
/// call, whatever the status, the outcome is unknown and the call is repeated.
#[test]
fn an_answer_that_is_none_is_transient_and_of_unknown_effect() {
    for status in [301, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503, 504] {
        for body in [
            "",
            "<html>sign in</html>",
            "null",
            "[0]",
            "{}",
            r#"{"code":"0"}"#,
            r#"{"code":1.5}"#,
            "{\"code\":0",
        ] {
            let answer = fake::with_header(fake::answer(status, body), "location", "https://elsewhere.test/");
            for (_, failure) in every_call("https://open.feishu.cn", fake::TOKEN, &answer) {
                let class = if status == 429 { FailureClass::Throttled } else { FailureClass::Transient };
                assert_eq!(
                    (failure.class, failure.effect),
                    (class, Effect::Unknown),
                    "{status} {body} {failure}"
                );
                assert_eq!(failure.code, None, "{status} {body}");
                assert!(failure.message.contains(&format!("status {status}")), "{failure}");
            }
        }
    }
}

/// Protocol §3.1 to §3.5: a code nobody knows passes by itself, and is named.
#[test]
fn an_unknown_code_is_transient_and_keeps_its_number() {
    for (status, effect) in
        [(200, Effect::None), (400, Effect::None), (403, Effect::None), (500, Effect::Unknown)]
    {
        let answer = fake::json(status, json!({"code": 777_777, "msg": "what?", "error": {"log_id": "L1"}}));
        for (_, failure) in every_call("https://open.feishu.cn", fake::TOKEN, &answer) {
            assert_eq!((failure.class, failure.effect), (FailureClass::Transient, effect), "{failure}");
            assert_eq!(failure.code.as_deref(), Some("777777"));
            assert!(failure.message.ends_with("what? (log id L1)"), "{failure}");
        }
    }
}

/// Protocol §3.6: in both forms, with the wait that the header asks for; and the form of HTTP, which proxies use.
#[test]
fn a_limit_is_told_by_code_or_status_and_its_wait_by_header() {
    let code = |status, code: i64| {
        fake::json(status, json!({"code": code, "msg": "request trigger frequency limit"}))
    };
    for (answer, header, value, wait) in [
        (code(429, 99_991_400), "x-ogw-ratelimit-reset", "7", Some(7)),
        (code(400, 99_991_400), "x-ogw-ratelimit-reset", "7", Some(7)),
        (code(400, 99_991_400), "x-ogw-ratelimit-reset", " 7 ", Some(7)),
        // Asked again at once, it would refuse again at once.
        (code(429, 99_991_400), "x-ogw-ratelimit-reset", "0", Some(1)),
        (code(429, 99_991_400), "x-ogw-ratelimit-reset", "-1", None),
        (code(429, 99_991_400), "x-ogw-ratelimit-reset", "1.5", None),
        (code(429, 99_991_400), "x-ogw-ratelimit-limit", "50", None),
        (code(429, 99_991_400), "retry-after", "3", Some(3)),
        (code(429, 5), "retry-after", "3", Some(3)),
        (fake::answer(429, "slow down"), "retry-after", "3", Some(3)),
        (fake::answer(429, "slow down"), "retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", None),
    ] {
        let answer = fake::with_header(answer, header, value);
        for (_, failure) in every_call("https://open.feishu.cn", fake::TOKEN, &answer) {
            assert_eq!(failure.class, FailureClass::Throttled, "{failure}");
            assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{header} {value}");
        }
    }
    let both = fake::with_header(code(429, 99_991_400), "x-ogw-ratelimit-reset", "7");
    let both = fake::with_header(both, "retry-after", "60");
    assert_eq!(wait_demanded(&both.headers), Some(Duration::from_secs(7)));
}

/// Protocol §3.2, for every call that carries a token: it is dropped, and the call repeated, by the runtime.
#[test]
fn a_dead_token_is_told_by_its_code() {
    for (code, class) in [
        (99_991_661, FailureClass::Transient),
        (99_991_663, FailureClass::SessionExpired),
        (99_991_664, FailureClass::SessionExpired),
        (99_991_668, FailureClass::SessionExpired),
        (99_991_671, FailureClass::SessionExpired),
        (99_991_672, FailureClass::Permission),
    ] {
        for status in [200, 400, 401] {
            let answer = fake::json(status, json!({"code": code, "msg": format!("of {}", fake::TOKEN)}));
            for (_, failure) in every_call("https://open.feishu.cn", fake::TOKEN, &answer).split_off(1) {
                assert_eq!(failure.class, class, "{failure}");
                assert!(failure.message.contains("of [secret]"), "{failure}");
            }
        }
    }
}

/// Protocol §0, §3.1: everything hangs off the base, Lark's too, and a token may be longer than any header of old.
#[test]
fn every_call_goes_to_the_base_with_the_whole_token() {
    const MESSAGES: &str = "open-apis/im/v1/messages";
    let token = "t-".to_owned() + &"0123456789abcdef".repeat(256);
    let answer = fake::answer(500, "");
    for (base, host) in [
        ("https://open.larksuite.com", "https://open.larksuite.com"),
        ("https://open.larksuite.com/", "https://open.larksuite.com"),
        ("http://127.0.0.1:8080/lark/", "http://127.0.0.1:8080/lark"),
    ] {
        let made = every_call(base, &token, &answer);
        let calls: Vec<_> = made.iter().flat_map(|(http, _)| http.calls()).collect();
        assert_eq!(
            calls,
            [
                format!("POST {host}/open-apis/auth/v3/tenant_access_token/internal"),
                format!("GET {host}/open-apis/bot/v3/info"),
                format!("POST {host}/{MESSAGES}?receive_id_type=chat_id"),
                format!("POST {host}/{MESSAGES}/om_1/reply"),
                format!("POST {host}/{MESSAGES}?receive_id_type=chat_id"),
                format!("PATCH {host}/{MESSAGES}/om_1"),
                format!("POST {host}/{MESSAGES}/om_1/reactions"),
                format!("DELETE {host}/{MESSAGES}/om_1/reactions/r_1"),
                format!("GET {host}/{MESSAGES}/om_1/resources/img_1?type=image"),
            ]
        );
        for (http, _) in &made[1..] {
            assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {token}"));
            // Whoever logs headers does not log this one (F-090).
            assert!(http.request(0).headers["authorization"].is_sensitive());
        }
        let endpoint = crate::endpoint::request(&fake::app(base));
        assert_eq!(endpoint.url.as_str(), format!("{host}/callback/ws/endpoint"));
    }
}

/// A call that may have taken effect is repeated by the transport only where the platform recognises it.
#[test]
fn only_the_sign_of_typing_is_not_idempotent() {
    let made = every_call("https://open.feishu.cn", fake::TOKEN, &fake::answer(500, ""));
    let idempotent: Vec<_> = made.iter().map(|(http, _)| http.request(0).idempotent).collect();
    assert_eq!(idempotent, [true, true, true, true, true, true, false, true, true]);
}

proptest! {
    /// Whatever a refusal says: a class, and no secret.
    #[test]
    fn any_refusal_has_a_class(status in 300u16..600, noise in prop::collection::vec(any::<u8>(), 0..64), code in any::<i64>()) {
        let coded = fake::json(status, json!({"code": code, "msg": fake::TOKEN, "error": {"log_id": fake::SECRET}}));
        for answer in [coded, fake::answer(status, noise)] {
            // A sign of typing that cannot be removed counts as removed, and a second way may be tried for a reply.
            prop_assume!(!(230_000..=231_999).contains(&code) && status != 404);
            for (_, failure) in every_call("https://open.feishu.cn", fake::TOKEN, &answer).split_off(1) {
                prop_assert!(!failure.to_string().contains(fake::TOKEN));
            }
        }
    }
}
