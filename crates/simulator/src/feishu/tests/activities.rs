//! Everything that happens beside new messages (§4.1, §4.3, §4.4), and messages of every type (§4.2).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use moorline_core::{ChatId, MessageId, UserId};

use super::*;

fn envelope(actions: &[Action]) -> (Frame, Value) {
    let (_, frame) = frames(actions).remove(0);
    let value = serde_json::from_slice(frame.payload.as_deref().unwrap()).unwrap();
    (frame, value)
}

fn report(bench: &mut Bench, activity: Activity) -> (Frame, Value) {
    let now = bench.now();
    let event_id = bench.platform.report(&bench.app.app_id, activity, now).unwrap();
    let (frame, value) = envelope(&bench.platform.take_actions());
    assert_eq!(frame.header("trace_id"), Some(event_id.as_str()));
    (frame, value)
}

/// §4.3: the type, and the fields the page lists.
#[test]
fn each_activity_is_the_event_of_the_page() {
    let mut bench = Bench::new();
    bench.connect();
    let (pushed, _) = bench.push("hi");
    let message_id = pushed.message_id;
    let user = UserId::new("ou_alice");
    let (chat_id, operator) = (ChatId::new("oc_9"), user.clone());
    let emoji = "THUMBSUP".to_owned();
    let id = message_id.as_str();
    type Case<'a> = (Activity, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 9] = [
        (
            Activity::BotAdded { chat_id: chat_id.clone(), operator: operator.clone() },
            "im.chat.member.bot.added_v1",
            &[("/chat_id", "oc_9"), ("/operator_id/open_id", "ou_alice")],
        ),
        (
            Activity::BotDeleted { chat_id, operator },
            "im.chat.member.bot.deleted_v1",
            &[("/chat_id", "oc_9"), ("/operator_id/open_id", "ou_alice")],
        ),
        (
            Activity::ReactionCreated {
                message_id: message_id.clone(),
                user: user.clone(),
                emoji: emoji.clone(),
            },
            "im.message.reaction.created_v1",
            &[("/message_id", id), ("/operator_type", "user"), ("/reaction_type/emoji_type", "THUMBSUP")],
        ),
        (
            Activity::ReactionDeleted { message_id: message_id.clone(), user: user.clone(), emoji },
            "im.message.reaction.deleted_v1",
            &[("/message_id", id), ("/user_id/open_id", "ou_alice")],
        ),
        (
            Activity::Read { user: user.clone(), message_ids: vec![message_id.clone()] },
            "im.message.message_read_v1",
            &[("/reader/reader_id/open_id", "ou_alice"), ("/message_id_list/0", id)],
        ),
        (
            Activity::ChatEntered { chat_id: ChatId::new("oc_8"), user: user.clone() },
            "im.chat.access_event.bot_p2p_chat_entered_v1",
            &[("/chat_id", "oc_8"), ("/operator_id/union_id", "on_alice")],
        ),
        (
            Activity::CardAction { message_id: message_id.clone(), user, action: json!({ "tag": "button" }) },
            "card.action.trigger",
            &[("/operator/open_id", "ou_alice"), ("/context/open_message_id", id), ("/host", "im_message")],
        ),
        (
            Activity::Other { event_type: "im.weather_v1".to_owned(), event: json!({ "x": "y" }) },
            "im.weather_v1",
            &[("/x", "y")],
        ),
        (
            Activity::Recalled {
                message_id: message_id.clone(),
                recall_type: Some("group_owner".to_owned()),
            },
            "im.message.recalled_v1",
            &[("/message_id", id), ("/chat_id", "oc_1"), ("/recall_type", "group_owner")],
        ),
    ];
    for (activity, event_type, fields) in cases {
        let (_, envelope) = report(&mut bench, activity);
        assert_eq!(
            (&envelope["schema"], &envelope["header"]["event_type"]),
            (&json!("2.0"), &json!(event_type))
        );
        for (pointer, value) in fields {
            assert_eq!(envelope["event"].pointer(pointer), Some(&json!(value)), "{event_type} {pointer}");
        }
        assert_eq!(bench.platform.ledger().events().last().unwrap().event_type, event_type);
    }
    let (token, _) = bench.token();
    let reply = format!("/open-apis/im/v1/messages/{id}/reply");
    assert_eq!(bench.call("POST", &reply, Some(&token), &text("", "a", "")).1["code"], 230_011);
    let (_, v1) =
        report(&mut bench, Activity::V1 { event_type: "message".to_owned(), event: json!({ "a": 1 }) });
    assert_eq!(v1.get("schema"), None);
    assert_eq!(
        (&v1["type"], &v1["event"]["type"], &v1["event"]["a"]),
        (&json!("event_callback"), &json!("message"), &json!(1))
    );
}

#[test]
fn the_bot_is_in_a_chat_from_added_to_deleted() {
    let mut bench = Bench::new();
    bench.connect();
    let (token, _) = bench.token();
    let (chat_id, operator) = (ChatId::new("oc_9"), UserId::new("ou_alice"));
    let send =
        |bench: &mut Bench| bench.call("POST", SEND, Some(&token), &text("oc_9", "a", "")).1["code"].clone();
    assert_eq!(send(&mut bench), 230_002);
    report(&mut bench, Activity::BotAdded { chat_id: chat_id.clone(), operator: operator.clone() });
    assert_eq!(send(&mut bench), 0);
    report(&mut bench, Activity::BotDeleted { chat_id, operator });
    assert_eq!(send(&mut bench), 230_002);
}

/// F-032: the same message, another event.
#[test]
fn an_edit_and_a_repetition_keep_the_message_and_change_the_event() {
    let mut bench = Bench::new();
    bench.connect();
    let (pushed, actions) = bench.push("hi");
    let (_, first) = envelope(&actions);
    bench.wait(SECOND);
    let now = bench.now();
    let event_id = bench.platform.push_again(&bench.app.app_id, &pushed.message_id, now).unwrap().unwrap();
    let (_, again) = envelope(&bench.platform.take_actions());
    assert_ne!(event_id, pushed.event_id);
    assert_eq!((&again["header"]["event_id"], &again["event"]), (&json!(event_id), &first["event"]));
    assert_eq!(bench.record(&event_id).message_id, Some(pushed.message_id.clone()));

    let edited = Activity::Edited { message_id: pushed.message_id.clone(), text: "ho".to_owned() };
    let (_, edited) = report(&mut bench, edited);
    let (old, new) = (&first["event"]["message"], &edited["event"]["message"]);
    assert_eq!(new["content"], "{\"text\":\"ho\"}");
    assert_eq!((&new["message_id"], &new["create_time"]), (&old["message_id"], &old["create_time"]));
    assert_ne!(new["update_time"], old["update_time"]);
    let nothing = bench.platform.push_again(&bench.app.app_id, &MessageId::new("om_none"), now);
    assert_eq!(nothing, Ok(None));
}

/// §4.4: the answer is in the ack, within 3 s, or the user sees an error.
#[test]
fn what_the_user_of_a_card_sees_is_in_the_ledger() {
    let answer = json!({
        "toast": { "type": "success", "content": "done" },
        "card": { "type": "raw", "data": { "elements": [] } },
    });
    let encoded = BASE64_STANDARD.encode(answer.to_string());
    let shown = Callback::Shown { toast: Some(answer["toast"].clone()), card: Some(answer["card"].clone()) };
    let cases = [
        (0, json!({ "code": 200 }), Callback::Nothing),
        (0, json!({ "code": 200, "headers": null, "data": null }), Callback::Nothing),
        (2, json!({ "code": 200, "data": encoded }), shown),
        (0, json!({ "code": 200, "data": "???" }), Callback::Invalid("data is not base64".to_owned())),
        (0, json!({ "code": 500 }), Callback::Failed),
        (3, json!({ "code": 200, "data": encoded }), Callback::Failed),
    ];
    for (delay, body, expected) in cases {
        let mut bench = Bench::new();
        let link = bench.connect();
        let (token, _) = bench.token();
        bench.push("hi");
        let card = json!({ "receive_id": "oc_1", "msg_type": "interactive", "content": "{}" });
        let (_, sent) = bench.call("POST", SEND, Some(&token), &card);
        let message_id = MessageId::new(sent["data"]["message_id"].as_str().unwrap());
        let user = UserId::new("ou_alice");
        let action = json!({ "tag": "button", "value": { "n": 1 } });
        let (frame, _) = report(&mut bench, Activity::CardAction { message_id, user, action });
        assert_eq!(bench.platform.ledger().events()[1].callback, Some(Callback::Pending));
        bench.wait(delay * SECOND);
        let mut ack = ack(&frame, 200);
        ack.payload = Some(body.to_string().into_bytes());
        bench.send(link, &ack);
        let ledger = bench.platform.ledger();
        assert_eq!(ledger.events()[1].callback.as_ref(), Some(&expected), "{body} after {delay} s");
        let changed = matches!(expected, Callback::Shown { .. });
        assert_eq!(ledger.visible()[0].edits, u32::from(changed));
        assert_eq!(ledger.visible()[0].content == "{\"elements\":[]}", changed);
    }
}

/// §4.2: types, mentions in posts, and any change of the envelope.
#[test]
fn messages_of_every_type_are_pushed() {
    let mut bench = Bench::new();
    bench.connect();
    let mut push = |push: Push| {
        let now = bench.now();
        bench.platform.push(&bench.app.app_id, &push, now).unwrap();
        envelope(&bench.platform.take_actions()).1
    };
    let contents = [
        ("image", json!({ "image_key": "img_1" })),
        ("file", json!({ "file_key": "file_1", "file_name": "a.pdf" })),
        ("audio", json!({ "file_key": "file_1", "duration": 1_000 })),
        ("sticker", json!({ "file_key": "file_1" })),
        ("merge_forward", json!({ "content": "Merged and Forwarded Message" })),
        ("hologram", json!({})),
    ];
    for (kind, content) in contents {
        let event = push(Push::direct("oc_1", "ou_alice", "").with_content(kind, &content));
        let message = &event["event"]["message"];
        assert_eq!(
            (&message["message_type"], &message["content"]),
            (&json!(kind), &json!(content.to_string()))
        );
    }
    let post = json!({ "title": "", "content": [[{ "tag": "text", "text": "hi" }], []] });
    let post = Push::group("oc_2", "ou_alice", "").with_content("post", &post).mentioning_bot();
    let event = push(post.clone());
    let content: Value =
        serde_json::from_str(event["event"]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["content"][0][0], json!({ "tag": "at", "user_id": "@_user_1" }));
    assert_eq!(content["content"][0][1]["text"], "hi");
    let event = push(post.in_thread("omt_1").replying_to(MessageId::new("om_1")).merging(json!({
        "header": { "create_time": "1774004591415000" },
        "event": {
            "sender": { "sender_id": { "union_id": null, "user_id": "" } },
            "message": { "chat_type": "topic_group", "user_agent": "x", "root_id": "om_0" },
        },
    })));
    let (sender, message) = (&event["event"]["sender"]["sender_id"], &event["event"]["message"]);
    assert_eq!(*sender, json!({ "open_id": "ou_alice", "user_id": "" }));
    assert_eq!(event["header"]["create_time"], "1774004591415000");
    assert_eq!((&message["chat_type"], &message["root_id"]), (&json!("topic_group"), &json!("om_0")));
    assert_eq!((&message["parent_id"], &message["thread_id"]), (&json!("om_1"), &json!("omt_1")));
}
