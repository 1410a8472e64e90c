//! Logins that lapse, and what brings them back.

use super::*;

async fn start(client: &Client) -> Value {
    client.call("msg/notifystart", json!({})).await.unwrap()
}

fn is_stale(answer: &Value) -> bool {
    answer["errcode"] == -14 || answer["ret"] == -14
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_login_comes_back_as_it_is_told() {
    // How it lapses; how many notifystarts are answered with success before and including the one that heals.
    let cases = [
        (Expiry::until_notifystart(), vec![true], true),
        (Expiry::until_notifystart().in_ret(), vec![true], true),
        (Expiry::after_failures(2), vec![false, false, true], true),
        (Expiry::revoked(), vec![true, true, true], false),
        (Expiry { heals: Heals::Refused, ..Expiry::default() }, vec![false, false, false], false),
    ];
    for (expiry, starts, heals) in cases {
        let client = Client::new();
        let token = client.push("a").context_token;
        client.simulator.expire(client.id(), expiry).unwrap();
        for good in starts {
            let answer = client.poll("").await.unwrap();
            assert!(is_stale(&answer), "{expiry:?}");
            assert_eq!(answer.get("ret").is_some(), expiry.code == CodeField::Ret);
            assert_eq!(code_is_good(&start(&client).await), good, "{expiry:?}");
        }
        let answer = client.poll("").await.unwrap();
        assert_eq!(is_stale(&answer), !heals, "{expiry:?}");
        // Sending does not depend on it (§4.4.5).
        assert_eq!(client.send("hi", &token, "1").await["ret"], 0, "{expiry:?}");
        client.simulator.heal(client.id()).unwrap();
        if !heals {
            assert_eq!(texts(&client.poll("").await.unwrap()), ["a"], "nothing was consumed");
        }
    }
}

fn code_is_good(answer: &Value) -> bool {
    answer["ret"].as_i64().unwrap_or_default() == 0 && answer["errcode"].as_i64().unwrap_or_default() == 0
}

/// §4.5: no code, no messages, no cursor, and at once.
#[tokio::test(start_paused = true)]
async fn a_silent_lapse_looks_like_nothing() {
    let client = Client::new();
    client.push("a");
    client.simulator.expire(client.id(), Expiry::silent()).unwrap();
    let begin = Instant::now();
    for _ in 0..3 {
        assert_eq!(client.poll("").await.unwrap(), json!({ "ret": 0, "get_updates_buf": "" }));
    }
    assert_eq!(begin.elapsed().as_secs(), 0);
    assert!(code_is_good(&start(&client).await));
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_held_poll_is_told_at_once() {
    let client = Client::new();
    let begin = Instant::now();
    let expire = async {
        sleep(Duration::from_secs(7)).await;
        client.simulator.expire(client.id(), Expiry::until_notifystart()).unwrap();
    };
    let (answer, ()) = tokio::join!(client.poll(""), expire);
    assert!(is_stale(&answer.unwrap()));
    assert_eq!(begin.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn sends_are_refused_where_they_are_told_to_be() {
    let client = Client::new();
    let token = client.push("a").context_token;
    client.simulator.expire(client.id(), Expiry::until_notifystart().refusing_sends()).unwrap();
    assert!(is_stale(&client.send("hi", &token, "1").await));
    assert!(is_stale(&client.call("getconfig", json!({ "ilink_user_id": ALICE })).await.unwrap()));
    start(&client).await;
    assert_eq!(client.send("hi", &token, "1").await["ret"], 0);
}

/// One WeChat user has one live bot (§2.2).
#[tokio::test(start_paused = true)]
async fn a_new_login_of_the_same_user_kills_the_old_one() {
    let mut client = Client::new();
    let token = client.push("a").context_token;
    let new = client.simulator.add_bot(NewBot::of(&client.bot.user_id));
    assert_ne!(new.bot_id, client.bot.bot_id);
    assert!(is_stale(&client.poll("").await.unwrap()));
    assert!(code_is_good(&start(&client).await));
    assert!(is_stale(&client.poll("").await.unwrap()));
    assert!(is_stale(&client.send("hi", &token, "1").await));
    client.bot = new;
    assert_eq!(texts(&client.poll("").await.unwrap()), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn presence_is_counted() {
    let client = Client::new();
    let present = || client.simulator.state().bots[client.id()].present;
    assert!(!present());
    assert_eq!(start(&client).await, json!({ "ret": 0, "errmsg": "" }));
    assert!(present());
    client.simulator.expire(client.id(), Expiry::after_failures(1)).unwrap();
    start(&client).await;
    client.call("msg/notifystop", json!({})).await.unwrap();
    assert!(!present());
    let counters = client.simulator.counters(client.id()).unwrap();
    assert_eq!((counters.notifystarts, counters.refused_notifystarts, counters.notifystops), (1, 1, 1));
}
