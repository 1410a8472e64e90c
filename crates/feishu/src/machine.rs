//! One long connection, from the endpoint call to its end (protocol §1, §2), as a machine without I/O.

use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Close, Connector, Effect, Event, Message, NetworkError, Output, RequestId};
use moorline_core::{Failure, Monotonic};

use crate::app::App;
use crate::endpoint::{self, Endpoint};

mod session;

use session::Session;

/// The only call a connection makes.
const ENDPOINT_CALL: RequestId = RequestId(0);

/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1_000;

/// The connection of one app. It begins with a fresh address every time: how long a ticket lives, and whether it
/// works twice, nobody knows (protocol §1.1).
pub(crate) struct LongConnection {
    app: Arc<App>,
    phase: Phase,
}

/// How far the connection is. Every way out of the last two phases but [`Event::Stop`] is a failure, a normal
/// closure by the platform included (protocol §2.6).
enum Phase {
    /// Not begun, or over.
    Idle,
    /// The endpoint is asked for an address.
    Asking,
    /// The handshake is under way.
    Opening(Endpoint),
    /// Open.
    Open(Box<Session>),
}

impl LongConnection {
    pub(crate) const fn new(app: Arc<App>) -> Self {
        Self { app, phase: Phase::Idle }
    }

    fn finish(&mut self, failure: Option<Failure>) -> Vec<Effect> {
        self.phase = Phase::Idle;
        vec![Effect::Finish(failure)]
    }

    /// Ends an open connection. Whatever still waits for its verdict comes again by redelivery.
    fn lost(&mut self, session: &Session, why: &str) -> Vec<Effect> {
        let failure = Failure::transient(format!("{:?}: {}", session.endpoint, session.endpoint.quote(why)));
        self.finish(Some(failure))
    }
}

impl Connector for LongConnection {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match (std::mem::replace(&mut self.phase, Phase::Idle), event) {
            (Phase::Idle, Event::Start) => {
                self.phase = Phase::Asking;
                vec![Effect::Request { id: ENDPOINT_CALL, request: endpoint::request(&self.app) }]
            }
            (Phase::Asking, Event::Response { id: ENDPOINT_CALL, result }) => {
                match endpoint::read(&self.app, result) {
                    Ok(endpoint) => {
                        let open = Effect::Open(endpoint.open());
                        self.phase = Phase::Opening(endpoint);
                        vec![open]
                    }
                    Err(failure) => self.finish(Some(failure)),
                }
            }
            (Phase::Opening(endpoint), Event::Opened) => {
                let mut session = Session::new(endpoint, self.app.rhythm, now);
                let connection = session.endpoint.connection.clone();
                let effects = vec![Effect::Emit(Output::Open { connection }), session.ping(now)];
                self.phase = Phase::Open(Box::new(session));
                effects
            }
            (Phase::Opening(endpoint), Event::NotOpened(error)) => {
                self.finish(Some(endpoint.refused(&error)))
            }
            (Phase::Open(session), Event::Frame(Message::Close(close))) => {
                self.lost(&session, &closed(close.as_ref()))
            }
            (Phase::Open(session), Event::Lost(error)) => {
                self.lost(&session, &ended(&session, error.as_ref()))
            }
            (Phase::Open(_), Event::Stop) => {
                let close = Close { code: NORMAL_CLOSURE, reason: String::new() };
                let mut effects = vec![Effect::Send(Message::Close(Some(close)))];
                effects.extend(self.finish(None));
                effects
            }
            (_, Event::Stop) => self.finish(None),
            (Phase::Open(mut session), event) => {
                let effects = session.step(event, now);
                self.phase = Phase::Open(session);
                effects
            }
            // Late or out of place: a verdict after the end, a wake-up before the beginning.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Open(session) => Some(session.next_ping),
            Phase::Idle | Phase::Asking | Phase::Opening(_) => None,
        }
    }

    fn patience(&self) -> Duration {
        match &self.phase {
            Phase::Open(session) => session.patience,
            Phase::Idle | Phase::Asking | Phase::Opening(_) => self.app.rhythm.answer,
        }
    }
}

/// Close codes have no documented meaning, so all of them mean the same: try again (protocol §2.6).
fn closed(close: Option<&Close>) -> String {
    match close {
        Some(Close { code, reason }) => format!("closed by the platform with code {code}: {reason}"),
        None => "closed by the platform without a code".to_owned(),
    }
}

fn ended(session: &Session, error: Option<&NetworkError>) -> String {
    match error {
        Some(error) => error.at(&session.endpoint.host()),
        None => "ended by the platform without a close code".to_owned(),
    }
}

#[cfg(test)]
mod tests;
