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
