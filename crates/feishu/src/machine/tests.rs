//! Lives of a connection as scripts: events in, effects out.

use bytes::Bytes;
use moorline_channel::{AckId, HandshakeError, HttpResponse, NetworkErrorKind};
use moorline_core::FailureClass;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fake;
use crate::frame::{CONTROL, DATA, Frame, Header};

mod events;

const URL: &str = "ws://127.0.0.1:9/ws/v2?fpid=493&device_id=7677&access_key=canary-key&service_id=33554678\
    &ticket=canary-ticket";

/// A machine, its clock in milliseconds, and its outputs in short words.
struct Rig {
    machine: LongConnection,
    now: Monotonic,
}

impl Rig {
    fn new() -> Self {
        let now = Monotonic::from_origin(Duration::from_secs(1_000));
        Self { machine: LongConnection::new(fake::app("http://127.0.0.1:9")), now }
    }

    /// Open, with this `ClientConfig` in the endpoint's answer.
    fn open_with(config: Value) -> Self {
        let mut rig = Self::new();
        assert_eq!(rig.step(Event::Start), ["request"]);
        assert_eq!(rig.answer(success(config)), ["open"]);
        assert_eq!(rig.step(Event::Opened), ["opened 7677", "ping 33554678"]);
        rig
    }

    fn open() -> Self {
        Self::open_with(json!({"PingInterval": 90}))
    }

    fn raw(&mut self, event: Event) -> Vec<Effect> {
        self.machine.step(event, self.now)
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        self.raw(event).iter().map(describe).collect()
    }

    fn answer(&mut self, response: HttpResponse) -> Vec<String> {
        self.step(Event::Response { id: ENDPOINT_CALL, result: Ok(response) })
    }

    fn receive(&mut self, bytes: Bytes) -> Vec<String> {
        self.step(Event::Frame(Message::Binary(bytes)))
    }

    fn verdict(&mut self, ack: u64, stored: bool) -> Vec<String> {
        self.step(Event::Verdict { ack: AckId(ack), stored })
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// Milliseconds until the next wake-up.
    fn wake_in(&self) -> u128 {
        (self.machine.wake_at().expect("a wake-up") - self.now).as_millis()
    }

    fn patience(&self) -> u64 {
        self.machine.patience().as_secs()
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Request { .. } => "request".to_owned(),
        Effect::Cancel(_) => "cancel".to_owned(),
        Effect::Open(_) => "open".to_owned(),
        Effect::Send(Message::Binary(bytes)) => {
            let frame = Frame::read(bytes.clone()).unwrap();
            if frame.method == CONTROL {
                return format!("{} {}", frame.header("type").unwrap(), frame.service);
            }
            let payload: Value = serde_json::from_slice(&frame.payload.clone().unwrap()).unwrap();
            let headers: Vec<_> = frame.headers.iter().map(|h| format!("{}={}", h.key, h.value)).collect();
            format!("ack {} {}", payload["code"], headers.join(" "))
        }
        Effect::Send(Message::Close(Some(close))) => format!("close {}", close.code),
        Effect::Send(other) => panic!("sent {other:?}"),
        Effect::Emit(Output::Open { connection }) => format!("opened {connection}"),
        Effect::Emit(Output::Alive) => "alive".to_owned(),
        Effect::Emit(Output::Deliver { ack, deliveries, cursor: None }) => {
            assert_eq!(deliveries.len(), 1);
            format!("deliver {}", ack.0)
        }
        Effect::Emit(Output::Notice { kind }) => format!("notice {kind}"),
        Effect::Emit(Output::Skipped { why }) => format!("skipped: {why}"),
        Effect::Emit(other) => panic!("emitted {other:?}"),
        Effect::Finish(None) => "stopped".to_owned(),
        Effect::Finish(Some(failure)) => format!("failed: {failure}"),
    }
}

fn success(config: Value) -> HttpResponse {
    fake::json(200, json!({"code": 0, "msg": "", "data": {"URL": URL, "ClientConfig": config}}))
}

fn frame(method: i32, headers: &[(&str, &str)], payload: impl Into<Bytes>) -> Bytes {
    let headers = headers.iter().map(|(key, value)| Header { key: (*key).into(), value: (*value).into() });
    Frame { method, headers: headers.collect(), payload: Some(payload.into()), ..Frame::default() }.write()
}

fn pong(payload: impl Into<Bytes>) -> Bytes {
    frame(CONTROL, &[("type", "pong")], payload)
}

fn part(id: &str, sum: usize, seq: usize, payload: impl Into<Bytes>) -> Bytes {
    let (sum, seq) = (sum.to_string(), seq.to_string());
    frame(DATA, &[("type", "event"), ("message_id", id), ("sum", &sum), ("seq", &seq)], payload)
}

fn message(id: &str) -> String {
    json!({"schema": "2.0",
        "header": {"event_id": format!("e-{id}"), "event_type": "im.message.receive_v1"},
        "event": {"message": {"message_id": id, "chat_id": "oc_1", "chat_type": "p2p", "message_type": "text",
            "content": r#"{"text":"hé"}"#}}})
    .to_string()
}

/// Protocol §1 to §2.4, byte for byte where the page has bytes.
#[test]
fn a_normal_life() {
    let mut rig = Rig::new();
    assert_eq!((rig.machine.wake_at(), rig.patience()), (None, 10));
    let start = rig.raw(Event::Start);
    let [Effect::Request { request, .. }] = start.as_slice() else { panic!("{start:?}") };
    assert_eq!(request.url.as_str(), "http://127.0.0.1:9/callback/ws/endpoint");
    let opening = rig.raw(Event::Response { id: ENDPOINT_CALL, result: Ok(success(json!({}))) });
    let [Effect::Open(request)] = opening.as_slice() else { panic!("{opening:?}") };
    assert_eq!(request.url.as_str(), URL);

    let opened = rig.raw(Event::Opened);
    let [Effect::Emit(Output::Open { connection }), Effect::Send(ping)] = opened.as_slice() else {
        panic!("{opened:?}")
    };
    assert_eq!((connection.as_str(), ping), ("7677", &Message::Binary(fake::bytes(fake::PING))));
    assert_eq!((rig.wake_in(), rig.patience()), (30_000, 10));

    assert_eq!(rig.receive(fake::bytes(fake::PONG)), ["alive"]);
    assert_eq!(rig.patience(), 40);
    rig.pass(30_000);
    assert_eq!(rig.step(Event::Wake), ["ping 33554678"]);
    assert_eq!(rig.wake_in(), 30_000);

    assert_eq!(rig.receive(fake::bytes(fake::DATA)), ["alive", "deliver 0"]);
    rig.pass(12);
    let acked = rig.raw(Event::Verdict { ack: AckId(0), stored: true });
    let [Effect::Send(ack)] = acked.as_slice() else { panic!("{acked:?}") };
    assert_eq!(ack, &Message::Binary(fake::bytes(fake::ACK)));

    assert_eq!(rig.step(Event::Probe), ["ping 33554678"]);
    assert_eq!(rig.step(Event::Stop), ["close 1000", "stopped"]);
    assert_eq!(rig.step(Event::Wake), [""; 0]);
}

#[test]
fn stop_ends_a_connection_in_every_phase() {
    let mut rig = Rig::new();
    rig.step(Event::Start);
    assert_eq!(rig.step(Event::Stop), ["stopped"]);
    let mut rig = Rig::new();
    rig.step(Event::Start);
    rig.answer(success(json!(null)));
    assert_eq!(rig.step(Event::Stop), ["stopped"]);
}

/// Protocol §1.2: each ends this attempt with its class; what comes next is the runtime's business (F-001, F-006).
#[test]
fn a_refused_endpoint_call_ends_the_attempt() {
    use FailureClass::*;
    for (code, class) in [
        (1, Transient),
        (1_000_040_343, Transient),
        (1_000_040_344, Credentials),
        (1_000_040_345, Credentials),
        (1_000_040_350, Conflict),
        (403, Permission),
        (514, Credentials),
        (42, Transient),
    ] {
        let mut rig = Rig::new();
        rig.step(Event::Start);
        let answer = fake::json(200, json!({"code": code, "msg": "m", "data": {"URL": ""}}));
        let wanted = format!("failed: endpoint call to 127.0.0.1:9: refused: m ({class}, code {code})");
        assert_eq!(rig.answer(answer), [wanted]);
    }
    let mut rig = Rig::new();
    rig.step(Event::Start);
    let result = Err(fake::lost(NetworkErrorKind::Timeout));
    let ended = rig.step(Event::Response { id: ENDPOINT_CALL, result });
    assert!(
        ended.len() == 1
            && ended[0].ends_with("no answer in time: open.feishu.cn, reading the answer (transient)")
    );
}

/// Protocol §1.3.
#[test]
fn a_refused_handshake_ends_the_attempt() {
    use FailureClass::*;
    for (status, auth_code, class, code) in [
        ("403", "", Permission, "403"),
        ("514", "1000040350", Conflict, "1000040350"),
        ("514", "7", Transient, "7"),
        ("514", "", Transient, "514"),
        ("500", "", Transient, "500"),
    ] {
        let mut rig = Rig::new();
        rig.step(Event::Start);
        rig.answer(success(json!({})));
        let response = fake::with_header(fake::answer(200, ""), "handshake-status", status);
        let response = fake::with_header(response, "handshake-autherrcode", auth_code);
        let response = fake::with_header(response, "handshake-msg", "ticket canary-ticket");
        let error = HandshakeError::Refused { status: response.status, headers: response.headers };
        let wanted = format!(
            "failed: handshake with 127.0.0.1:9: refused with status 200 OK: ticket [secret] ({class}, code {code})"
        );
        assert_eq!(rig.step(Event::NotOpened(error)), [wanted]);
    }
    let mut rig = Rig::new();
    rig.step(Event::Start);
    rig.answer(success(json!({})));
    let ended = rig.step(Event::NotOpened(fake::lost(NetworkErrorKind::ConnectTimeout).into()));
    assert!(ended[0].starts_with("failed: handshake with 127.0.0.1:9: no connection in time"), "{ended:?}");
}

/// Protocol §2.6: every end is a reason to come back; its code is kept for people. F-090.
#[test]
fn every_end_of_an_open_connection_is_transient() {
    let close =
        |code, reason: &str| Event::Frame(Message::Close(Some(Close { code, reason: reason.to_owned() })));
    for (event, says) in [
        (close(1_000, ""), "closed by the platform with code 1000:"),
        (close(1_006, "canary-ticket"), "closed by the platform with code 1006: [secret]"),
        (close(4_001, "bye\r\nnow"), "closed by the platform with code 4001: bye  now"),
        (Event::Frame(Message::Close(None)), "closed by the platform without a code"),
        (Event::Lost(None), "ended by the platform without a close code"),
        (
            Event::Lost(Some(fake::lost(NetworkErrorKind::Reset))),
            "connection lost: open.feishu.cn, reading the answer",
        ),
    ] {
        let wanted = format!("failed: connection 7677 of 127.0.0.1:9: {says} (transient)");
        assert_eq!(Rig::open().step(event), [wanted]);
    }
}

/// Protocol §1.1, §2.2: no configuration makes a storm of pings, or a clock that never wakes.
#[test]
fn odd_client_configs_change_nothing() {
    for odd in [
        json!(null),
        json!({}),
        json!({"PingInterval": 0}),
        json!({"PingInterval": -1}),
        json!({"PingInterval": "90"}),
        json!({"PingInterval": null, "ReconnectCount": 0, "ReconnectInterval": -7}),
        json!({"PingInterval": 1e300}),
        json!({"PingInterval": u64::MAX}),
        json!([]),
    ] {
        let mut rig = Rig::open_with(odd.clone());
        assert_eq!(rig.receive(pong(odd.to_string())), ["alive"]);
        let mut pings = 0;
        for _ in 0..120 {
            rig.pass(1_000);
            pings += rig.step(Event::Wake).len();
        }
        assert_eq!((pings, rig.patience()), (4, 40), "{odd}");
    }
}

/// Protocol §2.1, §2.2: from the next wait on. The patience never falls behind the pings (F-019, F-021).
#[test]
fn a_pong_changes_the_interval_of_the_pings() {
    let mut rig = Rig::open();
    rig.receive(pong(r#"{"PingInterval": 2}"#));
    assert_eq!((rig.wake_in(), rig.patience()), (30_000, 40));
    rig.pass(30_000);
    rig.step(Event::Wake);
    // The last sign of life is 30 s old, and this ping may take 10 s.
    assert_eq!((rig.wake_in(), rig.patience()), (2_000, 40));
    rig.receive(pong(""));
    assert_eq!(rig.patience(), 12);
    rig.receive(pong(r#"{"PingInterval": 20}"#));
    assert_eq!((rig.wake_in(), rig.patience()), (2_000, 12));
    rig.pass(2_000);
    rig.step(Event::Wake);
    assert_eq!((rig.wake_in(), rig.patience()), (20_000, 30));
}

/// F-019: a connection that never says a word has 10 s, however often it is asked.
#[test]
fn silence_from_the_beginning_is_noticed_soon() {
    let mut rig = Rig::open_with(json!({"PingInterval": 1}));
    for _ in 0..9 {
        rig.pass(1_000);
        assert_eq!(rig.step(Event::Wake), ["ping 33554678"]);
        assert_eq!(rig.step(Event::Probe), ["ping 33554678"]);
        assert_eq!(rig.patience(), 10);
    }
}

/// F-037: each is skipped, said, and survived.
#[test]
fn malformed_frames_keep_the_connection() {
    let event = |headers: &[(&str, &str)]| frame(DATA, headers, "{}");
    let mut rig = Rig::open();
    assert_eq!(rig.receive(Bytes::new()), ["skipped: the frame has no SeqID"]);
    assert_eq!(
        rig.receive(fake::bytes(fake::DATA).slice(2..)),
        ["skipped: the frame has no SeqID"],
        "no acknowledgement: the platform sends it again"
    );
    let noise = rig.receive(Bytes::from_static(b"\xff\xff\xff"));
    assert!(noise.len() == 1 && noise[0].starts_with("skipped: the message is no frame"), "{noise:?}");
    let bomb = [&fake::bytes(fake::PING)[..11], &[0x2a, 4, 0x0a, 0, 0x12, 0].repeat(1_000)].concat();
    let bomb = rig.receive(bomb.into());
    assert_eq!(bomb, ["skipped: the frame has more than 64 headers"]);
    let text = rig.step(Event::Frame(Message::Text("{}".to_owned())));
    assert_eq!(text, ["skipped: a text message of 2 bytes"]);
    for (bytes, why) in [
        (frame(CONTROL, &[("type", "wave")], ""), "a frame of method 0 and type wave"),
        (frame(7, &[("type", "event")], ""), "a frame of method 7 and type event"),
        (frame(-1, &[], ""), "a frame of method -1 and type none"),
        (frame(DATA, &[("type", "card")], ""), "a frame of method 1 and type card"),
        (event(&[("type", "event"), ("sum", "x")]), "header sum is no whole number"),
        (event(&[("type", "event"), ("sum", "0")]), "an event of 0 parts"),
        (event(&[("type", "event"), ("sum", "2"), ("seq", "2")]), "part 2 of an event of 2 parts"),
        (event(&[("type", "event"), ("sum", "2"), ("seq", "-1")]), "part -1 of an event of 2 parts"),
        (event(&[("type", "event"), ("sum", "2")]), "a part without a usable message_id"),
    ] {
        assert_eq!(rig.receive(bytes), ["alive".to_owned(), format!("skipped: {why}")]);
    }
    let pong = rig.receive(pong("PingInterval=1"));
    assert!(pong[1].starts_with("skipped: a pong whose payload is no JSON"), "{pong:?}");
    assert_eq!(rig.receive(frame(CONTROL, &[("type", "ping")], "")), ["alive"]);
    assert_eq!(rig.step(Event::Frame(Message::Ping(Bytes::new()))), [""; 0]);
    // An event that cannot be read is kept, and acknowledged like any other.
    assert_eq!(rig.receive(part("m", 1, 0, "{")), ["alive", "deliver 0"]);
    assert_eq!(rig.receive(part("m", 1, 0, message("om_1"))), ["alive", "deliver 1"]);
}

proptest! {
    /// F-037: whatever comes in binary, the connection stays and nothing panics.
    #[test]
    fn noise_never_ends_a_connection(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
        flips in prop::collection::vec((0usize..118, 0u8..8), 0..4),
    ) {
        let mut rig = Rig::open();
        let mut data = fake::bytes(fake::DATA).to_vec();
        for (at, bit) in flips {
            data[at] ^= 1 << bit;
        }
        for bytes in frames.into_iter().chain([data]) {
            let effects = rig.receive(bytes.into());
            prop_assert!(!effects.iter().any(|effect| effect.starts_with("failed")), "{:?}", effects);
        }
        rig.pass(30_000);
        prop_assert!(rig.step(Event::Wake).contains(&"ping 33554678".to_owned()));
    }
}
