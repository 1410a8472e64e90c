//! The handle that tests and mounts share.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use moorline_core::{ChatId, Clock, EventId, MessageId, Monotonic, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::feishu::{
    Action, Activity, App, AppId, ChatType, ConnectionInfo, ConnectionLimit, Counters, Cut, Effect, Fault,
    Input, Ledger, LinkId, NewApp, Now, OddFrame, Person, Platform, Push, Pushed, Rates, Reach, Redelivery,
    Resource, Times, UnknownApp,
};

/// Effects a mount has not carried out yet. A client that does not read for this long is reset (G12).
const OUTLET_LIMIT: usize = 65_536;

/// A handle to one simulated platform; clones share it. Every method may be called from any thread.
#[derive(Clone)]
pub struct Simulator(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    clock: Box<dyn Clock>,
    /// When the platform next has something to do by itself; the mounts wait for it.
    alarm: watch::Sender<Option<Monotonic>>,
    reach: watch::Sender<Reach>,
}

struct Inner {
    platform: Platform,
    outlets: HashMap<LinkId, mpsc::Sender<Effect>>,
}

/// What a mount reads to serve one link. Dropping it tells the platform that the client is gone.
pub(crate) struct Outlet {
    link: LinkId,
    effects: mpsc::Receiver<Effect>,
    simulator: Simulator,
}

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
        let inner = Inner { platform: Platform::new(seed), outlets: HashMap::new() };
        Self(Arc::new(Shared {
            inner: Mutex::new(inner),
            clock: Box::new(clock),
            alarm: watch::Sender::new(None),
            reach: watch::Sender::new(Reach::Open),
        }))
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
        self.0.reach.send_replace(reach);
    }

    /// Whether the platform can be reached.
    pub fn reach(&self) -> Reach {
        *self.0.reach.borrow()
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

    /// Begins a link for a mount: its input goes into the platform, its effects come out of the outlet.
    pub(crate) fn open(&self, input: Input) -> Outlet {
        let (sender, effects) = mpsc::channel(OUTLET_LIMIT);
        let mut inner = self.0.inner.lock();
        let link = inner.platform.new_link();
        inner.outlets.insert(link, sender);
        drop(inner);
        let outlet = Outlet { link, effects, simulator: self.clone() };
        outlet.input(input);
        outlet
    }

    /// Lets the platform do what it does by itself when it is due. Every mount runs this; several at a time do no
    /// harm, because whatever is due is done once.
    pub(crate) async fn run_timers(self) {
        let mut alarm = self.0.alarm.subscribe();
        loop {
            let now = self.with(|_, now| now);
            let due = *alarm.borrow_and_update();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep(due - now.monotonic).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = wait => {}
                changed = alarm.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Changes with [`Self::set_reach`].
    pub(crate) fn reach_changes(&self) -> watch::Receiver<Reach> {
        self.0.reach.subscribe()
    }

    /// Runs something on the platform after everything that is due, and hands its actions to the mounts.
    fn with<R>(&self, f: impl FnOnce(&mut Platform, Now) -> R) -> R {
        let mut inner = self.0.inner.lock();
        let now = Now { monotonic: self.0.clock.now(), wall: self.0.clock.wall() };
        inner.platform.advance(now);
        let result = f(&mut inner.platform, now);
        inner.route(now);
        let alarm = inner.platform.next_due();
        self.0.alarm.send_if_modified(|current| std::mem::replace(current, alarm) != alarm);
        result
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulator")
    }
}

// === impl Inner ===

impl Inner {
    /// Hands out actions. A link whose mount is gone, or too slow, is over for the platform too.
    fn route(&mut self, now: Now) {
        loop {
            let actions = self.platform.take_actions();
            if actions.is_empty() {
                return;
            }
            for Action { link, effect } in actions {
                let Some(outlet) = self.outlets.get(&link) else { continue };
                if outlet.try_send(effect).is_err() {
                    self.outlets.remove(&link);
                    self.platform.input(link, Input::Gone, now);
                }
            }
        }
    }
}

// === impl Outlet ===

impl Outlet {
    /// The next effect; `None` when the platform has cut the link for being too slow.
    pub(crate) async fn next(&mut self) -> Option<Effect> {
        self.effects.recv().await
    }

    /// The same as a poll.
    pub(crate) fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Effect>> {
        self.effects.poll_recv(cx)
    }

    /// Something happened on this link.
    pub(crate) fn input(&self, input: Input) {
        self.simulator.with(|platform, now| platform.input(self.link, input, now));
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.simulator.0.inner.lock().outlets.remove(&self.link);
        self.input(Input::Gone);
    }
}

/// The clock of a simulator that was given none. It counts what passes of tokio's time, and stands still where that
/// jumps back, as it does when a paused runtime ends and another one takes over the platform.
struct Virtual(Mutex<(Instant, Monotonic)>);

impl Virtual {
    /// 2026-11-20T12:00:00Z.
    const START: Timestamp = Timestamp::from_millis(1_795_176_000_000);

    fn starting_now() -> Self {
        Self(Mutex::new((Instant::now(), Monotonic::default())))
    }
}

impl Clock for Virtual {
    fn now(&self) -> Monotonic {
        let mut last = self.0.lock();
        let now = Instant::now();
        *last = (now, last.1 + now.saturating_duration_since(last.0));
        last.1
    }

    fn wall(&self) -> Timestamp {
        Self::START + self.now().since_origin()
    }
}
