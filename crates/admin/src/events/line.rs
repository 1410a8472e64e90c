//! The connection below a WebSocket, for the one case in which the server cannot end it: a peer that reads nothing keeps
//! what was to be written to it waiting, and the server with it, for ever (F-085).

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;

/// A connection that may be gone already. Holding on to this does not keep it open.
#[derive(Debug)]
pub(crate) struct Line(Weak<TcpStream>);

/// Notes a new connection's socket beside it, under a file number of its own.
pub(crate) fn remember(connection: &dyn Any, beside: &mut Extensions) {
    let socket = connection
        .downcast_ref::<actix_web::rt::net::TcpStream>()
        .and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
    if let Some(socket) = socket {
        beside.insert(Rc::new(TcpStream::from(socket)));
    }
}

impl Line {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<Rc<TcpStream>>().map_or_else(Weak::new, Rc::downgrade))
    }

    /// Ends the connection, whatever still waits to be written. One that has ended needs nothing.
    pub(crate) fn cut(&self) {
        if let Some(socket) = self.0.upgrade() {
            // It fails when the peer was faster.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}
