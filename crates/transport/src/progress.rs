//! How far an exchange has come, as seen from the connection itself.
//!
//! awc tells neither whether a request has left nor whether a body ended because it was complete. The connection
//! knows both, and it is only ever polled inside the future of the exchange that uses it; so it reports to that
//! exchange through a task-local, whichever connection the pool has picked.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

tokio::task_local! {
    static CURRENT: Rc<Progress>;
}

/// What an exchange is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for a connection of the pool.
    Idle,
    /// Name lookup.
    Resolve,
    /// TCP.
    Connect,
    /// Asking a proxy for the connection.
    Tunnel,
    /// TLS handshake.
    Tls,
    /// A first byte of the request may have left: from here on the effect is unknown.
    Sent,
}

/// How far one exchange has come.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Cell<Phase>,
    /// The proxy of the connection that was dialled.
    proxy: RefCell<Option<String>>,
    /// A connection was dialled. Otherwise the one in use is of the pool, and may have died there.
    dialled: Cell<bool>,
    answered: Cell<bool>,
    peer_finished: Cell<bool>,
    repeated: Cell<bool>,
}

impl Progress {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Idle),
            proxy: RefCell::new(None),
            dialled: Cell::new(false),
            answered: Cell::new(false),
            peer_finished: Cell::new(false),
            repeated: Cell::new(false),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether a byte of the request may have left.
    pub(crate) fn sent(&self) -> bool {
        self.phase.get() == Phase::Sent
    }

    /// Whether nothing has come back for a request that was sent on a connection of the pool.
    pub(crate) fn unanswered_on_used_connection(&self) -> bool {
        self.sent() && !self.dialled.get() && !self.answered.get()
    }

    /// Whether this is the second attempt, so that the first one may have had an effect.
    pub(crate) fn repeated(&self) -> bool {
        self.repeated.get()
    }

    /// Forgets the first attempt, but not that there was one.
    pub(crate) fn repeat(&self) {
        self.phase.set(Phase::Idle);
        self.proxy.take();
        self.dialled.set(false);
        self.answered.set(false);
        self.peer_finished.set(false);
        self.repeated.set(true);
    }

    /// The peer as failures name it: while the connection is being made also by the proxy in between (F-010).
    pub(crate) fn place(&self, peer: &str) -> String {
        match &*self.proxy.borrow() {
            Some(proxy) if !self.sent() => format!("{peer}: proxy {proxy}"),
            _ => peer.to_owned(),
        }
    }

    /// Whether the peer has ended its side of the connection since the request was sent.
    pub(crate) fn peer_finished(&self) -> bool {
        self.peer_finished.get()
    }

    /// Runs an exchange that reports to this progress.
    pub(crate) async fn follow<F: Future>(self: Rc<Self>, exchange: F) -> F::Output {
        CURRENT.scope(self, exchange).await
    }

    /// Reports from the connection. An open WebSocket has no exchange any more; then nobody listens.
    pub(crate) fn enter(phase: Phase) {
        let _ = CURRENT.try_with(|progress| {
            progress.phase.set(phase);
            progress.dialled.set(progress.dialled.get() || phase != Phase::Sent);
            // The pool reads from idle connections to find the dead ones: what it saw does not concern us.
            progress.peer_finished.set(false);
        });
    }

    /// Reports that the connection being dialled goes through this proxy.
    pub(crate) fn through(proxy: &dyn fmt::Display) {
        let _ = CURRENT.try_with(|progress| progress.proxy.replace(Some(proxy.to_string())));
    }

    /// Reports that something was read.
    pub(crate) fn receive() {
        let _ =
            CURRENT.try_with(|progress| progress.answered.set(progress.answered.get() || progress.sent()));
    }

    /// Reports that the connection has been read to its end.
    pub(crate) fn finish() {
        let _ = CURRENT.try_with(|progress| progress.peer_finished.set(true));
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "connection",
            Self::Resolve => "name lookup",
            Self::Connect => "TCP connection",
            Self::Tunnel => "answer to CONNECT",
            Self::Tls => "TLS handshake",
            Self::Sent => "answer",
        })
    }
}
