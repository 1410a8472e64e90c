//! What ends a life, what does not, and what may be missing afterwards.

use super::*;

/// Protocol §4.4, openclaw-weixin#155: at once, whichever field has it, and the cursor stays what it was.
#[test]
fn minus_fourteen_ends_the_life_at_once() {
    for body in [
        json!({"errcode": -14, "errmsg": "session timeout"}),
        json!({"ret": -14}),
        json!({"ret": 0, "errcode": -14}),
        json!({"ret": -1, "errcode": -14}),
        json!({"ret": "-14"}),
        json!({"ret": -14, "msgs": null, "get_updates_buf": "other"}),
    ] {
        for mut rig in [Rig::polling(), Rig::ready()] {
            let ended = rig.reply("getupdates", body.clone());
            assert_eq!(ended.len(), 1, "{ended:?}");
            assert!(ended[0].ends_with("(session_expired, code -14)"), "{ended:?}");
        }
    }
}

/// Protocol §4.3, F-006, F-090: each with its class; a gap where the platform may think it was heard.
#[test]
fn everything_else_ends_it_with_its_class() {
    let lost = |kind| Err(fake::lost(kind));
    let json = |body: Value| Ok(fake::json(&body));
    for (result, says, gap) in [
        (json(json!({"ret": 1, "errmsg": "busy"})), "poll: refused: busy (transient, code 1)", false),
        (json(json!({"errcode": -3})), "poll: refused: no reason given (transient, code -3)", false),
        (json(json!({"ret": -2, "errmsg": "rate limited"})), "(throttled, code -2)", false),
        (json(json!({"errcode": -12})), "(throttled, code -12)", false),
        (
            json(json!({"ret": 1, "errmsg": fake::TOKEN})),
            "poll: refused: [secret] (transient, code 1)",
            false,
        ),
        (json(json!({"ret": 1.5})), "a code that is no number", true),
        (json(json!({"ret": {}})), "a code that is no number", true),
        (json(json!({"ret": 0, "errcode": "?", "msgs": []})), "a code that is no number", true),
        (json(json!([])), "no JSON object, status 200 OK", true),
        (Ok(fake::answer(200, "<html>")), "no JSON object", true),
        (Ok(fake::answer(200, "")), "no JSON object", true),
        (Ok(fake::answer(200, "{\"ret\":0,")), "no JSON object", true),
        (Ok(fake::answer(404, "{}")), "poll: answered with status 404 Not Found (transient)", false),
        (Ok(fake::answer(429, "{}")), "(throttled)", false),
        (Ok(fake::answer(500, "{\"ret\":0}")), "status 500", true),
        (Ok(fake::answer(502, "")), "status 502", true),
        (Ok(fake::answer(302, "")), "status 302", true),
        (lost(NetworkErrorKind::Resolve), "name not resolved", false),
        (lost(NetworkErrorKind::Connect), "no connection", false),
        (lost(NetworkErrorKind::Tls), "no TLS session", false),
        (lost(NetworkErrorKind::ConnectTimeout), "no connection in time", false),
        (lost(NetworkErrorKind::Reset), "connection lost", true),
        (lost(NetworkErrorKind::TooLarge), "too large", true),
        (lost(NetworkErrorKind::Protocol), "not HTTP", true),
    ] {
        let mut rig = Rig::ready();
        let mut ended = rig.result("getupdates", result);
        let failed = ended.pop().unwrap();
        assert!(failed.starts_with("failed: poll: ") && failed.contains(says), "{failed} instead of {says}");
        assert_eq!(ended, if gap { vec!["gap"] } else { vec![] }, "{failed}");
    }
}

/// Protocol §4.2, F-037: one code, byte, half of a character or line break that cannot be read cost the whole answer, and
/// what the platform had handed out in it.
#[test]
fn what_cannot_be_read_costs_no_more_than_itself_f037() {
    let answer = |head: &str, said: &[u8]| {
        let message = |id: u64, said: &[u8]| {
            let before = format!(r#"{{"message_id":{id},"from_user_id":"{}","item_list":["#, fake::USER);
            let before = before + r#"{"type":1,"text_item":{"text":""#;
            [before.as_bytes(), said, br#""}}]}"#].concat()
        };
        let (head, messages) = (format!("{{{head}\"msgs\":["), [message(1, said), message(2, b"well")]);
        let parts = [head.as_bytes(), &messages.join(&b','), br#"],"get_updates_buf":"c1"}"#];
        fake::answer(200, parts.concat())
    };
    let plain = &b"hello"[..];
    for (head, said, heard) in [
        (r#""errcode":"","#, plain, "hello"),
        (r#""ret":0.0,"#, plain, "hello"),
        (r#""ret":{},"errcode":"ok","#, plain, "hello"),
        (r#""errmsg":"\udfff","#, plain, "hello"),
        (r#""\ud800":1,"#, plain, "hello"),
        (r#""longpolling_timeout_ms":"","sync_buf":[],"#, plain, "hello"),
        ("", b"h\xffllo", "h\u{fffd}llo"),
        ("", br"\ud83d no", "\u{fffd} no"),
        ("", b"two\nlines", "two\nlines"),
    ] {
        let mut rig = Rig::ready();
        let effects = rig.result("getupdates", Ok(answer(head, said)));
        assert_eq!(effects, ["alive", "deliver 0 of 2 to c1"], "{head} {heard}");
        let texts = rig.delivered.iter().map(|delivery| match delivery {
            Delivery::Message(inbound) => inbound.text.as_deref(),
            Delivery::Unreadable { why, .. } => panic!("{why}"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), [Some(heard), Some("well")], "{head}");
    }
}

/// Protocol §4.1, F-019, F-040: an empty poll, and perhaps an answer that nobody read. No sign of life.
#[test]
fn a_poll_without_an_answer_is_repeated_at_once_and_is_no_evidence() {
    let mut rig = Rig::ready();
    for _ in 0..5 {
        rig.pass(43 * SECOND);
        assert_eq!(
            rig.result("getupdates", Err(fake::lost(NetworkErrorKind::Timeout))),
            ["gap", "getupdates"]
        );
        assert_eq!(rig.body("getupdates")["get_updates_buf"], "c0");
        assert_eq!(rig.patience(), 91);
    }
}

/// F-019: a platform that has never said a word has no liveness that could end.
#[test]
fn a_platform_that_never_answers_is_given_up() {
    let mut rig = Rig::new();
    rig.step(Event::Start);
    rig.pass(10 * SECOND);
    rig.result("notifystart", Err(fake::lost(NetworkErrorKind::Timeout)));
    rig.pass(43 * SECOND);
    assert_eq!(rig.result("getupdates", Err(fake::lost(NetworkErrorKind::Timeout))), ["gap", "getupdates"]);
    rig.pass(43 * SECOND);
    let ended = rig.result("getupdates", Err(fake::lost(NetworkErrorKind::Timeout)));
    assert_eq!(
        ended,
        ["gap", "failed: poll: no answer in time, and none before it (2 in a row) (transient)"]
    );
}

/// Every new life was taken for ready, because the greeting was answered and the poll was held, for a minute and a half:
/// for ever, with no poll ever answered.
#[test]
fn a_poll_that_is_held_for_ever_opens_one_life_and_no_other_f019() {
    let timeout = || Err(fake::lost(NetworkErrorKind::Timeout));
    let bot = Arc::new(fake::bot());
    let greeted = || Rig::greeted(&bot);
    let mut rig = greeted();
    assert_eq!(rig.wake(), ["open b0f5860fdecb@im.bot", "alive"], "a normal one, as far as anybody knows");
    rig.pass(41 * SECOND);
    let ended = rig.result("getupdates", timeout());
    assert_eq!(
        ended,
        ["gap", "failed: poll: no answer in time, and none before it (1 in a row) (transient)"]
    );
    for _ in 0..3 {
        let mut rig = greeted();
        assert_eq!(rig.wake_in(), None, "that it is held says nothing now");
        rig.pass(43 * SECOND);
        assert_eq!(rig.result("getupdates", timeout()), ["gap", "getupdates"]);
        assert_eq!(rig.wake_in(), None);
    }
    // One poll is answered, and all is as it was.
    let mut rig = greeted();
    rig.pass(35 * SECOND);
    assert_eq!(rig.reply("getupdates", idle("c0")), ["open b0f5860fdecb@im.bot", "alive", "getupdates"]);
    assert_eq!(greeted().wake(), ["open b0f5860fdecb@im.bot", "alive"]);
    // A healthy life that goes deaf leaves the same behind.
    rig.pass(43 * SECOND);
    assert_eq!(rig.result("getupdates", timeout()), ["gap", "getupdates"]);
    assert_eq!(greeted().wake_in(), None);
}

/// What is held, and then cut off or answered by something in between, is held in vain; what the platform refuses is not.
#[test]
fn a_poll_that_is_held_and_then_cut_off_is_no_evidence_the_next_time_f019() {
    for (result, trusted) in [
        (Err(fake::lost(NetworkErrorKind::Reset)), false),
        (Ok(fake::answer(504, "")), false),
        (Ok(fake::answer(200, "<html>")), false),
        (Ok(fake::json(&json!({"errcode": -14}))), true),
    ] {
        let bot = Arc::new(fake::bot());
        let mut rig = Rig::greeted(&bot);
        rig.wake();
        rig.result("getupdates", result);
        assert_eq!(Rig::greeted(&bot).wake_in().is_some(), trusted);
    }
    // After an answer it is a lost connection like any other.
    let bot = Arc::new(fake::bot());
    let mut rig = Rig::greeted(&bot);
    rig.reply("getupdates", idle("c0"));
    rig.wake();
    rig.result("getupdates", Err(fake::lost(NetworkErrorKind::Reset)));
    assert_eq!(Rig::greeted(&bot).wake_in(), Some(2_000));
}

/// F-020: the platform is asked at once, and the poll has two seconds to show that it lives.
#[test]
fn a_probe_asks_the_platform_and_replaces_the_poll() {
    let mut rig = Rig::ready();
    assert_eq!(rig.step(Event::Probe), ["notifystart"]);
    assert_eq!(rig.call("notifystart").deadline.as_secs(), 8);
    assert_eq!(rig.step(Event::Probe), [""; 0], "one is enough");
    rig.pass(100);
    assert_eq!(rig.reply("notifystart", json!({"ret": 0})), ["alive"]);
    assert_eq!(rig.wake_in(), Some(2_000));
    assert_eq!(rig.wake(), ["cancel getupdates", "gap", "getupdates"]);
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c0");
    assert_eq!(rig.wake_in(), None);
}

#[test]
fn a_poll_that_answers_after_a_probe_is_not_replaced() {
    let mut rig = Rig::ready();
    rig.step(Event::Probe);
    rig.reply("notifystart", json!({}));
    rig.pass(1_500);
    assert_eq!(rig.reply("getupdates", idle("c0")), ["alive", "getupdates"]);
    assert_eq!(rig.wake_in(), None);
    // And one that answered before the greeting did is another one by then.
    rig.step(Event::Probe);
    rig.pass(1_500);
    rig.reply("getupdates", idle("c0"));
    rig.reply("notifystart", json!({}));
    assert_eq!(rig.wake_in(), Some(2_000));
}

#[test]
fn a_probe_that_fails_ends_the_life() {
    for (result, says) in [
        (Err(fake::lost(NetworkErrorKind::Connect)), "no connection"),
        (Err(fake::lost(NetworkErrorKind::Timeout)), "no answer in time"),
        (Ok(fake::json(&json!({"ret": -14}))), "(session_expired, code -14)"),
    ] {
        let mut rig = Rig::ready();
        rig.step(Event::Probe);
        let ended = rig.result("notifystart", result);
        assert_eq!(ended.len(), 2);
        assert!(ended[0] == "gap" && ended[1].contains(says), "{ended:?}");
    }
}

/// Protocol §3: best effort, and only in an orderly end.
#[test]
fn stop_ends_a_life_in_every_phase() {
    let mut rig = Rig::new();
    rig.step(Event::Start);
    assert_eq!(rig.step(Event::Stop), ["cancel notifystart", "notifystop"]);
    assert_eq!(rig.call("notifystop").deadline.as_secs(), 2);
    assert_eq!(rig.result("notifystop", Err(fake::lost(NetworkErrorKind::Timeout))), ["stopped"]);

    let mut rig = Rig::ready();
    rig.step(Event::Probe);
    assert_eq!(rig.step(Event::Stop), ["cancel getupdates", "cancel notifystart", "notifystop"]);
    assert_eq!(rig.step(Event::Stop), [""; 0]);
    assert_eq!(rig.reply("notifystop", json!({"ret": -14})), ["stopped"]);

    let mut rig = Rig::ready();
    assert_eq!(rig.reply("getupdates", idle("c0")), ["alive"]);
    assert_eq!(rig.step(Event::Stop), ["notifystop"], "between two polls");
}

/// A late answer to a call that was given up is nobody's.
#[test]
fn answers_to_calls_that_are_over_are_ignored() {
    let mut rig = Rig::ready();
    assert_eq!(
        rig.step(Event::Response { id: RequestId(0), result: Ok(fake::json(&json!({"ret": -14}))) }),
        [""; 0]
    );
    assert_eq!(rig.step(Event::Response { id: RequestId(99), result: Ok(fake::answer(500, "")) }), [""; 0]);
    assert_eq!(rig.verdict(0, true), [""; 0]);
    assert_eq!(FailureClass::ALL.len(), 10);
}
