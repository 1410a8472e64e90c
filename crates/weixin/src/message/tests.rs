//! Messages of the protocol page, and of no page at all.

use moorline_core::AttachmentKind;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fake::{BOT, CONTEXT, USER};

fn read_all(msgs: &Value) -> Vec<Delivery> {
    let raw = RawValue::from_string(msgs.to_string()).unwrap();
    read(BOT, &raw)
}

fn inbound_of(message: Value) -> Inbound {
    match read_all(&json!([message])).pop() {
        Some(Delivery::Message(inbound)) => *inbound,
        other => panic!("{other:?}"),
    }
}

/// The message of the protocol page, with other items.
fn message(items: Value) -> Value {
    json!({
        "seq": 129, "message_id": 7_448_678_501_208_393_000_u64, "from_user_id": USER, "to_user_id": BOT,
        "client_id": "c", "create_time_ms": 1_761_134_400_123_i64, "update_time_ms": 1, "delete_time_ms": 0,
        "session_id": "s", "group_id": "", "message_type": 1, "message_state": 2, "item_list": items,
        "context_token": CONTEXT,
    })
}

fn said(text: &str) -> Value {
    json!([{ "type": 1, "text_item": { "text": text } }])
}

/// Protocol §4.1.
#[test]
fn a_text_message() {
    let inbound = inbound_of(message(said("hello")));
    assert_eq!(inbound.event_id.as_str(), "7448678501208393000");
    assert_eq!(inbound.message_id.as_str(), "7448678501208393000");
    assert_eq!(inbound.dedupe, [DedupeKey::new(format!("{BOT}/message:7448678501208393000"))]);
    assert_eq!(inbound.conversation.as_str(), USER);
    assert_eq!(inbound.chat, Chat { id: ChatId::new(USER), kind: ChatKind::Direct });
    assert_eq!(inbound.sender, Sender { ids: vec![UserId::new(USER)], kind: SenderKind::User });
    assert_eq!(inbound.text.as_deref(), Some("hello"));
    assert_eq!(inbound.route, Route { chat: ChatId::new(USER), reply_to: None, in_thread: false });
    assert_eq!(inbound.written_at, Some(Timestamp::from_millis(1_761_134_400_123)));
    assert_eq!(inbound.reply_token, Some(Secret::new(CONTEXT)));
}

/// F-090: what is kept of a message is the message without its credential, number for number.
#[test]
fn the_bytes_that_are_kept_have_no_context_token() {
    let raw = format!(
        r#"[{{"message_id": 18446744073709551615, "from_user_id": "u", "x": 1.10, "context_token":"{CONTEXT}" }}]"#
    );
    let raw = RawValue::from_string(raw).unwrap();
    let read = read(BOT, &raw);
    let [Delivery::Message(inbound)] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!(inbound.message_id.as_str(), "18446744073709551615");
    assert_eq!(inbound.raw, r#"{"from_user_id":"u","message_id":18446744073709551615,"x":1.10}"#);
    let shown = format!("{inbound:?}");
    assert!(!shown.contains(CONTEXT), "{shown}");
    let bad = read_all(&json!([{ "context_token": CONTEXT }]));
    assert!(!format!("{bad:?}").contains(CONTEXT), "{bad:?}");
}

/// Protocol §1.4, §4.2: numbers and text are one id, and there is always something to know a message by.
#[test]
fn a_message_is_known_by_the_best_it_has() {
    let key = |change: fn(&mut Value)| {
        let mut message = message(json!([{ "type": 1, "msg_id": 5 }, { "type": 1, "msg_id": "9" }]));
        change(&mut message);
        inbound_of(message).dedupe.remove(0).as_str().to_owned()
    };
    assert_eq!(key(|_| {}), format!("{BOT}/message:7448678501208393000"));
    assert_eq!(
        key(|m| m["message_id"] = json!("7448678501208393000")),
        format!("{BOT}/message:7448678501208393000")
    );
    for nothing in [json!(null), json!(""), json!(1.5), json!("x".repeat(257)), json!([])] {
        let mut message = message(json!([{ "type": 1 }, { "type": 1, "msg_id": 5 }]));
        message["message_id"] = nothing;
        assert_eq!(inbound_of(message).dedupe, [DedupeKey::new(format!("{BOT}/item:5"))]);
    }
    let hashed = |change: fn(&mut Value)| {
        let mut message = message(said("hello"));
        message["message_id"] = json!(null);
        change(&mut message);
        let inbound = inbound_of(message);
        assert!(inbound.message_id.as_str().starts_with("sha256:"));
        inbound.dedupe
    };
    let first = hashed(|_| {});
    assert_eq!(first, hashed(|m| m["context_token"] = json!("another with each delivery")));
    for other in [
        hashed(|m| m["create_time_ms"] = json!(5)),
        hashed(|m| m["seq"] = json!(5)),
        hashed(|m| m["from_user_id"] = json!("other")),
        hashed(|m| m["item_list"] = said("other")),
    ] {
        assert_ne!(first, other);
    }
}

/// The next bot of the same account may count from the beginning (protocol §1.4).
#[test]
fn ids_are_the_bots_own() {
    let raw = RawValue::from_string(json!([message(said("x"))]).to_string()).unwrap();
    let key = |bot| match read(bot, &raw).remove(0) {
        Delivery::Message(inbound) => inbound.dedupe,
        other @ Delivery::Unreadable { .. } => panic!("{other:?}"),
    };
    assert_ne!(key("a@im.bot"), key("b@im.bot"));
}

/// Protocol §4.2, F-037: kept as it came, and the others go on.
#[test]
fn a_message_that_cannot_be_read_takes_no_other_with_it() {
    let good = message(said("good"));
    let deliveries =
        read_all(&json!([good, 7, null, "x", {}, { "message_id": 5 }, { "from_user_id": "" }, [good], good]));
    let kinds: Vec<_> = deliveries.iter().map(|delivery| matches!(delivery, Delivery::Message(_))).collect();
    assert_eq!(kinds, [true, false, false, false, false, false, false, false, true]);
    let Delivery::Unreadable { event_id, dedupe, raw, .. } = &deliveries[5] else { panic!() };
    assert_eq!((event_id.as_str(), &raw[..]), ("5", &br#"{"message_id":5}"#[..]));
    assert_eq!(dedupe, &[DedupeKey::new(format!("{BOT}/message:5"))]);
    let deep = format!("[{}1{}]", "[".repeat(200), "]".repeat(200));
    let nested = RawValue::from_string(format!("[{{\"item_list\":{deep}}}]")).unwrap();
    assert!(matches!(read(BOT, &nested).as_slice(), [Delivery::Unreadable { .. }]));
    for msgs in [json!({}), json!("x"), json!(7)] {
        assert!(matches!(read_all(&msgs).as_slice(), [Delivery::Unreadable { .. }]), "{msgs}");
    }
    assert!(read_all(&json!([])).is_empty());
}

/// Protocol §4.2.
#[test]
fn seq_orders_an_answer_where_all_have_one() {
    let order = |seqs: &[Value]| {
        let msgs =
            seqs.iter().enumerate().map(|(n, seq)| json!({"message_id": n, "from_user_id": "u", "seq": seq}));
        let read = read_all(&msgs.collect());
        let id = |delivery: &Delivery| match delivery {
            Delivery::Message(inbound) => inbound.message_id.as_str().to_owned(),
            Delivery::Unreadable { .. } => panic!(),
        };
        read.iter().map(id).collect::<String>()
    };
    assert_eq!(order(&[json!(3), json!(1), json!("2")]), "120");
    assert_eq!(order(&[json!(3), json!(null), json!(1)]), "012");
    assert_eq!(order(&[json!(1), json!(1), json!(0)]), "201");
}

/// Protocol §4.2: journaled like any other message, and a program's.
#[test]
fn what_the_bot_wrote_itself_is_a_bots_message_in_the_users_chat() {
    let mut own = message(said("from me"));
    (own["message_type"], own["from_user_id"], own["to_user_id"]) = (json!(2), json!(BOT), json!(USER));
    let inbound = inbound_of(own);
    assert_eq!((inbound.sender.kind, inbound.chat.id.as_str()), (SenderKind::Bot, USER));
    for (kind, sender) in [
        (json!(1), SenderKind::User),
        (json!("1"), SenderKind::User),
        (json!(1.0), SenderKind::User),
        (json!(null), SenderKind::User),
        (json!(3), SenderKind::Bot),
        (json!({}), SenderKind::Bot),
    ] {
        let mut message = message(said("x"));
        message["message_type"] = kind;
        assert_eq!(inbound_of(message).sender.kind, sender);
    }
}

#[test]
fn a_group_is_a_conversation_of_its_own() {
    let mut message = message(said("x"));
    message["group_id"] = json!("g@chatroom");
    let inbound = inbound_of(message);
    assert_eq!(inbound.chat, Chat { id: ChatId::new("g@chatroom"), kind: ChatKind::Group });
    assert_eq!((inbound.conversation.as_str(), inbound.route.chat.as_str()), ("g@chatroom", "g@chatroom"));
    assert_eq!(inbound.sender.ids, [UserId::new(USER)]);
}

/// Protocol §5.5.
#[test]
fn every_item_gives_what_it_has_to_read() {
    let item = |text: &str| json!({ "type": 1, "text_item": { "text": text } });
    for (items, text) in [
        (json!([item("one"), item("two")]), Some("one\ntwo")),
        (json!([{ "type": 3, "voice_item": { "text": "spoken" } }]), Some("spoken")),
        (json!([{ "type": 3, "voice_item": {} }]), None),
        (json!([{ "type": 2, "image_item": {} }, item("caption")]), Some("caption")),
        (json!([{ "type": 11, "tool_call_start_item": { "tool_name": "x" } }]), None),
        (json!([{ "type": 99, "text_item": { "text": "no" } }]), None),
        (json!([{ "type": 1, "text_item": { "text": "a", "ref_msg": 5 }, "ref_msg": 5 }]), Some("a")),
        (json!([{ "type": 1, "text_item": { "text": " \n " } }]), None),
        (json!([]), None),
        (json!("x"), None),
        (json!(null), None),
        (json!([7, null, [], { "type": "1", "text_item": { "text": "text" } }]), Some("text")),
    ] {
        assert_eq!(inbound_of(message(items.clone())).text.as_deref(), text, "{items}");
    }
}

/// Protocol §5.5: `ref_msg`.
#[test]
fn a_quotation_stands_in_front() {
    let quoting = |quoted: Value| {
        let items = json!([{ "type": 1, "text_item": { "text": "yes" }, "ref_msg": quoted }]);
        inbound_of(message(items)).text.unwrap()
    };
    let item = json!({ "type": 1, "text_item": { "text": "shall\nwe?" } });
    assert_eq!(quoting(json!({ "message_item": item })), "> shall we?\nyes");
    assert_eq!(quoting(json!({ "title": "Alice", "message_item": item })), "> shall we?\nyes");
    assert_eq!(quoting(json!({ "title": "a picture" })), "> a picture\nyes");
    assert_eq!(quoting(json!({ "partial_text": "we", "message_item": item })), "> we\nyes");
    assert_eq!(quoting(json!({ "svr_id": 7 })), "yes");
    assert!(quoting(json!({ "title": "x".repeat(5_000) })).chars().count() < 210);
}

#[test]
fn attachments_are_named_even_when_their_bytes_cannot_be_had() {
    let media = json!({ "encrypt_query_param": "p", "aes_key": "k", "full_url": "https://cdn.test/x" });
    let inbound = inbound_of(message(json!([
        { "type": 2, "image_item": { "media": media, "aeskey": "ff" } },
        { "type": 3, "voice_item": { "media": media } },
        { "type": 4, "file_item": { "media": media, "file_name": "../../etc/passwd" } },
        { "type": 5, "video_item": {} },
        { "type": 5 },
        { "type": 4, "file_item": { "media": { "encrypt_query_param": "p".repeat(10_000) } } },
    ])));
    let kinds: Vec<_> = inbound.attachments.iter().map(|attachment| attachment.kind).collect();
    use AttachmentKind::*;
    assert_eq!(kinds, [Image, Audio, File, Video, Video, File]);
    let keys: Vec<Value> =
        inbound.attachments.iter().map(|a| serde_json::from_str(&a.key).unwrap()).collect();
    assert_eq!(
        keys[0],
        json!({ "param": "p", "url": "https://cdn.test/x", "hex_key": "ff", "aes_key": "k" })
    );
    assert_eq!(keys[3..], [json!({}), json!({}), json!({})]);
    assert_eq!(inbound.attachments[2].name.as_deref(), Some("../../etc/passwd"), "for people only");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "seq",
        "message_id",
        "from_user_id",
        "to_user_id",
        "group_id",
        "message_type",
        "item_list",
        "context_token",
        "create_time_ms",
        "type",
        "text_item",
        "text",
        "voice_item",
        "image_item",
        "media",
        "aes_key",
        "aeskey",
        "ref_msg",
        "message_item",
        "svr_id",
        "msg_id",
        "file_item",
        "file_name",
        "encrypt_query_param",
        "full_url",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    /// As many deliveries as there were messages, whatever they are.
    #[test]
    fn nothing_is_dropped_and_nothing_panics(msgs in prop::collection::vec(any_json(), 0..6)) {
        let read = read_all(&Value::from(msgs.clone()));
        prop_assert_eq!(read.len(), msgs.len());
        for delivery in read {
            if let Delivery::Message(inbound) = delivery {
                prop_assert!(!inbound.dedupe.is_empty() && !inbound.chat.id.as_str().is_empty());
            }
        }
    }
}
