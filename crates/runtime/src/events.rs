//! The feed: everything worth knowing as it happens, for whoever watches (F-103).
//!
//! It costs the actors a lock and a counter. What nobody listens to is not even put together; what somebody listens to
//! goes into a ring of fixed size, so that a slow watcher loses events, is told how many, and holds up nobody (G12).
//! It belongs to the process and not to an actor: no restart of anything in the tree touches it.

mod account;
mod actors;
mod event;

use std::sync::Arc;

use moorline_core::{AccountId, Clock};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::handle::StoreStatus;
pub(crate) use account::Seen;
pub use event::{Event, Sort, What};

/// Events that a watcher may be behind before it loses some.
const RING: usize = 1_024;

/// Where events are told; cheap to clone, and good on any thread. One without a feed tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Events(Option<Arc<Feed>>);

struct Feed {
    clock: Arc<dyn Clock>,
    /// The number of the last event. Held while an event is told, so that numbers and rings have one order.
    last: Mutex<u64>,
    /// What was told of the store last: its watcher may have been restarted since.
    store: Mutex<&'static str>,
    lifecycle: Sender<Arc<Event>>,
    /// The same and messages too: a busy bot pushes nothing out of the ring of those who did not ask for them.
    everything: Sender<Arc<Event>>,
}

/// What a watcher wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// What becomes of each message and turn, too.
    pub messages: bool,
    /// Of the accounts, this one only. What concerns the whole process is told all the same.
    pub account: Option<AccountId>,
}

/// The events after a moment, in order and without a gap, unless it says that there is one.
#[derive(Debug)]
pub struct Subscription {
    after: u64,
    account: Option<AccountId>,
    events: Receiver<Arc<Event>>,
}

/// Why there is no next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// The watcher was too slow: this many were told meanwhile and are gone. What it knows is out of date.
    #[error("{0} events were missed")]
    Lagged(u64),
    /// There is no feed any more.
    #[error("the feed has ended")]
    Ended,
}

impl Events {
    /// A feed with nobody listening yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (last, store) = (Mutex::new(0), Mutex::new("ok"));
        let (lifecycle, everything) = (Sender::new(RING), Sender::new(RING));
        Self(Some(Arc::new(Feed { clock, last, store, lifecycle, everything })))
    }

    /// Tells what has happened; `what` is called only when somebody listens.
    pub fn tell(&self, sort: Sort, what: impl FnOnce() -> What) {
        let Some(feed) = &self.0 else { return };
        let mut last = feed.last.lock();
        *last += 1;
        let wanted = |ring: &&Sender<_>| ring.receiver_count() > 0;
        let rings = match sort {
            Sort::Lifecycle => [Some(&feed.lifecycle), Some(&feed.everything)],
            Sort::Message => [None, Some(&feed.everything)],
        };
        let mut rings = rings.into_iter().flatten().filter(wanted).peekable();
        if rings.peek().is_none() {
            return;
        }
        let event = Arc::new(Event { seq: *last, at: feed.clock.wall(), what: what() });
        // Who listened a moment ago may have gone.
        rings.for_each(|ring| drop(ring.send(Arc::clone(&event))));
    }

    /// Tells how the store is, if that is new.
    pub(crate) fn store(&self, now: &StoreStatus) {
        let Some(feed) = &self.0 else { return };
        let (from, to) = (std::mem::replace(&mut *feed.store.lock(), now.state), now.state);
        if from != to {
            self.tell(Sort::Lifecycle, || What::Store { from, to, message: now.message.clone() });
        }
    }

    /// What is told from now on.
    pub fn subscribe(&self, scope: &Scope) -> Subscription {
        let account = scope.account.clone();
        match &self.0 {
            Some(feed) => {
                let ring = if scope.messages { &feed.everything } else { &feed.lifecycle };
                let last = feed.last.lock();
                Subscription { after: *last, account, events: ring.subscribe() }
            }
            None => Subscription { after: 0, account, events: broadcast::channel(1).1 },
        }
    }
}

impl Subscription {
    /// The number of the last event before it; the next one has a greater number.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// The next event. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When there are some that it missed; those after them can be had, but a new subscription is of more use.
    pub async fn next(&mut self) -> Result<Arc<Event>, Missed> {
        loop {
            let event = self.events.recv().await.map_err(|error| match error {
                RecvError::Lagged(missed) => Missed::Lagged(missed),
                RecvError::Closed => Missed::Ended,
            })?;
            let wanted = self.account.as_ref();
            if wanted.is_none() || event.what.account().is_none_or(|account| wanted == Some(account)) {
                return Ok(event);
            }
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("last", &*self.last.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
