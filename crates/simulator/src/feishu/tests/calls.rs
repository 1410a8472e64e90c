//! Calls about messages that are there (§3.4): updates, edits, recalls, reads, reactions, and replies in threads.

use moorline_core::MessageId;

use super::*;

struct Desk {
    bench: Bench,
    token: String,
    /// A message of the user.
    theirs: MessageId,
}

impl Desk {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (token, _) = bench.token();
        let (pushed, _) = bench.push("hi");
        Self { bench, token, theirs: pushed.message_id }
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/open-apis/im/v1/messages{path}");
        self.bench.call(method, &path, Some(&self.token), body).1
    }

    fn post(&mut self, msg_type: &str, content: &Value) -> String {
        let body = json!({ "receive_id": "oc_1", "msg_type": msg_type, "content": content.to_string() });
        let answer = self.call("POST", "?receive_id_type=chat_id", &body);
        answer["data"]["message_id"].as_str().unwrap().to_owned()
    }

    fn renew(&mut self) {
        self.token = self.bench.token().0;
    }
}

fn content(value: &Value) -> Value {
    json!({ "content": value.to_string() })
}

fn card(text: &str, shared: bool) -> Value {
    json!({ "config": { "update_multi": shared }, "elements": [text] })
}

#[test]
fn cards_are_updated_by_their_bot_within_14_days() {
    let mut desk = Desk::new();
    let other = desk.bench.platform.add_app(NewApp::named("Other"));
    desk.bench.platform.add_chat(&other.app_id, moorline_core::ChatId::new("oc_1"), ChatType::P2p).unwrap();
    let own = std::mem::replace(&mut desk.bench.app, other);
    let others_token = desk.bench.token().0;
    desk.bench.app = own;

    let own = desk.post("interactive", &card("a", true));
    let unshared = desk.post("interactive", &card("a", false));
    let plain = desk.post("text", &json!({ "text": "a" }));
    let theirs = desk.theirs.to_string();
    let long = json!({ "config": { "update_multi": true }, "x": "x".repeat(30 << 10) });
    let cases = [
        (&own, content(&card("b", true)), 0),
        (&own, content(&card("c", false)), 230_099),
        (&unshared, content(&card("b", true)), 230_099),
        (&plain, content(&card("b", true)), 230_001),
        (&theirs, content(&card("b", true)), 230_017),
        (&"om_none".to_owned(), content(&card("b", true)), 230_001),
        (&own, json!({ "content": "b" }), 230_001),
        (&own, json!({}), 99_992_402),
        (&own, content(&long), 230_025),
    ];
    for (id, body, code) in cases {
        assert_eq!(desk.call("PATCH", &format!("/{id}"), &body)["code"], code, "{id} {body}");
    }
    let path = format!("/open-apis/im/v1/messages/{own}");
    let body = content(&card("d", true));
    assert_eq!(desk.bench.call("PATCH", &path, Some(&others_token), &body).1["code"], 230_017);
    let ledger = desk.bench.platform.ledger();
    assert_eq!((ledger.visible()[0].edits, &ledger.visible()[0].content), (1, &card("b", true).to_string()));
    assert_eq!((ledger.visible()[1].edits, ledger.visible()[2].edits), (0, 0));

    desk.bench.wait(14 * 86_400 * SECOND);
    desk.renew();
    assert_eq!(desk.call("PATCH", &format!("/{own}"), &body)["code"], 0);
    desk.bench.wait(Duration::from_millis(1));
    assert_eq!(desk.call("PATCH", &format!("/{own}"), &body)["code"], 230_031);
}

#[test]
fn a_card_takes_five_updates_a_second() {
    let mut desk = Desk::new();
    let id = desk.post("interactive", &card("a", true));
    desk.bench.platform.set_rates(Some(Rates::default()));
    let update =
        |desk: &mut Desk| desk.call("PATCH", &format!("/{id}"), &content(&card("b", true)))["code"].clone();
    let codes: Vec<Value> = (0..6).map(|_| update(&mut desk)).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 230_020]);
    desk.bench.wait(SECOND);
    assert_eq!(update(&mut desk), 0);
}

#[test]
fn texts_and_posts_are_edited_twenty_times() {
    let mut desk = Desk::new();
    let text = desk.post("text", &json!({ "text": "a" }));
    let post = desk.post("post", &json!({ "zh_cn": {} }));
    let interactive = desk.post("interactive", &card("a", true));
    let theirs = desk.theirs.to_string();
    let edit = |kind: &str, value: Value| json!({ "msg_type": kind, "content": value.to_string() });
    let cases = [
        (&post, edit("post", json!({ "zh_cn": { "title": "b" } })), 0),
        (&text, edit("post", json!({})), 230_001),
        (&text, edit("text", json!({})), 230_001),
        (&text, edit("image", json!({})), 230_054),
        (&interactive, edit("text", json!({ "text": "b" })), 230_054),
        (&theirs, edit("text", json!({ "text": "b" })), 230_017),
        (&text, edit("text", json!({ "text": "b".repeat(151 << 10) })), 230_025),
        (&post, edit("post", json!({ "text": "b".repeat(31 << 10) })), 230_025),
    ];
    for (id, body, code) in cases {
        assert_eq!(desk.call("PUT", &format!("/{id}"), &body)["code"], code, "{id}");
    }
    for n in 1..=21 {
        let answer = desk.call("PUT", &format!("/{text}"), &edit("text", json!({ "text": n.to_string() })));
        assert_eq!(answer["code"], if n <= 20 { 0 } else { 230_001 }, "{n}");
    }
    let visible = &desk.bench.platform.ledger().visible()[0];
    assert_eq!((visible.text.as_str(), visible.edits), ("20", 20));
    let item = desk.call("GET", &format!("/{text}"), &Value::Null)["data"]["items"][0].clone();
    assert_eq!((&item["updated"], &item["body"]["content"]), (&json!(true), &json!("{\"text\":\"20\"}")));
}

#[test]
fn a_recalled_message_is_gone_for_everything_but_reading() {
    let mut desk = Desk::new();
    let id = desk.post("text", &json!({ "text": "a" }));
    let theirs = desk.theirs.to_string();
    assert_eq!(desk.call("DELETE", &format!("/{theirs}"), &Value::Null)["code"], 230_017);
    assert_eq!(desk.call("DELETE", &format!("/{id}"), &Value::Null)["code"], 0);
    let typing = json!({ "reaction_type": { "emoji_type": "Typing" } });
    let edit = json!({ "msg_type": "text", "content": "{\"text\":\"b\"}" });
    let after = [
        ("DELETE", "", Value::Null),
        ("PUT", "", edit.clone()),
        ("PATCH", "", content(&card("b", true))),
        ("POST", "/reply", edit),
        ("POST", "/reactions", typing),
        ("GET", "/reactions", Value::Null),
        ("GET", "/resources/k?type=file", Value::Null),
    ];
    for (method, path, body) in after {
        assert_eq!(desk.call(method, &format!("/{id}{path}"), &body)["code"], 230_011, "{method} {path}");
    }
    let item = desk.call("GET", &format!("/{id}"), &Value::Null)["data"]["items"][0].clone();
    assert_eq!(item["deleted"], true);
    assert!(!item["body"]["content"].as_str().unwrap().contains("\"a\""));
    assert!(desk.bench.platform.ledger().visible()[0].recalled.is_some());
    assert_eq!(desk.call("GET", "/om_none", &Value::Null)["code"], 230_001);
}

#[test]
fn messages_are_read_as_they_are_and_only_in_our_chats() {
    let mut desk = Desk::new();
    let theirs = desk.theirs.to_string();
    let item = desk.call("GET", &format!("/{theirs}"), &Value::Null)["data"]["items"][0].clone();
    assert_eq!((&item["sender"]["sender_type"], &item["sender"]["id"]), (&json!("user"), &json!("ou_alice")));
    assert_eq!(
        (&item["deleted"], &item["updated"], &item["msg_type"]),
        (&json!(false), &json!(false), &json!("text"))
    );
    let chat = moorline_core::ChatId::new("oc_1");
    desk.bench.platform.remove_chat(&desk.bench.app.app_id, &chat).unwrap();
    for (method, path) in [("GET", ""), ("POST", "/reactions"), ("GET", "/reactions"), ("POST", "/reply")] {
        let typing = json!({ "reaction_type": { "emoji_type": "Typing" }, "msg_type": "text", "content": "{\"text\":\"a\"}" });
        assert_eq!(
            desk.call(method, &format!("/{theirs}{path}"), &typing)["code"],
            230_002,
            "{method} {path}"
        );
    }
}

#[test]
fn typing_goes_on_and_off_in_the_ledger() {
    let mut desk = Desk::new();
    let path = format!("/{}/reactions", desk.theirs);
    let emoji = |emoji: &str| json!({ "reaction_type": { "emoji_type": emoji } });
    let first = desk.call("POST", &path, &emoji("Typing"));
    assert_eq!((&first["code"], &first["data"]["operator"]["operator_type"]), (&json!(0), &json!("app")));
    let again = desk.call("POST", &path, &emoji("Typing"));
    assert_eq!(again["data"]["reaction_id"], first["data"]["reaction_id"]);
    assert_eq!(desk.bench.platform.ledger().typing().count(), 1);
    let now = desk.bench.now();
    let theirs = Activity::ReactionCreated {
        message_id: desk.theirs.clone(),
        user: moorline_core::UserId::new("ou_alice"),
        emoji: "SMILE".to_owned(),
    };
    desk.bench.platform.report(&desk.bench.app.app_id, theirs, now).unwrap();
    let all = desk.call("GET", &path, &Value::Null)["data"]["items"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let smiles =
        desk.call("GET", &format!("{path}?reaction_type=SMILE"), &Value::Null)["data"]["items"].clone();
    assert_eq!(
        (smiles.as_array().unwrap().len(), &smiles[0]["operator"]["operator_id"]),
        (1, &json!("ou_alice"))
    );
    let smile = smiles[0]["reaction_id"].as_str().unwrap();
    assert_eq!(desk.call("DELETE", &format!("{path}/{smile}"), &Value::Null)["code"], 230_017);

    desk.bench.wait(SECOND);
    let id = first["data"]["reaction_id"].as_str().unwrap();
    assert_eq!(desk.call("DELETE", &format!("{path}/{id}"), &Value::Null)["code"], 0);
    assert_eq!(desk.call("DELETE", &format!("{path}/{id}"), &Value::Null)["code"], 230_001);
    let ledger = desk.bench.platform.ledger();
    let [record] = ledger.reactions() else { panic!("{:?}", ledger.reactions()) };
    assert_eq!(record.off, Some(record.on + SECOND));
    assert_eq!(ledger.typing().count(), 0);
    for wrong in [emoji("typing"), emoji("TYPING"), emoji(""), emoji("a b"), json!({})] {
        assert_ne!(desk.call("POST", &path, &wrong)["code"], 0, "{wrong}");
    }
}

/// The families of calls fail on their own, and a lost answer took effect.
#[test]
fn every_family_of_calls_fails_as_set() {
    let mut desk = Desk::new();
    let id = desk.post("text", &json!({ "text": "a" }));
    let edit = json!({ "msg_type": "text", "content": "{\"text\":\"b\"}" });
    let typing = json!({ "reaction_type": { "emoji_type": "Typing" } });
    let code = Answer::Code { status: 400, code: 230_027 };
    desk.bench.fault(Fault::Reaction(code.clone()), Times::Count(1));
    desk.bench.fault(Fault::Edit(code), Times::Count(1));
    for (method, path, body) in [("PUT", "", &edit), ("POST", "/reactions", &typing)] {
        assert_eq!(desk.call(method, &format!("/{id}{path}"), body)["code"], 230_027);
    }
    assert_eq!(desk.bench.platform.ledger().visible()[0].edits, 0);
    desk.bench.fault(Fault::LoseEditAnswer(Lost::Hang), Times::Count(1));
    desk.bench.fault(Fault::LoseReactionAnswer(Lost::Hang), Times::Count(1));
    let token = desk.token.clone();
    for (method, path, body) in [("PUT", "", &edit), ("POST", "/reactions", &typing)] {
        let path = format!("/open-apis/im/v1/messages/{id}{path}");
        assert_eq!(desk.bench.request(method, &path, Some(&token), body), None);
    }
    let ledger = desk.bench.platform.ledger();
    assert_eq!((ledger.visible()[0].edits, ledger.typing().count()), (1, 1));

    let scopes = ["im:message".to_owned(), "im:message:send_as_bot".to_owned()];
    desk.bench.fault(Fault::MissingScopes(scopes.to_vec()), Times::Count(1));
    let refused = desk.call("PUT", &format!("/{id}"), &edit);
    assert_eq!(refused["code"], 99_991_672);
    assert!(scopes.iter().all(|scope| refused["msg"].as_str().unwrap().contains(scope.as_str())));
    let counters = desk.bench.counters();
    assert_eq!((counters.edits, counters.reactions, counters.sends), (3, 2, 1));
}

/// §3.5: one chat is closed to us; the others are not.
#[test]
fn a_chat_can_refuse_on_its_own() {
    let mut desk = Desk::new();
    let chat_id = moorline_core::ChatId::new("oc_1");
    desk.bench
        .platform
        .add_chat(&desk.bench.app.app_id, moorline_core::ChatId::new("oc_2"), ChatType::Group)
        .unwrap();
    desk.bench.fault(Fault::Chat { chat_id, code: 230_018 }, Times::UntilCleared);
    for (chat, code) in [("oc_1", 230_018), ("oc_2", 0), ("oc_1", 230_018)] {
        assert_eq!(desk.call("POST", "?receive_id_type=chat_id", &text(chat, "a", ""))["code"], code);
    }
    let reply = format!("/{}/reply", desk.theirs);
    assert_eq!(desk.call("POST", &reply, &text("", "a", ""))["code"], 230_018);
}

/// §3.4: 230049 while the first call with this uuid is being carried out.
#[test]
fn a_concurrent_repeat_is_told_to_wait() {
    let mut desk = Desk::new();
    desk.bench.fault(Fault::SlowSend(20 * SECOND), Times::Count(1));
    let path = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    let token = desk.token.clone();
    assert_eq!(desk.bench.request("POST", path, Some(&token), &text("oc_1", "a", "u")), None);
    desk.bench.wait(19 * SECOND);
    let send = |desk: &mut Desk| desk.call("POST", "?receive_id_type=chat_id", &text("oc_1", "a", "u"));
    assert_eq!(send(&mut desk)["code"], 230_049);
    desk.bench.wait(SECOND);
    assert_eq!(send(&mut desk)["code"], 0);
    assert_eq!(desk.bench.platform.ledger().visible().len(), 1);
}

#[test]
fn a_reply_in_thread_makes_a_thread_that_answers_inherit() {
    let mut desk = Desk::new();
    let mut body = text("", "a", "");
    let plain = desk.call("POST", &format!("/{}/reply", desk.theirs), &body)["data"].clone();
    assert_eq!((plain.get("thread_id"), &plain["parent_id"]), (None, &json!(desk.theirs)));
    body["reply_in_thread"] = json!(true);
    let first = desk.call("POST", &format!("/{}/reply", desk.theirs), &body)["data"].clone();
    let thread = first["thread_id"].as_str().unwrap();
    assert!(thread.starts_with("omt_"));
    body["reply_in_thread"] = json!(false);
    let path = format!("/{}/reply", first["message_id"].as_str().unwrap());
    let second = desk.call("POST", &path, &body)["data"].clone();
    assert_eq!((&second["thread_id"], &second["root_id"]), (&json!(thread), &json!(desk.theirs)));
    let push = Push::direct("oc_1", "ou_alice", "in a thread").in_thread("omt_users");
    let now = desk.bench.now();
    let pushed = desk.bench.platform.push(&desk.bench.app.app_id, &push, now).unwrap();
    let answer = desk.call("POST", &format!("/{}/reply", pushed.message_id), &body)["data"].clone();
    assert_eq!(answer["thread_id"], "omt_users");
}

/// §3.4: the sizes, to the byte.
#[test]
fn contents_are_limited_by_type() {
    let mut desk = Desk::new();
    let sized = |key: &str, size: usize| {
        let empty = json!({ key: "" }).to_string().len();
        json!({ key: "x".repeat(size - empty) }).to_string()
    };
    let cases = [("text", "text", 150 << 10), ("post", "title", 30 << 10), ("interactive", "x", 30 << 10)];
    for (kind, key, limit) in cases {
        for (size, code) in [(limit, 0), (limit + 1, 230_025)] {
            let body = json!({ "receive_id": "oc_1", "msg_type": kind, "content": sized(key, size) });
            assert_eq!(desk.call("POST", "?receive_id_type=chat_id", &body)["code"], code, "{kind} {size}");
        }
    }
}
