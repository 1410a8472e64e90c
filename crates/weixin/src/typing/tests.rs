use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::{ChatId, MessageId};

use super::*;
use crate::fake::{self, FakeHttp};

const TICKET: &str = "canary-ticket";

type Answers = Vec<Result<HttpResponse, NetworkError>>;

fn start(
    shown: Option<&TypingMark>,
    answers: Answers,
) -> (Rc<FakeHttp>, Result<Option<TypingMark>, Failure>) {
    let http = FakeHttp::new(answers);
    let (chat, message, token) = (ChatId::new(fake::USER), MessageId::new("m"), Secret::new(fake::CONTEXT));
    let answering = Answering { chat: &chat, message: &message, reply_token: Some(&token) };
    let signs = Signs { bot: Some(Arc::new(fake::bot())) };
    let outcome = fake::now(signs.start(Rc::clone(&http) as _, None, answering, shown));
    (http, outcome)
}

fn stop(mark: &str, answers: Answers) -> (Rc<FakeHttp>, Result<(), Failure>) {
    let http = FakeHttp::new(answers);
    let signs = Signs { bot: Some(Arc::new(fake::bot())) };
    let outcome = fake::now(signs.stop(Rc::clone(&http) as _, None, &TypingMark(mark.to_owned())));
    (http, outcome)
}

fn ok(body: &serde_json::Value) -> Result<HttpResponse, NetworkError> {
    Ok(fake::json(body))
}

/// Protocol §6: a ticket once, then one call for each showing.
#[test]
fn a_sign_is_shown_again_with_the_ticket_of_the_first_time() {
    let (http, mark) =
        start(None, vec![ok(&json!({"ret": 0, "typing_ticket": TICKET})), ok(&json!({"ret": 0}))]);
    let mark = mark.unwrap().unwrap();
    assert_eq!(
        http.calls(),
        ["POST https://ilink.test/ilink/bot/getconfig", "POST https://ilink.test/ilink/bot/sendtyping"]
    );
    assert_eq!(
        (&http.body(0)["ilink_user_id"], &http.body(0)["context_token"]),
        (&json!(fake::USER), &json!(fake::CONTEXT))
    );
    let mut body = http.body(1);
    body.as_object_mut().unwrap().remove("base_info");
    assert_eq!(body, json!({"ilink_user_id": fake::USER, "typing_ticket": TICKET, "status": 1}));
    assert!((0..2).all(|n| http.request(n).deadline == Duration::from_secs(5)));

    let (http, again) = start(Some(&mark), vec![ok(&json!({}))]);
    assert_eq!((again.unwrap().unwrap(), http.calls().len()), (mark.clone(), 1));
    let (http, stopped) = stop(&mark.0, vec![ok(&json!({}))]);
    stopped.unwrap();
    assert_eq!((&http.body(0)["status"], &http.body(0)["typing_ticket"]), (&json!(2), &json!(TICKET)));
    assert_eq!(Signs { bot: None }.lasts(), Some(Duration::from_secs(5)));
}

#[test]
fn a_mark_of_somebody_else_is_not_used() {
    for mark in [json!(["other@im.wechat", TICKET]).to_string(), "x".to_owned(), String::new()] {
        let mark = TypingMark(mark);
        let (http, _) = start(Some(&mark), vec![ok(&json!({"typing_ticket": "new"})), ok(&json!({}))]);
        assert_eq!(http.body(1)["typing_ticket"], "new");
    }
}

/// Protocol §6: no ticket, no sign.
#[test]
fn without_a_ticket_nothing_is_shown() {
    let (http, mark) = start(None, vec![ok(&json!({"ret": 0}))]);
    assert_eq!((mark.unwrap(), http.calls().len()), (None, 1));
}

/// F-048, F-090.
#[test]
fn failures_are_told_and_quote_no_secret() {
    let refused = |says: &str| ok(&json!({"ret": 3, "errmsg": says}));
    let ticket = || ok(&json!({"typing_ticket": TICKET}));
    let mark = json!([fake::USER, TICKET]).to_string();
    for (failure, secrets) in [
        (
            start(None, vec![refused("canary-bot-token canary-context-token")]).1.unwrap_err(),
            "[secret] [secret]",
        ),
        (
            start(None, vec![ticket(), refused("canary-bot-token canary-ticket")]).1.unwrap_err(),
            "[secret] [secret]",
        ),
        (stop(&mark, vec![refused(TICKET)]).1.unwrap_err(), "[secret]"),
    ] {
        assert_eq!(failure.message, format!("typing: refused: {secrets}"));
        assert_eq!((failure.class, failure.code.as_deref()), (FailureClass::Transient, Some("3")));
    }
    assert_eq!(stop("x", vec![]).1.unwrap_err().class, FailureClass::Rejected);
    let lost = start(None, vec![Err(fake::lost(NetworkErrorKind::Timeout))]).1.unwrap_err();
    assert_eq!(lost.class, FailureClass::Transient);
}

#[test]
fn without_a_login_nothing_is_shown() {
    let signs = Signs { bot: None };
    let (chat, message) = (ChatId::new(fake::USER), MessageId::new("m"));
    let answering = Answering { chat: &chat, message: &message, reply_token: None };
    let failure = fake::now(signs.start(FakeHttp::new([]), None, answering, None)).unwrap_err();
    assert_eq!(failure.class, FailureClass::NeedsLogin);
}
