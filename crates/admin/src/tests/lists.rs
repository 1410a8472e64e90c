//! Lists: what they show, which parameters they take, and which they refuse.

use std::sync::Arc;

use serde_json::json;

use super::fake::{CONVERSATION, Fake};
use super::{ask, get};

/// How the session of [`CONVERSATION`] is named.
const SESSION: &str = "feishu:main~oc%2F1%252F%2B%20%C3%BC%3F%23";

#[test]
fn a_session_is_found_under_the_id_it_is_listed_by() {
    let fake = Arc::new(Fake::default());
    let listed = ask(&fake, get("/v1/sessions")).body;
    let id = listed["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((id.as_str(), &listed["next"]), (SESSION, &json!(7)));
    let session = ask(&fake, get(&format!("/v1/sessions/{id}"))).body;
    assert_eq!((&session["id"], &session["conversation"]), (&json!(SESSION), &json!(CONVERSATION)));
    assert_eq!((&session["state"], &session["pending"]), (&json!("interrupted"), &json!(1)));
    assert_eq!((&session["turn"]["attempt"], &session["turn"]["state"]), (&json!(2), &json!("interrupted")));
    assert_eq!(session["transcript"][0]["text"], json!(format!("the last 20 of {CONVERSATION}")));
    let session = ask(&fake, get(&format!("/v1/sessions/{id}?entries=3"))).body;
    assert_eq!(session["transcript"][0]["text"], json!(format!("the last 3 of {CONVERSATION}")));
}

#[test]
fn a_message_is_shown_without_its_bytes() {
    let fake = Arc::new(Fake::default());
    let listed = ask(&fake, get("/v1/inbox")).body;
    let message = &listed["messages"][0];
    assert_eq!((&message["state"], &message["reason"]), (&json!("dropped"), &json!("not_mentioned")));
    assert_eq!((&message["raw_bytes"], &message["session"]), (&json!(321), &json!(SESSION)));
    let whole = ask(&fake, get("/v1/inbox/7")).body;
    assert_eq!((&whole["facts"]["sender"], &whole["route"]["chat"]), (&json!("ou_1"), &json!("oc_1")));
    assert!(whole.get("raw").is_none());
    let ours = ask(&fake, get("/v1/outbox/41")).body;
    assert_eq!((&ours["state"], &ours["not_before"]), (&json!("sent"), &json!(null)));
    assert_eq!(ours["possibly_repeated"], json!(false));
    assert_eq!(ours["delivery_doubted"], json!(true));
    assert_eq!(ask(&fake, get("/v1/outbox")).body["messages"][0]["id"], json!(41));
}

#[test]
fn a_gap_is_shown_as_it_is_recorded_f040() {
    let fake = Arc::new(Fake::default());
    let listed = ask(&fake, get("/v1/gaps")).body;
    let gap = json!({
        "id": 3,
        "account": "feishu:main",
        "from": "1970-01-01T00:00:00.001Z",
        "to": "1970-01-01T00:00:00.002Z",
        "kind": "outage",
        "why": "nothing heard",
        "recorded_at": "1970-01-01T00:00:00.002Z",
    });
    assert_eq!(listed, json!({ "gaps": [gap], "next": 7 }));
    let account = ask(&fake, get("/v1/accounts/feishu:main")).body;
    assert_eq!(account["gaps"], json!({ "count": 1, "last": gap }));
    assert_eq!(account["suspicion"], json!(null));
}

#[test]
fn parameters_are_what_is_asked_of_the_store() {
    let table = [
        ("/v1/sessions", "SessionFilter { account: None, state: None } Page { before: None, limit: 50 }"),
        (
            "/v1/sessions?state=running&limit=500&before=9",
            "state: Some(Running) } Page { before: Some(9), limit: 500 }",
        ),
        ("/v1/inbox", "InboxFilter { scope: All, state: None } Page { before: None, limit: 50 }"),
        (
            "/v1/inbox?state=held&account=feishu:main",
            "scope: Account(AccountId { channel: ChannelName(\"feishu\"), name: \"main\" }), state: Some(Held) }",
        ),
        ("/v1/inbox?account=feishu%3Amain&conversation=a%2Fb", "}, ConversationId(\"a/b\")), state: None }"),
        ("/v1/outbox?state=dead", "OutboxFilter { scope: All, state: Some(Dead) }"),
        ("/v1/gaps", "gaps of None Page { before: None, limit: 50 }"),
        (
            "/v1/gaps?account=feishu:main&limit=2&before=7",
            "name: \"main\" }) Page { before: Some(7), limit: 2 }",
        ),
    ];
    for (path, asked) in table {
        let fake = Arc::new(Fake::default());
        assert_eq!(ask(&fake, get(path)).status.as_u16(), 200, "{path}");
        let listed = fake.listed.lock();
        assert!(listed[0].contains(asked), "{path}: {}", listed[0]);
    }
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    let table = [
        ("/v1/inbox?acount=feishu:main", "`acount`"),
        ("/v1/inbox?entries=3", "account, conversation, state, limit, before"),
        ("/v1/inbox/7?limit=3", "no parameters"),
        ("/v1/sessions?conversation=oc_1", "account, state, limit, before"),
        ("/v1/inbox?conversation=oc_1", "needs `account`"),
        ("/v1/inbox?account=main", "`account`"),
        ("/v1/inbox?account=", "`account`"),
        ("/v1/inbox?state=PENDING", "pending, held, answered, dropped"),
        ("/v1/outbox?state=pending", "ready, sending, unknown, held, sent, dead, discarded"),
        ("/v1/sessions?state=pending", "running, interrupted, waiting, held, idle"),
        ("/v1/inbox?limit=0", "1 to 500"),
        ("/v1/inbox?limit=501", "1 to 500"),
        ("/v1/inbox?limit=-1", "1 to 500"),
        ("/v1/inbox?limit=ten", "1 to 500"),
        ("/v1/inbox?limit=5&limit=6", "twice"),
        ("/v1/inbox?before=99999999999999999999", "`before`"),
        ("/v1/sessions/feishu:main~oc_1?entries=501", "`entries`"),
    ];
    for (path, named) in table {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, get(path));
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_parameter"), "{path}");
        assert!(answer.message().contains(named), "{path}: {}", answer.message());
        assert!(fake.listed.lock().is_empty(), "{path}");
    }
    let long = format!("/v1/inbox?account=feishu:main&conversation={}", "x".repeat(513));
    assert_eq!(ask(&Arc::default(), get(&long)).code(), "invalid_parameter");
}

#[test]
fn ids_that_are_none_are_told_from_those_nobody_has() {
    let table = [
        ("/v1/sessions/feishu:main", 400, "invalid_session_id"),
        ("/v1/sessions/feishu:main~", 400, "invalid_session_id"),
        ("/v1/sessions/main~oc_1", 400, "invalid_session_id"),
        ("/v1/sessions/feishu:main~%ff", 404, "unknown_session"),
        ("/v1/sessions/feishu:main~oc_2", 404, "unknown_session"),
        ("/v1/sessions/feishu:main%7Eoc_2", 404, "unknown_session"),
        ("/v1/inbox/x", 400, "invalid_message_id"),
        ("/v1/inbox/99999999999999999999", 400, "invalid_message_id"),
        ("/v1/inbox/8", 404, "unknown_message"),
        ("/v1/outbox/-1", 404, "unknown_message"),
        ("/v1/outbox/7/raw", 404, "unknown_route"),
    ];
    for (path, status, code) in table {
        let answer = ask(&Arc::default(), get(path));
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path}");
        assert!(!answer.message().is_empty());
    }
}
