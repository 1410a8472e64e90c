//! The endpoint's answers and the handshake's refusals, one by one.

use moorline_channel::NetworkErrorKind;
use proptest::prelude::*;

use super::*;
use crate::fake;

const BASE: &str = "https://open.feishu.cn";
const URL: &str = "wss://msg-frontier.feishu.cn/ws/v2?fpid=493&aid=552564&device_id=7677469797122837778\
    &access_key=canary-access-key&service_id=33554678&ticket=canary-ticket";

fn success(url: &str) -> HttpResponse {
    fake::json(200, json!({"code": 0, "msg": "", "data": {"URL": url, "ClientConfig": {"PingInterval": 90}}}))
}

fn endpoint(url: &str) -> Endpoint {
    read(&fake::app(BASE), Ok(success(url))).unwrap()
}

/// Protocol §1.1.
#[test]
fn the_call_carries_the_secret_and_no_token() {
    let request = request(&fake::app("http://127.0.0.1:8080/"));
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.url.as_str(), "http://127.0.0.1:8080/callback/ws/endpoint");
    assert_eq!(request.headers["locale"], "zh");
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(request.deadline, Duration::from_secs(15));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"AppID": fake::APP_ID, "AppSecret": fake::SECRET}));
}

/// Protocol §1.1; F-090.
#[test]
fn the_address_is_used_unchanged_and_not_shown() {
    let endpoint = endpoint(URL);
    let open = endpoint.open();
    assert_eq!(open.url.as_str(), URL);
    assert!(open.headers.is_empty());
    assert_eq!(open.deadline, Duration::from_secs(10));
    assert_eq!((endpoint.connection.as_str(), endpoint.service_id), ("7677469797122837778", 33_554_678));
    assert_eq!(endpoint.config, json!({"PingInterval": 90}));
    let shown = format!("{endpoint:?}");
    assert_eq!(shown, "connection 7677469797122837778 of msg-frontier.feishu.cn");
}

#[test]
fn an_address_without_numbers_still_opens() {
    for (query, service_id) in
        [("", 0), ("?service_id=", 0), ("?service_id=99999999999", 0), ("?service_id=-1", -1)]
    {
        let endpoint = endpoint(&format!("wss://h.test/{query}"));
        assert_eq!((endpoint.connection.as_str(), endpoint.service_id), ("", service_id));
    }
}

/// Protocol §1.2 (F-006), F-095. No message holds a secret, not even one that the platform repeats (F-090).
#[test]
fn every_refusal_of_the_call_has_its_class() {
    use FailureClass::*;
    let coded = |code: i64| {
        Ok(fake::json(
            200,
            json!({"code": code, "msg": format!("bad {}", fake::SECRET), "data": {"URL": ""}}),
        ))
    };
    let lost = |kind| Err(fake::lost(kind));
    for (result, class, code) in [
        (coded(1), Transient, Some("1")),
        (coded(1_000_040_343), Transient, Some("1000040343")),
        (coded(1_000_040_344), Credentials, Some("1000040344")),
        (coded(1_000_040_345), Credentials, Some("1000040345")),
        (coded(1_000_040_350), Conflict, Some("1000040350")),
        (coded(403), Permission, Some("403")),
        (coded(514), Credentials, Some("514")),
        (coded(987_654), Transient, Some("987654")),
        (coded(99_991_400), Throttled, Some("99991400")),
        (Ok(fake::json(400, json!({"code": 99_991_400}))), Throttled, Some("99991400")),
        (Ok(fake::json(503, json!({"code": 514}))), Transient, Some("514")),
        (Ok(fake::json(403, json!({"code": 403}))), Transient, Some("403")),
        (Ok(fake::json(500, json!({"code": 0}))), Transient, None),
        (Ok(fake::answer(200, "<html>")), Transient, None),
        (Ok(fake::answer(200, "[]")), Transient, None),
        (Ok(fake::json(200, json!({"code": "0", "data": {"URL": URL}}))), Transient, None),
        (Ok(fake::json(200, json!({"code": 0}))), Transient, None),
        (Ok(success("")), Transient, None),
        (Ok(success("canary-ticket")), Protocol, None),
        (Ok(success("https://h.test/?ticket=canary-ticket")), Protocol, None),
        (Ok(success("ws://h.test/?ticket=canary-ticket")), Protocol, None),
        (lost(NetworkErrorKind::Resolve), Transient, None),
        (lost(NetworkErrorKind::Tls), Transient, None),
        (lost(NetworkErrorKind::Timeout), Transient, None),
        (lost(NetworkErrorKind::Reset), Transient, None),
    ] {
        let failure = read(&fake::app(BASE), result).unwrap_err();
        assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{failure}");
        assert!(failure.message.starts_with("endpoint call to open.feishu.cn: "), "{failure}");
        assert!(!failure.to_string().contains("canary"), "{failure}");
    }
}

/// F-095: the sandbox and the simulator are plain, the platform never is.
#[test]
fn an_unencrypted_address_needs_an_unencrypted_base() {
    let url = "ws://127.0.0.1:9/ws?device_id=1";
    assert_eq!(read(&fake::app("http://127.0.0.1:9"), Ok(success(url))).unwrap().open().url.as_str(), url);
    assert!(read(&fake::app("http://127.0.0.1:9"), Ok(success(URL))).is_ok());
    let failure = read(&fake::app(BASE), Ok(success(url))).unwrap_err();
    assert!(failure.message.contains("unencrypted"), "{failure}");
}

/// Protocol §1.2: "system busy", whatever the status says and whatever the body is; redirects are not followed. Only
/// a limit is told apart, with the wait it asks for (§3.6).
#[test]
fn every_other_status_of_the_call_is_transient() {
    use FailureClass::*;
    for (status, class) in [
        (201, Transient),
        (204, Transient),
        (301, Transient),
        (302, Transient),
        (307, Transient),
        (400, Transient),
        (401, Transient),
        (403, Transient),
        (404, Transient),
        (429, Throttled),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
    ] {
        for body in ["", "<html>", "{}", "[]", "\"", r#"{"code":0,"data":{"URL":"wss://h.test/"}}"#] {
            let answer = fake::with_header(fake::answer(status, body), "location", "https://elsewhere.test/");
            let failure = read(&fake::app(BASE), Ok(answer)).err().unwrap();
            assert_eq!((failure.class, failure.code.as_deref()), (class, None), "{status} {body}");
            assert!(failure.message.contains(&format!("status {status}")), "{failure}");
        }
    }
    for (header, value, wait) in [
        ("x-ogw-ratelimit-reset", "9", Some(9)),
        ("retry-after", "7", Some(7)),
        ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("x-ogw-ratelimit-reset", "0", Some(1)),
    ] {
        let answer = fake::with_header(fake::answer(429, ""), header, value);
        let failure = read(&fake::app(BASE), Ok(answer)).unwrap_err();
        assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{header} {value}");
    }
}

/// Protocol §1.3 (F-006), F-027, F-090.
#[test]
fn every_refusal_of_the_handshake_has_its_class() {
    use FailureClass::*;
    let refused = |headers: &[(&'static str, &str)]| {
        let response = fake::answer(403, "");
        let response =
            headers.iter().fold(response, |response, (name, value)| fake::with_header(response, name, value));
        HandshakeError::Refused { status: response.status, headers: response.headers }
    };
    let busy = ("handshake-autherrcode", "1000040350");
    for (error, class, code) in [
        (refused(&[("handshake-status", "403")]), Permission, Some("403")),
        (refused(&[("handshake-status", "514"), busy]), Conflict, Some("1000040350")),
        (refused(&[("handshake-status", "514")]), Transient, Some("514")),
        (refused(&[("handshake-status", "514"), ("handshake-autherrcode", "1")]), Transient, Some("1")),
        (refused(&[("handshake-status", "500"), busy]), Transient, Some("500")),
        (refused(&[("handshake-status", "what?")]), Transient, None),
        (refused(&[busy]), Transient, None),
        (refused(&[]), Transient, None),
        (fake::lost(NetworkErrorKind::ConnectTimeout).into(), Transient, None),
        (fake::lost(NetworkErrorKind::Protocol).into(), Transient, None),
    ] {
        let failure = endpoint(URL).refused(&error);
        assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{failure}");
        assert!(failure.message.starts_with("handshake with msg-frontier.feishu.cn: "), "{failure}");
    }
    let said = refused(&[("handshake-msg", "票据 canary-ticket of 7677469797122837778 is stale")]);
    assert_eq!(
        endpoint(URL).refused(&said).message,
        "handshake with msg-frontier.feishu.cn: refused with status 403 Forbidden: \
         票据 [secret] of 7677469797122837778 is stale"
    );
}

/// Protocol §1.3: the reason is in the headers. Without them no status means anything but "again".
#[test]
fn a_handshake_refused_without_a_reason_is_transient() {
    for status in [200, 204, 301, 302, 307, 400, 401, 403, 404, 426, 429, 500, 502, 503] {
        let response = fake::with_header(fake::answer(status, ""), "location", "https://elsewhere.test/");
        let error = HandshakeError::Refused { status: response.status, headers: response.headers };
        let failure = endpoint(URL).refused(&error);
        assert_eq!((failure.class, failure.code.as_deref()), (FailureClass::Transient, None), "{status}");
        assert!(failure.message.contains(&format!("status {status}")), "{failure}");
    }
}

/// Protocol §1.1 and §2.2: what is missing or senseless changes nothing.
#[test]
fn a_client_config_is_merged_field_by_field() {
    let full =
        json!({"ReconnectCount": 3, "ReconnectInterval": 90, "ReconnectNonce": 25, "PingInterval": 60});
    let mut known = ClientConfig::default();
    known.merge(&full);
    let wanted = ClientConfig {
        reconnect_count: 3,
        reconnect_interval: Duration::from_secs(90),
        reconnect_nonce: Duration::from_secs(25),
        ping_interval: Duration::from_secs(60),
    };
    assert_eq!(known, wanted);
    for odd in [
        json!(null),
        json!({}),
        json!([1, 2]),
        json!("PingInterval"),
        json!({"PingInterval": 0, "ReconnectInterval": -1, "ReconnectNonce": -5}),
        json!({"PingInterval": -90}),
        json!({"PingInterval": "90", "ReconnectCount": "1"}),
        json!({"PingInterval": 1.5, "ReconnectCount": null, "ReconnectInterval": {}}),
    ] {
        let mut config = wanted;
        config.merge(&odd);
        assert_eq!(config, wanted, "{odd}");
    }
    known.merge(&json!({"PingInterval": 1, "ReconnectCount": -1, "ReconnectInterval": 0}));
    assert_eq!((known.ping_interval.as_secs(), known.reconnect_count), (1, -1));
    assert_eq!((known.reconnect_interval.as_secs(), known.reconnect_nonce.as_secs()), (0, 25));
}

proptest! {
    /// Whatever the answer: an address to open, or a failure that names no secret.
    #[test]
    fn any_answer_is_an_address_or_a_failure(
        status in 200u16..600,
        noise in prop::collection::vec(any::<u8>(), 0..64),
        code in prop::option::of(any::<i64>()),
        url in "(wss?|https?)?(://)?[a-z.:0-9]{0,8}/?\\PC{0,16}",
        config in "[{}\\[\\]\":,0-9a-zA-Z]{0,16}",
    ) {
        let config = serde_json::from_str::<Value>(&config).unwrap_or_default();
        let body = json!({"code": code, "msg": fake::SECRET, "data": {"URL": url, "ClientConfig": config}});
        for answer in [fake::json(status, body), fake::answer(status, noise)] {
            match read(&fake::app(BASE), Ok(answer)) {
                Ok(endpoint) => ClientConfig::default().merge(&endpoint.config),
                Err(failure) => prop_assert!(!failure.message.contains(fake::SECRET)),
            }
        }
    }
}
