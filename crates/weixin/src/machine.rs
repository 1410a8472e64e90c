//! Receiving, from the first call to the goodbye (protocol §3, §4), as a machine without I/O.
//!
//! One life is one run of polls: any answer but a good one ends it, and the runtime decides when the next begins. So
//! there is no pause of its own in here, and a life that begins after -14 begins like every other one, with
//! `notifystart` and the cursor unchanged (openclaw-weixin#155).

use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Connector, Effect, Event, RequestId, Start};
use moorline_core::{Failure, Monotonic};
use serde_json::{Value, json};

use crate::api::{self, Endpoint, NOTIFY_START, NOTIFY_STOP, Uins};
use crate::bot::{Bot, needs_login};
use crate::class;

mod holding;
mod lapse;
mod session;

use holding::Holding;
use session::Session;

/// While nothing is read, silence means nothing.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The connection of one bot.
pub(crate) struct Receiver {
    bot: Option<Arc<Bot>>,
    start: Start,
    phase: Phase,
}

/// How far the connection is.
enum Phase {
    /// Not begun, or over.
    Idle,
    /// The platform is told that we are here.
    Greeting(Calls, RequestId),
    /// Polls, one after the other.
    Polling(Box<Session>),
    /// The platform is told that we go.
    Leaving(Leaving),
}

/// An orderly end: over when the goodbye is answered, and what is in hand is stored. The driver waits two seconds for
/// it.
struct Leaving {
    goodbye: Option<RequestId>,
    holding: Option<Holding>,
}

impl Receiver {
    /// A machine for the account as its login left it, if there was one.
    pub(crate) const fn new(bot: Option<Arc<Bot>>, start: Start) -> Self {
        Self { bot, start, phase: Phase::Idle }
    }

    fn begin(&mut self) -> Vec<Effect> {
        let Some(bot) = &self.bot else { return vec![Effect::Finish(Some(needs_login("poll")))] };
        let mut calls = Calls::new(Arc::clone(bot), self.start.seed);
        let (id, call) = calls.make(&NOTIFY_START, json!({}), None);
        self.phase = Phase::Greeting(calls, id);
        vec![call]
    }

    /// Goes on to `leaving`, or is over already.
    fn leave(&mut self, leaving: Leaving) -> Option<Effect> {
        if leaving.goodbye.is_none() && leaving.holding.is_none() {
            return Some(Effect::Finish(None));
        }
        self.phase = Phase::Leaving(leaving);
        None
    }
}

impl Connector for Receiver {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match (std::mem::replace(&mut self.phase, Phase::Idle), event) {
            (Phase::Idle, Event::Start) => self.begin(),
            (Phase::Idle, Event::Stop) => vec![Effect::Finish(None)],
            (Phase::Greeting(calls, greeting), Event::Response { id, result }) if id == greeting => {
                let greeted = api::read("notifystart", result, class::call, &[calls.bot.token.expose()]);
                if let Err(failure) = &greeted {
                    // It does not matter: whether we can receive, the poll will tell (protocol §3).
                    tracing::info!(bot = calls.bot.id, "polling without a greeting: {failure}");
                }
                let cursor = self.start.cursor.take().unwrap_or_default();
                let mut session = Session::new(calls, cursor, greeted.is_ok(), now);
                let effects = session.poll(now);
                self.phase = Phase::Polling(Box::new(session));
                effects
            }
            (Phase::Greeting(mut calls, greeting), Event::Stop) => {
                let (goodbye, call) = calls.make(&NOTIFY_STOP, json!({}), None);
                self.phase = Phase::Leaving(Leaving { goodbye: Some(goodbye), holding: None });
                vec![Effect::Cancel(greeting), call]
            }
            (Phase::Polling(session), Event::Stop) => {
                let (leaving, mut effects) = session.leave(now);
                effects.extend(self.leave(leaving));
                effects
            }
            (Phase::Polling(mut session), event) => {
                let effects = session.step(event, now);
                if !matches!(effects.last(), Some(Effect::Finish(_))) {
                    self.phase = Phase::Polling(session);
                }
                effects
            }
            (Phase::Leaving(mut leaving), event) => {
                let mut effects = leaving.step(event, now);
                effects.extend(self.leave(leaving));
                effects
            }
            // Late or out of place.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Polling(session) => session.wake_at(),
            Phase::Leaving(leaving) => leaving.holding.as_ref().map(|holding| holding.due),
            Phase::Idle | Phase::Greeting(..) => None,
        }
    }

    fn patience(&self) -> Duration {
        match &self.phase {
            Phase::Polling(session) => session.patience(),
            // Nothing is open yet, or nothing is read any more.
            Phase::Idle | Phase::Greeting(..) | Phase::Leaving(_) => FOR_EVER,
        }
    }

    fn in_hand(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Polling(session) => session.in_hand(),
            Phase::Leaving(leaving) => leaving.holding.as_ref().map(|holding| holding.since),
            Phase::Idle | Phase::Greeting(..) => None,
        }
    }
}

impl Leaving {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match event {
            Event::Response { id, .. } if self.goodbye == Some(id) => self.goodbye = None,
            Event::Verdict { ack, stored }
                if self.holding.as_mut().is_some_and(|holding| holding.verdict(ack, stored, now)) =>
            {
                self.holding = None;
            }
            Event::Wake => {
                return self.holding.as_mut().and_then(|holding| holding.wake(now)).into_iter().collect();
            }
            _ => {}
        }
        Vec::new()
    }
}

/// Makes the calls of one life, and names them.
struct Calls {
    bot: Arc<Bot>,
    uins: Uins,
    next: u32,
}

impl Calls {
    const fn new(bot: Arc<Bot>, seed: u64) -> Self {
        Self { bot, uins: Uins::new(seed), next: 0 }
    }

    /// A call with its own deadline, or with the usual one.
    fn make(&mut self, endpoint: &Endpoint, body: Value, deadline: Option<Duration>) -> (RequestId, Effect) {
        let id = RequestId(self.next);
        self.next = self.next.wrapping_add(1);
        let mut request = self.bot.request(endpoint, Some(&self.uins), body);
        request.deadline = deadline.unwrap_or(request.deadline);
        (id, Effect::Request { id, request })
    }

    fn finish(failure: Failure) -> Effect {
        Effect::Finish(Some(failure))
    }
}

#[cfg(test)]
mod tests;
