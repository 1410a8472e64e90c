//! Envelopes of every kind, and noise.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A message event with everything a real one has.
fn envelope() -> Value {
    json!({
        "schema": "2.0",
        "header": {"event_id": "60d5", "event_type": MESSAGE, "create_time": "1774004591415",
            "token": "", "app_id": "cli_a1b2c3d4e5f60718", "tenant_key": "t"},
        "event": {
            "sender": {"sender_id": {"open_id": "ou_s", "union_id": "on_s", "user_id": null},
                "sender_type": "user", "tenant_key": "t"},
            "message": {"message_id": "om_1", "root_id": "om_0", "parent_id": "om_0",
                "create_time": "1774004591400", "chat_id": "oc_1", "chat_type": "group",
                "message_type": "text", "content": r#"{"text":"@_user_1 hello"}"#,
                "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot", "union_id": "on_bot"},
                    "name": "Moor", "tenant_key": "t", "mentioned_type": "bot"}]},
        },
    })
}

/// The envelope with the value at `path` replaced; a null is left out.
fn with(path: &str, value: Value) -> Value {
    let mut envelope = envelope();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = envelope.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(key),
        value => parent.insert(key.to_owned(), value),
    };
    envelope
}

fn message(envelope: &Value) -> Inbound {
    match read(envelope.to_string().into()) {
        Received::Delivery(Delivery::Message(inbound)) => *inbound,
        other => panic!("not a message: {other:?}"),
    }
}

fn unreadable(payload: impl Into<Bytes>) -> (EventId, Vec<DedupeKey>, String) {
    let payload = payload.into();
    match read(payload.clone()) {
        Received::Delivery(Delivery::Unreadable { event_id, dedupe, raw, why }) => {
            assert_eq!(raw, payload);
            (event_id, dedupe, why)
        }
        other => panic!("readable: {other:?}"),
    }
}

fn users(ids: &[&str]) -> Vec<UserId> {
    ids.iter().copied().map(UserId::new).collect()
}

#[test]
fn a_group_message_in_full() {
    let envelope = envelope();
    let wanted = Inbound {
        event_id: EventId::new("60d5"),
        dedupe: vec![DedupeKey::new("event:60d5"), DedupeKey::new("message:om_1")],
        conversation: ConversationId::new("oc_1"),
        chat: Chat { id: ChatId::new("oc_1"), kind: ChatKind::Group },
        message_id: MessageId::new("om_1"),
        sender: Sender { ids: users(&["ou_s", "on_s"]), kind: SenderKind::User },
        mentions: vec![Mention::One(users(&["ou_bot", "on_bot"]))],
        text: Some("@Moor hello".to_owned()),
        attachments: Vec::new(),
        route: Route { chat: ChatId::new("oc_1"), reply_to: Some(MessageId::new("om_1")), in_thread: false },
        written_at: Some(Timestamp::from_millis(1_774_004_591_400)),
        reply_token: None,
        raw: envelope.to_string().into(),
    };
    assert_eq!(message(&envelope), wanted);
}

/// F-049: where the answer goes is fixed by the message.
#[test]
fn conversation_and_route_follow_chat_and_thread() {
    for (chat_type, thread, kind, conversation, reply, in_thread) in [
        ("p2p", None, ChatKind::Direct, "oc_1", false, false),
        ("p2p", Some("omt_1"), ChatKind::Direct, "oc_1/omt_1", true, true),
        ("group", None, ChatKind::Group, "oc_1", true, false),
        ("group", Some("omt_1"), ChatKind::Group, "oc_1/omt_1", true, true),
        ("topic_group", Some(""), ChatKind::Group, "oc_1", true, false),
    ] {
        let mut envelope = with("/event/message/chat_type", json!(chat_type));
        envelope["event"]["message"]["thread_id"] = json!(thread);
        let inbound = message(&envelope);
        assert_eq!((inbound.chat.kind, inbound.conversation.as_str()), (kind, conversation));
        let route = inbound.route;
        assert_eq!(
            (route.reply_to.is_some(), route.in_thread, route.chat.as_str()),
            (reply, in_thread, "oc_1")
        );
    }
}

/// F-041, F-018: who wrote it.
#[test]
fn senders_have_ids_and_never_names() {
    for (sender, ids, kind) in [
        (
            json!({"sender_id": {"user_id": "u", "open_id": "ou"}, "sender_type": "user"}),
            vec!["ou", "u"],
            SenderKind::User,
        ),
        (json!({"sender_id": {"open_id": ""}, "sender_type": "app"}), vec![], SenderKind::Bot),
        (json!({"sender_id": null, "sender_type": "user"}), vec![], SenderKind::User),
        (json!({"name": "admin"}), vec![], SenderKind::Bot),
        (json!(null), vec![], SenderKind::Bot),
    ] {
        assert_eq!(message(&with("/event/sender", sender)).sender, Sender { ids: users(&ids), kind });
    }
}

/// F-093: entities only, whatever text and names pretend.
#[test]
fn mentions_are_entities() {
    let all = json!([{"key": "@_all", "id": {}, "name": "all"}]);
    let all_by_id = json!([{"key": "@_user_1", "id": {"user_id": "all"}, "name": "all"}]);
    let by_string = json!([{"key": "@_user_1", "id": "ou_x", "name": "x"}]);
    let nobody = json!([{"key": "@_user_1", "name": "Moor"}, 7, null]);
    for (mentions, wanted) in [
        (all, vec![Mention::All]),
        (all_by_id, vec![Mention::All]),
        (by_string, vec![Mention::One(users(&["ou_x"]))]),
        (nobody, vec![]),
        (json!({"key": "@_all"}), vec![]),
        (json!(null), vec![]),
    ] {
        assert_eq!(message(&with("/event/message/mentions", mentions)).mentions, wanted);
    }
    let mut pretending = with("/event/message/content", json!(r#"{"text":"@_all @Moor @_user_7 ou_bot"}"#));
    pretending["event"]["message"]["mentions"] = json!([]);
    assert_eq!(message(&pretending).mentions, vec![]);
}

#[test]
fn times_are_milliseconds_or_microseconds() {
    let millis = Some(Timestamp::from_millis(1_774_004_591_415));
    for (time, read) in [
        (json!("1774004591415"), millis),
        (json!(1_774_004_591_415_i64), millis),
        (json!("1774004591415999"), millis),
        (json!(null), millis),
        (json!("yesterday"), None),
        (json!("1774004591"), None),
        (json!("-1774004591415"), None),
        (json!("99999999999999999999"), None),
    ] {
        // The header's time stands in only for one that is missing.
        let envelope = with("/event/message/create_time", time.clone());
        let written_at = message(&envelope).written_at;
        assert!(written_at == read || (read.is_none() && written_at == millis), "{time}");
    }
}

/// F-037; protocol §2.5 rule 2 and §4.1: bytes, id and keys are kept.
#[test]
fn what_cannot_be_read_is_kept() {
    let (id, dedupe, why) = unreadable("not JSON");
    assert!(id.as_str().starts_with("sha256:") && id.as_str().len() == 71 && why.contains("no JSON"));
    assert_eq!(dedupe, [DedupeKey::new(format!("event:{id}"))]);
    assert_eq!(unreadable("not JSON").0, id);

    let v1 = json!({"uuid": "u-1", "token": "", "ts": "1", "type": "event_callback", "event": {"type": "message"}});
    assert_eq!(unreadable(v1.to_string()).0, EventId::new("u-1"));
    assert_eq!(unreadable("[".repeat(100_000)).1.len(), 1);

    for (path, value) in [
        ("/event/message/chat_id", json!("")),
        ("/event/message/chat_id", json!(null)),
        ("/event/message/message_id", json!("")),
        ("/event/message/message_id", json!(7)),
        ("/event/message/content", json!("{")),
        ("/event/message/content", json!("\"text\"")),
        ("/event/message/content", json!(null)),
        ("/event", json!([])),
        ("/header/event_type", json!(null)),
        ("/schema", json!("3.0")),
        ("/schema", json!(null)),
    ] {
        let (id, dedupe, _) = unreadable(with(path, value).to_string());
        assert_eq!(id, EventId::new("60d5"), "{path}");
        assert_eq!(dedupe[0], DedupeKey::new("event:60d5"), "{path}");
    }
    let (_, dedupe, _) = unreadable(with("/event/message/content", json!("{")).to_string());
    assert_eq!(dedupe[1], DedupeKey::new("message:om_1"));
}

#[test]
fn a_message_without_event_id_is_known_by_its_own() {
    let inbound = message(&with("/header/event_id", json!(null)));
    assert_eq!(inbound.event_id, EventId::new("message:om_1"));
    assert!(inbound.dedupe.contains(&DedupeKey::new("message:om_1")));
}

/// Protocol §4.2: what nobody reads may be there, or not, or be of any type; a message is never lost over it. Quoted
/// messages, threads and edits are in `raw`, for whoever wants to tell the agent of them.
#[test]
fn fields_that_nobody_reads_lose_no_message() {
    for field in [
        "root_id",
        "parent_id",
        "thread_id",
        "update_time",
        "user_agent",
        "lark_agent_context",
        "chat_type",
        "create_time",
        "mentions",
        "of_next_year",
    ] {
        for odd in
            [json!("om_0"), json!(""), json!(7), json!(1.5), json!([[]]), json!({"a": null}), json!(true)]
        {
            let mut envelope = envelope();
            envelope["event"]["message"][field] = odd;
            let inbound = message(&envelope);
            assert_eq!(inbound.message_id, MessageId::new("om_1"), "{field}");
            assert_eq!(inbound.raw, envelope.to_string());
        }
    }
}

/// An edited message keeps the time at which it was written.
#[test]
fn an_edit_changes_no_time() {
    let envelope = with("/event/message/update_time", json!("1774009999999"));
    assert_eq!(message(&envelope).written_at, Some(Timestamp::from_millis(1_774_004_591_400)));
}

/// `mentioned_type` decides nothing: who is mentioned, is by id (F-093), and undecided while we do not know ours (G8).
#[test]
fn a_mentioned_bot_is_known_by_its_ids() {
    for kind in [json!("bot"), json!("user"), json!(null), json!(7)] {
        let mentions = json!([{"key": "@_user_1", "id": {"open_id": "ou_x", "user_id": ""}, "name": "x",
            "mentioned_type": kind}]);
        let inbound = message(&with("/event/message/mentions", mentions));
        assert_eq!(inbound.mentions, vec![Mention::One(users(&["ou_x"]))]);
    }
}

/// Ids are keys of the store: nobody makes them a megabyte long.
#[test]
fn absurd_ids_are_no_ids() {
    let long = json!("x".repeat(ID_BYTES + 1));
    for path in ["/event/message/message_id", "/event/message/chat_id"] {
        assert_eq!(unreadable(with(path, long.clone()).to_string()).0, EventId::new("60d5"));
    }
    let inbound = message(&with("/header/event_id", long.clone()));
    assert_eq!(inbound.event_id, EventId::new("message:om_1"));
    let inbound = message(&with("/event/message/thread_id", long.clone()));
    assert_eq!(inbound.conversation, ConversationId::new("oc_1"));
    let inbound = message(&with("/event/sender/sender_id", json!({"open_id": long, "union_id": "on"})));
    assert_eq!(inbound.sender.ids, users(&["on"]));
    let fits = json!("x".repeat(ID_BYTES));
    assert_eq!(message(&with("/event/message/chat_id", fits)).chat.id.as_str().len(), ID_BYTES);
}

/// Protocol §4.3.
#[test]
fn events_that_are_no_messages_need_only_their_acknowledgement() {
    for kind in ["im.message.recalled_v1", "card.action.trigger", "of.next.year_v7"] {
        let payload = with("/header/event_type", json!(kind)).to_string();
        assert_eq!(read(payload.into()), Received::Notice { kind: kind.to_owned() });
    }
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..256)) {
        drop(read(noise.into()));
    }

    /// A real envelope, with one byte changed and cut short, is always something.
    #[test]
    fn damaged_envelopes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut payload = envelope().to_string().into_bytes();
        let at = at.index(payload.len());
        payload[at] = byte;
        payload.truncate(cut.index(payload.len() + 1).max(payload.len() / 2));
        drop(read(payload.into()));
    }
}
