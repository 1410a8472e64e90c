//! One test binary: linking once is what makes many whole-system tests affordable.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_macros, reason = "what a test measures is printed with it")]

mod admin;
mod agents;
mod alerts;
mod attack;
mod attack4;
mod busy;
mod configuration;
mod crash;
mod cron;
mod cron_crash;
mod deaf;
mod delivery;
mod doctor;
mod doctor_kinds;
mod durability;
mod failure_modes;
mod faults;
mod found;
mod gaps;
mod login;
mod long;
mod metrics;
mod operator;
mod panics;
mod private;
mod refusals;
mod refused_json;
mod regression;
mod reload;
mod reload_file;
mod replies;
mod restart;
mod retention;
mod scenarios;
mod secrets;
mod security;
mod service;
mod sleep;
mod sockets;
mod watch;
mod weixin;
mod weixin_replies;
mod workspace;
