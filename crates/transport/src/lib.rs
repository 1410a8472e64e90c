//! HTTP and WebSocket clients on awc: the only crate that knows awc.
//!
//! A [`Transport`] belongs to one arbiter and gives its channels a [`moorline_channel::Network`]. awc does the
//! pooling and speaks HTTP/1.1 and the WebSocket handshake; this crate does what decides whether a message can be
//! lost: it dials by itself (so that it knows for certain whether a request has left), puts one deadline over a
//! whole exchange, bounds every body and message, and tells a complete body from one that was cut off.

mod body;
mod codec;
mod dial;
mod exchange;
mod headers;
mod http;
mod progress;
mod socket;
mod target;
mod tls;
mod transport;
mod websocket;

#[cfg(test)]
mod tests;

pub use tls::TlsError;
pub use transport::{Options, Transport};
