//! What every simulated platform shares: the machine it is, and the hub between tests, mounts and that machine.

use std::collections::HashMap;
use std::sync::Arc;

use moorline_core::{Clock, Monotonic, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::link::{Action, Effect, Input, LinkId, Now};

/// Effects a mount has not carried out yet. A client that does not read for this long is reset (G12).
const OUTLET_LIMIT: usize = 65_536;

/// A platform without I/O and without a clock. Whatever was due before the moment of a call is done first, at its
/// own time, so it does not matter how late a mount calls.
pub trait Machine: Send + 'static {
    /// A number for a link that begins.
    fn new_link(&mut self) -> LinkId;

    /// Does what is due by now.
    fn advance(&mut self, now: Now);

    /// Takes what happened on a link. [`Machine::advance`] has to be called first.
    fn input(&mut self, link: LinkId, input: Input, now: Now);

    /// What has to be done since the last call, in order.
    fn take_actions(&mut self) -> Vec<Action>;

    /// When the platform next does something by itself.
    fn next_due(&self) -> Option<Monotonic>;

    /// Takes what happened on a link, and gives what has to be done, in order.
    fn step(&mut self, link: LinkId, input: Input, now: Now) -> Vec<Action> {
        self.advance(now);
        self.input(link, input, now);
        self.take_actions()
    }
}

/// Whether new connections to the platform succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Yes.
    #[default]
    Open,
    /// TCP is refused.
    Refused,
    /// TCP is accepted, and then nothing is read or written.
    Hangs,
}

/// One platform with its clock and everybody who is connected to it; clones are the same one.
pub(crate) struct Hub<P>(Arc<Shared<P>>);

struct Shared<P> {
    inner: Mutex<Inner<P>>,
    clock: Box<dyn Clock>,
    /// When the platform next has something to do by itself; the mounts wait for it.
    alarm: watch::Sender<Option<Monotonic>>,
    reach: watch::Sender<Reach>,
}

struct Inner<P> {
    platform: P,
    outlets: HashMap<LinkId, mpsc::Sender<Effect>>,
}

// === impl Hub ===

impl<P: Machine> Hub<P> {
    pub(crate) fn new(platform: P, clock: impl Clock + 'static) -> Self {
        Self(Arc::new(Shared {
            inner: Mutex::new(Inner { platform, outlets: HashMap::new() }),
            clock: Box::new(clock),
            alarm: watch::Sender::new(None),
            reach: watch::Sender::new(Reach::Open),
        }))
    }

    /// Runs something on the platform after everything that is due, and hands its actions to the mounts.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut P, Now) -> R) -> R {
        let mut inner = self.0.inner.lock();
        let now = Now { monotonic: self.0.clock.now(), wall: self.0.clock.wall() };
        inner.platform.advance(now);
        let result = f(&mut inner.platform, now);
        inner.route(now);
        let alarm = inner.platform.next_due();
        self.0.alarm.send_if_modified(|current| std::mem::replace(current, alarm) != alarm);
        result
    }

    /// Begins a link, whose effects come out of the receiver.
    pub(crate) fn begin(&self) -> (LinkId, mpsc::Receiver<Effect>) {
        let (sender, effects) = mpsc::channel(OUTLET_LIMIT);
        let mut inner = self.0.inner.lock();
        let link = inner.platform.new_link();
        inner.outlets.insert(link, sender);
        (link, effects)
    }

    /// Ends a link: nobody takes its effects any more.
    pub(crate) fn end(&self, link: LinkId) {
        self.0.inner.lock().outlets.remove(&link);
        self.with(|platform, now| platform.input(link, Input::Gone, now));
    }

    /// When the platform next has something to do by itself.
    pub(crate) fn alarm(&self) -> watch::Receiver<Option<Monotonic>> {
        self.0.alarm.subscribe()
    }

    /// Whether the platform can be reached.
    pub(crate) fn reach(&self) -> &watch::Sender<Reach> {
        &self.0.reach
    }
}

impl<P> Clone for Hub<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === impl Inner ===

impl<P: Machine> Inner<P> {
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

/// The clock of a simulator that was given none. It counts what passes of tokio's time, and stands still where that
/// jumps back, as it does when a paused runtime ends and another one takes over the platform.
pub(crate) struct Virtual(Mutex<(Instant, Monotonic)>);

impl Virtual {
    /// 2026-11-20T12:00:00Z.
    const START: Timestamp = Timestamp::from_millis(1_795_176_000_000);

    pub(crate) fn starting_now() -> Self {
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
