//! The platform: people, bots, timers, and who gets which input. Pure: time comes in as a value, effects go out as
//! values.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use moorline_core::{Monotonic, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::BASE_URL;
use super::bot::{Bot, BotId, BotState, Counters, NewBot, UnknownBot};
use super::calls::OpenCall;
use super::expiry::{Expiry, Session};
use super::fault::Fault;
use super::ledger::Ledger;
use super::login::Login;
use super::media::{Stored, Upload};
use super::rules::Rules;
use crate::faults::{Faults, Times};
use crate::hub::Machine;
use crate::link::{Action, Effect, Input, LinkId, Now};

/// The first message id. Neighbours of it are one and the same number to a reader that uses doubles.
const FIRST_MESSAGE_ID: u64 = 7_448_678_501_208_393_001;

/// A WeChat user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// `…@im.wechat`, the same in all logins.
    pub user_id: UserId,
    /// For people.
    #[serde(default)]
    pub name: String,
}

/// A WeChat iLink bot platform without I/O and without a clock.
pub struct Platform {
    pub(crate) rules: Rules,
    pub(crate) people: BTreeMap<UserId, Person>,
    pub(crate) bots: BTreeMap<BotId, BotState>,
    /// Every token there ever was.
    pub(crate) tokens: BTreeMap<String, BotId>,
    /// Context tokens: whose they are, and the message they came with.
    pub(crate) context_tokens: BTreeMap<String, ContextToken>,
    /// Calls that have not been answered to their last byte.
    pub(crate) open: BTreeMap<LinkId, OpenCall>,
    /// Faults of the calls that no bot makes.
    pub(crate) faults: Faults<Fault>,
    /// Login codes, oldest first.
    pub(crate) logins: Vec<Login>,
    /// Announced uploads by their parameter.
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// Files on the CDN by their parameter.
    pub(crate) files: BTreeMap<String, Stored>,
    pub(crate) ledger: Ledger,
    pub(crate) retain: usize,
    pub(crate) next_message_id: u64,
    pub(crate) last_message: u64,
    pub(crate) last_call: u64,
    pub(crate) rng: Rng,
    timers: BTreeMap<TimerKey, Timer>,
    last_timer: u64,
    last_link: u64,
    actions: Vec<Action>,
}

/// A token that came with a message (§5.3).
#[derive(Debug, Clone)]
pub(crate) struct ContextToken {
    pub(crate) bot: BotId,
    pub(crate) user: UserId,
    pub(crate) message_id: u64,
    pub(crate) at: Timestamp,
}

/// When a timer strikes, and a number that keeps timers of one moment in the order of setting.
pub(crate) type TimerKey = (Monotonic, u64);

/// What the platform does by itself.
#[derive(Debug)]
pub(crate) enum Timer {
    /// A poll was held long enough.
    EndPoll { bot: BotId, link: LinkId },
    /// A status poll was held long enough.
    EndStatus { link: LinkId },
    /// A login code is too old.
    ExpireCode { qrcode: String },
    /// A late answer.
    Effect { link: LinkId, effect: Effect },
}

impl Platform {
    /// An empty platform.
    pub fn new(seed: u64) -> Self {
        Self {
            rules: Rules::default(),
            people: BTreeMap::new(),
            bots: BTreeMap::new(),
            tokens: BTreeMap::new(),
            context_tokens: BTreeMap::new(),
            open: BTreeMap::new(),
            faults: Faults::default(),
            logins: Vec::new(),
            uploads: BTreeMap::new(),
            files: BTreeMap::new(),
            ledger: Ledger::default(),
            retain: 1_000_000,
            next_message_id: FIRST_MESSAGE_ID,
            last_message: 0,
            last_call: 0,
            rng: Rng::with_seed(seed),
            timers: BTreeMap::new(),
            last_timer: 0,
            last_link: 0,
            actions: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, link: LinkId, effect: Effect) {
        self.actions.push(Action { link, effect });
    }

    /// Does it after `delay`; at once when there is none.
    pub(crate) fn act_later(&mut self, link: LinkId, effect: Effect, delay: Duration, now: Now) {
        if delay.is_zero() {
            self.act(link, effect);
        } else {
            self.set_timer(now.monotonic + delay, Timer::Effect { link, effect });
        }
    }

    pub(crate) fn set_timer(&mut self, at: Monotonic, timer: Timer) -> TimerKey {
        self.last_timer += 1;
        let key = (at, self.last_timer);
        self.timers.insert(key, timer);
        key
    }

    pub(crate) fn clear_timer(&mut self, key: TimerKey) {
        self.timers.remove(&key);
    }

    /// Lower-case hex digits from the seed.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        std::iter::repeat_with(|| char::from_digit(self.rng.u32(0..16), 16).unwrap_or('0'))
            .take(digits)
            .collect()
    }

    pub(crate) fn message_id(&mut self) -> u64 {
        let id = self.next_message_id;
        self.next_message_id += 1;
        id
    }

    pub(crate) fn bot(&self, id: &BotId) -> Result<&BotState, UnknownBot> {
        self.bots.get(id).ok_or_else(|| UnknownBot(id.clone()))
    }

    pub(crate) fn bot_mut(&mut self, id: &BotId) -> Result<&mut BotState, UnknownBot> {
        self.bots.get_mut(id).ok_or_else(|| UnknownBot(id.clone()))
    }
}

impl Machine for Platform {
    fn new_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    fn advance(&mut self, now: Now) {
        while let Some(entry) = self.timers.first_entry() {
            let due = entry.key().0;
            if due > now.monotonic {
                return;
            }
            let timer = entry.remove();
            let then = Now { monotonic: due, wall: now.wall.minus(now.monotonic - due) };
            match timer {
                Timer::EndPoll { bot, link } => self.end_poll(&bot, link, then),
                Timer::EndStatus { link } => self.end_status(link, then),
                Timer::ExpireCode { qrcode } => self.expire_login(&qrcode, then),
                Timer::Effect { link, effect } => self.act(link, effect),
            }
        }
    }

    fn input(&mut self, link: LinkId, input: Input, now: Now) {
        match input {
            Input::Call(request) => self.call(link, &request, now),
            // There are no WebSockets here.
            Input::Handshake(_) => self.not_found(link),
            Input::Message(_) => {}
            Input::Delivered => self.delivered(link, now),
            Input::Gone => self.gone(link, now),
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn next_due(&self) -> Option<Monotonic> {
        self.timers.first_key_value().map(|(key, _)| key.0)
    }
}

/// The test's side: what [`super::Simulator`] offers under the same names.
impl Platform {
    /// Makes a WeChat user known.
    pub fn add_person(&mut self, person: Person) {
        self.people.insert(person.user_id.clone(), person);
    }

    /// Adds a bot that is logged in. The user's earlier bot is dead from now on.
    pub fn add_bot(&mut self, new: NewBot, now: Now) -> Bot {
        let user_id = new.user_id.unwrap_or_else(|| UserId::new(format!("o9cq80{}@im.wechat", self.hex(22))));
        let person = Person { user_id: user_id.clone(), name: String::new() };
        self.people.entry(user_id.clone()).or_insert(person);
        let bot = Bot {
            bot_id: new.bot_id.unwrap_or_else(|| BotId::new(format!("{}@im.bot", self.hex(12)))),
            token: new.token.unwrap_or_else(|| self.hex(40)),
            base_url: self.rules.base_url.clone().unwrap_or_else(|| BASE_URL.to_owned()),
            user_id,
        };
        self.kill_bots_of(&bot.user_id, now);
        self.tokens.insert(bot.token.clone(), bot.bot_id.clone());
        self.bots.insert(bot.bot_id.clone(), BotState::new(bot.clone()));
        bot
    }

    /// One WeChat user has one live bot (§2.2).
    fn kill_bots_of(&mut self, user: &UserId, now: Now) {
        let bots = self.bots.values().filter(|state| state.bot.user_id == *user);
        let bots: Vec<BotId> = bots.map(|state| state.bot.bot_id.clone()).collect();
        for bot in bots {
            self.lapse(&bot, Session::Lapsed(Expiry::revoked().refusing_sends()), now);
        }
    }

    /// Ends the bot's login; polls that are held are answered at once.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn expire(&mut self, bot: &BotId, expiry: Expiry, now: Now) -> Result<(), UnknownBot> {
        self.bot(bot)?;
        self.lapse(bot, Session::Lapsed(expiry), now);
        Ok(())
    }

    /// Makes the bot's login good again.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn heal(&mut self, bot: &BotId) -> Result<(), UnknownBot> {
        self.bot_mut(bot)?.session = Session::Live;
        Ok(())
    }

    fn lapse(&mut self, bot: &BotId, session: Session, now: Now) {
        if let Some(state) = self.bots.get_mut(bot) {
            state.session = session;
            self.answer_held(bot, now);
        }
    }

    /// Sets a fault.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn set_fault(&mut self, bot: &BotId, fault: Fault, times: Times) -> Result<(), UnknownBot> {
        self.bot_mut(bot)?.faults.set(fault, times);
        Ok(())
    }

    /// Sets a fault of the calls that no bot makes: those of a login, and those with a token that nobody has.
    pub fn set_login_fault(&mut self, fault: Fault, times: Times) {
        self.faults.set(fault, times);
    }

    /// Clears all faults of the calls that no bot makes.
    pub fn clear_login_faults(&mut self) {
        self.faults.clear();
    }

    /// Clears all faults of the bot.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn clear_faults(&mut self, bot: &BotId) -> Result<(), UnknownBot> {
        self.bot_mut(bot)?.faults.clear();
        Ok(())
    }

    /// Which faults have struck the bot, and how often.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn struck(&self, bot: &BotId) -> Result<Vec<(Fault, u64)>, UnknownBot> {
        Ok(self.bot(bot)?.faults.struck().to_vec())
    }

    /// Both ledgers.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was counted for the bot.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn counters(&self, bot: &BotId) -> Result<Counters, UnknownBot> {
        let state = self.bot(bot)?;
        Ok(Counters { open_polls: self.open_polls(bot), ..state.counters.clone() })
    }
}
