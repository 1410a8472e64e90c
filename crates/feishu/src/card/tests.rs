//! Cards against canned answers.

use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{ChatId, Effect, IdempotencyKey, Outbound, Route};
use serde_json::Value;

use super::*;
use crate::fake::{self, FakeHttp};

const BASE: &str = "https://open.feishu.cn/open-apis/im/v1/messages";

type Answer = Result<HttpResponse, NetworkError>;

fn cards() -> Cards {
    Cards { app: fake::app("https://open.feishu.cn") }
}

fn send(
    route: Route,
    text: &str,
    answers: impl IntoIterator<Item = Answer>,
) -> (Rc<FakeHttp>, Result<Receipt, Failure>) {
    let http = FakeHttp::new(answers);
    let outbound = Outbound { route, text: text.to_owned() };
    let token = Some(Secret::new(fake::TOKEN));
    let outcome = cards().send_editable(
        Rc::clone(&http) as _,
        token,
        fake::outgoing(&outbound, &IdempotencyKey::new("key")),
    );
    (Rc::clone(&http), fake::now(outcome))
}

fn edit(text: &str, answers: impl IntoIterator<Item = Answer>) -> (Rc<FakeHttp>, Result<(), Failure>) {
    let http = FakeHttp::new(answers);
    let token = Some(Secret::new(fake::TOKEN));
    let outcome = cards().edit(Rc::clone(&http) as _, token, &MessageId::new("om_1/x"), text);
    (Rc::clone(&http), fake::now(outcome))
}

fn plain() -> Route {
    Route { chat: ChatId::new("oc_1"), reply_to: None, in_thread: false }
}

fn sent() -> Answer {
    Ok(fake::json(200, json!({"code": 0, "data": {"message_id": "om_2"}})))
}

fn shown(body: &Value) -> String {
    let card: Value = serde_json::from_str(body["content"].as_str().unwrap()).unwrap();
    assert_eq!(card["config"]["update_multi"], json!(true));
    assert_eq!(card["elements"].as_array().unwrap().len(), 1);
    assert_eq!(card["elements"][0]["text"]["tag"], json!("plain_text"));
    card["elements"][0]["text"]["content"].as_str().unwrap().to_owned()
}

/// Protocol §3.4: sent as a card that may be changed, changed by the whole card. The text is shown as it is.
#[test]
fn a_card_is_sent_and_changed() {
    let text = "**a** <at id=all></at> \"é\"\n";
    let (http, outcome) = send(plain(), text, [sent()]);
    assert_eq!(outcome, Ok(Receipt { message_id: MessageId::new("om_2") }));
    assert_eq!(http.calls(), [format!("POST {BASE}?receive_id_type=chat_id")]);
    let body = http.body(0);
    assert_eq!((&body["msg_type"], &body["uuid"]), (&json!("interactive"), &json!("key")));
    assert_eq!(shown(&body), text);

    let (http, outcome) = edit(text, [Ok(fake::json(200, json!({"code": 0, "msg": "success", "data": {}})))]);
    assert_eq!((outcome, http.calls()), (Ok(()), vec![format!("PATCH {BASE}/om_1%2Fx")]));
    assert_eq!(shown(&http.body(0)), text);
    assert_eq!(http.body(0).as_object().unwrap().len(), 1);
    assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {}", fake::TOKEN));
}

/// Protocol §3.5: cards take the same ways as texts.
#[test]
fn a_card_that_cannot_be_a_reply_falls_back() {
    let route = Route { reply_to: Some(MessageId::new("om_q")), in_thread: true, ..plain() };
    let refused = |code: i64| Ok(fake::json(400, json!({"code": code, "msg": ""})));
    let (http, outcome) = send(route, "a", [refused(230_071), refused(230_110), sent()]);
    assert!(outcome.is_ok() && http.calls().len() == 3);
    assert!((0..3).all(|n| http.body(n)["msg_type"] == json!("interactive")));
}

/// Protocol §3.4: 30 KB; what cannot fit is not sent.
#[test]
fn a_card_that_is_too_large_is_refused_here() {
    let longest = CARD_LIMIT - card("send", "").unwrap().len();
    assert!(send(plain(), &"x".repeat(longest), [sent()]).1.is_ok());
    // A quotation mark has two bytes in the card.
    for text in ["x".repeat(longest + 1), "\"".repeat(longest / 2 + 1)] {
        let failure = send(plain(), &text, []).1.unwrap_err();
        assert_eq!((failure.class, failure.effect), (FailureClass::Rejected, Effect::None));
        assert!(failure.message.contains("the platform takes 30000"), "{failure}");
        let failure = edit(&text, []).1.unwrap_err();
        assert!(
            failure.class == FailureClass::Rejected && failure.message.starts_with("edit: "),
            "{failure}"
        );
    }
}

/// F-063: whoever edits has to know when it is over.
#[test]
fn refused_edits_have_their_class() {
    use FailureClass::*;
    let refused = |code: i64| Ok(fake::json(400, json!({"code": code, "msg": "m"})));
    for (answer, class, code) in [
        (refused(230_031), Rejected, Some("230031")),
        (refused(230_017), Rejected, Some("230017")),
        (refused(230_020), Throttled, Some("230020")),
        (Ok(fake::answer(429, "")), Throttled, None),
        (refused(99_991_663), SessionExpired, Some("99991663")),
        (refused(1), Transient, Some("1")),
        (Err(fake::lost(NetworkErrorKind::Timeout)), Transient, None),
    ] {
        let failure = edit("a", [answer]).1.unwrap_err();
        assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{failure}");
    }
}
