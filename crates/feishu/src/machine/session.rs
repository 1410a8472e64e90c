//! An open connection: pings, pongs, events and their acknowledgements (protocol §2).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use moorline_channel::{AckId, Delivery, Effect, Event, Message, Output};
use moorline_core::Monotonic;
use serde_json::Value;

use crate::app::Rhythm;
use crate::endpoint::{ClientConfig, Endpoint};
use crate::event::{self, Received};
use crate::frame::{Acknowledgement, CONTROL, DATA, Frame};
use crate::parts::{Joined, Parts};

/// Most deliveries that wait for their verdicts, and most bytes of their frames. What exceeds it is refused at
/// once and comes again in 15 s: better than acks that are all late (G12).
const WAITING_LIMIT: usize = 1_024;
const WAITING_BYTES: usize = 4 << 20;

/// The payload of an acknowledgement, as the platform's own client writes it (protocol §2.4).
const STORED: &[u8] = br#"{"code": 200, "headers": null, "data": null}"#;
const REFUSED: &[u8] = br#"{"code": 500, "headers": null, "data": null}"#;

/// An open connection.
pub(super) struct Session {
    pub(super) endpoint: Endpoint,
    /// When the next ping is due.
    pub(super) next_ping: Monotonic,
    /// The longest silence that is not death.
    pub(super) patience: Duration,
    rhythm: Rhythm,
    /// Whether the platform has sent a frame.
    heard: bool,
    /// Between the last ping and the next one.
    ping_wait: Duration,
    config: ClientConfig,
    parts: Parts,
    waiting: BTreeMap<AckId, Waiting>,
    waiting_bytes: usize,
    next_ack: u64,
}

/// A delivery whose verdict is not known yet.
struct Waiting {
    answer: Acknowledgement,
    received: Monotonic,
}

impl Session {
    pub(super) fn new(endpoint: Endpoint, rhythm: Rhythm, now: Monotonic) -> Self {
        let mut config = ClientConfig::default();
        config.merge(&endpoint.config);
        tracing::debug!(?config, connection = %endpoint.connection, "Long connection opened.");
        Self {
            endpoint,
            next_ping: now,
            patience: rhythm.answer,
            rhythm,
            heard: false,
            ping_wait: Duration::ZERO,
            config,
            parts: Parts::default(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            next_ack: 0,
        }
    }

    /// Everything but opening and ending.
    pub(super) fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.parts.expire(now) {
            0 => {}
            n => effects
                .push(skipped(format!("{n} events of which parts are missing; nothing was acknowledged"))),
        }
        match event {
            Event::Frame(Message::Binary(bytes)) => self.binary(bytes, now, &mut effects),
            Event::Frame(Message::Text(text)) => {
                effects.push(skipped(format!("a text message of {} bytes", text.len())));
            }
            Event::Wake if now >= self.next_ping => effects.push(self.ping(now)),
            Event::Probe => effects.push(self.ping(now)),
            Event::Verdict { ack, stored } => effects.extend(self.verdict(ack, stored, now)),
            _ => {}
        }
        effects
    }

    /// A ping now, and the next one after the interval that is wished for now. The patience never shrinks here: the
    /// last sign of life answered an earlier ping, and is as old as the interval was then.
    pub(super) fn ping(&mut self, now: Monotonic) -> Effect {
        self.ping_wait = self.config.ping_interval.min(self.rhythm.ping);
        self.next_ping = now + self.ping_wait;
        if self.heard {
            self.patience = self.patience.max(self.ping_wait + self.rhythm.answer);
        }
        Effect::Send(Message::Binary(Frame::ping(self.endpoint.service_id).write()))
    }

    fn binary(&mut self, bytes: Bytes, now: Monotonic, effects: &mut Vec<Effect>) {
        let frame = match Frame::read(bytes.clone()) {
            Ok(frame) => frame,
            Err(error) => return effects.push(skipped(error.to_string())),
        };
        // Every frame of the platform proves that it is there; from now on the next proof may take until the next
        // ping is answered.
        effects.push(Effect::Emit(Output::Alive));
        self.heard = true;
        self.patience = self.ping_wait + self.rhythm.answer;
        match (frame.method, frame.header("type")) {
            (CONTROL, Some("pong")) => effects.extend(self.pong(&frame)),
            // The platform's own pings need no answer (protocol §2.2).
            (CONTROL, Some("ping")) => {}
            (DATA, Some("event")) => self.data(&frame, &bytes, now, effects),
            (method, kind) => {
                let kind = self.endpoint.quote(kind.unwrap_or("none"));
                effects.push(skipped(format!("a frame of method {method} and type {kind}")));
            }
        }
    }

    fn pong(&mut self, frame: &Frame) -> Option<Effect> {
        let payload = frame.payload.as_deref().filter(|payload| !payload.is_empty())?;
        match serde_json::from_slice::<Value>(payload) {
            Ok(received) => {
                self.config.merge(&received);
                tracing::trace!(config = ?self.config, "Pong.");
                None
            }
            Err(error) => Some(skipped(format!("a pong whose payload is no JSON: {error}"))),
        }
    }

    fn data(&mut self, frame: &Frame, bytes: &Bytes, now: Monotonic, effects: &mut Vec<Effect>) {
        let payload = match self.parts.take(frame, now) {
            Ok(Joined::Whole(payload)) => payload,
            Ok(Joined::Incomplete) => return,
            Err(error) => return effects.push(skipped(error.to_string())),
        };
        let answer = Acknowledgement::of(bytes);
        match event::read(payload) {
            // Cards too: the user sees an error unless the answer is there within 3 s, and one without data changes
            // nothing (protocol §4.4).
            Received::Notice { kind } => {
                effects.push(Effect::Emit(Output::Notice { kind }));
                effects.push(send(&answer, STORED, Duration::ZERO));
            }
            Received::Delivery(delivery) => self.deliver(answer, delivery, now, effects),
        }
    }

    /// A redelivery that comes before the first copy has its verdict is a delivery of its own: which is the
    /// duplicate is for the store to say (F-032).
    fn deliver(
        &mut self,
        answer: Acknowledgement,
        delivery: Delivery,
        now: Monotonic,
        effects: &mut Vec<Effect>,
    ) {
        if self.waiting.len() >= WAITING_LIMIT || self.waiting_bytes + answer.size() > WAITING_BYTES {
            let why = format!("an event was refused: {} wait to be stored", self.waiting.len());
            effects.push(skipped(why));
            effects.push(send(&answer, REFUSED, Duration::ZERO));
            return;
        }
        let ack = AckId(self.next_ack);
        self.next_ack += 1;
        self.waiting_bytes += answer.size();
        self.waiting.insert(ack, Waiting { answer, received: now });
        effects.push(Effect::Emit(Output::Deliver { ack, deliveries: vec![delivery], cursor: None }));
    }

    fn verdict(&mut self, ack: AckId, stored: bool, now: Monotonic) -> Option<Effect> {
        let Waiting { answer, received } = self.waiting.remove(&ack)?;
        self.waiting_bytes -= answer.size();
        Some(send(&answer, if stored { STORED } else { REFUSED }, now - received))
    }
}

fn send(answer: &Acknowledgement, payload: &'static [u8], took: Duration) -> Effect {
    Effect::Send(Message::Binary(answer.write(payload, took)))
}

fn skipped(why: String) -> Effect {
    Effect::Emit(Output::Skipped { why })
}
