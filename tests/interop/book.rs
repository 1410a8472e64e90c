//! What is expected of a client, written down while it happens, and the comparison with the simulator's two ledgers.

use moorline_core::{ChatId, EventId, MessageId};
use moorline_simulator::feishu::{AppId, Counters, EventRecord, Ledger, Visible};
use serde_json::Value;

/// The expectations for one client.
pub(crate) struct Book {
    pub(crate) app: AppId,
    pub(crate) events: Vec<Expected>,
    pub(crate) messages: Vec<Message>,
}

/// One event.
pub(crate) struct Expected {
    pub(crate) what: &'static str,
    pub(crate) event: EventId,
    /// How often it is delivered.
    pub(crate) deliveries: usize,
    /// Whether a delivery may get lost on the client's side, so that it takes one more.
    pub(crate) lossy: bool,
    /// Whether each delivery is acked with 200, or with 500.
    pub(crate) acked: bool,
    /// What every ack carries back.
    pub(crate) answer: Option<Value>,
}

/// One message a user has to see, exactly once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) chat: ChatId,
    pub(crate) text: String,
    pub(crate) reply_to: Option<MessageId>,
}

impl Expected {
    /// An event that is acked with 200 once.
    pub(crate) const fn acked(what: &'static str, event: EventId) -> Self {
        Self { what, event, deliveries: 1, lossy: false, acked: true, answer: None }
    }

    /// What is wrong with this record; `None` when nothing is.
    pub(crate) fn difference(&self, record: &EventRecord) -> Option<String> {
        let (settled, other) = if self.acked {
            (record.acked.len(), record.refused.len())
        } else {
            (record.refused.len(), record.acked.len())
        };
        let delivered = record.deliveries.len();
        let often = if self.lossy {
            // What got lost is not acked, and what was acked is not delivered again.
            settled == 1 && (1..=self.deliveries + 1).contains(&delivered)
        } else {
            settled == self.deliveries && delivered == self.deliveries
        };
        let answers = match &self.answer {
            None => record.answers.is_empty(),
            Some(wanted) => {
                record.answers.len() == settled && record.answers.iter().all(|answer| answer == wanted)
            }
        };
        let right = often && other == 0 && record.late == 0 && record.given_up != self.acked && answers;
        (!right).then(|| {
            format!(
                "{}: expected {} deliveries, each {}; there were {delivered}, {} acked, {} refused, {} late, given \
                 up: {}, answers: {:?}",
                self.what,
                self.deliveries,
                if self.acked { "acked" } else { "refused" },
                record.acked.len(),
                record.refused.len(),
                record.late,
                record.given_up,
                record.answers,
            )
        })
    }
}

impl Book {
    pub(crate) const fn new(app: AppId) -> Self {
        Self { app, events: Vec::new(), messages: Vec::new() }
    }

    /// Everything in which the ledgers differ from this book, in both directions.
    pub(crate) fn differences(&self, ledger: &Ledger, counters: &Counters) -> Vec<String> {
        let mut found = Vec::new();
        let records: Vec<&EventRecord> = ledger.events().iter().filter(|r| r.app == self.app).collect();
        for expected in &self.events {
            match records.iter().find(|record| record.event_id == expected.event) {
                Some(record) => found.extend(expected.difference(record)),
                None => found.push(format!("{}: the event is not in the ledger", expected.what)),
            }
        }
        if records.len() != self.events.len() {
            found.push(format!("{} events expected, {} in the ledger", self.events.len(), records.len()));
        }

        let visible: Vec<&Visible> = ledger.visible().iter().filter(|v| v.app == self.app).collect();
        for message in &self.messages {
            let copies = visible.iter().filter(|visible| message.is(visible)).count();
            if copies != 1 {
                found.push(format!("visible {copies} times: {message:?}"));
            }
        }
        for visible in visible {
            if !self.messages.iter().any(|message| message.is(visible)) {
                found.push(format!("visible and not expected: {visible:?}"));
            }
            if visible.uuid.as_deref().is_none_or(str::is_empty) {
                found.push(format!("sent without a uuid: {visible:?}"));
            }
        }

        let zero =
            [("acks that match no delivery", counters.bad_acks), ("unknown frames", counters.bad_frames)];
        found.extend(zero.iter().filter(|(_, n)| *n != 0).map(|(what, n)| format!("{n} {what}")));
        let one =
            [("token calls", counters.token_requests), ("connections at a time", counters.max_open as u64)];
        found.extend(one.iter().filter(|(_, n)| *n != 1).map(|(what, n)| format!("{n} {what}, not 1")));
        found
    }
}

impl Message {
    pub(crate) fn is(&self, visible: &Visible) -> bool {
        (&self.chat, &self.text, &self.reply_to) == (&visible.chat, &visible.text, &visible.reply_to)
    }
}
