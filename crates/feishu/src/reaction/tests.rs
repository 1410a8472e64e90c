//! The sign of typing against canned answers.

use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{Effect, MessageId};
use proptest::prelude::*;

use super::*;
use crate::fake::{self, FakeHttp};

const BASE: &str = "https://open.feishu.cn/open-apis/im/v1/messages";

type Answer = Result<HttpResponse, NetworkError>;

fn start(answer: Answer) -> (Rc<FakeHttp>, Result<Option<TypingMark>, Failure>) {
    let http = FakeHttp::new([answer]);
    let typing = Reactions { app: fake::app("https://open.feishu.cn") };
    let token = Some(Secret::new(fake::TOKEN));
    let outcome =
        fake::now(typing.start(Rc::clone(&http) as _, token, fake::answering(&MessageId::new("om_1")), None));
    (http, outcome)
}

fn stop(mark: &TypingMark, answers: impl IntoIterator<Item = Answer>) -> (Rc<FakeHttp>, Result<(), Failure>) {
    let http = FakeHttp::new(answers);
    let typing = Reactions { app: fake::app("https://open.feishu.cn") };
    let token = Some(Secret::new(fake::TOKEN));
    let outcome = fake::now(typing.stop(Rc::clone(&http) as _, token, mark));
    (http, outcome)
}

fn refused(status: u16, code: i64) -> Answer {
    Ok(fake::json(status, json!({"code": code, "msg": "m"})))
}

/// Protocol §3.4; F-048: the mark is all that another process needs.
#[test]
fn a_reaction_is_put_and_removed() {
    let (http, mark) = start(Ok(fake::json(200, json!({"code": 0, "data": {"reaction_id": "r/1 é"}}))));
    let mark = mark.unwrap().unwrap();
    assert_eq!(http.calls(), [format!("POST {BASE}/om_1/reactions")]);
    assert_eq!(http.body(0), json!({"reaction_type": {"emoji_type": "Typing"}}));
    assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {}", fake::TOKEN));
    assert_eq!(http.request(0).deadline, Duration::from_secs(5));
    assert!(!http.request(0).idempotent);

    let (http, outcome) = stop(&mark, [Ok(fake::json(200, json!({"code": 0, "data": {}})))]);
    assert_eq!(outcome, Ok(()));
    assert_eq!(http.calls(), [format!("DELETE {BASE}/om_1/reactions/r%2F1%20%C3%A9")]);
    assert_eq!(http.request(0).deadline, Duration::from_secs(5));
}

#[test]
fn ending_what_is_gone_is_a_success() {
    let mark = mark("om_1", "r");
    for answer in [refused(400, 230_011), refused(400, 230_110), refused(404, 42), refused(400, 231_003)] {
        assert_eq!(stop(&mark, [answer]).1, Ok(()));
    }
}

/// F-048: everything else is said, with its class; nothing is tried twice here.
#[test]
fn other_refusals_are_failures() {
    use FailureClass::*;
    for (answer, class) in [
        (refused(400, 99_991_663), SessionExpired),
        (refused(400, 99_991_672), Permission),
        (refused(429, 99_991_400), Throttled),
        (refused(400, 230_020), Throttled),
        (refused(400, 42), Transient),
        (refused(500, 231_003), Transient),
        (Ok(fake::answer(404, "<html>")), Transient),
        (Err(fake::lost(NetworkErrorKind::Timeout)), Transient),
    ] {
        assert_eq!(stop(&mark("om_1", "r"), [answer.clone()]).1.unwrap_err().class, class, "{answer:?}");
        assert_eq!(start(answer.clone()).1.unwrap_err().class, class, "{answer:?}");
    }
    for answer in [json!({"code": 0}), json!({"code": 0, "data": {"reaction_id": ""}})] {
        let failure = start(Ok(fake::json(200, answer))).1.unwrap_err();
        assert_eq!((failure.class, failure.effect), (Protocol, Effect::Unknown));
    }
}

#[test]
fn what_is_no_mark_asks_nobody() {
    for text in ["", "om_1 r", "[]", r#"["om_1"]"#, r#"["om_1","r","x"]"#, r#"["om_1",7]"#] {
        let (http, outcome) = stop(&TypingMark(text.to_owned()), []);
        assert_eq!((outcome.unwrap_err().class, http.calls().len()), (FailureClass::Rejected, 0), "{text}");
    }
}

proptest! {
    #[test]
    fn any_ids_survive_in_a_mark(message in ".*", reaction in ".*") {
        let read = serde_json::from_str::<[String; 2]>(&mark(&message, &reaction).0).unwrap();
        prop_assert_eq!(read, [message, reaction]);
    }

    #[test]
    fn noise_is_no_mark(noise in ".{0,64}") {
        let answer = Ok(fake::json(200, json!({"code": 0})));
        drop(stop(&TypingMark(noise), [answer]));
    }
}
