//! Sends against canned answers: what is called, and what each answer means.

use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{Effect, IdempotencyKey, Outbound, Route};

use super::*;
use crate::fake::{self, FakeHttp};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const BASE: &str = "https://open.feishu.cn/open-apis/im/v1/messages";

type Answer = Result<HttpResponse, NetworkError>;

fn outbound(chat: &str, reply_to: Option<&str>, in_thread: bool) -> Outbound {
    let route = Route { chat: ChatId::new(chat), reply_to: reply_to.map(MessageId::new), in_thread };
    Outbound { route, text: "say \"hi\"\n".to_owned() }
}

fn send_with(
    key: &str,
    outbound: &Outbound,
    answers: impl IntoIterator<Item = Answer>,
) -> (Rc<FakeHttp>, Result<Receipt, Failure>) {
    let http = FakeHttp::new(answers);
    let sender = TextSender { app: fake::app("https://open.feishu.cn") };
    let token = Some(Secret::new(fake::TOKEN));
    let outcome = fake::now(sender.send(
        Rc::clone(&http) as _,
        token,
        fake::outgoing(outbound, &IdempotencyKey::new(key)),
    ));
    (http, outcome)
}

fn send(
    outbound: &Outbound,
    answers: impl IntoIterator<Item = Answer>,
) -> (Rc<FakeHttp>, Result<Receipt, Failure>) {
    send_with(KEY, outbound, answers)
}

fn sent(id: &str) -> Answer {
    Ok(fake::json(200, json!({"code": 0, "msg": "success", "data": {"message_id": id}})))
}

fn refused(code: i64) -> Answer {
    Ok(fake::json(400, json!({"code": code, "msg": "refused"})))
}

fn receipt(id: &str) -> Result<Receipt, Failure> {
    Ok(Receipt { message_id: MessageId::new(id) })
}

#[test]
fn a_plain_send_names_its_destination_by_prefix() {
    for (chat, kind) in [
        ("oc_1", "chat_id"),
        ("ou_1", "open_id"),
        ("on_1", "union_id"),
        ("a@b.test", "email"),
        ("7f1bcd13", "user_id"),
    ] {
        let (http, outcome) = send(&outbound(chat, None, false), [sent("om_1")]);
        assert_eq!(outcome, receipt("om_1"));
        assert_eq!(http.calls(), [format!("POST {BASE}?receive_id_type={kind}")]);
        assert_eq!(
            http.body(0),
            json!({"receive_id": chat, "msg_type": "text",
                "content": r#"{"text":"say \"hi\"\n"}"#, "uuid": KEY})
        );
        assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {}", fake::TOKEN));
    }
}

#[test]
fn a_reply_answers_its_message() {
    for in_thread in [false, true] {
        let (http, outcome) = send(&outbound("oc_1", Some("om_q/../x"), in_thread), [sent("om_2")]);
        assert_eq!(outcome, receipt("om_2"));
        assert_eq!(http.calls(), [format!("POST {BASE}/om_q%2F..%2Fx/reply")]);
        assert_eq!(
            http.body(0),
            json!({"msg_type": "text", "content": r#"{"text":"say \"hi\"\n"}"#, "uuid": KEY,
                "reply_in_thread": in_thread})
        );
    }
}

/// Protocol §3.5: a target that is gone, and a chat without threads. A second attempt repeats every key (G4).
#[test]
fn a_reply_that_cannot_be_had_falls_back_with_keys_of_its_own() {
    let answers = || [refused(230_071), refused(230_011), sent("om_3")];
    let message = outbound("oc_1", Some("om_q"), true);
    let (http, outcome) = send(&message, answers());
    assert_eq!(outcome, receipt("om_3"));
    assert_eq!(
        http.calls(),
        [
            format!("POST {BASE}/om_q/reply"),
            format!("POST {BASE}/om_q/reply"),
            format!("POST {BASE}?receive_id_type=chat_id"),
        ]
    );
    assert_eq!(http.body(1)["reply_in_thread"], json!(false));
    assert_eq!(http.body(2)["receive_id"], json!("oc_1"));
    let keys = |http: &FakeHttp| [0, 1, 2].map(|n| http.body(n)["uuid"].as_str().unwrap().to_owned());
    let first = keys(&http);
    assert!(first[0] == KEY && first[1] != first[0] && first[2] != first[1] && first[2] != first[0]);
    assert!(first.iter().all(|key| key.len() <= KEY_LIMIT));
    assert_eq!(keys(&send(&message, answers()).0), first);

    for gone in [230_011, 230_019, 230_110] {
        let (http, outcome) = send(&outbound("oc_1", Some("om_q"), false), [refused(gone), sent("om_4")]);
        assert_eq!((http.calls().len(), outcome), (2, receipt("om_4")));
    }
    // Both of the codes that say that there are no threads.
    let (http, outcome) = send(&message, [refused(230_072), sent("om_5")]);
    assert_eq!((http.calls().len(), outcome), (2, receipt("om_5")));
}

/// A fallback happens once, and only from a reply.
#[test]
fn a_refused_fallback_is_a_failure() {
    let (_, outcome) = send(&outbound("oc_1", None, false), [refused(230_011)]);
    assert_eq!(outcome.unwrap_err().class, FailureClass::Rejected);
    let (_, outcome) = send(&outbound("oc_1", Some("om_q"), false), [refused(230_071)]);
    assert_eq!(outcome.unwrap_err().class, FailureClass::Rejected);
    let lost = Err(fake::lost(NetworkErrorKind::Reset));
    let (_, outcome) = send(&outbound("oc_1", Some("om_q"), false), [refused(230_011), lost]);
    assert_eq!(outcome.unwrap_err().effect, Effect::Unknown);
}

/// Protocol §3.4, §3.5, §3.6 end to end: class, code, effect, wait (F-053, F-057, F-059).
#[test]
fn every_answer_has_its_class_and_its_effect() {
    use Effect::{None as NoEffect, Unknown};
    use FailureClass::*;
    let limited = |status, code, reset: &str| {
        let body = json!({"code": code, "msg": "request trigger frequency limit"});
        Ok(fake::with_header(fake::json(status, body), "x-ogw-ratelimit-reset", reset))
    };
    for (answer, class, code, effect, wait) in [
        (refused(230_002), Rejected, Some("230002"), NoEffect, None),
        (refused(230_025), Rejected, Some("230025"), NoEffect, None),
        (refused(230_006), Permission, Some("230006"), NoEffect, None),
        (refused(230_020), Throttled, Some("230020"), NoEffect, None),
        (refused(230_049), Transient, Some("230049"), Unknown, Some(1)),
        (refused(99_991_663), SessionExpired, Some("99991663"), NoEffect, None),
        (refused(230_998), Transient, Some("230998"), NoEffect, None),
        (limited(429, 99_991_400, "7"), Throttled, Some("99991400"), NoEffect, Some(7)),
        (limited(400, 99_991_400, "3"), Throttled, Some("99991400"), NoEffect, Some(3)),
        (limited(400, 99_991_400, "soon"), Throttled, Some("99991400"), NoEffect, None),
        (limited(400, 230_002, "60"), Rejected, Some("230002"), NoEffect, None),
        (Ok(fake::json(500, json!({"code": 1}))), Transient, Some("1"), Unknown, None),
        (Ok(fake::answer(502, "<html>")), Transient, None, Unknown, None),
        (Ok(fake::answer(429, "slow down")), Throttled, None, Unknown, None),
        (Ok(fake::answer(200, "")), Transient, None, Unknown, None),
        (Ok(fake::json(302, json!({}))), Transient, None, Unknown, None),
        (Ok(fake::json(200, json!({"code": "0"}))), Transient, None, Unknown, None),
        (Ok(fake::json(200, json!({"code": 0}))), Protocol, None, Unknown, None),
        (Ok(fake::json(200, json!({"code": 0, "data": {"message_id": ""}}))), Protocol, None, Unknown, None),
        (
            Ok(fake::json(400, json!({"code": 0, "data": {"message_id": "om"}}))),
            Transient,
            Some("0"),
            Unknown,
            None,
        ),
        (Err(fake::lost(NetworkErrorKind::Resolve)), Transient, None, NoEffect, None),
        (Err(fake::lost(NetworkErrorKind::Connect)), Transient, None, NoEffect, None),
        (Err(fake::lost(NetworkErrorKind::Tls)), Transient, None, NoEffect, None),
        (Err(fake::lost(NetworkErrorKind::ConnectTimeout)), Transient, None, NoEffect, None),
        (Err(fake::lost(NetworkErrorKind::Timeout)), Transient, None, Unknown, None),
        (Err(fake::lost(NetworkErrorKind::Reset)), Transient, None, Unknown, None),
        (Err(fake::lost(NetworkErrorKind::TooLarge)), Transient, None, Unknown, None),
        (Err(fake::lost(NetworkErrorKind::Protocol)), Transient, None, Unknown, None),
    ] {
        let shown = format!("{answer:?}");
        let failure = send(&outbound("oc_1", None, false), [answer]).1.unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_deref(), failure.effect),
            (class, code, effect),
            "{shown}"
        );
        assert_eq!(failure.retry_after.map(|wait| wait.as_secs()), wait, "{shown}");
    }
}

/// Protocol §3: support asks for the log id. F-090: the token is not repeated.
#[test]
fn a_failure_names_the_log_id_and_hides_the_token() {
    let body = json!({"code": 230_002, "msg": format!("token {}\nis odd", fake::TOKEN),
        "error": {"log_id": "from-body"}});
    for (answer, log_id) in [
        (fake::json(400, body.clone()), "(log id from-body)"),
        (fake::with_header(fake::json(400, body), "x-tt-logid", "from-header"), "(log id from-header)"),
    ] {
        let failure = send(&outbound("oc_1", None, false), [Ok(answer)]).1.unwrap_err();
        assert_eq!(
            failure.message,
            format!("send: refused with status 400 Bad Request: token [secret] is odd {log_id}")
        );
    }
}

#[test]
fn a_key_the_platform_would_refuse_is_not_sent() {
    for key in [String::new(), "k".repeat(51)] {
        let (http, outcome) = send_with(&key, &outbound("oc_1", None, false), []);
        assert_eq!((outcome.unwrap_err().class, http.calls().len()), (FailureClass::Rejected, 0));
    }
    let (http, _) = send_with(&"k".repeat(50), &outbound("oc_1", None, false), [sent("om")]);
    assert_eq!(http.body(0)["uuid"], json!("k".repeat(50)));
}
