//! Messages of ours: put down, claimed, settled.

use moorline_core::{Generation, OutboxId, TurnId};
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, Stop, number, sql};
use crate::tx::{Claim, NewReply, Outcome, SendResult};

impl Scope<'_> {
    /// The first part's key decides for all: a message that is there already is not made longer.
    pub(super) fn enqueue_parts(&mut self, parts: &[NewReply]) -> Step {
        let Some((first, others)) = parts.split_first() else {
            return Err(Stop::Refused("a message without a part".to_owned()));
        };
        let outcome = self.enqueue(first, None)?;
        if matches!(outcome, Outcome::Applied(_)) {
            for part in others {
                self.enqueue(part, None)?;
            }
        }
        Ok(outcome)
    }

    pub(super) fn enqueue(&mut self, reply: &NewReply, turn: Option<TurnId>) -> Step {
        let taken: Option<(i64, i64)> =
            self.conn.find(sql::OUTBOX_BY_KEY, [reply.key.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        match taken {
            Some((id, account)) if account == self.lease.account => return Ok(Outcome::Duplicate(id)),
            // Taking another account's row for ours would lose the message.
            Some(_) => return Err(Stop::Not(Outcome::Conflict)),
            None => {}
        }
        let row = params![
            self.lease.account,
            reply.conversation.as_str(),
            turn.map(TurnId::get),
            super::json(&reply.outbound)?,
            reply.key.as_str(),
            self.at.as_millis()
        ];
        self.conn.run(sql::OUTBOX_INSERT, row)?;
        let id = self.conn.last_insert_rowid();
        self.count(Kind::Outbox, 1);
        Ok(Outcome::Applied(id))
    }

    pub(super) fn claim_send(&mut self, outbox: OutboxId, claim: Claim, possibly_repeated: bool) -> Step {
        let generation = self.own_claim(claim)?;
        let row = params![
            outbox.get(),
            self.lease.account,
            claim.epoch.get(),
            generation,
            self.at.as_millis(),
            possibly_repeated
        ];
        match self.conn.run(sql::OUTBOX_CLAIM, row)? {
            0 => Err(Stop::Not(Outcome::Conflict)),
            _ => Ok(Outcome::Applied(0)),
        }
    }

    pub(super) fn settle_send(&mut self, outbox: OutboxId, claim: Claim, result: &SendResult) -> Step {
        let id = outbox.get();
        let holder = params![id, self.lease.account, claim.epoch.get(), number(claim.generation)?];
        if self.conn.find(sql::OUTBOX_HELD_BY, holder, |_| Ok(()))?.is_none() {
            return Err(Stop::Not(Outcome::Fenced));
        }
        match result {
            SendResult::Sent { message_id, delivery_doubted } => {
                let row = params![id, message_id.as_str(), self.at.as_millis(), delivery_doubted];
                self.conn.run(sql::OUTBOX_SENT, row)?;
                self.count(Kind::Outbox, -1);
            }
            SendResult::Retry { wait, error } => {
                let row = params![id, (self.at + *wait).as_millis(), error];
                self.conn.run(sql::OUTBOX_TRY_AGAIN, row)?;
            }
            SendResult::Unknown { wait, error } => {
                let row = params![id, (self.at + *wait).as_millis(), error];
                self.conn.run(sql::OUTBOX_UNKNOWN, row)?;
            }
            SendResult::Held { heard, error } => return self.hold(outbox, *heard, error),
            SendResult::Dead { error } => {
                self.conn.run(sql::OUTBOX_DEAD, params![id, error, self.at.as_millis()])?;
                self.count(Kind::Outbox, -1);
                self.count(Kind::Dead, 1);
            }
        }
        Ok(Outcome::Applied(0))
    }

    pub(super) fn interrupt_sends(&mut self, generation: Generation) -> Step {
        let row = params![self.lease.account, self.lease.epoch, number(generation)?];
        let interrupted = self.conn.run(sql::SENDS_INTERRUPT, row)?;
        Ok(Outcome::Applied(super::rows(interrupted)))
    }
}
