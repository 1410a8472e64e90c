//! Kinds that strike calls: tokens, the identity, sends; and the platform as a whole.

use moorline_core::ChatId;
use moorline_simulator::feishu::{Answer, Fault, Lost, Reach, Times};

use super::super::schedule::direct_chat;
use super::{Act, Draw, Kind, Lure, fault, kind, secs};

pub(super) fn tokens(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("token: {name}"), Lure::Token, most, move |d| Fault::Token(pick(d)));
    };
    answers("status", 4, |d| Status(d.one_of(&[403, 500, 502])));
    answers("hangs", 3, |_| Hang);
    answers("reset", 4, |_| Reset);
    answers("garbage", 4, |_| Garbage);
    answers("credentials refused", 1, |d| Code { status: 400, code: d.one_of(&[10_003, 10_014]) });
    answers("rate limited", 3, |d| RateLimited { reset: d.rng.u64(1..20) });
    answers("slow", 3, |d| Delay(d.one_of(&[secs(2), secs(8)])));
    fault(all, "token: answer lost", Lure::Token, 3, |d| {
        Fault::LoseTokenAnswer(d.one_of(&[Lost::Hang, Lost::Reset]))
    });
    fault(all, "token: short-lived", Lure::Token, 3, |d| Fault::TokenExpiry(d.one_of(&[1, 5, 30, 120])));
    kind(all, "token: revoked", 6, |d| vec![(secs(0), Act::Revoke { account: d.account })]);
}

pub(super) fn identity(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("bot info: {name}"), Lure::Probe, most, move |d| Fault::BotInfo(pick(d)));
    };
    answers("status", 4, |d| Status(d.one_of(&[404, 500, 502])));
    answers("hangs", 3, |_| Hang);
    answers("garbage", 4, |_| Garbage);
    answers("rate limited", 2, |d| RateLimited { reset: d.rng.u64(1..20) });
    fault(all, "bot info: answer lost", Lure::Probe, 3, |d| {
        Fault::LoseBotInfoAnswer(d.one_of(&[Lost::Hang, Lost::Reset]))
    });
    fault(all, "bot info: no open_id", Lure::Probe, 4, |d| {
        Fault::BotOpenId(d.one_of(&[None, Some(String::new())]))
    });
    fault(all, "bot info: not enabled", Lure::Probe, 1, |d| Fault::BotStatus(d.one_of(&[0, 1, 3, 4])));
    kind(all, "bot info: down for long", 8, |d| {
        let fault = Fault::BotInfo(d.one_of(&[Status(503), Reset]));
        let down = d.secs(120, 2_400);
        let set = Act::Set { account: d.account, fault, times: Times::UntilCleared, lure: Lure::Probe };
        vec![(secs(0), set), (down, Act::Clear { account: d.account })]
    });
}

pub(super) fn sends(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("send: {name}"), Lure::Message, most, move |d| Fault::Send(pick(d)));
    };
    answers("status 5xx", 5, |d| Status(d.one_of(&[500, 502, 504])));
    answers("status 4xx", 4, |d| Status(d.one_of(&[404, 413])));
    answers("reset", 4, |_| Reset);
    answers("garbage", 4, |_| Garbage);
    answers("hangs", 3, |_| Hang);
    answers("rate limited", 4, |d| RateLimited { reset: d.rng.u64(1..20) });
    answers("throttled", 4, |_| Code { status: 400, code: 230_020 });
    answers("token refused", 3, |d| Code { status: 400, code: d.one_of(&[99_991_663, 99_991_668]) });
    answers("rejected", 1, |d| Code { status: 400, code: d.one_of(&[230_001, 230_028]) });
    answers("still on its way", 3, |_| Code { status: 400, code: 230_049 });
    answers("not permitted", 1, |d| Code { status: 400, code: d.one_of(&[230_006, 230_027]) });
    answers("internal error", 3, |_| Refusal {
        status: 400,
        code: 230_001,
        msg: "internal error".to_owned(),
    });
    answers("unknown code", 4, |_| Code { status: 400, code: 299_999 });
    answers("late", 4, |d| Delay(d.one_of(&[secs(2), secs(8), secs(14)])));
    fault(all, "send: answer lost", Lure::Message, 4, |d| {
        Fault::LoseSendAnswer(d.one_of(&[Lost::Hang, Lost::Reset]))
    });
    fault(all, "send: slow", Lure::Message, 4, |d| Fault::SlowSend(d.one_of(&[secs(3), secs(14), secs(40)])));
    fault(all, "send: scope missing", Lure::Message, 1, |_| {
        Fault::MissingScopes(vec!["im:message".to_owned()])
    });
    kind(all, "send: one chat refused", 12, |d| {
        let chat_id: ChatId = direct_chat(d.rng.usize(0..d.users), d.account);
        let code = d.one_of(&[230_018, 230_035, 230_038, 230_053]);
        let fault = Fault::Chat { chat_id, code };
        vec![(secs(0), Act::Set { account: d.account, fault, times: Times::Count(1), lure: Lure::None })]
    });
    kind(all, "send: answers lost for an hour", 1, |d| {
        let fault = Fault::LoseSendAnswer(Lost::Reset);
        let set = Act::Set { account: d.account, fault, times: Times::UntilCleared, lure: Lure::Message };
        vec![(secs(0), set), (secs(62 * 60), Act::Clear { account: d.account })]
    });
    let mut signs = |name: &str, pick: fn(&mut Draw<'_>) -> Fault| {
        fault(all, &format!("typing sign: {name}"), Lure::None, 5, pick);
    };
    signs("fails", |d| Fault::Reaction(d.one_of(&[Status(500), Reset, Code { status: 400, code: 231_001 }])));
    signs("hangs", |_| Fault::Reaction(Hang));
    signs("answer lost", |d| Fault::LoseReactionAnswer(d.one_of(&[Lost::Hang, Lost::Reset])));
}

pub(super) fn platform(all: &mut Vec<Kind>) {
    for (name, reach) in [("unreachable", Reach::Refused), ("silent", Reach::Hangs)] {
        kind(all, format!("platform: {name}"), 3, move |d| {
            let cut = if d.rng.u8(0..4) > 0 { Some(d.cut()) } else { None };
            let away = if d.rng.bool() { d.secs(5, 90) } else { d.secs(90, 900) };
            vec![(secs(0), Act::Reach { reach, cut }), (away, Act::Reach { reach: Reach::Open, cut: None })]
        });
    }
    kind(all, "channel held down", 4, |d| {
        let down = if d.rng.bool() { d.secs(5, 90) } else { d.secs(90, 900) };
        let account = d.account;
        let set = Act::Set { account, fault: Fault::Hold, times: Times::UntilCleared, lure: Lure::None };
        vec![(secs(0), set), (down, Act::Clear { account })]
    });
}
