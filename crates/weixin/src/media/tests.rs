use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::AttachmentKind::{self, File, Image};
use proptest::prelude::*;

use super::*;
use crate::fake::{self, FakeHttp};

mod uploads;

/// FIPS 197, appendix B.
const KEY_HEX: &str = "2b7e151628aed2a6abf7158809cf4f3c";

fn key() -> Key {
    Key::from_hex(KEY_HEX.as_bytes()).unwrap()
}

/// Waits for a future that only lets others go first.
fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
}

fn locked(bytes: &[u8]) -> Vec<u8> {
    done(key().lock(bytes))
}

fn fetch(
    kind: AttachmentKind,
    item: &Value,
    limit: usize,
    answer: Option<Result<HttpResponse, NetworkError>>,
) -> (Rc<FakeHttp>, Result<Bytes, Failure>) {
    let http = FakeHttp::new(answer);
    let attachment =
        Attachment { kind, key: MediaRef::of_item(item).key(), name: Some("/etc/passwd".to_owned()) };
    let downloads = Downloads { bot: Some(Arc::new(fake::bot())) };
    let outcome =
        done(downloads.fetch(Rc::clone(&http) as _, None, &MessageId::new("m"), &attachment, limit));
    (http, outcome)
}

/// FIPS 197, appendix B: one block, and a block of nothing but padding behind it.
#[test]
fn the_cipher_is_aes_128_in_ecb_with_padding() {
    let plain: Vec<u8> = (0..16)
        .map(|n| {
            [0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d, 0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07, 0x34]
                [n]
        })
        .collect();
    let locked = locked(&plain);
    assert_eq!(crate::site::hex(&locked[..16]), "3925841d02dc09fbdc118597196a0b32");
    assert_eq!((locked.len(), done(key().open(&locked)).unwrap()), (32, plain));
    for sound in [0, 1, 15, 16, 17, 1_000] {
        let locked = self::locked(&vec![7; sound]);
        assert_eq!(locked.len(), (sound / 16 + 1) * 16, "protocol §7.1");
    }
    for broken in [&[][..], &[0; 15], &[0; 16], &[0; 17], &locked[..16]] {
        assert_eq!(done(key().open(broken)), None);
    }
}

/// Protocol §7.2: hex beside the media, or base64 of either form.
#[test]
fn a_key_comes_in_three_forms() {
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let raw = u128::from_str_radix(KEY_HEX, 16).unwrap().to_be_bytes();
    for item in [
        json!({ "media": { "encrypt_query_param": "p" }, "aeskey": KEY_HEX }),
        json!({ "media": { "encrypt_query_param": "p", "aes_key": base64(&raw) } }),
        json!({ "media": { "encrypt_query_param": "p", "aes_key": base64(KEY_HEX.as_bytes()) } }),
        json!({ "media": { "encrypt_query_param": "p", "aes_key": "nonsense" }, "aeskey": KEY_HEX.to_uppercase() }),
    ] {
        let (http, bytes) = fetch(Image, &item, 100, Some(Ok(fake::answer(200, locked(b"picture")))));
        assert_eq!(bytes.unwrap(), "picture", "{item}");
        assert_eq!(http.calls(), ["GET https://cdn.test/c2c/download?encrypted_query_param=p"]);
        let request = http.request(0);
        assert!(request.headers.is_empty(), "no token goes there");
        assert_eq!((request.deadline.as_secs(), request.body_limit), (120, 116));
    }
    for key in [
        "",
        "x",
        &base64(b"15 bytes, or so"),
        &base64(&[b'g'; 32]),
        &base64(&[b'+'; 32]),
        "+b7e151628aed2a6abf7158809cf4f3c",
    ] {
        let item = json!({ "media": { "encrypt_query_param": "p", "aes_key": key } });
        let (http, outcome) = fetch(File, &item, 100, None);
        assert_eq!((outcome.unwrap_err().class, http.calls().len()), (FailureClass::Rejected, 0), "{key}");
    }
}

/// Protocol §7.2.
#[test]
fn only_a_picture_may_be_without_a_key() {
    let item = json!({ "media": { "encrypt_query_param": "p" } });
    let (_, bytes) = fetch(Image, &item, 100, Some(Ok(fake::answer(200, "plain"))));
    assert_eq!(bytes.unwrap(), "plain");
    let (http, outcome) = fetch(File, &item, 100, None);
    assert_eq!((outcome.unwrap_err().class, http.calls().len()), (FailureClass::Rejected, 0));
}

/// Protocol §7.2: from the configured host, whatever the message says.
#[test]
fn nothing_is_fetched_from_anywhere_else() {
    let media = |url: &str, param: Option<&str>| json!({ "media": { "full_url": url, "encrypt_query_param": param } });
    let answer = || Some(Ok(fake::answer(200, "x")));
    let (http, _) = fetch(Image, &media("https://cdn.test/a?b=c", Some("p")), 9, answer());
    assert_eq!(http.calls(), ["GET https://cdn.test/a?b=c"]);
    for elsewhere in [
        "https://evil.test/x",
        "http://cdn.test/x",
        "https://cdn.test:8443/x",
        "http://169.254.169.254/",
        "x",
    ] {
        let (http, _) = fetch(Image, &media(elsewhere, Some("p&q=1")), 9, answer());
        assert_eq!(http.calls(), ["GET https://cdn.test/c2c/download?encrypted_query_param=p%26q%3D1"]);
        let (http, outcome) = fetch(Image, &media(elsewhere, None), 9, None);
        assert_eq!((outcome.unwrap_err().class, http.calls().len()), (FailureClass::Rejected, 0));
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let item = json!({ "media": { "encrypt_query_param": "p" }, "aeskey": KEY_HEX });
    let fetch =
        |size: usize, limit| fetch(File, &item, limit, Some(Ok(fake::answer(200, locked(&vec![1; size])))));
    assert_eq!(fetch(32, 32).1.unwrap().len(), 32);
    assert_eq!(fetch(33, 32).1.unwrap_err().class, FailureClass::Rejected);
    let too_large = Err(fake::lost(NetworkErrorKind::TooLarge));
    let (_, outcome) = self::fetch(File, &item, 32, Some(too_large));
    assert_eq!(outcome.unwrap_err().message, "attachment: more than 32 bytes");
    let (http, _) = self::fetch(File, &item, usize::MAX, Some(Ok(fake::answer(200, ""))));
    assert_eq!(http.request(0).body_limit, (100 << 20) + 16);
}

#[test]
fn failures_have_their_class() {
    let item = json!({ "media": { "encrypt_query_param": "p" }, "aeskey": KEY_HEX });
    for (answer, class) in [
        (Ok(fake::answer(404, "")), FailureClass::Rejected),
        (Ok(fake::answer(403, "")), FailureClass::Rejected),
        (Ok(fake::answer(429, "")), FailureClass::Throttled),
        (Ok(fake::answer(500, "")), FailureClass::Transient),
        (Ok(fake::answer(302, "")), FailureClass::Transient),
        (Ok(fake::answer(200, "not locked with it")), FailureClass::Rejected),
        (Err(fake::lost(NetworkErrorKind::Timeout)), FailureClass::Transient),
    ] {
        let failure = fetch(File, &item, 100, Some(answer)).1.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(!failure.message.contains(KEY_HEX));
    }
    let nobody = Downloads { bot: None };
    let attachment = Attachment { kind: File, key: "not JSON".to_owned(), name: None };
    let outcome = done(nobody.fetch(FakeHttp::new([]), None, &MessageId::new("m"), &attachment, 1));
    assert_eq!(outcome.unwrap_err().class, FailureClass::NeedsLogin);
    let (_, outcome) = fetch(File, &json!({}), 100, None);
    assert_eq!(outcome.unwrap_err().message, "attachment: the message does not say where its bytes are");
}

proptest! {
    #[test]
    fn what_is_locked_opens_again(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(done(key().open(&locked(&bytes))), Some(bytes));
    }

    #[test]
    fn nothing_that_arrives_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), noise in "\\PC{0,60}") {
        drop(done(key().open(&bytes)));
        let _ = Key::from_hex(&bytes);
        let media = MediaRef::read(&noise);
        drop(media.opener());
        let _ = media.address(&fake::site().cdn);
    }
}
