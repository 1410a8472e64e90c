//! What is held for too long is given up.

use std::time::Duration;

use actix::prelude::*;
use moorline_core::{Clock, Monotonic, Timestamp, millis};
use moorline_store::{Op, OutboxRow, Outcome, StoreError, Tx};

use super::Outbox;
use crate::events::{Sort, What};

/// How many are looked at at a time (G12).
const BATCH: u32 = 100;

/// When a life of the outbox began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    wall: Timestamp,
    at: Monotonic,
}

impl Began {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), at: clock.with_sleep() }
    }

    /// Now, by the wall clock, and no later than this life and what there was before it: a clock that is set forward
    /// makes nothing older (F-089).
    fn steady(self, clock: &dyn Clock) -> Timestamp {
        clock.wall().min(self.wall + (clock.with_sleep() - self.at))
    }
}

impl Outbox {
    /// Looks for held messages whose time is over; a tenth of the limit late at most.
    pub(super) fn expire_held_now_and_then(&self, ctx: &mut Context<Self>) {
        let round = (self.services.settings().limits.held_reply_limit / 10)
            .clamp(Duration::from_secs(1), Duration::from_secs(600));
        ctx.run_interval(round, |this, ctx| this.expire_held(ctx));
    }

    fn expire_held(&self, ctx: &mut Context<Self>) {
        let limit = self.services.settings().limits.held_reply_limit;
        let before = self.began.steady(&*self.services.clock).minus(limit);
        let (services, account) = (self.services.clone(), self.account.clone());
        let expiring = async move {
            let held = services.store.held_sends(&account.id, before, BATCH).await?;
            let any = !held.is_empty();
            for row in held {
                let days = limit.as_secs_f64() / 86_400.0;
                let error = format!("held for {days:.1} days, and no message of its user came");
                let op = Op::ExpireHeld { outbox: row.id, before, error: error.clone() };
                let outcomes =
                    services.store.commit(Tx::under(&account.lease, services.clock.wall(), [op])).await?;
                // Otherwise its user has written, or an operator has seen to it.
                let Some(Outcome::Applied(rows)) = outcomes.first() else { continue };
                tracing::error!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, rows, limit_ms = millis(limit), "not sent, kept as a dead letter: {error}");
                let OutboxRow { id: outbox, conversation, .. } = row;
                services.board.events().tell(Sort::Lifecycle, || What::DeadLetter {
                    account: account.id.clone(),
                    conversation,
                    outbox,
                    error,
                });
            }
            Ok::<_, StoreError>(any)
        };
        ctx.spawn(actix::fut::wrap_future(expiring).map(|expired, this: &mut Self, ctx| match expired {
            // What was put down later is tried now.
            Ok(any) if any => this.look(ctx),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(account = %this.account.id, actor = "outbox", "held messages not looked at, again later: {error}");
            }
        }));
    }
}
