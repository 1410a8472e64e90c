//! Answers that are spoilt: every way, with and without effect, and what the ledgers say then.

use super::*;

/// What the client makes of it.
fn seen(outcome: &Result<(u16, Bytes), NetworkError>) -> String {
    match outcome {
        Err(error) => format!("{:?}", error.kind),
        Ok((status, body)) if body.is_empty() => format!("{status} empty"),
        Ok((status, body)) => match serde_json::from_slice::<Value>(body) {
            Ok(value) => format!("{status} {}{}", value["ret"], value["errcode"]),
            Err(_) => format!("{status} other"),
        },
    }
}

fn spoilt() -> Vec<(Answer, &'static str)> {
    vec![
        (Answer::Hang, "Timeout"),
        (Answer::Fin, "Reset"),
        (Answer::Reset, "Reset"),
        (Answer::StallHeaders, "Timeout"),
        (Answer::StallBody, "Timeout"),
        (Answer::CutBody, "Reset"),
        (Answer::Status(502), "502 other"),
        (Answer::Garbage, "200 other"),
        (Answer::Empty, "200 empty"),
        (Answer::Body { status: 200, body: "[]".to_owned() }, "200 nullnull"),
        (Answer::code(-14), "200 null-14"),
        (Answer::ret(-2, "rate limited"), "200 -2null"),
        (Answer::Code { code: -14, field: CodeField::Both, errmsg: String::new() }, "200 -14-14"),
        (Answer::Oversized(3 << 20), "TooLarge"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_answered_wrongly_has_no_effect() {
    for (answer, expected) in spoilt() {
        let client = Client::new();
        let token = client.push("a").context_token;
        let fault = Fault::Answer(Endpoint::SendMessage, answer.clone());
        client.simulator.set_fault(client.id(), fault.clone(), Times::Count(1)).unwrap();
        let outcome = client.raw(client.request("sendmessage", message("hi", &token, "c1"))).await;
        assert_eq!(seen(&outcome), expected, "{answer:?}");
        let effect = usize::from(answer.needs_the_proper_one());
        assert_eq!(client.simulator.ledger().visible().count(), effect, "{answer:?}");
        assert_eq!(client.simulator.struck(client.id()).unwrap(), [(fault, 1)]);
        assert_eq!(client.send("hi", &token, "c1").await["ret"], 0, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_can_take_effect_and_be_answered_wrongly() {
    for (answer, expected) in spoilt() {
        let client = Client::new();
        let token = client.push("a").context_token;
        let fault = Fault::LoseAnswer(Endpoint::SendMessage, answer.clone());
        client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
        let outcome = client.raw(client.request("sendmessage", message("hi", &token, "c1"))).await;
        assert_eq!(seen(&outcome), expected, "{answer:?}");
        let copies = |client: &Client| client.simulator.ledger().visible_copies(&UserId::new(ALICE), "hi");
        assert_eq!(copies(&client), 1, "{answer:?}");
        // It is not known again, unless the rules say so.
        client.send("hi", &token, "c1").await;
        assert_eq!(copies(&client), 2, "{answer:?}");
        client.simulator.set_rules(|rules| rules.dedupe_client_ids = true);
        client.send("hi", &token, "c1").await;
        assert_eq!(copies(&client), 2, "{answer:?}");
        assert_eq!(client.simulator.ledger().visible().last().unwrap().repeats, 1);
    }
}

/// Messages of an answer that never got out whole are lost by the platform where it counts them as consumed.
#[tokio::test(start_paused = true)]
async fn a_poll_that_is_answered_wrongly_has_consumed_its_messages() {
    for behaviour in [Cursor::Consumed, Cursor::Replay] {
        for (answer, expected) in spoilt() {
            let client = Client::new();
            client.simulator.set_cursor_behaviour(behaviour);
            let fault = Fault::LoseAnswer(Endpoint::GetUpdates, answer.clone());
            client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
            let id = client.push("a").message_id;
            let outcome = client.raw(client.request("getupdates", json!({ "get_updates_buf": "" }))).await;
            assert_eq!(seen(&outcome), expected, "{answer:?}");
            let ledger = client.simulator.ledger();
            let record = ledger.message(id).unwrap();
            let lost = behaviour == Cursor::Consumed;
            assert_eq!((record.handed_out.len(), record.is_acked()), (1, false), "{answer:?}");
            assert_eq!(record.lost_by_platform, lost, "{behaviour:?} {answer:?}");
            let again = client.poll("").await.unwrap();
            assert_eq!(texts(&again).len(), usize::from(!lost), "{behaviour:?} {answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_refused_consumes_nothing() {
    for (answer, expected) in spoilt() {
        if answer.needs_the_proper_one() {
            continue;
        }
        let client = Client::new();
        client.push("a");
        let fault = Fault::Answer(Endpoint::GetUpdates, answer.clone());
        client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
        let outcome = client.raw(client.request("getupdates", json!({ "get_updates_buf": "" }))).await;
        assert_eq!(seen(&outcome), expected, "{answer:?}");
        assert_eq!(texts(&client.poll("").await.unwrap()), ["a"], "{answer:?}");
        assert_eq!(client.simulator.ledger().lost_by_platform().count(), 0);
        assert_eq!(client.simulator.counters(client.id()).unwrap().overlapping_polls, 0, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_comes_late_and_is_whole() {
    let client = Client::new();
    let late = |fault: fn(Endpoint, Answer) -> Fault| {
        fault(Endpoint::GetUpdates, Answer::Delay(Duration::from_secs(9)))
    };
    client.simulator.set_fault(client.id(), late(Fault::LoseAnswer), Times::Count(1)).unwrap();
    client.simulator.set_fault(client.id(), late(Fault::Answer), Times::Count(1)).unwrap();
    let start = Instant::now();
    client.push("a");
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a"]);
    // Both struck the one answer; the one that took effect decides.
    assert_eq!(start.elapsed().as_secs(), 9);
    // A client that does not wait for it has lost nothing by its own fault.
    client.simulator.set_fault(client.id(), late(Fault::LoseAnswer), Times::Count(1)).unwrap();
    let id = client.push("b").message_id;
    assert!(timeout(Duration::from_secs(3), client.poll("")).await.is_err());
    assert!(client.simulator.ledger().message(id).unwrap().lost_by_platform);
}

#[tokio::test(start_paused = true)]
async fn messages_come_twice_reversed_or_beside_something_that_is_none() {
    let client = Client::new();
    let set = |fault: Fault| client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
    let push_two = || drop((client.push("a"), client.push("b")));
    push_two();
    set(Fault::DuplicateInAnswer);
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a", "a", "b", "b"]);
    push_two();
    set(Fault::Reversed);
    assert_eq!(texts(&client.poll("").await.unwrap()), ["b", "a"]);
    push_two();
    set(Fault::DuplicateAcross);
    let first = client.poll("").await.unwrap();
    assert_eq!(texts(&first), ["a", "b"]);
    client.push("c");
    let second = client.poll(first["get_updates_buf"].as_str().unwrap()).await.unwrap();
    assert_eq!(texts(&second), ["a", "b", "c"]);
    assert_eq!(client.simulator.ledger().messages().rev().nth(1).unwrap().delivered.len(), 2);
    for malformed in [
        Malformed::NotAnObject,
        Malformed::Null,
        Malformed::ItemsAreText,
        Malformed::NoSender,
        Malformed::FractionalId,
    ] {
        client.push("a");
        set(Fault::Malformed(malformed));
        let answer = client.poll("").await.unwrap();
        let [odd, good] = answer["msgs"].as_array().unwrap().as_slice() else { panic!("{malformed:?}") };
        assert_eq!(good["item_list"][0]["text_item"]["text"], "a");
        assert!(good["message_id"].is_u64());
        let proper =
            odd["message_id"].is_u64() && odd["item_list"].is_array() && odd["from_user_id"].is_string();
        assert!(!proper, "{malformed:?}");
    }
}

/// §4.1: an empty cursor and none mean the same: the old one stays.
#[tokio::test(start_paused = true)]
async fn an_answer_can_come_without_a_cursor() {
    let client = Client::new();
    for (fault, cursor) in [(Fault::EmptyCursor, Some("")), (Fault::NoCursor, None)] {
        client.push("a");
        client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
        let answer = client.poll("").await.unwrap();
        assert_eq!(texts(&answer), ["a"]);
        assert_eq!(answer.get("get_updates_buf").and_then(Value::as_str), cursor);
    }
}

#[tokio::test(start_paused = true)]
async fn the_network_itself_can_be_away() {
    let client = Client::new();
    for (reach, kind) in
        [(Reach::Refused, NetworkErrorKind::Connect), (Reach::Hangs, NetworkErrorKind::Timeout)]
    {
        client.simulator.set_reach(reach);
        assert_eq!(client.poll("").await.unwrap_err().kind, kind);
    }
    client.simulator.set_reach(Reach::Open);
    client.push("a");
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a"]);
    assert_eq!(client.simulator.ledger().calls().count(), 1);
}
