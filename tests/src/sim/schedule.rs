//! A schedule: who there is, what is said, and what goes wrong when. All of it is drawn from the seed before anything
//! runs, so that what a run does cannot change what is done to it.

use std::time::Duration;

use fastrand::Rng;
use moorline_core::{ChatId, UserId};
use moorline_simulator::feishu::Redelivery;
use moorline_simulator::weixin::Cursor;

use super::agent::Odds;
use super::faults::{Act, Draw, Kind, vocabulary, wechat_vocabulary};

/// What happens in one run.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Where everything comes from.
    pub seed: u64,
    /// How many accounts: `feishu:a0`, `feishu:a1`, …
    pub accounts: usize,
    /// How many accounts of the other channel, numbered after those: `weixin:w0`, …
    pub weixin: usize,
    /// What the other platform thinks of a cursor.
    pub cursor: Cursor,
    /// How many users write to each of them.
    pub users: usize,
    /// How long things go wrong.
    pub length: Duration,
    /// How the platform repeats what was not acknowledged.
    pub redelivery: Redelivery,
    /// Whether the platform takes one connection of an app only.
    pub strict: bool,
    /// Whether the platform's rate limits are on.
    pub rates: bool,
    /// What every commit takes.
    pub latency: Duration,
    /// How long a turn may take.
    pub turn_timeout: &'static str,
    /// How the agent misbehaves.
    pub agent: Odds,
    /// What goes wrong, in order: since the start, the kind, what is done.
    pub faults: Vec<(Duration, String, Act)>,
    /// What is said, in order.
    pub talk: Vec<(Duration, Talk)>,
}

/// Something is said.
#[allow(missing_docs, reason = "the fields say what they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// A user writes to an account; the answer is long, if wanted.
    Direct { account: usize, user: usize, long: bool },
    /// Somebody writes in a group, perhaps in a thread, perhaps to the bot.
    Group { account: usize, group: usize, mention: bool, thread: Option<usize>, long: bool },
    /// Somebody writes in the group in which every bot is, to one of them.
    Shared { account: usize },
    /// An operator sends this message, for the first time or again.
    Operator { account: usize, user: usize, send: usize },
}

const MINUTE: Duration = Duration::from_secs(60);

/// Users of each account of the other channel. Few, so that they run out of what may be sent to them.
pub const WECHAT_USERS: usize = 4;

/// Since the start, the kind, what is done.
type Faults = Vec<(Duration, String, Act)>;

impl Schedule {
    /// What a seed means.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let accounts = rng.usize(4..=8);
        let users = rng.usize(10..=16);
        let most = if rng.u8(0..4) == 0 { 90 } else { 45 };
        let length = MINUTE * rng.u32(30..=most);
        let faults = draw_faults(&mut rng, accounts, users, length);
        let length = faults.last().map_or(length, |(at, ..)| length.max(*at)) + MINUTE;
        let talk = draw_talk(&mut rng, accounts, users, length);
        let weixin = rng.usize(1..=3);
        let (faults, talk) = beside(&mut rng, faults, talk, accounts, weixin, length);
        let length = faults.last().map_or(length, |(at, ..)| length.max(*at)) + MINUTE;
        Self {
            seed,
            accounts,
            weixin,
            cursor: rng.choice([Cursor::Consumed, Cursor::Replay]).unwrap_or_default(),
            users,
            length,
            redelivery: redelivery(&mut rng),
            strict: rng.bool(),
            rates: rng.bool(),
            latency: Duration::from_millis(*rng.choice(&[0, 0, 1, 15]).unwrap_or(&0)),
            turn_timeout: rng.choice(["20s", "45s", "120s"]).unwrap_or("20s"),
            agent: odds(&mut rng),
            faults,
            talk,
        }
    }
}

/// The direct chat of a user with an account.
#[must_use]
pub fn direct_chat(user: usize, account: usize) -> ChatId {
    ChatId::new(format!("oc_u{user}_a{account}"))
}

/// A user who writes to an account of the other channel, and the chat of the two.
#[must_use]
pub fn wechat_user(user: usize, account: usize) -> UserId {
    UserId::new(format!("u{user}_w{account}@im.wechat"))
}

/// A group with one account in it.
#[must_use]
pub fn group_chat(group: usize, account: usize) -> ChatId {
    ChatId::new(format!("oc_g{group}_a{account}"))
}

/// The group in which every bot is.
#[must_use]
pub fn shared_chat() -> ChatId {
    ChatId::new("oc_everybody")
}

/// Each kind has odds of its own in each schedule, and about every third none at all.
fn draw_faults(rng: &mut Rng, accounts: usize, users: usize, length: Duration) -> Faults {
    let count = rng.u32(50..=130);
    draw_kinds(rng, &vocabulary(), count, accounts, users, length)
}

fn draw_kinds(
    rng: &mut Rng,
    kinds: &[Kind],
    count: u32,
    accounts: usize,
    users: usize,
    length: Duration,
) -> Faults {
    let weights: Vec<u32> =
        kinds.iter().map(|kind| if rng.u8(0..3) == 0 { 0 } else { kind.weight * rng.u32(1..=4) }).collect();
    let total: u32 = weights.iter().sum();
    let mut drawn = Vec::new();
    for _ in 0..count {
        let mut at = rng.u32(0..total.max(1));
        let chosen = kinds.iter().zip(&weights).find(|(_, weight)| {
            let here = at < **weight;
            at = at.saturating_sub(**weight);
            here
        });
        let Some((kind, _)) = chosen else { continue };
        let account = rng.usize(0..accounts);
        let span = moorline_core::millis(length);
        // A tenth waits for the very first connection.
        let start = Duration::from_millis(if rng.u8(0..10) == 0 { 0 } else { rng.u64(0..span) });
        for (after, act) in kind.draw(&mut Draw { rng: &mut *rng, accounts, users, account }) {
            drawn.push((start + after, kind.name.clone(), act));
        }
    }
    drawn.sort_by_key(|(at, ..)| *at);
    drawn
}

fn draw_talk(rng: &mut Rng, accounts: usize, users: usize, length: Duration) -> Vec<(Duration, Talk)> {
    let mut talk = Vec::new();
    let span = moorline_core::millis(length);
    let mut sends = 0;
    for _ in 0..rng.u32(40..=120) {
        let at = Duration::from_millis(rng.u64(0..span));
        let account = rng.usize(0..accounts);
        let user = rng.usize(0..users);
        let long = rng.u8(0..40) == 0;
        match rng.u8(0..20) {
            0..=7 => talk.push((at, Talk::Direct { account, user, long })),
            8..=12 => {
                let thread = (rng.u8(0..3) == 0).then(|| rng.usize(0..2));
                let (group, mention) = (rng.usize(0..3), rng.u8(0..3) > 0);
                talk.push((at, Talk::Group { account, group, mention, thread, long }));
            }
            13 => talk.push((at, Talk::Shared { account })),
            14..=16 => {
                let group = rng.bool().then(|| rng.usize(0..3));
                for n in 0..rng.u32(3..12) {
                    let at = at + Duration::from_millis(rng.u64(0..40)) * n;
                    let one = match group {
                        Some(group) => {
                            Talk::Group { account, group, mention: true, thread: None, long: false }
                        }
                        None => Talk::Direct { account, user, long: false },
                    };
                    talk.push((at, one));
                }
            }
            _ => {
                for _ in 0..rng.u8(1..=3) {
                    let at = at + Duration::from_millis(rng.u64(0..20_000));
                    talk.push((at, Talk::Operator { account, user, send: sends }));
                }
                sends += 1;
            }
        }
    }
    talk.sort_by_key(|(at, _)| *at);
    talk
}

/// The same for the other channel, added to what there is.
fn beside(
    rng: &mut Rng,
    mut faults: Faults,
    mut talk: Vec<(Duration, Talk)>,
    accounts: usize,
    weixin: usize,
    length: Duration,
) -> (Faults, Vec<(Duration, Talk)>) {
    let count = rng.u32(20..=50);
    faults.extend(draw_kinds(rng, &wechat_vocabulary(), count, weixin, WECHAT_USERS, length));
    faults.sort_by_key(|(at, ..)| *at);
    let span = moorline_core::millis(length);
    let told = talk.iter().filter_map(|(_, talk)| match talk {
        Talk::Operator { send, .. } => Some(*send + 1),
        _ => None,
    });
    let mut send = told.max().unwrap_or_default();
    for _ in 0..rng.u32(20..=60) {
        let at = Duration::from_millis(rng.u64(0..span));
        let (account, user) = (accounts + rng.usize(0..weixin), rng.usize(0..WECHAT_USERS));
        if rng.u8(0..4) == 0 {
            talk.push((at, Talk::Operator { account, user, send }));
            send += 1;
        } else {
            for n in 0..rng.u32(1..5) {
                let at = at + Duration::from_millis(rng.u64(0..2_000)) * n;
                talk.push((at, Talk::Direct { account, user, long: false }));
            }
        }
    }
    talk.sort_by_key(|(at, _)| *at);
    (faults, talk)
}

/// The documented ladder, or a quicker one, so that what a long outage swallowed comes again while we look.
fn redelivery(rng: &mut Rng) -> Redelivery {
    let documented = Redelivery::default();
    match rng.u8(0..3) {
        0 => documented,
        1 => Redelivery { ladder: [15, 60, 300, 600, 900].map(Duration::from_secs).to_vec(), ..documented },
        _ => Redelivery { offline_attempts_count: false, ..documented },
    }
}

fn odds(rng: &mut Rng) -> Odds {
    let mut draw = |most: u32| if rng.bool() { rng.u32(0..most) } else { 0 };
    Odds {
        slow: draw(300) + 50,
        hang: draw(20),
        unavailable: draw(40),
        refuse: draw(40),
        silent: draw(60),
        crash: draw(30),
    }
}
