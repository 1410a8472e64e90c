//! Logins as scripts: events in, effects out.

use moorline_channel::NetworkErrorKind;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::bot::Bot;
use crate::fake;

/// A login, its clock, and its calls.
struct Rig {
    login: QrLogin,
    now: Monotonic,
    call: Option<(RequestId, HttpRequest)>,
    outcome: Option<Result<LoggedIn, Failure>>,
}

impl Rig {
    fn with(site: Site, held: &[SavedLogin]) -> Self {
        let now = Monotonic::from_origin(Duration::from_secs(1_000));
        Self { login: QrLogin::new(Arc::new(site), held, 7), now, call: None, outcome: None }
    }

    /// A code is shown, and the first poll under way.
    fn showing() -> Self {
        let mut rig = Self::with(fake::site(), &[]);
        assert_eq!(rig.step(LoginEvent::Start), ["get_bot_qrcode"]);
        assert_eq!(rig.reply(code("q1")), ["scan 1", "get_qrcode_status"]);
        rig
    }

    fn step(&mut self, event: LoginEvent) -> Vec<String> {
        let effects = self.login.step(event, self.now);
        effects.into_iter().map(|effect| self.note(effect)).collect()
    }

    fn note(&mut self, effect: LoginEffect) -> String {
        match effect {
            LoginEffect::Request { id, request } => {
                let name = request.url.path_segments().unwrap().next_back().unwrap().to_owned();
                self.call = Some((id, request));
                name
            }
            LoginEffect::Show(LoginStep::Scan { number, .. }) => format!("scan {number}"),
            LoginEffect::Show(LoginStep::Scanned) => "scanned".to_owned(),
            LoginEffect::Show(LoginStep::Code { wrong }) => format!("code, wrong {wrong}"),
            LoginEffect::Finish(outcome) => {
                let ended = match &outcome {
                    Ok(_) => "logged in".to_owned(),
                    Err(failure) => format!("failed: {failure}"),
                };
                self.outcome = Some(outcome);
                ended
            }
        }
    }

    fn result(&mut self, result: Result<HttpResponse, NetworkError>) -> Vec<String> {
        let (id, _) = self.call.take().expect("a call under way");
        self.step(LoginEvent::Response { id, result })
    }

    fn reply(&mut self, body: Value) -> Vec<String> {
        self.result(Ok(fake::json(&body)))
    }

    fn status(&mut self, status: &str) -> Vec<String> {
        self.reply(json!({ "ret": 0, "status": status }))
    }

    /// Passes until the machine wants to be woken, and wakes it.
    fn wake(&mut self) -> Vec<String> {
        self.now = self.login.wake_at().expect("a wake-up");
        self.step(LoginEvent::Wake)
    }

    fn url(&self) -> &str {
        self.call.as_ref().unwrap().1.url.as_str()
    }
}

fn code(qrcode: &str) -> Value {
    json!({ "ret": 0, "qrcode": qrcode, "qrcode_img_content": "https://liteapp.test/q/canary-code" })
}

fn confirmed(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({
        "ret": 0, "status": "confirmed", "bot_token": fake::TOKEN, "ilink_bot_id": fake::BOT,
        "ilink_user_id": fake::USER, "baseurl": "https://other.test/x",
    });
    change(&mut body);
    body
}

/// Protocol §2.1, §2.2.
#[test]
fn a_login() {
    let mut site = fake::site();
    site.route_tag = Some(http::HeaderValue::from_static("tag"));
    let mut rig = Rig::with(site.clone(), &[fake::saved(), SavedLogin(Secret::new("no login"))]);
    rig.step(LoginEvent::Start);
    let ask = rig.call.clone().unwrap().1;
    assert_eq!(ask.url.as_str(), "https://ilink.test/ilink/bot/get_bot_qrcode?bot_type=3");
    assert_eq!(
        serde_json::from_slice::<Value>(&ask.body).unwrap(),
        json!({"local_token_list": [fake::TOKEN]})
    );
    assert_eq!(fake::header(&ask, "authorization"), None, "no bearer token");
    assert!(
        ["ilink-app-id", "x-wechat-uin", "authorizationtype", "skroutetag"]
            .iter()
            .all(|name| ask.headers.contains_key(*name))
    );

    let (id, _) = rig.call.take().unwrap();
    let effects =
        rig.login.step(LoginEvent::Response { id, result: Ok(fake::json(&code("a b&c"))) }, rig.now);
    let [LoginEffect::Show(scan), _] = effects.as_slice() else { panic!("{effects:?}") };
    let code = Secret::new("https://liteapp.test/q/canary-code");
    assert_eq!(*scan, LoginStep::Scan { code, lasts: Duration::from_secs(300), number: 1 });
    assert!(!format!("{effects:?}").contains("canary"));
    effects.into_iter().for_each(|effect| drop(rig.note(effect)));
    let poll = rig.call.clone().unwrap().1;
    assert_eq!(poll.url.as_str(), "https://ilink.test/ilink/bot/get_qrcode_status?qrcode=a+b%26c");
    assert_eq!((poll.method, poll.deadline.as_secs()), (Method::GET, 43));
    let names: Vec<_> = poll.headers.keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["ilink-app-id", "ilink-app-clientversion", "skroutetag"]);

    assert_eq!(rig.status("wait"), [""; 0]);
    assert_eq!(rig.wake(), ["get_qrcode_status"]);
    assert_eq!(rig.status("scaned"), ["scanned"]);
    rig.wake();
    assert_eq!(rig.status("scaned"), [""; 0], "told once");
    rig.wake();
    assert_eq!(rig.reply(confirmed(|_| {})), ["logged in"]);
    let LoggedIn { login, person } = rig.outcome.unwrap().unwrap();
    assert_eq!(person, Some(UserId::new(fake::USER)));
    let bot = Bot::read(&site, &login.unwrap()).unwrap();
    assert_eq!(
        (bot.id.as_str(), bot.token.expose(), bot.base.as_str()),
        (fake::BOT, fake::TOKEN, "https://other.test/x")
    );
}

/// F-095: and what is no base changes nothing.
#[test]
fn the_base_of_a_login_is_the_platforms_if_it_is_one() {
    for baseurl in [json!(null), json!(""), json!("other.test"), json!("http://other.test"), json!(7)] {
        let mut rig = Rig::showing();
        rig.reply(confirmed(|body| body["baseurl"] = baseurl.clone()));
        let login = rig.outcome.unwrap().unwrap().login.unwrap();
        assert_eq!(
            Bot::read(&fake::site(), &login).unwrap().base.as_str(),
            "https://ilink.test/",
            "{baseurl}"
        );
    }
}

#[test]
fn a_login_that_lacks_something_is_none() {
    for (key, value) in [
        ("ilink_bot_id", json!("")),
        ("ilink_bot_id", json!(null)),
        ("bot_token", json!(null)),
        ("bot_token", json!("line\nbreak")),
        ("bot_token", json!(" ")),
    ] {
        let mut rig = Rig::showing();
        rig.reply(confirmed(|body| body[key] = value));
        let failure = rig.outcome.unwrap().unwrap_err();
        assert!(failure.class == FailureClass::Protocol && failure.message.contains(key), "{failure}");
    }
    let mut rig = Rig::showing();
    rig.reply(confirmed(|body| body["ilink_user_id"] = json!(null)));
    assert_eq!(rig.outcome.unwrap().unwrap().person, None);
}

/// Protocol §2.2: a number that is wrong is asked for again, and one is sent until the platform has judged it.
#[test]
fn a_number_is_asked_for_and_sent_at_once() {
    let mut rig = Rig::showing();
    assert_eq!(rig.status("need_verifycode"), ["code, wrong false"]);
    assert_eq!(rig.step(LoginEvent::Typed(Secret::new("1 2"))), ["get_qrcode_status"]);
    assert!(rig.url().ends_with("?qrcode=q1&verify_code=1+2"));
    assert_eq!(rig.result(Err(fake::lost(NetworkErrorKind::Timeout))), [""; 0]);
    rig.wake();
    assert!(rig.url().ends_with("&verify_code=1+2"), "nobody has judged it yet");
    assert_eq!(rig.status("need_verifycode"), ["code, wrong true"]);
    assert_eq!(rig.step(LoginEvent::Typed(Secret::new("34"))), ["get_qrcode_status"]);
    assert_eq!(rig.status("wait"), [""; 0]);
    rig.wake();
    assert!(rig.url().ends_with("?qrcode=q1"), "it was right");
    assert_eq!(rig.status("need_verifycode"), ["code, wrong false"]);
    rig.step(LoginEvent::Typed(Secret::new("56")));
    assert_eq!(rig.status("verify_code_blocked"), ["get_bot_qrcode"]);
    assert_eq!(rig.reply(code("q2")), ["scan 2", "get_qrcode_status"]);
    assert!(rig.url().ends_with("?qrcode=q2"));
}

/// Protocol §2.2.
#[test]
fn three_codes_are_enough() {
    let mut rig = Rig::showing();
    for number in 2..4 {
        assert_eq!(rig.status("expired"), ["get_bot_qrcode"]);
        assert_eq!(rig.reply(code("q")), [format!("scan {number}"), "get_qrcode_status".to_owned()]);
    }
    let ended = rig.status("expired");
    assert_eq!(ended, ["failed: login: 3 codes expired without being confirmed; begin again (needs_login)"]);
}

#[test]
fn a_code_is_stale_after_five_minutes_and_the_login_over_after_eight() {
    let mut rig = Rig::showing();
    let began = rig.now;
    let mut codes = 1;
    while rig.outcome.is_none() {
        rig.now = rig.now + Duration::from_secs(35);
        if rig.call.is_some() {
            rig.status("wait");
            continue;
        }
        if rig.wake() == ["get_bot_qrcode"] {
            codes += 1;
            assert_eq!(rig.now.since(began).as_secs() / 60, 5);
            rig.reply(code("q"));
        }
    }
    assert_eq!((codes, rig.now.since(began).as_secs() / 60), (2, 8));
    assert!(rig.outcome.unwrap().unwrap_err().message.contains("8 minutes"));

    // Nobody types: the same limits.
    let mut rig = Rig::showing();
    rig.status("need_verifycode");
    assert_eq!(rig.wake(), ["get_bot_qrcode"]);
    rig.reply(code("q"));
    rig.status("need_verifycode");
    assert_eq!(rig.wake(), ["failed: login: not confirmed within 8 minutes; begin again (needs_login)"]);
}

/// Protocol §2.2: no news. And what is no answer of the platform's ends it.
#[test]
fn timeouts_and_busy_servers_are_no_news() {
    let mut rig = Rig::showing();
    for no_news in [
        Err(fake::lost(NetworkErrorKind::Timeout)),
        Err(fake::lost(NetworkErrorKind::Connect)),
        Ok(fake::answer(500, "")),
        Ok(fake::answer(502, "<html>")),
        Ok(fake::answer(429, "")),
        Ok(fake::answer(200, "<html>")),
        Ok(fake::json(&json!({"errcode": -12}))),
        Ok(fake::json(&json!({"status": "what is this"}))),
        Ok(fake::json(&json!({}))),
    ] {
        assert_eq!(rig.result(no_news), [""; 0]);
        assert_eq!((rig.login.wake_at().unwrap() - rig.now).as_secs(), 1);
        assert_eq!(rig.wake(), ["get_qrcode_status"]);
    }
    for refusal in [fake::answer(404, ""), fake::json(&json!({"ret": 5, "errmsg": "no such code"}))] {
        let mut rig = Rig::showing();
        assert!(rig.result(Ok(refusal))[0].starts_with("failed: login: "));
    }
}

#[test]
fn a_login_that_gets_no_code_is_over() {
    for result in [
        Err(fake::lost(NetworkErrorKind::Connect)),
        Ok(fake::answer(500, "")),
        Ok(fake::json(&json!({"ret": 9, "errmsg": fake::TOKEN}))),
        Ok(fake::json(&json!({"qrcode": "q"}))),
        Ok(fake::json(&json!({"qrcode_img_content": "x"}))),
    ] {
        let mut rig = Rig::with(fake::site(), &[fake::saved()]);
        rig.step(LoginEvent::Start);
        let ended = rig.result(result);
        assert!(ended.len() == 1 && ended[0].starts_with("failed: login: "), "{ended:?}");
        assert!(!ended[0].contains(fake::TOKEN), "{ended:?}");
    }
}

/// Protocol §2.2.
#[test]
fn a_redirection_moves_the_polls_and_nothing_else() {
    let mut rig = Rig::showing();
    rig.reply(json!({"status": "scaned_but_redirect", "redirect_host": "b.test:8443"}));
    rig.wake();
    assert_eq!(rig.url(), "https://b.test:8443/ilink/bot/get_qrcode_status?qrcode=q1");
    for host in [json!(null), json!("c.test/x"), json!("u@c.test")] {
        rig.reply(json!({"status": "scaned_but_redirect", "redirect_host": host}));
        rig.wake();
        assert!(rig.url().starts_with("https://b.test:8443/"), "{host}");
    }
    rig.status("expired");
    assert!(rig.url().starts_with("https://ilink.test/"));
    let mut site = fake::site();
    site.base = Base::parse("http://127.0.0.1:9/x").unwrap();
    let mut rig = Rig::with(site, &[]);
    rig.step(LoginEvent::Start);
    rig.reply(code("q"));
    rig.reply(json!({"status": "scaned_but_redirect", "redirect_host": "127.0.0.1:8"}));
    rig.wake();
    assert!(rig.url().starts_with("http://127.0.0.1:8/ilink/bot/"));
}

#[test]
fn a_bot_that_is_bound_already_keeps_its_login() {
    let mut rig = Rig::showing();
    assert_eq!(rig.status("binded_redirect"), ["logged in"]);
    assert_eq!(rig.outcome.unwrap().unwrap(), LoggedIn { login: None, person: None });
}

/// Protocol §2.1.
#[test]
fn no_more_than_ten_tokens_are_shown_the_newest_first() {
    let base = Base::parse("https://a.test").unwrap();
    let held: Vec<_> = (0..12).map(|n| save(&format!("t{n}"), &base, "b", None)).collect();
    let mut rig = Rig::with(fake::site(), &held);
    rig.step(LoginEvent::Start);
    let body: Value = serde_json::from_slice(&rig.call.unwrap().1.body).unwrap();
    let tokens = body["local_token_list"].as_array().unwrap();
    assert_eq!((tokens.len(), &tokens[0], &tokens[9]), (10, &json!("t0"), &json!("t9")));
}

proptest! {
    /// Whatever the platform answers and the person types: no panic, and an end within eight minutes.
    #[test]
    fn any_login_ends(script in prop::collection::vec((0u8..14, 0u64..60, "\\PC{0,20}"), 0..80)) {
        let mut rig = Rig::with(fake::site(), &[]);
        rig.step(LoginEvent::Start);
        let statuses = ["wait", "scaned", "need_verifycode", "verify_code_blocked", "expired",
            "scaned_but_redirect", "confirmed"];
        for (what, seconds, noise) in script {
            if rig.outcome.is_some() {
                return Ok(());
            }
            rig.now = rig.now + Duration::from_secs(seconds);
            match (what, rig.call.is_some()) {
                (0, _) => drop(rig.step(LoginEvent::Wake)),
                (1, _) => drop(rig.step(LoginEvent::Typed(Secret::new(noise)))),
                (2, true) => drop(rig.reply(code(&noise))),
                (3, true) => drop(rig.result(Ok(fake::answer(200, noise)))),
                (4, true) => drop(rig.result(Err(fake::lost(NetworkErrorKind::Reset)))),
                (n, true) => {
                    let status = statuses[usize::from(n) % statuses.len()];
                    drop(rig.reply(json!({"status": status, "redirect_host": noise, "bot_token": noise})));
                }
                _ => {}
            }
        }
        if rig.outcome.is_none() {
            rig.now = rig.now + Duration::from_secs(480);
            prop_assert!(rig.login.wake_at().is_some_and(|at| at <= rig.now));
            rig.step(LoginEvent::Wake);
            prop_assert!(rig.outcome.is_some());
        }
    }
}
