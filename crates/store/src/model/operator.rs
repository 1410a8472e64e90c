//! What an operator does to the model.

use moorline_core::{ConversationId, DropReason, OutboxId, Timestamp, TurnId};

use super::ops::{CONFLICT, Step};
use super::{Account, Message, State};
use crate::rows::{InboxState, OutboxState, TurnState};
use crate::tx::{Lease, Outcome};

impl State {
    pub(super) fn retry_send(&mut self, lease: &Lease, at: Timestamp, outbox: OutboxId) -> Step {
        let Message { row, settled_at, .. } = self.own_message(lease, outbox).ok_or(CONFLICT)?;
        row.state = match row.state {
            OutboxState::Dead | OutboxState::Held => row.sendable(),
            OutboxState::Ready | OutboxState::Unknown => row.state,
            _ => return Err(CONFLICT),
        };
        (row.not_before, row.retried_at, row.repeats, *settled_at) = (at, Some(at), 0, None);
        Ok(Outcome::Applied(0))
    }

    pub(super) fn discard_send(&mut self, lease: &Lease, at: Timestamp, outbox: OutboxId) -> Step {
        let Message { row, settled_at, .. } = self.own_message(lease, outbox).ok_or(CONFLICT)?;
        match row.state {
            OutboxState::Discarded => return Ok(Outcome::Duplicate(outbox.get())),
            OutboxState::Sending | OutboxState::Sent => return Err(CONFLICT),
            OutboxState::Ready | OutboxState::Unknown | OutboxState::Held | OutboxState::Dead => {}
        }
        (row.state, row.ended_at, *settled_at) = (OutboxState::Discarded, Some(at), Some(at));
        Ok(Outcome::Applied(0))
    }

    fn own_message(&mut self, lease: &Lease, outbox: OutboxId) -> Option<&mut Message> {
        self.outbox.get_mut(&outbox).filter(|message| message.row.account == lease.account)
    }

    pub(super) fn reopen_turns(&mut self, lease: &Lease, at: Timestamp, of: &ConversationId) -> Step {
        let own = |turn: &&super::Turn| turn.row.account == lease.account && turn.row.conversation == *of;
        let parked = self.turns.values().rev().filter(own);
        let parked = parked.take_while(|turn| turn.row.state == TurnState::Parked);
        let inputs: Vec<_> = parked.flat_map(|turn| turn.inputs.clone()).collect();
        let mut reopened = 0;
        for input in inputs {
            let Some(row) = self.inbox.get_mut(&input) else { continue };
            if row.state == InboxState::Dropped(DropReason::TurnParked) {
                row.state = InboxState::Pending;
                self.beside.entry(input).or_default().settled_at = None;
                reopened += 1;
            }
        }
        if reopened == 0 {
            return Err(CONFLICT);
        }
        self.account(lease)?.active.insert(of.clone(), at);
        Ok(Outcome::Applied(reopened))
    }

    pub(super) fn reset_session(&mut self, lease: &Lease, at: Timestamp, of: &ConversationId) -> Step {
        if !self.messages(&lease.account).any(|row| row.conversation == *of) {
            return Err(CONFLICT);
        }
        let account = self.account(lease)?;
        account.transcripts.remove(of);
        account.active.insert(of.clone(), at);
        let parked = |turn: &&mut super::Turn| {
            turn.row.account == lease.account
                && turn.row.conversation == *of
                && turn.row.state == TurnState::Parked
        };
        self.turns.values_mut().filter(parked).for_each(|turn| turn.row.state = TurnState::Reset);
        let Some(turn) = self.active_turn(&lease.account, of).map(|turn| turn.row.id) else {
            return Ok(Outcome::Applied(0));
        };
        self.end_turn(turn, at, TurnState::Reset, InboxState::Dropped(DropReason::SessionReset));
        Ok(Outcome::Applied(turn.get()))
    }

    fn end_turn(&mut self, turn: TurnId, at: Timestamp, state: TurnState, inputs: InboxState) {
        let Some(found) = self.turns.get_mut(&turn) else { return };
        (found.row.state, found.ended_at) = (state, Some(at));
        let settled = found.inputs.clone();
        self.settle(&settled, at, inputs);
    }

    /// All at once: how many go in one batch is the business of a store that takes time.
    pub(super) fn discard_rows(&mut self, lease: &Lease) -> Step {
        self.inbox.retain(|_, row| row.account != lease.account);
        self.beside.retain(|id, _| self.inbox.contains_key(id));
        self.turns.retain(|_, turn| turn.row.account != lease.account);
        self.outbox.retain(|_, message| message.row.account != lease.account);
        self.gaps.retain(|_, gap| gap.account != lease.account);
        let account = self.account(lease)?;
        *account = Account { epoch: account.epoch, ..Account::default() };
        Ok(Outcome::Applied(0))
    }
}
