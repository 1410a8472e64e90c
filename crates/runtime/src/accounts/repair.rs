//! What an operator does about messages that are stuck. Each is done in the store first, under the account's lease;
//! then the actor that it concerns is told to look.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{AccountId, ConversationId, OutboxId};
use moorline_store::{Lease, Op, Outcome, SessionState, Tx};

use super::{Accounts, Due};
use crate::conversations::{Reset, Wake};
use crate::handle::{CommandError, Resumed, ResumedFrom};
use crate::logins::in_time;
use crate::runtime::epoch_of;
use crate::services::{Account, Services};

/// How many rows of an orphaned account are deleted in one transaction: others wait for the writer no longer than that.
const BATCH: u32 = 256;

/// How long one request goes on deleting; whoever asked has to ask again for the rest.
const DELETES_FOR: Duration = Duration::from_secs(3);

/// Sends a message of ours now, dead or waiting. `Conflict` when it is being sent, was sent or was discarded.
#[derive(Debug, Message)]
#[rtype(result = "Result<Outcome, CommandError>")]
pub(crate) struct RetrySend {
    pub(crate) account: AccountId,
    pub(crate) outbox: OutboxId,
}

/// Gives a message of ours up for good. `Conflict` when it is being sent or was sent.
#[derive(Debug, Message)]
#[rtype(result = "Result<Outcome, CommandError>")]
pub(crate) struct DiscardSend {
    pub(crate) account: AccountId,
    pub(crate) outbox: OutboxId,
}

/// Gives a conversation's parked messages back to it, or wakes what waits in it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Resumed, CommandError>")]
pub(crate) struct ResumeSession {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
}

/// Lets a conversation begin anew; answers with the turn that was given up, if there was one.
#[derive(Debug, Message)]
#[rtype(result = "Result<i64, CommandError>")]
pub(crate) struct ResetSession {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
}

/// Deletes rows of an account that is not configured, and after the last one its saved login.
#[derive(Debug, Message)]
#[rtype(result = "Result<Deleted, CommandError>")]
pub(crate) struct DiscardRows(pub(crate) AccountId);

/// How far it got.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// Nothing is left.
    pub(crate) done: bool,
    /// A saved login was forgotten.
    pub(crate) login: bool,
}

fn configured(services: &Services, id: &AccountId) -> Result<Rc<Account>, CommandError> {
    services.accounts.get(id).ok_or_else(|| CommandError::UnknownAccount(id.clone()))
}

async fn commit(services: &Services, lease: &Lease, op: Op) -> Result<Outcome, CommandError> {
    let outcomes = services.store.commit(Tx::under(lease, services.clock.wall(), [op])).await?;
    match outcomes.first() {
        // Another process, or a later life of this account, owns it now.
        None | Some(Outcome::Fenced) => Err(CommandError::Busy),
        Some(outcome) => Ok(*outcome),
    }
}

/// Changes a row of the outbox and lets the outbox look at it.
async fn on_outbox(
    services: Rc<Services>,
    account: AccountId,
    outbox: OutboxId,
    op: Op,
) -> Result<Outcome, CommandError> {
    let account = configured(&services, &account)?;
    let outcome = commit(&services, &account.lease, op).await?;
    // An outbox that does not run reads the row when it does.
    account.actors.outbox.tell(Due(outbox));
    Ok(outcome)
}

impl Handler<RetrySend> for Accounts {
    type Result = ResponseFuture<Result<Outcome, CommandError>>;

    fn handle(&mut self, RetrySend { account, outbox }: RetrySend, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(on_outbox(services, account, outbox, Op::RetrySend { outbox }))
    }
}

impl Handler<DiscardSend> for Accounts {
    type Result = ResponseFuture<Result<Outcome, CommandError>>;

    fn handle(
        &mut self,
        DiscardSend { account, outbox }: DiscardSend,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(on_outbox(services, account, outbox, Op::DiscardSend { outbox }))
    }
}

impl Handler<ResumeSession> for Accounts {
    type Result = ResponseFuture<Result<Resumed, CommandError>>;

    fn handle(&mut self, asked: ResumeSession, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(async move {
            let account = configured(&services, &asked.account)?;
            let session = services.store.listing().session(&asked.account, &asked.conversation).await?;
            let session = session.ok_or(CommandError::UnknownSession)?;
            let resumed = match session.state() {
                SessionState::Running => {
                    return Err(CommandError::NothingToResume("a turn of it is running"));
                }
                SessionState::Interrupted => Resumed {
                    // It is taken up when its answer can go out, and not before (G9).
                    waits_for_channel: !services.board.is_ready(&asked.account),
                    from: ResumedFrom::Interrupted,
                    messages: 0,
                },
                state => {
                    let op = Op::ReopenTurns { conversation: asked.conversation.clone() };
                    let (from, messages) = match commit(&services, &account.lease, op).await? {
                        Outcome::Applied(count) => (ResumedFrom::Parked, u64::try_from(count).unwrap_or(0)),
                        _ if state == SessionState::Waiting => (ResumedFrom::Waiting, 0),
                        _ => {
                            return Err(CommandError::NothingToResume(
                                "its last turn was neither parked nor interrupted",
                            ));
                        }
                    };
                    Resumed { from, messages, waits_for_channel: false }
                }
            };
            tracing::info!(account = %asked.account, actor = "accounts", conversation = %asked.conversation, messages = resumed.messages, "resumed by an operator");
            let ResumeSession { account, conversation } = asked;
            services.conversations.tell(Wake { account, conversation });
            Ok(resumed)
        })
    }
}

impl Handler<ResetSession> for Accounts {
    type Result = ResponseFuture<Result<i64, CommandError>>;

    fn handle(&mut self, asked: ResetSession, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(async move {
            configured(&services, &asked.account)?;
            let ResetSession { account, conversation } = asked;
            // Through the router and past the conversation, which may be stuck (F-052).
            services
                .conversations
                .send(Reset { account, conversation })
                .await
                .map_err(|_| CommandError::Busy)?
        })
    }
}

impl Handler<DiscardRows> for Accounts {
    type Result = ResponseFuture<Result<Deleted, CommandError>>;

    fn handle(&mut self, DiscardRows(id): DiscardRows, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(async move {
            // No configuration brings the account back meanwhile.
            let _turn = services.applying.lock().await;
            if services.accounts.get(&id).is_some() {
                return Err(CommandError::Configured(id));
            }
            if !services.store.counts().await?.contains_key(&id) {
                return match forget_login(&services, &id).await? {
                    true => Ok(Deleted { done: true, login: true }),
                    false => Err(CommandError::UnknownAccount(id)),
                };
            }
            // A turn or a send of the account that is still on its way out is fenced.
            let take_over = Tx::global(services.clock.wall(), [Op::TakeOver { account: id.clone() }]);
            let taken = services.store.commit(take_over).await?;
            let epoch = epoch_of(taken.first().copied().ok_or(CommandError::Busy)?)?;
            let lease = Lease { account: id, epoch };
            let until = services.clock.now() + DELETES_FOR;
            while commit(&services, &lease, Op::DiscardRows { limit: BATCH }).await? != Outcome::Applied(0) {
                if services.clock.now() >= until {
                    return Ok(Deleted { done: false, login: false });
                }
            }
            tracing::info!(account = %lease.account, actor = "accounts", "rows of an account that is not configured deleted by an operator");
            let login = forget_login(&services, &lease.account).await?;
            Ok(Deleted { done: true, login })
        })
    }
}

/// Whoever has it is the bot, and nobody would miss it.
async fn forget_login(services: &Services, account: &AccountId) -> Result<bool, CommandError> {
    let forgotten = in_time(services.logins.remove(account)).await?;
    if forgotten {
        tracing::info!(%account, actor = "logins", "the saved login of an account that is not configured is forgotten");
    }
    Ok(forgotten)
}
