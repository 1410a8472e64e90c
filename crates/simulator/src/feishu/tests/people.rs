//! Who is who: several apps in one chat, people with an open_id per app, bots that hear each other.

use moorline_core::{ChatId, UserId};

use super::*;

fn envelopes(actions: &[Action]) -> Vec<Value> {
    let payload = |(_, frame): (LinkId, Frame)| serde_json::from_slice(&frame.payload.unwrap()).unwrap();
    frames(actions).into_iter().map(payload).collect()
}

/// Four apps, each with a connection; the bench's own is the first.
fn four(bench: &mut Bench) -> Vec<App> {
    let own = bench.app.clone();
    let mut apps = vec![own.clone()];
    apps.extend((1..4).map(|n| bench.platform.add_app(NewApp::named(format!("Bot {n}")))));
    for app in &apps {
        bench.app = app.clone();
        bench.connect();
    }
    bench.app = own;
    apps
}

fn ids(apps: &[App]) -> Vec<AppId> {
    apps.iter().map(|app| app.app_id.clone()).collect()
}

/// F-017, F-018: one message, four events; whom it mentions is for each app to find out by its own open_ids.
#[test]
fn apps_in_one_chat_see_one_message_through_their_own_ids() {
    let mut bench = Bench::new();
    let apps = four(&mut bench);
    let alice = Person {
        user_id: Some("u1".to_owned()),
        open_ids: [(apps[0].app_id.clone(), UserId::new("ou_given"))].into(),
        ..Person::named("alice")
    };
    bench.platform.add_person(alice.clone());
    let push = Push::group("oc_1", "on_alice", "hello")
        .mentioning(Mention::Bot(apps[2].app_id.clone()))
        .mentioning(Mention::All)
        .mentioning(Mention::User(UserId::new("u1")));
    let now = bench.now();
    let pushed = bench.platform.push_to(&ids(&apps), &push, now).unwrap();
    let events = envelopes(&bench.platform.take_actions());
    assert_eq!(events.len(), 4);
    let mut event_ids = std::collections::BTreeSet::new();
    let mut senders = std::collections::BTreeSet::new();
    for ((event, app), pushed) in events.iter().zip(&apps).zip(&pushed) {
        let message = &event["event"]["message"];
        assert_eq!(event["header"]["app_id"], app.app_id.as_str());
        assert_eq!(message["message_id"], pushed.message_id.as_str());
        assert!(event_ids.insert(event["header"]["event_id"].as_str().unwrap().to_owned()));
        let sender = &event["event"]["sender"]["sender_id"];
        assert_eq!((&sender["union_id"], &sender["user_id"]), (&json!("on_alice"), &json!("u1")));
        assert_eq!(sender["open_id"], alice.open_id(&app.app_id).as_str());
        assert!(senders.insert(sender["open_id"].as_str().unwrap().to_owned()), "an open_id per app");
        assert_eq!(message["content"], json!({ "text": "@_user_1 @_all @_user_2 hello" }).to_string());
        let mentions = message["mentions"].as_array().unwrap();
        assert_eq!((mentions.len(), &mentions[1]["key"]), (2, &json!("@_user_2")));
        let own = mentions[0]["id"]["open_id"] == app.bot_open_id.as_str();
        assert_eq!(own, app.app_id == apps[2].app_id, "only the mentioned bot finds itself");
        assert!(mentions[0]["id"]["open_id"] != apps[2].bot_open_id.as_str() || own);
    }
    assert!(senders.contains("ou_given"));
    assert_eq!(
        pushed.iter().map(|pushed| &pushed.message_id).collect::<std::collections::BTreeSet<_>>().len(),
        1
    );
    let unknown = [apps[0].app_id.clone(), AppId::new("cli_none")];
    assert!(bench.platform.push_to(&unknown, &push, now).is_err());
    assert_eq!(bench.platform.take_actions(), []);
}

#[test]
fn a_mention_may_carry_an_open_id_of_another_app() {
    let mut bench = Bench::new();
    bench.connect();
    let other = AppId::new("cli_other");
    let push = Push::group("oc_1", "ou_alice", "hi")
        .mentioning(Mention::Foreign(UserId::new(bench.app.app_id.as_str()), other));
    let now = bench.now();
    bench.platform.push(&bench.app.app_id, &push, now).unwrap();
    let id = envelopes(&bench.platform.take_actions())[0]["event"]["message"]["mentions"][0]["id"].clone();
    assert_ne!(id["open_id"], bench.app.bot_open_id.as_str());
    assert_eq!(
        id["union_id"].as_str().unwrap().trim_start_matches("on_"),
        &bench.app.bot_open_id.as_str()[3..]
    );
}

/// §3.4: every kind of receive_id, as far as the person has one.
#[test]
fn people_are_reached_by_any_of_their_ids() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let alice = Person {
        user_id: Some("u1".to_owned()),
        email: Some("alice@example.com".to_owned()),
        ..Person::named("alice")
    };
    bench.platform.add_person(alice.clone());
    bench.platform.add_person(Person::named("bob"));
    let open_id = alice.open_id(&bench.app.app_id);
    let kinds = [
        ("open_id", open_id.as_str(), 0),
        ("union_id", "on_alice", 0),
        ("user_id", "u1", 0),
        ("email", "alice@example.com", 0),
        ("user_id", "u2", 230_013),
        ("email", "bob@example.com", 230_013),
        ("email", "u1x", 230_013),
        ("user_id", "on_alice", 230_013),
        ("union_id", "on_carol", 230_013),
    ];
    let mut chats = std::collections::BTreeSet::new();
    for (kind, id, code) in kinds {
        let path = format!("/open-apis/im/v1/messages?receive_id_type={kind}");
        let (_, answer) = bench.call("POST", &path, Some(&token), &text(id, "a", ""));
        assert_eq!(answer["code"], code, "{kind} {id}");
        chats.extend(answer["data"]["chat_id"].as_str().map(str::to_owned));
    }
    assert_eq!(chats.len(), 1, "one person, one direct chat");
    let path = "/open-apis/im/v1/messages?receive_id_type=union_id";
    let (_, answer) = bench.call("POST", path, Some(&token), &text("on_bob", "a", ""));
    assert!(chats.insert(answer["data"]["chat_id"].as_str().unwrap().to_owned()));
}

/// F-041: our own messages come back, and other bots answer.
#[test]
fn what_a_bot_says_comes_back_as_set() {
    let mut bench = Bench::new();
    let apps = four(&mut bench);
    let (token, _) = bench.token();
    let now = bench.now();
    bench.platform.push_to(&ids(&apps[..2]), &Push::group("oc_1", "ou_alice", "hi"), now).unwrap();
    bench.platform.take_actions();
    let say = |bench: &mut Bench| {
        let link = bench.platform.new_link();
        let request = Request {
            method: "POST".to_owned(),
            path: "/open-apis/im/v1/messages".to_owned(),
            query: vec![("receive_id_type".to_owned(), "chat_id".to_owned())],
            headers: vec![bearer(&token)],
            body: text("oc_1", "a", "").to_string().into(),
            ..Request::default()
        };
        let now = bench.now();
        let actions = bench.platform.step(link, Input::Call(request), now);
        let sent = bench.platform.ledger().visible().last().unwrap().message_id.to_string();
        (sent, envelopes(&actions))
    };
    assert_eq!(say(&mut bench).1.len(), 0);
    for (echo, hearer, same) in [(Echo::SameId, 0, true), (Echo::NewId, 0, false), (Echo::Others, 1, true)] {
        bench.fault(Fault::Echo(echo), Times::Count(1));
        let (sent, heard) = say(&mut bench);
        assert_eq!(heard.len(), 1, "{echo:?}");
        let event = &heard[0];
        assert_eq!(event["header"]["app_id"], apps[hearer].app_id.as_str());
        assert_eq!(event["event"]["sender"]["sender_type"], "app");
        assert_eq!(event["event"]["message"]["message_id"] == sent, same, "{echo:?}");
        let sender = event["event"]["sender"]["sender_id"]["open_id"].as_str().unwrap();
        assert_eq!(sender == apps[0].bot_open_id.as_str(), hearer == 0, "{echo:?}");
        let mentioned = event["event"]["message"]["mentions"][0]["id"]["open_id"].as_str();
        assert_eq!(mentioned == Some(apps[1].bot_open_id.as_str()), hearer == 1);
    }
    // A repeat with the same uuid makes nothing visible, so nothing comes back either.
    bench.fault(Fault::Echo(Echo::NewId), Times::UntilCleared);
    bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u"));
    let events = bench.platform.ledger().events().len();
    bench.call("POST", SEND, Some(&token), &text("oc_1", "a", "u"));
    assert_eq!(bench.platform.ledger().events().len(), events);
}

/// A scripted second bot writes, in a chat of both.
#[test]
fn another_bot_writes() {
    let mut bench = Bench::new();
    let apps = four(&mut bench);
    let push = Push::group("oc_1", apps[1].app_id.as_str(), "hi").mentioning_bot();
    let now = bench.now();
    let pushed = bench.platform.push(&apps[0].app_id, &push, now).unwrap();
    let event = envelopes(&bench.platform.take_actions()).remove(0);
    let sender = &event["event"]["sender"];
    assert_eq!(sender["sender_type"], "app");
    assert_ne!(sender["sender_id"]["open_id"], apps[1].bot_open_id.as_str(), "as seen by the first app");
    let (token, _) = bench.token();
    let path = format!("/open-apis/im/v1/messages/{}", pushed.message_id);
    let item = bench.call("GET", &path, Some(&token), &Value::Null).1["data"]["items"][0].clone();
    assert_eq!(
        (&item["sender"]["id"], &item["mentions"][0]["id"]),
        (&json!(apps[1].app_id), &json!(bench.app.bot_open_id))
    );
    assert_eq!(item["chat_id"], ChatId::new("oc_1").as_str());
}
