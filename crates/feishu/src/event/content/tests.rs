//! Every type of message, as it should be and as it should not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mentions() -> Value {
    let mention = |n: u32, name: &str| json!({"key": format!("@_user_{n}"), "name": name});
    json!([mention(1, "@_user_2"), mention(2, "Bo"), mention(10, "Ann"), {"key": "@_user_9"}, 7])
}

fn content(kind: &str, content: &Value) -> Result<Content, String> {
    let mentions = mentions();
    read(kind, &content.to_string(), &Names::new(mentions.as_array().unwrap()))
}

fn said(kind: &str, json: &Value) -> Option<String> {
    let content = content(kind, json).unwrap();
    assert_eq!(content.attachments, []);
    content.text
}

fn file(kind: AttachmentKind, key: &str, name: Option<&str>) -> Attachment {
    Attachment { kind, key: key.to_owned(), name: name.map(str::to_owned) }
}

#[test]
fn placeholders_become_names_in_one_pass() {
    for (text, read) in [
        ("@_user_1 @_user_2 @_user_10", Some("@@_user_2 @Bo @Ann")),
        ("@_user_10hello, a@b.test @ @@_user_2", Some("@Annhello, a@b.test @ @@Bo")),
        ("@_user_3 @_user_9 @_user_ @_all!", Some("@_user_3 @_user_9 @_user_ @all!")),
        ("  é \n", Some("é")),
        (" \n", None),
        ("", None),
    ] {
        assert_eq!(said("text", &json!({"text": text})).as_deref(), read, "{text}");
    }
    assert_eq!(said("text", &json!({})), None);
    assert_eq!(said("text", &json!({"text": ["odd"]})), None);
}

#[test]
fn a_post_is_read_line_by_line() {
    let post = json!({"title": "Plan", "content": [
        [{"tag": "text", "text": "Hi "}, {"tag": "at", "user_id": "@_user_2"},
            {"tag": "at", "user_id": "x", "user_name": "Xi"}, {"tag": "at", "user_id": "@_all"},
            {"tag": "at", "user_id": "@_user_3"}],
        [{"tag": "a", "text": "docs", "href": "https://a.test"}, {"tag": "img", "image_key": "img_1"},
            {"tag": "a", "text": "https://b.test", "href": "https://b.test"},
            {"tag": "a", "text": "", "href": "https://c.test"}, {"tag": "a", "text": "bare"}],
        "odd", [],
        [{"tag": "code_block", "language": "RUST", "text": "fn main() {}\n"}],
        [{"tag": "hr"}],
        [{"tag": "emotion", "emoji_type": "SMILE"}, {"tag": "emotion"}, {"tag": "img"},
            {"tag": "media", "file_key": "file_2", "image_key": "img_2"}],
        [7, null, {"tag": "md", "text": "**end**"}, {"tag": "of_next_year", "text": "!", "x": {}}],
    ]});
    let wanted = Content {
        text: Some(
            "Plan\nHi @Bo@Xi@all@_user_3\ndocs (https://a.test)https://b.testhttps://c.testbare\n\n\
             ```rust\nfn main() {}\n```\n---\n[SMILE]\n**end**!"
                .to_owned(),
        ),
        attachments: vec![
            file(AttachmentKind::Image, "img_1", None),
            file(AttachmentKind::Video, "file_2", None),
        ],
    };
    assert_eq!(content("post", &post).unwrap(), wanted);
    assert_eq!(content("post", &json!({"zh_cn": post, "of_next_year": 7})).unwrap(), wanted);
    for empty in
        [json!({}), json!({"title": 7, "content": {}}), json!({"title": "", "content": [[{"tag": "img"}]]})]
    {
        assert_eq!(content("post", &empty).unwrap(), Content::default());
    }
}

/// F-039: the message stays, with the key of what it carries. F-094: names are kept as text, whatever they look like.
#[test]
fn attachments_by_type() {
    use AttachmentKind::*;
    for (kind, json, attachment) in [
        ("image", json!({"image_key": "img_1"}), file(Image, "img_1", None)),
        ("file", json!({"file_key": "f", "file_name": "../a\\b.pdf"}), file(File, "f", Some("../a\\b.pdf"))),
        ("file", json!({"file_key": "f", "file_name": ""}), file(File, "f", None)),
        ("file", json!({"file_key": "f", "file_name": 7}), file(File, "f", None)),
        ("audio", json!({"file_key": "f", "duration": 2_000}), file(Audio, "f", None)),
        (
            "media",
            json!({"file_key": "f", "image_key": "i", "file_name": "a.mp4", "duration": 1}),
            file(Video, "f", Some("a.mp4")),
        ),
    ] {
        assert_eq!(content(kind, &json), Ok(Content { text: None, attachments: vec![attachment] }), "{kind}");
    }
    for kind in ["image", "file", "audio", "media"] {
        for odd in [
            json!({}),
            json!({"file_key": "", "image_key": ""}),
            json!({"file_key": 7, "image_key": []}),
            json!({"file_key": "x".repeat(257), "image_key": "x".repeat(257)}),
            json!([]),
            json!(null),
        ] {
            assert!(content(kind, &odd).is_err(), "{kind} {odd}");
        }
    }
}

#[test]
fn a_location_is_named() {
    for (json, text) in [
        (json!({"name": "Harbour", "longitude": "9.98", "latitude": "53.54"}), Some("Harbour (53.54, 9.98)")),
        (json!({"name": "Harbour", "longitude": 9.98, "latitude": 53}), Some("Harbour (53, 9.98)")),
        (json!({"longitude": "9.98", "latitude": "53.54"}), Some("(53.54, 9.98)")),
        (json!({"name": "Harbour", "longitude": "9.98"}), Some("Harbour")),
        (json!({"name": []}), None),
    ] {
        assert_eq!(said("location", &json).as_deref(), text);
    }
}

/// As sent in both versions of the notation, and as the platform flattens a card for readers.
#[test]
fn cards_are_read_where_they_are_simple() {
    let plain = |text: &str| json!({"tag": "plain_text", "content": text});
    for (card, text) in [
        (
            json!({"config": {"update_multi": true}, "header": {"template": "blue", "title": plain("Title")},
            "elements": [
                {"tag": "div", "text": {"tag": "lark_md", "content": "**a**"}, "fields": [{"text": plain("b")}]},
                {"tag": "markdown", "content": "c"}, {"tag": "hr"}, {"tag": "img", "img_key": "k", "alt": plain("x")},
                {"tag": "note", "elements": [plain("d")]},
                {"tag": "column_set", "columns": [{"tag": "column", "elements": [plain("e")]}, 7]},
                {"tag": "action", "actions": [{"tag": "button", "text": plain("f"), "value": {"k": "hidden"}}]},
            ]}),
            "Title\n**a**\nb\nc\nd\ne\nf",
        ),
        (
            json!({"schema": "2.0", "header": {"title": plain("T"), "subtitle": plain("S")},
                "body": {"elements": [{"tag": "markdown", "content": "a"}]}}),
            "T\nS\na",
        ),
        (
            json!({"title": "T", "elements": [
                [{"tag": "text", "text": "a "}, {"tag": "a", "text": "b", "href": "https://b.test"}],
                [{"tag": "img", "image_key": "k"}], [{"tag": "button", "text": "ok"}], {"tag": "text", "text": "c"},
            ]}),
            "T\na b (https://b.test)\nok\nc",
        ),
    ] {
        assert_eq!(said("interactive", &card).as_deref(), Some(text));
    }
    for empty in
        [json!({}), json!({"elements": null, "header": 7}), json!({"type": "template", "data": {"x": "y"}})]
    {
        assert_eq!(said("interactive", &empty), None);
    }
}

/// Protocol §4.2: kept without text, whatever is in them, even when it is no JSON.
#[test]
fn types_without_text_are_empty() {
    let kinds = [
        "sticker",
        "share_chat",
        "share_user",
        "merge_forward",
        "system",
        "hongbao",
        "of_next_year",
        "",
        "TEXT",
    ];
    for kind in kinds {
        for content in
            ["Merged and Forwarded Message", "", "{", r#"{"text":"x","file_key":"f","chat_id":"oc_1"}"#]
        {
            assert_eq!(read(kind, content, &Names::new(&[])), Ok(Content::default()), "{kind} {content}");
        }
    }
}

#[test]
fn what_must_be_an_object_is_one() {
    for kind in ["text", "post", "interactive", "location", "image", "file", "audio", "media"] {
        for content in ["", "{", "7", "null", "\"text\"", "[]"] {
            let why = read(kind, content, &Names::new(&[])).unwrap_err();
            assert!(why.starts_with("the content of the message is no JSON"), "{kind} {content} {why}");
        }
        let deep = format!(r#"{{"elements":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert!(read(kind, &deep, &Names::new(&[])).is_err());
    }
}

/// Any JSON, with the keys and tags that are looked for.
fn json_like() -> impl Strategy<Value = Value> {
    let word = "(text|post|at|a|img|media|code_block|emotion|hr|button|div|markdown|@_all|@_user_1|é)";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = "(tag|text|title|content|elements|header|body|columns|actions|fields|user_id|href|language|emoji_type\
               |image_key|file_key|file_name|name|latitude|longitude|zh_cn)";
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever the shape: no panic, and never an empty text or key.
    #[test]
    fn any_json_is_read_or_refused(
        kind in "(text|post|interactive|location|image|file|audio|media|sticker|x)", json in json_like(),
    ) {
        if let Ok(content) = content(&kind, &json) {
            prop_assert!(content.text.is_none_or(|text| !text.trim().is_empty()));
            prop_assert!(content.attachments.iter().all(|attachment| !attachment.key.is_empty()));
        }
    }

    #[test]
    fn noise_is_never_a_panic(kind in "(text|post|interactive|location|file)", noise in ".{0,64}") {
        drop(read(&kind, &noise, &Names::new(&[])));
    }

    #[test]
    fn any_text_is_named_without_panic(text in "(@_user_|@|1|0|é|_all| ){0,20}") {
        prop_assert_eq!(said("text", &json!({"text": text})).is_none(), text.trim().is_empty());
    }
}
