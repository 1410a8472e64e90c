//! A conversation begins anew, at once and whatever it is doing: its actor is stopped first, so that nobody works on a
//! turn when the store gives it up, and no agent that hangs keeps those waiting who wrote after it (F-052).

use std::rc::Rc;

use actix::prelude::*;
use moorline_core::{AccountId, ConversationId, Generation};
use moorline_store::{Op, Outcome, Tx};
use moorline_supervision::ActorRef;

use super::interruption::{Marked, interrupt};
use super::typing::Sign;
use super::{Active, Conversations, Key, child_name};
use crate::handle::CommandError;

/// Forgets a conversation's transcript and gives its turn up. Answers with the turn, or 0.
#[derive(Debug, Message)]
#[rtype(result = "Result<i64, CommandError>")]
pub(crate) struct Reset {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
}

impl Handler<Reset> for Conversations {
    type Result = ResponseActFuture<Self, Result<i64, CommandError>>;

    fn handle(&mut self, Reset { account, conversation }: Reset, _: &mut Context<Self>) -> Self::Result {
        let Some(account) = self.services.accounts.get(&account) else {
            return Box::pin(actix::fut::err(CommandError::UnknownAccount(account)));
        };
        let key = (account.id.clone(), conversation);
        let name = child_name(&key);
        // One that has no actor gets none until this is over either.
        let active = self.active.entry(name.clone()).or_insert_with(|| Active {
            key: key.clone(),
            actor: ActorRef::new(),
            sent: 0,
            leaving: true,
            again: false,
            resetting: false,
        });
        if std::mem::replace(&mut active.resetting, true) {
            return Box::pin(actix::fut::err(CommandError::Busy));
        }
        active.leaving = true;
        let gone = self.env.children.stop(&name);
        let services = Rc::clone(&self.services);
        let of = key.clone();
        let resetting = async move {
            gone.await;
            let op = Op::ResetSession { conversation: of.1 };
            services.store.commit(Tx::under(&account.lease, services.clock.wall(), [op])).await
        };
        Box::pin(actix::fut::wrap_future(resetting).map(move |result, this: &mut Self, ctx| {
            match result {
                Ok(outcomes) => {
                    this.active.remove(&name);
                    this.clear_sign(&key, ctx);
                    this.wake(key.clone(), ctx);
                    match outcomes.first() {
                        Some(Outcome::Applied(turn)) => {
                            tracing::info!(account = %key.0, actor = "conversations", conversation = %key.1, turn, "reset by an operator");
                            Ok(*turn)
                        }
                        Some(Outcome::Conflict) => Err(CommandError::UnknownSession),
                        _ => Err(CommandError::Busy),
                    }
                }
                Err(error) => {
                    this.take_back(key, ctx);
                    Err(error.into())
                }
            }
        }))
    }
}

impl Conversations {
    /// Nothing was given up, and nobody works on it: it is interrupted as after a fault. The place stays taken until then,
    /// so that it can be said whosever it was: the actor may have ended by a fault of its own just before.
    fn take_back(&mut self, key: Key, ctx: &mut Context<Self>) {
        let services = Rc::clone(&self.services);
        let marking = async move {
            let marked = interrupt(&services, &key.0, Some(&key.1), Generation::LAST).await;
            (key, marked)
        };
        ctx.spawn(actix::fut::wrap_future(marking).map(|(key, marked), this: &mut Self, ctx| {
            if marked != Marked::StoreFailed {
                this.active.remove(&child_name(&key));
            }
            if marked == Marked::Yes {
                this.wake(key, ctx);
            }
        }));
    }

    /// Takes down the sign of typing that a stopped conversation left behind.
    fn clear_sign(&self, key: &Key, ctx: &mut Context<Self>) {
        let Some(account) = self.services.accounts.get(&key.0) else { return };
        let sign = Sign { services: Rc::clone(&self.services), account, conversation: key.1.clone() };
        ctx.spawn(actix::fut::wrap_future(sign.clear_leftover()));
    }
}
