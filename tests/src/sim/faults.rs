//! The vocabulary: every kind of fault there is, by the name under which it is counted. A kind draws what exactly
//! happens, and what has to happen besides so that it is met soon.

#![allow(missing_docs, reason = "fields and commands that say all there is to say by their names")]

mod calls;
mod wechat;
mod wire;
mod within;

use std::time::Duration;

use fastrand::Rng;
use moorline_simulator::feishu::{Cut, Fault, OddFrame, Reach, Times};
use moorline_simulator::weixin;

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
    /// Something happens to an account of the other channel.
    WeChat { account: usize, act: WeChat },
    /// The store gets this mood.
    Store(Mood),
    /// The store is well again.
    StoreWell,
}

/// What may happen on the other platform.
#[derive(Debug, Clone, PartialEq)]
pub enum WeChat {
    /// A fault is set, and counted when it strikes. A user writes, if that lets it be met.
    Set { fault: weixin::Fault, times: Times, lure: bool },
    /// All faults of a bot are over.
    Clear,
    /// A login lapses, unless it has.
    Expire(weixin::Expiry),
    /// It is good again.
    Heal,
    /// The platform can be reached no more, or again.
    Reach(Reach),
    /// An operator's command.
    Operator(Command),
    /// An actor of the account panics.
    Panic(&'static str),
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
    wire::endpoint(&mut all);
    wire::handshake(&mut all);
    wire::connection(&mut all);
    wire::frames(&mut all);
    wire::events(&mut all);
    calls::tokens(&mut all);
    calls::identity(&mut all);
    calls::sends(&mut all);
    calls::platform(&mut all);
    within::process(&mut all);
    within::operators(&mut all);
    all
}

/// Every kind there is on the other channel.
#[must_use]
pub fn wechat_vocabulary() -> Vec<Kind> {
    let mut all = Vec::new();
    wechat::polls(&mut all);
    wechat::logins(&mut all);
    wechat::sends(&mut all);
    wechat::platform(&mut all);
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
