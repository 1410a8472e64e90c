//! The socket, bound before anything else starts and kept for as long as the process lives; a process that replaces
//! another one, or that systemd started for its socket, is handed one that listens already.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// A bound socket. Each life of the admin actor serves on a duplicate of it: while the actor is being restarted
/// callers wait in the socket's backlog instead of being refused (F-080).
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What an [`io::Error`] of [`Admin::bind`](crate::Admin::bind) is made of; it keeps the kind of the cause.
#[derive(Debug, thiserror::Error)]
#[error("the admin endpoint cannot listen on {address}, nothing was started: {cause}")]
struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

impl Listener {
    /// Binds, or says for which address it could not.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let named = |cause: io::Error| io::Error::new(cause.kind(), BindError { address, cause });
        let socket = TcpListener::bind(address).map_err(named)?;
        let address = socket.local_addr().map_err(named)?;
        Ok(Self { socket, address })
    }

    /// Takes over a socket that listens already, if it is the one that is wanted: `address`, with any port for 0.
    ///
    /// # Errors
    /// When its address cannot be told.
    pub fn inherit(socket: TcpListener, address: SocketAddr) -> io::Result<Option<Self>> {
        let has = socket.local_addr()?;
        let is_wanted = has.ip() == address.ip() && (address.port() == 0 || has.port() == address.port());
        Ok(is_wanted.then_some(Self { socket, address: has }))
    }

    /// Where it listens; with the port that was chosen when the configured one is 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// When the process has no more files to open.
    pub fn duplicate(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }
}
