//! Files of users and of bots.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::cipher;
use super::*;

const CDN: &str = "https://cdn.weixin.test/c2c";

async fn fetch(client: &Client, param: &str) -> (u16, Bytes) {
    let mut url = Url::parse(&format!("{CDN}/download")).unwrap();
    url.query_pairs_mut().append_pair("encrypted_query_param", param);
    client.raw(HttpRequest::new(Method::GET, url)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_user_sends_can_be_fetched_with_its_key() {
    let client = Client::new();
    let content = b"pixels".to_vec();
    for form in [KeyForm::Hex, KeyForm::Raw, KeyForm::Item, KeyForm::None] {
        let media = Media::new(content.clone()).with_key(form);
        client.simulator.push(client.id(), NewMessage::new(ALICE, Item::Image(media))).unwrap();
        let answer = client.poll("").await.unwrap();
        let image = &answer["msgs"][0]["item_list"][0]["image_item"];
        let (status, bytes) = fetch(&client, image["media"]["encrypt_query_param"].as_str().unwrap()).await;
        assert_eq!((status, bytes.len()), (200, image["mid_size"].as_u64().unwrap() as usize));
        let told = image["media"]["aes_key"].as_str().map(|key| STANDARD.decode(key).unwrap());
        let key = match form {
            KeyForm::Hex => cipher::unhex(&String::from_utf8(told.unwrap()).unwrap()),
            KeyForm::Raw => Some(told.unwrap().try_into().unwrap()),
            KeyForm::Item => cipher::unhex(image["aeskey"].as_str().unwrap()),
            KeyForm::None => None,
        };
        let plain = key.map_or_else(|| bytes.to_vec(), |key| cipher::decrypt(&key, &bytes).unwrap());
        assert_eq!(plain, content, "{form:?}");
    }
    assert_eq!(fetch(&client, "unknown").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn other_items_have_their_own_fields() {
    let client = Client::new();
    client.simulator.set_rules(|rules| rules.cdn_url = Some(CDN.to_owned()));
    let media = || Media::new(b"content".to_vec());
    let items = vec![
        Item::Voice { transcript: Some("hello".to_owned()), media: media() },
        Item::File { name: "a.txt".to_owned(), media: media() },
        Item::Video(media()),
    ];
    let message = NewMessage { items, ..NewMessage::text(ALICE, "") };
    let id = client.simulator.push(client.id(), message).unwrap().message_id;
    let answer = client.poll("").await.unwrap();
    let items = &answer["msgs"][0]["item_list"];
    assert_eq!((&items[0]["type"], &items[0]["voice_item"]["text"]), (&json!(3), &json!("hello")));
    assert_eq!(
        (&items[1]["file_item"]["file_name"], &items[1]["file_item"]["len"]),
        (&json!("a.txt"), &json!("7"))
    );
    assert_eq!((&items[2]["type"], &items[2]["video_item"]["video_size"]), (&json!(5), &json!(16)));
    assert!(items[2]["video_item"]["media"]["full_url"].as_str().unwrap().starts_with(CDN));
    assert_eq!(client.simulator.ledger().message(id).unwrap().text, "hello");
}

fn announcement(plain: &[u8], key: &str) -> Value {
    json!({
        "filekey": "0123456789abcdef0123456789abcdef", "media_type": 3, "to_user_id": ALICE,
        "rawsize": plain.len(), "rawfilemd5": "d41d8cd98f00b204e9800998ecf8427e",
        "filesize": (plain.len() / 16 + 1) * 16, "no_need_thumb": true, "aeskey": key,
    })
}

fn put(param: &str, secret: Vec<u8>) -> HttpRequest {
    let mut url = Url::parse(&format!("{CDN}/upload")).unwrap();
    url.query_pairs_mut()
        .append_pair("encrypted_query_param", param)
        .append_pair("filekey", "0123456789abcdef0123456789abcdef");
    let mut request = HttpRequest::new(Method::POST, url);
    request.headers.insert("content-type", "application/octet-stream".parse().unwrap());
    request.body = secret.into();
    request
}

/// §7.1, from the announcement to what the user sees.
#[tokio::test(start_paused = true)]
async fn a_file_of_a_bot_reaches_the_user() {
    let client = Client::new();
    let (plain, key) = (b"a file of some length".to_vec(), "000102030405060708090a0b0c0d0e0f");
    let token = client.push("a").context_token;
    let param = client.call("getuploadurl", announcement(&plain, key)).await.unwrap()["upload_param"].clone();
    let secret = cipher::encrypt(&cipher::unhex(key).unwrap(), &plain);
    let request = put(param.as_str().unwrap(), secret.clone());
    // A proxy answers first, and a good upload without an answer is done again.
    for fault in [
        Fault::Answer(Endpoint::Upload, Answer::Status(503)),
        Fault::LoseAnswer(Endpoint::Upload, Answer::Empty),
    ] {
        client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
        let response = client.network.http.call(request.clone()).await.unwrap();
        assert!(!response.headers.contains_key("x-encrypted-param"));
    }
    let response = client.network.http.call(request).await.unwrap();
    let stored = response.headers["x-encrypted-param"].to_str().unwrap().to_owned();
    let send = async |aes_key: String, len: &str| {
        let media = json!({ "encrypt_query_param": stored, "aes_key": aes_key, "encrypt_type": 1 });
        let mut body = message("", &token, "c");
        body["msg"]["item_list"] =
            json!([{ "type": 4, "file_item": { "media": media, "file_name": "a.txt", "len": len } }]);
        client.call("sendmessage", body).await.unwrap()
    };
    let len = plain.len().to_string();
    assert_eq!(send(STANDARD.encode(key), &len).await["ret"], 0);
    assert_eq!(send(STANDARD.encode(cipher::unhex(key).unwrap()), &len).await["ret"], 0);
    assert_eq!(client.breaches(), []);
    send(STANDARD.encode(key), "1").await;
    assert_eq!(client.breaches(), [Breach::Upload]);
    let ledger = client.simulator.ledger();
    let seen: Vec<_> =
        ledger.visible().map(|visible| (visible.text.as_str(), visible.media.clone())).collect();
    let file = ("a.txt", Some(plain));
    assert_eq!(seen, [file.clone(), ("a.txt", None), file], "a key in the wrong form opens nothing");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_upload_is_refused() {
    let client = Client::new();
    let (plain, key) = (b"content".to_vec(), "000102030405060708090a0b0c0d0e0f");
    for patch in [
        json!({ "filekey": "short" }),
        json!({ "aeskey": null }),
        json!({ "rawfilemd5": "?" }),
        json!({ "filesize": 7 }),
        json!({ "media_type": 5 }),
        json!({ "to_user_id": "" }),
    ] {
        let mut body = announcement(&plain, key);
        super::super::push::merge(&mut body, &patch);
        assert_eq!(client.call("getuploadurl", body).await.unwrap()["ret"], -1, "{patch}");
    }
    let param = client.call("getuploadurl", announcement(&plain, key)).await.unwrap()["upload_param"].clone();
    let param = param.as_str().unwrap();
    let good = cipher::encrypt(&cipher::unhex(key).unwrap(), &plain);
    let mut wrong_type = put(param, good.clone());
    wrong_type.headers.remove("content-type");
    for request in
        [put("unknown", good.clone()), put(param, vec![0; 16]), put(param, vec![0; 32]), wrong_type]
    {
        let response = client.network.http.call(request).await.unwrap();
        assert_eq!(response.status.as_u16(), 400);
        assert!(response.headers.contains_key("x-error-message"));
    }
    assert_eq!(client.network.http.call(put(param, good)).await.unwrap().status.as_u16(), 200);
}
