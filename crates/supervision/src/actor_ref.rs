//! A reference to a child that outlives its generations.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message};
use moorline_core::Generation;
use tokio::sync::watch;

/// Names a child across its lives, and across those of its supervisors. Made unbound by whoever wires the tree and
/// bound by handing it to exactly one [`ChildSpec`](crate::ChildSpec).
///
/// It points at an actor from the end of that actor's `started()` until the generation ends, and at nothing during a
/// restart delay: a sender learns at once that the child is down instead of waiting in a mailbox (F-024).
pub struct ActorRef<A: Actor> {
    live: Arc<watch::Sender<Live<A>>>,
}

/// The life a reference points at; none while the child is down.
type Live<A> = Option<(Generation, Addr<A>)>;

impl<A: Actor> ActorRef<A> {
    /// A reference to nothing yet.
    pub fn new() -> Self {
        Self { live: Arc::new(watch::Sender::new(None)) }
    }

    /// The live actor, if any. Fenced: this address stays closed for ever once its generation has ended.
    pub fn addr(&self) -> Option<Addr<A>> {
        self.live.borrow().as_ref().map(|(_, addr)| addr.clone())
    }

    /// The live generation, if any.
    pub fn generation(&self) -> Option<Generation> {
        self.live.borrow().as_ref().map(|(generation, _)| *generation)
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
        // The future owns a sender too, so that the watch cannot close under it.
        let live = Arc::clone(&self.live);
        async move {
            let mut lives = live.subscribe();
            loop {
                if let Some((generation, addr)) = lives.borrow_and_update().as_ref()
                    && wanted(*generation)
                {
                    return (*generation, addr.clone());
                }
                if lives.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    pub(crate) fn publish(&self, generation: Generation, addr: Addr<A>) {
        self.live.send_replace(Some((generation, addr)));
    }

    /// Clears the reference, unless a later generation is there already.
    pub(crate) fn retire(&self, generation: Generation) {
        self.live.send_if_modified(|live| {
            let mine = live.as_ref().is_some_and(|(published, _)| *published == generation);
            if mine {
                *live = None;
            }
            mine
        });
    }
}

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self { live: Arc::clone(&self.live) }
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
