//! The outbox of one account: every message is claimed in the store before it is sent, carries the same key in every
//! attempt, and is settled with what the platform said (G3, G4, F-053…F-059).
//!
//! Sending does not depend on the state of the connection (G10): a channel that is not ready makes its failures
//! transient ones, and ChannelReady ends the wait at once (F-058).
//!
//! What waits is in three places: a row of its own accord in [`Outbox::waits`], all rows of the account behind the
//! [`Gate`], and what waits for its user in the store alone, as held (F-060).

mod attempt;
mod gate;
mod held;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{AccountState, ConversationId, Generation, Monotonic, OutboxId};
use moorline_store::{Claim, Op, OutboxRow, OutboxState, Outcome, Tx};
use moorline_supervision::Env;

use self::attempt::{Attempt, Attempted, Wait};
use self::gate::{Gate, Pass};
use self::held::Began;
use crate::bus::{self, AccountChanged};
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

/// An operator wants to know whether the account can send: what waits because it could not is tried now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct TryNow;

/// When a row may be tried again, and why not before.
#[derive(Debug, Clone, Copy)]
struct Until {
    at: Monotonic,
    wait: Wait,
}

/// What this life knows of a row that was tried and is to be tried again.
#[derive(Debug, Clone, Copy)]
struct Tried {
    /// When this life first saw it, sleep included.
    seen: Monotonic,
    /// How long it was then since the first attempt.
    age: Duration,
    /// How many of the last attempts were throttled.
    throttled: u32,
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
    waits: BTreeMap<OutboxId, Until>,
    /// How old the key of a row is that was tried and is not settled: as the wall clock had it when this life first saw
    /// the row, and since then by the clock that nobody sets (F-089).
    tried: BTreeMap<OutboxId, Tried>,
    /// Shut while the account as a whole cannot send.
    gate: Rc<RefCell<Gate>>,
    began: Began,
    timer: Option<SpawnHandle>,
}

impl Outbox {
    pub(crate) fn new(services: Rc<Services>, account: Rc<Account>, env: Env) -> Self {
        let gate = Gate::new(account.plan.credentials().is_none());
        let began = Began::now(&*services.clock);
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
            tried: BTreeMap::new(),
            gate: Rc::new(RefCell::new(gate)),
            began,
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
        self.waits.retain(|id, until| until.at > now || ids.contains(id));
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
            } else if let Err(free) = self.admits(now) {
                // Whoever finishes before looks again.
                free.into_iter().for_each(&mut sooner);
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

    /// Whether there may be another send; otherwise when there may be one, should nobody finish before.
    fn admits(&self, now: Monotonic) -> Result<(), Option<Monotonic>> {
        match self.gate.borrow().pass(now) {
            Pass::All => self.place_free_at(now, PARALLEL).map_or(Ok(()), |free| Err(Some(free))),
            Pass::InTurn => self.place_free_at(now, 1).map_or(Ok(()), |free| Err(Some(free))),
            Pass::One => Ok(()),
            Pass::NotBefore(until) => Err(Some(until)),
            Pass::Wait => Err(None),
        }
    }

    /// When there will be a place for another send, should nobody finish before; `None` when there is one now.
    fn place_free_at(&self, now: Monotonic, places: usize) -> Option<Monotonic> {
        if self.busy.len() >= MOST {
            return Some(now + PLACE_KEPT);
        }
        let taken = || self.busy.values().map(|began| *began + PLACE_KEPT).filter(|until| *until > now);
        if taken().count() < places { None } else { taken().min() }
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
        self.waits.entry(row.id).or_insert(Until { at: now + left, wait: Wait::Own }).at
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
        self.gate.borrow_mut().begin(row.id);
        let guard = self.env.in_flight.enter();
        let (id, conversation) = (row.id, row.conversation.clone());
        let attempt = Attempt {
            services: Rc::clone(&self.services),
            account: Rc::clone(&self.account),
            gate: Rc::clone(&self.gate),
            claim: Claim { epoch: self.account.lease.epoch, generation: self.env.generation },
            possibly_repeated: self.key_is_forgotten(&row),
            throttled: self.tried.get(&id).map_or(0, |tried| tried.throttled),
            row,
        };
        let sending = actix::fut::wrap_future(async move {
            let attempted = attempt.make().await;
            drop(guard);
            attempted
        });
        ctx.spawn(
            sending.map(move |attempted, this: &mut Self, ctx| this.sent(id, conversation, attempted, ctx)),
        );
    }

    fn sent(
        &mut self,
        id: OutboxId,
        conversation: ConversationId,
        attempted: Attempted,
        ctx: &mut Context<Self>,
    ) {
        self.gate.borrow_mut().end(id);
        self.busy.remove(&conversation);
        if self.looking {
            self.ended.insert(conversation.clone());
        }
        if let Some((wait, why)) = attempted.wait {
            let at = self.services.clock.now() + wait;
            self.waits.insert(id, Until { at, wait: why });
        }
        if attempted.settled {
            self.tried.remove(&id);
        } else if let Some(tried) = self.tried.get_mut(&id) {
            tried.throttled = if attempted.throttled { tried.throttled + 1 } else { 0 };
        }
        if attempted.opened {
            self.end_waits(|wait| wait == Wait::Account);
        }
        let pause = attempted.pause;
        if !pause.is_zero() {
            self.resting.insert(conversation.clone());
            ctx.run_later(pause, move |this, ctx| {
                this.resting.remove(&conversation);
                this.look(ctx);
            });
        }
        self.look(ctx);
    }

    /// What waits for such a reason need not wait any longer.
    fn end_waits(&mut self, of: impl Fn(Wait) -> bool) {
        let now = self.services.clock.now();
        self.waits.values_mut().filter(|until| of(until.wait)).for_each(|until| until.at = now);
    }

    /// How long ago a row was first tried; zero when it is tried now.
    fn age(&mut self, row: &OutboxRow) -> Duration {
        let (now, wall) = (self.services.clock.with_sleep(), self.services.clock.wall());
        let age = row.first_attempt_at.map_or(Duration::ZERO, |first| wall.since(first));
        let tried = self.tried.entry(row.id).or_insert(Tried { seen: now, age, throttled: 0 });
        tried.age + (now - tried.seen)
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

impl Actor for Outbox {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.settle_earlier(ctx);
        self.expire_held_now_and_then(ctx);
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
        self.gate.borrow_mut().hurry(self.services.clock.now());
        self.look(ctx);
    }
}

impl Handler<TryNow> for Outbox {
    type Result = ();

    fn handle(&mut self, _: TryNow, ctx: &mut Context<Self>) {
        self.gate.borrow_mut().hurry(self.services.clock.now());
        self.end_waits(|wait| wait == Wait::Account);
        self.look(ctx);
    }
}

impl Handler<AccountChanged> for Outbox {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        if event.state == AccountState::Ready {
            // Whatever waits because the platform could not be reached need not wait any longer (F-058).
            self.gate.borrow_mut().trust(self.services.clock.now());
            self.end_waits(|wait| wait != Wait::Told);
            self.look(ctx);
        }
    }
}
