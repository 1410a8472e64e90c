//! From a name to its addresses.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::future::LocalBoxFuture;

/// Looks up the hosts that connections are made to; never asked about IP addresses. The time is limited by
/// [`Options::connect_timeout`](crate::Options::connect_timeout).
pub trait Resolver: fmt::Debug + Send + Sync {
    /// All addresses of a host, of both families, the preferred one first (RFC 6724); each with the port to connect
    /// to.
    fn resolve(&self, host: &str, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// `getaddrinfo`, on the threads for what blocks. Nothing is remembered: an address that has changed is used with
/// the next connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
