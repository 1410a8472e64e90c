//! The machine alone: time is a number, a mount is a vector of actions.

use std::time::Duration;

use moorline_core::{EventId, Monotonic, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::hub::Machine;

mod activities;
mod calls;
mod faults;
mod history;
mod people;
mod rates;
mod resources;

const SECOND: Duration = Duration::from_secs(1);

/// A platform with one app, and a clock that the test moves.
struct Bench {
    platform: Platform,
    app: App,
    at: Duration,
}

impl Bench {
    fn new() -> Self {
        let mut platform = Platform::new(1);
        let app = platform.add_app(NewApp::named("Bot"));
        Self { platform, app, at: Duration::ZERO }
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::from_origin(self.at), wall: Timestamp::from_millis(0) + self.at }
    }

    fn wait(&mut self, span: Duration) -> Vec<Action> {
        self.at += span;
        self.platform.advance(self.now());
        self.platform.take_actions()
    }

    fn fault(&mut self, fault: Fault, times: Times) {
        self.platform.set_fault(&self.app.app_id, fault, times).unwrap();
    }

    /// What the call is answered with; `None` while it hangs.
    fn request(&mut self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Option<Response> {
        let link = self.platform.new_link();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            headers: token.map(bearer).into_iter().collect(),
            body: body.to_string().into(),
            ws_origin: "ws://here".to_owned(),
        };
        self.raw(link, request)
    }

    fn raw(&mut self, link: LinkId, request: Request) -> Option<Response> {
        let now = self.now();
        self.platform.step(link, Input::Call(request), now).into_iter().find_map(|action| {
            match action.effect {
                Effect::Respond(response) if action.link == link => Some(response),
                _ => None,
            }
        })
    }

    fn call(&mut self, method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let response = self.request(method, path, token, body).unwrap();
        (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    }

    fn endpoint(&mut self) -> (u16, Value) {
        let body = json!({ "AppID": self.app.app_id, "AppSecret": self.app.app_secret });
        self.call("POST", "/callback/ws/endpoint", None, &body)
    }

    fn token(&mut self) -> (String, u64) {
        let body = json!({ "app_id": self.app.app_id, "app_secret": self.app.app_secret });
        let (_, answer) = self.call("POST", "/open-apis/auth/v3/tenant_access_token/internal", None, &body);
        (answer["tenant_access_token"].as_str().unwrap().to_owned(), answer["expire"].as_u64().unwrap())
    }

    fn handshake(&mut self, url: &str) -> (LinkId, Vec<Action>) {
        let query = url.split_once('?').unwrap().1.split('&').filter_map(|pair| pair.split_once('='));
        let request = Request {
            path: "/ws/v2".to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Request::default()
        };
        let link = self.platform.new_link();
        let now = self.now();
        let actions = self.platform.step(link, Input::Handshake(request), now);
        (link, actions)
    }

    fn connect(&mut self) -> LinkId {
        let url = self.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
        let (link, actions) = self.handshake(&url);
        assert_eq!(actions[0], Action { link, effect: Effect::Upgrade });
        link
    }

    fn push(&mut self, text: &str) -> (Pushed, Vec<Action>) {
        let now = self.now();
        let push = Push::direct("oc_1", "ou_alice", text);
        let pushed = self.platform.push(&self.app.app_id, &push, now).unwrap();
        (pushed, self.platform.take_actions())
    }

    fn send(&mut self, link: LinkId, frame: &Frame) -> Vec<Action> {
        let now = self.now();
        self.platform.step(link, Input::Message(WsMessage::Binary(frame.encode())), now)
    }

    fn record(&self, id: &EventId) -> EventRecord {
        self.platform.ledger().event(id).unwrap().clone()
    }

    fn counters(&self) -> Counters {
        self.platform.counters(&self.app.app_id).unwrap()
    }
}

fn bearer(token: &str) -> (String, String) {
    ("authorization".to_owned(), format!("Bearer {token}"))
}

fn frames(actions: &[Action]) -> Vec<(LinkId, Frame)> {
    let frame = |action: &Action| match &action.effect {
        Effect::Send(WsMessage::Binary(bytes)) => Some((action.link, Frame::decode(bytes).unwrap())),
        _ => None,
    };
    actions.iter().filter_map(frame).collect()
}

fn ack(frame: &Frame, code: u16) -> Frame {
    let mut ack = frame.clone();
    ack.headers.push(Header::new("biz_rt", "12"));
    ack.payload = Some(json!({ "code": code }).to_string().into_bytes());
    ack
}

/// §2.5, F-032: 3 s, then 15 s, 5 min, 1 h, 6 h, then never again.
#[test]
fn an_event_without_ack_comes_again_on_the_ladder_and_is_given_up_at_its_end() {
    let mut bench = Bench::new();
    bench.connect();
    let (pushed, actions) = bench.push("hi");
    let (_, first) = frames(&actions).remove(0);
    for rung in [15, 300, 3_600, 21_600] {
        let wait = 3 * SECOND + rung * SECOND;
        assert_eq!(bench.wait(wait - SECOND / 1_000), []);
        let again = frames(&bench.wait(SECOND / 1_000));
        assert_eq!(again.len(), 1, "after {rung} s");
        assert_eq!(again[0].1.payload, first.payload);
        assert_ne!(again[0].1.seq_id, first.seq_id);
    }
    assert!(!bench.record(&pushed.event_id).given_up);
    assert_eq!(bench.wait(10 * 21_600 * SECOND), []);
    let record = bench.record(&pushed.event_id);
    assert_eq!((record.deliveries.len(), record.attempts, record.given_up), (5, 5, true));
}

#[test]
fn it_does_not_matter_how_late_a_mount_calls() {
    let (mut often, mut once) = (Bench::new(), Bench::new());
    for bench in [&mut often, &mut once] {
        bench.connect();
        bench.push("hi");
    }
    for _ in 0..8_000 {
        often.wait(SECOND);
    }
    once.wait(8_000 * SECOND);
    assert_eq!(often.platform.ledger(), once.platform.ledger());
}

#[test]
fn an_ack_in_time_ends_it_and_one_with_500_or_a_late_one_does_not() {
    for (code, delay, deliveries, late) in [(200, 2, 1, 0), (500, 0, 2, 0), (200, 4, 2, 1)] {
        let mut bench = Bench::new();
        let link = bench.connect();
        let (pushed, actions) = bench.push("hi");
        let (_, frame) = frames(&actions).remove(0);
        bench.wait(delay * SECOND);
        bench.send(link, &ack(&frame, code));
        bench.wait(20 * SECOND);
        let record = bench.record(&pushed.event_id);
        assert_eq!((record.deliveries.len(), record.late), (deliveries, late), "{code} after {delay} s");
        assert_eq!((record.acked.len(), record.refused.len()), if code == 200 { (1, 0) } else { (0, 1) });
        assert_eq!(bench.counters().bad_acks, 0);
    }
}

type Spoil = fn(&mut Frame);

/// What `make interop` has shown of the official SDKs: Python leaves `biz_rt` out of a failure, Node's `LogID` has been
/// a double, its `biz_rt` is negative, and it answers events it does not know with a text.
#[test]
fn acks_as_the_official_sdks_send_them_count() {
    let sdks: [(&str, u16, Spoil); 4] = [
        ("python", 500, |frame| drop(frame.headers.pop())),
        ("node", 200, |frame| frame.log_id = (frame.log_id as f64) as u64),
        ("node", 200, |frame| frame.headers.last_mut().unwrap().value = "-3".to_owned()),
        ("node", 200, |frame| {
            frame.payload = Some(br#"{"code":200,"data":"Im5vIHggZXZlbnQgaGFuZGxlIg=="}"#.to_vec());
        }),
    ];
    for (sdk, code, spoil) in sdks {
        let mut bench = Bench::new();
        let link = bench.connect();
        let (pushed, actions) = bench.push("hi");
        let mut frame = ack(&frames(&actions)[0].1, code);
        spoil(&mut frame);
        bench.send(link, &frame);
        let record = bench.record(&pushed.event_id);
        let counted = if code == 200 { (1, 0) } else { (0, 1) };
        assert_eq!((record.acked.len(), record.refused.len()), counted, "{sdk}");
        let text = frame.payload.as_ref().is_some_and(|payload| payload.ends_with(b"==\"}"));
        assert_eq!(record.answers, vec![serde_json::json!("no x event handle"); usize::from(text)], "{sdk}");
        assert_eq!(bench.counters().bad_acks, 0, "{sdk}");
    }
}

/// §2.4: the frame as it was, every header in order, `biz_rt` appended.
#[test]
fn an_ack_that_is_not_the_frame_as_it_was_sent_does_not_count() {
    let spoiled: [(&str, Spoil); 8] = [
        ("header missing", |frame| drop(frame.headers.remove(6))),
        ("header changed", |frame| frame.headers[4].value = "other".to_owned()),
        ("order changed", |frame| frame.headers.swap(0, 1)),
        ("biz_rt missing", |frame| drop(frame.headers.pop())),
        ("LogID changed", |frame| frame.log_id += 1),
        ("SeqID changed", |frame| frame.seq_id += 1),
        ("LogIDNew missing", |frame| frame.log_id_new = None),
        ("payload not JSON", |frame| frame.payload = Some(b"ok".to_vec())),
    ];
    for (what, spoil) in spoiled {
        let mut bench = Bench::new();
        let link = bench.connect();
        let (pushed, actions) = bench.push("hi");
        let mut frame = ack(&frames(&actions)[0].1, 200);
        spoil(&mut frame);
        bench.send(link, &frame);
        assert!(!bench.record(&pushed.event_id).is_acked(), "{what}");
        assert_eq!(bench.counters().bad_acks, 1, "{what}");
    }
}

#[test]
fn an_ack_belongs_on_the_connection_of_its_delivery() {
    let mut bench = Bench::new();
    let links = [bench.connect(), bench.connect()];
    let (pushed, actions) = bench.push("hi");
    let (link, frame) = frames(&actions).remove(0);
    let other = links.into_iter().find(|other| *other != link).unwrap();
    bench.send(other, &ack(&frame, 200));
    assert!(!bench.record(&pushed.event_id).is_acked());
    bench.send(link, &ack(&frame, 200));
    assert!(bench.record(&pushed.event_id).is_acked());
}

/// §1.4, F-043: cluster mode without broadcast.
#[test]
fn each_event_goes_to_one_connection_and_all_get_their_share() {
    let mut bench = Bench::new();
    let links = [bench.connect(), bench.connect()];
    let mut share = [0, 0];
    for n in 0..100 {
        let sent = frames(&bench.push(&n.to_string()).1);
        assert_eq!(sent.len(), 1);
        share[usize::from(sent[0].0 == links[1])] += 1;
    }
    assert!(share.iter().all(|&count| count > 25), "{share:?}");
    assert_eq!((bench.counters().open, bench.counters().max_open), (2, 2));
}

/// §2.3, F-038.
#[test]
fn a_split_event_is_acked_by_any_of_its_parts_and_never_when_one_is_missing() {
    let mut bench = Bench::new();
    let link = bench.connect();
    bench.fault(Fault::Split(Split { parts: 3, order: vec![2, 0, 1], missing: None }), Times::Count(1));
    bench.fault(Fault::Split(Split { parts: 2, order: Vec::new(), missing: Some(0) }), Times::Count(1));
    let (whole, actions) = bench.push("grüße");
    let parts: Vec<Frame> = frames(&actions).into_iter().map(|(_, frame)| frame).collect();
    let order: Vec<_> = parts.iter().map(|part| part.header("seq").unwrap()).collect();
    assert_eq!(order, ["2", "0", "1"]);
    let joined = [1, 2, 0].map(|n: usize| parts[n].payload.clone().unwrap()).concat();
    assert_eq!(
        serde_json::from_slice::<Value>(&joined).unwrap()["header"]["event_id"],
        whole.event_id.as_str()
    );
    bench.send(link, &ack(&parts[2], 200));
    assert!(bench.record(&whole.event_id).is_acked());

    let (partial, actions) = bench.push("hi");
    let sent = frames(&actions);
    assert_eq!(sent.len(), 1);
    bench.send(link, &ack(&sent[0].1, 200));
    assert!(!bench.record(&partial.event_id).is_acked());
}

#[test]
fn events_are_doubled_and_repeated_although_acked_on_demand() {
    let mut bench = Bench::new();
    let link = bench.connect();
    bench.fault(Fault::Duplicate, Times::Count(1));
    bench.fault(Fault::RedeliverAcked, Times::Count(1));
    let (pushed, actions) = bench.push("hi");
    let sent = frames(&actions);
    assert_eq!(sent.len(), 2);
    bench.send(link, &ack(&sent[0].1, 200));
    assert_eq!(frames(&bench.wait(15 * SECOND)).len(), 1);
    assert_eq!(bench.record(&pushed.event_id).deliveries.len(), 3);
}

#[test]
fn offline_attempts_use_up_the_ladder_or_wait_as_set() {
    for (count, attempts) in [(true, 5), (false, 0)] {
        let mut bench = Bench::new();
        let redelivery = Redelivery { offline_attempts_count: count, ..Redelivery::default() };
        bench.platform.set_redelivery(redelivery);
        let (pushed, _) = bench.push("hi");
        bench.wait(8 * 3_600 * SECOND);
        let record = bench.record(&pushed.event_id);
        assert_eq!((record.attempts, record.given_up), (attempts, count));
        bench.connect();
        assert_eq!(bench.record(&pushed.event_id).deliveries.len(), usize::from(!count));
    }
}

#[test]
fn a_ticket_is_good_for_one_handshake_of_its_own_connection() {
    let mut bench = Bench::new();
    let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
    let refused = |actions: &[Action]| match &actions[0].effect {
        Effect::Respond(response) => response.headers.contains(&("handshake-status", "514".to_owned())),
        _ => false,
    };
    assert!(refused(&bench.handshake(&url.replace("device_id=", "device_id=1")).1));
    assert!(!refused(&bench.handshake(&url).1));
    assert!(refused(&bench.handshake(&url).1));
}

/// §1.2, §3.1: the refusals in the platform's own shapes.
#[test]
fn wrong_credentials_are_refused() {
    let mut bench = Bench::new();
    let wrong = json!({ "AppID": bench.app.app_id, "AppSecret": "no" });
    let (status, answer) = bench.call("POST", "/callback/ws/endpoint", None, &wrong);
    assert_eq!((status, answer["code"].as_i64()), (200, Some(1_000_040_345)));
    assert_eq!(answer["data"]["URL"], "");
    let (_, answer) = bench.call("POST", "/callback/ws/endpoint", None, &json!({}));
    assert_eq!(answer["code"], 1_000_040_344);
    let wrong = json!({ "app_id": bench.app.app_id, "app_secret": "no" });
    let (_, answer) = bench.call("POST", "/open-apis/auth/v3/tenant_access_token/internal", None, &wrong);
    assert_eq!(answer["code"], 10_014);
}

/// §3.1: the same token while 30 min remain, then a new one beside it; §3.2 for what is no token.
#[test]
fn tokens_live_as_documented() {
    let mut bench = Bench::new();
    let info = |bench: &mut Bench, token: Option<&str>| {
        bench.call("GET", "/open-apis/bot/v3/info", token, &Value::Null).1["code"].as_i64().unwrap()
    };
    let (first, expire) = bench.token();
    assert_eq!(expire, 7_200);
    bench.wait(5_400 * SECOND);
    assert_eq!(bench.token(), (first.clone(), 1_800));
    bench.wait(SECOND);
    let (second, _) = bench.token();
    assert_ne!(first, second);
    assert_eq!([info(&mut bench, Some(&first)), info(&mut bench, Some(&second))], [0, 0]);
    bench.wait(1_800 * SECOND);
    assert_eq!([info(&mut bench, Some(&first)), info(&mut bench, Some(&second))], [99_991_663, 0]);
    bench.platform.revoke_tokens(&bench.app.app_id).unwrap();
    assert_eq!(info(&mut bench, Some(&second)), 99_991_663);
    assert_eq!([info(&mut bench, None), info(&mut bench, Some("x"))], [99_991_661, 99_991_671]);
    bench.fault(Fault::TokenExpiry(60), Times::Count(1));
    assert_eq!(bench.token().1, 60);
}

const SEND: &str = "/open-apis/im/v1/messages?receive_id_type=chat_id";

fn text(chat: &str, text: &str, uuid: &str) -> Value {
    let content = json!({ "text": text }).to_string();
    json!({ "receive_id": chat, "msg_type": "text", "content": content, "uuid": uuid })
}

/// §3.4: at most one message per uuid within an hour, whatever became of the answer (F-056).
#[test]
fn a_uuid_sends_once_within_an_hour() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let (pushed, _) = bench.push("hi");
    bench.fault(Fault::LoseSendAnswer(Lost::Hang), Times::Count(1));
    assert_eq!(bench.request("POST", SEND, Some(&token), &text("oc_1", "a", "u1")), None);
    let (_, again) = bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u1"));
    let visible = bench.platform.ledger().visible().to_vec();
    assert_eq!(again["data"]["message_id"], visible[0].message_id.as_str());
    assert_eq!((visible.len(), visible[0].repeats), (1, 1));
    let reply = format!("/open-apis/im/v1/messages/{}/reply", pushed.message_id);
    bench.call("POST", &reply, Some(&token), &text("", "b", "u2"));
    bench.wait(3_600 * SECOND);
    bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u1"));
    let ledger = bench.platform.ledger();
    assert_eq!(ledger.visible_copies(&moorline_core::ChatId::new("oc_1"), "a"), 2);
    assert_eq!(ledger.replies_to(&pushed.message_id).count(), 1);
}

#[test]
fn malformed_sends_are_refused_and_nothing_becomes_visible() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    bench.push("hi");
    let by = |kind: &str| format!("/open-apis/im/v1/messages?receive_id_type={kind}");
    let with = |key: &str, value: Value| {
        let mut body = text("oc_1", "a", "u");
        body[key] = value;
        body
    };
    let cases = [
        ("/open-apis/im/v1/messages".to_owned(), text("oc_1", "a", "u"), 99_992_402),
        (by("phone"), text("oc_1", "a", "u"), 99_992_402),
        (by("open_id"), text("oc_1", "a", "u"), 230_001),
        (by("chat_id"), text("ou_alice", "a", "u"), 230_001),
        (by("chat_id"), text("oc_elsewhere", "a", "u"), 230_002),
        (by("open_id"), text("ou_nobody", "a", "u"), 230_013),
        (by("chat_id"), with("uuid", json!("x".repeat(51))), 99_992_402),
        (by("chat_id"), with("content", json!({ "text": "a" })), 99_992_402),
        (by("chat_id"), with("content", json!("a")), 230_001),
        (by("chat_id"), text("oc_1", &"a".repeat(151 << 10), "u"), 230_025),
        ("/open-apis/im/v1/messages/om_none/reply".to_owned(), text("", "a", "u"), 230_001),
    ];
    for (path, body, code) in cases {
        let (status, answer) = bench.call("POST", &path, Some(&token), &body);
        assert_eq!((status, answer["code"].as_i64()), (400, Some(code)), "{path} {}", answer["msg"]);
    }
    assert_eq!(bench.platform.ledger().visible(), []);
    let mut without_uuid = text("ou_alice", "a", "");
    without_uuid.as_object_mut().unwrap().remove("uuid");
    assert_eq!(bench.call("POST", &by("open_id"), Some(&token), &without_uuid).1["code"], 0);
}

#[test]
fn calls_fail_as_set() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    bench.push("hi");
    bench.fault(Fault::Send(Answer::RateLimited { reset: 7 }), Times::Count(1));
    bench.fault(Fault::Send(Answer::Code { status: 400, code: 230_020 }), Times::Count(1));
    let msg = "Internal Error".to_owned();
    bench.fault(Fault::Send(Answer::Refusal { status: 400, code: 230_001, msg }), Times::Count(1));
    let limited = bench.request("POST", SEND, Some(&token), &text("oc_1", "a", "u")).unwrap();
    assert_eq!(limited.status, 429);
    assert!(limited.headers.contains(&("x-ogw-ratelimit-reset", "7".to_owned())));
    assert_eq!(bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u")).1["code"], 230_020);
    assert_eq!(bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u")).1["msg"], "Internal Error");
    assert_eq!(bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u")).1["code"], 0);

    bench.fault(Fault::BotOpenId(None), Times::Count(1));
    let (_, info) = bench.call("GET", "/open-apis/bot/v3/info", Some(&token), &Value::Null);
    assert_eq!((info["code"].as_i64(), info["bot"].get("open_id")), (Some(0), None));

    bench.fault(Fault::EndpointUrl(String::new()), Times::Count(1));
    bench.fault(Fault::ClientConfig(ConfigShape::Missing), Times::Count(1));
    bench.fault(Fault::ClientConfig(ConfigShape::Json(json!({ "PingInterval": "x" }))), Times::Count(1));
    let (_, empty) = bench.endpoint();
    assert_eq!((&empty["data"]["URL"], empty["data"].get("ClientConfig")), (&json!(""), None));
    assert_eq!(bench.endpoint().1["data"]["ClientConfig"]["PingInterval"], "x");
    bench.fault(Fault::Endpoint(Answer::Delay(SECOND)), Times::Count(1));
    let body = json!({ "AppID": bench.app.app_id, "AppSecret": bench.app.app_secret });
    assert_eq!(bench.request("POST", "/callback/ws/endpoint", None, &body), None);
    assert_eq!(bench.wait(SECOND).len(), 1);
}

#[test]
fn a_held_channel_is_down_while_sending_goes_on() {
    let mut bench = Bench::new();
    let link = bench.connect();
    let (token, _) = bench.token();
    bench.push("hi");
    bench.fault(Fault::Hold, Times::UntilCleared);
    assert_eq!(bench.wait(Duration::ZERO), [Action { link, effect: Effect::Reset }]);
    assert_eq!(bench.endpoint().0, 503);
    assert_eq!(bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u")).0, 200);
    bench.platform.clear_faults(&bench.app.app_id).unwrap();
    bench.connect();
    assert_eq!((bench.counters().open, bench.counters().max_open), (1, 1));
}

#[test]
fn odd_frames_are_odd_and_ping_pong_goes_on() {
    let mut bench = Bench::new();
    let link = bench.connect();
    let undecodable =
        [OddFrame::Truncated, OddFrame::Empty, OddFrame::MissingRequired, OddFrame::WrongWireType];
    for odd in undecodable {
        let now = bench.now();
        assert_eq!(bench.platform.inject(&bench.app.app_id, odd, now), Ok(1));
        match &bench.platform.take_actions()[..] {
            [Action { effect: Effect::Send(WsMessage::Binary(bytes)), .. }] => {
                assert!(Frame::decode(bytes).is_err(), "{odd:?}");
            }
            other => panic!("{odd:?}: {other:?}"),
        }
    }
    bench.fault(Fault::NoPong, Times::Count(1));
    bench.fault(Fault::LatePong(2 * SECOND), Times::Count(1));
    let ping = Frame::control(bench.app.service_id, "ping", None);
    assert_eq!(bench.send(link, &ping), []);
    assert_eq!(bench.send(link, &ping), []);
    assert_eq!(frames(&bench.wait(2 * SECOND))[0].1.header("type"), Some("pong"));
    assert_eq!(frames(&bench.send(link, &ping)).len(), 1);
    assert_eq!((bench.counters().pings, bench.counters().bad_frames), (3, 0));
}

/// A pong that was late came out of a black hole, and made a dead connection look alive for longer than it could be.
#[test]
fn nothing_comes_out_of_a_black_hole() {
    let mut bench = Bench::new();
    let link = bench.connect();
    bench.fault(Fault::LatePong(2 * SECOND), Times::Count(1));
    assert_eq!(bench.send(link, &Frame::control(bench.app.service_id, "ping", None)), []);
    bench.platform.drop_connections(&bench.app.app_id, &Cut::BlackHole).unwrap();
    bench.platform.take_actions();
    assert_eq!(bench.wait(10 * SECOND), []);
}

/// §1.4: the fifty-first connection of an app.
#[test]
fn too_many_connections_are_refused_as_documented() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        bench.connect();
    }
    let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
    match &bench.handshake(&url).1[0].effect {
        Effect::Respond(response) => {
            assert!(response.headers.contains(&("handshake-autherrcode", "1000040350".to_owned())));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut bench = Bench::new();
        bench.connect();
        bench.push("hi");
        bench.wait(30 * SECOND);
        bench.platform.ledger().clone()
    };
    assert_eq!(run(), run());
}
