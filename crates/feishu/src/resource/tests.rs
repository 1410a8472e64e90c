//! Attachments against canned answers.

use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use moorline_core::FailureClass;
use serde_json::json;

use super::*;
use crate::fake::{self, FakeHttp};

const BASE: &str = "https://open.feishu.cn/open-apis/im/v1/messages";

fn fetch(
    kind: AttachmentKind,
    limit: usize,
    answer: Result<HttpResponse, NetworkError>,
) -> (Rc<FakeHttp>, Result<Bytes, Failure>) {
    let http = FakeHttp::new([answer]);
    let resources = MessageResources { app: fake::app("https://open.feishu.cn") };
    let attachment =
        Attachment { kind, key: "k/../1".to_owned(), name: Some("../../etc/canary\0".to_owned()) };
    let token = Some(Secret::new(fake::TOKEN));
    let message = MessageId::new("om_1");
    let outcome = fake::now(resources.fetch(Rc::clone(&http) as _, token, &message, &attachment, limit));
    (http, outcome)
}

/// A file as the platform sends it.
fn file(body: &'static [u8]) -> HttpResponse {
    fake::with_header(fake::answer(200, body), "content-disposition", "attachment; filename=\"x\"")
}

/// Protocol §3.4. F-094: the name is nowhere in the call, and no key leaves its place in the path.
#[test]
fn the_bytes_of_an_attachment() {
    for (kind, wanted) in [
        (AttachmentKind::Image, "image"),
        (AttachmentKind::Audio, "file"),
        (AttachmentKind::Video, "file"),
        (AttachmentKind::File, "file"),
    ] {
        let (http, bytes) = fetch(kind, 1 << 20, Ok(file(b"\x89PNG")));
        assert_eq!(bytes.unwrap().as_ref(), b"\x89PNG");
        assert_eq!(http.calls(), [format!("GET {BASE}/om_1/resources/k%2F..%2F1?type={wanted}")]);
        assert_eq!(http.header(0, "authorization").unwrap(), format!("Bearer {}", fake::TOKEN));
        let request = http.request(0);
        assert_eq!((request.body_limit, request.deadline), (1 << 20, Duration::from_secs(120)));
    }
}

/// What the platform sends as a file is one, whatever is in it; without that, refusals and pages are told apart.
#[test]
fn a_file_may_look_like_an_answer() {
    let typed = |response, kind| fake::with_header(response, "content-type", kind);
    for (answer, is_file) in [
        (file(br#"{"code":234003,"msg":"mine"}"#), true),
        (typed(file(b"<html>"), "text/html"), true),
        (fake::answer(200, "bytes"), true),
        (fake::answer(200, ""), true),
        (fake::answer(200, r#"{"my":"file"}"#), true),
        (fake::answer(200, r#"{"code":234003}"#), false),
        (fake::answer(200, r#"{"code":0}"#), false),
        (typed(fake::answer(200, "<html>"), "Text/HTML; charset=utf-8"), false),
    ] {
        let shown = format!("{answer:?}");
        assert_eq!(fetch(AttachmentKind::File, 100, Ok(answer)).1.is_ok(), is_file, "{shown}");
    }
}

/// F-094: cut off at the limit, and a small limit hides no refusal.
#[test]
fn an_attachment_that_is_too_large_is_refused() {
    let (http, outcome) = fetch(AttachmentKind::File, 3, Ok(file(b"four")));
    assert_eq!(http.request(0).body_limit, 16 << 10);
    let too_large = Failure::new(FailureClass::Rejected, "attachment: more than 3 bytes");
    assert_eq!(outcome, Err(too_large.clone()));
    let outcome = fetch(AttachmentKind::File, 3, Err(fake::lost(NetworkErrorKind::TooLarge))).1;
    assert_eq!(outcome, Err(too_large));
    assert!(fetch(AttachmentKind::File, 4, Ok(file(b"four"))).1.is_ok());
}

#[test]
fn refusals_are_json_and_have_their_class() {
    use FailureClass::*;
    let refused = |status, code: i64| Ok(fake::json(status, json!({"code": code, "msg": "m"})));
    for (answer, class, code) in [
        (refused(400, 234_003), Rejected, Some("234003")),
        (refused(404, 7), Rejected, Some("7")),
        (refused(400, 230_110), Rejected, Some("230110")),
        (refused(400, 99_991_663), SessionExpired, Some("99991663")),
        (refused(400, 99_991_672), Permission, Some("99991672")),
        (refused(429, 99_991_400), Throttled, Some("99991400")),
        (refused(400, 7), Transient, Some("7")),
        (refused(500, 234_003), Transient, Some("234003")),
        (Ok(fake::answer(302, "")), Transient, None),
        (Ok(fake::answer(502, "<html>")), Transient, None),
        (Err(fake::lost(NetworkErrorKind::Timeout)), Transient, None),
    ] {
        let failure = fetch(AttachmentKind::Image, 3, answer).1.unwrap_err();
        assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{failure}");
    }
}
