//! Turns: claimed, interrupted, taken up again, finished or given up.

use std::collections::BTreeSet;

use moorline_core::{ConversationId, DropReason, Generation, InboxId, TurnId};
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, Stop, number, sql};
use crate::cron::turn_result;
use crate::rows::Role;
use crate::tx::{Claim, NewReply, Outcome};

impl Scope<'_> {
    pub(super) fn start_turn(
        &mut self,
        conversation: &ConversationId,
        inputs: &[InboxId],
        claim: Claim,
    ) -> Step {
        let generation = self.own_claim(claim)?;
        if inputs.is_empty() {
            return Err(Stop::Refused("a turn that answers no message".to_owned()));
        }
        let of_conversation = params![self.lease.account, conversation.as_str()];
        if self.conn.find(sql::TURN_ACTIVE, of_conversation, |_| Ok(()))?.is_some() {
            return Err(Stop::Not(Outcome::Conflict));
        }
        let row = params![
            self.lease.account,
            conversation.as_str(),
            claim.epoch.get(),
            generation,
            self.at.as_millis()
        ];
        self.conn.run(sql::TURN_INSERT, row)?;
        let turn = self.conn.last_insert_rowid();
        for inbox in inputs.iter().collect::<BTreeSet<_>>() {
            let found =
                self.conn.find(sql::PENDING_FIND, params![inbox.get(), self.lease.account], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
                })?;
            match found {
                Some((of, None)) if of == conversation.as_str() => {
                    self.conn.run(sql::TURN_INPUT_INSERT, [turn, inbox.get()])?;
                }
                _ => return Err(Stop::Not(Outcome::Conflict)),
            }
        }
        Ok(Outcome::Applied(turn))
    }

    pub(super) fn resume_turn(&mut self, turn: TurnId, attempt: u32, claim: Claim) -> Step {
        let generation = self.own_claim(claim)?;
        let at = self.at.as_millis();
        let row = params![turn.get(), self.lease.account, attempt, claim.epoch.get(), generation, at];
        match self.conn.run(sql::TURN_RESUME, row)? {
            0 => Err(Stop::Not(Outcome::Conflict)),
            _ => Ok(Outcome::Applied(0)),
        }
    }

    pub(super) fn count_attempt(&mut self, turn: TurnId, claim: Claim, counts: bool) -> Step {
        let by = if counts { 1 } else { -1 };
        let row = params![turn.get(), self.lease.account, claim.epoch.get(), number(claim.generation)?, by];
        match self.conn.run(sql::TURN_COUNT, row)? {
            0 => Err(Stop::Not(Outcome::Fenced)),
            _ => Ok(Outcome::Applied(0)),
        }
    }

    pub(super) fn finish_turn(
        &mut self,
        turn: TurnId,
        claim: Claim,
        entries: &[(Role, String)],
        replies: &[NewReply],
    ) -> Step {
        let at = self.at.as_millis();
        let generation = number(claim.generation)?;
        let result = turn_result(entries).as_str();
        let row = params![turn.get(), self.lease.account, claim.epoch.get(), generation, at, result];
        let Some(conversation) = self.conn.find(sql::TURN_FINISH, row, |row| row.get::<_, String>(0))? else {
            return Err(Stop::Not(Outcome::Fenced));
        };
        for (role, text) in entries {
            let row = params![self.lease.account, conversation, turn.get(), role_name(*role), text, at];
            self.conn.run(sql::ENTRY_INSERT, row)?;
        }
        for reply in replies {
            self.enqueue(reply, Some(turn))?;
        }
        self.session(&conversation).entries += super::rows(entries.len());
        self.settle_inputs(turn, &conversation, None)?;
        Ok(Outcome::Applied(0))
    }

    pub(super) fn interrupt_turns(
        &mut self,
        conversation: Option<&ConversationId>,
        generation: Generation,
    ) -> Step {
        let conversation = conversation.map(ConversationId::as_str);
        let at = self.at.as_millis();
        let row = params![self.lease.account, conversation, self.lease.epoch, number(generation)?, at];
        let interrupted = self.conn.run(sql::TURNS_INTERRUPT, row)?;
        Ok(Outcome::Applied(super::rows(interrupted)))
    }

    pub(super) fn park_turn(&mut self, turn: TurnId, notice: Option<&NewReply>) -> Step {
        let row = params![turn.get(), self.lease.account, self.at.as_millis()];
        let Some(conversation) = self.conn.find(sql::TURN_PARK, row, |row| row.get::<_, String>(0))? else {
            return Err(Stop::Not(Outcome::Conflict));
        };
        if let Some(notice) = notice {
            self.enqueue(notice, Some(turn))?;
        }
        self.settle_inputs(turn, &conversation, Some(DropReason::TurnParked))?;
        Ok(Outcome::Applied(0))
    }

    pub(super) fn settle_inputs(
        &mut self,
        turn: TurnId,
        conversation: &str,
        dropped: Option<DropReason>,
    ) -> Step<()> {
        let inputs: Vec<i64> = self.conn.all(sql::TURN_INPUTS, [turn.get()], |row| row.get(0))?;
        for inbox in inputs {
            self.conn.run(sql::PENDING_DELETE, [inbox])?;
            let row = params![inbox, dropped.map(DropReason::as_str), self.at.as_millis()];
            self.conn.run(sql::SETTLED_INSERT, row)?;
            self.count(Kind::Pending, -1);
            self.session(conversation).settled(dropped);
            self.count(dropped.map_or(Kind::Answered, Kind::Dropped), 1);
        }
        Ok(())
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Agent => "agent",
        Role::System => "system",
    }
}
