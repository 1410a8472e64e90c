//! The vocabulary: every kind of fault there is, by the name under which it is counted. A kind draws what exactly
//! happens, and what has to happen besides so that it is met soon.

#![allow(missing_docs, reason = "fields and commands that say all there is to say by their names")]

use std::time::Duration;

use fastrand::Rng;
use moorline_core::ChatId;
use moorline_simulator::feishu::{
    Answer, ConfigShape, Cut, Echo, Fault, HandshakeFault, Lost, OddFrame, Reach, Split, Times,
};
use serde_json::json;

use super::schedule::direct_chat;
use super::store::Mood;

/// One thing that is done to the system.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A fault of the platform is set. It is counted when it strikes.
    Set { account: usize, fault: Fault, times: Times, lure: Lure },
    /// All faults of an account's app are over.
    Clear { account: usize },
    /// An account's connections end.
    Cut { account: usize, cut: Cut },
    /// A frame comes in on an account's connection.
    Inject { account: usize, frame: OddFrame },
    /// An account's tokens are revoked.
    Revoke { account: usize },
    /// An event that was told comes again under another id.
    PushAgain { account: usize },
    /// The platform can be reached no more, or again.
    Reach { reach: Reach, cut: Option<Cut> },
    /// An actor panics: the one whose path in the tree ends like this, or any conversation.
    Panic { actor: Actor },
    /// The process dies, and is started again after `down`.
    Crash { down: Duration },
    /// The process ends in an orderly way, and is started again after `down`.
    Restart { down: Duration },
    /// The configuration is changed.
    Reload(Edit),
    /// An operator's command.
    Operator { account: usize, command: Command },
    /// The wall clock jumps by so many seconds.
    Clock { seconds: i64 },
    /// The machine sleeps for so long: its timers know nothing of it.
    Sleep(Duration),
    /// Nothing of the process runs for so long.
    Freeze(Duration),
    /// The store gets this mood.
    Store(Mood),
    /// The store is well again.
    StoreWell,
}

/// What lets a fault be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lure {
    /// Nothing: it will be met by itself.
    None,
    /// The connection is reset, so that another one is made.
    Reconnect,
    /// A user writes.
    Message,
    /// The tokens are revoked and a user writes, so that another token is fetched.
    Token,
    /// An operator asks for the identity.
    Probe,
}

/// Which actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The one at this path.
    Path(String),
    /// Any conversation there is.
    Conversation,
}

/// A change of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// None.
    Nothing,
    /// Direct messages of this account are refused.
    Deny(usize),
    /// And answered again.
    Allow(usize),
    /// The app's secret changes on the platform; the configuration does not know yet.
    RotateOnPlatform(usize),
    /// Now it does.
    RotateInFile(usize),
    /// The account goes.
    Remove(usize),
    /// And comes back.
    Add(usize),
}

/// An operator's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Stop,
    Start,
    Restart,
    Probe,
}

/// What is done, and how long after the beginning of the fault.
pub type Steps = Vec<(Duration, Act)>;

/// What a kind draws from.
pub struct Draw<'a> {
    pub rng: &'a mut Rng,
    pub accounts: usize,
    pub users: usize,
    /// The one it happens to, where it happens to one.
    pub account: usize,
}

/// One kind of fault.
pub struct Kind {
    /// Under which it is counted.
    pub name: String,
    /// How often it is drawn in comparison with others.
    pub weight: u32,
    draw: Box<dyn Fn(&mut Draw<'_>) -> Steps + Send + Sync>,
}

impl Kind {
    /// What happens this time.
    pub fn draw(&self, draw: &mut Draw<'_>) -> Steps {
        (self.draw)(draw)
    }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Draw<'_> {
    fn secs(&mut self, from: u64, to: u64) -> Duration {
        millis(self.rng.u64(from * 1_000..=to * 1_000))
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())].clone()
    }

    fn cut(&mut self) -> Cut {
        let close = Cut::Close { code: 1001, reason: "going away".to_owned() };
        self.one_of(&[Cut::Reset, Cut::Fin, Cut::BlackHole, close])
    }

    fn path(&self, actor: &str) -> Actor {
        Actor::Path(format!("runtime/accounts/feishu:a{}{actor}", self.account))
    }
}

/// Every kind there is, in the order of the table in docs/simulation.md.
#[must_use]
pub fn vocabulary() -> Vec<Kind> {
    let mut all = Vec::new();
    endpoint(&mut all);
    handshake(&mut all);
    connection(&mut all);
    frames(&mut all);
    events(&mut all);
    tokens(&mut all);
    identity(&mut all);
    sends(&mut all);
    platform(&mut all);
    process(&mut all);
    operators(&mut all);
    all
}

fn kind(
    all: &mut Vec<Kind>,
    name: impl Into<String>,
    weight: u32,
    draw: impl Fn(&mut Draw<'_>) -> Steps + Send + Sync + 'static,
) {
    all.push(Kind { name: name.into(), weight, draw: Box::new(draw) });
}

/// A fault of the platform that is met a few times.
fn fault(
    all: &mut Vec<Kind>,
    name: &str,
    lure: Lure,
    most: u32,
    pick: impl Fn(&mut Draw<'_>) -> Fault + Send + Sync + 'static,
) {
    kind(all, name, 4, move |d| {
        let fault = pick(d);
        let times = Times::Count(d.rng.u32(1..=most));
        vec![(secs(0), Act::Set { account: d.account, fault, times, lure })]
    });
}

fn endpoint(all: &mut Vec<Kind>) {
    use Answer::*;
    let mut answers = |name: &str, most, pick: fn(&mut Draw<'_>) -> Answer| {
        fault(all, &format!("endpoint: {name}"), Lure::Reconnect, most, move |d| Fault::Endpoint(pick(d)));
    };
    answers("hangs", 3, |_| Hang);
    answers("reset", 5, |_| Reset);
    answers("status 4xx", 4, |d| Status(d.one_of(&[400, 403, 404, 418])));
    answers("status 5xx", 6, |d| Status(d.one_of(&[500, 502, 503, 504])));
    answers("garbage", 4, |_| Garbage);
    answers("unknown code", 4, |_| Code { status: 200, code: 1_000_049_999 });
    answers("busy", 4, |_| Code { status: 200, code: 1_000_040_343 });
    answers("conflict", 2, |_| Code { status: 200, code: 1_000_040_350 });
    answers("credentials refused", 1, |d| Code { status: 200, code: d.one_of(&[514, 1_000_040_345]) });
    answers("forbidden", 1, |_| Code { status: 200, code: 403 });
    answers("rate limited", 3, |d| RateLimited { reset: d.rng.u64(1..20) });
    answers("slow", 3, |d| Delay(d.one_of(&[secs(1), secs(3), secs(9)])));
    answers("too slow", 2, |_| Delay(secs(20)));
    answers("redirect", 3, |_| Redirect("http://elsewhere.test/".to_owned()));
    answers("other body", 3, |d| {
        let body = d.one_of(&["{}", "[]", "{\"code\":\"0\"}", "{\"code\":0,\"data\":null}", ""]);
        Body { status: 200, body: body.to_owned() }
    });
    fault(all, "endpoint: other address", Lure::Reconnect, 3, |d| {
        let urls = ["", "no address", "ws://elsewhere.test/ws/v2?device_id=1&service_id=1&ticket=x"];
        Fault::EndpointUrl(d.one_of(&urls).to_owned())
    });
    fault(all, "endpoint: odd configuration", Lure::Reconnect, 3, |d| Fault::ClientConfig(shape(d)));
    fault(all, "endpoint: expired ticket", Lure::Reconnect, 3, |_| Fault::TicketExpiry(secs(0)));
}

fn shape(d: &mut Draw<'_>) -> ConfigShape {
    d.one_of(&[
        ConfigShape::Missing,
        ConfigShape::Json(json!(null)),
        ConfigShape::Json(json!({ "PingInterval": 0 })),
        ConfigShape::Json(json!({ "PingInterval": -1, "ReconnectCount": 0 })),
        ConfigShape::Json(json!({ "PingInterval": "soon", "ReconnectInterval": 1e30 })),
        ConfigShape::Json(json!({ "PingInterval": 1_000_000_000_u64 })),
    ])
}

fn handshake(all: &mut Vec<Kind>) {
    let refuse = |status, handshake_status, auth_code| {
        Fault::Handshake(HandshakeFault::Refuse { status, handshake_status, auth_code })
    };
    let reconnect = Lure::Reconnect;
    fault(all, "handshake: hangs", reconnect, 3, |_| Fault::Handshake(HandshakeFault::Hang));
    fault(all, "handshake: reset", reconnect, 5, |_| Fault::Handshake(HandshakeFault::Reset));
    fault(all, "handshake: slow", reconnect, 3, |d| {
        Fault::Handshake(HandshakeFault::Delay(d.one_of(&[secs(1), secs(5), secs(9)])))
    });
    fault(all, "handshake: refused", reconnect, 4, move |_| refuse(400, Some(514), None));
    fault(all, "handshake: forbidden", reconnect, 1, move |_| refuse(400, Some(403), None));
    fault(all, "handshake: conflict", reconnect, 2, move |_| refuse(400, Some(514), Some(1_000_040_350)));
    fault(all, "handshake: bare status", reconnect, 4, move |d| {
        refuse(d.one_of(&[200, 404, 429, 502]), None, None)
    });
    fault(all, "flapping: reset", reconnect, 8, |_| Fault::CutOnOpen(Cut::Reset));
    fault(all, "flapping: FIN", reconnect, 8, |_| Fault::CutOnOpen(Cut::Fin));
    fault(all, "flapping: close", reconnect, 8, |_| {
        Fault::CutOnOpen(Cut::Close { code: 1011, reason: "try later".to_owned() })
    });
    fault(all, "flapping: half-open", reconnect, 2, |_| Fault::CutOnOpen(Cut::BlackHole));
}

fn connection(all: &mut Vec<Kind>) {
    fault(all, "pong: none", Lure::None, 3, |_| Fault::NoPong);
    fault(all, "pong: late", Lure::None, 4, |d| Fault::LatePong(d.one_of(&[secs(1), secs(5), secs(9)])));
    fault(all, "pong: too late", Lure::None, 2, |_| Fault::LatePong(secs(15)));
    fault(all, "pong: odd payload", Lure::None, 4, |d| {
        Fault::PongPayload(d.one_of(&["", "pong", "[]", "{\"PingInterval\":"]).to_owned())
    });
    fault(all, "pong: odd configuration", Lure::None, 4, |d| Fault::PongConfig(shape(d)));
    for code in
        [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]
    {
        kind(all, format!("close {code}"), 2, move |d| {
            let cut = Cut::Close { code, reason: "drill".to_owned() };
            vec![(secs(0), Act::Cut { account: d.account, cut })]
        });
    }
    for (name, cut) in [("FIN", Cut::Fin), ("RST", Cut::Reset), ("half-open", Cut::BlackHole)] {
        kind(all, name, 6, move |d| vec![(secs(0), Act::Cut { account: d.account, cut: cut.clone() })]);
    }
}

fn frames(all: &mut Vec<Kind>) {
    use OddFrame::*;
    let odd = [
        ("truncated", Truncated),
        ("field missing", MissingRequired),
        ("wrong wire type", WrongWireType),
        ("text", Text),
        ("empty", Empty),
        ("unknown method", UnknownMethod),
        ("unknown type", UnknownType),
        ("card", CardType),
        ("server's ping", ServerPing),
        ("WebSocket ping", WebSocketPing),
        ("event that is no JSON", NotJson),
        ("event without header", NoHeader),
        ("sum 0", SumZero),
        ("seq beyond sum", SeqBeyondSum),
        ("sum changes", SumChanges),
        ("sum no number", SumNotNumber),
        ("too large", Oversized((2 << 20) + 1)),
    ];
    for (name, frame) in odd {
        kind(all, format!("odd frame: {name}"), 2, move |d| {
            vec![(secs(0), Act::Inject { account: d.account, frame })]
        });
    }
    fault(all, "odd frame before an event", Lure::Message, 3, move |d| {
        Fault::OddFrame(d.one_of(&[Truncated, Empty, UnknownType, SumZero, SumChanges, NotJson]))
    });
}

fn events(all: &mut Vec<Kind>) {
    fault(all, "event: twice", Lure::Message, 6, |_| Fault::Duplicate);
    fault(all, "event: again although acknowledged", Lure::Message, 6, |_| Fault::RedeliverAcked);
    kind(all, "event: again under another id", 6, |d| vec![(secs(0), Act::PushAgain { account: d.account })]);
    let split =
        |parts, order: &[usize], missing| Fault::Split(Split { parts, order: order.to_vec(), missing });
    fault(all, "event: in parts, out of order", Lure::Message, 6, move |d| {
        let order = d.one_of(&[[2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]]);
        split(3, &order, None)
    });
    fault(all, "event: a part missing", Lure::Message, 4, move |d| split(3, &[], Some(d.rng.usize(0..3))));
    fault(all, "event: a part twice", Lure::Message, 4, move |_| split(3, &[0, 1, 1, 2, 0], None));
    fault(all, "event: parts disagree", Lure::Message, 3, |_| Fault::SplitSumChanges(3));
    fault(all, "event: unknown fields", Lure::Message, 6, |_| Fault::UnknownFields);
    for (name, echo) in [("same id", Echo::SameId), ("new id", Echo::NewId), ("to other bots", Echo::Others)]
    {
        fault(all, &format!("echo: {name}"), Lure::Message, 3, move |_| Fault::Echo(echo));
    }
}

fn tokens(all: &mut Vec<Kind>) {
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

fn identity(all: &mut Vec<Kind>) {
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

fn sends(all: &mut Vec<Kind>) {
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

fn platform(all: &mut Vec<Kind>) {
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

fn process(all: &mut Vec<Kind>) {
    let mut panics = |name: &str, pick: fn(&Draw<'_>) -> Actor| {
        kind(all, format!("panic: {name}"), 4, move |d| vec![(secs(0), Act::Panic { actor: pick(d) })]);
    };
    panics("connection", |d| d.path("/connection"));
    panics("outbox", |d| d.path("/outbox"));
    panics("identity", |d| d.path("/identity"));
    panics("credentials", |d| d.path("/credentials"));
    panics("account", |d| d.path(""));
    panics("accounts", |_| Actor::Path("runtime/accounts".to_owned()));
    panics("conversations", |_| Actor::Path("runtime/conversations".to_owned()));
    panics("conversation", |_| Actor::Conversation);
    panics("recovery", |_| Actor::Path("runtime/recovery".to_owned()));
    panics("bus", |_| Actor::Path("runtime/bus".to_owned()));
    panics("store watch", |_| Actor::Path("runtime/store".to_owned()));
    panics("root", |_| Actor::Path("runtime".to_owned()));
    kind(all, "crash loop of an actor", 2, |d| {
        let actor = d.one_of(&["/connection", "/outbox", "/identity", "/credentials"]);
        let actor = d.path(actor);
        (0..6).map(|n| (secs(n * 9), Act::Panic { actor: actor.clone() })).collect()
    });
    kind(all, "crash", 8, |d| vec![(secs(0), Act::Crash { down: down(d) })]);
    kind(all, "crash during recovery", 4, |d| {
        let mut steps = vec![(secs(0), Act::Crash { down: secs(1) })];
        let mut at = secs(1);
        for _ in 0..d.rng.u8(1..=4) {
            at += millis(if d.rng.bool() { d.rng.u64(1..100) } else { d.rng.u64(100..3_000) });
            steps.push((at, Act::Crash { down: secs(1) }));
            at += secs(1);
        }
        steps
    });
    kind(all, "orderly restart", 4, |d| vec![(secs(0), Act::Restart { down: down(d) })]);
    kind(all, "clock: small jump", 4, |d| {
        let seconds = d.one_of(&[-60, -5, -1, 1, 7, 90]);
        vec![(secs(0), Act::Clock { seconds })]
    });
    kind(all, "clock: large jump", 2, |d| {
        let seconds = d.one_of(&[-86_400, -3_600, 3_600, 86_400]);
        vec![(secs(0), Act::Clock { seconds })]
    });
    kind(all, "asleep", 3, |d| vec![(secs(0), Act::Sleep(d.secs(6, 3_000)))]);
    kind(all, "frozen", 3, |d| vec![(secs(0), Act::Freeze(d.secs(6, 600)))]);
    for (name, weight, pick) in moods() {
        kind(all, name, weight, move |d| {
            let mood = pick(d);
            let span = if d.rng.bool() { d.secs(1, 20) } else { d.secs(20, 240) };
            vec![(secs(0), Act::Store(mood)), (span, Act::StoreWell)]
        });
    }
}

type PickMood = fn(&mut Draw<'_>) -> Mood;

fn moods() -> [(&'static str, u32, PickMood); 6] {
    [
        ("store: slow", 4, |d| {
            Mood::Slow(d.one_of(&[millis(20), millis(300), millis(1_500), millis(2_600), secs(9)]))
        }),
        ("store: full", 4, |_| Mood::Full),
        ("store: refuses", 4, |d| Mood::Refuse(d.rng.u32(1..8))),
        ("store: refuses reads", 4, |d| Mood::RefuseReads(d.rng.u32(1..8))),
        ("store: fails before a commit", 3, |_| Mood::FailBefore),
        ("store: fails after a commit", 3, |_| Mood::FailAfter),
    ]
}

fn down(d: &mut Draw<'_>) -> Duration {
    match d.rng.u8(0..4) {
        0 => millis(1),
        1 | 2 => d.secs(1, 10),
        _ => d.secs(10, 400),
    }
}

fn operators(all: &mut Vec<Kind>) {
    let reload = |edit| (secs(0), Act::Reload(edit));
    kind(all, "reload: nothing changed", 4, move |_| vec![reload(Edit::Nothing)]);
    kind(all, "reload: access", 4, move |d| {
        let back = d.secs(1, 200);
        vec![reload(Edit::Deny(d.account)), (back, Act::Reload(Edit::Allow(d.account)))]
    });
    kind(all, "reload: credentials", 4, move |d| {
        let known = d.secs(0, 200);
        vec![reload(Edit::RotateOnPlatform(d.account)), (known, Act::Reload(Edit::RotateInFile(d.account)))]
    });
    kind(all, "reload: account removed", 4, move |d| {
        let back = d.secs(0, 300);
        vec![reload(Edit::Remove(d.account)), (back, Act::Reload(Edit::Add(d.account)))]
    });
    kind(all, "reload: during a reload", 3, move |d| {
        let other = (d.account + 1) % d.accounts;
        let gap = millis(d.rng.u64(0..50));
        vec![
            reload(Edit::Remove(d.account)),
            (gap, Act::Reload(Edit::Remove(other))),
            (gap * 2, Act::Reload(Edit::Add(d.account))),
            (gap * 3, Act::Reload(Edit::Add(other))),
        ]
    });
    let mut commands = |name: &str, command, back: Option<Command>| {
        kind(all, format!("operator: {name}"), 4, move |d| {
            let account = d.account;
            let later = d.secs(0, 300);
            let back = back.map(|command| (later, Act::Operator { account, command }));
            std::iter::once((secs(0), Act::Operator { account, command })).chain(back).collect()
        });
    };
    commands("stop and start", Command::Stop, Some(Command::Start));
    commands("restart", Command::Restart, None);
    commands("probe", Command::Probe, None);
}
