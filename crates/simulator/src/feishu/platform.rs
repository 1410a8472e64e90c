//! The platform: apps, chats, timers, and who gets which input. Pure: time comes in as a value, effects go out as
//! values.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use moorline_core::{ChatId, MessageId, Monotonic, UserId};

use super::app::{App, AppId, AppState, ConnectionInfo, Counters, NewApp};
use super::connection::Connection;
use super::delivery::{Delivery, Event, Redelivery};
use super::fault::{Cut, Fault};
use super::ledger::Ledger;
use super::limits::Limiter;
use super::people::Person;
use super::push::ChatType;
use super::resources::Stored;
use super::retention::Retention;
use super::sending::{Posted, Sent};
use crate::faults::Times;
use crate::hub::Machine;
use crate::link::{Action, Effect, Input, LinkId, Now};

/// A Feishu platform without I/O and without a clock: [`Machine::step`] takes what happened on a link and when,
/// and gives what has to be done. Whatever was due before that moment is done first, at its own time, so it does
/// not matter how late a mount calls.
pub struct Platform {
    pub(crate) apps: BTreeMap<AppId, AppState>,
    pub(crate) chats: BTreeMap<ChatId, Chat>,
    /// Every message there is, by users and by bots.
    pub(crate) messages: BTreeMap<MessageId, Posted>,
    /// What each uuid of an app sent.
    pub(crate) uuids: BTreeMap<(AppId, String), Sent>,
    /// People by their union_id.
    pub(crate) people: BTreeMap<String, Person>,
    pub(crate) resources: BTreeMap<String, Stored>,
    /// The keys of `resources`, oldest first.
    pub(crate) resource_keys: VecDeque<String>,
    pub(crate) limiter: Limiter,
    pub(crate) retention: Retention,
    pub(crate) ledger: Ledger,
    /// By the number of their record in the ledger: what the machine needs beside it.
    pub(crate) events: BTreeMap<u64, Event>,
    pub(crate) last_event: u64,
    /// Deliveries that may still be acked, by the `SeqID` of their first part.
    pub(crate) deliveries: BTreeMap<u64, Delivery>,
    pub(crate) connections: BTreeMap<LinkId, Connection>,
    /// Handshakes whose 101 is yet to come.
    pub(crate) handshakes: BTreeMap<LinkId, TimerKey>,
    pub(crate) redelivery: Redelivery,
    pub(crate) rng: Rng,
    pub(crate) last_seq: u64,
    timers: BTreeMap<TimerKey, Timer>,
    last_timer: u64,
    last_link: u64,
    actions: Vec<Action>,
}

/// A chat and the bots in it.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) apps: BTreeSet<AppId>,
    /// The user of a direct chat, where one has written.
    pub(crate) user: Option<UserId>,
    pub(crate) chat_type: ChatType,
}

/// When a timer strikes, and a number that keeps timers of one moment in the order of setting.
pub(crate) type TimerKey = (Monotonic, u64);

/// What the platform does by itself.
#[derive(Debug)]
pub(crate) enum Timer {
    /// The time for the ack of this attempt is over.
    Budget { event: u64 },
    /// The next rung of the ladder.
    Redeliver { event: u64 },
    /// A late answer or pong.
    Effect { link: LinkId, effect: Effect },
    /// A late 101.
    Establish { link: LinkId, app: AppId, service: i32, device_id: String },
}

/// There is no app with this id on the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no app {0} on the simulated platform: add it first")]
pub struct UnknownApp(pub AppId);

impl Platform {
    /// An empty platform.
    pub fn new(seed: u64) -> Self {
        Self {
            apps: BTreeMap::new(),
            chats: BTreeMap::new(),
            messages: BTreeMap::new(),
            uuids: BTreeMap::new(),
            people: BTreeMap::new(),
            resources: BTreeMap::new(),
            resource_keys: VecDeque::new(),
            limiter: Limiter::default(),
            retention: Retention::default(),
            ledger: Ledger::default(),
            events: BTreeMap::new(),
            last_event: 0,
            deliveries: BTreeMap::new(),
            connections: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            redelivery: Redelivery::default(),
            rng: Rng::with_seed(seed),
            last_seq: 0,
            timers: BTreeMap::new(),
            last_timer: 0,
            last_link: 0,
            actions: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, link: LinkId, effect: Effect) {
        self.actions.push(Action { link, effect });
    }

    pub(crate) fn set_timer(&mut self, at: Monotonic, timer: Timer) -> TimerKey {
        self.last_timer += 1;
        let key = (at, self.last_timer);
        self.timers.insert(key, timer);
        key
    }

    pub(crate) fn clear_timer(&mut self, key: Option<TimerKey>) {
        if let Some(key) = key {
            self.timers.remove(&key);
        }
    }

    /// Does it after `delay`; at once when there is none.
    pub(crate) fn act_later(&mut self, link: LinkId, effect: Effect, delay: Duration, now: Now) {
        if delay.is_zero() {
            self.act(link, effect);
        } else {
            self.set_timer(now.monotonic + delay, Timer::Effect { link, effect });
        }
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
                Timer::Budget { event } => self.failed(event, then),
                Timer::Redeliver { event } => self.attempt(event, then),
                // Nothing comes out of a black hole, whatever was under way.
                Timer::Effect { link, .. } if self.is_black_hole(link) => {}
                Timer::Effect { link, effect } => self.act(link, effect),
                Timer::Establish { link, app, service, device_id } => {
                    self.handshakes.remove(&link);
                    self.establish(link, app, service, device_id, then);
                }
            }
        }
    }

    fn next_due(&self) -> Option<Monotonic> {
        self.timers.first_key_value().map(|(key, _)| key.0)
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn input(&mut self, link: LinkId, input: Input, now: Now) {
        match input {
            Input::Call(request) => self.call(link, &request, now),
            Input::Handshake(request) => self.handshake(link, &request, now),
            Input::Message(message) => self.message(link, message, now),
            Input::Delivered => {}
            Input::Gone => self.gone(link),
        }
    }
}

/// The test's side: what [`crate::Simulator`] offers under the same names.
impl Platform {
    /// Adds an app, or changes the one with this id.
    pub fn add_app(&mut self, new: NewApp) -> App {
        let app_id = new.app_id.unwrap_or_else(|| AppId::new(format!("cli_{}", self.hex(16))));
        let known = self.apps.get(&app_id).map(|state| state.app.clone());
        let app = App {
            app_secret: new.app_secret.unwrap_or_else(|| self.hex(32)),
            bot_name: if new.bot_name.is_empty() { "Bot".to_owned() } else { new.bot_name },
            bot_open_id: new.bot_open_id.unwrap_or_else(|| UserId::new(format!("ou_{}", self.hex(32)))),
            service_id: known.map_or_else(|| self.rng.i32(30_000_000..40_000_000), |app| app.service_id),
            app_id,
        };
        match self.apps.get_mut(&app.app_id) {
            Some(state) => state.app = app.clone(),
            None => drop(self.apps.insert(app.app_id.clone(), AppState::new(app.clone()))),
        }
        app
    }

    /// Makes a chat known.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn add_chat(&mut self, app: &AppId, chat: ChatId, chat_type: ChatType) -> Result<(), UnknownApp> {
        self.app(app)?;
        let apps = BTreeSet::new();
        let chat = self.chats.entry(chat).or_insert(Chat { apps, user: None, chat_type });
        chat.apps.insert(app.clone());
        Ok(())
    }

    /// Takes the bot out of a chat.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn remove_chat(&mut self, app: &AppId, chat: &ChatId) -> Result<(), UnknownApp> {
        self.app(app)?;
        if let Some(chat) = self.chats.get_mut(chat) {
            chat.apps.remove(app);
        }
        Ok(())
    }

    /// Sets a fault; [`Fault::Hold`] strikes at once.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn set_fault(&mut self, app: &AppId, fault: Fault, times: Times) -> Result<(), UnknownApp> {
        let held = fault == Fault::Hold;
        self.app_mut(app)?.faults.set(fault, times);
        if held {
            self.drop_connections(app, &Cut::Reset)?;
        }
        Ok(())
    }

    /// Clears all faults of the app.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn clear_faults(&mut self, app: &AppId) -> Result<(), UnknownApp> {
        self.app_mut(app)?.faults.clear();
        Ok(())
    }

    /// Which faults have struck the app, and how often.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn struck(&self, app: &AppId) -> Result<Vec<(Fault, u64)>, UnknownApp> {
        Ok(self.app(app)?.faults.struck().to_vec())
    }

    /// Makes every token of the app invalid.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn revoke_tokens(&mut self, app: &AppId) -> Result<(), UnknownApp> {
        self.app_mut(app)?.tokens.clear();
        Ok(())
    }

    /// Sets how undelivered events are repeated.
    pub fn set_redelivery(&mut self, redelivery: Redelivery) {
        self.redelivery = redelivery;
    }

    /// How undelivered events are repeated.
    pub fn redelivery(&self) -> &Redelivery {
        &self.redelivery
    }

    /// Both ledgers.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was counted for the app.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn counters(&self, app: &AppId) -> Result<Counters, UnknownApp> {
        self.app(app).map(|state| state.counters)
    }

    /// The app's open connections, in the order of opening.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn connections(&self, app: &AppId) -> Result<Vec<ConnectionInfo>, UnknownApp> {
        self.app(app).map(|state| self.connections_of(state))
    }

    /// Every app with its counters, connections and faults.
    pub fn apps(&self) -> impl Iterator<Item = (&App, Counters, Vec<ConnectionInfo>, &[(Fault, Times)])> {
        self.apps
            .values()
            .map(|state| (&state.app, state.counters, self.connections_of(state), state.faults.list()))
    }

    pub(crate) fn app(&self, id: &AppId) -> Result<&AppState, UnknownApp> {
        self.apps.get(id).ok_or_else(|| UnknownApp(id.clone()))
    }

    pub(crate) fn app_mut(&mut self, id: &AppId) -> Result<&mut AppState, UnknownApp> {
        self.apps.get_mut(id).ok_or_else(|| UnknownApp(id.clone()))
    }

    /// Uses up the first fault of the app that `pick` knows.
    pub(crate) fn take_fault<T>(&mut self, app: &AppId, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.apps.get_mut(app)?.faults.take(pick)
    }

    /// Lower-case hex digits from the seed.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        std::iter::repeat_with(|| char::from_digit(self.rng.u32(0..16), 16).unwrap_or('0'))
            .take(digits)
            .collect()
    }

    fn connections_of(&self, state: &AppState) -> Vec<ConnectionInfo> {
        let links = state.links.iter().filter_map(|link| self.connections.get(link));
        links.map(|connection| connection.info.clone()).collect()
    }
}
