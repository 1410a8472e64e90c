//! The channel contract: what a messaging platform has to provide to be carried by the runtime.
//!
//! A channel is a [`Factory`]. For each account it makes a [`Plan`], and the plan makes the account's
//! [`Connector`] (a machine without I/O that receives), its [`Sender`], its [`IdentityProbe`] and, where the
//! platform has access tokens, its [`Credentials`]. Everything they exchange with the world goes through the
//! [`Http`] and [`WebSocket`] traits, so that the same channel runs over real sockets, and in memory under
//! virtual time. [`drive`] runs any connector on any network.

mod connector;
mod driver;
mod login;
mod network;
mod plan;

pub use connector::{AckId, Connector, Delivery, Effect, Event, Output, RequestId, Start};
pub use driver::{Command, Ended, drive};
pub use login::{LoggedIn, Login, LoginEffect, LoginEvent, LoginStep, SavedLogin, drive_login};
pub use moorline_core as core;
pub use network::{
    BoxSocket, Close, HandshakeError, Http, HttpRequest, HttpResponse, Message, Network, NetworkError,
    NetworkErrorKind, Socket, WebSocket, WebSocketRequest,
};
pub use plan::{
    AccessToken, Answering, Capabilities, Credentials, Editor, Factory, IdentityProbe, Outgoing, Plan,
    Redelivery, Resources, Sender, Typing, TypingMark,
};
