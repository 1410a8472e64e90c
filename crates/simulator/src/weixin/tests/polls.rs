//! Receiving: held polls, cursors, faults of an answer, and what the ledger says of each message.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_ends_a_held_poll_and_an_idle_one_ends_by_itself() {
    let client = Client::new();
    let start = Instant::now();
    let idle = client.poll("").await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 35);
    assert_eq!((&idle["ret"], &idle["msgs"]), (&json!(0), &json!([])));
    let cursor = idle["get_updates_buf"].as_str().unwrap();
    assert!(!cursor.is_empty());

    let held = client.poll(cursor);
    let write = async {
        sleep(Duration::from_secs(5)).await;
        client.push("hello")
    };
    let (answer, pushed) = tokio::join!(held, write);
    let answer = answer.unwrap();
    assert_eq!(start.elapsed().as_secs(), 40);
    assert_eq!(texts(&answer), ["hello"]);
    assert_eq!(answer["msgs"][0]["message_id"].as_u64(), Some(pushed.message_id));
    assert!(pushed.message_id > 1 << 53);
    assert_eq!(answer["msgs"][0]["context_token"], pushed.context_token.as_str());
    client.simulator.read_ledger(|ledger| {
        let record = ledger.message(pushed.message_id).unwrap();
        assert_eq!((record.handed_out.len(), record.delivered.len()), (1, 1));
        assert_eq!(record.confirmed_at, None);
    });

    let reply = client.send("hi", &pushed.context_token, "c1").await;
    assert_eq!(reply["ret"], 0);
    let next = client.poll(answer["get_updates_buf"].as_str().unwrap()).await.unwrap();
    assert_eq!(texts(&next), [""; 0]);
    let ledger = client.simulator.ledger();
    assert!(ledger.message(pushed.message_id).unwrap().confirmed_at.is_some());
    assert_eq!(ledger.visible_copies(&UserId::new(ALICE), "hi"), 1);
    assert_eq!(ledger.replies_to(pushed.message_id).count(), 1);
    assert_eq!(client.breaches(), []);
}

/// Neighbouring ids are one and the same double.
#[tokio::test(start_paused = true)]
async fn ids_are_numbers_beyond_doubles_or_text() {
    let client = Client::new();
    let (first, second) = (client.push("a").message_id, client.push("b").message_id);
    assert_eq!(first as f64, second as f64);
    let answer = client.poll("").await.unwrap();
    assert_eq!(answer["msgs"][0]["message_id"].as_u64(), Some(first));
    client.simulator.set_rules(|rules| rules.ids_as_text = true);
    let third = client.push("c").message_id;
    let answer = client.poll(answer["get_updates_buf"].as_str().unwrap()).await.unwrap();
    assert_eq!(answer["msgs"][0]["message_id"], third.to_string());
}

/// §4.2.3: an older cursor brings nothing back, or brings all after it again.
#[tokio::test(start_paused = true)]
async fn an_older_cursor_does_as_the_rules_say() {
    for (behaviour, again) in [(Cursor::Consumed, vec![]), (Cursor::Replay, vec!["b", "c"])] {
        let client = Client::new();
        client.simulator.set_cursor_behaviour(behaviour);
        client.simulator.set_rules(|rules| rules.batch = 1);
        for text in ["a", "b", "c"] {
            client.push(text);
        }
        let mut cursors = vec![String::new()];
        for text in ["a", "b", "c"] {
            let answer = client.poll(cursors.last().unwrap()).await.unwrap();
            assert_eq!(texts(&answer), [text]);
            cursors.push(answer["get_updates_buf"].as_str().unwrap().to_owned());
        }
        client.simulator.set_rules(|rules| rules.batch = 100);
        let answer = client.poll(&cursors[1]).await.unwrap();
        assert_eq!(texts(&answer), again, "{behaviour:?}");
        assert_eq!(client.breaches(), []);
    }
}

/// A cursor belongs to one bot (§4.2.1).
#[tokio::test(start_paused = true)]
async fn a_foreign_cursor_is_noted_and_means_the_beginning() {
    let mut client = Client::new();
    client.push("a");
    let cursor = client.poll("").await.unwrap()["get_updates_buf"].as_str().unwrap().to_owned();
    client.bot = client.simulator.add_bot(NewBot::default());
    client.push("b");
    assert_eq!(texts(&client.poll(&cursor).await.unwrap()), ["b"]);
    assert_eq!(client.breaches(), [Breach::ForeignCursor]);
}

#[tokio::test(start_paused = true)]
async fn overlapping_polls_are_counted_and_the_oldest_takes_the_message() {
    let client = Client::new();
    let mut old = Box::pin(client.poll(""));
    assert!(timeout(Duration::from_secs(1), &mut old).await.is_err());
    let mut new = Box::pin(client.poll(""));
    assert!(timeout(Duration::from_secs(1), &mut new).await.is_err());
    let counters = client.simulator.counters(client.id()).unwrap();
    assert_eq!((counters.open_polls, counters.max_open_polls, counters.overlapping_polls), (2, 2, 1));
    client.push("a");
    assert_eq!(texts(&old.await.unwrap()), ["a"]);
    drop(new);
    let counters = client.simulator.counters(client.id()).unwrap();
    assert_eq!((counters.open_polls, counters.max_open_polls), (0, 2));
    assert_eq!(client.breaches(), [Breach::Overlap]);
    // One after the other is no overlap.
    client.poll("").await.unwrap();
    client.poll("").await.unwrap();
    assert_eq!(client.simulator.counters(client.id()).unwrap().overlapping_polls, 1);
}

/// The client of a held poll goes away: nothing is handed to it any more.
#[tokio::test(start_paused = true)]
async fn a_client_that_went_away_consumes_nothing() {
    let client = Client::new();
    assert!(timeout(Duration::from_secs(1), client.poll("")).await.is_err());
    assert_eq!(client.simulator.counters(client.id()).unwrap().open_polls, 0);
    let pushed = client.push("a");
    let ledger = client.simulator.ledger();
    assert!(ledger.message(pushed.message_id).unwrap().handed_out.is_empty());
    assert_eq!(ledger.calls().next().unwrap().outcome, CallOutcome::Gone);
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a"]);
}

/// A message that was put into an answer which nobody took is lost by nobody but the platform.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_took_is_lost_by_the_platform() {
    for (behaviour, lost) in [(Cursor::Consumed, true), (Cursor::Replay, false)] {
        let client = Client::new();
        client.simulator.set_cursor_behaviour(behaviour);
        let mut held = Box::pin(client.poll(""));
        assert!(timeout(Duration::from_secs(1), &mut held).await.is_err());
        let pushed = client.push("a");
        drop(held);
        let record = client.simulator.ledger().message(pushed.message_id).unwrap().clone();
        assert_eq!((record.handed_out.len(), record.is_acked()), (1, false));
        assert_eq!(record.lost_by_platform, lost, "{behaviour:?}");
        let again = client.poll("").await.unwrap();
        assert_eq!(texts(&again).len(), usize::from(!lost));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_shows_what_it_is_told_to_show() {
    let client = Client::new();
    let push = |message: NewMessage| client.simulator.push(client.id(), message).unwrap();
    let quoted = push(NewMessage::text(ALICE, "first"));
    push(NewMessage::text(ALICE, "b").quoting(Quote::Id(quoted.message_id)));
    push(
        NewMessage::text(ALICE, "c")
            .quoting(Quote::Full { title: "Alice".to_owned(), text: "first".to_owned() }),
    );
    push(NewMessage::text(ALICE, "d").with_ids(Ids::None));
    push(NewMessage::text(ALICE, "e").with_ids(Ids::Items));
    push(NewMessage::text(ALICE, "f").in_group("g1"));
    push(NewMessage::text(ALICE, "g").of_the_bot());
    push(NewMessage::new(ALICE, Item::Other(77, json!({ "new_item": { "x": 1 } }))));
    let merge = json!({ "client_id": null, "session_id": "s" });
    push(NewMessage { merge, without_token: true, ..NewMessage::text(ALICE, "h") });
    let answer = client.poll("").await.unwrap();
    let [_, b, c, d, e, f, g, other, h] = answer["msgs"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(b["item_list"][0]["ref_msg"]["svr_id"].as_u64(), Some(quoted.message_id));
    assert_eq!(c["item_list"][0]["ref_msg"]["message_item"]["text_item"]["text"], "first");
    assert_eq!((d.get("message_id"), d["item_list"][0].get("msg_id")), (None, None));
    assert_eq!((e.get("message_id"), e["item_list"][0]["msg_id"].is_u64()), (None, true));
    assert_eq!((&f["group_id"], &g["message_type"]), (&json!("g1"), &json!(2)));
    assert_eq!(other["item_list"][0], json!({ "type": 77, "new_item": { "x": 1 } }));
    assert_eq!((h.get("client_id"), h.get("context_token"), &h["session_id"]), (None, None, &json!("s")));
    let seqs: Vec<_> =
        answer["msgs"].as_array().unwrap().iter().map(|message| message["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=9).map(Some).collect::<Vec<_>>());
}
