use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{Effect, Outbound, Route};

use super::*;
use crate::fake::{self, FakeHttp};

type Outcome = Result<Receipt, Failure>;

fn send_with(
    reply_token: Option<&str>,
    answer: Option<Result<HttpResponse, NetworkError>>,
) -> (Rc<FakeHttp>, Outcome) {
    let http = FakeHttp::new(answer);
    let route = Route { chat: ChatId::new(fake::USER), reply_to: None, in_thread: false };
    let (outbound, key) = (Outbound { route, text: "Hi\n\u{1f600}".to_owned() }, IdempotencyKey::new("k-1"));
    let reply_token = reply_token.map(Secret::new);
    let outgoing = Outgoing { outbound: &outbound, key: &key, reply_token: reply_token.as_ref() };
    let sender = TextSender { bot: Some(Arc::new(fake::bot())) };
    let outcome = fake::now(sender.send(Rc::clone(&http) as _, None, outgoing));
    (http, outcome)
}

fn outcome(answer: Result<HttpResponse, NetworkError>) -> Outcome {
    send_with(Some(fake::CONTEXT), Some(answer)).1
}

/// Protocol §5.1, field by field.
#[test]
fn a_message_is_one_item_with_the_newest_reply_token() {
    let (http, outcome) = send_with(
        Some(fake::CONTEXT),
        Some(Ok(fake::json(&json!({"ret": 0, "message_id": 7_448_678_501_208_393_001_u64})))),
    );
    assert_eq!(outcome.unwrap().message_id.as_str(), "7448678501208393001");
    assert_eq!(http.calls(), ["POST https://ilink.test/ilink/bot/sendmessage"]);
    assert_eq!(
        http.body(0)["msg"],
        json!({
            "from_user_id": "", "to_user_id": fake::USER, "client_id": "moorline-k-1", "message_type": 2,
            "message_state": 2, "context_token": fake::CONTEXT,
            "item_list": [{ "type": 1, "text_item": { "text": "Hi\n\u{1f600}" } }],
        })
    );
    let (http, _) = send_with(None, Some(Ok(fake::json(&json!({})))));
    assert_eq!(http.body(0)["msg"].get("context_token"), None, "left out when there never was one");
}

/// Protocol §5.2: an answer without an id is a good one.
#[test]
fn what_is_accepted_without_an_id_is_known_by_ours() {
    for body in [json!({}), json!({"ret": 0}), json!({"message_id": ""}), json!({"message_id": null})] {
        assert_eq!(outcome(Ok(fake::json(&body))).unwrap().message_id.as_str(), "moorline-k-1", "{body}");
    }
    assert_eq!(outcome(Ok(fake::json(&json!({"message_id": "m"})))).unwrap().message_id.as_str(), "m");
}

/// Protocol §5.4 row by row: class, code, effect, wait (F-053, F-057, F-059, F-060).
#[test]
fn every_answer_has_its_class_and_its_effect() {
    use Effect::{None as NoEffect, Unknown};
    use FailureClass::*;
    let ret = |ret: i64, errmsg: &str| Ok(fake::json(&json!({"ret": ret, "errmsg": errmsg})));
    let lost = |kind| Err(fake::lost(kind));
    for (answer, class, code, effect, wait) in [
        (ret(-2, "prepare failed"), AwaitsUser, Some("-2"), NoEffect, None),
        (ret(-2, "unknown error"), AwaitsUser, Some("-2"), NoEffect, None),
        (ret(-2, ""), AwaitsUser, Some("-2"), NoEffect, None),
        (ret(-2, "rate limited"), Throttled, Some("-2"), NoEffect, Some(10)),
        (ret(-2, "freq limit"), Throttled, Some("-2"), NoEffect, Some(10)),
        (Ok(fake::json(&json!({"errcode": -12}))), Throttled, Some("-12"), NoEffect, Some(10)),
        (ret(-14, "session expired"), SessionExpired, Some("-14"), NoEffect, None),
        (Ok(fake::json(&json!({"errcode": -14}))), SessionExpired, Some("-14"), NoEffect, None),
        (ret(5, "bad item"), Rejected, Some("5"), NoEffect, None),
        (Ok(fake::answer(200, "")), Protocol, None, Unknown, None),
        (Ok(fake::answer(200, "<html>")), Transient, None, Unknown, None),
        (Ok(fake::answer(500, "")), Transient, None, Unknown, None),
        (Ok(fake::answer(502, "")), Transient, None, Unknown, None),
        (Ok(fake::answer(404, "")), Transient, None, NoEffect, None),
        (lost(NetworkErrorKind::Resolve), Transient, None, NoEffect, None),
        (lost(NetworkErrorKind::Connect), Transient, None, NoEffect, None),
        (lost(NetworkErrorKind::Tls), Transient, None, NoEffect, None),
        (lost(NetworkErrorKind::ConnectTimeout), Transient, None, NoEffect, None),
        (lost(NetworkErrorKind::Timeout), Transient, None, Unknown, None),
        (lost(NetworkErrorKind::Reset), Transient, None, Unknown, None),
    ] {
        let shown = format!("{answer:?}");
        let failure = outcome(answer).unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_deref(), failure.effect),
            (class, code, effect),
            "{shown}"
        );
        assert_eq!(failure.retry_after.map(|wait| wait.as_secs()), wait, "{shown}");
    }
}

/// F-090.
#[test]
fn a_failure_hides_both_tokens() {
    let errmsg = format!("{} and {}", fake::TOKEN, fake::CONTEXT);
    let failure = outcome(Ok(fake::json(&json!({"ret": 5, "errmsg": errmsg})))).unwrap_err();
    assert_eq!(failure.message, "send: refused: [secret] and [secret]");
}

#[test]
fn without_a_login_nothing_is_sent() {
    let http = FakeHttp::new([]);
    let route = Route { chat: ChatId::new(fake::USER), reply_to: None, in_thread: false };
    let (outbound, key) = (Outbound { route, text: "x".to_owned() }, IdempotencyKey::new("k"));
    let outgoing = Outgoing { outbound: &outbound, key: &key, reply_token: None };
    let failure =
        fake::now(TextSender { bot: None }.send(Rc::clone(&http) as _, None, outgoing)).unwrap_err();
    assert_eq!((failure.class, http.calls().len()), (FailureClass::NeedsLogin, 0));
}
