//! SessionRecovery: when an account's channel is ready, and only then, what was interrupted on it is taken up (G9).
//!
//! It holds no state and makes no decision: which turns are interrupted is in the store, and taking one up is a
//! compare-and-set there. ChannelReady is only the trigger, so a channel that flaps resumes nothing twice (F-064).

use std::rc::Rc;

use actix::prelude::*;
use moorline_core::{AccountId, AccountState};
use moorline_store::TurnRow;
use moorline_supervision::Env;

use crate::bus::{self, AccountChanged};
use crate::conversations::Wake;
use crate::services::{STORE_RETRY, Services};

/// Wakes conversations with interrupted turns when their channel is ready.
pub(crate) struct SessionRecovery {
    services: Rc<Services>,
    _env: Env,
}

impl SessionRecovery {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        Self { services, _env: env }
    }

    fn recover(&mut self, account: AccountId, ctx: &mut Context<Self>) {
        let interrupted = self.services.store.interrupted_turns(&account);
        ctx.spawn(actix::fut::wrap_future(interrupted).map(move |turns, this: &mut Self, ctx| match turns {
            Ok(turns) => this.wake(&account, turns),
            Err(error) => {
                tracing::warn!(%account, actor = "recovery", "interrupted turns not read, trying again: {error}");
                ctx.run_later(STORE_RETRY, move |this, ctx| this.recover(account, ctx));
            }
        }));
    }

    fn wake(&self, account: &AccountId, turns: Vec<TurnRow>) {
        if !turns.is_empty() {
            tracing::info!(%account, actor = "recovery", turns = turns.len(), "channel ready, taking up interrupted turns");
        }
        for turn in turns {
            self.services.conversations.tell(Wake { account: turn.account, conversation: turn.conversation });
        }
    }
}

impl Actor for SessionRecovery {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        bus::follow(&self.services.bus, None, ctx);
    }
}

impl Handler<AccountChanged> for SessionRecovery {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        if event.state == AccountState::Ready {
            self.recover(event.account, ctx);
        }
    }
}
