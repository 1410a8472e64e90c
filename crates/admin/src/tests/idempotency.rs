//! Requests that are sent again under their key (F-080).

use std::sync::Arc;

use actix_web::test::TestRequest;

use super::fake::Fake;
use super::{Answer, MESSAGES, ask, post, with_body};

fn keyed(request: TestRequest, key: &str) -> TestRequest {
    request.insert_header(("idempotency-key", key.to_owned()))
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[test]
fn a_request_that_is_sent_again_happens_once_f080() {
    let fake = Arc::new(Fake::default());
    let send = || keyed(with_body(MESSAGES, r#"{"to":"oc_1","text":"hello"}"#), "k1");
    let first = ask(&fake, send());
    assert_eq!((first.status.as_u16(), is_replayed(&first)), (202, false));
    let again = ask(&fake, send());
    assert_eq!((again.status.as_u16(), is_replayed(&again)), (202, true));
    assert_eq!(again.body, first.body);
    assert_eq!(*fake.done.lock(), ["send feishu:main oc_1 hello k1"], "the outbox has the key too");
}

#[test]
fn a_key_is_for_one_request() {
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, keyed(with_body(MESSAGES, r#"{"to":"oc_1","text":"a"}"#), "k1")).status, 202);
    for other in [
        with_body(MESSAGES, r#"{"to":"oc_1","text":"b"}"#),
        with_body("/v1/accounts/feishu:other/messages", r#"{"to":"oc_1","text":"a"}"#),
        post("/v1/shutdown"),
    ] {
        let answer = ask(&fake, keyed(other, "k1"));
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "idempotency_key_reused"));
    }
    assert_eq!(fake.done.lock().len(), 1);
    assert!(!fake.answers.lock()["k1"].request.contains("oc_1"), "what it said is not stored");
}

#[test]
fn a_refusal_is_remembered_and_a_failure_of_ours_is_not() {
    let fake = Arc::new(Fake::refusing(moorline_runtime::CommandError::Busy));
    let stop = || keyed(post("/v1/accounts/feishu:main/stop"), "k1");
    assert_eq!(ask(&fake, stop()).status.as_u16(), 503);
    *fake.refuses.lock() = None;
    let answer = ask(&fake, stop());
    assert!(answer.status.is_success() && !is_replayed(&answer));
    let unknown = || keyed(post("/v1/accounts/feishu:nobody/stop"), "k2");
    assert_eq!(ask(&fake, unknown()).status.as_u16(), 404);
    let again = ask(&fake, unknown());
    assert_eq!((again.status.as_u16(), again.code(), is_replayed(&again)), (404, "unknown_account", true));
}

#[test]
fn a_restart_that_is_asked_for_again_is_remembered_before_it_begins() {
    let fake = Arc::new(Fake::default());
    let restart = || keyed(with_body("/v1/shutdown", r#"{"restart":true}"#), "k1");
    assert_eq!(ask(&fake, restart()).status.as_u16(), 202);
    assert!(is_replayed(&ask(&fake, restart())));
    assert_eq!(*fake.done.lock(), ["restart"]);

    let wrong = Arc::new(Fake { cannot_restart: true, ..Fake::default() });
    let answer = ask(&wrong, restart());
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_configuration"), "F-079");
    assert!(wrong.done.lock().is_empty());
}
