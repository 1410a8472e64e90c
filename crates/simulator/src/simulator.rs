//! The handle that tests and mounts share.

use std::collections::BTreeMap;
use std::fmt;

use moorline_core::{ChatId, Clock, EventId, MessageId};
use serde::Serialize;

use crate::feishu::{
    Activity, App, AppId, ChatType, ConnectionInfo, ConnectionLimit, Counters, Cut, Fault, Ledger, NewApp,
    OddFrame, Person, Platform, Push, Pushed, Rates, Redelivery, Resource, Times, UnknownApp,
};
use crate::hub::{Hub, Reach, Virtual};
use crate::link::Now;
use crate::mount::Mountable;

/// A handle to one simulated Feishu platform; clones share it. Every method may be called from any thread.
#[derive(Clone)]
pub struct Simulator(Hub<Platform>);

/// Everything there is to see, as `GET /_simulator/state` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// Whether the platform can be reached at all.
    pub reach: Reach,
    /// How undelivered events are repeated.
    pub redelivery: Redelivery,
    /// The rate limits; `None` when they are off.
    pub rates: Option<Rates>,
    /// The apps.
    pub apps: BTreeMap<AppId, AppView>,
    /// Both ledgers.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// One app in [`State`].
#[derive(Debug, Clone, Serialize)]
pub struct AppView {
    /// Names and credentials.
    #[serde(flatten)]
    pub app: App,
    /// Counters.
    pub counters: Counters,
    /// Open connections, in the order of opening.
    pub connections: Vec<ConnectionInfo>,
    /// Faults still set, with how often they will strike.
    pub faults: Vec<(Fault, Times)>,
}

// === impl Simulator ===

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

    /// Adds an app. An app_id that is there already replaces its secret, name and open_id, and nothing else.
    pub fn add_app(&self, app: NewApp) -> App {
        self.with(|platform, _| platform.add_app(app))
    }

    /// Makes a chat known without a message of a user, so that the bot can write there. Pushing does this too.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn add_chat(&self, app: &AppId, chat: ChatId, chat_type: ChatType) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.add_chat(app, chat, chat_type))
    }

    /// Takes the bot out of a chat: sending there fails with 230002 from now on.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn remove_chat(&self, app: &AppId, chat: &ChatId) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.remove_chat(app, chat))
    }

    /// A user writes: one event, delivered at once to one connection of the app, and repeated until acked.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push(&self, app: &AppId, push: Push) -> Result<Pushed, UnknownApp> {
        self.with(|platform, now| platform.push(app, &push, now))
    }

    /// A user writes in a chat of several bots: one message, and an event for each of these apps (F-017).
    ///
    /// # Errors
    /// When there is no such app; then nothing is pushed.
    pub fn push_to(&self, apps: &[AppId], push: Push) -> Result<Vec<Pushed>, UnknownApp> {
        self.with(|platform, now| platform.push_to(apps, &push, now))
    }

    /// The app's last event about this message comes again under a new event_id (F-032); `None` when there is none.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push_again(&self, app: &AppId, message: &MessageId) -> Result<Option<EventId>, UnknownApp> {
        self.with(|platform, now| platform.push_again(app, message, now))
    }

    /// Something else happens, and the app is told: an edit, a recall, a reaction, a used card.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn report(&self, app: &AppId, activity: Activity) -> Result<EventId, UnknownApp> {
        self.with(|platform, now| platform.report(app, activity, now))
    }

    /// Makes a person known, who has another open_id for each app (F-018).
    pub fn add_person(&self, person: Person) {
        self.with(|platform, _| platform.add_person(person));
    }

    /// A user has uploaded this; the key goes into the content of a message.
    pub fn add_resource(&self, resource: Resource) -> String {
        self.with(|platform, _| platform.add_resource(resource))
    }

    /// Sets the rate limits of §3.6, or turns them off, which they are at first.
    pub fn set_rates(&self, rates: Option<Rates>) {
        self.with(|platform, _| platform.set_rates(rates));
    }

    /// Sets how many connections the app may have: 50 at first.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn set_connection_limit(&self, app: &AppId, limit: ConnectionLimit) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.set_connection_limit(app, limit))
    }

    /// From now on the ledgers keep at least the newest `retain` entries and about twice as many at most; what has
    /// settled before is dropped and only counted. A million at first.
    pub fn set_retain(&self, retain: usize) {
        self.with(|platform, _| platform.set_retain(retain));
    }

    /// An event with this payload, byte for byte, tracked and repeated like any other.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push_raw(&self, app: &AppId, payload: impl Into<Vec<u8>>) -> Result<EventId, UnknownApp> {
        let payload = payload.into();
        self.with(|platform, now| platform.push_raw(app, payload, now))
    }

    /// Sets a fault. Faults of one place strike in the order in which they were set.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn set_fault(&self, app: &AppId, fault: Fault, times: Times) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.set_fault(app, fault, times))
    }

    /// Clears all faults of the app. Connections that are black holes stay so.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn clear_faults(&self, app: &AppId) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.clear_faults(app))
    }

    /// Which faults have struck the app so far, and how often each: one that is set and never met is not among them.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn struck(&self, app: &AppId) -> Result<Vec<(Fault, u64)>, UnknownApp> {
        self.with(|platform, _| platform.struck(app))
    }

    /// Ends all open connections of the app like this, and says how many there were.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn drop_connections(&self, app: &AppId, cut: &Cut) -> Result<usize, UnknownApp> {
        self.with(|platform, _| platform.drop_connections(app, cut))
    }

    /// Sends such a frame on every open connection of the app now, and says on how many.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn inject(&self, app: &AppId, frame: OddFrame) -> Result<usize, UnknownApp> {
        self.with(|platform, now| platform.inject(app, frame, now))
    }

    /// Makes every token of the app invalid at once; calls with one are refused with 99991663.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn revoke_tokens(&self, app: &AppId) -> Result<(), UnknownApp> {
        self.with(|platform, _| platform.revoke_tokens(app))
    }

    /// Sets how undelivered events are repeated, from the next attempt on.
    pub fn set_redelivery(&self, redelivery: Redelivery) {
        self.with(|platform, _| platform.set_redelivery(redelivery));
    }

    /// Makes the whole platform reachable or not, for new connections; open WebSockets are not touched
    /// ([`Self::drop_connections`] does that).
    pub fn set_reach(&self, reach: Reach) {
        self.0.reach().send_replace(reach);
    }

    /// Whether the platform can be reached.
    pub fn reach(&self) -> Reach {
        *self.0.reach().borrow()
    }

    /// Both ledgers as they are now.
    pub fn ledger(&self) -> Ledger {
        self.with(|platform, _| platform.ledger().clone())
    }

    /// Looks at both ledgers without copying them. `look` must not call the simulator.
    pub fn read_ledger<R>(&self, look: impl FnOnce(&Ledger) -> R) -> R {
        self.with(|platform, _| look(platform.ledger()))
    }

    /// What was counted for the app so far.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn counters(&self, app: &AppId) -> Result<Counters, UnknownApp> {
        self.with(|platform, _| platform.counters(app))
    }

    /// The app's open connections.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn connections(&self, app: &AppId) -> Result<Vec<ConnectionInfo>, UnknownApp> {
        self.with(|platform, _| platform.connections(app))
    }

    /// Everything there is to see.
    pub fn state(&self) -> State {
        let reach = self.reach();
        self.with(|platform, _| State {
            reach,
            redelivery: platform.redelivery().clone(),
            rates: platform.rates().cloned(),
            apps: platform
                .apps()
                .map(|(app, counters, connections, faults)| {
                    let view = AppView { app: app.clone(), counters, connections, faults: faults.to_vec() };
                    (app.app_id.clone(), view)
                })
                .collect(),
            ledger: platform.ledger().clone(),
        })
    }

    /// Runs something on the platform after everything that is due.
    fn with<R>(&self, f: impl FnOnce(&mut Platform, Now) -> R) -> R {
        self.0.with(f)
    }
}

impl From<&Simulator> for Mountable {
    fn from(simulator: &Simulator) -> Self {
        Self::new(&simulator.0, simulator.clone())
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulator")
    }
}
