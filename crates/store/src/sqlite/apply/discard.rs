//! Deleting an account's rows, some at a time: what refers to others goes before what is referred to, and the counts
//! go with the rows they count, so that they are right between two batches too. Only the sums of its sessions wait for
//! the last batch.

use moorline_core::{DropReason, HoldReason};

use super::{Kind, Prepared, Scope, Step, Stop, rows, sql};
use crate::tx::Outcome;

impl Scope<'_> {
    pub(super) fn discard_rows(&mut self, limit: u32) -> Step {
        let mut left = i64::from(limit);
        left -= self.discard(sql::DISCARD_DEDUPE, left)?;
        left -= self.discard(sql::DISCARD_ENTRIES, left)?;
        self.uncount_ours(left)?;
        left -= self.discard(sql::DISCARD_OUTBOX, left)?;
        self.discard(sql::DISCARD_TURN_INPUTS, left)?;
        left -= self.discard(sql::DISCARD_TURNS, left)?;
        self.uncount_received(left)?;
        self.discard(sql::DISCARD_PENDING, left)?;
        self.discard(sql::DISCARD_SETTLED, left)?;
        left -= self.discard(sql::DISCARD_INBOX, left)?;
        let gaps = self.discard(sql::DISCARD_GAPS, left)?;
        self.count(Kind::Gaps, -gaps);
        left -= gaps;
        for rest in
            [sql::DISCARD_SESSIONS, sql::DISCARD_CURSORS, sql::DISCARD_IDENTITIES, sql::DISCARD_REPLY_TOKENS]
        {
            left -= self.discard(rest, left)?;
        }
        if left == 0 {
            return Ok(Outcome::Applied(1));
        }
        self.conn.run(sql::DISCARD_TALLY, [self.lease.account])?;
        self.conn.run(sql::DISCARD_PRUNED, [self.lease.account])?;
        self.conn.run(sql::DISCARD_HEARD, [self.lease.account])?;
        self.tally.forget(self.lease.account);
        self.sessions.forget(self.lease.account);
        Ok(Outcome::Applied(0))
    }

    fn discard(&self, sql: &'static str, limit: i64) -> Step<i64> {
        // SQLite takes a limit below zero for none.
        Ok(rows(self.conn.run(sql, [self.lease.account, limit.max(0)])?))
    }

    fn uncount_ours(&mut self, limit: i64) -> Step<()> {
        let states: Vec<(String, i64)> =
            self.conn.all(sql::FIRST_OF_OUTBOX, [self.lease.account, limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        for (state, count) in states {
            match state.as_str() {
                "sent" => {}
                "dead" => self.count(Kind::Dead, -count),
                "discarded" => self.count(Kind::Discarded, -count),
                "held" => {
                    self.count(Kind::Outbox, -count);
                    self.count(Kind::OutboxHeld, -count);
                }
                _ => self.count(Kind::Outbox, -count),
            }
        }
        Ok(())
    }

    fn uncount_received(&mut self, limit: i64) -> Step<()> {
        let strange = |reason: &str| Stop::Refused(format!("`{reason}` is no reason known here"));
        let kinds: Vec<(bool, Option<String>, Option<String>, i64)> =
            self.conn.all(sql::FIRST_OF_INBOX, [self.lease.account, limit], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        for (settled, dropped, held, count) in kinds {
            let kind = match (settled, dropped.as_deref(), held.as_deref()) {
                (true, None, _) => Kind::Answered,
                (true, Some(reason), _) => {
                    Kind::Dropped(DropReason::from_name(reason).ok_or_else(|| strange(reason))?)
                }
                (false, _, None) => Kind::Pending,
                (false, _, Some(reason)) => {
                    Kind::Held(HoldReason::from_name(reason).ok_or_else(|| strange(reason))?)
                }
            };
            self.count(kind, -count);
            self.count(Kind::Received, -count);
        }
        Ok(())
    }
}
