//! Events: pushing, splitting, acks and the redelivery ladder (§2.3–2.5).

use std::time::Duration;

use base64::Engine as _;
use moorline_core::{EventId, MessageId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::activity::CARD_ACTION;
use super::app::AppId;
use super::callback::Callback;
use super::connection::odd_payload;
use super::fault::{Fault, OddFrame, Split};
use super::frame::{Frame, Header, METHOD_DATA};
use super::ledger::EventRecord;
use super::platform::{Platform, Timer, TimerKey, UnknownApp};
use crate::faults::millis;
use crate::link::{Effect, LinkId, Now, WsMessage};

/// How events that were not acked are pushed again (§2.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redelivery {
    /// How long an ack may take; in JSON, milliseconds.
    #[serde(rename = "ack_budget_ms", with = "millis")]
    pub ack_budget: Duration,
    /// The wait before each repetition; in JSON, milliseconds. Empty for none.
    #[serde(rename = "ladder_ms", with = "ladder")]
    pub ladder: Vec<Duration>,
    /// Whether an attempt made without any connection uses up a rung. Not documented by the platform; when false,
    /// the event waits and goes out with the next connection.
    pub offline_attempts_count: bool,
}

/// What the machine keeps of an event beside its record in the ledger.
#[derive(Debug)]
pub(crate) struct Event {
    app: AppId,
    pub(crate) payload: Vec<u8>,
    /// The card it is about.
    card: Option<MessageId>,
    /// The `message_id` header of its frames; a UUID that is not the chat message's id.
    frame_id: String,
    log_id: u64,
    /// The running budget or wait; `None` when it is settled.
    timer: Option<TimerKey>,
    /// Rungs of the ladder used up.
    rung: usize,
    /// Whether it waits for a connection.
    waiting: bool,
}

/// One delivery that may still be acked.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) link: LinkId,
    pub(crate) event: u64,
    attempt: u32,
    /// The frames without payloads; their `SeqID`s are consecutive.
    frames: Vec<Frame>,
    /// Whether every part was sent: nobody can honestly ack the rest.
    complete: bool,
}

/// How an event is put into frames.
#[derive(Debug, Default)]
struct Shape {
    split: Option<Split>,
    sum_changes: bool,
    unknown_fields: bool,
}

/// Field 15 of a frame, which there is not: the text "new".
const UNKNOWN_FIELD: [u8; 5] = [0x7a, 3, b'n', b'e', b'w'];

/// What an ack's payload has to be.
#[derive(Deserialize)]
struct AckBody {
    code: i64,
    #[serde(default)]
    data: Option<Value>,
}

impl Default for Redelivery {
    fn default() -> Self {
        Self {
            ack_budget: Duration::from_secs(3),
            ladder: [15, 300, 3_600, 21_600].map(Duration::from_secs).to_vec(),
            offline_attempts_count: true,
        }
    }
}

impl Event {
    /// Whether the platform will not push it again.
    pub(crate) fn is_settled(&self) -> bool {
        self.timer.is_none() && !self.waiting
    }
}

impl Platform {
    /// An event with this payload.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push_raw(&mut self, app: &AppId, payload: Vec<u8>, now: Now) -> Result<EventId, UnknownApp> {
        self.app(app)?;
        // An envelope that names its event keeps the name, so that the ledger can be asked for it.
        let named = serde_json::from_slice::<Value>(&payload).ok();
        let named = named.as_ref().and_then(|value| value.pointer("/header/event_id")?.as_str());
        let event_id = named.map_or_else(|| EventId::new(self.hex(32)), EventId::new);
        self.enqueue(record(app, event_id.clone(), "", now), payload, now);
        Ok(event_id)
    }

    /// An event about something else than a message; about a card, when there is one.
    pub(crate) fn enqueue_activity(
        &mut self,
        app: &AppId,
        event_id: EventId,
        event_type: &str,
        payload: Vec<u8>,
        card: Option<MessageId>,
        now: Now,
    ) {
        let mut record = record(app, event_id, event_type, now);
        record.callback = (event_type == CARD_ACTION).then_some(Callback::Pending);
        let number = self.enqueue(record, payload, now);
        if let Some(event) = self.events.get_mut(&number) {
            event.card = card;
        }
    }

    /// Tracks an event, pushes it for the first time, and says its number.
    pub(crate) fn enqueue(&mut self, mut record: EventRecord, payload: Vec<u8>, now: Now) -> u64 {
        self.last_event += 1;
        let number = self.last_event;
        record.number = number;
        let app = record.app.clone();
        let id = self.hex(32);
        let event = Event {
            app: app.clone(),
            payload,
            frame_id: uuid_of(&id),
            log_id: self.rng.u64(1 << 62..1 << 63),
            card: None,
            timer: None,
            rung: 0,
            waiting: false,
        };
        self.ledger.events.push(record);
        self.events.insert(number, event);
        if let Some(state) = self.apps.get_mut(&app) {
            state.counters.events += 1;
        }
        self.attempt(number, now);
        self.forget_events();
        number
    }

    /// Pushes an event, to one random connection of the app (§1.4).
    pub(crate) fn attempt(&mut self, number: u64, now: Now) {
        let Some(event) = self.events.get_mut(&number) else { return };
        event.timer = None;
        event.waiting = false;
        let app = event.app.clone();
        if self.apps.get(&app).is_some_and(|state| state.links.is_empty())
            && !self.redelivery.offline_attempts_count
        {
            if let Some(state) = self.apps.get_mut(&app) {
                state.waiting.push_back(number);
            }
            if let Some(event) = self.events.get_mut(&number) {
                event.waiting = true;
            }
            return;
        }
        if let Some(record) = self.ledger.record_mut(number) {
            record.attempts += 1;
        }
        let Some(link) = self.random_link(&app) else { return self.failed(number, now) };
        let odd = self.take_fault(&app, |fault| match fault {
            Fault::OddFrame(odd) => Some(*odd),
            _ => None,
        });
        if let Some(odd) = odd {
            self.send_odd_before(link, &app, odd, now);
        }
        let shape = self.take_fault(&app, |fault| match fault {
            Fault::Split(split) => Some(Shape { split: Some(split.clone()), ..Shape::default() }),
            Fault::SplitSumChanges(parts) => {
                let split = Some(Split { parts: *parts, order: Vec::new(), missing: None });
                Some(Shape { split, sum_changes: true, ..Shape::default() })
            }
            _ => None,
        });
        let mut shape = shape.unwrap_or_default();
        let unknown = self.take_fault(&app, |fault| matches!(fault, Fault::UnknownFields).then_some(()));
        shape.unknown_fields = unknown.is_some();
        self.deliver(number, link, &shape, now);
        if self.take_fault(&app, |fault| matches!(fault, Fault::Duplicate).then_some(())).is_some()
            && let Some(other) = self.random_link(&app)
        {
            self.deliver(number, other, &shape, now);
        }
        let due = now.monotonic + self.redelivery.ack_budget;
        let timer = self.set_timer(due, Timer::Budget { event: number });
        if let Some(event) = self.events.get_mut(&number) {
            event.timer = Some(timer);
        }
    }

    fn send_odd_before(&mut self, link: LinkId, app: &AppId, odd: OddFrame, now: Now) {
        match odd_payload(odd) {
            // Known by now: the event that is being delivered has the same app.
            Some(payload) => drop(self.push_raw(app, payload, now)),
            None => self.send_odd(link, odd),
        }
    }

    fn random_link(&mut self, app: &AppId) -> Option<LinkId> {
        let links = &self.apps.get(app)?.links;
        // Drawing only where there is a choice keeps the ids of one-connection runs independent of redeliveries.
        let chosen = if links.len() > 1 { self.rng.usize(0..links.len()) } else { 0 };
        links.iter().nth(chosen).copied()
    }

    fn deliver(&mut self, number: u64, link: LinkId, shape: &Shape, now: Now) {
        let split = shape.split.as_ref();
        let Some(connection) = self.connections.get(&link) else { return };
        let (service, black_hole) = (connection.service, connection.info.black_hole);
        let (Some(event), Some(record)) = (self.events.get(&number), self.ledger.record_mut(number)) else {
            return;
        };
        record.deliveries.push(now.wall);
        let parts = parts(&event.payload, split.map_or(1, |split| split.parts));
        let first_seq = self.last_seq + 1;
        self.last_seq += parts.len() as u64;
        let frame = |seq: usize| {
            let last = seq + 1 == parts.len();
            let sum = parts.len() + usize::from(shape.sum_changes && last);
            let headers = [
                ("type", "event".to_owned()),
                ("message_id", event.frame_id.clone()),
                ("sum", sum.to_string()),
                ("seq", seq.to_string()),
                ("trace_id", record.event_id.to_string()),
                ("timestamp", now.wall.as_millis().to_string()),
                ("instance_id", format!("frontier-{}", link.0)),
            ];
            let unknown = shape.unknown_fields.then(|| ("x-unheard-of", "keep me".to_owned()));
            let headers = headers.into_iter().chain(unknown);
            Frame {
                seq_id: first_seq + seq as u64,
                log_id: event.log_id,
                service,
                method: METHOD_DATA,
                headers: headers.map(|(key, value)| Header::new(key, value)).collect(),
                payload_encoding: shape.unknown_fields.then(|| "none".to_owned()),
                payload_type: shape.unknown_fields.then(|| "text".to_owned()),
                log_id_new: Some(event.log_id.to_string()),
                ..Frame::default()
            }
        };
        let frames: Vec<Frame> = (0..parts.len()).map(frame).collect();
        let order = order(split, parts.len());
        let complete = !shape.sum_changes && (0..parts.len()).all(|part| order.contains(&part));
        let messages: Vec<Vec<u8>> = order
            .iter()
            .filter_map(|&part| {
                let payload = parts.get(part)?.to_vec();
                let mut bytes = Frame { payload: Some(payload), ..frames.get(part)?.clone() }.encode();
                if shape.unknown_fields {
                    bytes.extend(UNKNOWN_FIELD);
                }
                Some(bytes)
            })
            .collect();
        let attempt = record.attempts;
        self.deliveries.insert(first_seq, Delivery { link, event: number, attempt, frames, complete });
        for message in messages.into_iter().filter(|_| !black_hole) {
            self.act(link, Effect::Send(WsMessage::Binary(message)));
        }
    }

    /// A connection is there: whatever waited for one goes out.
    pub(crate) fn deliver_waiting(&mut self, app: &AppId, now: Now) {
        let waiting = self.apps.get_mut(app).map(|state| std::mem::take(&mut state.waiting));
        for number in waiting.unwrap_or_default() {
            self.attempt(number, now);
        }
    }

    /// The attempt failed: the next rung, or the end.
    pub(crate) fn failed(&mut self, number: u64, now: Now) {
        let Some(event) = self.events.get_mut(&number) else { return };
        let timer = event.timer.take();
        let wait = self.redelivery.ladder.get(event.rung).copied();
        event.rung += 1;
        self.clear_timer(timer);
        // Whatever comes later, the user of a card has seen an error by now (§4.4).
        let shown = self.ledger.record_mut(number).and_then(|record| record.callback.as_mut());
        if let Some(shown) = shown.filter(|shown| **shown == Callback::Pending) {
            *shown = Callback::Failed;
        }
        match wait {
            Some(wait) => {
                let timer = self.set_timer(now.monotonic + wait, Timer::Redeliver { event: number });
                if let Some(event) = self.events.get_mut(&number) {
                    event.timer = Some(timer);
                }
            }
            None => {
                if let Some(record) = self.ledger.record_mut(number) {
                    record.given_up = true;
                }
            }
        }
    }

    /// A data frame of the client. It counts only when it is the frame of a delivery on this connection as it was
    /// sent, every header in order, with `biz_rt` appended and the payload replaced (§2.4), in what the official SDKs
    /// make of that.
    pub(crate) fn ack(&mut self, link: LinkId, app: &AppId, frame: &Frame, now: Now) {
        let body = frame.payload.as_deref().and_then(|bytes| serde_json::from_slice::<AckBody>(bytes).ok());
        let found = body.as_ref().and_then(|body| self.matching(link, frame, body.code));
        let (Some(body), Some((seq, number, attempt))) = (body, found) else {
            if let Some(state) = self.apps.get_mut(app) {
                state.counters.bad_acks += 1;
            }
            return;
        };
        self.deliveries.remove(&seq);
        let (Some(event), Some(record)) = (self.events.get_mut(&number), self.ledger.record_mut(number))
        else {
            return;
        };
        // In time: the budget of this very attempt still runs, or another copy of it has been acked already.
        let budget = event.timer.filter(|_| attempt == record.attempts && event.rung + 1 == attempt as usize);
        let settled = event.timer.is_none() && attempt == record.attempts && !record.given_up;
        record.late += u32::from(budget.is_none() && !settled);
        record.answers.extend(body.data.as_ref().and_then(Value::as_str).map(decoded));
        let Some(state) = self.apps.get_mut(app) else { return };
        if body.code == 200 {
            record.acked.push(now.wall);
            state.counters.acks += 1;
        } else {
            record.refused.push(now.wall);
            state.counters.refusals += 1;
        }
        let callback = match (body.code, budget) {
            (200, Some(_)) => Callback::read(body.data.as_ref()),
            _ => Callback::Failed,
        };
        if let Some(shown) = record.callback.as_mut().filter(|shown| **shown == Callback::Pending) {
            shown.clone_from(&callback);
            let card = callback.raw_card().zip(event.card.clone());
            if let Some((content, card)) = card {
                self.rewrite(&card, content, now);
            }
        }
        // A late ack does not stop the ladder (§2.5, the cautious reading).
        if budget.is_none() {
            return;
        }
        let Some(state) = self.apps.get_mut(app) else { return };
        let again = body.code != 200
            || state.faults.take(|fault| matches!(fault, Fault::RedeliverAcked).then_some(())).is_some();
        if again {
            self.failed(number, now);
        } else {
            let timer = self.events.get_mut(&number).and_then(|event| event.timer.take());
            self.clear_timer(timer);
        }
    }

    /// The delivery this frame acks: (its first `SeqID`, event, attempt).
    fn matching(&self, link: LinkId, frame: &Frame, code: i64) -> Option<(u64, u64, u32)> {
        let (&seq, delivery) = self.deliveries.range(..=frame.seq_id).next_back()?;
        let sent = delivery.frames.get(usize::try_from(frame.seq_id - seq).ok()?)?;
        let echoed = match frame.headers.split_last() {
            Some((last, echoed)) if last.key == "biz_rt" => echoed,
            // The Python SDK reports a failure without it.
            _ if code != 200 => frame.headers.as_slice(),
            _ => return None,
        };
        // The Node SDK reads 64 bits into a double, and echoes what is left of them.
        let rounded = (sent.log_id as f64) as u64;
        let same = delivery.link == link
            && delivery.complete
            && echoed == sent.headers.as_slice()
            && (frame.log_id == sent.log_id || frame.log_id == rounded)
            && frame.service == sent.service
            && frame.log_id_new == sent.log_id_new;
        same.then_some((seq, delivery.event, delivery.attempt))
    }
}

/// The record of an event that was not pushed yet.
pub(crate) fn record(app: &AppId, event_id: EventId, event_type: &str, now: Now) -> EventRecord {
    EventRecord {
        number: 0,
        event_type: event_type.to_owned(),
        callback: None,
        app: app.clone(),
        event_id,
        message_id: None,
        chat: None,
        pushed_at: now.wall,
        deliveries: Vec::new(),
        acked: Vec::new(),
        refused: Vec::new(),
        answers: Vec::new(),
        late: 0,
        attempts: 0,
        given_up: false,
    }
}

/// The JSON in an ack's base64.
fn decoded(data: &str) -> Value {
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Cuts a payload into this many parts of about the same length, wherever that falls.
fn parts(payload: &[u8], count: usize) -> Vec<&[u8]> {
    let count = count.clamp(1, payload.len().max(1));
    let cut = |n: usize| payload.len() * n / count;
    (0..count).map(|n| payload.get(cut(n)..cut(n + 1)).unwrap_or_default()).collect()
}

/// The parts to send, in order.
fn order(split: Option<&Split>, count: usize) -> Vec<usize> {
    let Some(split) = split else { return (0..count).collect() };
    let order = if split.order.is_empty() { (0..count).collect() } else { split.order.clone() };
    order.into_iter().filter(|part| Some(*part) != split.missing).collect()
}

/// 32 hex digits as a hyphenated UUID.
fn uuid_of(hex: &str) -> String {
    let cut = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [cut(0, 8), cut(8, 12), cut(12, 16), cut(16, 20), cut(20, 32)].join("-")
}

/// A list of spans as whole milliseconds.
mod ladder {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(ladder: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ladder.iter().map(|rung| moorline_core::millis(*rung)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(Duration::from_millis).collect())
    }
}
