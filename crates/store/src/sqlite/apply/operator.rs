//! What an operator does about messages that are stuck.

use moorline_core::{ConversationId, DropReason, OutboxId, TurnId};
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, Stop, sql};
use crate::tx::Outcome;

impl Scope<'_> {
    pub(super) fn retry_send(&mut self, outbox: OutboxId) -> Step {
        let state = self.state_of(outbox)?;
        match state.as_str() {
            "dead" => {
                self.count(Kind::Dead, -1);
                self.count(Kind::Outbox, 1);
            }
            "held" => self.count(Kind::OutboxHeld, -1),
            "ready" | "unknown" => {}
            _ => return Err(Stop::Not(Outcome::Conflict)),
        }
        self.conn.run(sql::OUTBOX_RETRY, [outbox.get(), self.at.as_millis()])?;
        Ok(Outcome::Applied(0))
    }

    pub(super) fn discard_send(&mut self, outbox: OutboxId) -> Step {
        let state = self.state_of(outbox)?;
        match state.as_str() {
            "dead" => self.count(Kind::Dead, -1),
            "ready" | "unknown" => self.count(Kind::Outbox, -1),
            "held" => {
                self.count(Kind::Outbox, -1);
                self.count(Kind::OutboxHeld, -1);
            }
            "discarded" => return Ok(Outcome::Duplicate(outbox.get())),
            _ => return Err(Stop::Not(Outcome::Conflict)),
        }
        self.count(Kind::Discarded, 1);
        self.conn.run(sql::OUTBOX_DISCARD, [outbox.get(), self.at.as_millis()])?;
        Ok(Outcome::Applied(0))
    }

    fn state_of(&self, outbox: OutboxId) -> Step<String> {
        let row = [outbox.get(), self.lease.account];
        self.conn.find(sql::OUTBOX_STATE, row, |row| row.get(0))?.ok_or(Stop::Not(Outcome::Conflict))
    }

    pub(super) fn reopen_turns(&mut self, conversation: &ConversationId) -> Step {
        let of_conversation = params![self.lease.account, conversation.as_str()];
        let turns: Vec<i64> = self.conn.all(sql::TURNS_PARKED_LAST, of_conversation, |row| row.get(0))?;
        let mut reopened = 0;
        for turn in turns {
            let inputs: Vec<i64> = self.conn.all(sql::TURN_INPUTS, [turn], |row| row.get(0))?;
            for inbox in inputs {
                // One that was reopened before, or is gone, is not dropped as this.
                if self.conn.run(sql::SETTLED_REOPEN, [inbox])? == 0 {
                    continue;
                }
                let row = params![inbox, self.lease.account, conversation.as_str(), None::<&str>];
                self.conn.run(sql::PENDING_INSERT, row)?;
                self.count(Kind::Dropped(DropReason::TurnParked), -1);
                self.count(Kind::Pending, 1);
                let session = self.session(conversation.as_str());
                session.dropped -= 1;
                session.pending += 1;
                reopened += 1;
            }
        }
        if reopened == 0 { Err(Stop::Not(Outcome::Conflict)) } else { Ok(Outcome::Applied(reopened)) }
    }

    pub(super) fn reset_session(&mut self, conversation: &ConversationId) -> Step {
        let conversation = conversation.as_str();
        let key = params![self.lease.account, conversation];
        let known = self.conn.find(sql::SESSION_EMPTY, key, |_| Ok(()))?.is_some();
        if !known && self.conn.find(sql::CONVERSATION_KNOWN, key, |_| Ok(()))?.is_none() {
            return Err(Stop::Not(Outcome::Conflict));
        }
        self.conn.run(sql::TRANSCRIPT_RESET, key)?;
        let row = params![self.lease.account, conversation, self.at.as_millis()];
        let turn: Option<i64> = self.conn.find(sql::TURN_RESET, row, |row| row.get(0))?;
        self.conn.run(sql::TURNS_PARKED_RESET, key)?;
        // What this transaction added before it is gone too.
        self.session(conversation).entries = 0;
        if let Some(turn) = turn {
            self.settle_inputs(TurnId::new(turn), conversation, Some(DropReason::SessionReset))?;
        }
        Ok(Outcome::Applied(turn.unwrap_or(0)))
    }
}
