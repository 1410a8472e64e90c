//! Files of ours on their way to a user (protocol §7.1).

use moorline_core::{AccountId, AccountSettings, ChannelName, ChatId, IdempotencyKey, Value as Setting};

use super::*;

fn uploader() -> MediaUploader {
    let text = |text: &str| Setting::Text(text.to_owned());
    let settings = AccountSettings {
        id: AccountId::new(&ChannelName::new("weixin"), "main").unwrap(),
        values: [("base_url", text("https://ilink.test")), ("cdn_base_url", text("https://cdn.test/c2c"))]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
    };
    MediaUploader::new(&settings, &fake::saved()).unwrap()
}

fn file(kind: MediaKind, bytes: &'static [u8]) -> Upload {
    let mut nonce = [0; 32];
    nonce[..16].copy_from_slice(&u128::from_str_radix(KEY_HEX, 16).unwrap().to_be_bytes());
    Upload {
        kind,
        bytes: Bytes::from_static(bytes),
        name: "a.txt".to_owned(),
        to: ChatId::new(fake::USER),
        nonce: Nonce(nonce),
    }
}

fn place() -> Result<HttpResponse, NetworkError> {
    Ok(fake::json(&json!({ "ret": 0, "upload_param": "u&p" })))
}

fn stored(status: u16) -> Result<HttpResponse, NetworkError> {
    Ok(fake::with_header(fake::answer(status, ""), "x-encrypted-param", "download-param"))
}

fn upload(
    kind: MediaKind,
    answers: Vec<Result<HttpResponse, NetworkError>>,
) -> (Rc<FakeHttp>, Result<Uploaded, Failure>) {
    let http = FakeHttp::new(answers);
    let outcome = done(uploader().upload(&*http, &file(kind, b"hello")));
    (http, outcome)
}

/// Protocol §7.1, §5.5: each call, each field, and the item that comes of it.
#[test]
fn a_file_is_locked_stored_and_sent() {
    let (http, uploaded) = upload(MediaKind::File, vec![place(), stored(200)]);
    let uploaded = uploaded.unwrap();
    let filekey = "0".repeat(32);
    assert_eq!(
        http.calls(),
        [
            "POST https://ilink.test/ilink/bot/getuploadurl".to_owned(),
            format!("POST https://cdn.test/c2c/upload?encrypted_query_param=u%26p&filekey={filekey}"),
        ]
    );
    let mut body = http.body(0);
    body.as_object_mut().unwrap().remove("base_info");
    assert_eq!(
        body,
        json!({
            "filekey": filekey, "media_type": 3, "to_user_id": fake::USER, "rawsize": 5,
            "rawfilemd5": "5d41402abc4b2a76b9719d911017c592", "filesize": 16, "no_need_thumb": true, "aeskey": KEY_HEX,
        })
    );
    let request = http.request(1);
    assert_eq!(request.body, locked(b"hello"));
    assert_eq!(fake::header(&request, "content-type"), Some("application/octet-stream"));
    assert!(!request.headers.contains_key("authorization"));

    let sent = FakeHttp::new([Ok(fake::json(&json!({ "message_id": 5 })))]);
    let (to, key, token) = (ChatId::new(fake::USER), IdempotencyKey::new("k"), Secret::new(fake::CONTEXT));
    let receipt = done(uploader().send(Rc::clone(&sent) as _, &to, &uploaded, &key, Some(&token))).unwrap();
    assert_eq!(receipt.message_id.as_str(), "5");
    let aes_key = STANDARD.encode(KEY_HEX);
    assert_eq!(aes_key.len(), 44);
    let media = json!({ "encrypt_query_param": "download-param", "aes_key": aes_key, "encrypt_type": 1 });
    assert_eq!(
        sent.body(0)["msg"]["item_list"],
        json!([{ "type": 4, "file_item": { "media": media, "file_name": "a.txt", "len": "5" } }])
    );

    // And what was sent is what a receiver can open.
    let item = json!({ "media": sent.body(0)["msg"]["item_list"][0]["file_item"]["media"] });
    let (_, bytes) = fetch(File, &item, 100, Some(Ok(fake::answer(200, request.body))));
    assert_eq!(bytes.unwrap(), "hello");
}

#[test]
fn pictures_and_films_have_items_of_their_own() {
    for (kind, media_type, item) in [
        (MediaKind::Image, 1, json!({ "type": 2, "part": "image_item", "size": "mid_size" })),
        (MediaKind::Video, 2, json!({ "type": 5, "part": "video_item", "size": "video_size" })),
    ] {
        let (http, uploaded) = upload(kind, vec![place(), stored(200)]);
        assert_eq!(http.body(0)["media_type"], media_type);
        let sent = FakeHttp::new([Ok(fake::json(&json!({})))]);
        let (to, key) = (ChatId::new(fake::USER), IdempotencyKey::new("k"));
        done(uploader().send(Rc::clone(&sent) as _, &to, &uploaded.unwrap(), &key, None)).unwrap();
        let made = &sent.body(0)["msg"]["item_list"][0];
        assert_eq!(made["type"], item["type"]);
        assert_eq!(made[item["part"].as_str().unwrap()][item["size"].as_str().unwrap()], 16);
    }
}

#[test]
fn the_storage_is_asked_three_times_unless_it_says_a_final_no() {
    let busy = || Ok(fake::answer(503, ""));
    let silent = || Ok(fake::answer(200, ""));
    let (http, uploaded) = upload(MediaKind::File, vec![place(), busy(), silent(), stored(200)]);
    assert!(uploaded.is_ok() && http.calls().len() == 4);
    let lost = || Err(fake::lost(NetworkErrorKind::Reset));
    let (http, uploaded) = upload(MediaKind::File, vec![place(), lost(), lost(), lost()]);
    assert_eq!((uploaded.unwrap_err().class, http.calls().len()), (FailureClass::Transient, 4));
    let no = fake::with_header(fake::answer(400, ""), "x-error-message", "bad\tfile");
    let (http, uploaded) = upload(MediaKind::File, vec![place(), Ok(no)]);
    let failure = uploaded.unwrap_err();
    assert_eq!((failure.class, http.calls().len()), (FailureClass::Rejected, 2));
    assert!(failure.message.ends_with("status 400 Bad Request: bad file"), "{failure}");
}

#[test]
fn a_place_may_be_a_whole_address_on_the_same_host() {
    let place = |url: &str, param: Option<&str>| {
        Ok(fake::json(&json!({ "upload_full_url": url, "upload_param": param })))
    };
    let (http, _) = upload(MediaKind::File, vec![place("https://cdn.test/up?x=1", None), stored(200)]);
    assert_eq!(http.calls()[1], "POST https://cdn.test/up?x=1");
    let (http, _) = upload(MediaKind::File, vec![place("https://evil.test/up", Some("p")), stored(200)]);
    assert!(http.calls()[1].starts_with("POST https://cdn.test/c2c/upload?encrypted_query_param=p&"));
    let (_, uploaded) = upload(MediaKind::File, vec![place("https://evil.test/up", None)]);
    assert_eq!(uploaded.unwrap_err().class, FailureClass::Protocol);
}

/// F-090.
#[test]
fn a_refusal_quotes_no_key() {
    let refused = fake::json(&json!({ "ret": 4, "errmsg": format!("{KEY_HEX} {}", fake::TOKEN) }));
    let (_, uploaded) = upload(MediaKind::File, vec![Ok(refused)]);
    assert_eq!(uploaded.unwrap_err().message, "upload: refused: [secret] [secret]");
    assert!(!format!("{:?} {:?}", file(MediaKind::File, b""), uploader()).contains("canary"));
    assert_eq!(format!("{:?}", Nonce([7; 32])), "[secret]");
}
