//! What a transaction changes in the sums of a session; written once, in the same savepoint as the rows.

use std::collections::BTreeMap;

use moorline_core::{DropReason, Timestamp};
use rusqlite::{Connection, params};

use super::{Prepared, sql};
use crate::tx::Verdict;

/// By how much.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The message that was received, if one was.
    pub(super) latest: i64,
    pub(super) received: i64,
    pub(super) answered: i64,
    pub(super) dropped: i64,
    pub(super) held: i64,
    pub(super) pending: i64,
    pub(super) entries: i64,
}

/// The changes of one transaction by account and conversation.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<(i64, String), Change>);

impl Sessions {
    pub(super) fn of(&mut self, account: i64, conversation: &str) -> &mut Change {
        self.0.entry((account, conversation.to_owned())).or_default()
    }

    /// Nothing of the account is left to be summed up.
    pub(super) fn forget(&mut self, account: i64) {
        self.0.retain(|(of, _), _| *of != account);
    }

    pub(super) fn write(&self, conn: &Connection, at: Timestamp) -> rusqlite::Result<()> {
        for ((account, conversation), change) in &self.0 {
            let Change { latest, received, answered, dropped, held, pending, entries } = change;
            let row = params![
                account,
                conversation,
                latest,
                at.as_millis(),
                received,
                answered,
                dropped,
                held,
                pending,
                entries
            ];
            conn.run(sql::SESSION_ADD, row)?;
        }
        Ok(())
    }
}

impl Change {
    pub(super) fn received(&mut self, inbox: i64, verdict: Verdict) {
        self.latest = self.latest.max(inbox);
        self.received += 1;
        match verdict {
            Verdict::Allow => self.pending += 1,
            Verdict::Hold(_) => self.held += 1,
            Verdict::Drop(_) => self.dropped += 1,
        }
    }

    pub(super) fn settled(&mut self, dropped: Option<DropReason>) {
        self.pending -= 1;
        match dropped {
            None => self.answered += 1,
            Some(_) => self.dropped += 1,
        }
    }
}
