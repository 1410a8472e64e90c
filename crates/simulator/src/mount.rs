//! A platform as the mounts see it, whichever it is.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::hub::{Hub, Machine, Reach};
use crate::link::{Effect, Input, LinkId, Now};
use moorline_core::Monotonic;

/// Any simulated platform, ready to be mounted: what [`crate::memory`] and [`crate::server`] take. It is made from
/// a reference to a handle.
#[derive(Clone)]
pub struct Mountable {
    hub: Arc<dyn Links>,
    control: Arc<dyn Control>,
}

/// The hub of a platform without its type.
trait Links: Send + Sync {
    fn begin(&self) -> (LinkId, mpsc::Receiver<Effect>);
    fn input(&self, link: LinkId, input: Input);
    fn end(&self, link: LinkId);
    fn tick(&self) -> Now;
    fn alarm(&self) -> watch::Receiver<Option<Monotonic>>;
    fn reach(&self) -> &watch::Sender<Reach>;
}

/// The control interface of a platform, apart from what all platforms have.
pub(crate) trait Control: Send + Sync {
    /// Carries out a call, whose path comes without its prefix.
    fn control(&self, method: &http::Method, path: &[&str], body: &[u8]) -> Result<Value, Refusal>;
}

/// Why a control call was not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such call.
    NotFound,
    /// It comes from a web page.
    Forbidden,
    /// The body is not as expected.
    Body(serde_json::Error),
    /// What the call is about is not there, or not in a state for it.
    Unknown(String),
}

/// What a mount reads to serve one link. Dropping it tells the platform that the link is over.
pub(crate) struct Outlet {
    link: LinkId,
    effects: mpsc::Receiver<Effect>,
    hub: Arc<dyn Links>,
}

/// A body of a control call; none is `{}`.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Body(error)
    }
}

impl<P: Machine> Links for Hub<P> {
    fn begin(&self) -> (LinkId, mpsc::Receiver<Effect>) {
        Hub::begin(self)
    }

    fn input(&self, link: LinkId, input: Input) {
        self.with(|platform, now| platform.input(link, input, now));
    }

    fn end(&self, link: LinkId) {
        Hub::end(self, link);
    }

    fn tick(&self) -> Now {
        self.with(|_, now| now)
    }

    fn alarm(&self) -> watch::Receiver<Option<Monotonic>> {
        Hub::alarm(self)
    }

    fn reach(&self) -> &watch::Sender<Reach> {
        Hub::reach(self)
    }
}

// === impl Mountable ===

impl Mountable {
    pub(crate) fn new<P: Machine>(hub: &Hub<P>, control: impl Control + 'static) -> Self {
        Self { hub: Arc::new(hub.clone()), control: Arc::new(control) }
    }

    /// Begins a link for a mount: its input goes into the platform, its effects come out of the outlet.
    pub(crate) fn open(&self, input: Input) -> Outlet {
        let (link, effects) = self.hub.begin();
        let outlet = Outlet { link, effects, hub: Arc::clone(&self.hub) };
        outlet.input(input);
        outlet
    }

    /// Lets the platform do what it does by itself when it is due. Every mount runs this; several at a time do no
    /// harm, because whatever is due is done once.
    pub(crate) async fn run_timers(self) {
        let mut alarm = self.hub.alarm();
        loop {
            let now = self.hub.tick();
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

    /// Whether the platform can be reached.
    pub(crate) fn reach(&self) -> Reach {
        *self.hub.reach().borrow()
    }

    /// Makes the platform reachable or not, for new connections.
    pub(crate) fn set_reach(&self, reach: Reach) {
        self.hub.reach().send_replace(reach);
    }

    /// Changes with [`Self::set_reach`].
    pub(crate) fn reach_changes(&self) -> watch::Receiver<Reach> {
        self.hub.reach().subscribe()
    }

    /// Carries out a call of the platform's own control interface.
    pub(crate) fn control(
        &self,
        method: &http::Method,
        path: &[&str],
        body: &[u8],
    ) -> Result<Value, Refusal> {
        self.control.control(method, path, body)
    }
}

impl fmt::Debug for Mountable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mountable")
    }
}

// === impl Outlet ===

impl Outlet {
    /// The next effect; `None` when the platform has cut the link for being too slow.
    pub(crate) async fn next(&mut self) -> Option<Effect> {
        self.effects.recv().await
    }

    /// The same as a poll.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Effect>> {
        self.effects.poll_recv(cx)
    }

    /// Something happened on this link.
    pub(crate) fn input(&self, input: Input) {
        self.hub.input(self.link, input);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.hub.end(self.link);
    }
}
