//! Lives of a connection as scripts: events in, effects out.

use std::collections::BTreeSet;

use moorline_channel::{AckId, Delivery, HttpRequest, HttpResponse, NetworkError, NetworkErrorKind, Output};
use moorline_core::FailureClass;
use proptest::prelude::*;

use super::*;
use crate::fake;

mod faults;
mod storing;

const SECOND: u64 = 1_000;

/// A machine, its clock in milliseconds, and its outputs in short words.
struct Rig {
    machine: Receiver,
    now: Monotonic,
    /// The calls under way, by their last segment.
    calls: Vec<(RequestId, HttpRequest)>,
    delivered: Vec<Delivery>,
}

impl Rig {
    fn of(bot: Option<Bot>, cursor: Option<&str>) -> Self {
        Self::as_bot(bot.map(Arc::new), cursor)
    }

    fn as_bot(bot: Option<Arc<Bot>>, cursor: Option<&str>) -> Self {
        let start = Start { cursor: cursor.map(str::to_owned), seed: 7 };
        Self {
            machine: Receiver::new(bot, start),
            now: Monotonic::from_origin(Duration::from_secs(1_000)),
            calls: Vec::new(),
            delivered: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::of(Some(fake::bot()), Some("c0"))
    }

    /// Greeted well, the first poll open.
    fn polling() -> Self {
        Self::greeted(&Arc::new(fake::bot()))
    }

    /// The same in another life of this bot.
    fn greeted(bot: &Arc<Bot>) -> Self {
        let mut rig = Self::as_bot(Some(Arc::clone(bot)), Some("c0"));
        assert_eq!(rig.step(Event::Start), ["notifystart"]);
        assert_eq!(rig.reply("notifystart", json!({"ret": 0})), ["getupdates"]);
        rig
    }

    /// Ready: the first poll was answered, with an empty answer that took this long.
    fn ready() -> Self {
        let mut rig = Self::polling();
        rig.pass(10 * SECOND);
        assert_eq!(rig.reply("getupdates", idle("c0")), ["open b0f5860fdecb@im.bot", "alive", "getupdates"]);
        rig
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let effects = self.machine.step(event, self.now);
        effects.into_iter().map(|effect| self.note(effect)).collect()
    }

    /// What an effect is, in short; calls are kept.
    fn note(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Request { id, request } => {
                let name = name(&request);
                self.calls.push((id, request));
                let polls = self.calls.iter().filter(|(_, call)| self::name(call) == "getupdates").count();
                assert!(polls <= 1, "two polls at once");
                name
            }
            Effect::Cancel(id) => {
                let at = self.calls.iter().position(|(call, _)| *call == id).expect("a call under way");
                format!("cancel {}", name(&self.calls.remove(at).1))
            }
            Effect::Emit(Output::Open { connection }) => format!("open {connection}"),
            Effect::Emit(Output::Alive) => "alive".to_owned(),
            Effect::Emit(Output::Deliver { ack, deliveries, cursor }) => {
                let told = format!(
                    "deliver {} of {} to {}",
                    ack.0,
                    deliveries.len(),
                    cursor.unwrap_or("-".to_owned())
                );
                self.delivered = deliveries;
                told
            }
            Effect::Emit(Output::Gap { .. }) => "gap".to_owned(),
            Effect::Emit(Output::Suspect(why)) => format!("suspect {}", why.is_some()),
            Effect::Finish(None) => "stopped".to_owned(),
            Effect::Finish(Some(failure)) => format!("failed: {failure}"),
            other => panic!("{other:?}"),
        }
    }

    fn result(&mut self, call: &str, result: Result<HttpResponse, NetworkError>) -> Vec<String> {
        let at = self.calls.iter().position(|(_, request)| name(request) == call).expect("a call under way");
        let id = self.calls.remove(at).0;
        self.step(Event::Response { id, result })
    }

    fn reply(&mut self, call: &str, body: Value) -> Vec<String> {
        self.result(call, Ok(fake::json(&body)))
    }

    fn verdict(&mut self, ack: u64, stored: bool) -> Vec<String> {
        self.step(Event::Verdict { ack: AckId(ack), stored })
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// Passes until the machine wants to be woken, and wakes it.
    fn wake(&mut self) -> Vec<String> {
        self.now = self.machine.wake_at().expect("a wake-up");
        self.step(Event::Wake)
    }

    /// Milliseconds until the next wake-up.
    fn wake_in(&self) -> Option<u128> {
        self.machine.wake_at().map(|at| (at - self.now).as_millis())
    }

    fn call(&self, name: &str) -> &HttpRequest {
        &self.calls.iter().find(|(_, request)| self::name(request) == name).unwrap().1
    }

    fn body(&self, name: &str) -> Value {
        serde_json::from_slice(&self.call(name).body).unwrap()
    }

    fn patience(&self) -> u64 {
        self.machine.patience().as_secs()
    }
}

fn name(request: &HttpRequest) -> String {
    request.url.path_segments().unwrap().next_back().unwrap().to_owned()
}

/// A healthy answer without messages.
fn idle(cursor: &str) -> Value {
    json!({ "ret": 0, "msgs": [], "get_updates_buf": cursor, "longpolling_timeout_ms": 35_000 })
}

fn text(id: u64, seq: u64) -> Value {
    json!({
        "seq": seq, "message_id": id, "from_user_id": fake::USER, "to_user_id": fake::BOT, "message_type": 1,
        "context_token": fake::CONTEXT, "item_list": [{ "type": 1, "text_item": { "text": format!("text {id}") } }],
    })
}

fn news(cursor: &str, ids: &[u64]) -> Value {
    let msgs: Vec<_> = ids.iter().map(|&id| text(id, id)).collect();
    json!({ "ret": 0, "msgs": msgs, "get_updates_buf": cursor })
}

/// Protocol §3, §4.1, §4.2, call by call.
#[test]
fn a_normal_life() {
    let mut rig = Rig::new();
    assert_eq!(rig.step(Event::Start), ["notifystart"]);
    let hello = rig.call("notifystart").clone();
    assert_eq!(hello.url.as_str(), "https://ilink.test/ilink/bot/msg/notifystart");
    assert_eq!(hello.deadline, Duration::from_secs(10));
    assert_eq!(
        rig.body("notifystart"),
        json!({"base_info": {"channel_version": "2.4.9", "bot_agent": "Moorline/0.1.0"}})
    );
    assert_eq!(fake::header(&hello, "authorization"), Some("Bearer canary-bot-token"));

    assert_eq!(rig.reply("notifystart", json!({"ret": 0, "errmsg": ""})), ["getupdates"]);
    let poll = rig.call("getupdates").clone();
    assert_eq!(poll.url.as_str(), "https://ilink.test/ilink/bot/getupdates");
    assert_eq!((poll.deadline.as_secs(), poll.idempotent), (43, false));
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c0");
    assert_ne!(poll.headers["x-wechat-uin"], hello.headers["x-wechat-uin"]);

    rig.pass(500);
    assert_eq!(
        rig.reply("getupdates", news("c1", &[7_448_678_501_208_393_000])),
        ["open b0f5860fdecb@im.bot", "alive", "deliver 0 of 1 to c1"]
    );
    let [Delivery::Message(inbound)] = rig.delivered.as_slice() else { panic!("{:?}", rig.delivered) };
    assert_eq!(inbound.message_id.as_str(), "7448678501208393000");
    assert!(rig.calls.is_empty(), "nothing is polled before it is stored");
    assert_eq!(rig.verdict(0, true), ["getupdates"]);
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c1");

    rig.pass(35 * SECOND);
    assert_eq!(rig.reply("getupdates", idle("c1")), ["alive", "getupdates"]);
    assert_eq!(rig.step(Event::Stop), ["cancel getupdates", "notifystop"]);
    assert_eq!(rig.call("notifystop").url.as_str(), "https://ilink.test/ilink/bot/msg/notifystop");
    assert_eq!(rig.reply("notifystop", json!({})), ["stopped"]);
    assert_eq!(rig.step(Event::Wake), [""; 0]);
}

#[test]
fn without_a_login_nobody_is_called() {
    let mut rig = Rig::of(None, None);
    let ended = rig.step(Event::Start);
    assert!(ended.len() == 1 && ended[0].ends_with("(needs_login)"), "{ended:?}");
    assert_eq!(Rig::of(None, None).step(Event::Stop), ["stopped"]);
}

/// Protocol §4.2: an empty cursor is what a new bot begins with.
#[test]
fn a_new_bot_begins_with_an_empty_cursor() {
    let mut rig = Rig::of(Some(fake::bot()), None);
    rig.step(Event::Start);
    rig.reply("notifystart", json!({}));
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "");
}

/// Protocol §3: whether we can receive, the poll tells.
#[test]
fn a_greeting_that_fails_stops_nobody_from_polling() {
    for result in [
        Err(fake::lost(NetworkErrorKind::Timeout)),
        Err(fake::lost(NetworkErrorKind::Connect)),
        Ok(fake::json(&json!({"ret": -14}))),
        Ok(fake::json(&json!({"errcode": 1}))),
        Ok(fake::answer(500, "")),
        Ok(fake::answer(200, "")),
    ] {
        let mut rig = Rig::new();
        rig.step(Event::Start);
        assert_eq!(rig.result("notifystart", result), ["getupdates"]);
        // A held poll says nothing now.
        assert_eq!(rig.wake_in(), None);
        assert_eq!(rig.reply("getupdates", idle("c0"))[0], "open b0f5860fdecb@im.bot");
    }
}

/// Design §2: a held poll counts just after an authenticated call was answered.
#[test]
fn a_poll_that_is_held_for_two_seconds_is_open_if_the_greeting_was_heard() {
    let mut rig = Rig::polling();
    assert_eq!(rig.wake_in(), Some(2_000));
    assert_eq!(rig.wake(), ["open b0f5860fdecb@im.bot", "alive"]);
    assert_eq!(rig.wake_in(), None);
    rig.pass(33 * SECOND);
    assert_eq!(rig.reply("getupdates", idle("c0")), ["alive", "getupdates"]);
}

/// Protocol §1.5: the platform ends a poll, not we.
#[test]
fn a_poll_may_take_as_long_as_the_platform_holds_it() {
    for (hold, deadline) in [
        (json!(35_000), 43),
        (json!(60_000), 68),
        (json!("60000"), 68),
        (json!(1_000), 43),
        (json!(0), 43),
        (json!(-5), 43),
        (json!(null), 43),
        (json!([]), 43),
        (json!(1e300), 43),
        (json!(u64::MAX), 43),
        (json!(i64::MAX), 308),
    ] {
        let mut rig = Rig::ready();
        rig.pass(SECOND);
        rig.reply("getupdates", json!({"msgs": [], "get_updates_buf": "c0", "longpolling_timeout_ms": hold}));
        assert_eq!(rig.call("getupdates").deadline.as_secs(), deadline, "{hold}");
        assert_eq!(rig.patience(), 2 * deadline + 5, "{hold}");
    }
}

/// Protocol §4.1: the old cursor stays; a new one without messages is stored like one with them.
#[test]
fn a_cursor_is_kept_until_there_is_another_and_stored_when_there_is() {
    let mut rig = Rig::ready();
    for cursor in [json!(""), json!(null), json!(7)] {
        rig.pass(SECOND);
        assert_eq!(
            rig.reply("getupdates", json!({"msgs": [], "get_updates_buf": cursor})),
            ["alive", "getupdates"]
        );
        assert_eq!(rig.body("getupdates")["get_updates_buf"], "c0");
    }
    rig.pass(SECOND);
    assert_eq!(rig.reply("getupdates", idle("c1")), ["alive", "deliver 0 of 0 to c1"]);
    assert_eq!(rig.verdict(0, true), ["getupdates"]);
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c1");
    rig.pass(5);
    assert_eq!(rig.reply("getupdates", json!({"msgs": [text(1, 1)]})), ["alive", "deliver 1 of 1 to -"]);
    assert_eq!(rig.verdict(1, true), [""; 0], "the same place again: no faster than once a second");
    assert_eq!(rig.wake(), ["getupdates"]);
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c1");
}

/// However the platform answers: nothing new, once a second.
#[test]
fn answers_that_bring_nothing_make_no_storm() {
    for answer in [idle("c0"), json!({}), json!({"msgs": []}), json!({"ret": 0, "get_updates_buf": ""})] {
        let mut rig = Rig::ready();
        let began = rig.now;
        let mut polls = 0;
        while rig.now.since(began) < Duration::from_secs(60) {
            if rig.calls.iter().any(|(_, call)| name(call) == "getupdates") {
                polls += 1;
                rig.pass(5);
                rig.reply("getupdates", answer.clone());
            } else {
                rig.wake();
            }
        }
        assert!((55..=61).contains(&polls), "{polls} polls a minute");
    }
}

/// News do not wait.
#[test]
fn answers_that_bring_something_are_followed_by_a_poll_at_once() {
    let mut rig = Rig::ready();
    for n in 0..20 {
        rig.pass(5);
        rig.reply("getupdates", news(&format!("n{n}"), &[n]));
        assert_eq!(rig.verdict(n, true), ["getupdates"]);
    }
}

/// Protocol §4.5.
#[test]
fn a_silent_lapse_is_answered_with_one_greeting_and_shown_when_it_lasts() {
    let lapse = || json!({"ret": 0});
    let mut rig = Rig::ready();
    let began = rig.now;
    let mut greetings = 0;
    let mut suspected = None;
    while suspected.is_none() {
        rig.pass(SECOND);
        let effects = rig.reply("getupdates", lapse());
        if effects.contains(&"notifystart".to_owned()) {
            greetings += 1;
            assert!(rig.now.since(began) <= Duration::from_secs(4), "at the third");
            assert_eq!(rig.reply("notifystart", json!({})), ["alive"]);
        }
        if effects.contains(&"suspect true".to_owned()) {
            suspected = Some(rig.now.since(began).as_secs());
        }
    }
    assert_eq!((greetings, suspected), (1, Some(601)));
    for _ in 0..60 {
        rig.pass(SECOND);
        assert_eq!(rig.reply("getupdates", lapse()), ["alive", "getupdates"], "told once");
    }
    rig.pass(SECOND);
    assert_eq!(rig.reply("getupdates", idle("c0")), ["alive", "suspect false", "getupdates"]);
    rig.pass(SECOND);
    assert_eq!(rig.reply("getupdates", idle("c0")), ["alive", "getupdates"]);
}

/// Three in a row, not three in all; and a greeting that is not heard is repeated, once a minute.
#[test]
fn a_lapse_is_over_with_any_healthy_answer() {
    let mut rig = Rig::ready();
    for n in 0..30 {
        rig.pass(SECOND);
        let answer = if n % 3 == 2 { idle("c0") } else { json!({}) };
        assert_eq!(rig.reply("getupdates", answer), ["alive", "getupdates"]);
    }
    let mut greetings = 0;
    for _ in 0..180 {
        rig.pass(SECOND);
        rig.reply("getupdates", json!({}));
        if rig.calls.iter().any(|(_, call)| name(call) == "notifystart") {
            greetings += 1;
            assert_eq!(rig.reply("notifystart", json!({"ret": 1})), [""; 0]);
        }
    }
    assert_eq!(greetings, 3);
}

/// Protocol §1.1.
#[test]
fn no_two_calls_of_a_life_have_the_same_uin() {
    let mut rig = Rig::ready();
    let mut uins = BTreeSet::new();
    for _ in 0..1_000 {
        rig.pass(SECOND);
        rig.reply("getupdates", idle("c0"));
        assert!(uins.insert(fake::header(rig.call("getupdates"), "x-wechat-uin").unwrap().to_owned()));
    }
}

proptest! {
    /// Whatever the platform answers, whenever: no panic, never two polls, and whatever ends it says why.
    #[test]
    fn any_life_is_survived(script in prop::collection::vec((0u8..10, any::<u16>(), "\\PC{0,40}"), 0..60)) {
        let mut rig = Rig::new();
        let mut effects = rig.step(Event::Start);
        let mut ack = 0;
        for (what, millis, noise) in script {
            if effects.iter().any(|effect| effect == "stopped" || effect.starts_with("failed")) {
                return Ok(());
            }
            rig.pass(u64::from(millis));
            let call = rig.calls.last().map(|(_, call)| name(call));
            effects = match (what, call) {
                (0, _) => rig.step(Event::Wake),
                (1, _) => rig.step(Event::Probe),
                (2, _) => { ack += 1; rig.verdict(ack - 1, true) }
                (3, _) => rig.verdict(ack, false),
                (4, Some(call)) => rig.reply(&call, idle(&noise)),
                (5, Some(call)) => rig.reply(&call, news(&noise, &[u64::from(millis)])),
                (6, Some(call)) => rig.result(&call, Err(fake::lost(NetworkErrorKind::Timeout))),
                (7, Some(call)) => rig.result(&call, Ok(fake::answer(200, format!("{{\"msgs\":{noise}}}")))),
                (8, Some(call)) => rig.reply(&call, json!({"msgs": noise, "get_updates_buf": [noise]})),
                (9, _) if millis < 2_000 => rig.step(Event::Stop),
                _ => Vec::new(),
            };
            rig.machine.patience();
            rig.machine.wake_at();
        }
    }
}
