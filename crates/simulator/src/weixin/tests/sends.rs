//! Sending: who may write, what is refused, and what a user sees.

use super::*;

const BOB: &str = "bob@im.wechat";

fn code(answer: &Value) -> i64 {
    answer["ret"].as_i64().unwrap_or_default()
}

/// §5.3: ten messages for each message of the user.
#[tokio::test(start_paused = true)]
async fn the_eleventh_message_is_refused_until_the_user_writes_again() {
    let client = Client::new();
    let first = client.push("a").context_token;
    for number in 0..10 {
        assert_eq!(code(&client.send("hi", &first, &number.to_string()).await), 0);
    }
    assert_eq!(client.send("hi", &first, "10").await, json!({ "ret": -2, "errmsg": "prepare failed" }));
    let second = client.push("b").context_token;
    assert_eq!(code(&client.send("hi", &second, "11").await), 0);
    assert_eq!(code(&client.send("hi", &first, "12").await), 0);
    let ledger = client.simulator.ledger();
    let stale: Vec<bool> = ledger.visible().map(|visible| visible.stale_token).skip(10).collect();
    assert_eq!(stale, [false, true]);
    let counters = client.simulator.counters(client.id()).unwrap();
    assert_eq!((counters.sent, counters.refused_sends, counters.no_window), (12, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_day_nothing_can_be_written_until_the_user_does() {
    let client = Client::new();
    let first = client.push("a").context_token;
    sleep(Duration::from_hours(24) - Duration::from_secs(1)).await;
    assert_eq!(code(&client.send("hi", &first, "1").await), 0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(code(&client.send("hi", &first, "2").await), -2);
    let second = client.push("b").context_token;
    assert_eq!(code(&client.send("hi", &first, "3").await), -2, "the token itself is too old");
    assert_eq!(code(&client.send("hi", &second, "4").await), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_its_own_user_and_bot() {
    let client = Client::new();
    let of_bob = client.simulator.push(client.id(), NewMessage::text(BOB, "x")).unwrap().context_token;
    let other = client.simulator.add_bot(NewBot::default());
    let of_other = client.simulator.push(&other.bot_id, NewMessage::text(ALICE, "x")).unwrap().context_token;
    client.push("a");
    for token in [of_bob.as_str(), of_other.as_str(), "AARzJW"] {
        assert_eq!(client.send("hi", token, "1").await, json!({ "ret": -2, "errmsg": "unknown error" }));
    }
    assert_eq!(client.breaches(), [Breach::ForeignToken; 3]);
    assert_eq!(client.simulator.ledger().visible().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_send_without_a_token_does_as_the_rules_say() {
    for (rule, ret, visible) in
        [(Tokenless::Refused, -2, 0), (Tokenless::Dropped, 0, 0), (Tokenless::Accepted, 0, 1)]
    {
        let client = Client::new();
        client.simulator.set_rules(|rules| rules.tokenless = rule);
        client.push("a");
        assert_eq!(code(&client.send("hi", "", "1").await), ret, "{rule:?}");
        assert_eq!(client.simulator.ledger().visible().count(), visible, "{rule:?}");
    }
    let client = Client::new();
    client.simulator.set_rules(|rules| rules.tokenless = Tokenless::Accepted);
    assert_eq!(code(&client.send("hi", "", "1").await), -2, "the user has never written");
}

#[tokio::test(start_paused = true)]
async fn a_good_send_is_answered_in_three_ways() {
    let client = Client::new();
    let token = client.push("a").context_token;
    for (answer, ret, id) in [
        (SendAnswer::MessageId, true, true),
        (SendAnswer::Ret, true, false),
        (SendAnswer::Bare, false, false),
    ] {
        client.simulator.set_rules(|rules| rules.send_answer = answer);
        let value = client.send("hi", &token, "1").await;
        assert_eq!((value.get("ret").is_some(), value.get("message_id").is_some()), (ret, id));
    }
    assert_eq!(client.simulator.ledger().visible_to(&UserId::new(ALICE)).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_send_of_another_shape_is_refused() {
    let cases = [
        (json!({ "from_user_id": "x@im.bot" }), Breach::Field),
        (json!({ "from_user_id": null }), Breach::Field),
        (json!({ "to_user_id": "" }), Breach::Field),
        (json!({ "client_id": null }), Breach::Field),
        (json!({ "message_type": 1 }), Breach::Field),
        (json!({ "message_state": 1 }), Breach::Field),
        (json!({ "item_list": [] }), Breach::Items),
        (json!({ "item_list": null }), Breach::Items),
        (
            json!({ "item_list": [
                { "type": 1, "text_item": { "text": "a" } },
                { "type": 1, "text_item": { "text": "b" } },
            ] }),
            Breach::Items,
        ),
        (json!({ "item_list": [{ "type": 1, "text_item": { "text": "" } }] }), Breach::Field),
        (json!({ "item_list": [{ "type": 3, "voice_item": {} }] }), Breach::Field),
        (
            json!({ "item_list": [{ "type": 1, "text_item": { "text": "a" }, "create_time_ms": 1 }] }),
            Breach::ExtraFields,
        ),
        (
            json!({ "item_list": [{ "type": 2, "image_item": { "media": { "full_url": "x" } } }] }),
            Breach::ExtraFields,
        ),
        (
            json!({ "item_list": [{ "type": 1, "text_item": { "text": "ä".repeat(4_001) } }] }),
            Breach::TextLimit,
        ),
    ];
    for (patch, breach) in cases {
        let client = Client::new();
        let token = client.push("a").context_token;
        let mut body = message("hi", &token, "1");
        super::super::push::merge(&mut body["msg"], &patch);
        let answer = client.call("sendmessage", body).await.unwrap();
        assert_eq!((code(&answer), client.breaches()), (-1, vec![breach]), "{patch}");
        assert_eq!(client.simulator.ledger().visible().count(), 0, "{patch}");
    }
    let client = Client::new();
    let token = client.push("a").context_token;
    assert_eq!(code(&client.send(&"ä".repeat(4_000), &token, "1").await), 0);
}

/// §6.
#[tokio::test(start_paused = true)]
async fn a_user_sees_typing_until_it_is_taken_back_or_runs_out() {
    let client = Client::new();
    let alice = UserId::new(ALICE);
    let config = client.call("getconfig", json!({ "ilink_user_id": ALICE })).await.unwrap();
    let ticket = config["typing_ticket"].as_str().unwrap().to_owned();
    let typing = async |user: &str, ticket: &str, status: i64| {
        let body = json!({ "ilink_user_id": user, "typing_ticket": ticket, "status": status });
        code(&client.call("sendtyping", body).await.unwrap())
    };
    assert_eq!(typing(ALICE, &ticket, 1).await, 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(typing(ALICE, &ticket, 1).await, 0);
    assert!(client.simulator.typing(client.id(), &alice));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(typing(ALICE, &ticket, 2).await, 0);
    assert!(!client.simulator.typing(client.id(), &alice));
    assert_eq!(typing(ALICE, &ticket, 1).await, 0);
    sleep(Duration::from_secs(10)).await;
    assert!(!client.simulator.typing(client.id(), &alice), "it runs out");
    let ledger = client.simulator.ledger();
    let signs: Vec<_> = ledger.typing().map(|sign| (sign.calls, sign.off.is_some())).collect();
    assert_eq!(signs, [(2, true), (1, false)]);
    assert_eq!(client.breaches(), []);

    assert_eq!(typing(BOB, &ticket, 1).await, -1);
    assert_eq!(typing(ALICE, "?", 1).await, -1);
    assert_eq!(typing(ALICE, &ticket, 3).await, -1);
    sleep(Duration::from_hours(24)).await;
    assert_eq!(typing(ALICE, &ticket, 1).await, -1);
    assert_eq!(client.breaches(), [Breach::Ticket, Breach::Ticket, Breach::Field, Breach::Ticket]);
    // Typing is no message: the ten are all there.
    let token = client.push("a").context_token;
    for number in 0..10 {
        assert_eq!(code(&client.send("hi", &token, &number.to_string()).await), 0);
    }
}
