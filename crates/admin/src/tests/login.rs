//! Logging an account in: what is handed on, and that nobody remembers what is answered.

use std::sync::Arc;

use moorline_runtime::CommandError;

use super::fake::{Fake, QR, main};
use super::{ask, delete, get, post, with_body};

const PATH: &str = "/v1/accounts/feishu:main/login";

#[test]
fn a_login_is_begun_looked_at_and_given_up() {
    let fake = Arc::new(Fake::default());
    let begun = ask(&fake, post(PATH));
    assert_eq!((begun.status.as_u16(), begun.body["qr"].as_str()), (200, Some(QR)));
    assert_eq!(begun.body["state"], "starting");
    assert_eq!(begun.headers.get("cache-control").unwrap(), "no-store");
    assert_eq!(ask(&fake, get(PATH)).body["state"], "none");
    assert_eq!(ask(&fake, with_body(PATH, r#"{"verify_code":"12"}"#)).status.as_u16(), 200);
    assert_eq!(ask(&fake, delete(PATH)).status.as_u16(), 200);
    let done = ["login feishu:main false", "login feishu:main true", "give up feishu:main"];
    assert_eq!(*fake.done.lock(), done);
}

/// The answers to requests with a key are stored, and a QR code is a credential.
#[test]
fn an_answer_with_a_qr_code_is_never_stored_f090() {
    let fake = Arc::new(Fake::default());
    let keyed = || post(PATH).insert_header(("idempotency-key", "k1"));
    for _ in 0..2 {
        let answer = ask(&fake, keyed());
        assert_eq!(answer.body["qr"], QR);
        assert!(!answer.headers.contains_key("idempotent-replayed"));
    }
    assert!(fake.answers.lock().is_empty());
}

#[test]
fn what_cannot_be_a_number_is_refused() {
    let long = format!(r#"{{"verify_code":"{}"}}"#, "1".repeat(65));
    let table = [
        (r#"{"verify_code":" "}"#, "empty_field"),
        (r#"{"verify_code":12}"#, "invalid_field"),
        (r#"{"code":"12"}"#, "invalid_field"),
        (&long, "invalid_field"),
    ];
    for (body, code) in table {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, with_body(PATH, body));
        assert_eq!((answer.status.as_u16(), answer.code()), (422, code), "{body}");
        assert!(fake.done.lock().is_empty());
    }
}

#[test]
fn who_needs_no_login_and_who_waits_for_no_number_is_told_so() {
    let table = [
        (CommandError::NoLogins(main()), "login_not_needed"),
        (CommandError::NoCodeWanted(main()), "wrong_state"),
        (CommandError::UnknownAccount(main()), "unknown_account"),
    ];
    for (error, code) in table {
        let answer = ask(&Arc::new(Fake::refusing(error)), post(PATH));
        assert_eq!(answer.code(), code);
        let status = if code == "unknown_account" { 404 } else { 409 };
        assert_eq!(answer.status.as_u16(), status);
    }
}
