//! The agent contract and the built-in echo agent.
//!
//! An [`Agent`] is asked one [`Turn`] at a time per conversation and answers with a [`Reply`] or an
//! [`AgentError`]. It keeps nothing: what was said before is in the turn, so that a turn can be tried again by
//! another process after a crash. Time limits, repetition and the order of turns are the runtime's.

mod echo;
mod turn;

pub use echo::Echo;
pub use turn::{Agent, AgentError, Exchange, Reply, Turn};
