//! One test binary: linking once is what makes many whole-system tests affordable.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_macros, reason = "what a test measures is printed with it")]

mod admin;
mod agents;
mod attack;
mod attack4;
mod configuration;
mod crash;
mod cron;
mod cron_crash;
mod deaf;
mod delivery;
mod doctor;
mod durability;
mod failure_modes;
mod faults;
mod found;
mod long;
mod operator;
mod panics;
mod refusals;
mod regression;
mod reload;
mod reload_file;
mod retention;
mod scenarios;
mod secrets;
mod sleep;
mod sockets;
mod workspace;
