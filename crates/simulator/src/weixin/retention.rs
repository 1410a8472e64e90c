//! A long run keeps only so much: what has settled longest ago is dropped and counted.

use super::platform::Platform;

impl Platform {
    /// From now on each ledger keeps at least the newest `retain` entries and about twice as many at most.
    pub fn set_retain(&mut self, retain: usize) {
        self.retain = retain.max(1);
        self.trim();
    }

    /// Drops what is too much, once it is twice too much.
    pub(crate) fn trim(&mut self) {
        let (keep, ledger) = (self.retain, &mut self.ledger);
        if ledger.messages.len() > 2 * keep {
            while ledger.messages.len() > keep
                && ledger
                    .messages
                    .front()
                    .is_some_and(|record| record.confirmed_at.is_some() || record.lost_by_platform)
            {
                let Some(record) = ledger.messages.pop_front() else { break };
                ledger.forgotten.messages += 1;
                let newest = self.bots.get(&record.bot).and_then(|state| state.windows.get(&record.from));
                if newest.is_none_or(|window| window.token != record.context_token) {
                    self.context_tokens.remove(&record.context_token);
                }
            }
        }
        if ledger.visible.len() > 2 * keep {
            ledger.forgotten.visible += drop_front(&mut ledger.visible, keep);
        }
        if ledger.typing.len() > 2 * keep {
            ledger.forgotten.typing += drop_front(&mut ledger.typing, keep);
        }
        if ledger.calls.len() > 2 * keep {
            ledger.forgotten.calls += drop_front(&mut ledger.calls, keep);
        }
        if ledger.violations.len() > 2 * keep {
            ledger.forgotten.violations += drop_front(&mut ledger.violations, keep);
        }
    }
}

/// How many went.
fn drop_front<T>(entries: &mut std::collections::VecDeque<T>, keep: usize) -> u64 {
    let excess = entries.len().saturating_sub(keep);
    entries.drain(..excess);
    u64::try_from(excess).unwrap_or(u64::MAX)
}
