//! What is answered to those who may ask.

use std::sync::Arc;

use moorline_runtime::{CommandError, StoreError};
use serde_json::json;

use super::fake::{Fake, main};
use super::{MESSAGES, anonymous, ask, get, post, with_body};
use crate::operator::Verb;

#[test]
fn every_view_has_its_path() {
    let fake = Arc::new(Fake::default());
    let account = ask(&fake, get("/v1/accounts/feishu:main")).body;
    assert_eq!((&account["id"], &account["state"]), (&json!("feishu:main"), &json!("ready")));
    assert_eq!(account["counts"]["received"], json!(0));
    assert_eq!(ask(&fake, get("/v1/accounts/feishu%3Amain")).body, account);
    assert_eq!(ask(&fake, get("/v1/accounts")).body, json!({ "accounts": [account] }));
    assert_eq!(ask(&fake, get("/v1/tree")).body, json!({ "actors": [] }));
    let report = ask(&fake, get("/v1/doctor")).body;
    assert_eq!((&report["healthy"], &report["findings"]), (&json!(true), &json!([])));
    assert_eq!(report["accounts"], json!([account]));
    let status = ask(&fake, get("/v1/status"));
    assert_eq!((status.status.as_u16(), &status.body["accounts"][0]), (200, &account));
    assert_eq!(status.body["boot"], json!("boot"));
    assert_eq!(status.headers.get("cache-control").unwrap(), "no-store");
}

#[test]
fn liveness_and_readiness_need_no_token_and_are_not_the_same() {
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, anonymous("/readyz")).body, json!({ "ready": true }));
    fake.reasons.lock().push("feishu:main is blocked: the secret is wrong".to_owned());
    // F-082, F-101: alive, and not ready.
    assert_eq!(ask(&fake, anonymous("/healthz")).body, json!({ "status": "ok" }));
    let answer = ask(&fake, anonymous("/readyz"));
    assert_eq!(answer.status.as_u16(), 503);
    let reasons = ["feishu:main is blocked: the secret is wrong"];
    assert_eq!(answer.body, json!({ "ready": false, "reasons": reasons }));
}

#[test]
fn one_account_can_be_told_what_to_do() {
    // F-084
    for verb in Verb::ALL {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, post(&format!("/v1/accounts/feishu:main/{}", verb.name())));
        assert_eq!((answer.status.as_u16(), &answer.body["id"]), (202, &json!("feishu:main")));
        assert_eq!(*fake.done.lock(), [format!("{} feishu:main", verb.name())]);
    }
}

#[test]
fn a_command_says_what_it_changed_and_may_be_given_twice_f083() {
    let table = [("start", "it is started already"), ("stop", "it is stopped already")];
    for (verb, reason) in table {
        let path = format!("/v1/accounts/feishu:main/{verb}");
        let answer = ask(&Arc::new(Fake::default()), post(&path));
        let told = |name: &str| answer.body[name].clone();
        assert_eq!(
            (told("changed"), told("state_before"), told("state_after")),
            (json!(true), json!("ready"), json!("ready"))
        );
        assert!(told("reason").is_string());
        let so = Arc::new(Fake { is_so_already: true, ..Fake::default() });
        let answer = ask(&so, post(&path));
        assert_eq!((answer.status.as_u16(), &answer.body["changed"]), (200, &json!(false)));
        assert_eq!(answer.body["reason"], reason);
    }
}

#[test]
fn a_command_that_failed_says_so() {
    // F-083, F-080
    let table = [
        (CommandError::IsStopped(main()), 409, "account_stopped", false),
        (CommandError::Busy, 503, "busy", true),
        (CommandError::Store(StoreError::Full), 503, "store_full", true),
        (CommandError::Store(StoreError::Failed("sync".to_owned())), 503, "store_failed", true),
        (CommandError::Store(StoreError::Refused("row".to_owned())), 500, "store_refused", false),
    ];
    for (error, status, code, retry) in table {
        let fake = Arc::new(Fake::refusing(error));
        let answer = ask(&fake, post("/v1/accounts/feishu:main/stop"));
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code));
        assert_eq!(answer.headers.contains_key("retry-after"), retry, "{code}");
        assert!(fake.done.lock().is_empty());
    }
}

#[test]
fn a_message_goes_to_the_outbox_once_per_key() {
    let fake = Arc::new(Fake::default());
    let body = r#"{"to":"oc_1","text":"hello","idempotency_key":"k1"}"#;
    let answer = ask(&fake, with_body(MESSAGES, body));
    assert_eq!(answer.status.as_u16(), 202);
    assert_eq!(answer.body, json!({ "id": 41, "state": "ready", "repeated": false }));
    let same =
        with_body(MESSAGES, r#"{"to":"oc_1","text":"hello"}"#).insert_header(("idempotency-key", "k1"));
    assert_eq!(ask(&fake, same).body["repeated"], json!(true), "the header means the same as the field");
    let both = with_body(MESSAGES, body).insert_header(("idempotency-key", "k2"));
    assert_eq!(
        ask(&fake, both).body["repeated"],
        json!(true),
        "the field is the message's, the header the request's"
    );
    let other = with_body(MESSAGES, body).insert_header(("idempotency-key", "k1"));
    assert_eq!(ask(&fake, other).code(), "idempotency_key_reused", "the same key, and another body");
    ask(&fake, with_body(MESSAGES, r#"{"to":"oc_1","text":"hello"}"#));
    assert_eq!(fake.done.lock().last().unwrap(), "send feishu:main oc_1 hello -");
}

#[test]
fn a_shutdown_is_answered() {
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, post("/v1/shutdown")).status.as_u16(), 202);
    assert_eq!(*fake.done.lock(), ["shutdown"]);
    let answer = ask(&fake, with_body("/v1/shutdown", r#"{"restart":true}"#));
    assert_eq!((answer.status.as_u16(), &answer.body["restart"]), (202, &json!(true)));
    assert_eq!(*fake.done.lock(), ["shutdown", "restart"]);
    // What is not done must not be promised.
    let answer = ask(&fake, with_body("/v1/shutdown", r#"{"restarts":true}"#));
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_field"));
    assert_eq!(fake.done.lock().len(), 2);
}
