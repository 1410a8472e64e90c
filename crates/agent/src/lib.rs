//! The agent contract, and what answers: the built-in echo, OpenAI-compatible endpoints, commands.
//!
//! An [`Agent`] is asked one [`Turn`] at a time per conversation and answers with a [`Reply`] or an
//! [`AgentError`]. It keeps nothing: what was said before is in the turn, so that a turn can be tried again by
//! another process after a crash. How often it is asked, and the order of turns, are the runtime's.

mod command;
mod echo;
mod openai;
mod turn;

pub use command::Command;
pub use echo::Echo;
pub use openai::OpenAi;
pub use turn::{Agent, AgentError, Exchange, Reply, SILENT, Turn};
