//! The HTTP API an operator and the command line talk to.
//!
//! One supervised actor, [`Admin`], owns a server that runs on threads of its own, so that the API answers while
//! the runtime is busy (F-081). What the API shows and does goes through one trait that the runtime's
//! [`Handle`](moorline_runtime::Handle) implements; no state is kept here. Every request passes one gate first:
//! loopback is not trusted (F-091).
//!
//! Every answer is JSON and carries an `x-request-id` that is in the log too. Refusals are
//! `{ "error": { "code", "message" } }`; the codes are stable, and listed in one table.
#![forbid(unsafe_code)]

mod answer;
mod body;
mod closing;
mod code;
mod connections;
mod cron;
mod document;
mod endpoint;
mod events;
mod exchange;
mod gate;
mod idempotency;
mod listener;
mod lists;
mod login;
mod metrics;
mod operation;
mod operator;
mod parameters;
mod problem;
mod repair;
mod routes;
mod server;
mod session_id;
#[cfg(test)]
mod tests;
pub mod token;
mod trace;
mod views;

pub use body::LONGEST_BODY;
pub use document::openapi;
pub use listener::Listener;
pub use server::{Admin, admin_child};
