//! How far an exchange has come, as seen from the connection itself.
//!
//! awc tells neither whether a request has left nor whether a body ended because it was complete. The connection
//! knows both, and it is only ever polled inside the future of the exchange that uses it; so it reports to that
//! exchange through a task-local, whichever connection the pool has picked.

use std::cell::Cell;
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
    /// TLS handshake.
    Tls,
    /// A first byte of the request may have left: from here on the effect is unknown.
    Sent,
}

/// How far one exchange has come.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Cell<Phase>,
    peer_finished: Cell<bool>,
}

impl Progress {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { phase: Cell::new(Phase::Idle), peer_finished: Cell::new(false) })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether a byte of the request may have left.
    pub(crate) fn sent(&self) -> bool {
        self.phase.get() == Phase::Sent
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
            // The pool reads from idle connections to find the dead ones: what it saw does not concern us.
            progress.peer_finished.set(false);
        });
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
            Self::Tls => "TLS handshake",
            Self::Sent => "answer",
        })
    }
}
