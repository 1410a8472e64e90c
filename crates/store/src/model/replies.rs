//! Reply tokens and held messages in the model.

use moorline_core::{AccountId, ChatId, Fingerprint, InboxId, OutboxId, Timestamp};

use super::ops::{CONFLICT, Step};
use super::{Message, State};
use crate::rows::{InboxRow, InboxState, OutboxRow, OutboxState, ReplyToken, ReplyWindow};
use crate::tx::{Lease, NewMessage, NewReplyToken, Outcome, Verdict};

/// The newest reply token of a chat.
#[derive(Debug, Clone)]
pub(super) struct Token {
    token: NewReplyToken,
    written_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
}

impl State {
    pub(super) fn hear(&mut self, lease: &Lease, at: Timestamp, message: &NewMessage) -> Step {
        let outcome = self.receive(lease, at, message)?;
        if matches!(outcome, Outcome::Applied(_)) && message.verdict.is_of_a_user() {
            self.keep_token(lease, at, message)?;
            for Message { row, .. } in self.outbox.values_mut() {
                if row.account == lease.account
                    && row.state == OutboxState::Held
                    && row.outbound.route.chat == message.route.chat
                {
                    (row.state, row.not_before, row.released_at) = (row.sendable(), at, Some(at));
                }
            }
        }
        Ok(outcome)
    }

    fn keep_token(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        message: &NewMessage,
    ) -> Result<(), super::ops::Stop> {
        let Some(token) = message.reply_token.clone() else { return Ok(()) };
        let tokens = &mut self.account(lease)?.tokens;
        let is_older = |before: &Token| {
            let written = before.written_at.zip(message.written_at);
            before.token.credentials == token.credentials
                && written.is_some_and(|(before, this)| this < before)
        };
        if !tokens.get(&message.route.chat).is_some_and(is_older) {
            let kept = Token { token, written_at: message.written_at, received_at: at };
            tokens.insert(message.route.chat.clone(), kept);
        }
        Ok(())
    }

    pub(super) fn heard_since(&self, lease: &Lease, heard: InboxId, outbox: OutboxId) -> bool {
        let Some(Message { row, .. }) = self.outbox.get(&outbox) else { return false };
        let is_of_a_user = |message: &InboxRow| {
            let verdict = match message.state {
                InboxState::Dropped(reason) => Verdict::Drop(reason),
                _ => Verdict::Allow,
            };
            message.message_id.is_some() && verdict.is_of_a_user()
        };
        self.messages(&lease.account).any(|message| {
            message.id > heard && message.route.chat == row.outbound.route.chat && is_of_a_user(message)
        })
    }

    pub(super) fn expire_held(
        &mut self,
        lease: &Lease,
        at: Timestamp,
        outbox: OutboxId,
        before: Timestamp,
        error: &str,
    ) -> Step {
        let held = self.outbox.get(&outbox).map(|message| message.row.clone());
        let long = |row: &OutboxRow| {
            row.account == lease.account
                && row.state == OutboxState::Held
                && row.held_at.is_some_and(|at| at < before)
        };
        let held = held.filter(long).ok_or(CONFLICT)?;
        let mut dead = 0;
        for Message { row, settled_at, .. } in self.outbox.values_mut() {
            let behind = row.id > held.id
                && row.account == held.account
                && row.conversation == held.conversation
                && row.outbound.route.chat == held.outbound.route.chat
                && row.created_at < before
                && matches!(row.state, OutboxState::Ready | OutboxState::Unknown);
            if row.id == held.id || behind {
                row.doubted |= row.state == OutboxState::Unknown;
                row.state = OutboxState::Dead;
                row.last_error = Some(error.to_owned());
                (row.ended_at, *settled_at) = (Some(at), Some(at));
                dead += 1;
            }
        }
        Ok(Outcome::Applied(dead))
    }

    pub(super) fn held_sends(&self, account: &AccountId, before: Timestamp, limit: u32) -> Vec<OutboxRow> {
        let held = self.outbox.values().map(|message| &message.row).filter(|row| {
            row.account == *account
                && row.state == OutboxState::Held
                && row.held_at.is_some_and(|at| at < before)
        });
        held.take(limit as usize).cloned().collect()
    }

    pub(super) fn reply_window(
        &self,
        account: &AccountId,
        chat: &ChatId,
        credentials: &Fingerprint,
    ) -> ReplyWindow {
        let tokens = self.accounts.get(account).map(|account| &account.tokens);
        let token =
            tokens.and_then(|tokens| tokens.get(chat)).filter(|kept| kept.token.credentials == *credentials);
        ReplyWindow {
            token: token
                .map(|kept| ReplyToken { secret: kept.token.secret.clone(), received_at: kept.received_at }),
            heard: self.messages(account).map(|row| row.id).last().unwrap_or_default(),
        }
    }
}

impl OutboxRow {
    /// The state of one that is to be sent, and for which nothing is to be waited any more.
    pub(super) fn sendable(&self) -> OutboxState {
        if self.doubted { OutboxState::Unknown } else { OutboxState::Ready }
    }

    /// Nobody knows whether its last attempt took effect.
    pub(super) fn in_doubt(&mut self) {
        self.state = OutboxState::Unknown;
        self.repeats += u32::from(self.possibly_repeated);
    }
}
