//! A fake Feishu platform (protocol page: the long connection, tokens, bot info, send and reply).

mod api;
mod app;
mod connection;
mod delivery;
mod fault;
mod frame;
mod ledger;
mod link;
mod platform;
mod push;
mod sending;

pub use app::{App, AppId, ConnectionInfo, Counters, NewApp};
pub use delivery::Redelivery;
pub use fault::{Answer, ConfigShape, Cut, Fault, HandshakeFault, Lost, OddFrame, Split, Times};
pub use frame::{Frame, FrameError, Header, METHOD_CONTROL, METHOD_DATA};
pub use ledger::{EventRecord, Ledger, Visible};
pub use link::{Action, Effect, Input, LinkId, Now, Request, Response, WsMessage};
pub use platform::{Platform, Reach, UnknownApp};
pub use push::{ChatType, Push, Pushed};

#[cfg(test)]
mod tests;
