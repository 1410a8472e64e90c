//! Fake platforms: pure state machines with faults and two ledgers, in memory and over real sockets.
//!
//! A [`Simulator`] is a handle to one fake Feishu platform ([`feishu::Platform`]) with any number of apps on it, a
//! [`weixin::Simulator`] one to a fake WeChat platform with any number of bots. Either feeds two mounts:
//! [`memory::network`] gives a channel its network without any socket, under tokio's (possibly paused) time, and
//! [`server::Server`] listens on loopback; a [`Router`] joins several in memory.
//!
//! ```
//! use moorline_simulator::Simulator;
//! use moorline_simulator::feishu::{Answer, Fault, NewApp, Push, Times};
//!
//! let simulator = Simulator::new(7);
//! let app = simulator.add_app(NewApp::named("Bot"));
//! // The next two calls of the endpoint are answered by a broken proxy.
//! simulator.set_fault(&app.app_id, Fault::Endpoint(Answer::Status(503)), Times::Count(2))?;
//! let pushed = simulator.push(&app.app_id, Push::direct("oc_1", "ou_alice", "hello"))?;
//!
//! // … run a client on `memory::network(&simulator)`, then ask the ledgers.
//! let ledger = simulator.ledger();
//! assert_eq!(ledger.events().len(), 1);
//! assert_eq!(ledger.replies_to(&pushed.message_id).count(), 0);
//! assert_eq!(simulator.counters(&app.app_id)?.endpoint_calls, 0);
//! # Ok::<(), moorline_simulator::feishu::UnknownApp>(())
//! ```
//!
//! Every id and every choice follows from the seed and the order of calls. The simulator's own codec never comes
//! from the channel crate, so that a mistake is not made twice.

#![forbid(unsafe_code)]

mod control;
mod faults;
pub mod feishu;
mod hub;
mod link;
pub mod memory;
mod mount;
pub mod server;
mod simulator;
pub mod weixin;

pub use faults::Times;
pub use hub::{Machine, Reach};
pub use link::{Action, Break, BreakHow, Effect, Input, LinkId, Now, Request, Response, WsMessage};
pub use memory::Router;
pub use mount::Mountable;
pub use simulator::{AppView, Simulator, State};
