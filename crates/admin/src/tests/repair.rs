//! What an operator does about stuck messages, and the life of one.

use std::sync::Arc;

use moorline_core::OutboxId;
use moorline_runtime::CommandError;
use serde_json::json;

use super::fake::{CONVERSATION, Fake, main};
use super::{ask, delete, get, post, with_body};

/// How the session of [`CONVERSATION`] is named.
const SESSION: &str = "feishu:main~oc%2F1%252F%2B%20%C3%BC%3F%23";

#[test]
fn stuck_messages_and_sessions_are_named_in_the_path() {
    let session = |verb: &str| format!("/v1/sessions/{SESSION}/{verb}");
    let table = [
        (post("/v1/outbox/41/retry"), 202, "retry 41".to_owned()),
        (post("/v1/outbox/41/discard"), 200, "discard 41".to_owned()),
        (post(&session("resume")), 202, format!("resume {CONVERSATION}")),
        (post(&session("reset")), 200, format!("reset {CONVERSATION}")),
        (delete("/v1/accounts/feishu:old/rows"), 200, "discard rows of feishu:old".to_owned()),
    ];
    for (request, status, done) in table {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, request);
        assert_eq!((answer.status.as_u16(), &*fake.done.lock()), (status, &vec![done]), "{}", answer.body);
    }
    let fake = Arc::new(Fake::default());
    let resumed = ask(&fake, post(&session("resume"))).body;
    assert_eq!(resumed["resumed"], json!({ "from": "parked", "messages": 2, "waits_for_channel": false }));
    assert_eq!(resumed["session"]["id"], json!(SESSION));
    assert_eq!(ask(&fake, post(&session("reset"))).body["given_up"], json!(3));
    let status = ask(&fake, get("/v1/status")).body;
    assert_eq!(
        (&status["orphaned"][0]["id"], &status["orphaned"][0]["counts"]["pending"]),
        (&json!("feishu:old"), &json!(2))
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason_f083() {
    let table = [
        (post("/v1/outbox/42/retry"), None, 404, "unknown_message"),
        (post("/v1/outbox/x/discard"), None, 400, "invalid_message_id"),
        (
            post("/v1/outbox/41/retry"),
            Some(CommandError::WrongState(OutboxId::new(41), "was sent")),
            409,
            "wrong_state",
        ),
        (post("/v1/outbox/41/retry"), Some(CommandError::Orphaned(main())), 409, "account_orphaned"),
        (post("/v1/sessions/feishu:main/reset"), None, 400, "invalid_session_id"),
        (
            post("/v1/sessions/feishu:main~oc/reset"),
            Some(CommandError::UnknownSession),
            404,
            "unknown_session",
        ),
        (
            post("/v1/sessions/feishu:main~oc/resume"),
            Some(CommandError::NothingToResume("idle")),
            409,
            "nothing_to_resume",
        ),
        (delete("/v1/accounts/feishu:main/rows"), None, 409, "account_configured"),
        (delete("/v1/accounts/main/rows"), None, 400, "invalid_account_id"),
        (get("/v1/accounts/feishu:main/rows"), None, 405, "method_not_allowed"),
        (get("/v1/outbox/41/retry"), None, 405, "method_not_allowed"),
        (with_body("/v1/outbox/41/retry", r#"{"key":"x"}"#), None, 422, "invalid_field"),
    ];
    for (request, refused, status, code) in table {
        let fake = Arc::new(refused.map_or_else(Fake::default, Fake::refusing));
        let answer = ask(&fake, request);
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.message());
        assert!(fake.done.lock().is_empty(), "{code}");
    }
}

/// G14: a message's life is told in the order of time, whatever it is named by, and without its bytes.
#[test]
fn a_trace_tells_a_life_in_order() {
    let fake = Arc::new(Fake::default());
    let trace = ask(&fake, get("/v1/trace/om_7")).body;
    let steps: Vec<_> = trace["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["of"].as_str().unwrap(), step["what"].as_str().unwrap()))
        .collect();
    let expected = [
        ("in:7", "received"),
        ("in:7", "held"),
        ("in:7", "repeated"),
        ("in:7", "judged"),
        ("in:7", "dropped"),
        ("turn:3", "started"),
        ("turn:3", "interrupted"),
        ("turn:3", "resumed"),
        ("turn:3", "parked"),
        ("out:41", "queued"),
        ("out:41", "dead"),
        ("out:41", "retried"),
        ("out:41", "sent"),
    ];
    assert_eq!(steps, expected);
    let judged = &trace["steps"][3];
    assert_eq!(
        (&judged["detail"], &judged["at"]),
        (&json!("not_mentioned"), &json!("1970-01-01T00:01:00.000Z"))
    );
    assert_eq!(
        (&trace["received"][0]["duplicates"], &trace["received"][0]["held_for"]),
        (&json!(2), &json!("identity"))
    );
    assert!(trace["received"][0].get("raw").is_none());
    assert_eq!((&trace["turns"][0]["inputs"], &trace["sent"][0]["id"]), (&json!([7]), &json!(41)));
    assert_eq!(ask(&fake, get("/v1/trace/in:7")).body, trace);

    let table = [
        ("in:8", 404, "Inbox(InboxId(8))"),
        ("turn:9", 404, "Turn(TurnId(9))"),
        ("out:-1", 404, "Outbox(OutboxId(-1))"),
        ("om_1%2F%3F", 404, r#"Name("om_1/?")"#),
        ("7", 404, r#"Name("7")"#),
        ("other:7", 404, r#"Name("other:7")"#),
        ("in:", 400, ""),
        ("out:x", 400, ""),
    ];
    for (named, status, asked) in table {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, get(&format!("/v1/trace/{named}")));
        let code = if status == 404 { "unknown_message" } else { "invalid_message_id" };
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{named}");
        assert_eq!(fake.listed.lock().first().map_or("", String::as_str), asked, "{named}");
    }
    assert_eq!(ask(&fake, get("/v1/trace/in:7?raw=1")).code(), "invalid_parameter");
    assert_eq!(ask(&fake, get(&format!("/v1/trace/{}", "x".repeat(513)))).code(), "invalid_message_id");
}
