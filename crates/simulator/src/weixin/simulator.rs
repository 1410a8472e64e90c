//! The handle that tests and mounts share.

use std::collections::BTreeMap;
use std::fmt;

use moorline_core::{Clock, UserId};
use serde::Serialize;

use super::bot::{Bot, BotId, Counters, NewBot, UnknownBot};
use super::expiry::{Expiry, Session};
use super::fault::Fault;
use super::item::NewMessage;
use super::ledger::Ledger;
use super::login::{LoginCode, LoginError, LoginStep};
use super::platform::{Person, Platform};
use super::push::Pushed;
use super::rules::{Cursor, Rules};
use crate::faults::Times;
use crate::hub::{Hub, Reach, Virtual};
use crate::link::Now;
use crate::mount::Mountable;

/// A handle to one simulated WeChat platform; clones share it. Every method may be called from any thread.
#[derive(Clone)]
pub struct Simulator(Hub<Platform>);

/// Everything there is to see, as `GET /_simulator/state` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// Whether the platform can be reached at all.
    pub reach: Reach,
    /// How it behaves.
    pub rules: Rules,
    /// The WeChat users.
    pub people: Vec<Person>,
    /// The bots, dead ones included.
    pub bots: BTreeMap<BotId, BotView>,
    /// The login codes, the newest last.
    pub logins: Vec<LoginCode>,
    /// Both ledgers, calls and violations.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// One bot in [`State`].
#[derive(Debug, Clone, Serialize)]
pub struct BotView {
    /// Ids and token.
    #[serde(flatten)]
    pub bot: Bot,
    /// How its login has lapsed; `None` while it is good.
    pub lapsed: Option<Expiry>,
    /// Whether the client said that it is there: `notifystart` and no `notifystop` since.
    pub present: bool,
    /// Counters.
    pub counters: Counters,
    /// Faults still set, with how often they will strike.
    pub faults: Vec<(Fault, Times)>,
}

impl Simulator {
    /// An empty platform. Both its clocks follow tokio's time; the wall clock starts at 2026-11-20T12:00:00Z, so
    /// that a run under paused time is the same every time.
    pub fn new(seed: u64) -> Self {
        Self::with_clock(seed, Virtual::starting_now())
    }

    /// An empty platform on this clock. Its monotonic half has to advance with tokio's time.
    pub fn with_clock(seed: u64, clock: impl Clock + 'static) -> Self {
        Self(Hub::new(Platform::new(seed), clock))
    }

    /// Makes a WeChat user known. Adding a bot and pushing do this too.
    pub fn add_person(&self, person: Person) {
        self.with(|platform, _| platform.add_person(person));
    }

    /// Adds a bot that is logged in. The earlier bot of the same user is dead from now on (§2.2).
    pub fn add_bot(&self, bot: NewBot) -> Bot {
        self.with(|platform, now| platform.add_bot(bot, now))
    }

    /// A user writes. A poll that is held is answered at once.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn push(&self, bot: &BotId, message: NewMessage) -> Result<Pushed, UnknownBot> {
        self.with(|platform, now| platform.push(bot, &message, now))
    }

    /// Sets a fault. Faults of one place strike in the order in which they were set.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn set_fault(&self, bot: &BotId, fault: Fault, times: Times) -> Result<(), UnknownBot> {
        self.with(|platform, _| platform.set_fault(bot, fault, times))
    }

    /// Clears all faults of the bot. Its session is not touched; [`Self::heal`] does that.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn clear_faults(&self, bot: &BotId) -> Result<(), UnknownBot> {
        self.with(|platform, _| platform.clear_faults(bot))
    }

    /// Which faults have struck the bot so far, and how often each.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn struck(&self, bot: &BotId) -> Result<Vec<(Fault, u64)>, UnknownBot> {
        self.with(|platform, _| platform.struck(bot))
    }

    /// Sets a fault of the calls that no bot makes: those of a login, and those with a token that nobody has.
    pub fn set_login_fault(&self, fault: Fault, times: Times) {
        self.with(|platform, _| platform.set_login_fault(fault, times));
    }

    /// Clears them.
    pub fn clear_login_faults(&self) {
        self.with(|platform, _| platform.clear_login_faults());
    }

    /// The bot's login lapses. Polls that are held are answered with that at once.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn expire(&self, bot: &BotId, expiry: Expiry) -> Result<(), UnknownBot> {
        self.with(|platform, now| platform.expire(bot, expiry, now))
    }

    /// The bot's login is good again, whatever it was.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn heal(&self, bot: &BotId) -> Result<(), UnknownBot> {
        self.with(|platform, _| platform.heal(bot))
    }

    /// Every login code that was given out, the newest last.
    pub fn login_codes(&self) -> Vec<LoginCode> {
        self.with(|platform, _| platform.login_codes())
    }

    /// A WeChat user scans the code.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn scan(&self, qrcode: &str, user: &UserId) -> Result<(), LoginError> {
        self.with(|platform, now| platform.scan(qrcode, user, now))
    }

    /// The phone shows this number, and the client has to enter it before the user can confirm.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn require_code(&self, qrcode: &str, number: &str) -> Result<(), LoginError> {
        self.with(|platform, now| platform.require_code(qrcode, number, now))
    }

    /// The user confirms: gives the new bot, and the user's earlier one is dead from now on. `None` when that one
    /// belongs to this client already, which is then told so (`binded_redirect`).
    ///
    /// # Errors
    /// When there is no such code, it is over, or nobody has scanned it.
    pub fn confirm(&self, qrcode: &str) -> Result<Option<Bot>, LoginError> {
        self.with(|platform, now| platform.confirm(qrcode, true, now))
    }

    /// The user confirms, and the answer has no `ilink_bot_id`.
    ///
    /// # Errors
    /// As [`Self::confirm`].
    pub fn confirm_without_bot(&self, qrcode: &str) -> Result<Option<Bot>, LoginError> {
        self.with(|platform, now| platform.confirm(qrcode, false, now))
    }

    /// Sends the client to another host, or, with `None`, nowhere.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn redirect(&self, qrcode: &str, host: Option<&str>) -> Result<(), LoginError> {
        self.with(|platform, now| platform.redirect(qrcode, host, now))
    }

    /// The code is blocked, as after too many wrong numbers.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn block_code(&self, qrcode: &str) -> Result<(), LoginError> {
        self.with(|platform, now| platform.end_code(qrcode, LoginStep::Blocked, now))
    }

    /// The code is too old.
    ///
    /// # Errors
    /// When there is no such code, or it is over.
    pub fn expire_code(&self, qrcode: &str) -> Result<(), LoginError> {
        self.with(|platform, now| platform.end_code(qrcode, LoginStep::Expired, now))
    }

    /// Sets what an older cursor brings.
    pub fn set_cursor_behaviour(&self, cursor: Cursor) {
        self.set_rules(|rules| rules.cursor = cursor);
    }

    /// Changes how the platform behaves, from the next call on.
    pub fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        self.with(|platform, _| change(&mut platform.rules));
    }

    /// How the platform behaves.
    pub fn rules(&self) -> Rules {
        self.with(|platform, _| platform.rules.clone())
    }

    /// From now on the ledgers keep at least the newest `retain` entries and about twice as many at most; what has
    /// settled before is dropped and only counted. A million at first.
    pub fn set_retain(&self, retain: usize) {
        self.with(|platform, _| platform.set_retain(retain));
    }

    /// Makes the whole platform reachable or not, for new connections.
    pub fn set_reach(&self, reach: Reach) {
        self.0.reach().send_replace(reach);
    }

    /// Whether the platform can be reached.
    pub fn reach(&self) -> Reach {
        *self.0.reach().borrow()
    }

    /// Both ledgers as they are now.
    pub fn ledger(&self) -> Ledger {
        self.read_ledger(Ledger::clone)
    }

    /// Looks at both ledgers without copying them. `look` must not call the simulator.
    pub fn read_ledger<R>(&self, look: impl FnOnce(&Ledger) -> R) -> R {
        self.with(|platform, _| look(platform.ledger()))
    }

    /// What was counted for the bot so far.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn counters(&self, bot: &BotId) -> Result<Counters, UnknownBot> {
        self.with(|platform, _| platform.counters(bot))
    }

    /// The live bot of a WeChat user.
    pub fn bot_of(&self, user: &UserId) -> Option<Bot> {
        self.with(|platform, _| platform.bot_of(user))
    }

    /// Whether this user sees the bot typing now.
    pub fn typing(&self, bot: &BotId, user: &UserId) -> bool {
        self.with(|platform, now| platform.typing(bot, user, now))
    }

    /// Everything there is to see.
    pub fn state(&self) -> State {
        let reach = self.reach();
        self.with(|platform, _| State {
            reach,
            rules: platform.rules.clone(),
            people: platform.people.values().cloned().collect(),
            bots: platform
                .bots
                .values()
                .map(|state| (state.bot.bot_id.clone(), platform.view(state)))
                .collect(),
            logins: platform.login_codes(),
            ledger: platform.ledger.clone(),
        })
    }

    /// Runs something on the platform after everything that is due.
    fn with<R>(&self, f: impl FnOnce(&mut Platform, Now) -> R) -> R {
        self.0.with(f)
    }
}

impl Platform {
    /// The live bot of a WeChat user: the newest one whose login was not taken over.
    pub(crate) fn bot_of(&self, user: &UserId) -> Option<Bot> {
        let dead = Session::Lapsed(Expiry::revoked().refusing_sends());
        let mut bots = self.bots.values().filter(|state| state.bot.user_id == *user && state.session != dead);
        bots.next().map(|state| state.bot.clone())
    }

    fn view(&self, state: &super::bot::BotState) -> BotView {
        let lapsed = match state.session {
            Session::Live => None,
            Session::Lapsed(expiry) => Some(expiry),
        };
        BotView {
            lapsed,
            present: state.present,
            counters: Counters { open_polls: self.open_polls(&state.bot.bot_id), ..state.counters.clone() },
            faults: state.faults.list().to_vec(),
            bot: state.bot.clone(),
        }
    }
}

impl From<&Simulator> for Mountable {
    fn from(simulator: &Simulator) -> Self {
        Self::new(&simulator.0, simulator.clone())
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weixin::Simulator")
    }
}
