//! How a child ended, and what its parent answers.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, ActorContext, Context, Message};
use moorline_core::Generation;
use schemars::JsonSchema;
use serde::Serialize;

/// Why a generation ended. `Error`, `Panic` and `Killed` are faults (design §3 rule 1); the others are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", content = "message", rename_all = "snake_case")]
pub enum ExitReason {
    /// The actor ended by itself because it was done.
    Normal,
    /// It was asked to stop, by its parent or by an operator.
    Shutdown,
    /// It was asked to stop and had not done so when its grace period was over.
    Killed,
    /// It ended itself through [`Exit::fail`].
    Error(String),
    /// It panicked, anywhere between its factory and its `Drop`.
    Panic(String),
}

impl ExitReason {
    /// Whether a transient child is restarted after this.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Killed | Self::Error(_) | Self::Panic(_))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Killed => f.write_str("killed"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Panic(text) => write!(f, "panic: {text}"),
        }
    }
}

/// A child has ended by itself, and everything below it is gone already. The parent's answer decides what follows.
///
/// Not sent for a child whose parent asked it to stop: the parent knows.
#[derive(Debug, Clone)]
pub struct ChildExited {
    /// The child's id among its siblings.
    pub id: String,
    /// The child's place in the tree.
    pub path: Arc<str>,
    /// The generation that ended.
    pub generation: Generation,
    /// Why it ended.
    pub reason: ExitReason,
    /// How long it lived, from its factory on.
    pub ran_for: Duration,
}

impl Message for ChildExited {
    type Result = Directive;
}

/// What a parent tells a child's task to do after [`ChildExited`]. A parent that is gone has said `Stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Begin the next generation after this delay.
    RestartAfter(Duration),
    /// The child is in a crash loop: show it as parked, and begin the next generation after this long delay.
    Park(Duration),
    /// Begin no further generation.
    Stop,
}

/// So that a parent's handler can return the directive itself.
impl<A: Actor> MessageResponse<A, ChildExited> for Directive {
    fn handle(self, _: &mut A::Context, asker: Option<OneshotSender<Self>>) {
        if let Some(asker) = asker {
            // A child that was ordered meanwhile no longer listens.
            let _ = asker.send(self);
        }
    }
}

/// Lets an actor say why it ends, which actix's own `ctx.stop()` cannot. One per generation.
#[derive(Debug, Clone, Default)]
pub struct Exit {
    said: Rc<RefCell<Option<ExitReason>>>,
}

impl Exit {
    /// Stops the actor with [`ExitReason::Error`]. The first reason given wins.
    pub fn fail<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>, error: impl fmt::Display) {
        self.say(ExitReason::Error(error.to_string()));
        ctx.stop();
    }

    /// Stops the actor with [`ExitReason::Normal`], as plain `ctx.stop()` does.
    pub fn done<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        self.say(ExitReason::Normal);
        ctx.stop();
    }

    fn say(&self, reason: ExitReason) {
        self.said.borrow_mut().get_or_insert(reason);
    }

    /// What the actor said, or `otherwise` when it only stopped.
    pub(crate) fn reason_or(&self, otherwise: ExitReason) -> ExitReason {
        self.said.borrow_mut().take().unwrap_or(otherwise)
    }
}
