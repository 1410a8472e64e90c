//! Faults of the long connection, the token and bot info: each does what it says, as often as it says.

use super::*;

fn refused_with(actions: &[Action]) -> Option<(u16, Option<String>, Option<String>)> {
    let Effect::Respond(response) = &actions.first()?.effect else { return None };
    let header =
        |name: &str| response.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    Some((response.status, header("handshake-status"), header("handshake-autherrcode")))
}

/// §1.3.
#[test]
fn handshakes_are_refused_reset_delayed_or_never_answered() {
    let mut bench = Bench::new();
    let handshake = |bench: &mut Bench, fault: HandshakeFault| {
        bench.fault(Fault::Handshake(fault), Times::Count(1));
        let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
        bench.handshake(&url)
    };
    let refusals =
        [(200, None, None), (400, Some(403), None), (400, Some(514), Some(7)), (503, Some(1), None)];
    for (status, handshake_status, auth_code) in refusals {
        let fault = HandshakeFault::Refuse { status, handshake_status, auth_code };
        let text = |number: Option<i64>| number.map(|number| number.to_string());
        let expected = Some((status, text(handshake_status), text(auth_code)));
        assert_eq!(refused_with(&handshake(&mut bench, fault).1), expected);
    }
    let (link, actions) = handshake(&mut bench, HandshakeFault::Reset);
    assert_eq!(actions, [Action { link, effect: Effect::Reset }]);
    assert_eq!(handshake(&mut bench, HandshakeFault::Hang).1, []);

    let (link, actions) = handshake(&mut bench, HandshakeFault::Delay(9 * SECOND));
    assert_eq!((actions, bench.counters().open), (vec![], 0));
    assert_eq!(bench.wait(9 * SECOND), [Action { link, effect: Effect::Upgrade }]);
    assert_eq!(bench.counters().open, 1);
    // A client that gave up in the meantime leaves no connection behind to steal events.
    let (link, _) = handshake(&mut bench, HandshakeFault::Delay(9 * SECOND));
    let now = bench.now();
    bench.platform.step(link, Input::Gone, now);
    assert_eq!((bench.wait(9 * SECOND), bench.counters().open), (vec![], 1));
}

#[test]
fn a_new_connection_is_cut_as_set() {
    let close = Cut::Close { code: 1001, reason: "away".to_owned() };
    let cuts = [
        (close, Effect::Close { code: 1001, reason: "away".to_owned() }, 0),
        (Cut::Fin, Effect::Fin, 0),
        (Cut::Reset, Effect::Reset, 0),
        (Cut::BlackHole, Effect::BlackHole, 1),
    ];
    for (cut, effect, open) in cuts {
        let mut bench = Bench::new();
        bench.fault(Fault::CutOnOpen(cut), Times::Count(1));
        let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
        let (link, actions) = bench.handshake(&url);
        let expected = [Effect::Upgrade, effect].map(|effect| Action { link, effect });
        assert_eq!((actions.as_slice(), bench.counters().open), (expected.as_slice(), open));
    }
}

/// §1.4, §1.2, §1.3: the number is settable, and so is who refuses.
#[test]
fn the_connection_limit_is_refused_where_it_is_set_to_be() {
    let mut bench = Bench::new();
    let app = bench.app.app_id.clone();
    let limit = |connections, refused_at| ConnectionLimit { connections, refused_at };
    bench.platform.set_connection_limit(&app, limit(1, RefusedAt::Endpoint)).unwrap();
    let early = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
    let link = bench.connect();
    let (status, answer) = bench.endpoint();
    assert_eq!((status, answer["code"].as_i64()), (200, Some(1_000_040_350)));
    let too_many = Some((400, Some("514".to_owned()), Some("1000040350".to_owned())));
    assert_eq!(refused_with(&bench.handshake(&early).1), too_many, "an address from before the limit");
    bench.platform.set_connection_limit(&app, limit(1, RefusedAt::Handshake)).unwrap();
    let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
    assert_eq!(refused_with(&bench.handshake(&url).1), too_many);
    let now = bench.now();
    bench.platform.step(link, Input::Gone, now);
    bench.connect();
    assert_eq!(bench.counters().max_open, 1);
}

#[test]
fn a_ticket_expires_when_set_to() {
    for (wait, open) in [(Duration::from_millis(4_999), 1), (5 * SECOND, 0)] {
        let mut bench = Bench::new();
        bench.fault(Fault::TicketExpiry(5 * SECOND), Times::Count(1));
        let url = bench.endpoint().1["data"]["URL"].as_str().unwrap().to_owned();
        bench.wait(wait);
        let (_, actions) = bench.handshake(&url);
        assert_eq!(bench.counters().open, open);
        assert_eq!(refused_with(&actions).is_none(), open == 1);
        bench.connect();
    }
}

/// §2.2.
#[test]
fn pongs_carry_what_they_are_told_to() {
    let mut bench = Bench::new();
    let link = bench.connect();
    let json = |value| ConfigShape::Json(value);
    let odd = json!({ "PingInterval": 0, "ReconnectCount": "x" });
    let faults = [
        (Fault::PongPayload("{".to_owned()), Some("{".to_owned())),
        (Fault::PongPayload(String::new()), Some(String::new())),
        (Fault::PongConfig(json(odd.clone())), Some(odd.to_string())),
        (Fault::PongConfig(json(Value::Null)), Some("null".to_owned())),
        (Fault::PongConfig(ConfigShape::Missing), None),
    ];
    let ping = Frame::control(bench.app.service_id, "ping", None);
    for (fault, payload) in faults {
        bench.fault(fault, Times::Count(1));
        let pong = frames(&bench.send(link, &ping)).remove(0).1;
        assert_eq!(pong.header("type"), Some("pong"));
        assert_eq!(pong.payload.map(|payload| String::from_utf8(payload).unwrap()), payload);
    }
    let usual = frames(&bench.send(link, &ping)).remove(0).1;
    let usual: Value = serde_json::from_slice(&usual.payload.unwrap()).unwrap();
    assert_eq!(usual["PingInterval"], 90);
}

/// §1.2, §3.1, §3.3: the same answers at each of the three calls.
#[test]
fn endpoint_token_and_bot_info_are_answered_as_set() {
    let answers = [
        (Answer::Status(502), 502, json!(null)),
        (Answer::Garbage, 200, json!(null)),
        (Answer::Code { status: 200, code: 1 }, 200, json!(1)),
        (Answer::Refusal { status: 400, code: 10_003, msg: "m".to_owned() }, 400, json!(10_003)),
        (Answer::RateLimited { reset: 3 }, 429, json!(99_991_400)),
        (Answer::Body { status: 200, body: "{\"code\":\"0\"}".to_owned() }, 200, json!("0")),
        (Answer::Redirect("http://elsewhere/".to_owned()), 302, json!(null)),
    ];
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let endpoint = json!({ "AppID": bench.app.app_id, "AppSecret": bench.app.app_secret });
    let secret = json!({ "app_id": bench.app.app_id, "app_secret": bench.app.app_secret });
    type Place = (fn(Answer) -> Fault, &'static str, &'static str, Value);
    let places: [Place; 3] = [
        (Fault::Endpoint, "POST", "/callback/ws/endpoint", endpoint),
        (Fault::Token, "POST", "/open-apis/auth/v3/tenant_access_token/internal", secret),
        (Fault::BotInfo, "GET", "/open-apis/bot/v3/info", Value::Null),
    ];
    for (fault, method, path, body) in places {
        for (answer, status, code) in answers.clone() {
            bench.fault(fault(answer.clone()), Times::Count(1));
            let (got, value) = bench.call(method, path, Some(&token), &body);
            assert_eq!((got, &value["code"]), (status, &code), "{path} {answer:?}");
        }
        bench.fault(fault(Answer::Hang), Times::Count(1));
        assert_eq!(bench.request(method, path, Some(&token), &body), None, "{path}");
        bench.fault(fault(Answer::Reset), Times::Count(1));
        assert_eq!(bench.request(method, path, Some(&token), &body), None, "{path}");
        bench.fault(fault(Answer::Delay(SECOND)), Times::Count(1));
        assert_eq!(bench.request(method, path, Some(&token), &body), None, "{path}");
        match &bench.wait(SECOND)[..] {
            [Action { effect: Effect::Respond(response), .. }] => assert_eq!(response.status, 200),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(bench.call(method, path, Some(&token), &body).1["code"], 0, "{path}");
    }
}

#[test]
fn a_reset_call_is_a_reset_and_a_lost_answer_took_effect() {
    let mut bench = Bench::new();
    let secret = json!({ "app_id": bench.app.app_id, "app_secret": bench.app.app_secret });
    let request = Request {
        method: "POST".to_owned(),
        path: "/open-apis/auth/v3/tenant_access_token/internal".to_owned(),
        body: secret.to_string().into(),
        ..Request::default()
    };
    for fault in [Fault::Token(Answer::Reset), Fault::LoseTokenAnswer(Lost::Reset)] {
        bench.fault(fault, Times::Count(1));
        let (link, now) = (bench.platform.new_link(), bench.now());
        let actions = bench.platform.step(link, Input::Call(request.clone()), now);
        assert_eq!(actions, [Action { link, effect: Effect::Reset }]);
    }
    // The one whose answer was lost was minted all the same: its age shows.
    bench.wait(100 * SECOND);
    let (token, expire) = bench.token();
    assert_eq!(expire, 7_100);
    bench.fault(Fault::LoseBotInfoAnswer(Lost::Hang), Times::Count(1));
    let info = |bench: &mut Bench| bench.request("GET", "/open-apis/bot/v3/info", Some(&token), &Value::Null);
    assert_eq!(info(&mut bench), None);
    assert!(info(&mut bench).is_some());
    assert_eq!(bench.counters().bot_info_requests, 2);
}

#[test]
fn bot_info_says_what_it_is_told_to() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    for status in [0, 1, 3, 4, 5, 6] {
        bench.fault(Fault::BotStatus(status), Times::Count(1));
        let (_, info) = bench.call("GET", "/open-apis/bot/v3/info", Some(&token), &Value::Null);
        assert_eq!(info["bot"]["activate_status"], status);
    }
    bench.fault(Fault::BotOpenId(Some(String::new())), Times::Count(1));
    let (_, info) = bench.call("GET", "/open-apis/bot/v3/info", Some(&token), &Value::Null);
    assert_eq!((&info["bot"]["activate_status"], &info["bot"]["open_id"]), (&json!(2), &json!("")));
}

/// Every odd frame is what its name says (F-037, F-038).
#[test]
fn every_odd_frame_is_what_it_is_called() {
    let binary = |frame: Result<Frame, FrameError>| frame.unwrap();
    type Check = Box<dyn Fn(&[WsMessage])>;
    let one = |check: fn(Frame)| -> Check {
        Box::new(move |messages| match messages {
            [WsMessage::Binary(bytes)] => check(binary(Frame::decode(bytes))),
            other => panic!("{other:?}"),
        })
    };
    let sums = |expected: &'static [(&'static str, &'static str)]| -> Check {
        Box::new(move |messages| {
            let parts = messages.iter().map(|message| match message {
                WsMessage::Binary(bytes) => binary(Frame::decode(bytes)),
                other => panic!("{other:?}"),
            });
            let parts: Vec<Frame> = parts.collect();
            let sums = parts.iter().map(|part| (part.header("sum").unwrap(), part.header("seq").unwrap()));
            assert_eq!(sums.collect::<Vec<_>>(), expected);
            let ids = parts.iter().map(|part| part.header("message_id").unwrap());
            assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1);
        })
    };
    let cases: Vec<(OddFrame, Check)> = vec![
        (OddFrame::Text, Box::new(|messages| assert!(matches!(messages, [WsMessage::Text(_)])))),
        (OddFrame::Empty, Box::new(|messages| assert_eq!(messages, [WsMessage::Binary(Vec::new())]))),
        (OddFrame::WebSocketPing, Box::new(|messages| assert!(matches!(messages, [WsMessage::Ping(_)])))),
        (OddFrame::UnknownMethod, one(|frame| assert!(frame.method > METHOD_DATA))),
        (OddFrame::UnknownType, one(|frame| assert_eq!(frame.header("type"), Some("weather")))),
        (OddFrame::CardType, one(|frame| assert_eq!(frame.header("type"), Some("card")))),
        (
            OddFrame::ServerPing,
            one(|frame| assert_eq!((frame.method, frame.header("type")), (METHOD_CONTROL, Some("ping")))),
        ),
        (OddFrame::SumZero, sums(&[("0", "0")])),
        (OddFrame::SeqBeyondSum, sums(&[("2", "5")])),
        (OddFrame::SumChanges, sums(&[("2", "0"), ("3", "1")])),
        (OddFrame::SumNotNumber, sums(&[("two", "first")])),
        (OddFrame::Oversized(70_000), one(|frame| assert_eq!(frame.payload.unwrap().len(), 70_000))),
        (
            OddFrame::NotJson,
            one(|frame| {
                assert!(serde_json::from_slice::<Value>(&frame.payload.unwrap()).is_err());
            }),
        ),
        (
            OddFrame::NoHeader,
            one(|frame| {
                let envelope: Value = serde_json::from_slice(&frame.payload.unwrap()).unwrap();
                assert_eq!(envelope.get("header"), None);
            }),
        ),
    ];
    let messages = |actions: Vec<Action>| -> Vec<WsMessage> {
        let sent = actions.into_iter().map(|action| match action.effect {
            Effect::Send(message) => message,
            other => panic!("{other:?}"),
        });
        sent.collect()
    };
    for (odd, check) in cases {
        let mut bench = Bench::new();
        bench.connect();
        let now = bench.now();
        bench.platform.inject(&bench.app.app_id, odd, now).unwrap();
        check(&messages(bench.platform.take_actions()));
        // As a fault, the same goes out right before the next event.
        let mut bench = Bench::new();
        bench.connect();
        bench.fault(Fault::OddFrame(odd), Times::Count(1));
        let mut sent = messages(bench.push("hi").1);
        let event = sent.pop().unwrap();
        assert!(
            matches!(event, WsMessage::Binary(bytes) if Frame::decode(&bytes).unwrap().payload.is_some())
        );
        check(&sent);
        assert_eq!(messages(bench.push("hi").1).len(), 1, "{odd:?} strikes once");
    }
    let mut bench = Bench::new();
    let link = bench.connect();
    let now = bench.now();
    bench.platform.step(link, Input::Message(WsMessage::Pong(Vec::new())), now);
    assert_eq!(bench.counters().websocket_pongs, 1);
}

/// §2.3, §2: doubled parts, a `sum` that changes and what nobody knows.
#[test]
fn parts_come_twice_or_disagree_and_come_again_whole() {
    let mut bench = Bench::new();
    let link = bench.connect();
    bench.fault(Fault::Split(Split { parts: 2, order: vec![1, 1, 0, 0], missing: None }), Times::Count(1));
    let (pushed, actions) = bench.push("hi");
    let parts = frames(&actions);
    let order: Vec<_> = parts.iter().map(|(_, part)| part.header("seq").unwrap()).collect();
    assert_eq!(order, ["1", "1", "0", "0"]);
    bench.send(link, &ack(&parts[2].1, 200));
    assert!(bench.record(&pushed.event_id).is_acked());

    bench.fault(Fault::SplitSumChanges(2), Times::Count(1));
    let (pushed, actions) = bench.push("hi");
    let parts = frames(&actions);
    let sums: Vec<_> = parts.iter().map(|(_, part)| part.header("sum").unwrap()).collect();
    assert_eq!(sums, ["2", "3"]);
    bench.send(link, &ack(&parts[1].1, 200));
    assert!(!bench.record(&pushed.event_id).is_acked(), "nobody can honestly ack it");
    let again = frames(&bench.wait(18 * SECOND)).remove(0).1;
    assert_eq!(again.header("sum"), Some("1"));
    bench.send(link, &ack(&again, 200));
    assert!(bench.record(&pushed.event_id).is_acked());

    bench.fault(Fault::UnknownFields, Times::Count(1));
    let (pushed, actions) = bench.push("hi");
    let frame = frames(&actions).remove(0).1;
    assert_eq!(frame.header("x-unheard-of"), Some("keep me"));
    let Effect::Send(WsMessage::Binary(bytes)) = &actions[0].effect else { panic!("{actions:?}") };
    assert!(bytes.len() > frame.encode().len(), "a field the codec does not know");
    let mut without = ack(&frame, 200);
    without.headers.retain(|header| header.key != "x-unheard-of");
    bench.send(link, &without);
    assert!(!bench.record(&pushed.event_id).is_acked(), "unknown headers are to be echoed");
    bench.send(link, &ack(&frame, 200));
    assert!(bench.record(&pushed.event_id).is_acked());
}

/// A lost part, and the event again in as many: the second set is whole.
#[test]
fn a_lost_part_comes_with_the_redelivery() {
    let mut bench = Bench::new();
    let link = bench.connect();
    let split = |missing| Fault::Split(Split { parts: 3, order: Vec::new(), missing });
    bench.fault(split(Some(1)), Times::Count(1));
    bench.fault(split(None), Times::Count(1));
    let (pushed, actions) = bench.push("hi");
    assert_eq!(frames(&actions).len(), 2);
    let again = frames(&bench.wait(18 * SECOND));
    assert_eq!(again.len(), 3);
    bench.send(link, &ack(&again[2].1, 200));
    assert!(bench.record(&pushed.event_id).is_acked());
}
