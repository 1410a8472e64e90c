//! Polls, one after the other (protocol §4).

use std::time::Duration;

use moorline_channel::{
    AckId, Effect, Event, HttpResponse, NetworkError, NetworkErrorKind, Output, RequestId,
};
use moorline_core::{Effect as Happened, Failure, Monotonic};
use serde_json::json;

use super::holding::Holding;
use super::lapse::Lapse;
use super::{Calls, Leaving};
use crate::api::{self, Answer, GET_UPDATES, NOTIFY_START, NOTIFY_STOP};
use crate::{class, message};

/// How long the platform holds a poll at least, as its own client assumes, and at most, whatever it says.
const SHORTEST_HOLD: Duration = Duration::from_secs(35);
const LONGEST_HOLD: Duration = Duration::from_secs(300);

/// What a poll may take beyond that, so that the platform ends it and not we (protocol §1.5).
const GRACE: Duration = Duration::from_secs(8);

/// A poll that is held this long is one that was let in (protocol §4.6).
const HELD: Duration = Duration::from_secs(2);

/// Between the beginnings of two polls of which the first brought nothing new.
const PACE: Duration = Duration::from_secs(1);

/// Of the call that answers a probe; the driver gives ten seconds in all.
const PROBE_DEADLINE: Duration = Duration::from_secs(8);

/// Polls that may stay unanswered before the platform has shown itself at all.
const SILENT_POLLS: u32 = 2;

/// Longest answer that is taken: what does not fit is lost.
const ANSWER_BYTES: usize = 32 << 20;

/// A run of polls.
pub(super) struct Session {
    calls: Calls,
    /// Where to go on; stored, or known to the platform only.
    cursor: String,
    turn: Turn,
    /// How long a poll may take now.
    deadline: Duration,
    /// A `notifystart` beside the polls.
    greeting: Option<Greeting>,
    /// A poll whose connection may be dead, and when it is given up.
    doubtful: Option<(RequestId, Monotonic)>,
    /// Whether the runtime was told that the connection is open.
    open: bool,
    /// Whether the platform has answered a call with our token in this life.
    let_in: bool,
    /// Whether a poll of this life was answered. Before that it is open because a poll was held, if it is.
    answered: bool,
    /// Polls without an answer before one was answered.
    silent: u32,
    /// The last sign of life.
    alive_at: Monotonic,
    /// How much of the silence since then was ours.
    ours: Duration,
    /// When the next poll may begin.
    not_before: Monotonic,
    next_ack: AckId,
    lapse: Lapse,
}

/// Whose turn it is. There is never more than one poll.
enum Turn {
    /// The platform's: a poll is open.
    Polling { id: RequestId, since: Monotonic },
    /// Nobody's, for a moment.
    Pausing { until: Monotonic },
    /// The store's.
    Storing(Holding),
}

struct Greeting {
    id: RequestId,
    /// Whether a probe waits for it.
    probed: bool,
}

impl Session {
    /// `greeted`: whether the platform took notice of us. Nothing is polled yet.
    pub(super) fn new(calls: Calls, cursor: String, greeted: bool, now: Monotonic) -> Self {
        Self {
            calls,
            cursor,
            turn: Turn::Pausing { until: now },
            deadline: SHORTEST_HOLD + GRACE,
            greeting: None,
            doubtful: None,
            open: false,
            let_in: greeted,
            answered: false,
            silent: 0,
            alive_at: now,
            ours: Duration::ZERO,
            not_before: now,
            next_ack: AckId(0),
            lapse: Lapse::default(),
        }
    }

    /// Everything but starting and stopping.
    pub(super) fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match event {
            Event::Response { id, result } => match (&self.turn, &self.greeting) {
                (Turn::Polling { id: poll, since }, _) if *poll == id => {
                    let since = *since;
                    self.answered(result, since, now)
                }
                (_, Some(greeting)) if greeting.id == id => self.greeted(result, now),
                _ => Vec::new(),
            },
            Event::Verdict { ack, stored } => {
                let done = match &mut self.turn {
                    Turn::Storing(holding) => holding.verdict(ack, stored, now),
                    Turn::Polling { .. } | Turn::Pausing { .. } => false,
                };
                if done { self.stored(now) } else { Vec::new() }
            }
            Event::Wake => self.wake(now),
            Event::Probe => self.greet(true, Some(PROBE_DEADLINE)),
            _ => Vec::new(),
        }
    }

    /// Opens a poll as soon as it may be.
    pub(super) fn poll(&mut self, now: Monotonic) -> Vec<Effect> {
        if now < self.not_before {
            self.turn = Turn::Pausing { until: self.not_before };
            return Vec::new();
        }
        let body = json!({ "get_updates_buf": self.cursor });
        let (id, mut call) = self.calls.make(&GET_UPDATES, body, Some(self.deadline));
        if let Effect::Request { request, .. } = &mut call {
            request.body_limit = ANSWER_BYTES;
        }
        self.turn = Turn::Polling { id, since: now };
        vec![call]
    }

    /// Ends in an orderly way: the poll is given up at once, what is in hand is not.
    pub(super) fn leave(mut self, now: Monotonic) -> (Leaving, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut holding = None;
        match self.turn {
            Turn::Polling { id, .. } => effects.push(Effect::Cancel(id)),
            Turn::Pausing { .. } => {}
            Turn::Storing(mut held) => {
                effects.extend(held.hurry(now));
                holding = Some(held);
            }
        }
        effects.extend(self.greeting.map(|greeting| Effect::Cancel(greeting.id)));
        let (goodbye, call) = self.calls.make(&NOTIFY_STOP, json!({}), None);
        effects.push(call);
        (Leaving { goodbye: Some(goodbye), holding }, effects)
    }

    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        match &self.turn {
            Turn::Polling { id, since } => {
                let held = self.opens_when_held().then_some(*since + HELD);
                let doubtful = self.doubtful.filter(|(poll, _)| poll == id).map(|(_, due)| due);
                [held, doubtful].into_iter().flatten().min()
            }
            Turn::Pausing { until } => Some(*until),
            Turn::Storing(holding) => Some(holding.due),
        }
    }

    /// The time in which we did not ask is not the platform's silence.
    pub(super) fn patience(&self) -> Duration {
        self.calls.bot.patience(self.deadline) + self.ours
    }

    pub(super) const fn in_hand(&self) -> Option<Monotonic> {
        match &self.turn {
            Turn::Storing(holding) => Some(holding.since),
            Turn::Polling { .. } | Turn::Pausing { .. } => None,
        }
    }

    fn wake(&mut self, now: Monotonic) -> Vec<Effect> {
        let mut effects = Vec::new();
        match &mut self.turn {
            Turn::Polling { id, since } => {
                let (id, since, held) = (*id, *since, now >= *since + HELD);
                if held && self.opens_when_held() {
                    effects = self.alive(now);
                }
                if self.doubtful.is_some_and(|(poll, due)| poll == id && now >= due) {
                    effects.push(Effect::Cancel(id));
                    effects.push(gap(since, "a poll was given up because its connection may have been dead"));
                    effects.extend(self.poll(now));
                }
            }
            Turn::Pausing { until } if now >= *until => effects = self.poll(now),
            Turn::Pausing { .. } => {}
            Turn::Storing(holding) => effects.extend(holding.wake(now)),
        }
        effects
    }

    /// The poll is over.
    fn answered(
        &mut self,
        result: Result<HttpResponse, NetworkError>,
        since: Monotonic,
        now: Monotonic,
    ) -> Vec<Effect> {
        if matches!(&result, Err(error) if error.kind == NetworkErrorKind::Timeout) {
            return self.unanswered(since, now);
        }
        match api::read("poll", result, class::call, &[self.calls.bot.token.expose()]) {
            Ok(answer) => self.good(&answer, since, now),
            Err(failure) => {
                // A code is the platform's own word; anything else may have come from in between.
                if self.open && !self.answered && failure.code.is_none() {
                    self.calls.bot.polled(false);
                }
                ended(failure, since)
            }
        }
    }

    /// For the platform's own client this is an empty poll like any other (protocol §4.1). But an answer may have been on
    /// its way, and it is no sign of life.
    fn unanswered(&mut self, since: Monotonic, now: Monotonic) -> Vec<Effect> {
        let mut effects = vec![gap(since, "a poll had no answer in time, and the platform may think it had")];
        self.calls.bot.polled(false);
        self.silent += 1;
        // What was open because this poll was held is not.
        if !self.answered && (self.open || self.silent >= SILENT_POLLS) {
            let what = format!("poll: no answer in time, and none before it ({} in a row)", self.silent);
            effects.push(Calls::finish(Failure::transient(what)));
            return effects;
        }
        effects.extend(self.poll(now));
        effects
    }

    fn good(&mut self, answer: &Answer, since: Monotonic, now: Monotonic) -> Vec<Effect> {
        (self.let_in, self.answered) = (true, true);
        self.calls.bot.polled(true);
        let mut effects = self.alive(now);
        self.deadline = deadline(answer.whole("longpolling_timeout_ms"));
        let (msgs, cursor) = (answer.raw("msgs"), answer.text("get_updates_buf"));
        if msgs.is_none() && cursor.is_none() {
            effects.extend(self.lapse.another(now));
            if self.lapse.wants_greeting(now) {
                effects.extend(self.greet(false, None));
            }
        } else {
            effects.extend(self.lapse.over());
        }
        let deliveries = msgs.map(|msgs| message::read(&self.calls.bot.id, msgs)).unwrap_or_default();
        let cursor = cursor.filter(|cursor| *cursor != self.cursor);
        let nothing_new = deliveries.is_empty() || cursor.is_none();
        self.not_before = if nothing_new { since + PACE } else { now };
        if deliveries.is_empty() && cursor.is_none() {
            effects.extend(self.poll(now));
        } else {
            let (holding, deliver) = Holding::new(self.next_ack, deliveries, cursor, since, now);
            self.turn = Turn::Storing(holding);
            effects.push(deliver);
        }
        effects
    }

    /// What was in hand is stored; only now may the platform forget it.
    fn stored(&mut self, now: Monotonic) -> Vec<Effect> {
        if let Turn::Storing(holding) = &mut self.turn {
            self.next_ack = holding.next_ack();
            self.cursor = holding.cursor.take().unwrap_or_else(|| std::mem::take(&mut self.cursor));
        }
        self.ours = now.since(self.alive_at);
        self.poll(now)
    }

    /// Tells the platform that we are here, beside the polls.
    fn greet(&mut self, probed: bool, deadline: Option<Duration>) -> Vec<Effect> {
        if let Some(greeting) = &mut self.greeting {
            greeting.probed |= probed;
            return Vec::new();
        }
        let (id, call) = self.calls.make(&NOTIFY_START, json!({}), deadline);
        self.greeting = Some(Greeting { id, probed });
        vec![call]
    }

    fn greeted(&mut self, result: Result<HttpResponse, NetworkError>, now: Monotonic) -> Vec<Effect> {
        let probed = self.greeting.take().is_some_and(|greeting| greeting.probed);
        let poll = match &self.turn {
            Turn::Polling { id, since } => Some((*id, *since)),
            Turn::Pausing { .. } | Turn::Storing(_) => None,
        };
        match api::read("notifystart", result, class::call, &[self.calls.bot.token.expose()]) {
            Ok(_) => {
                self.let_in = true;
                self.lapse.heard();
                if probed {
                    // The platform is there; whether the connection of the poll is, an answer will show, or none.
                    self.doubtful = poll.map(|(poll, _)| (poll, now + HELD));
                }
                if self.open { self.alive(now) } else { Vec::new() }
            }
            // What is in hand is worth more than to know at once that the platform is gone.
            Err(failure) if probed && !matches!(self.turn, Turn::Storing(_)) => {
                let mut effects: Vec<_> = poll
                    .map(|(_, since)| {
                        gap(since, "a poll was given up because the platform shows no sign of life")
                    })
                    .into_iter()
                    .collect();
                effects.push(Calls::finish(failure));
                effects
            }
            Err(failure) => {
                tracing::info!(bot = self.calls.bot.id, "greeting refused: {failure}");
                Vec::new()
            }
        }
    }

    /// Whether a poll that is held for a while opens the connection (design §2).
    fn opens_when_held(&self) -> bool {
        self.let_in && !self.open && self.calls.bot.may_trust_held_polls()
    }

    /// The platform is there; the first time, that is what opens the connection.
    fn alive(&mut self, now: Monotonic) -> Vec<Effect> {
        (self.alive_at, self.ours) = (now, Duration::ZERO);
        let opened = !std::mem::replace(&mut self.open, true);
        let open = opened.then(|| Effect::Emit(Output::Open { connection: self.calls.bot.id.clone() }));
        open.into_iter().chain([Effect::Emit(Output::Alive)]).collect()
    }
}

/// The end, with a gap if the platform may have handed out what never arrived.
fn ended(failure: Failure, since: Monotonic) -> Vec<Effect> {
    let lost = failure.effect == Happened::Unknown;
    let lost = lost.then(|| gap(since, "a poll was cut off, and the platform may think it was answered"));
    lost.into_iter().chain([Calls::finish(failure)]).collect()
}

fn gap(since: Monotonic, why: &str) -> Effect {
    Effect::Emit(Output::Gap { since, why: why.to_owned() })
}

/// How long the next poll may take, by what the platform says of its patience.
fn deadline(hold_ms: Option<i64>) -> Duration {
    let hold = hold_ms.and_then(|ms| u64::try_from(ms).ok()).map_or(SHORTEST_HOLD, Duration::from_millis);
    hold.clamp(SHORTEST_HOLD, LONGEST_HOLD) + GRACE
}
