//! What the model knows of signs of life, and of gaps.

use std::collections::BTreeMap;

use moorline_core::{AccountId, GapId, Timestamp};

use super::State;
use super::ops::Step;
use crate::gap::{Gap, LastHeard, Life, NewGap};
use crate::tx::{Lease, Outcome};

impl State {
    pub(super) fn heard_at(&mut self, lease: &Lease, heard: LastHeard) -> Step {
        self.account(lease)?.heard = Some(heard);
        Ok(Outcome::Applied(0))
    }

    pub(super) fn record_gap(&mut self, lease: &Lease, at: Timestamp, gap: &NewGap) -> Step {
        let same = |known: &&mut Gap| {
            known.account == lease.account && known.gap.from == gap.from && known.gap.kind == gap.kind
        };
        if let Some(known) = self.gaps.values_mut().find(same) {
            (known.gap, known.recorded_at) = (gap.clone(), at);
            return Ok(Outcome::Duplicate(known.id.get()));
        }
        self.account(lease)?.gaps += 1;
        self.last.gap += 1;
        let id = GapId::new(self.last.gap);
        let gap = Gap { id, account: lease.account.clone(), gap: gap.clone(), recorded_at: at };
        self.gaps.insert(id, gap);
        Ok(Outcome::Applied(id.get()))
    }

    pub(super) fn lives(&self) -> BTreeMap<AccountId, Life> {
        let last = |id: &AccountId| self.gaps.values().rev().find(|gap| gap.account == *id).cloned();
        let accounts = self.accounts.iter();
        accounts
            .map(|(id, account)| (id.clone(), Life { heard: account.heard, last_gap: last(id) }))
            .collect()
    }

    pub(super) fn forget_gaps(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<(Timestamp, GapId)> =
            self.gaps.values().map(|gap| (gap.recorded_at, gap.id)).collect();
        old.retain(|(at, _)| *at < before);
        old.sort();
        old.truncate(*left);
        *left -= old.len();
        for (_, id) in old {
            self.gaps.remove(&id);
        }
    }
}
