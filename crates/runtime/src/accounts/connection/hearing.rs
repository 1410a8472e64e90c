//! Signs of life, and what the connection puts down of them: seldom, so that thousands of idle accounts cost nothing,
//! and often enough that the next process knows since when it may have missed something (F-040).

use actix::prelude::*;
use futures_util::FutureExt;
use moorline_core::{GapId, Monotonic, Timestamp};
use moorline_store::{Gap, LastHeard, NewGap, Op, Outcome, StoreError, Tx};
use tokio::sync::oneshot;

use super::Connection;
use crate::accounts::gap::Doubt;
use crate::board::Suspicion;
use crate::events::{Sort, What};

impl Connection {
    /// The platform showed that it is there; `reconnected` when that made the account ready.
    pub(super) fn note_life(&mut self, reconnected: bool, ctx: &mut Context<Self>) {
        let redelivery = self.account.plan.capabilities().redelivery;
        let due = {
            let (at, here) = (self.services.clock.wall(), self.services.clock.with_sleep());
            let mut watch = self.account.actors.watch.borrow_mut();
            watch.heard((at, here), redelivery, reconnected);
            watch.due(here, redelivery)
        };
        if let Some((gaps, heard)) = due {
            self.put_down(gaps, heard, Vec::new(), ctx);
        }
    }

    /// Something may have been handed out in vain.
    pub(super) fn in_doubt(&mut self, since: Monotonic, why: String) {
        let since = self.services.clock.wall().minus(self.services.clock.now() - since);
        tracing::debug!(account = %self.account.id, actor = "connection", generation = %self.env.generation, "messages may have been lost: {why}");
        self.account.actors.watch.borrow_mut().doubt(Doubt::HandedOut { since, why });
    }

    /// The connection looks well and may be deaf, or does so no more.
    pub(super) fn suspected(&mut self, why: Option<String>) {
        let now = self.services.clock.wall();
        if let Some(why) = &why {
            tracing::warn!(account = %self.account.id, actor = "connection", generation = %self.env.generation, "the connection may be deaf: {why}");
        }
        self.services.board.update(&self.account.id, |status| {
            let since = status.suspicion.as_ref().map_or(now, |suspicion| suspicion.since);
            status.suspicion = why.map(|why| Suspicion { since, why });
        });
    }

    /// A sign of life that rides along with the commit of a delivery.
    pub(super) fn riding(&self) -> Option<Op> {
        let redelivery = self.account.plan.capabilities().redelivery;
        self.account.actors.watch.borrow_mut().ride(self.services.clock.with_sleep(), redelivery)
    }

    /// Tells those who wait for the end of the connection, once the store knows that there was a goodbye.
    pub(super) fn part(&mut self, ctx: &mut Context<Self>) {
        let waiters = std::mem::take(&mut self.draining);
        let parting = self.account.actors.watch.borrow_mut().part();
        match parting {
            Some((gaps, heard)) => self.put_down(gaps, heard, waiters, ctx),
            None => answer(waiters),
        }
    }

    /// One commit; then `waiters` hear of it, whatever came of it.
    fn put_down(
        &self,
        gaps: Vec<NewGap>,
        heard: LastHeard,
        waiters: Vec<oneshot::Sender<()>>,
        ctx: &mut Context<Self>,
    ) {
        let recorded = gaps.iter().map(|gap| Op::RecordGap { gap: gap.clone() });
        let ops = recorded.chain([Op::Heard { at: heard.at, orderly: heard.orderly }]);
        let at = self.services.clock.wall();
        let mut commit = self.services.store.commit(Tx::under(&self.account.lease, at, ops));
        // Handed to the store here and now, so that an older sign of life never comes after a newer one.
        let at_once = (&mut commit).now_or_never();
        let storing = async move {
            match at_once {
                Some(result) => result,
                None => commit.await,
            }
        };
        ctx.spawn(actix::fut::wrap_future(storing).map(move |result, this: &mut Self, _| {
            this.put_down_was(&gaps, at, result);
            answer(waiters);
        }));
    }

    fn put_down_was(&self, gaps: &[NewGap], at: Timestamp, result: Result<Vec<Outcome>, StoreError>) {
        let (account, generation) = (&self.account.id, self.env.generation);
        let error = match result {
            Ok(outcomes) if outcomes.iter().all(|outcome| outcome.is_done()) => {
                self.account.actors.watch.borrow_mut().saved(gaps);
                gaps.iter().zip(outcomes).for_each(|(gap, outcome)| self.recorded(gap, at, outcome));
                return;
            }
            Ok(_) => "another process has taken this account over".to_owned(),
            Err(error) => error.to_string(),
        };
        self.refused_to_note();
        if gaps.is_empty() {
            tracing::debug!(%account, actor = "connection", %generation, "the last sign of life is not put down: {error}");
        } else {
            tracing::error!(%account, actor = "connection", %generation, "a gap is not recorded yet, and is tried again: {error}");
        }
    }

    /// The store did not take a sign of life.
    pub(super) fn refused_to_note(&self) {
        self.account.actors.watch.borrow_mut().refused(self.services.clock.with_sleep());
    }

    /// A gap is on disk: now everybody hears of it.
    fn recorded(&self, gap: &NewGap, recorded_at: Timestamp, outcome: Outcome) {
        let (Outcome::Applied(id) | Outcome::Duplicate(id)) = outcome else { return };
        let (account, generation, id) = (&self.account.id, self.env.generation, GapId::new(id));
        let NewGap { from, to, kind, why } = gap;
        tracing::warn!(%account, actor = "connection", %generation, gap = %id, %from, %to, kind = kind.as_str(), "messages may be missing: {why}");
        let recorded = Gap { id, account: account.clone(), gap: gap.clone(), recorded_at };
        self.services.board.update(account, |status| status.symptoms.last_gap = Some(recorded));
        self.services.board.events().tell(Sort::Lifecycle, || What::Gap {
            account: account.clone(),
            gap: id,
            from: *from,
            to: *to,
            gap_kind: *kind,
            why: why.clone(),
        });
    }
}

/// A waiter that is gone needs no answer.
fn answer(waiters: Vec<oneshot::Sender<()>>) {
    for waiter in waiters {
        waiter.send(()).ok();
    }
}
