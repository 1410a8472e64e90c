//! Events: what is acknowledged, when, and with what.

use super::*;

/// Protocol §4.3, §4.4: acknowledged within the step that reads it, every header in its place, whatever its fields.
#[test]
fn an_event_without_use_is_acknowledged_at_once() {
    let headers = [("instance_id", "i-7"), ("type", "event"), ("x-new", ""), ("instance_id", "again")];
    for kind in [
        "im.chat.member.bot.added_v1",
        "im.chat.member.bot.deleted_v1",
        "im.message.recalled_v1",
        "im.message.reaction.created_v1",
        "im.message.reaction.deleted_v1",
        "im.message.message_read_v1",
        "im.chat.access_event.bot_p2p_chat_entered_v1",
        "card.action.trigger",
        "of.next.year_v7",
    ] {
        for event in [json!({"chat_id": "oc_1", "message_id": "om_1"}), json!({}), json!(null), json!([7])] {
            let payload = json!({"schema": "2.0", "header": {"event_type": kind}, "event": event});
            assert_eq!(
                Rig::open().receive(frame(DATA, &headers, payload.to_string())),
                [
                    "alive".to_owned(),
                    format!("notice {kind}"),
                    "ack 200 instance_id=i-7 type=event x-new= instance_id=again biz_rt=0".to_owned(),
                ]
            );
        }
    }
}

/// Protocol §4.4: an answer without data leaves the card as it is.
#[test]
fn the_answer_to_a_card_is_empty() {
    let payload = json!({"schema": "2.0", "header": {"event_id": "e", "event_type": "card.action.trigger"},
        "event": {"operator": {"open_id": "ou_1"}, "token": "c-1", "action": {"value": {"k": 1}, "tag": "button"},
            "host": "im_message", "context": {"open_message_id": "om_1", "open_chat_id": "oc_1"}}});
    let card = frame(DATA, &[("type", "event")], payload.to_string());
    let effects = Rig::open().raw(Event::Frame(Message::Binary(card)));
    let Some(Effect::Send(Message::Binary(bytes))) = effects.last() else { panic!("{effects:?}") };
    let answer: Value =
        serde_json::from_slice(&Frame::read(bytes.clone()).unwrap().payload.unwrap()).unwrap();
    assert_eq!(answer, json!({"code": 200, "headers": null, "data": null}));
}

/// F-037; protocol §2.5 rule 2: kept, and acknowledged when its bytes are on disk, but not before.
#[test]
fn an_event_that_cannot_be_read_is_kept_and_then_acknowledged() {
    let no_header = json!({"schema": "2.0", "event": {}}).to_string();
    let v1 =
        json!({"uuid": "u", "ts": "1.5", "type": "event_callback", "event": {"type": "message"}}).to_string();
    let deep = format!(r#"{{"schema":"2.0","header":{}}}"#, "[".repeat(500_000));
    let long_id = json!({"schema": "2.0", "header": {"event_id": "e".repeat(1 << 20)}}).to_string();
    let not_utf8 = message("om_1").into_bytes().iter().map(|&b| if b == 0xc3 { 0xff } else { b }).collect();
    let wrong_type = message("om_1").replace(r#""chat_id":"oc_1""#, r#""chat_id":{"oc":1}"#);
    for payload in [b"".to_vec(), b"null".to_vec(), b"[]".to_vec(), not_utf8]
        .into_iter()
        .chain([no_header, v1, deep, long_id, wrong_type].map(String::into_bytes))
    {
        let payload = Bytes::from(payload);
        let mut rig = Rig::open();
        let event = Event::Frame(Message::Binary(part("m", 1, 0, payload.clone())));
        let effects = rig.raw(event);
        let [_, Effect::Emit(Output::Deliver { ack, deliveries, .. })] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        let moorline_channel::Delivery::Unreadable { event_id, dedupe, raw, why } = &deliveries[0] else {
            panic!("{deliveries:?}")
        };
        assert_eq!(raw, &payload);
        assert!(event_id.as_str().len() <= 256 && dedupe.iter().all(|key| key.as_str().len() <= 300));
        assert!(!why.is_empty() && why.len() < 300, "{why}");
        let ack = ack.0;
        assert_eq!(rig.verdict(ack, true), ["ack 200 type=event message_id=m sum=1 seq=0 biz_rt=0"]);
    }
}

/// F-038; protocol §2.3: one ack per event, from the frame that completed it, none before.
#[test]
fn an_event_in_parts_is_acknowledged_once() {
    let payload = Bytes::from(message("om_1"));
    // In the middle of the two bytes of é.
    let cut = payload.iter().position(|&b| b == 0xc3).unwrap() + 1;
    let (head, tail) = (payload.slice(..cut), payload.slice(cut..));
    let mut rig = Rig::open();
    assert_eq!(rig.receive(part("m-1", 3, 2, "")), ["alive"]);
    assert_eq!(rig.receive(part("m-1", 3, 1, tail.clone())), ["alive"]);
    assert_eq!(rig.receive(part("m-2", 1, 0, message("om_2"))), ["alive", "deliver 0"]);
    let whole = rig.raw(Event::Frame(Message::Binary(part("m-1", 3, 0, head.clone()))));
    let [_, Effect::Emit(Output::Deliver { ack: AckId(1), deliveries, .. })] = whole.as_slice() else {
        panic!("{whole:?}")
    };
    let moorline_channel::Delivery::Message(inbound) = &deliveries[0] else { panic!("{deliveries:?}") };
    assert_eq!((inbound.text.as_deref(), &inbound.raw), (Some("hé"), &payload));
    rig.pass(5);
    assert_eq!(rig.verdict(1, true), ["ack 200 type=event message_id=m-1 sum=3 seq=0 biz_rt=5"]);

    // A part is lost: said, not acknowledged, and the redelivery starts clean.
    assert_eq!(rig.receive(part("m-3", 2, 1, tail.clone())), ["alive"]);
    rig.pass(10_000);
    assert_eq!(
        rig.receive(part("m-3", 2, 0, head)),
        ["skipped: 1 events of which parts are missing; nothing was acknowledged", "alive"]
    );
    assert_eq!(rig.receive(part("m-3", 2, 1, tail)), ["alive", "deliver 2"]);
}

/// F-028, F-033: only the verdict acknowledges, and a refusal brings the event back.
#[test]
fn what_was_not_stored_is_refused() {
    let mut rig = Rig::open();
    rig.receive(part("m-1", 1, 0, message("om_1")));
    rig.pass(60_000);
    assert_eq!(rig.step(Event::Wake), ["ping 33554678"]);
    assert_eq!(rig.verdict(0, false), ["ack 500 type=event message_id=m-1 sum=1 seq=0 biz_rt=60000"]);
    assert_eq!(rig.verdict(0, true), [""; 0]);
    assert_eq!(rig.verdict(9, true), [""; 0]);
}

/// F-032: the store decides which is the duplicate; each copy has its own acknowledgement.
#[test]
fn a_second_copy_is_a_delivery_of_its_own() {
    let mut rig = Rig::open();
    assert_eq!(rig.receive(part("m-1", 1, 0, message("om_1"))), ["alive", "deliver 0"]);
    assert_eq!(rig.receive(part("m-1", 1, 0, message("om_1"))), ["alive", "deliver 1"]);
    assert_eq!(rig.verdict(1, true).len(), 1);
    assert_eq!(rig.verdict(0, true).len(), 1);
}

#[test]
fn a_verdict_after_the_end_is_ignored() {
    let mut rig = Rig::open();
    rig.receive(part("m-1", 1, 0, message("om_1")));
    rig.step(Event::Lost(None));
    assert_eq!(rig.verdict(0, true), [""; 0]);
    assert_eq!(rig.machine.wake_at(), None);
}

/// F-042, G12: a store that does not answer costs a bounded amount of memory, and no event.
#[test]
fn deliveries_beyond_the_bound_are_refused_at_once() {
    let mut rig = Rig::open();
    for n in 0..1_024 {
        assert_eq!(rig.receive(part("m", 1, 0, message("om"))), ["alive".to_owned(), format!("deliver {n}")]);
    }
    let refused = rig.receive(part("m", 1, 0, message("om")));
    assert_eq!(refused[1], "skipped: an event was refused: 1024 wait to be stored");
    assert!(refused[2].starts_with("ack 500 "), "{refused:?}");
    rig.verdict(77, true);
    assert_eq!(rig.receive(part("m", 1, 0, message("om"))), ["alive", "deliver 1024"]);

    // The same in bytes: frames whose headers are huge.
    let mut rig = Rig::open();
    let huge = "x".repeat(1 << 20);
    let big = frame(DATA, &[("type", "event"), ("trace_id", &huge)], message("om"));
    let delivered = (0..8).filter(|_| rig.receive(big.clone())[1].starts_with("deliver")).count();
    assert_eq!(delivered, 3);
    rig.verdict(0, true);
    assert_eq!(rig.receive(big.clone())[1], "deliver 3");
    assert!(rig.receive(big)[1].starts_with("skipped"));
}
