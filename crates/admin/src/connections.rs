//! Connections on which nobody has asked anything yet. The server closes them without a word when it ends; they are
//! told why instead (F-080).

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use actix_web::dev::Extensions;
use parking_lot::Mutex;

use crate::code::Code;
use crate::problem::Problem;

/// Second handles on the sockets, by a number of ours. A handle is given up with the first request that arrives whole, or
/// with its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    sockets: BTreeMap<u64, TcpStream>,
}

/// Kept with a connection; dropped with it.
#[derive(Debug)]
pub(crate) struct Unasked {
    number: u64,
    among: Connections,
}

impl Connections {
    /// A connection was taken: the server's hook. One that cannot be kept is only not told.
    pub(crate) fn taken(&self, io: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = io.downcast_ref::<actix_rt::net::TcpStream>() else { return };
        if let Ok(second) = second_handle(stream.as_fd()) {
            let mut waiting = self.0.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.sockets.insert(number, second);
            extensions.insert(Unasked { number, among: self.clone() });
        }
    }

    /// Says on each of them that the process is ending, and nothing more afterwards.
    pub(crate) fn say_goodbye(&self) {
        let sockets = std::mem::take(&mut self.0.lock().sockets);
        if sockets.is_empty() {
            return;
        }
        tracing::debug!(
            actor = "admin",
            count = sockets.len(),
            "closing connections on which nothing was asked"
        );
        let goodbye = goodbye();
        for mut socket in sockets.into_values() {
            // Sockets of the server never block. Who has gone, or takes nothing, is not waited for.
            drop(socket.write(goodbye.as_bytes()));
            drop(socket.shutdown(Shutdown::Write));
        }
    }
}

impl Unasked {
    /// A request has arrived whole: from now on its answer says all there is to say.
    pub(crate) fn asked(&self) {
        self.among.0.lock().sockets.remove(&self.number);
    }
}

impl Drop for Unasked {
    fn drop(&mut self) {
        self.asked();
    }
}

fn second_handle(socket: BorrowedFd<'_>) -> std::io::Result<TcpStream> {
    socket.try_clone_to_owned().map(TcpStream::from)
}

/// The same refusal as an unfinished request gets, written by hand: there is no request that it could answer.
fn goodbye() -> String {
    let body = Problem::Restarting.body().to_string();
    format!(
        "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\nretry-after: 1\r\n\
         content-type: application/json\r\ncache-control: no-store\r\n\r\n{body}",
        Code::Restarting.status(),
        body.len()
    )
}
