//! What is refused, and with which words (F-085, F-091).

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::test::TestRequest;

use super::fake::Fake;
use super::{MESSAGES, TOKEN, anonymous, ask, ask_on, get, post, with_body};
use crate::body::LONGEST_BODY;

/// Every refusal has the form of one, does nothing, and does not show the token.
fn check(name: &str, request: TestRequest, status: u16, code: &str) -> String {
    let fake = Arc::new(Fake::default());
    let answer = ask(&fake, request);
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{name}");
    assert!(!answer.message().is_empty(), "{name}");
    assert!(!answer.body.to_string().contains(TOKEN), "{name}: F-090");
    assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{name}");
    assert!(fake.done.lock().is_empty(), "{name}");
    answer.message().to_owned()
}

#[test]
fn without_the_token_nothing_is_told() {
    let bearer = |value: String| anonymous("/v1/status").insert_header(("authorization", value));
    let twice = get("/v1/status").append_header(("authorization", format!("Bearer {TOKEN}")));
    let table = [
        ("none", anonymous("/v1/status")),
        ("wrong", bearer(format!("Bearer {}", "0".repeat(64)))),
        ("short", bearer(format!("Bearer {}", &TOKEN[..63]))),
        ("long", bearer(format!("Bearer {TOKEN}0"))),
        ("empty", bearer("Bearer ".to_owned())),
        ("no scheme", bearer(TOKEN.to_owned())),
        ("another scheme", bearer(format!("Basic {TOKEN}"))),
        ("two of them", twice),
        ("unknown routes are not told either", anonymous("/nothing")),
        ("nor spellings of open ones", anonymous("/%68ealthz")),
        ("nor what follows one", anonymous("/healthz/../v1/status")),
        ("posting", anonymous("/v1/shutdown").method(Method::POST)),
    ];
    for (name, request) in table {
        check(name, request, 401, "unauthorized");
    }
    let fake = Arc::new(Fake::default());
    let lower = anonymous("/v1/status").insert_header(("authorization", format!("bearer {TOKEN}")));
    assert_eq!(ask(&fake, lower).status.as_u16(), 200, "the scheme has no case");
}

#[test]
fn a_token_in_the_query_is_refused_with_or_without_the_header() {
    for query in
        [format!("token={TOKEN}"), "access_token=x".to_owned(), format!("x={TOKEN}"), TOKEN.to_owned()]
    {
        check(&query, get(&format!("/v1/status?{query}")), 400, "token_in_query");
        check(&query, anonymous(&format!("/v1/status?{query}")), 400, "token_in_query");
    }
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, get("/v1/status?verbose=1")).status.as_u16(), 200);
}

#[test]
fn only_hosts_that_nobody_else_can_point_here_are_served() {
    let served = |listens_on: &str, host: &str| {
        let fake = Arc::new(Fake::default());
        let answer = ask_on(listens_on, &fake, get("/v1/status").insert_header(("host", host)));
        assert!(matches!(answer.status.as_u16(), 200 | 421), "{host}");
        assert_eq!(answer.code() == "misdirected_request", answer.status.as_u16() == 421);
        answer.status.as_u16() == 200
    };
    for host in ["127.0.0.1:7117", "127.0.0.1", "localhost:80", "LocalHost", "[::1]:7117", "127.1.2.3"] {
        assert!(served("127.0.0.1", host), "{host}");
    }
    let foreign =
        ["evil.example", "localhost.evil.example", "192.0.2.1", "127.0.0.1.nip.io", "", "x@127.0.0.1", "a b"];
    for host in foreign {
        assert!(!served("127.0.0.1", host), "{host}");
    }
    assert!(served("192.0.2.1", "192.0.2.1:7117") && !served("192.0.2.1", "192.0.2.2"));
    assert!(served("0.0.0.0", "192.0.2.1") && !served("0.0.0.0", "evil.example"));

    check(
        "open paths too",
        anonymous("/healthz").insert_header(("host", "evil.example")),
        421,
        "misdirected_request",
    );
    check("no host", TestRequest::with_uri("/healthz"), 421, "misdirected_request");
    let two = anonymous("/healthz").append_header(("host", "evil.example"));
    check("two hosts", two, 421, "misdirected_request");
    let target = TestRequest::with_uri("http://evil.example/healthz").insert_header(("host", "127.0.0.1"));
    check("another host in the target", target, 421, "misdirected_request");
}

#[test]
fn pages_of_other_origins_are_refused() {
    for origin in
        ["http://evil.example", "null", "", "http://127.0.0.1:80", "https://127.0.0.1:7117", "file://"]
    {
        let from = |request: TestRequest| request.insert_header(("origin", origin));
        check(origin, from(get("/v1/status")), 403, "foreign_origin");
        check(origin, from(anonymous("/healthz")), 403, "foreign_origin");
        check(origin, from(get("/v1/status").method(Method::OPTIONS)), 403, "foreign_origin");
    }
    let fake = Arc::new(Fake::default());
    let own = get("/v1/status").insert_header(("origin", "http://127.0.0.1:7117"));
    assert_eq!(ask(&fake, own).status.as_u16(), 200);
    let remote =
        get("/v1/status").insert_header(("host", "192.0.2.1")).insert_header(("origin", "http://192.0.2.1"));
    assert_eq!(
        ask_on("192.0.2.1", &fake, remote).status.as_u16(),
        403,
        "same origin counts on loopback only"
    );
}

#[test]
fn types_a_form_can_send_are_refused() {
    let body = r#"{"to":"oc_1","text":"hello"}"#;
    let typed =
        |media_type: &str| with_body(MESSAGES, body).insert_header(("content-type", media_type.to_owned()));
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
    {
        check(media_type, typed(media_type), 415, "unsupported_media_type");
    }
    let untyped = post(MESSAGES).insert_header(("content-length", body.len())).set_payload(body);
    check("none", untyped, 415, "unsupported_media_type");
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, typed("Application/JSON; charset=utf-8")).status.as_u16(), 202);
}

#[test]
fn a_body_is_bounded_and_means_what_it_says() {
    let long = format!(r#"{{"to":"oc_1","text":"{}"}}"#, "x".repeat(LONGEST_BODY));
    check("announced", with_body(MESSAGES, &long), 413, "payload_too_large");
    let unannounced = post(MESSAGES)
        .insert_header(("content-type", "application/json"))
        .insert_header(("transfer-encoding", "chunked"))
        .set_payload(long);
    check("unannounced", unannounced, 411, "length_required");
    let chunked = |request: TestRequest| request.insert_header(("transfer-encoding", "chunked"));
    check("chunked", chunked(get("/v1/status")), 411, "length_required");
    check("chunked", chunked(anonymous("/healthz")), 411, "length_required");
    check("chunked", chunked(anonymous("/v1/status")), 401, "unauthorized");
    check(
        "get",
        get("/v1/status").insert_header(("content-length", LONGEST_BODY + 1)),
        413,
        "payload_too_large",
    );

    check("syntax", with_body(MESSAGES, "{"), 400, "invalid_json");
    let deep = format!(r#"{{"to":{}"#, "[".repeat(10_000));
    check("depth", with_body(MESSAGES, &deep), 422, "invalid_field");
    check("by position", with_body(MESSAGES, r#" ["oc_1","hello",null]"#), 422, "invalid_field");
    check("by position", with_body("/v1/shutdown", "[]"), 422, "invalid_field");
    check("two values", with_body(MESSAGES, r#"{"to":"a","text":"b"}{}"#), 400, "invalid_json");
    let fields = [
        (r#"{"to":"oc_1","text":"x","urgent":true}"#, "`urgent`"),
        (r#"{"to":"oc_1"}"#, "`text`"),
        (r#"{"to":7,"text":"x"}"#, "string"),
        (r#"{"to":"a","to":"b","text":"x"}"#, "`to`"),
        ("", "`to`"),
    ];
    for (body, named) in fields {
        let message = check(body, with_body(MESSAGES, body), 422, "invalid_field");
        assert!(message.contains(named), "{message}");
    }
    for (body, named) in [(r#"{"to":" ","text":"x"}"#, "`to`"), (r#"{"to":"oc_1","text":"\n"}"#, "`text`")] {
        let message = check(body, with_body(MESSAGES, body), 422, "empty_field");
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn an_idempotency_key_is_one_key() {
    let body = |key: &str| format!(r#"{{"to":"oc_1","text":"x","idempotency_key":"{key}"}}"#);
    for key in ["", "a b", "ü", &"k".repeat(256)] {
        check(key, with_body(MESSAGES, &body(key)), 422, "invalid_idempotency_key");
    }
    let other = with_body(MESSAGES, &body("a"));
    let other = other.insert_header(("idempotency-key", "b")).append_header(("idempotency-key", "c"));
    check("two keys", other, 422, "invalid_idempotency_key");
}

#[test]
fn paths_lead_where_they_say() {
    for path in ["/", "/v1", "/v1/status/", "/v2/status", "/v1/accounts/", "/v1//status", "/v1/./status"] {
        check(path, get(path), 404, "unknown_route");
    }
    let invalid =
        ["main", "..%2f", "..%2fstatus", "%2e%2e", "Feishu:main", "feishu:main%00", "%ff", "feishu%253Amain"];
    for id in invalid {
        check(id, get(&format!("/v1/accounts/{id}")), 400, "invalid_account_id");
        check(id, post(&format!("/v1/accounts/{id}/stop")), 400, "invalid_account_id");
    }
    check("dots", get("/v1/accounts/../status"), 404, "unknown_route");
    let message = check("unknown", get("/v1/accounts/feishu:other"), 404, "unknown_account");
    assert!(message.contains("feishu:other"), "{message}");
    check("unknown", post("/v1/accounts/feishu:other/stop"), 404, "unknown_account");
    check("unknown verb", post("/v1/accounts/feishu:main/poke"), 404, "unknown_route");
    for (request, allowed) in
        [(post("/v1/status"), "GET"), (get("/v1/shutdown"), "POST"), (get(MESSAGES), "POST")]
    {
        let message = check(allowed, request, 405, "method_not_allowed");
        assert!(message.contains(allowed), "{message}");
    }
    check("delete", get("/v1/accounts/feishu:main").method(Method::DELETE), 405, "method_not_allowed");
}
