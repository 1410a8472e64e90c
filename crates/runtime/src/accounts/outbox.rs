//! The outbox of one account: every message is claimed in the store before it is sent, carries the same key in every
//! attempt, and is settled with what the platform said (G3, G4, F-053…F-059).
//!
//! Sending does not depend on the state of the connection (G10): a channel that is not ready makes its failures
//! transient ones, and ChannelReady ends the wait at once (F-058).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_channel::Outgoing;
use moorline_core::{
    AccountState, ConversationId, Effect, Failure, FailureClass, Generation, Monotonic, OutboxId, Receipt,
    millis,
};
use moorline_store::{Claim, Op, OutboxRow, OutboxState, Outcome, SendResult, StoreError, Tx};
use moorline_supervision::Env;

use super::call::with_token;
use crate::bus::{self, AccountChanged};
use crate::events::{Sort, What};
use crate::services::{Account, STORE_RETRY, Services};

/// Conversations that are sent to at the same time; within one conversation it is one message after the other.
const PARALLEL: usize = 16;

/// A send that takes longer than this gives its place among the [`PARALLEL`] to another conversation, and goes on
/// beside them: chats whose sends hang until their deadline hold up nobody else (F-062).
const PLACE_KEPT: Duration = Duration::from_millis(500);

/// Sends under way at most, those that have given up their place included (G12).
const MOST: usize = 256;

/// Most heads of conversations read at a time (G12). The first to come due come first, so that those that wait are not in
/// the way of the others.
const HEADS: usize = 1_024;

/// There is something to send. A hint: what is to be sent is in the store.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Flush;

/// An operator has changed a row: whatever it waited for is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Due(pub(crate) OutboxId);

/// What a row waits for after an attempt.
#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Monotonic,
    /// The platform said so: ChannelReady does not end it.
    told: bool,
}

/// How long ago a row was first tried.
#[derive(Debug, Clone, Copy)]
struct Age {
    /// When this life first saw it, sleep included.
    seen: Monotonic,
    /// How old it was then.
    then: Duration,
}

/// What an attempt came to.
struct Attempted {
    /// The wait before the next one; `None` when there is none to come.
    wait: Option<(Duration, bool)>,
    /// The pause that the platform's pace asks of the conversation.
    pause: Duration,
    /// The row needs no attempt any more.
    settled: bool,
}

/// Sends one account's messages.
pub(crate) struct Outbox {
    services: Rc<Services>,
    account: Rc<Account>,
    env: Env,
    /// Set once what an earlier life left in `sending` is marked unknown; nothing is sent before.
    settled: bool,
    /// Conversations that are being sent to, and since when.
    busy: BTreeMap<ConversationId, Monotonic>,
    /// Conversations that were sent to so recently that the platform's pace asks for a pause.
    resting: BTreeSet<ConversationId>,
    looking: bool,
    look_again: bool,
    /// Conversations in which a send ended during the present look: what it has read of them may be older than that.
    ended: BTreeSet<ConversationId>,
    /// When rows that were tried may be tried again, on the clock that no step of the wall clock moves (F-089).
    waits: BTreeMap<OutboxId, Wait>,
    /// How old the key of a row is that was tried and is not settled: as the wall clock had it when this life first saw
    /// the row, and since then by the clock that nobody sets (F-089).
    ages: BTreeMap<OutboxId, Age>,
    timer: Option<SpawnHandle>,
}

impl Outbox {
    pub(crate) fn new(services: Rc<Services>, account: Rc<Account>, env: Env) -> Self {
        Self {
            services,
            account,
            env,
            settled: false,
            busy: BTreeMap::new(),
            resting: BTreeSet::new(),
            looking: false,
            look_again: false,
            ended: BTreeSet::new(),
            waits: BTreeMap::new(),
            ages: BTreeMap::new(),
            timer: None,
        }
    }

    /// Marks as unknown what earlier lives of this actor left in `sending`. It is done by the life that follows,
    /// before it sends anything, so that no row is ever claimed twice.
    fn settle_earlier(&mut self, ctx: &mut Context<Self>) {
        let earlier = Generation::new(self.env.generation.get().saturating_sub(1));
        let op = Op::InterruptSends { generation: earlier };
        let commit =
            self.services.store.commit(Tx::under(&self.account.lease, self.services.clock.wall(), [op]));
        ctx.spawn(actix::fut::wrap_future(commit).map(|result, this: &mut Self, ctx| match result {
            Ok(outcomes) => {
                if let Some(Outcome::Applied(n @ 1..)) = outcomes.first() {
                    tracing::warn!(account = %this.account.id, actor = "outbox", rows = n, "sends of an earlier life have an unknown outcome and are repeated with their keys");
                }
                this.settled = true;
                this.look(ctx);
            }
            Err(error) => {
                tracing::warn!(account = %this.account.id, actor = "outbox", "the store refused, trying again: {error}");
                ctx.run_later(STORE_RETRY, Self::settle_earlier);
            }
        }));
    }

    /// Looks at the head of every conversation and sends those whose time has come.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if !self.settled {
            return;
        }
        if self.looking {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.ended.clear();
        // Enough to find a full house of conversations that may be sent to.
        let passed_over = self.busy.len() + self.resting.len() + self.waits.len();
        let limit = u32::try_from((PARALLEL * 2 + passed_over).min(HEADS)).unwrap_or(u32::MAX);
        let heads = self.services.store.outbox_heads(&self.account.id, limit);
        ctx.spawn(actix::fut::wrap_future(heads).map(|heads, this: &mut Self, ctx| {
            this.looking = false;
            match heads {
                Ok(heads) => this.dispatch(heads, ctx),
                Err(error) => {
                    tracing::warn!(account = %this.account.id, actor = "outbox", "outbox not read, trying again: {error}");
                    this.look_later(STORE_RETRY, ctx);
                }
            }
            if std::mem::take(&mut this.look_again) {
                this.look(ctx);
            }
        }));
    }

    fn dispatch(&mut self, heads: Vec<OutboxRow>, ctx: &mut Context<Self>) {
        let now = self.services.clock.now();
        // A row that somebody else settled comes to its head no more, and needs no wait.
        let ids: BTreeSet<OutboxId> = heads.iter().map(|row| row.id).collect();
        self.waits.retain(|id, wait| wait.until > now || ids.contains(id));
        let mut next_due: Option<Monotonic> = None;
        let mut sooner = |due: Monotonic| next_due = Some(next_due.map_or(due, |next| next.min(due)));
        for row in heads {
            let occupied =
                self.busy.contains_key(&row.conversation) || self.resting.contains(&row.conversation);
            // Whatever ended meanwhile has asked for another look.
            let outdated = self.ended.contains(&row.conversation);
            if occupied || outdated || row.state == OutboxState::Sending {
                continue;
            }
            let due = self.due(&row, now);
            if due > now {
                sooner(due);
            } else if let Some(free) = self.place_free_at(now) {
                // Whoever finishes before looks again.
                sooner(free);
                break;
            } else {
                self.waits.remove(&row.id);
                self.send(row, ctx);
            }
        }
        if let Some(due) = next_due {
            self.look_later((due - now).max(Duration::from_millis(1)), ctx);
        }
    }

    /// When there will be a place for another send, should nobody finish before; `None` when there is one now.
    fn place_free_at(&self, now: Monotonic) -> Option<Monotonic> {
        if self.busy.len() >= MOST {
            return Some(now + PLACE_KEPT);
        }
        let taken = || self.busy.values().map(|began| *began + PLACE_KEPT).filter(|until| *until > now);
        if taken().count() < PARALLEL { None } else { taken().min() }
    }

    /// When a row may be tried. One that no life has tried is due; one that an earlier process tried waits for what is
    /// left of its wait by the wall clock, but never longer than a wait of our own would be.
    fn due(&mut self, row: &OutboxRow, now: Monotonic) -> Monotonic {
        if row.attempts == 0 {
            return now;
        }
        self.age(row);
        let longest = self.account.retry().transient.max;
        let left = row.not_before.since(self.services.clock.wall()).min(longest);
        self.waits.entry(row.id).or_insert(Wait { until: now + left, told: false }).until
    }

    fn look_later(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(wait, |this, ctx| {
            this.timer = None;
            this.look(ctx);
        }));
    }

    fn send(&mut self, row: OutboxRow, ctx: &mut Context<Self>) {
        self.busy.insert(row.conversation.clone(), self.services.clock.now());
        let claim = Claim { epoch: self.account.lease.epoch, generation: self.env.generation };
        let guard = self.env.in_flight.enter();
        let (id, conversation) = (row.id, row.conversation.clone());
        let possibly_repeated = self.key_is_forgotten(&row);
        let sending =
            deliver(Rc::clone(&self.services), Rc::clone(&self.account), row, claim, possibly_repeated);
        let sending = actix::fut::wrap_future(async move {
            let attempted = sending.await;
            drop(guard);
            attempted
        });
        ctx.spawn(sending.map(move |attempted: Attempted, this: &mut Self, ctx| {
            this.busy.remove(&conversation);
            if this.looking {
                this.ended.insert(conversation.clone());
            }
            if let Some((wait, told)) = attempted.wait {
                let until = this.services.clock.now() + wait;
                this.waits.insert(id, Wait { until, told });
            }
            if attempted.settled {
                this.ages.remove(&id);
            }
            let pause = attempted.pause;
            if !pause.is_zero() {
                this.resting.insert(conversation.clone());
                ctx.run_later(pause, move |this, ctx| {
                    this.resting.remove(&conversation);
                    this.look(ctx);
                });
            }
            this.look(ctx);
        }));
    }

    /// How long ago a row was first tried; zero when it is tried now.
    fn age(&mut self, row: &OutboxRow) -> Duration {
        let (now, wall) = (self.services.clock.with_sleep(), self.services.clock.wall());
        let then = row.first_attempt_at.map_or(Duration::ZERO, |first| wall.since(first));
        let age = self.ages.entry(row.id).or_insert(Age { seen: now, then });
        age.then + (now - age.seen)
    }

    /// Whether an earlier attempt may have succeeded and the platform no longer recognises the row's key. Then the
    /// message is repeated all the same, and marked: a user who may read it twice is better off than one who may never
    /// (design §6).
    fn key_is_forgotten(&mut self, row: &OutboxRow) -> bool {
        let age = self.age(row);
        let window = self.account.plan.capabilities().idempotency.unwrap_or_default();
        let forgotten = row.state == OutboxState::Unknown && age >= window;
        if forgotten {
            tracing::warn!(account = %self.account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, "sent again although it may be out already: the platform has forgotten its key");
        }
        forgotten
    }
}

/// Claims, sends and settles one row.
async fn deliver(
    services: Rc<Services>,
    account: Rc<Account>,
    row: OutboxRow,
    claim: Claim,
    possibly_repeated: bool,
) -> Attempted {
    let over = |wait: Option<_>| Attempted { wait, pause: Duration::ZERO, settled: wait.is_none() };
    let not_claimed = |settled| Attempted { wait: None, pause: STORE_RETRY, settled };
    let under = |op| Tx::under(&account.lease, services.clock.wall(), [op]);
    let claiming = Op::ClaimSend { outbox: row.id, claim, possibly_repeated };
    match services.store.commit(under(claiming)).await {
        Ok(outcomes) if outcomes.iter().all(|outcome| outcome.is_done()) => {}
        // Somebody settled or claimed it meanwhile, or the account is another process's now.
        Ok(_) => return not_claimed(true),
        Err(error) => {
            tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, "not claimed, trying again: {error}");
            return not_claimed(false);
        }
    }
    let began = services.clock.now();
    let (sender, http) = (account.plan.sender(), services.network_of(&account.id).http);
    let answer = with_token(Rc::clone(&account), |token| {
        let outgoing = Outgoing { outbound: &row.outbound, key: &row.key, reply_token: None };
        sender.send(Rc::clone(&http), token, outgoing)
    })
    .await;
    let failure = answer.as_ref().err().map(|failure| failure.class);
    services.board.measures().attempted(&account.id, failure, services.clock.now() - began);
    services.board.update(&account.id, |status| {
        status.called("send", answer.as_ref().err(), services.clock.wall());
    });
    let told = matches!(&answer, Err(failure) if failure.retry_after.is_some());
    let result = judge(&services, &account, &row, answer);
    let wait = match &result {
        SendResult::Retry { wait, .. } | SendResult::Unknown { wait, .. } => Some((*wait, told)),
        SendResult::Sent { .. } | SendResult::Dead { .. } => None,
    };
    let sent = matches!(result, SendResult::Sent { .. });
    // The platform may have the message: what became of it must reach the store, however long that takes.
    while let Err(error) =
        services.store.commit(under(Op::SettleSend { outbox: row.id, claim, result: result.clone() })).await
    {
        if matches!(error, StoreError::Failed(_)) {
            return over(wait);
        }
        tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, "outcome not stored, trying again: {error}");
        tokio::time::sleep(STORE_RETRY).await;
    }
    tell(&services, &account, &row, result);
    if !sent {
        return over(wait);
    }
    services.board.update(&account.id, |status| status.evidence.last_sent_at = Some(services.clock.wall()));
    let pace = Duration::from_secs(1) / account.plan.capabilities().chat_rate.max(1);
    let pause = pace.saturating_sub(services.clock.now() - began);
    Attempted { wait: None, pause, settled: true }
}

/// Tells what became of an attempt, once it is stored.
fn tell(services: &Services, account: &Account, row: &OutboxRow, result: SendResult) {
    let sort = if matches!(result, SendResult::Dead { .. }) { Sort::Lifecycle } else { Sort::Message };
    services.board.events().tell(sort, || {
        let (account, conversation, outbox) = (account.id.clone(), row.conversation.clone(), row.id);
        let attempt = row.attempts + 1;
        let outcome_unknown = matches!(result, SendResult::Unknown { .. });
        match result {
            SendResult::Sent { message_id } => {
                What::MessageSent { account, conversation, outbox, message_id, attempts: attempt }
            }
            SendResult::Dead { error } => What::DeadLetter { account, conversation, outbox, error },
            SendResult::Retry { wait, error } | SendResult::Unknown { wait, error } => {
                let next_attempt_at = services.clock.wall() + wait;
                What::SendFailed {
                    account,
                    conversation,
                    outbox,
                    error,
                    outcome_unknown,
                    attempt,
                    next_attempt_at,
                }
            }
        }
    });
}

/// What an answer of the platform means for the row.
fn judge(
    services: &Services,
    account: &Account,
    row: &OutboxRow,
    answer: Result<Receipt, Failure>,
) -> SendResult {
    let failure = match answer {
        Ok(receipt) => {
            tracing::info!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, message_id = %receipt.message_id, attempts = row.attempts + 1, "sent");
            return SendResult::Sent { message_id: receipt.message_id };
        }
        Err(failure) => failure,
    };
    if failure.class == FailureClass::Rejected {
        tracing::error!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, code = failure.code, "never to be sent, kept as a dead letter: {failure}");
        return SendResult::Dead { error: failure.to_string() };
    }
    let wait = account.retry().delay(&failure, row.attempts + 1, services.random.unit());
    let error = failure.to_string();
    tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, class = %failure.class, attempt = row.attempts + 1, next_in_ms = millis(wait), "not sent: {error}");
    match failure.effect {
        // This attempt had no effect, but an earlier one may have had.
        Effect::None if row.state == OutboxState::Unknown => SendResult::Unknown { wait, error },
        Effect::None => SendResult::Retry { wait, error },
        Effect::Unknown => SendResult::Unknown { wait, error },
    }
}

impl Actor for Outbox {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.settle_earlier(ctx);
        bus::follow(&self.services.bus, Some(self.account.id.clone()), ctx);
    }
}

impl Handler<Flush> for Outbox {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) {
        self.look(ctx);
    }
}

impl Handler<Due> for Outbox {
    type Result = ();

    fn handle(&mut self, Due(row): Due, ctx: &mut Context<Self>) {
        self.waits.remove(&row);
        self.look(ctx);
    }
}

impl Handler<AccountChanged> for Outbox {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        if event.state == AccountState::Ready {
            // Whatever waits because the platform could not be reached need not wait any longer (F-058).
            let now = self.services.clock.now();
            self.waits.values_mut().filter(|wait| !wait.told).for_each(|wait| wait.until = now);
            self.look(ctx);
        }
    }
}
