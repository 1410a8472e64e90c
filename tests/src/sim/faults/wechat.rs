//! Kinds that strike the other channel: polls, logins, sends, and its platform as a whole.

use moorline_simulator::weixin::Endpoint::{
    self, GetConfig, GetUpdates, NotifyStart, SendMessage, SendTyping,
};
use moorline_simulator::weixin::{Answer, Expiry, Fault, Malformed};
use moorline_simulator::{Reach, Times};

use super::{Act, Command, Draw, Kind, Steps, WeChat, kind, secs};

pub(super) fn polls(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("poll: {name}"), false, most, move |d| Fault::Answer(GetUpdates, pick(d)));
    };
    answers("hangs", 2, |_| Hang);
    answers("ends", 4, |d| d.one_of(&[Fin, Reset]));
    answers("stalls", 2, |d| d.one_of(&[StallHeaders, StallBody]));
    answers("cut", 4, |_| CutBody);
    answers("status", 4, |d| Status(d.one_of(&[400, 403, 404, 429, 500, 502, 503])));
    answers("garbage", 4, |d| d.one_of(&[Garbage, Empty]));
    answers("unknown code", 4, |d| d.one_of(&[Answer::code(-4_711), Answer::ret(77, "?")]));
    answers("session expired", 2, |d| d.one_of(&[Answer::code(-14), Answer::ret(-14, "")]));
    answers("late", 3, |d| Delay(d.one_of(&[secs(1), secs(5), secs(30)])));
    fault(all, "poll: messages lost on their way", true, 2, |d| {
        Fault::LoseAnswer(GetUpdates, d.one_of(&[Reset, Fin, CutBody, StallBody, Hang]))
    });
    for (name, fault_) in [
        ("twice in one answer", Fault::DuplicateInAnswer),
        ("again in the next", Fault::DuplicateAcross),
        ("newest first", Fault::Reversed),
        ("empty cursor", Fault::EmptyCursor),
        ("no cursor", Fault::NoCursor),
    ] {
        fault(all, &format!("messages: {name}"), true, 3, move |_| fault_.clone());
    }
    fault(all, "messages: malformed", true, 3, |d| {
        // One with a broken id can be read, and is a message of its own.
        use Malformed::*;
        Fault::Malformed(d.one_of(&[NotAnObject, ItemsAreText, NoSender, Null]))
    });
}

pub(super) fn logins(all: &mut Vec<Kind>) {
    let mut lapses = |name: &str, weight, pick: fn(&mut Draw<'_>) -> Expiry| {
        kind(all, format!("wechat: {name}"), weight, move |d| {
            let account = d.account;
            let expiry = if d.rng.bool() { pick(d).in_ret() } else { pick(d) };
            let over = d.secs(60, 1_500);
            // A login that nothing brings back is renewed by somebody in the end.
            vec![
                (secs(0), Act::WeChat { account, act: WeChat::Expire(expiry) }),
                (over, Act::WeChat { account, act: WeChat::Heal }),
            ]
        });
    };
    lapses("login lapses", 8, |_| Expiry::until_notifystart());
    lapses("login lapses for a while", 4, |d| Expiry::after_failures(d.rng.u32(1..6)));
    lapses("login revoked", 4, |_| Expiry::revoked());
    lapses("login lapses in silence", 4, |_| Expiry::silent());
    lapses("login lapses for sends too", 4, |d| {
        d.one_of(&[Expiry::until_notifystart(), Expiry::revoked()]).refusing_sends()
    });
    fault(all, "notifystart fails", false, 3, |d| {
        let answers = [Answer::Hang, Answer::Reset, Answer::Status(500), Answer::code(-1), Answer::code(-14)];
        Fault::Answer(NotifyStart, d.one_of(&answers))
    });
}

pub(super) fn sends(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("sendmessage: {name}"), true, most, move |d| Fault::Answer(SendMessage, pick(d)));
    };
    answers("fails", 4, |d| d.one_of(&[Reset, Fin, Status(500), Status(502), Garbage]));
    answers("hangs", 2, |_| Hang);
    answers("empty answer", 2, |_| Empty);
    answers("no window", 2, |d| Answer::ret(-2, d.one_of(&["prepare failed", "unknown error", ""])));
    answers("throttled", 3, |d| d.one_of(&[Answer::ret(-2, "rate limited"), Answer::code(-12)]));
    answers("refused", 1, |d| d.one_of(&[Answer::ret(-3, "no"), Answer::code(40_001)]));
    fault(all, "sendmessage: answer lost", true, 3, |d| {
        Fault::LoseAnswer(SendMessage, d.one_of(&[Reset, Hang, CutBody, Status(502)]))
    });
    fault(all, "typing fails", true, 4, |d| {
        let endpoint: Endpoint = d.one_of(&[GetConfig, SendTyping]);
        Fault::Answer(endpoint, d.one_of(&[Hang, Status(500), Answer::code(-1), Garbage]))
    });
}

pub(super) fn platform(all: &mut Vec<Kind>) {
    for (name, reach) in [("unreachable", Reach::Refused), ("silent", Reach::Hangs)] {
        kind(all, format!("wechat: {name}"), 3, move |d| {
            let (account, away) = (d.account, if d.rng.bool() { d.secs(5, 90) } else { d.secs(90, 900) });
            vec![
                (secs(0), Act::WeChat { account, act: WeChat::Reach(reach) }),
                (away, Act::WeChat { account, act: WeChat::Reach(Reach::Open) }),
            ]
        });
    }
    kind(all, "wechat: panic", 8, |d| {
        let actor = d.one_of(&["/connection", "/outbox", "/identity", "/credentials", ""]);
        vec![(secs(0), Act::WeChat { account: d.account, act: WeChat::Panic(actor) })]
    });
    kind(all, "wechat: stop and start", 4, |d| {
        let (account, later) = (d.account, d.secs(0, 300));
        let command = |command| Act::WeChat { account, act: WeChat::Operator(command) };
        vec![(secs(0), command(Command::Stop)), (later, command(Command::Start))]
    });
    kind(all, "wechat: probe", 4, |d| {
        let act = WeChat::Operator(d.one_of(&[Command::Probe, Command::Restart]));
        vec![(secs(0), Act::WeChat { account: d.account, act })]
    });
}

/// A fault of the platform that is met a few times.
fn fault(
    all: &mut Vec<Kind>,
    name: &str,
    lure: bool,
    most: u32,
    pick: impl Fn(&mut Draw<'_>) -> Fault + Send + Sync + 'static,
) {
    kind(all, format!("wechat {name}"), 4, move |d| -> Steps {
        let (fault, times) = (pick(d), Times::Count(d.rng.u32(1..=most)));
        vec![(secs(0), Act::WeChat { account: d.account, act: WeChat::Set { fault, times, lure } })]
    });
}
