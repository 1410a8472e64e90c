//! Supervised actix actors: contained panics, restarts with a fresh generation, restart intensity, ordered shutdown.
//!
//! The model is OTP's, with three differences that months of uptime ask for: a restart waits (back-off with jitter),
//! the restart intensity is counted per child, and a child over it is *parked* and tried again slowly for ever
//! instead of taking its siblings down (F-001, F-072). The only strategy is one_for_one.
//!
//! One child is one task that polls the actor by hand; the task owns the child's own subtree. Every life of a child
//! is a new [`Generation`](moorline_core::Generation) with a new actor and a new mailbox, so that late work of an
//! earlier life finds a closed address. [`ActorRef`] is what the rest of the program holds on to.
#![forbid(unsafe_code)]

mod actor_ref;
mod child;
mod children;
mod containment;
mod env;
mod exit;
mod intensity;
mod life;
mod spec;
mod supervisor;
#[cfg(test)]
mod tests;
mod tree;

pub use actor_ref::ActorRef;
pub use children::{Children, StartError};
pub use containment::install_panic_hook;
pub use env::{Env, InFlight, InFlightGuard};
pub use exit::{ChildExited, Directive, Exit, ExitReason};
pub use intensity::Intensity;
pub use spec::ChildSpec;
pub use supervisor::{Root, Supervisor};
pub use tree::{Fault, LastExit, Moment, Node, NodeHandle, NodeKind, NodeState, Tree};
