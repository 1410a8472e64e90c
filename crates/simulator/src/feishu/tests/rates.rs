//! §3.6: off unless set, and then strict.

use super::*;

/// Sends `count` messages into these chats in turn, and says how many got in.
fn burst(bench: &mut Bench, token: &str, chats: &[&str], count: usize) -> usize {
    let mut passed = 0;
    for n in 0..count {
        let body = text(chats[n % chats.len()], "a", "");
        passed += usize::from(bench.call("POST", SEND, Some(token), &body).1["code"] == 0);
    }
    passed
}

fn bench(groups: usize) -> (Bench, String, Vec<String>) {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let chats: Vec<String> = (0..groups).map(|n| format!("oc_{n}")).collect();
    for chat in &chats {
        let chat = moorline_core::ChatId::new(chat.as_str());
        bench.platform.add_chat(&bench.app.app_id, chat, ChatType::Group).unwrap();
    }
    (bench, token, chats)
}

#[test]
fn they_are_off_until_they_are_set() {
    let (mut bench, token, _) = bench(1);
    assert_eq!(burst(&mut bench, &token, &["oc_0"], 2_000), 2_000);
    bench.platform.set_rates(Some(Rates::default()));
    assert_eq!(burst(&mut bench, &token, &["oc_0"], 20), 5);
    bench.platform.set_rates(None);
    assert_eq!(burst(&mut bench, &token, &["oc_0"], 20), 20);
}

/// Not one more than five in any second, and the sixth as soon as the first is a second old.
#[test]
fn a_chat_takes_five_in_every_second_and_refuses_with_230020() {
    let (mut bench, token, _) = bench(1);
    bench.platform.set_rates(Some(Rates::default()));
    for _ in 0..5 {
        assert_eq!(burst(&mut bench, &token, &["oc_0"], 1), 1);
        bench.wait(SECOND / 10);
    }
    bench.wait(SECOND / 2 - SECOND / 1_000);
    let refused = bench.request("POST", SEND, Some(&token), &text("oc_0", "a", "")).unwrap();
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, answer["code"].as_i64()), (400, Some(230_020)));
    assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("x-ogw")));
    bench.wait(SECOND / 1_000);
    assert_eq!(burst(&mut bench, &token, &["oc_0"], 2), 1, "refused calls use nothing up");
    assert_eq!(bench.counters().rate_limited, 2);
}

/// A client that keeps to 4/s is never refused; one that sends 6/s is.
#[test]
fn it_tells_who_paces_itself() {
    for (per_second, refused) in [(4, false), (5, false), (6, true)] {
        let (mut bench, token, _) = bench(1);
        bench.platform.set_rates(Some(Rates::default()));
        for _ in 0..60 {
            burst(&mut bench, &token, &["oc_0"], 1);
            bench.wait(SECOND / per_second);
        }
        assert_eq!(bench.counters().rate_limited > 0, refused, "{per_second}/s");
    }
}

/// "Per group 5/s shared by all bots in it", per user 5/s of each bot.
#[test]
fn bots_share_a_group_and_not_a_user() {
    let (mut bench, first, _) = bench(1);
    bench.push("hi");
    let group = moorline_core::ChatId::new("oc_0");
    let other = bench.platform.add_app(NewApp::named("Other"));
    bench.platform.add_chat(&other.app_id, group, ChatType::Group).unwrap();
    let now = bench.now();
    bench.platform.push(&other.app_id, &Push::direct("oc_2", "ou_alice", "hi"), now).unwrap();
    let app = std::mem::replace(&mut bench.app, other);
    let (second, _) = bench.token();
    bench.app = app;
    bench.platform.set_rates(Some(Rates::default()));
    assert_eq!(burst(&mut bench, &first, &["oc_0"], 3), 3);
    assert_eq!(burst(&mut bench, &second, &["oc_0"], 9), 2);
    assert_eq!(burst(&mut bench, &first, &["oc_1"], 9), 5);
    assert_eq!(burst(&mut bench, &second, &["oc_2"], 9), 5);
}

/// 50/s and 1000/min for each API of an app, with the time to wait in a header.
#[test]
fn the_gateway_refuses_by_header() {
    for status in [429, 400] {
        let (mut bench, token, chats) = bench(100);
        let chats: Vec<&str> = chats.iter().map(String::as_str).collect();
        bench.platform.set_rates(Some(Rates { gateway_status: status, ..Rates::default() }));
        assert_eq!(burst(&mut bench, &token, &chats, 80), 50);
        let refused = bench.request("POST", SEND, Some(&token), &text("oc_99", "a", "")).unwrap();
        assert_eq!(refused.status, status);
        assert!(refused.headers.contains(&("x-ogw-ratelimit-reset", "1".to_owned())));
        bench.wait(SECOND);
        let mut passed = 50;
        for _ in 0..40 {
            passed += burst(&mut bench, &token, &chats, 50);
            bench.wait(SECOND);
        }
        assert_eq!(passed, 1_000);
        let refused = bench.request("POST", SEND, Some(&token), &text("oc_99", "a", "")).unwrap();
        let reset = refused.headers.iter().find(|(name, _)| *name == "x-ogw-ratelimit-reset").unwrap();
        let wait: u32 = reset.1.parse().unwrap();
        assert_eq!(wait, 60 - 41);
        // Another API has limits of its own, and whoever waits as told is let in.
        let path = "/open-apis/im/v1/messages/om_x/reply";
        assert_eq!(bench.call("POST", path, Some(&token), &text("", "a", "")).1["code"], 230_001);
        bench.wait(wait * SECOND);
        assert_eq!(burst(&mut bench, &token, &chats, 1), 1);
    }
}
