//! A fake Feishu platform: everything on the protocol page, from the platform's side.

mod activity;
mod api;
mod app;
mod callback;
mod connection;
mod delivery;
mod edits;
mod fault;
mod frame;
mod incoming;
mod ledger;
mod limits;
mod multipart;
mod people;
mod platform;
mod push;
mod reactions;
mod resources;
mod retention;
mod sending;

pub use crate::faults::Times;
pub use crate::hub::Reach;
pub use crate::link::{Action, Effect, Input, LinkId, Now, Request, Response, WsMessage};
pub use activity::Activity;
pub use app::{App, AppId, ConnectionInfo, Counters, NewApp};
pub use callback::Callback;
pub use delivery::Redelivery;
pub use fault::{Answer, ConfigShape, Cut, Echo, Fault, HandshakeFault, Lost, OddFrame, Split};
pub use frame::{Frame, FrameError, Header, METHOD_CONTROL, METHOD_DATA};
pub use ledger::{EventRecord, Ledger, ReactionRecord, Visible};
pub use limits::{ConnectionLimit, Rates, RefusedAt};
pub use people::Person;
pub use platform::{Platform, UnknownApp};
pub use push::{ChatType, Mention, Push, Pushed};
pub use resources::{Resource, ResourceKind};
pub use retention::Forgotten;

#[cfg(test)]
mod tests;
