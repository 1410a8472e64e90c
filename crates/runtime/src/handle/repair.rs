//! What an operator can do about messages that are stuck. All of it may be asked for again: what was done before is
//! either done already or refused, and nothing is sent, answered or deleted twice for it.

use std::collections::BTreeMap;

use moorline_core::{AccountId, ConversationId, OutboxId};
use moorline_store::{Counts, OutboxRow, OutboxState, Outcome};
use schemars::JsonSchema;
use serde::Serialize;

use super::{CommandError, Handle};
use crate::accounts::{Deleted, DiscardRows, DiscardSend, ResetSession, ResumeSession, RetrySend};

/// An account that is not configured and has rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Orphan {
    /// Its id.
    pub id: AccountId,
    /// Its messages by state.
    pub counts: Counts,
}

/// What resuming a session did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Resumed {
    /// What it was stuck in.
    pub from: ResumedFrom,
    /// Messages that had been given up and are answered now.
    pub messages: u64,
    /// The channel is not ready: what was interrupted is taken up when it is.
    pub waits_for_channel: bool,
}

/// What a session was resumed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResumedFrom {
    /// Its last turns were given up.
    Parked,
    /// Its turn was interrupted.
    Interrupted,
    /// Nothing but a look: messages waited in it.
    Waiting,
}

/// How far deleting an account's rows got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Discarded {
    /// The account.
    pub id: AccountId,
    /// Whether nothing is left. If not, it has to be asked for again.
    pub done: bool,
    /// What is left.
    pub counts: Counts,
    /// Whether its saved login was forgotten too.
    pub login_removed: bool,
}

/// Of the accounts that are left when the configured ones are taken away: those with rows.
pub(crate) fn orphans(counts: BTreeMap<AccountId, Counts>) -> Vec<Orphan> {
    let with_rows = counts.into_iter().filter(|(_, counts)| *counts != Counts::default());
    with_rows.map(|(id, counts)| Orphan { id, counts }).collect()
}

impl Handle {
    /// Sends a message of ours now, dead or waiting, with the key it always had; answers with it as it is then.
    ///
    /// # Errors
    /// When there is no such message, it is being sent, was sent or was discarded, or its account is not configured.
    pub async fn retry_send(&self, outbox: OutboxId) -> Result<OutboxRow, CommandError> {
        let account = self.owner(outbox).await?;
        let outcome = self.command(RetrySend { account, outbox }).await??;
        self.settled(outbox, outcome).await
    }

    /// Gives a message of ours up for good.
    ///
    /// # Errors
    /// When there is no such message, it is being sent or was sent, or its account is not configured.
    pub async fn discard_send(&self, outbox: OutboxId) -> Result<OutboxRow, CommandError> {
        let account = self.owner(outbox).await?;
        let outcome = self.command(DiscardSend { account, outbox }).await??;
        self.settled(outbox, outcome).await
    }

    /// Gives a session's parked messages back to it, or wakes what is interrupted or waits in it.
    ///
    /// # Errors
    /// When there is nothing to resume, no such session, or the account is not configured.
    pub async fn resume_session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> Result<Resumed, CommandError> {
        self.configured(account).await?;
        let (account, conversation) = (account.clone(), conversation.clone());
        self.command(ResumeSession { account, conversation }).await?
    }

    /// Lets a session begin anew: forgets its transcript, gives its turn up whoever works on it, and goes on with what
    /// waits. Answers with the turn that was given up.
    ///
    /// # Errors
    /// When there is no such session, or the account is not configured.
    pub async fn reset_session(
        &self,
        account: &AccountId,
        conversation: &ConversationId,
    ) -> Result<Option<i64>, CommandError> {
        self.configured(account).await?;
        let (account, conversation) = (account.clone(), conversation.clone());
        let turn = self.command(ResetSession { account, conversation }).await??;
        Ok((turn != 0).then_some(turn))
    }

    /// Deletes rows of an account that is not configured, for some seconds at most, and after the last one its saved login.
    ///
    /// # Errors
    /// When the account is configured, nothing is known of it, or its login cannot be removed.
    pub async fn discard_rows(&self, id: &AccountId) -> Result<Discarded, CommandError> {
        let Deleted { done, login: login_removed } = self.command(DiscardRows(id.clone())).await??;
        let counts = self.store.counts().await?.remove(id).unwrap_or_default();
        Ok(Discarded { id: id.clone(), done, counts, login_removed })
    }

    async fn owner(&self, outbox: OutboxId) -> Result<AccountId, CommandError> {
        let row = self.store.outbox_row(outbox).await?.ok_or(CommandError::UnknownMessage(outbox))?;
        self.configured(&row.account).await?;
        Ok(row.account)
    }

    pub(super) async fn configured(&self, id: &AccountId) -> Result<(), CommandError> {
        if self.board.account(id).is_some() {
            return Ok(());
        }
        let has_rows = self.store.counts().await?.contains_key(id);
        let id = id.clone();
        Err(if has_rows { CommandError::Orphaned(id) } else { CommandError::UnknownAccount(id) })
    }

    async fn settled(&self, outbox: OutboxId, outcome: Outcome) -> Result<OutboxRow, CommandError> {
        let row = self.store.outbox_row(outbox).await?.ok_or(CommandError::UnknownMessage(outbox))?;
        match (outcome, row.state) {
            (Outcome::Applied(_) | Outcome::Duplicate(_), _) => Ok(row),
            (_, OutboxState::Sent) => Err(CommandError::WrongState(outbox, "was sent")),
            (_, OutboxState::Discarded) => Err(CommandError::WrongState(outbox, "was discarded, for good")),
            _ => Err(CommandError::WrongState(outbox, "is being sent at this moment; ask again")),
        }
    }
}
