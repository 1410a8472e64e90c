//! The IdentityProbe: finds out who we are on a platform, and never gives up (G8, report openclaw#77717).
//!
//! It is a sibling of the connection, not a part of it: a restart of the connection, a reload of other settings or
//! an abort cannot end it. Whatever it finds out is remembered under a fingerprint of the credentials, so that an
//! answer given for other credentials can never be taken for this account's (F-015).

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{
    AccountState, DropReason, Failure, Identity, IdentityState, Monotonic, Timestamp, millis,
};
use moorline_store::{InboxRow, Op, StoreError, StoredIdentity, Tx, Verdict};
use moorline_supervision::Env;

use super::call::with_token;
use crate::access::{self, Facts};
use crate::bus::{self, AccountChanged};
use crate::conversations::Wake;
use crate::events::{Sort, What};
use crate::services::{Account, Services};
use crate::verdicts;

/// Held messages judged per commit.
const JUDGE_BATCH: u32 = 128;

/// Before a store that did not take an identity is asked again.
const REMEMBER_RETRY: Duration = Duration::from_secs(30);

/// Probe again now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ProbeNow;

/// A message was held: judge it if the identity is known by now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct JudgeHeld;

/// Probes until the platform has answered, then rests until it is asked to probe again.
pub(crate) struct IdentityProbe {
    services: Rc<Services>,
    account: Rc<Account>,
    env: Env,
    probing: bool,
    failures: u32,
    /// The platform said how long to wait: nothing cuts that short.
    told_to_wait: bool,
    timer: Option<SpawnHandle>,
    judging: bool,
    judge_again: bool,
    began: Began,
}

/// When this life began. What passes of it is told by the clock that no step of the wall clock moves (F-089).
#[derive(Debug, Clone, Copy)]
struct Began {
    at: Monotonic,
    wall: Timestamp,
}

impl IdentityProbe {
    pub(crate) fn new(services: Rc<Services>, account: Rc<Account>, env: Env) -> Self {
        let began = Began { at: services.clock.with_sleep(), wall: services.clock.wall() };
        Self {
            services,
            account,
            env,
            probing: false,
            failures: 0,
            told_to_wait: false,
            timer: None,
            judging: false,
            judge_again: false,
            began,
        }
    }

    fn recall(&mut self, ctx: &mut Context<Self>) {
        let remembered = self.services.store.identity(&self.account.id, &self.account.plan.fingerprint());
        let recalling = actix::fut::wrap_future(remembered);
        ctx.spawn(recalling.map(|remembered: Result<Option<StoredIdentity>, StoreError>, this: &mut Self, ctx| {
            match remembered {
                Ok(Some(stored)) => this.known(&stored.identity, IdentityState::Cached, ctx),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(account = %this.account.id, actor = "identity", "remembered identity not read: {error}");
                }
            }
        }));
    }

    fn probe(&mut self, ctx: &mut Context<Self>) {
        if self.probing {
            return;
        }
        self.probing = true;
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.services.board.update(&self.account.id, |status| status.identity.next_attempt_at = None);
        let guard = self.env.in_flight.enter();
        let probe = self.account.plan.identity();
        let http = self.services.network_of(&self.account.id).http;
        let asking = with_token(Rc::clone(&self.account), move |token| probe.probe(Rc::clone(&http), token));
        let asking = actix::fut::wrap_future(async move {
            let answer = asking.await;
            drop(guard);
            answer
        });
        ctx.spawn(asking.map(|answer, this: &mut Self, ctx| this.answered(answer, ctx)));
    }

    fn answered(&mut self, answer: Result<Identity, Failure>, ctx: &mut Context<Self>) {
        self.probing = false;
        self.services.board.update(&self.account.id, |status| {
            status.called("look up who the bot is", answer.as_ref().err(), self.services.clock.wall());
        });
        match answer {
            Ok(identity) => {
                self.failures = 0;
                tracing::info!(account = %self.account.id, actor = "identity", generation = %self.env.generation, id = %identity.id, name = %identity.name, "identity verified");
                self.known(&identity, IdentityState::Verified, ctx);
                self.remember(identity, ctx);
            }
            Err(failure) => self.failed(&failure, ctx),
        }
    }

    fn failed(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        self.failures = self.failures.saturating_add(1);
        self.told_to_wait = failure.retry_after.is_some();
        let wait = self.account.retry().delay(failure, self.failures, self.services.random.unit());
        let next_at = self.services.clock.wall() + wait;
        tracing::warn!(account = %self.account.id, actor = "identity", class = %failure.class, attempt = self.failures, next_in_ms = millis(wait), "identity not verified: {failure}");
        self.services.board.update(&self.account.id, |status| {
            status.identity.attempt = self.failures;
            status.identity.next_attempt_at = Some(next_at);
            status.identity.last_error = Some(failure.to_string());
        });
        self.probe_after(wait, ctx);
    }

    fn probe_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if wait.is_zero() {
            return self.probe(ctx);
        }
        self.timer = Some(ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            this.probe(ctx);
        }));
    }

    fn known(&mut self, identity: &Identity, state: IdentityState, ctx: &mut Context<Self>) {
        let now = self.services.clock.wall();
        self.services.board.update(&self.account.id, |status| {
            // A remembered identity never replaces one the platform has confirmed in this run.
            if state == IdentityState::Verified || status.identity.state == IdentityState::Unknown {
                status.identity.known(identity, state, now);
            }
        });
        self.judge_held(ctx);
    }

    fn remember(&self, identity: Identity, ctx: &mut Context<Self>) {
        let fingerprint = self.account.plan.fingerprint();
        let op = Op::SaveIdentity { fingerprint, identity: identity.clone() };
        let commit =
            self.services.store.commit(Tx::under(&self.account.lease, self.services.clock.wall(), [op]));
        ctx.spawn(actix::fut::wrap_future(commit).map(|result, this: &mut Self, ctx| {
            if let Err(error) = result {
                tracing::warn!(account = %this.account.id, actor = "identity", "identity not remembered, trying again: {error}");
                ctx.run_later(REMEMBER_RETRY, |this, ctx| this.remember(identity, ctx));
            }
        }));
    }

    /// Judges what waits for the identity, in order of receipt, one batch after the other.
    fn judge_held(&mut self, ctx: &mut Context<Self>) {
        if self.judging {
            self.judge_again = true;
            return;
        }
        self.judging = true;
        let judging = judge_batch(Rc::clone(&self.services), Rc::clone(&self.account), self.began);
        ctx.spawn(actix::fut::wrap_future(judging).map(|result, this: &mut Self, ctx| {
            this.judging = false;
            match result {
                Ok(more) => {
                    if more || std::mem::take(&mut this.judge_again) {
                        this.judge_held(ctx);
                    }
                }
                Err(error) => {
                    tracing::warn!(account = %this.account.id, actor = "identity", "held messages not judged, trying again in 5 s: {error}");
                    ctx.run_later(Duration::from_secs(5), |this, ctx| this.judge_held(ctx));
                }
            }
        }));
    }
}

impl Began {
    /// How long a message has waited: by the wall clock, but no longer than this life and what there was before it.
    fn waited(self, services: &Services, since: Timestamp) -> Duration {
        let lived = services.clock.with_sleep() - self.at;
        services.clock.wall().since(since).min(self.wall.since(since) + lived)
    }
}

/// One commit of verdicts; `true` when there may be more to judge.
async fn judge_batch(services: Rc<Services>, account: Rc<Account>, began: Began) -> Result<bool, StoreError> {
    let us = services.board.own_id(&account.id);
    let treatment = account.treatment();
    let now = services.clock.wall();
    let rows = services.store.held(&account.id, JUDGE_BATCH).await?;
    let full = rows.len() == JUDGE_BATCH as usize;
    let limit = services.settings().limits.hold_limit;
    let verdict = |row: &InboxRow, facts: Option<&Facts>| match facts {
        _ if us.is_none() && began.waited(&services, row.received_at) >= limit => {
            Verdict::Drop(DropReason::IdentityUnknown)
        }
        Some(facts) => access::judge(&treatment.access, us.as_ref(), facts),
        None => Verdict::Drop(DropReason::Unreadable),
    };
    let judged: Vec<(InboxRow, Option<Facts>, Verdict)> = rows
        .into_iter()
        .map(|row| {
            let facts = serde_json::from_str(&row.context).ok();
            let verdict = verdict(&row, facts.as_ref());
            (row, facts, verdict)
        })
        .filter(|(.., verdict)| !matches!(verdict, Verdict::Hold(_)))
        .collect();
    if judged.is_empty() {
        return Ok(false);
    }
    let ops = judged.iter().map(|(row, _, verdict)| Op::Judge { inbox: row.id, verdict: *verdict });
    let outcomes = services.store.commit(Tx::under(&account.lease, now, ops)).await?;
    if !outcomes.iter().all(|outcome| outcome.is_done()) {
        // Somebody judged one of them meanwhile, so none of these verdicts was taken: what is held now is judged anew.
        return Ok(true);
    }
    for (row, facts, verdict) in judged {
        if let Some(facts) = facts {
            verdicts::tell(&services.board, &row.account, &facts, row.message_id.as_ref(), verdict);
        }
        services.board.events().tell(Sort::Message, || {
            let (verdict, reason) = verdicts::words(verdict);
            What::MessageJudged {
                account: row.account.clone(),
                conversation: row.conversation.clone(),
                inbox: row.id,
                message_id: row.message_id.clone(),
                verdict,
                reason,
            }
        });
        // If it was dropped, what waited behind it may go on.
        services.conversations.tell(Wake { account: row.account, conversation: row.conversation });
    }
    Ok(full)
}

impl Actor for IdentityProbe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        bus::follow(&self.services.bus, Some(self.account.id.clone()), ctx);
        self.recall(ctx);
        let wait = self.services.hosts.admit_probe(self.account.plan.host(), self.services.clock.now());
        self.probe_after(wait, ctx);
        // Looks for held messages whose time is over; a tenth of the limit late at most.
        let round = (self.services.settings().limits.hold_limit / 10)
            .clamp(Duration::from_secs(1), Duration::from_secs(600));
        ctx.run_interval(round, |this, ctx| {
            if this.services.board.own_id(&this.account.id).is_none() {
                this.judge_held(ctx);
            }
        });
    }
}

impl Handler<ProbeNow> for IdentityProbe {
    type Result = ();

    fn handle(&mut self, _: ProbeNow, ctx: &mut Context<Self>) {
        self.probe(ctx);
    }
}

impl Handler<JudgeHeld> for IdentityProbe {
    type Result = ();

    fn handle(&mut self, _: JudgeHeld, ctx: &mut Context<Self>) {
        if self.services.board.own_id(&self.account.id).is_some() {
            self.judge_held(ctx);
        }
    }
}

/// The host answers: a probe that rests after a failure is made now.
impl Handler<AccountChanged> for IdentityProbe {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        let resting = self.failures > 0 && self.timer.is_some() && !self.told_to_wait;
        if event.state == AccountState::Ready && resting {
            self.probe(ctx);
        }
    }
}
