//! What a long run may forget: the history that has settled, never what can still change.

use std::time::Duration;

use moorline_core::Monotonic;
use serde::Serialize;

use super::platform::Platform;

/// What was dropped from the ledgers and is only counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Events.
    pub events: u64,
    /// Those of them that were acked with 200.
    pub acked: u64,
    /// Those of them that the platform gave up.
    pub given_up: u64,
    /// Messages of bots.
    pub visible: u64,
    /// The repeats they were answered with.
    pub repeats: u64,
    /// Reactions that had been taken back, or whose message is forgotten.
    pub reactions: u64,
}

/// How much is kept, and when to look next.
#[derive(Debug)]
pub(crate) struct Retention {
    retain: usize,
    events_at: usize,
    visible_at: usize,
    reactions_at: usize,
    uuids_at: usize,
}

/// Kept unless [`Platform::set_retain`] says otherwise: more than any test has, about a gigabyte.
const DEFAULT_RETAIN: usize = 1_000_000;

impl Default for Retention {
    fn default() -> Self {
        Self::new(DEFAULT_RETAIN)
    }
}

impl Retention {
    fn new(retain: usize) -> Self {
        let at = retain.saturating_mul(2);
        Self { retain, events_at: at, visible_at: at, reactions_at: at, uuids_at: at }
    }

    /// When to look again: after as many more as are kept, so that dropping costs little per entry.
    fn after(&self, left: usize) -> usize {
        left.saturating_add(self.retain.max(1))
    }
}

impl Platform {
    /// From now on at least the newest `retain` events, messages of bots and reactions stay in the ledgers, and at
    /// most about twice as many. Older ones are dropped and counted ([`Forgotten`]), except events that are still
    /// being delivered and typing signs that are still on. Nobody can answer, edit or read a dropped message.
    pub fn set_retain(&mut self, retain: usize) {
        self.retention = Retention::new(retain);
        self.forget_events();
        self.forget_visible();
        self.forget_reactions();
    }

    /// Drops old events that have settled.
    pub(crate) fn forget_events(&mut self) {
        if self.ledger.events.len() <= self.retention.events_at {
            return;
        }
        let mut excess = self.ledger.events.len() - self.retention.retain;
        let (events, messages) = (&mut self.events, &mut self.messages);
        let forgotten = &mut self.ledger.forgotten;
        self.ledger.events.retain(|record| {
            let settled = events.get(&record.number).is_none_or(|event| event.is_settled());
            if excess == 0 || !settled {
                return true;
            }
            excess -= 1;
            events.remove(&record.number);
            if let Some(message) = &record.message_id {
                messages.remove(message);
            }
            forgotten.events += 1;
            forgotten.acked += u64::from(record.is_acked());
            forgotten.given_up += u64::from(record.given_up);
            false
        });
        self.deliveries.retain(|_, delivery| events.contains_key(&delivery.event));
        self.retention.events_at = self.retention.after(self.ledger.events.len());
    }

    /// Drops old messages of bots.
    pub(crate) fn forget_visible(&mut self) {
        if self.ledger.visible.len() <= self.retention.visible_at {
            return;
        }
        let excess = self.ledger.visible.len() - self.retention.retain;
        for visible in self.ledger.visible.drain(..excess) {
            self.messages.remove(&visible.message_id);
            self.ledger.forgotten.visible += 1;
            self.ledger.forgotten.repeats += u64::from(visible.repeats);
        }
        self.retention.visible_at = self.retention.after(self.ledger.visible.len());
    }

    /// Drops old reactions that are off.
    pub(crate) fn forget_reactions(&mut self) {
        if self.ledger.reactions.len() <= self.retention.reactions_at {
            return;
        }
        let mut excess = self.ledger.reactions.len() - self.retention.retain;
        let (forgotten, messages) = (&mut self.ledger.forgotten, &self.messages);
        self.ledger.reactions.retain(|reaction| {
            let over = reaction.off.is_some() || !messages.contains_key(&reaction.message_id);
            let drop = excess > 0 && over;
            excess -= usize::from(drop);
            forgotten.reactions += u64::from(drop);
            !drop
        });
        self.retention.reactions_at = self.retention.after(self.ledger.reactions.len());
    }

    /// Drops uuids that protect from nothing any more. Not one sooner.
    pub(crate) fn forget_uuids(&mut self, now: Monotonic, window: Duration) {
        if self.uuids.len() > self.retention.uuids_at {
            self.uuids.retain(|_, sent| now - sent.at < window);
            self.retention.uuids_at = self.retention.after(self.uuids.len());
        }
    }
}
