//! The harness of the whole-system tests: the runtime in virtual time, and the binary as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness reports by panicking")]

pub mod api;
pub mod conformance;
pub mod exposition;
pub mod http;
pub mod lagging;
pub mod logs;
pub mod model;
pub mod outside;
pub mod process;
pub mod sim;
pub mod syncs;
pub mod world;

pub use logs::Logs;
pub use model::Model;
pub use process::{Process, Settings};
pub use world::{Setup, World, in_virtual_time};
