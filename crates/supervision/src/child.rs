//! One child is one task: it runs the child's lives one after the other and owns what is below it.

mod body;

use std::sync::Arc;
use std::time::Duration;

use moorline_core::{Generation, millis};
use tokio::time::{Instant, sleep, timeout};

use crate::children::{Children, Order, Orders, Siblings};
use crate::containment::{Scope, contain};
use crate::env::{Env, InFlight};
use crate::exit::{ChildExited, Directive, Exit, ExitReason};
use crate::life::Drill;
use crate::spec::ChildSpec;
use crate::tree::{NodeState, Tree};
use body::Body;

/// For a parent that has not answered by then the standard policy does. It is polled while it is being stopped, so
/// only one that is stuck in a handler or a `ctx.wait` for this long is passed over.
const PARENT_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Child {
    pub(crate) tree: Tree,
    /// The supervisor's path.
    pub(crate) parent: Arc<str>,
    pub(crate) path: Arc<str>,
    pub(crate) siblings: Siblings,
    pub(crate) place: u64,
    pub(crate) spec: ChildSpec,
    pub(crate) orders: Orders,
}

/// What follows a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Life,
    End,
}

impl Child {
    /// Starts the task. This is the one place where supervised work is spawned.
    #[allow(
        clippy::disallowed_methods,
        reason = "the task reports its child's end to the supervisor by itself"
    )]
    pub(crate) fn spawn(self) {
        actix_rt::spawn(self.run());
    }

    async fn run(mut self) {
        let ordered = loop {
            if self.is_leaving() {
                break self.orders.stopped();
            }
            self.orders.settle();
            let (exited, order) = self.live().await;
            let next = match order {
                Some(order) => Next::from(order),
                None => self.consult(exited).await,
            };
            if next == Next::End {
                break self.orders.stopped();
            }
        };
        match Children::of(&self.siblings) {
            Some(siblings) => siblings.finished(self.place, self.spec, ordered),
            None if self.spec.policy.is_temporary() => self.tree.forget(&self.path),
            None => self.tree.stopped(&self.path),
        }
        // `self.orders` is dropped last: who waits for it finds the slot and the tree as they should be.
        drop(self.orders);
    }

    /// Runs one generation from its factory to the end of everything below it.
    async fn live(&mut self) -> (ChildExited, Option<Order>) {
        let (exit, in_flight, drill) = (Exit::default(), InFlight::default(), Arc::new(Drill::default()));
        let children = Children::new(self.tree.clone(), Arc::clone(&self.path));
        let generation = self.tree.begin(&self.parent, &self.path, in_flight.clone(), Arc::clone(&drill));
        let scope = Scope { path: Arc::clone(&self.path), generation };
        let env = Env {
            generation,
            path: Arc::clone(&self.path),
            exit: exit.clone(),
            children: children.clone(),
            in_flight,
        };
        let since = Instant::now();
        let mut order = None;
        let reason = match contain(&scope, || self.spec.factory.begin(env)) {
            Err(panic) => ExitReason::Panic(panic),
            Ok(life) => {
                let mut body = Body::new(life, scope, drill, self.tree.clone(), children.clone());
                let reason;
                (reason, order) = self.attend(&mut body, &children, &exit).await;
                match body.bury() {
                    Err(panic) if !reason.is_fault() => ExitReason::Panic(panic),
                    _ => reason,
                }
            }
        };
        let ran_for = since.elapsed();
        // The actor is gone whatever the reason; what it started goes before anybody hears of it, so that it is
        // gone before it can come back (one connection per credential at a time).
        self.tree.buried(&self.path);
        children.close().await;
        self.note(generation, &reason, ran_for);
        let (id, path) = (self.spec.id.clone(), Arc::clone(&self.path));
        (ChildExited { id, path, generation, reason, ran_for }, order)
    }

    /// Polls the actor until it has ended, or was ordered to and has not in time.
    async fn attend(
        &mut self,
        body: &mut Body,
        children: &Children,
        exit: &Exit,
    ) -> (ExitReason, Option<Order>) {
        let mut order = None;
        let mut ended = tokio::select! {
            biased;
            ended = body.ended() => Some(ended),
            given = self.orders.next() => {
                order = Some(given);
                None
            }
        };
        if ended.is_none() {
            // The children go first, while the actor still answers their exits.
            self.tree.set_state(&self.path, NodeState::Stopping);
            ended = tokio::select! {
                biased;
                ended = body.ended() => Some(ended),
                () = children.close() => None,
            };
        }
        if ended.is_none() {
            body.stop();
            ended = tokio::select! {
                biased;
                ended = body.ended() => Some(ended),
                () = sleep(self.spec.grace) => None,
            };
        }
        let asked = if order.is_some() { ExitReason::Shutdown } else { ExitReason::Normal };
        let reason = match ended {
            Some(Ok(())) => exit.reason_or(asked),
            Some(Err(panic)) => ExitReason::Panic(panic),
            None => ExitReason::Killed,
        };
        (reason, order)
    }

    /// Asks the parent what to do, and does it. Any order given meanwhile comes first.
    async fn consult(&mut self, exited: ChildExited) -> Next {
        let (generation, reason) = (exited.generation, exited.reason.clone());
        let directive = tokio::select! {
            biased;
            order = self.orders.next() => return order.into(),
            directive = report(&self.siblings, exited) => directive,
        };
        if self.is_leaving() {
            return Next::End;
        }
        let (state, delay) = match directive {
            Directive::Stop => return Next::End,
            Directive::RestartAfter(delay) => (NodeState::Restarting, delay),
            Directive::Park(delay) => (NodeState::Parked, delay),
        };
        self.tree.waiting(&self.path, state, delay);
        let attempt = Children::of(&self.siblings).map_or(0, |siblings| siblings.attempt(&self.spec.id));
        let (actor, delay_ms) = (&*self.path, millis(delay));
        if state == NodeState::Parked {
            tracing::error!(actor, %generation, %reason, delay_ms, attempt, "parked");
        } else {
            tracing::warn!(actor, %generation, %reason, delay_ms, attempt, "restarting");
        }
        tokio::select! {
            biased;
            order = self.orders.next() => order.into(),
            () = sleep(delay) => Next::Life,
        }
    }

    /// Whether no further life may begin: it was told so, or its siblings are being stopped and its turn is yet to
    /// come. A child that came back under a supervisor that is going down would be an orphan for that long.
    fn is_leaving(&self) -> bool {
        self.orders.stopped() || Children::of(&self.siblings).is_none_or(|siblings| siblings.is_closed())
    }

    fn note(&self, generation: Generation, reason: &ExitReason, ran_for: Duration) {
        let (actor, ran_for_ms) = (&*self.path, millis(ran_for));
        self.tree.exited(actor, reason.clone(), ran_for_ms);
        if *reason == ExitReason::Killed {
            let grace_ms = millis(self.spec.grace);
            tracing::warn!(actor, %generation, ran_for_ms, grace_ms, "killed");
        }
        if reason.is_fault() {
            tracing::error!(actor, %generation, %reason, ran_for_ms, "exited");
        } else {
            tracing::debug!(actor, %generation, %reason, ran_for_ms, "exited");
        }
    }
}

/// Tells the parent, and returns what it says. Where no parent is bound the standard policy answers; so it does for a
/// parent that lives and is too busy to, because a busy moment, or a suspend, must not end a child for good (G5).
async fn report(siblings: &Siblings, exited: ChildExited) -> Directive {
    let Some(family) = Children::of(siblings) else { return Directive::Stop };
    let Some(parent) = family.parent() else { return family.decide(&exited) };
    match timeout(PARENT_ANSWERS_WITHIN, parent.send(exited.clone())).await {
        Ok(Ok(directive)) => directive,
        // The parent is gone: its own task stops us, and reports.
        Ok(Err(_)) => Directive::Stop,
        Err(_) => {
            let (actor, generation) = (&*exited.path, exited.generation);
            tracing::error!(actor, %generation, "its parent does not answer, the standard policy decides");
            family.decide(&exited)
        }
    }
}

impl From<Order> for Next {
    fn from(order: Order) -> Self {
        match order {
            Order::Stop => Self::End,
            Order::Restart => Self::Life,
        }
    }
}
