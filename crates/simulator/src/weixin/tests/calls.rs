//! What every call has to carry.

use super::*;

/// A change to a request that is good otherwise.
type Change = fn(&mut HttpRequest);

fn header(request: &mut HttpRequest, name: &'static str, value: &str) {
    if value.is_empty() {
        request.headers.remove(name);
    } else {
        request.headers.insert(name, value.parse().unwrap());
    }
}

fn body(request: &mut HttpRequest, patch: Value) {
    let mut body: Value = serde_json::from_slice(&request.body).unwrap();
    super::super::push::merge(&mut body, &patch);
    request.body = body.to_string().into();
}

#[tokio::test(start_paused = true)]
async fn headers_and_base_info_are_looked_at() {
    let cases: Vec<(Change, Breach, &str)> = vec![
        (|r| header(r, "ilink-app-id", ""), Breach::AppHeaders, "null-14"),
        (|r| header(r, "ilink-app-id", "Bot"), Breach::AppHeaders, "null-14"),
        (|r| header(r, "ilink-app-clientversion", ""), Breach::AppHeaders, "null-14"),
        (|r| header(r, "ilink-app-clientversion", "0"), Breach::AppHeaders, "null-14"),
        (|r| header(r, "ilink-app-clientversion", "2.4.9"), Breach::AppHeaders, "null-14"),
        (|r| header(r, "authorizationtype", ""), Breach::Authorization, "-1null"),
        (|r| header(r, "authorizationtype", "bearer"), Breach::Authorization, "-1null"),
        (|r| header(r, "authorization", ""), Breach::Authorization, "-1null"),
        (|r| header(r, "authorization", "Token x"), Breach::Authorization, "-1null"),
        (|r| header(r, "authorization", "Bearer nobody"), Breach::UnknownToken, "null-14"),
        (|r| header(r, "x-wechat-uin", ""), Breach::Uin, "0null"),
        (|r| header(r, "x-wechat-uin", "305419896"), Breach::Uin, "0null"),
        (|r| header(r, "content-type", "text/plain"), Breach::ContentType, "0null"),
        (|r| r.body = "[]".into(), Breach::Body, "-1null"),
        (|r| body(r, json!({ "base_info": null })), Breach::BaseInfo, "0null"),
        (|r| body(r, json!({ "base_info": { "channel_version": "" } })), Breach::BaseInfo, "0null"),
        (|r| body(r, json!({ "base_info": { "bot_agent": "Möwe/1" } })), Breach::BotAgent, "0null"),
        (|r| body(r, json!({ "base_info": { "bot_agent": "x".repeat(257) } })), Breach::BotAgent, "0null"),
        (|r| body(r, json!({ "get_updates_buf": null })), Breach::Field, "-1null"),
    ];
    for (index, (change, breach, expected)) in cases.into_iter().enumerate() {
        let client = Client::new();
        client.push("a");
        let mut request = client.request("getupdates", json!({ "get_updates_buf": "" }));
        change(&mut request);
        let (status, answer) = client.raw(request).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status, 200);
        assert_eq!(format!("{}{}", answer["ret"], answer["errcode"]), expected, "case {index}");
        assert_eq!(client.breaches(), [breach], "case {index}");
        if expected != "0null" {
            assert_eq!(texts(&client.poll("").await.unwrap()), ["a"], "case {index}: nothing was consumed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_uin_that_comes_again_is_noted() {
    let client = Client::new();
    let request = client.request("msg/notifystart", json!({}));
    client.raw(request.clone()).await.unwrap();
    client.raw(request).await.unwrap();
    assert_eq!(client.breaches(), [Breach::UinRepeated]);
    assert_eq!(client.simulator.counters(client.id()).unwrap().violations, 1);
}

#[tokio::test(start_paused = true)]
async fn a_base_url_may_have_a_path_and_other_paths_are_not_there() {
    let client = Client::new();
    let mut request = client.request("msg/notifystart", json!({}));
    request.url = Url::parse("https://weixin.test/proxy/v1/ilink/bot/msg/notifystart").unwrap();
    assert_eq!(client.raw(request.clone()).await.unwrap().0, 200);
    request.url = Url::parse("https://weixin.test/ilink/bot/nothing").unwrap();
    assert_eq!(client.raw(request).await.unwrap().0, 404);
    assert_eq!(client.breaches(), [Breach::Path]);
}

#[tokio::test(start_paused = true)]
async fn calls_a_minute_can_be_told() {
    let client = Client::new();
    for pause in [1, 1, 50, 50, 1] {
        client.call("msg/notifystart", json!({})).await.unwrap();
        sleep(Duration::from_secs(pause)).await;
    }
    let ledger = client.simulator.ledger();
    let most =
        |seconds| ledger.most_calls_within(client.id(), Endpoint::NotifyStart, Duration::from_secs(seconds));
    assert_eq!((most(1), most(2), most(60), most(1000)), (1, 2, 4, 5));
    assert_eq!(ledger.calls_of(client.id(), Endpoint::NotifyStart).count(), 5);
    assert_eq!(client.simulator.counters(client.id()).unwrap().calls[&Endpoint::NotifyStart], 5);
}

#[tokio::test(start_paused = true)]
async fn a_long_run_keeps_only_so_much() {
    let client = Client::new();
    client.simulator.set_retain(10);
    let mut cursor = String::new();
    for number in 0..100 {
        let pushed = client.push(&number.to_string());
        let answer = client.poll(&cursor).await.unwrap();
        cursor = answer["get_updates_buf"].as_str().unwrap().to_owned();
        assert_eq!(client.send("hi", &pushed.context_token, "c").await["ret"], 0);
    }
    let ledger = client.simulator.ledger();
    let kept = [ledger.messages().count(), ledger.visible().count(), ledger.calls().count()];
    assert!(kept.iter().all(|kept| (10..=21).contains(kept)), "{kept:?}");
    let forgotten = ledger.forgotten();
    assert_eq!(forgotten.messages + kept[0] as u64, 100);
    assert_eq!(forgotten.visible + kept[1] as u64, 100);
    assert_eq!(forgotten.calls + kept[2] as u64, 200);
    assert_eq!(client.breaches(), []);
}
