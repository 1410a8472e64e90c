//! Signs of life, and the times without.

use moorline_core::Timestamp;
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, sql};
use crate::gap::NewGap;
use crate::tx::Outcome;

impl Scope<'_> {
    pub(super) fn heard_at(&self, at: Timestamp, orderly: bool) -> Step {
        self.conn.run(sql::HEARD_SET, params![self.lease.account, at.as_millis(), orderly])?;
        Ok(Outcome::Applied(0))
    }

    pub(super) fn record_gap(&mut self, gap: &NewGap) -> Step {
        let NewGap { from, to, kind, why } = gap;
        let (from, to, recorded_at) = (from.as_millis(), to.as_millis(), self.at.as_millis());
        let values = params![self.lease.account, from, kind.as_str(), to, why, recorded_at];
        if let Some(id) = self.conn.find(sql::GAP_EXTEND, values, |row| row.get(0))? {
            return Ok(Outcome::Duplicate(id));
        }
        let id = self.conn.get(sql::GAP_INSERT, values, |row| row.get(0))?;
        self.count(Kind::Gaps, 1);
        Ok(Outcome::Applied(id))
    }
}
