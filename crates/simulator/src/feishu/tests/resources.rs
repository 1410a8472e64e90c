//! Uploads and downloads (§3.4).

use super::*;

fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, value) in fields {
        let file_name = file_name.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        body.extend(
            format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n").bytes(),
        );
        body.extend(*value);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    body
}

fn upload(bench: &mut Bench, token: &str, path: &str, body: Vec<u8>) -> Value {
    let request = Request {
        method: "POST".to_owned(),
        path: format!("/open-apis/im/v1/{path}"),
        headers: vec![
            bearer(token),
            ("content-type".to_owned(), "multipart/form-data; boundary=xyz".to_owned()),
        ],
        body: body.into(),
        ..Request::default()
    };
    let link = bench.platform.new_link();
    serde_json::from_slice(&bench.raw(link, request).unwrap().body).unwrap()
}

fn image(bytes: &[u8]) -> Vec<u8> {
    form(&[("image_type", None, b"message"), ("image", Some("a.png"), bytes)])
}

fn file(kind: &[u8], bytes: &[u8]) -> Vec<u8> {
    form(&[("file_type", None, kind), ("file_name", None, b"a"), ("file", Some("a"), bytes)])
}

#[test]
fn uploads_are_checked_and_limited() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let image_limit = 10 << 20;
    let file_limit = 30 << 20;
    let cases = [
        ("images", image(b"png"), 0),
        ("images", image(&vec![0; image_limit]), 0),
        ("images", image(&vec![0; image_limit + 1]), 234_006),
        ("images", image(b""), 234_010),
        ("images", form(&[("image", Some("a"), b"png")]), 234_001),
        ("images", form(&[("image_type", None, b"message")]), 234_001),
        ("images", b"{}".to_vec(), 234_001),
        ("files", file(b"stream", b"x"), 0),
        ("files", file(b"pdf", &vec![0; file_limit]), 0),
        ("files", file(b"pdf", &vec![0; file_limit + 1]), 234_006),
        ("files", file(b"pdf", b""), 234_010),
        ("files", file(b"exe", b"x"), 234_001),
        ("files", form(&[("file_type", None, b"pdf"), ("file", Some("a"), b"x")]), 234_001),
    ];
    for (path, body, code) in cases {
        let length = body.len();
        assert_eq!(upload(&mut bench, &token, path, body)["code"], code, "{path} {length} bytes");
    }
    assert_eq!(bench.counters().uploads, 13);
    bench.fault(Fault::Upload(Answer::Code { status: 400, code: 230_006 }), Times::Count(1));
    assert_eq!(upload(&mut bench, &token, "images", image(b"png"))["code"], 230_006);
    assert_eq!(upload(&mut bench, "t-none", "images", image(b"png"))["code"], 99_991_663);
}

/// What is uploaded can be sent, by whom it belongs to and as what it is.
#[test]
fn messages_carry_only_what_was_uploaded_for_them() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    bench.push("hi");
    let key = |answer: Value, name: &str| answer["data"][name].as_str().unwrap().to_owned();
    let picture = key(upload(&mut bench, &token, "images", image(b"png")), "image_key");
    let opus = key(upload(&mut bench, &token, "files", file(b"opus", b"x")), "file_key");
    let mp4 = key(upload(&mut bench, &token, "files", file(b"mp4", b"x")), "file_key");
    let bytes = "x".into();
    let users =
        bench.platform.add_resource(Resource { kind: ResourceKind::File, name: "s".to_owned(), bytes });
    let cases = [
        ("image", json!({ "image_key": picture }), 0),
        ("image", json!({ "image_key": "img_none" }), 230_001),
        ("image", json!({}), 230_001),
        ("file", json!({ "file_key": mp4 }), 0),
        ("file", json!({ "file_key": users }), 230_001),
        ("audio", json!({ "file_key": opus }), 0),
        ("audio", json!({ "file_key": mp4 }), 230_055),
        ("media", json!({ "file_key": mp4 }), 0),
        ("media", json!({ "file_key": mp4, "image_key": picture }), 0),
        ("media", json!({ "file_key": mp4, "image_key": "img_none" }), 230_001),
        ("media", json!({ "file_key": opus }), 230_055),
        ("sticker", json!({ "file_key": users }), 0),
    ];
    for (kind, content, code) in cases {
        let body = json!({ "receive_id": "oc_1", "msg_type": kind, "content": content.to_string() });
        assert_eq!(bench.call("POST", SEND, Some(&token), &body).1["code"], code, "{kind} {content}");
    }
    let path = format!("/open-apis/im/v1/images/{picture}");
    assert_eq!(bench.request("GET", &path, Some(&token), &Value::Null).unwrap().body, "png");
    let path = format!("/open-apis/im/v1/images/{users}");
    assert_eq!(bench.call("GET", &path, Some(&token), &Value::Null).1["code"], 234_008);
}

#[test]
fn what_a_user_sent_is_downloaded_through_its_message() {
    let mut bench = Bench::new();
    let (token, _) = bench.token();
    let (plain, _) = bench.push("hi");
    let mut resource = |name: &str, kind| {
        let bytes = bytes::Bytes::from_static(b"\x00\xff");
        bench.platform.add_resource(Resource { kind, name: name.to_owned(), bytes })
    };
    let (file, picture) =
        (resource("a b.pdf", ResourceKind::File), resource("bild-ü.png", ResourceKind::Image));
    let push = |bench: &mut Bench, kind: &str, content: Value| {
        let now = bench.now();
        let push = Push::direct("oc_1", "ou_alice", "").with_content(kind, &content);
        bench.platform.push(&bench.app.app_id, &push, now).unwrap().message_id.to_string()
    };
    let with_file = push(&mut bench, "file", json!({ "file_key": file }));
    let with_picture = push(&mut bench, "image", json!({ "image_key": picture }));
    let expected = [
        (&with_file, &file, "file", "attachment; filename=\"a b.pdf\""),
        (&with_picture, &picture, "image", "attachment; filename*=UTF-8''bild-%C3%BC.png"),
    ];
    for (message, key, kind, name) in expected {
        let path = format!("/open-apis/im/v1/messages/{message}/resources/{key}?type={kind}");
        let response = bench.request("GET", &path, Some(&token), &Value::Null).unwrap();
        assert_eq!((response.status, response.body.as_ref()), (200, b"\x00\xff".as_slice()));
        assert!(
            response.headers.contains(&("content-disposition", name.to_owned())),
            "{:?}",
            response.headers
        );
    }
    let plain = plain.message_id.to_string();
    let refused = [
        (&plain, &file, "?type=file", 234_003),
        (&with_picture, &file, "?type=file", 234_003),
        (&with_file, &"file_none".to_owned(), "?type=file", 234_003),
        (&with_file, &file, "?type=image", 234_001),
        (&with_file, &file, "", 234_001),
        (&"om_none".to_owned(), &file, "?type=file", 230_001),
    ];
    for (message, key, kind, code) in refused {
        let path = format!("/open-apis/im/v1/messages/{message}/resources/{key}{kind}");
        let (status, answer) = bench.call("GET", &path, Some(&token), &Value::Null);
        assert_eq!((status, answer["code"].as_i64()), (400, Some(code)), "{path}");
    }
    bench.fault(Fault::Download(Answer::Status(502)), Times::Count(1));
    let path = format!("/open-apis/im/v1/messages/{with_file}/resources/{file}?type=file");
    assert_eq!(bench.call("GET", &path, Some(&token), &Value::Null).0, 502);
    assert_eq!(bench.counters().downloads, 9);
}
