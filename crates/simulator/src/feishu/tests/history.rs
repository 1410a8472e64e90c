//! What a long run forgets, and what it must not.

use super::*;

#[test]
fn the_ledgers_stay_small_and_what_is_gone_is_counted() {
    let mut bench = Bench::new();
    let link = bench.connect();
    let (token, _) = bench.token();
    bench.platform.set_retain(10);
    let (unsettled, _) = bench.push("never acked");
    for n in 0..500 {
        let (pushed, actions) = bench.push("hi");
        bench.send(link, &ack(&frames(&actions)[0].1, 200));
        let reply = format!("/open-apis/im/v1/messages/{}/reply", pushed.message_id);
        let body = text("", "a", &format!("u{n}"));
        assert_eq!(bench.call("POST", &reply, Some(&token), &body).1["code"], 0);
        let typing = json!({ "reaction_type": { "emoji_type": "Typing" } });
        let path = format!("/open-apis/im/v1/messages/{}/reactions", pushed.message_id);
        let (_, on) = bench.call("POST", &path, Some(&token), &typing);
        let path = format!("{path}/{}", on["data"]["reaction_id"].as_str().unwrap());
        assert_eq!(bench.call("DELETE", &path, Some(&token), &Value::Null).1["code"], 0);
        let ledger = bench.platform.ledger();
        assert!(ledger.events().len() <= 21 && ledger.visible().len() <= 20, "{n}");
        assert!(ledger.reactions().len() <= 20, "{n}");
        assert!(bench.platform.messages.len() <= 42 && bench.platform.events.len() <= 21, "{n}");
        assert!(bench.platform.deliveries.len() <= 21, "{n}");
    }
    let ledger = bench.platform.ledger();
    let forgotten = ledger.forgotten();
    assert_eq!(forgotten.events + ledger.events().len() as u64, 501);
    assert_eq!(forgotten.acked, forgotten.events, "only settled ones were dropped");
    assert_eq!(forgotten.visible + ledger.visible().len() as u64, 500);
    assert_eq!(forgotten.reactions + ledger.reactions().len() as u64, 500);
    assert!(ledger.events().len() >= 10 && ledger.visible().len() >= 10);
    // The one that is still being delivered is there, and goes on.
    assert!(ledger.event(&unsettled.event_id).is_some());
    assert_eq!(frames(&bench.wait(18 * SECOND)).len(), 1);
    // A uuid protects for its hour, whatever became of the message.
    let path = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    let visible = bench.platform.ledger().visible().len();
    bench.call("POST", path, Some(&token), &text("oc_1", "a", "u0"));
    assert_eq!(bench.platform.ledger().visible().len(), visible);
}

#[test]
fn nothing_unsettled_is_dropped_however_much_there_is() {
    let mut bench = Bench::new();
    bench.platform.set_retain(3);
    bench.platform.set_redelivery(Redelivery { offline_attempts_count: false, ..Redelivery::default() });
    for _ in 0..50 {
        bench.push("hi");
    }
    assert_eq!(bench.platform.ledger().events().len(), 50);
    let link = bench.connect();
    let waiting = bench.platform.take_actions();
    assert_eq!(frames(&waiting).len(), 0, "they went out with the handshake");
    assert_eq!(bench.platform.deliveries.len(), 50);
    let given_up = bench.wait(8 * 3_600 * SECOND);
    assert_eq!(frames(&given_up).iter().filter(|(to, _)| *to == link).count(), 200);
    bench.push("hi");
    let ledger = bench.platform.ledger();
    assert_eq!((ledger.events().len(), ledger.forgotten().given_up), (3, 48));
}

/// §3.4: one hour, to the millisecond.
#[test]
fn a_uuid_protects_for_exactly_an_hour() {
    for (wait, copies) in [(3_600_000 - 1, 1), (3_600_000, 2)] {
        let mut bench = Bench::new();
        let (token, _) = bench.token();
        bench.push("hi");
        let send = |bench: &mut Bench| bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u"));
        send(&mut bench);
        bench.wait(Duration::from_millis(wait));
        send(&mut bench);
        assert_eq!(bench.platform.ledger().visible().len(), copies, "after {wait} ms");
    }
}
