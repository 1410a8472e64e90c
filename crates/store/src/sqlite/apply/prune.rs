//! What has been over for long is forgotten, a little at a time.

use moorline_core::{DropReason, Timestamp};
use rusqlite::{Connection, params};

use super::{Kind, Prepared, Step, Stop, Tally, rows, sql};
use crate::cron::KEPT_RUNS;
use crate::tx::{KEPT_ENTRIES, Outcome};

/// Free pages that the file keeps for what comes next; beyond that they are given back.
const SPARE_PAGES: i64 = 1024;

/// What one transaction may still forget.
struct Budget<'a> {
    conn: &'a Connection,
    tally: &'a mut Tally,
    left: i64,
}

/// Forgets what [`crate::Op::Prune`] says.
pub(super) fn prune(
    conn: &Connection,
    tally: &mut Tally,
    before: Timestamp,
    dedupe_before: Timestamp,
    limit: u32,
) -> Step {
    let before = before.as_millis();
    let mut budget = Budget { conn, tally, left: i64::from(limit) };
    let keys = conn.run(sql::PRUNE_DEDUPE, [dedupe_before.as_millis(), budget.left])?;
    budget.spend(rows(keys));
    budget.messages(before)?;
    budget.sends(before)?;
    budget.conversations(before)?;
    budget.transcripts(before)?;
    let boots = conn.run(sql::PRUNE_BOOTS, [before, budget.left])?;
    budget.spend(rows(boots));
    let runs = conn.run(sql::PRUNE_RUNS, [before, budget.left, i64::from(KEPT_RUNS) - 1])?;
    budget.spend(rows(runs));
    budget.gaps(before)?;
    let tokens = conn.run(sql::PRUNE_REPLY_TOKENS, [before, budget.left])?;
    budget.spend(rows(tokens));
    let pruned = i64::from(limit) - budget.left;
    give_back(conn)?;
    Ok(Outcome::Applied(pruned))
}

/// Gives a few free pages back to the file system, so that a file that once grew does not stay that large. A no-op for
/// a database in memory.
fn give_back(conn: &Connection) -> rusqlite::Result<()> {
    if conn.get(sql::FREE_PAGES, [], |row| row.get::<_, i64>(0))? > SPARE_PAGES {
        // A step each.
        conn.all(sql::GIVE_PAGES_BACK, [], |_| Ok(()))?;
    }
    Ok(())
}

impl Budget<'_> {
    fn spend(&mut self, rows: i64) {
        self.left -= rows;
    }

    /// Messages that were answered or dropped, each with what became of it, and with its turn.
    fn messages(&mut self, before: i64) -> Step<()> {
        let found: Vec<(i64, i64, Option<String>)> =
            self.conn.all(sql::PRUNABLE_MESSAGES, [before, self.left], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        for (inbox, account, dropped) in &found {
            // Several, if an operator had it answered anew.
            let turns: Vec<i64> = self.conn.all(sql::PRUNE_TURN_INPUT, [inbox], |row| row.get(0))?;
            for turn in turns {
                if self.conn.find(sql::TURN_INPUTS, [turn], |_| Ok(()))?.is_none() {
                    self.conn.run(sql::OUTBOX_FORGET_TURN, [turn])?;
                    self.conn.run(sql::PRUNE_TURN, [turn])?;
                }
            }
            self.conn.run(sql::PRUNE_SETTLED, [inbox])?;
            self.conn.run(sql::PRUNE_INBOX, [inbox])?;
            self.tally.pruned(*account, Kind::Received);
            self.tally.pruned(*account, outcome(*inbox, dropped.as_deref())?);
        }
        self.spend(rows(found.len()));
        Ok(())
    }

    /// Messages of ours that were sent or given up. The latter are counted as long as they are there.
    fn sends(&mut self, before: i64) -> Step<()> {
        let gone: Vec<(i64, String)> =
            self.conn.all(sql::PRUNE_OUTBOX, [before, self.left], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut dead = 0;
        for (account, state) in &gone {
            match state.as_str() {
                "dead" => {
                    self.tally.add(*account, Kind::Dead, -1);
                    dead += 1;
                }
                "discarded" => self.tally.add(*account, Kind::Discarded, -1),
                _ => {}
            }
        }
        if dead > 0 {
            tracing::warn!(
                actor = "store",
                rows = dead,
                "dead letters pruned: nobody saw to them in all the time that `runtime.retention` gives"
            );
        }
        self.spend(rows(gone.len()));
        Ok(())
    }

    /// Gaps that were recorded before.
    fn gaps(&mut self, before: i64) -> Step<()> {
        let gone: Vec<i64> = self.conn.all(sql::PRUNE_GAPS, [before, self.left], |row| row.get(0))?;
        for account in &gone {
            self.tally.pruned(*account, Kind::Gaps);
        }
        self.spend(rows(gone.len()));
        Ok(())
    }

    /// Conversations in which nothing happened since, with their transcripts.
    fn conversations(&mut self, before: i64) -> Step<()> {
        while self.left > 0 {
            let idle: Option<(i64, String)> =
                self.conn.find(sql::IDLE_SESSION, [before], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some((account, conversation)) = idle else { break };
            let entries = self.conn.run(sql::PRUNE_ENTRIES, params![account, conversation, self.left])?;
            self.spend(rows(entries));
            if self.left > 0 {
                self.conn.run(sql::PRUNE_SESSION, params![account, conversation])?;
                self.spend(1);
            } else {
                self.shorten(account, &conversation, entries)?;
            }
        }
        Ok(())
    }

    /// What is old in the transcripts of the other conversations, and more than an agent is given.
    fn transcripts(&mut self, before: i64) -> Step<()> {
        while self.left > 0 {
            let long: Option<(i64, String)> =
                self.conn.find(sql::LONG_SESSION, [before], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some((account, conversation)) = long else { break };
            let old = params![account, conversation, self.left, KEPT_ENTRIES, before];
            let entries = self.conn.run(sql::PRUNE_OLD_ENTRIES, old)?;
            if entries == 0 {
                return Err(Stop::Refused(format!(
                    "the transcript of {conversation} is not as long as it is said to be"
                )));
            }
            self.spend(rows(entries));
            self.shorten(account, &conversation, entries)?;
        }
        Ok(())
    }

    fn shorten(&self, account: i64, conversation: &str, entries: usize) -> Step<()> {
        self.conn.run(sql::SESSION_SHORTEN, params![account, conversation, rows(entries)])?;
        Ok(())
    }
}

/// What a settled message was counted as.
fn outcome(inbox: i64, dropped: Option<&str>) -> Step<Kind> {
    let Some(reason) = dropped else { return Ok(Kind::Answered) };
    match DropReason::from_name(reason) {
        Some(reason) => Ok(Kind::Dropped(reason)),
        None => Err(Stop::Refused(format!("message {inbox} was dropped for an unknown reason"))),
    }
}

#[cfg(test)]
mod tests;
