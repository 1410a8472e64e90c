//! What each operation does to the model.

use std::collections::BTreeSet;

use moorline_core::{
    AccountId, BootId, ConversationId, DropReason, Generation, InboxId, OutboxId, Timestamp, TurnId,
};

use super::{Account, Beside, Boot, Message, Seen, State, Turn};
use crate::StoreError;
use crate::cron::turn_result;
use crate::gap::LastHeard;
use crate::rows::{
    Entry, InboxRow, InboxState, OutboxRow, OutboxState, Role, StoredIdentity, TurnRow, TurnState,
};
use crate::tx::{Claim, Lease, NewMessage, NewReply, Op, Outcome, SendResult, Tx, Verdict};

/// Why a transaction does not happen.
pub(super) enum Stop {
    Not(Outcome),
    Refused(&'static str),
}

pub(super) const CONFLICT: Stop = Stop::Not(Outcome::Conflict);
const FENCED: Stop = Stop::Not(Outcome::Fenced);

pub(super) type Step = Result<Outcome, Stop>;

impl State {
    /// All or nothing: the operations work on a copy.
    pub(super) fn commit(&mut self, tx: &Tx) -> Result<Vec<Outcome>, StoreError> {
        let mut next = self.clone();
        let outcomes: Result<Vec<_>, _> = tx.ops.iter().map(|op| next.apply(tx, op)).collect();
        match outcomes {
            Ok(outcomes) => {
                *self = next;
                Ok(outcomes)
            }
            Err(Stop::Not(outcome)) => Ok(vec![outcome; tx.ops.len()]),
            Err(Stop::Refused(why)) => Err(StoreError::Refused(why.to_owned())),
        }
    }

    fn apply(&mut self, tx: &Tx, op: &Op) -> Step {
        if let Some(lease) = &tx.lease
            && self.accounts.get(&lease.account).is_none_or(|account| account.epoch != lease.epoch)
        {
            return Err(FENCED);
        }
        match (op, &tx.lease) {
            (Op::BeginBoot { boot, .. }, _) => Ok(self.begin_boot(boot, tx.at)),
            (Op::EndBoot { boot }, _) => self.end_boot(boot),
            (Op::TakeOver { account }, _) => Ok(self.take_over(account, tx.at)),
            (&Op::Prune { before, dedupe_before, limit }, _) => Ok(self.prune(before, dedupe_before, limit)),
            (Op::RememberAnswer { key, answer }, _) => Ok(self.remember_answer(key, tx.at, answer)),
            (&Op::ForgetAnswers { before, limit }, _) => Ok(self.forget_answers(before, limit)),
            (Op::Remember { name, value }, _) => {
                self.memos.insert(name.clone(), value.clone());
                Ok(Outcome::Applied(0))
            }
            (Op::AddJob { job }, _) => Ok(self.add_job(tx.at, job)),
            (Op::RemoveJob { job }, _) => self.remove_job(*job),
            (Op::SwitchJob { job, enabled, next_due, reason }, _) => {
                self.switch_job(tx.at, *job, *enabled, *next_due, reason.as_ref())
            }
            (Op::RecordRun { run }, lease) => self.record_run(lease.as_ref(), tx.at, run),
            (_, None) => Err(Stop::Refused("this operation needs a lease")),
            (op, Some(lease)) => self.apply_owned(lease, tx.at, op),
        }
    }

    fn apply_owned(&mut self, lease: &Lease, at: Timestamp, op: &Op) -> Step {
        match op {
            Op::BeginBoot { .. }
            | Op::EndBoot { .. }
            | Op::TakeOver { .. }
            | Op::Prune { .. }
            | Op::AddJob { .. }
            | Op::RemoveJob { .. }
            | Op::SwitchJob { .. }
            | Op::RecordRun { .. }
            | Op::Remember { .. }
            | Op::RememberAnswer { .. }
            | Op::ForgetAnswers { .. } => Err(Stop::Refused("this operation belongs to no account")),
            Op::Receive { message } => self.hear(lease, at, message),
            Op::SetCursor { kind, value } => {
                let cursors = &mut self.account(lease)?.cursors;
                match value.as_str() {
                    "" => cursors.remove(kind),
                    value => cursors.insert(kind.clone(), value.to_owned()),
                };
                Ok(Outcome::Applied(0))
            }
            Op::SaveIdentity { fingerprint, identity } => {
                let stored = StoredIdentity { identity: identity.clone(), verified_at: at };
                self.account(lease)?.identities.insert(fingerprint.clone(), stored);
                Ok(Outcome::Applied(0))
            }
            Op::Judge { inbox, verdict } => self.judge(lease, at, *inbox, *verdict),
            Op::StartTurn { conversation, inputs, claim } => {
                self.start_turn(lease, at, conversation, inputs, *claim)
            }
            Op::ResumeTurn { turn, attempt, claim } => self.resume_turn(lease, at, *turn, *attempt, *claim),
            Op::CountAttempt { turn, claim, counts } => self.count_attempt(lease, *turn, *claim, *counts),
            Op::FinishTurn { turn, claim, entries, replies } => {
                self.finish_turn(lease, at, *turn, *claim, entries, replies)
            }
            Op::InterruptTurns { conversation, generation } => {
                Ok(self.interrupt_turns(lease, at, conversation.as_ref(), *generation))
            }
            Op::ParkTurn { turn, notice } => self.park_turn(lease, at, *turn, notice.as_ref()),
            Op::Enqueue { parts } => self.enqueue_parts(lease, at, parts),
            Op::ClaimSend { outbox, claim, possibly_repeated } => {
                self.claim_send(lease, at, *outbox, *claim, *possibly_repeated)
            }
            Op::SettleSend { outbox, claim, result } => self.settle_send(lease, at, *outbox, *claim, result),
            Op::InterruptSends { generation } => Ok(self.interrupt_sends(lease, *generation)),
            Op::ExpireHeld { outbox, before, error } => self.expire_held(lease, at, *outbox, *before, error),
            Op::Heard { at, orderly } => self.note_heard(lease, LastHeard { at: *at, orderly: *orderly }),
            Op::RecordGap { gap } => self.record_gap(lease, at, gap),
            Op::RetrySend { outbox } => self.retry_send(lease, at, *outbox),
            Op::DiscardSend { outbox } => self.discard_send(lease, at, *outbox),
            Op::ReopenTurns { conversation } => self.reopen_turns(lease, at, conversation),
            Op::ResetSession { conversation } => self.reset_session(lease, at, conversation),
            Op::DiscardRows { .. } => self.discard_rows(lease),
        }
    }

    pub(super) fn account(&mut self, lease: &Lease) -> Result<&mut Account, Stop> {
        self.accounts.get_mut(&lease.account).ok_or(FENCED)
    }

    fn begin_boot(&mut self, boot: &BootId, at: Timestamp) -> Outcome {
        if self.boots.iter().any(|seen| seen.name == boot.as_str()) {
            return Outcome::Duplicate(0);
        }
        self.boots.push(Boot { name: boot.as_str().to_owned(), began_at: at, ended: false });
        Outcome::Applied(0)
    }

    fn end_boot(&mut self, boot: &BootId) -> Step {
        let seen = self.boots.iter_mut().find(|seen| seen.name == boot.as_str()).ok_or(CONFLICT)?;
        let before = std::mem::replace(&mut seen.ended, true);
        Ok(if before { Outcome::Duplicate(0) } else { Outcome::Applied(0) })
    }

    fn take_over(&mut self, id: &AccountId, at: Timestamp) -> Outcome {
        let account = self.accounts.entry(id.clone()).or_default();
        account.epoch = moorline_core::Epoch::new(account.epoch.get() + 1);
        let epoch = account.epoch;
        for turn in self.turns.values_mut().filter(|turn| turn.row.account == *id) {
            if turn.row.state == TurnState::Running && turn.row.claim.epoch < epoch {
                (turn.row.state, turn.interrupted_at) = (TurnState::Interrupted, Some(at));
            }
        }
        for message in self.outbox.values_mut().filter(|message| message.row.account == *id) {
            if message.row.state == OutboxState::Sending
                && message.claim.is_some_and(|claim| claim.epoch < epoch)
            {
                message.row.in_doubt();
            }
        }
        Outcome::Applied(epoch.get())
    }

    pub(super) fn receive(&mut self, lease: &Lease, at: Timestamp, message: &NewMessage) -> Step {
        if message.dedupe.is_empty() {
            return Err(Stop::Refused("a message without a key to recognise its repetition"));
        }
        let id = InboxId::new(self.last.inbox + 1);
        let account = self.account(lease)?;
        let seen = message.dedupe.iter().find_map(|key| account.dedupe.get(key)).map(|seen| seen.inbox);
        for key in &message.dedupe {
            let first = Seen { inbox: seen.unwrap_or(id), at };
            let seen = account.dedupe.entry(key.clone()).or_insert(first);
            seen.at = seen.at.max(at);
        }
        if let Some(seen) = seen {
            account.duplicates += 1;
            if let Some(beside) = self.beside.get_mut(&seen) {
                beside.repeats += 1;
                beside.repeated_at = Some(at);
            }
            return Ok(Outcome::Duplicate(seen.get()));
        }
        self.last.inbox = id.get();
        let account = self.account(lease)?;
        let row = InboxRow {
            id,
            account: lease.account.clone(),
            conversation: message.conversation.clone(),
            event_id: message.event_id.clone(),
            message_id: message.message_id.clone(),
            chat: message.chat.clone(),
            route: message.route.clone(),
            text: message.text.clone(),
            context: message.context.clone(),
            received_at: at,
            state: match message.verdict {
                Verdict::Allow => InboxState::Pending,
                Verdict::Drop(reason) => InboxState::Dropped(reason),
                Verdict::Hold(reason) => InboxState::Held(reason),
            },
        };
        account.active.insert(message.conversation.clone(), at);
        let beside = Beside {
            written_at: message.written_at,
            settled_at: matches!(message.verdict, Verdict::Drop(_)).then_some(at),
            raw_bytes: message.raw.len() as u64,
            ..Beside::default()
        };
        self.last.inbox = id.get();
        self.beside.insert(id, beside);
        self.inbox.insert(id, row);
        Ok(Outcome::Applied(id.get()))
    }

    fn judge(&mut self, lease: &Lease, at: Timestamp, inbox: InboxId, verdict: Verdict) -> Step {
        let row = self.inbox.get_mut(&inbox).filter(|row| row.account == lease.account).ok_or(CONFLICT)?;
        let InboxState::Held(held) = row.state else { return Err(CONFLICT) };
        row.state = match verdict {
            Verdict::Allow => InboxState::Pending,
            Verdict::Drop(reason) => InboxState::Dropped(reason),
            Verdict::Hold(_) => return Err(CONFLICT),
        };
        let (conversation, state) = (row.conversation.clone(), row.state);
        if let Some(beside) = self.beside.get_mut(&inbox) {
            beside.judged = Some((held, at));
            beside.settled_at = matches!(state, InboxState::Dropped(_)).then_some(at);
        }
        self.account(lease)?.active.insert(conversation, at);
        Ok(Outcome::Applied(0))
    }

    fn start_turn(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        conversation: &ConversationId,
        inputs: &[InboxId],
        claim: Claim,
    ) -> Step {
        if claim.epoch != lease.epoch {
            return Err(FENCED);
        }
        if inputs.is_empty() {
            return Err(Stop::Refused("a turn that answers no message"));
        }
        let pending = |id: &InboxId| {
            self.inbox.get(id).is_some_and(|row| {
                row.account == lease.account
                    && row.conversation == *conversation
                    && row.state == InboxState::Pending
            })
        };
        if self.active_turn(&lease.account, conversation).is_some() || !inputs.iter().all(pending) {
            return Err(CONFLICT);
        }
        self.last.turn += 1;
        let id = TurnId::new(self.last.turn);
        let row = TurnRow {
            id,
            account: lease.account.clone(),
            conversation: conversation.clone(),
            inputs: Vec::new(),
            attempt: 1,
            claim,
            state: TurnState::Running,
            started_at: at,
        };
        let turn = Turn {
            row,
            inputs: inputs.iter().copied().collect(),
            interrupted_at: None,
            resumed_at: None,
            ended_at: None,
            result: None,
        };
        self.turns.insert(id, turn);
        Ok(Outcome::Applied(id.get()))
    }

    fn turn_in(&mut self, lease: &Lease, turn: TurnId, state: TurnState) -> Option<&mut Turn> {
        self.turns.get_mut(&turn).filter(|turn| turn.row.account == lease.account && turn.row.state == state)
    }

    fn resume_turn(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        turn: TurnId,
        attempt: u32,
        claim: Claim,
    ) -> Step {
        if claim.epoch != lease.epoch {
            return Err(FENCED);
        }
        let found = self.turn_in(lease, turn, TurnState::Interrupted);
        let found = found.filter(|found| found.row.attempt == attempt).ok_or(CONFLICT)?;
        found.row.state = TurnState::Running;
        found.row.attempt += 1;
        found.row.claim = claim;
        found.resumed_at = Some(at);
        Ok(Outcome::Applied(0))
    }

    fn count_attempt(&mut self, lease: &Lease, turn: TurnId, claim: Claim, counts: bool) -> Step {
        let found = self.turn_in(lease, turn, TurnState::Running);
        let found = found.filter(|found| found.row.claim == claim).ok_or(FENCED)?;
        let attempt = &mut found.row.attempt;
        *attempt = if counts { *attempt + 1 } else { attempt.saturating_sub(1) };
        Ok(Outcome::Applied(0))
    }

    fn finish_turn(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        turn: TurnId,
        claim: Claim,
        entries: &[(Role, String)],
        replies: &[NewReply],
    ) -> Step {
        let found = self.turn_in(lease, turn, TurnState::Running);
        let found = found.filter(|found| found.row.claim == claim).ok_or(FENCED)?;
        (found.row.state, found.ended_at) = (TurnState::Done, Some(at));
        found.result = Some(turn_result(entries));
        let (conversation, inputs) = (found.row.conversation.clone(), found.inputs.clone());
        self.account(lease)?.active.insert(conversation.clone(), at);
        let transcript = self.account(lease)?.transcripts.entry(conversation).or_default();
        transcript.extend(entries.iter().map(|(role, text)| Entry { role: *role, text: text.clone(), at }));
        for reply in replies {
            self.enqueue(lease, at, reply, Some(turn))?;
        }
        self.settle(&inputs, at, InboxState::Answered);
        Ok(Outcome::Applied(0))
    }

    fn interrupt_turns(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        conversation: Option<&ConversationId>,
        generation: Generation,
    ) -> Outcome {
        let mut interrupted = 0;
        for Turn { row, interrupted_at, .. } in self.turns.values_mut() {
            if row.account == lease.account
                && conversation.is_none_or(|conversation| row.conversation == *conversation)
                && row.state == TurnState::Running
                && row.claim.epoch == lease.epoch
                && row.claim.generation <= generation
            {
                (row.state, *interrupted_at) = (TurnState::Interrupted, Some(at));
                interrupted += 1;
            }
        }
        Outcome::Applied(interrupted)
    }

    fn park_turn(&mut self, lease: &Lease, at: Timestamp, turn: TurnId, notice: Option<&NewReply>) -> Step {
        let found = self.turn_in(lease, turn, TurnState::Interrupted).ok_or(CONFLICT)?;
        (found.row.state, found.ended_at) = (TurnState::Parked, Some(at));
        let (conversation, inputs) = (found.row.conversation.clone(), found.inputs.clone());
        self.account(lease)?.active.insert(conversation, at);
        if let Some(notice) = notice {
            self.enqueue(lease, at, notice, Some(turn))?;
        }
        self.settle(&inputs, at, InboxState::Dropped(DropReason::TurnParked));
        Ok(Outcome::Applied(0))
    }

    pub(super) fn settle(&mut self, inputs: &BTreeSet<InboxId>, at: Timestamp, state: InboxState) {
        for input in inputs {
            self.beside.entry(*input).or_default().settled_at = Some(at);
            if let Some(row) = self.inbox.get_mut(input) {
                row.state = state;
            }
        }
    }

    pub(super) fn enqueue_parts(&mut self, lease: &Lease, at: Timestamp, parts: &[NewReply]) -> Step {
        let Some((first, others)) = parts.split_first() else {
            return Err(Stop::Refused("a message without a part"));
        };
        let outcome = self.enqueue(lease, at, first, None)?;
        if matches!(outcome, Outcome::Applied(_)) {
            for part in others {
                self.enqueue(lease, at, part, None)?;
            }
        }
        Ok(outcome)
    }

    fn enqueue(&mut self, lease: &Lease, at: Timestamp, reply: &NewReply, turn: Option<TurnId>) -> Step {
        if let Some(Message { row, .. }) = self.outbox.values().find(|message| message.row.key == reply.key) {
            return if row.account == lease.account {
                Ok(Outcome::Duplicate(row.id.get()))
            } else {
                Err(CONFLICT)
            };
        }
        self.last.outbox += 1;
        let id = OutboxId::new(self.last.outbox);
        let row = OutboxRow {
            id,
            account: lease.account.clone(),
            conversation: reply.conversation.clone(),
            turn,
            outbound: reply.outbound.clone(),
            key: reply.key.clone(),
            state: OutboxState::Ready,
            attempts: 0,
            possibly_repeated: false,
            first_attempt_at: None,
            not_before: at,
            last_error: None,
            message_id: None,
            created_at: at,
            sent_at: None,
            doubted: false,
            ended_at: None,
            retried_at: None,
            held_at: None,
            released_at: None,
            repeats: 0,
            delivery_doubted: false,
        };
        self.outbox.insert(id, Message { row, claim: None, settled_at: None });
        Ok(Outcome::Applied(id.get()))
    }

    fn claim_send(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        outbox: OutboxId,
        claim: Claim,
        possibly_repeated: bool,
    ) -> Step {
        if claim.epoch != lease.epoch {
            return Err(FENCED);
        }
        let message = self.outbox.get_mut(&outbox).ok_or(CONFLICT)?;
        let claimable = matches!(message.row.state, OutboxState::Ready | OutboxState::Unknown);
        if message.row.account != lease.account || !claimable {
            return Err(CONFLICT);
        }
        message.claim = Some(claim);
        message.row.doubted |= message.row.state == OutboxState::Unknown;
        message.row.state = OutboxState::Sending;
        message.row.attempts += 1;
        message.row.possibly_repeated |= possibly_repeated;
        message.row.first_attempt_at.get_or_insert(at);
        Ok(Outcome::Applied(0))
    }

    fn settle_send(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        outbox: OutboxId,
        claim: Claim,
        result: &SendResult,
    ) -> Step {
        let news = match result {
            SendResult::Held { heard, .. } => self.heard_since(lease, *heard, outbox),
            _ => false,
        };
        let message = self.outbox.get_mut(&outbox).ok_or(FENCED)?;
        let row = &mut message.row;
        if row.account != lease.account || row.state != OutboxState::Sending || message.claim != Some(claim) {
            return Err(FENCED);
        }
        match result {
            SendResult::Sent { message_id, delivery_doubted } => {
                (row.state, row.delivery_doubted) = (OutboxState::Sent, *delivery_doubted);
                row.message_id = Some(message_id.clone());
                row.sent_at = Some(at);
                message.settled_at = Some(at);
            }
            SendResult::Retry { wait, error } => {
                row.state = row.sendable();
                row.not_before = at + *wait;
                row.last_error = Some(error.clone());
            }
            SendResult::Unknown { wait, error } => {
                row.in_doubt();
                row.not_before = at + *wait;
                row.last_error = Some(error.clone());
            }
            SendResult::Held { error, .. } => {
                if news {
                    (row.state, row.not_before) = (row.sendable(), at);
                } else {
                    (row.state, row.held_at) = (OutboxState::Held, Some(at));
                }
                row.last_error = Some(error.clone());
            }
            SendResult::Dead { error } => {
                row.state = OutboxState::Dead;
                row.ended_at = Some(at);
                row.last_error = Some(error.clone());
                message.settled_at = Some(at);
            }
        }
        Ok(Outcome::Applied(i64::from(news)))
    }

    fn interrupt_sends(&mut self, lease: &Lease, generation: Generation) -> Outcome {
        let mut interrupted = 0;
        for Message { row, claim, .. } in self.outbox.values_mut() {
            let ended =
                claim.is_some_and(|claim| claim.epoch == lease.epoch && claim.generation <= generation);
            if row.account == lease.account && row.state == OutboxState::Sending && ended {
                row.in_doubt();
                interrupted += 1;
            }
        }
        Outcome::Applied(interrupted)
    }
}
