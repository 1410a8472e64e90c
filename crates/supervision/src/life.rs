//! One generation of one actor, with its type erased.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll};

use actix::dev::ContextFut;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context};
use futures_util::task::AtomicWaker;
use moorline_core::Generation;

use crate::actor_ref::ActorRef;
use crate::env::Env;

/// Makes the lives of one child, one after the other.
pub(crate) trait Factory {
    fn begin(&mut self, env: Env) -> Box<dyn Life>;
}

/// A running actor. Every method may panic with the actor's own panic, and so may dropping it.
pub(crate) trait Life {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()>;
    /// Makes the child's [`ActorRef`] point at this life.
    fn publish(&self, generation: Generation);
    /// Makes the child's [`ActorRef`] point at nothing, if it points at this life.
    fn retire(&self, generation: Generation);
    /// Asks the actor to stop; it may take its time, or refuse.
    fn stop(&mut self);
    /// Keeps actix from running `stopping()` and `stopped()` on a half-mutated actor when this is dropped. Without
    /// it a second panic there would abort the process.
    fn terminate(&mut self);
}

pub(crate) struct Typed<A: Actor, F> {
    pub(crate) actor_ref: ActorRef<A>,
    pub(crate) make: F,
}

struct Running<A: Actor<Context = Context<A>>> {
    future: ContextFut<A, Context<A>>,
    actor_ref: ActorRef<A>,
    /// Held so that the actor never ends because nobody else holds an address.
    address: Addr<A>,
}

impl<A, F> Factory for Typed<A, F>
where
    A: Actor<Context = Context<A>>,
    F: FnMut(Env) -> A,
{
    fn begin(&mut self, env: Env) -> Box<dyn Life> {
        let actor = (self.make)(env);
        let context = Context::new();
        let address = context.address();
        let actor_ref = self.actor_ref.clone();
        Box::new(Running { future: context.into_future(actor), actor_ref, address })
    }
}

impl<A: Actor<Context = Context<A>>> Life for Running<A> {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        Pin::new(&mut self.future).poll(cx)
    }

    fn publish(&self, generation: Generation) {
        self.actor_ref.publish(generation, self.address.clone());
    }

    fn retire(&self, generation: Generation) {
        self.actor_ref.retire(generation);
    }

    fn stop(&mut self) {
        self.future.ctx().stop();
    }

    fn terminate(&mut self) {
        self.future.ctx().terminate();
    }
}

/// Where a fault drill waits for the next poll of a life.
#[derive(Debug, Default)]
pub(crate) struct Drill {
    ordered: AtomicBool,
    waker: AtomicWaker,
}

impl Drill {
    pub(crate) fn order(&self) {
        self.ordered.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Panics when a drill was ordered; otherwise makes a later order wake the task.
    #[allow(clippy::panic, reason = "panicking inside the containment is what a drill is for")]
    pub(crate) fn attend(&self, cx: &task::Context<'_>) {
        self.waker.register(cx.waker());
        if self.ordered.swap(false, Ordering::Acquire) {
            std::panic::panic_any("injected fault");
        }
    }
}
