//! The life of a message, found by looking at everything.

use std::collections::BTreeSet;

use moorline_core::InboxId;

use super::{State, Turn};
use crate::trace::{LONGEST_TRACE, Receipt, Trace, Traced, TurnEntry};

impl State {
    pub(super) fn trace(&self, traced: &Traced) -> Trace {
        let (mut received, mut turns, mut ours) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        match traced {
            Traced::Name(name) => {
                let is_it = |id: Option<&str>| id == Some(name.as_str());
                let found = self.inbox.values().filter(|row| {
                    is_it(row.message_id.as_ref().map(|id| id.as_str())) || is_it(Some(row.event_id.as_str()))
                });
                received = latest(found.map(|row| row.id));
                let found = self.outbox.values().map(|message| &message.row);
                let found = found.filter(|row| is_it(row.message_id.as_ref().map(|id| id.as_str())));
                ours = latest(found.map(|row| row.id));
            }
            Traced::Inbox(id) => _ = received.insert(*id),
            Traced::Turn(id) => _ = turns.insert(*id),
            Traced::Outbox(id) => _ = ours.insert(*id),
        }
        for id in &received {
            let with_it = self.turns.values().filter(|turn| turn.inputs.contains(id));
            turns.append(&mut latest(with_it.map(|turn| turn.row.id)));
        }
        turns.extend(ours.iter().filter_map(|id| self.outbox.get(id)?.row.turn));
        let turns = latest(turns.into_iter().filter(|id| self.turns.contains_key(id)));
        if received.is_empty() {
            received = turns
                .iter()
                .filter_map(|id| self.turns.get(id))
                .flat_map(|turn| turn.inputs.clone())
                .collect();
        }
        if ours.is_empty() {
            let of_turns = self
                .outbox
                .values()
                .filter(|message| message.row.turn.is_some_and(|turn| turns.contains(&turn)));
            ours = latest(of_turns.map(|message| message.row.id));
        }
        Trace {
            received: latest(received).iter().filter_map(|id| self.receipt(*id)).collect(),
            turns: turns.iter().filter_map(|id| self.turns.get(id)).map(entry).collect(),
            ours: ours
                .iter()
                .filter_map(|id| self.outbox.get(id))
                .map(|message| message.row.clone())
                .collect(),
        }
    }

    fn receipt(&self, id: InboxId) -> Option<Receipt> {
        let (row, beside) = (self.inbox.get(&id)?, self.beside.get(&id)?);
        Some(Receipt {
            entry: self.entry(row),
            repeats: beside.repeats,
            repeated_at: beside.repeated_at,
            judged: beside.judged,
        })
    }
}

fn latest<T: Ord>(ids: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let all: BTreeSet<T> = ids.into_iter().collect();
    let skipped = all.len().saturating_sub(LONGEST_TRACE as usize);
    all.into_iter().skip(skipped).collect()
}

fn entry(turn: &Turn) -> TurnEntry {
    TurnEntry {
        id: turn.row.id,
        account: turn.row.account.clone(),
        conversation: turn.row.conversation.clone(),
        inputs: turn.inputs.iter().copied().collect(),
        state: turn.row.state,
        attempt: turn.row.attempt,
        started_at: turn.row.started_at,
        interrupted_at: turn.interrupted_at,
        resumed_at: turn.resumed_at,
        ended_at: turn.ended_at,
    }
}
