//! A reference to a child that outlives its generations.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message};
use moorline_core::Generation;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Names a child across its lives, and across those of its supervisors. Made unbound by whoever wires the tree and
/// bound by handing it to exactly one [`ChildSpec`](crate::ChildSpec).
///
/// It points at an actor from the end of that actor's `started()` until the generation ends, and at nothing during a
/// restart delay: a sender learns at once that the child is down instead of waiting in a mailbox (F-024).
pub struct ActorRef<A: Actor> {
    shared: Arc<Shared<A>>,
}

/// Whoever waits is told in the order of asking. A `watch` would tell them in random order, and a seed would not repeat
/// a run.
struct Shared<A: Actor> {
    live: Mutex<Live<A>>,
    changed: Notify,
}

/// The life a reference points at; none while the child is down.
type Live<A> = Option<(Generation, Addr<A>)>;

impl<A: Actor> ActorRef<A> {
    /// A reference to nothing yet.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { live: Mutex::new(None), changed: Notify::new() }) }
    }

    /// The live actor, if any. Fenced: this address stays closed for ever once its generation has ended.
    pub fn addr(&self) -> Option<Addr<A>> {
        self.shared.live.lock().as_ref().map(|(_, addr)| addr.clone())
    }

    /// The live generation, if any.
    pub fn generation(&self) -> Option<Generation> {
        self.shared.live.lock().as_ref().map(|(generation, _)| *generation)
    }

    /// Checked delivery: waits for room in the mailbox and for the answer. The future borrows nothing.
    ///
    /// # Errors
    /// `Closed` when the child is down, or ends before it has answered. Nothing is sent again by itself.
    pub fn send<M>(&self, message: M) -> impl Future<Output = Result<M::Result, MailboxError>> + use<A, M>
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let addr = self.addr();
        async move {
            match addr {
                Some(addr) => addr.send(message).await,
                None => Err(MailboxError::Closed),
            }
        }
    }

    /// A hint: queued whatever the mailbox's bound, never answered, lost when the child dies. False when it is down.
    pub fn tell<M>(&self, message: M) -> bool
    where
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let Some(addr) = self.addr() else { return false };
        let alive = addr.connected();
        addr.do_send(message);
        alive
    }

    /// Waits for a life later than `after`; at once when it is already there.
    pub fn next_generation(&self, after: Generation) -> impl Future<Output = (Generation, Addr<A>)> + use<A> {
        self.wait_for(move |generation| generation > after)
    }

    /// Waits until the child is up; at once when it is.
    pub fn ready(&self) -> impl Future<Output = (Generation, Addr<A>)> + use<A> {
        self.wait_for(|_| true)
    }

    fn wait_for<F>(&self, wanted: F) -> impl Future<Output = (Generation, Addr<A>)> + use<A, F>
    where
        F: Fn(Generation) -> bool,
    {
        let shared = Arc::clone(&self.shared);
        async move {
            loop {
                // Asked for before the look, so that no change falls between the two.
                let changed = shared.changed.notified();
                if let Some((generation, addr)) = shared.live.lock().as_ref()
                    && wanted(*generation)
                {
                    return (*generation, addr.clone());
                }
                changed.await;
            }
        }
    }

    pub(crate) fn publish(&self, generation: Generation, addr: Addr<A>) {
        // The address before is dropped outside the lock: it may be the last one, and what it runs is foreign code.
        let before = self.shared.live.lock().replace((generation, addr));
        drop(before);
        self.shared.changed.notify_waiters();
    }

    /// Clears the reference, unless a later generation is there already.
    pub(crate) fn retire(&self, generation: Generation) {
        let mut live = self.shared.live.lock();
        let mine = live.take_if(|(published, _)| *published == generation);
        drop(live);
        drop(mine);
    }
}

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A: Actor> Default for ActorRef<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Actor> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorRef").field("generation", &self.generation()).finish()
    }
}
