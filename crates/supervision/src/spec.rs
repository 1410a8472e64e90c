//! What a child is and how it is treated, on one screen.

use std::fmt;
use std::time::Duration;

use actix::{Actor, Context};
use moorline_core::Backoff;

use crate::actor_ref::ActorRef;
use crate::env::Env;
use crate::intensity::{Intensity, Policy, Restart};
use crate::life::{Factory, Typed};

/// OTP's child spec: how to make an actor, and what to do when it ends.
///
/// Unless told otherwise a child is permanent, has 5 s to stop, may restart 5 times in 60 s with the default
/// [`Backoff`], and is tried again every 15 min once parked.
pub struct ChildSpec {
    pub(crate) id: String,
    pub(crate) grace: Duration,
    pub(crate) policy: Policy,
    pub(crate) factory: Box<dyn Factory>,
}

impl ChildSpec {
    /// A permanent child called `id`, unique among its siblings. `factory` makes the actor anew for each generation;
    /// it runs contained, on the arbiter the tree runs on. `actor_ref` follows the live generation.
    pub fn new<A: Actor<Context = Context<A>>>(
        id: impl Into<String>,
        actor_ref: &ActorRef<A>,
        factory: impl FnMut(Env) -> A + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            grace: Duration::from_secs(5),
            policy: Policy {
                restart: Restart::Permanent,
                intensity: Intensity::default(),
                backoff: Backoff::default(),
                parked_retry: Duration::from_secs(15 * 60),
            },
            factory: Box::new(Typed { actor_ref: actor_ref.clone(), make: factory }),
        }
    }

    /// Restarted whatever the reason. This is the default.
    #[must_use]
    pub fn permanent(self) -> Self {
        self.restarted(Restart::Permanent)
    }

    /// Restarted after a fault only; after a normal end it stays in the tree as stopped, and can be restarted.
    #[must_use]
    pub fn transient(self) -> Self {
        self.restarted(Restart::Transient)
    }

    /// Never restarted, and forgotten when it ends.
    #[must_use]
    pub fn temporary(self) -> Self {
        self.restarted(Restart::Temporary)
    }

    /// How long the actor may take to stop, counted from when its own children are gone; then it is killed.
    #[must_use]
    pub fn shutdown(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many restarts in which time make a crash loop.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy.intensity = intensity;
        self
    }

    /// How long to wait before a restart; `reset_after` of healthy running makes the next fault the first again.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// How long a parked child waits between tries. It is tried for ever.
    #[must_use]
    pub fn parked_retry(mut self, delay: Duration) -> Self {
        self.policy.parked_retry = delay;
        self
    }

    /// The id given to [`new`](Self::new).
    pub fn id(&self) -> &str {
        &self.id
    }

    fn restarted(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("grace", &self.grace)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
