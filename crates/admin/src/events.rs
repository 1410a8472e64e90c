//! `GET /v1/events`: what happens, as it happens, over a WebSocket.
//!
//! A browser cannot send the bearer header with an upgrade, so the token may come as the first message instead; until
//! it has, nothing is told. `Host` and `Origin` are judged before, by the gate (F-091). However many watch, and however
//! badly: they are bounded in number, in what they may send and in how long they may keep us waiting (F-085).

mod line;
mod socket;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, Payload};
use futures_util::FutureExt;
use moorline_runtime::EventScope;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::closing::Closing;
use crate::gate::Gate;
use crate::operator::Operator;
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::Answer;
use line::Line;
pub(crate) use line::remember;
use socket::Socket;

/// Where it is.
pub(crate) const PATH: &str = "/v1/events";

/// What a watcher may do, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Watchers at a time; and as many who have yet to show the token, so that these keep nobody out who has it.
    pub(crate) watchers: usize,
    /// For the message with the token.
    pub(crate) proves_within: Duration,
    /// Between two pings. Who is not heard of for twice as long is gone.
    pub(crate) pings_every: Duration,
    /// Frames that are taken from a watcher between two pings, pongs included.
    pub(crate) frames: u32,
    /// The longest of them, in bytes: one with a token in it is far shorter.
    pub(crate) longest_frame: usize,
    /// For a watcher to read on when everything in between is full.
    pub(crate) reads_within: Duration,
    /// For the closing of a socket, which is cut after that.
    pub(crate) closes_within: Duration,
}

impl Limits {
    pub(crate) const STANDARD: Self = Self {
        watchers: 64,
        proves_within: Duration::from_secs(5),
        pings_every: Duration::from_secs(20),
        frames: 64,
        longest_frame: 1_024,
        reads_within: Duration::from_secs(10),
        closes_within: Duration::from_secs(2),
    };
}

/// The places there are for watchers, of one life of the server.
#[derive(Debug)]
pub(crate) struct Watchers {
    limits: Limits,
    proven: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self::within(Limits::STANDARD)
    }
}

impl Watchers {
    pub(crate) fn within(limits: Limits) -> Self {
        let places = || Arc::new(Semaphore::new(limits.watchers));
        Self { limits, proven: places(), unproven: places() }
    }

    /// A place for somebody, if there is one.
    fn place(&self, proven: bool) -> Option<OwnedSemaphorePermit> {
        let places = if proven { &self.proven } else { &self.unproven };
        Arc::clone(places).try_acquire_owned().ok()
    }
}

/// Upgrades, and leaves the socket to a task of its own.
#[allow(
    clippy::disallowed_methods,
    reason = "the task ends with its connection or with the server's thread, contains its own panics, and nobody needs to \
              hear of its end"
)]
pub(crate) async fn events(
    request: HttpRequest,
    body: Payload,
    parameters: Parameters,
    gate: Data<Gate>,
    watchers: Data<Watchers>,
    closing: Data<Closing>,
    operator: Data<dyn Operator>,
) -> Answer {
    let scope = EventScope { messages: parameters.flag("messages")?, account: parameters.account()? };
    parameters.end()?;
    let proven = gate.bearer(request.headers()).is_ok();
    let place = watchers.place(proven).ok_or(Problem::TooManyWatchers)?;
    let (response, session, incoming) =
        actix_ws::handle(&request, body).map_err(|_| Problem::UpgradeRequired)?;
    let line = Line::of(&request);
    let socket = Socket::new(session, incoming, watchers.limits, Arc::clone(&operator), scope);
    actix_web::rt::spawn(async move {
        let serving = serve(socket, proven, place, &gate, &watchers, &closing);
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            tracing::error!(actor = "admin", "a watcher's socket ended by a panic");
        }
        line.cut();
    });
    Ok(response)
}

/// From the upgrade to the end of the socket. Its place is free when it is closed.
async fn serve(
    mut socket: Socket,
    proven: bool,
    mut place: OwnedSemaphorePermit,
    gate: &Gate,
    watchers: &Watchers,
    closing: &Closing,
) {
    let living = async {
        if !proven {
            socket.prove(gate).await?;
            place = watchers.place(true).ok_or(socket::NO_PLACE)?;
        }
        socket.watch().await
    };
    let goodbye = tokio::select! {
        biased;
        // Whoever it is and whatever he was at: also who has not shown the token yet (F-080).
        () = closing.closed() => socket::RESTART,
        lived = living => match lived {
            Ok(never) => match never {},
            Err(goodbye) => goodbye,
        },
    };
    tracing::debug!(actor = "admin", "a watcher goes: {goodbye}");
    socket.close(goodbye).await;
    drop(place);
}
