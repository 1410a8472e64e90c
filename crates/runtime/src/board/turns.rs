//! The turns that are running, each with what it is doing and since when: for finding those that are stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moorline_core::{AccountId, Clock, ConversationId, Monotonic, Timestamp};
use parking_lot::Mutex;

/// All of them; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningTurns(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    turns: BTreeMap<u64, RunningTurn>,
}

/// One running turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunningTurn {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
    /// The agent that is asked, and how long it may take; `None` while nobody works on the turn.
    pub(crate) asked: Option<(String, Duration)>,
    /// Since when it is so, on both clocks: one to judge by, one to show.
    pub(crate) since: (Monotonic, Timestamp),
}

/// One running turn's entry, until it is dropped.
pub(crate) struct TurnRecord {
    table: Arc<Mutex<Table>>,
    key: u64,
    clock: Arc<dyn Clock>,
}

impl RunningTurns {
    /// Enters a turn that nobody works on yet.
    pub(crate) fn enter(
        &self,
        account: AccountId,
        conversation: ConversationId,
        clock: &Arc<dyn Clock>,
    ) -> TurnRecord {
        let since = (clock.now(), clock.wall());
        let mut table = self.0.lock();
        table.last += 1;
        let key = table.last;
        table.turns.insert(key, RunningTurn { account, conversation, asked: None, since });
        TurnRecord { table: Arc::clone(&self.0), key, clock: Arc::clone(clock) }
    }

    /// What they are doing now.
    pub(crate) fn snapshot(&self) -> Vec<RunningTurn> {
        self.0.lock().turns.values().cloned().collect()
    }
}

impl TurnRecord {
    /// An agent was asked, and has so long to answer.
    pub(crate) fn asks(&self, agent: &str, limit: Duration) {
        self.set(Some((agent.to_owned(), limit)));
    }

    /// Nobody works on it for now.
    pub(crate) fn waits(&self) {
        self.set(None);
    }

    fn set(&self, asked: Option<(String, Duration)>) {
        let since = (self.clock.now(), self.clock.wall());
        if let Some(turn) = self.table.lock().turns.get_mut(&self.key)
            // One wait after the other is one wait.
            && (turn.asked.is_some() || asked.is_some())
        {
            (turn.asked, turn.since) = (asked, since);
        }
    }
}

impl Drop for TurnRecord {
    fn drop(&mut self) {
        self.table.lock().turns.remove(&self.key);
    }
}
