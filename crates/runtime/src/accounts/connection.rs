//! The connection of one account: carries [`Lifecycle`] out. It tries for ever, one connection at a time, and what
//! it says about itself on the board comes from received frames only (G5, G14).

mod hearing;

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use moorline_channel::{Command, Delivery, Ended, Output, Start, drive};
use moorline_core::{
    AccountState, Chat, ChatId, ChatKind, ConversationId, Failure, FailureClass, HoldReason, InboxId,
    MessageId, Monotonic, Route, millis,
};
use moorline_store::{NewMessage, Op, Outcome, StoreError, Tx, Verdict};
use moorline_supervision::Env;
use tokio::sync::{mpsc, oneshot};

use super::gap::Doubt;
use super::identity::JudgeHeld;
use super::lifecycle::{Lifecycle, Recovered, Setback};
use super::login::admit;
use super::outbox::Flush;
use crate::access::{self, Facts};
use crate::conversations::Wake;
use crate::events::{Sort, What};
use crate::services::{Account, Services};
use crate::verdicts;

/// How long a delivery may wait for the store before it is refused in the protocol's own way (design §3 rule 8).
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Deliveries that the store may be busy with at the same time, refused ones included: it takes them all the same, and
/// each may come again meanwhile. More are not handed to it (G12).
const STORING: usize = 1_024;

/// How often the log is told again that an operator has to act.
const BLOCKED_EVERY: Duration = Duration::from_secs(3_600);

/// How long the store may take to say where the platform is to go on. After that the attempt has failed, and shows it
/// (F-001).
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// What a driver may have told us that we have not handled yet.
const OUTPUTS: usize = 256;

/// What we may have told a driver that it has not handled yet.
const COMMANDS: usize = 64;

/// Show a sign of life, or, while waiting to try again, try now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Probe;

/// The machine slept or the process stood still: the connection shows a sign of life at once, or is given up; a wait
/// for the next attempt, which the sleep has made longer, is over unless the platform asked for it (F-020).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Awoken;

/// End the connection in an orderly way and stay down; answered when it is closed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Keeps one account connected.
pub(crate) struct Connection {
    services: Rc<Services>,
    account: Rc<Account>,
    env: Env,
    life: Lifecycle,
    attempt: Option<Attempt>,
    retry: Option<SpawnHandle>,
    /// Counts attempts, so that what a finished one still has to say is not taken for news of the next.
    attempts: u64,
    draining: Vec<oneshot::Sender<()>>,
    drained: bool,
    /// The last wait was cut short by a neighbour's success; the next one is waited out.
    cut_short: bool,
    /// The platform asked for the present wait.
    told_to_wait: bool,
    /// Deliveries that the store has not answered for.
    storing: usize,
    /// When the log was last told that an operator has to act.
    blocked_told: Option<Monotonic>,
}

/// The connection there is, from its first call to its end.
struct Attempt {
    number: u64,
    commands: mpsc::Sender<Command>,
    open: bool,
}

/// Something a driver said, with the attempt it belongs to.
struct Said {
    attempt: u64,
    output: Output,
}

/// A commit that stored deliveries, or did not.
struct Stored {
    result: Result<Vec<Outcome>, StoreError>,
    judged: Vec<Judged>,
}

/// A delivery with the verdict on it.
struct Judged {
    conversation: ConversationId,
    message: Option<MessageId>,
    /// What the verdict is from; `None` for what could not be parsed.
    facts: Option<Facts>,
    verdict: Verdict,
}

impl Connection {
    pub(crate) fn new(services: Rc<Services>, account: Rc<Account>, env: Env) -> Self {
        // The account is down since the life before ended, not since this one began.
        let (now, wall) = (services.clock.now(), services.clock.wall());
        let before =
            services.board.account(&account.id).map(|status| (status.state, wall.since(status.since)));
        let life = match before {
            Some((state @ (AccountState::Reconnecting | AccountState::Parked), down)) => {
                let down_since = Monotonic::from_origin(now.since_origin().saturating_sub(down));
                Lifecycle::new(state, down_since)
            }
            _ => Lifecycle::new(AccountState::Connecting, now),
        };
        Self {
            services,
            account,
            env,
            life,
            attempt: None,
            retry: None,
            attempts: 0,
            draining: Vec::new(),
            drained: false,
            cut_short: false,
            told_to_wait: false,
            storing: 0,
            blocked_told: None,
        }
    }

    /// Begins an attempt as soon as the host's pace allows.
    fn connect(&mut self, ctx: &mut Context<Self>) {
        if self.attempt.is_some() || self.is_drained() {
            return;
        }
        self.cancel_retry(ctx);
        let wait = self.services.hosts.admit_connect(self.account.plan.host(), self.services.clock.now());
        if wait.is_zero() {
            self.open(ctx);
        } else {
            self.retry = Some(ctx.run_later(wait, |this, ctx| {
                this.retry = None;
                this.open(ctx);
            }));
        }
    }

    /// Nothing connects once the account is told to drain, or the whole process is ending.
    fn is_drained(&self) -> bool {
        self.drained || self.services.draining.get()
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        // Asked again: a timer that was cancelled may fire once more.
        if self.attempt.is_some() || self.is_drained() {
            return;
        }
        self.attempts += 1;
        let number = self.attempts;
        self.life.started();
        self.services.board.update(&self.account.id, |status| status.next_attempt_at = None);
        let (commands, mut command_rx) = mpsc::channel(COMMANDS);
        let (output_tx, outputs) = mpsc::channel(OUTPUTS);
        self.attempt = Some(Attempt { number, commands, open: false });
        let heard = futures_util::stream::unfold(outputs, move |mut outputs| async move {
            let output: Box<Output> = outputs.recv().await?;
            Some((Said { attempt: number, output: *output }, outputs))
        });
        ctx.add_stream(Box::pin(heard));
        let guard = self.env.in_flight.enter();
        let (services, account) = (Rc::clone(&self.services), Rc::clone(&self.account));
        let seed = services.random.number();
        let driving = actix::fut::wrap_future(async move {
            let prepared = tokio::select! {
                biased;
                prepared = prepare(&services, &account, number == 1) => prepared,
                () = told_to_stop(&mut command_rx) => return Ended::Stopped,
            };
            let ended = match prepared {
                Ok(cursor) => {
                    let machine = account.plan.connector(Start { cursor, seed });
                    let network = services.network_of(&account.id);
                    let said = output_tx.clone();
                    let ended = drive(machine, network, services.clock.clone(), command_rx, output_tx).await;
                    // Its last words are heard before its end is: one of them may be of a gap.
                    drop(said.reserve_many(OUTPUTS).await);
                    ended
                }
                Err(failure) => Ended::Failed(failure),
            };
            drop(guard);
            ended
        });
        ctx.spawn(driving.map(|ended, this: &mut Self, ctx| this.ended(ended, ctx)));
    }

    fn ended(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        self.attempt = None;
        match ended {
            Ended::Failed(failure) if !self.is_drained() => {
                let failure = self.in_series(failure);
                self.failed(&failure, ctx);
            }
            Ended::Stopped if !self.is_drained() => {
                self.failed(&Failure::transient("the connection was ended"), ctx)
            }
            Ended::Failed(_) | Ended::Stopped => self.gone(ctx),
        }
    }

    /// Where sessions come from logins, one that cannot be rebuilt blocks the account.
    fn in_series(&mut self, failure: Failure) -> Failure {
        match self.account.plan.login(&[], 0) {
            Some(_) => self.life.in_series(failure, self.services.clock.now()),
            None => failure,
        }
    }

    fn gone(&mut self, ctx: &mut Context<Self>) {
        self.services.board.update(&self.account.id, |status| {
            status.enter(AccountState::Stopped, self.services.clock.wall());
            (status.cause, status.next_attempt_at, status.attempt) = (None, None, 0);
            status.suspicion = None;
        });
        self.services.publish(&self.account.id, self.env.generation, AccountState::Stopped);
        self.part(ctx);
    }

    fn failed(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        self.services.board.measures().failed(&self.account.id, failure.class);
        let was = self.life.state();
        let setback = self.life.failed(
            failure,
            &self.account.retry(),
            self.services.clock.now(),
            self.services.random.unit(),
        );
        self.log_setback(was, &setback, failure);
        let next_attempt_at = Some(self.services.clock.wall() + setback.wait);
        self.services.board.update(&self.account.id, |status| {
            status.enter(setback.state, self.services.clock.wall());
            status.cause = Some(setback.cause.clone());
            status.blocked = setback.blocked;
            status.attempt = setback.attempt;
            status.next_attempt_at = next_attempt_at;
            status.evidence.connected_at = None;
            status.suspicion = None;
        });
        self.services.publish(&self.account.id, self.env.generation, setback.state);
        self.retry_after(&setback, failure, ctx);
    }

    /// Waits, or until another account's connection to the same host became ready: then the host is back, and
    /// waiting longer would only keep this account deaf. That is for accounts that merely lost their connection, and
    /// not twice in a row: one that fails for reasons of its own keeps its back-off, however often its neighbours
    /// succeed. A wait that the platform asked for is waited. A random fraction of a second keeps accounts apart.
    fn retry_after(&mut self, setback: &Setback, failure: &Failure, ctx: &mut Context<Self>) {
        self.told_to_wait = failure.retry_after.is_some();
        let shared_fate = setback.state == AccountState::Reconnecting
            && setback.attempt > 1
            && failure.class != FailureClass::SessionExpired
            && !self.told_to_wait
            && !self.cut_short;
        let waiting = tokio::time::sleep(setback.wait);
        let recovered = self.services.hosts.next_success(self.account.plan.host());
        let spread = Duration::from_secs(1).mul_f64(self.services.random.unit());
        let waiting = actix::fut::wrap_future(async move {
            tokio::select! {
                biased;
                () = waiting => false,
                () = async { recovered.await; tokio::time::sleep(spread).await }, if shared_fate => true,
            }
        });
        self.retry = Some(ctx.spawn(waiting.map(|cut_short, this: &mut Self, ctx| {
            this.retry = None;
            this.cut_short = cut_short;
            this.connect(ctx);
        })));
    }

    fn cancel_retry(&mut self, ctx: &mut Context<Self>) {
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
    }

    fn heard(&mut self, said: Said, ctx: &mut Context<Self>) {
        let current = self.attempt.as_ref().is_some_and(|attempt| attempt.number == said.attempt);
        match said.output {
            Output::Open { connection } if current => self.opened(&connection),
            Output::Alive if current => self.alive(ctx),
            Output::Open { .. } | Output::Alive => {}
            Output::Deliver { ack, deliveries, cursor } => {
                // Stored even when its connection is over by now: it comes again, and is then known.
                let commands =
                    self.attempt.as_ref().filter(|_| current).map(|attempt| attempt.commands.clone());
                self.deliver(ack, deliveries, cursor, commands, ctx);
            }
            Output::Notice { kind } => {
                self.event_arrived();
                tracing::debug!(account = %self.account.id, actor = "connection", kind, "event that needs nothing");
            }
            // Of a connection that is over, too: what it was handed in vain is lost all the same.
            Output::Gap { since, why } => self.in_doubt(since, why),
            Output::Suspect(why) if current => self.suspected(why),
            Output::Suspect(_) => {}
            Output::Skipped { why } => {
                self.services.board.update(&self.account.id, |status| status.skipped += 1);
                tracing::warn!(account = %self.account.id, actor = "connection", generation = %self.env.generation, "skipped what cannot be read: {why}");
            }
        }
    }

    fn opened(&mut self, connection: &str) {
        if let Some(attempt) = &mut self.attempt {
            attempt.open = true;
        }
        tracing::debug!(account = %self.account.id, actor = "connection", generation = %self.env.generation, connection, "open, waiting for a sign of life");
        let now = self.services.clock.wall();
        self.services.board.update(&self.account.id, |status| status.evidence.connected_at = Some(now));
    }

    fn alive(&mut self, ctx: &mut Context<Self>) {
        let now = self.services.clock.wall();
        let heard = self.services.clock.now();
        self.services.board.update(&self.account.id, |status| {
            status.evidence.last_frame_at = Some(now);
            status.symptoms.heard = Some(heard);
        });
        // A frame before the transport is open is no sign that it is.
        if self.attempt.as_ref().is_some_and(|attempt| attempt.open) {
            let recovered = self.life.alive(self.services.clock.now());
            self.note_life(recovered.is_some(), ctx);
            if let Some(recovered) = recovered {
                self.ready(recovered);
            }
        }
    }

    fn ready(&mut self, recovered: Recovered) {
        let Recovered { from, after, attempts } = recovered;
        let (account, generation) = (&self.account.id, self.env.generation);
        let (after_ms, state) = (millis(after), AccountState::Ready);
        match from {
            AccountState::Connecting => {
                tracing::info!(account = %account, actor = "connection", %generation, %state, %from, after_ms, attempts, "ready");
            }
            _ => {
                self.services.board.measures().reconnected(account);
                tracing::info!(account = %account, actor = "connection", %generation, %state, %from, after_ms, attempts, "reconnected");
            }
        }
        self.services
            .board
            .update(account, |status| status.enter(AccountState::Ready, self.services.clock.wall()));
        self.services.hosts.succeeded(self.account.plan.host());
        self.services.publish(account, generation, AccountState::Ready);
    }

    fn event_arrived(&self) {
        let now = self.services.clock.wall();
        self.services.board.update(&self.account.id, |status| status.evidence.last_event_at = Some(now));
    }

    /// Stores what was received with the verdict on it, in one commit, and answers the platform when that is on disk.
    fn deliver(
        &mut self,
        ack: moorline_channel::AckId,
        deliveries: Vec<Delivery>,
        cursor: Option<String>,
        commands: Option<mpsc::Sender<Command>>,
        ctx: &mut Context<Self>,
    ) {
        // A cursor alone is no event.
        if !deliveries.is_empty() {
            self.event_arrived();
        }
        if self.storing >= STORING {
            tracing::error!(account = %self.account.id, actor = "connection", "delivery refused, the platform will repeat it: {STORING} wait for the store");
            self.services.board.measures().refused(&self.account.id);
            let refusing = async move {
                if let Some(commands) = commands {
                    drop(commands.send(Command::Verdict { ack, stored: false }).await);
                }
            };
            ctx.spawn(actix::fut::wrap_future(refusing));
            return;
        }
        self.storing += 1;
        let received = self.services.clock.now();
        let us = self.services.board.own_id(&self.account.id);
        let (treatment, credentials) = (self.account.treatment(), self.account.plan.fingerprint());
        let (messages, judged): (Vec<NewMessage>, Vec<Judged>) = deliveries
            .into_iter()
            .map(|delivery| {
                let (message, facts) = match delivery {
                    Delivery::Message(message) => {
                        let facts = Facts::from(&*message);
                        let verdict = access::judge(&treatment.access, us.as_ref(), &facts);
                        let context = serde_json::to_string(&facts).unwrap_or_default();
                        (NewMessage::new(*message, &credentials, context, verdict), Some(facts))
                    }
                    Delivery::Unreadable { event_id, dedupe, raw, why } => {
                        tracing::error!(account = %self.account.id, actor = "connection", event = %event_id, "delivery cannot be read, its bytes are kept: {why}");
                        (unreadable(event_id, dedupe, raw), None)
                    }
                };
                let (conversation, id) = (message.conversation.clone(), message.message_id.clone());
                let judged = Judged { conversation, message: id, facts, verdict: message.verdict };
                (message, judged)
            })
            .unzip();
        let cursor =
            self.account.plan.cursor().zip(cursor).map(|(kind, value)| Op::SetCursor { kind, value });
        let ops =
            messages.into_iter().map(|message| Op::Receive { message }).chain(cursor).chain(self.riding());
        let mut commit =
            self.services.store.commit(Tx::under(&self.account.lease, self.services.clock.wall(), ops));
        // Handed to the store here and now: the order of receipt is the order of these calls, and an actor's futures
        // are not polled in the order in which they were spawned (G3).
        let at_once = (&mut commit).now_or_never();
        let (services, account) = (Rc::clone(&self.services), self.account.id.clone());
        let storing = actix::fut::wrap_future(async move {
            let answer = match at_once {
                Some(result) => Some(result),
                None => tokio::time::timeout(STORE_PATIENCE, &mut commit).await.ok(),
            };
            let stored = matches!(&answer, Some(Ok(outcomes)) if outcomes.iter().all(|o| o.is_done()));
            if let Some(commands) = commands {
                // A connection that is over needs no verdict: the platform delivers again.
                drop(commands.send(Command::Verdict { ack, stored }).await);
            }
            services.board.measures().acknowledged(&account, stored, services.clock.now() - received);
            let result = match answer {
                Some(result) => result,
                // Refused, but the store may still take it; then it must be answered although it comes again.
                None => commit.await,
            };
            Stored { result, judged }
        });
        ctx.spawn(storing.map(|stored, this: &mut Self, _| {
            this.storing -= 1;
            this.stored(stored);
        }));
    }

    fn stored(&mut self, stored: Stored) {
        let outcomes = match stored.result {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!(account = %self.account.id, actor = "connection", "delivery refused, the platform will repeat it: {error}");
                self.refused_to_note();
                return;
            }
        };
        let news = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_)));
        if news && self.account.plan.capabilities().reply_window {
            // What waited for its user is due (F-060).
            self.account.actors.outbox.tell(Flush);
        }
        for (outcome, judged) in outcomes.into_iter().zip(stored.judged) {
            if let (Outcome::Applied(_), Some(facts)) = (outcome, &judged.facts) {
                let (board, account) = (&self.services.board, &self.account.id);
                verdicts::tell(board, account, facts, judged.message.as_ref(), judged.verdict);
            }
            if let Outcome::Applied(row) = outcome {
                self.services.board.events().tell(Sort::Message, || {
                    let (verdict, reason) = verdicts::words(judged.verdict);
                    What::MessageReceived {
                        account: self.account.id.clone(),
                        conversation: judged.conversation.clone(),
                        inbox: InboxId::new(row),
                        message_id: judged.message.clone(),
                        verdict,
                        reason,
                    }
                });
            }
            match (outcome, judged.verdict) {
                // A duplicate is woken for too: the hint of the first time may have been lost with its connection.
                (Outcome::Applied(_) | Outcome::Duplicate(_), Verdict::Allow) => {
                    let (account, conversation) = (self.account.id.clone(), judged.conversation);
                    self.services.conversations.tell(Wake { account, conversation });
                }
                (Outcome::Applied(_), Verdict::Hold(HoldReason::Identity)) => {
                    // The identity may have become known while this was on its way to the store.
                    self.account.actors.identity.tell(JudgeHeld);
                }
                (Outcome::Fenced | Outcome::Conflict, _) => {
                    tracing::error!(account = %self.account.id, actor = "connection", "delivery refused: another process has taken this account over");
                }
                _ => {}
            }
        }
    }

    fn log_setback(&mut self, was: AccountState, setback: &Setback, failure: &Failure) {
        let (account, generation) = (&self.account.id, self.env.generation);
        let (state, attempt, next_in_ms) = (setback.state, setback.attempt, millis(setback.wait));
        let code = failure.code.as_deref();
        if state == AccountState::Blocked {
            let now = self.services.clock.now();
            let told = self.blocked_told.filter(|told| was == state && now - *told < BLOCKED_EVERY);
            if told.is_some() {
                tracing::debug!(account = %account, actor = "connection", %generation, %state, class = %failure.class, code, attempt, next_in_ms, "still not connected: {}", failure.message);
            } else {
                tracing::error!(account = %account, actor = "connection", %generation, %state, from = %was, class = %failure.class, code, attempt, next_in_ms, "not connected, an operator has to act: {}", failure.message);
                self.blocked_told = Some(now);
            }
        } else if was == AccountState::Ready {
            tracing::warn!(account = %account, actor = "connection", %generation, %state, from = %was, class = %failure.class, code, attempt, next_in_ms, "disconnected: {}", failure.message);
        } else {
            tracing::warn!(account = %account, actor = "connection", %generation, %state, class = %failure.class, code, attempt, next_in_ms, "not connected: {}", failure.message);
        }
    }
}

/// Resolves when the connection is to end; before there is one, nothing else can be asked of it.
async fn told_to_stop(commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        if matches!(command, Command::Stop) {
            return;
        }
    }
}

/// What has to be there before the platform is asked for anything: its turn among the accounts, and the store's word.
async fn prepare(services: &Services, account: &Account, first: bool) -> Result<Option<String>, Failure> {
    admit(services, account, first).await?;
    let not_ready = |why: String| Failure::transient(format!("the store is not ready for it: {why}"));
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, begin(services, account)).await {
        Ok(begun) => begun.map_err(|error| not_ready(error.to_string())),
        Err(_) => Err(not_ready(format!("no answer for {} s", STORE_ANSWERS_WITHIN.as_secs()))),
    }
}

/// Where the platform is to go on, as it was stored with the last messages. Before it is asked anything, the store is told
/// that there is something to miss from now on (F-040).
async fn begin(services: &Services, account: &Account) -> Result<Option<String>, StoreError> {
    let watch = &account.actors.watch;
    let (at, here) = (services.clock.wall(), services.clock.with_sleep());
    let begins = watch.borrow().begins(at, account.plan.capabilities().redelivery);
    if let Some(heard) = begins {
        let op = Op::Heard { at: heard.at, orderly: heard.orderly };
        services.store.commit(Tx::under(&account.lease, at, [op])).await?;
        watch.borrow_mut().begun(heard, here);
    }
    let Some(kind) = account.plan.cursor() else { return Ok(None) };
    let cursor = services.store.cursor(&account.id, &kind).await?;
    Ok(cursor.filter(|cursor| !cursor.is_empty()))
}

/// A row for what cannot be parsed: kept with its bytes, counted, never answered (F-037).
fn unreadable(
    event_id: moorline_core::EventId,
    dedupe: Vec<moorline_core::DedupeKey>,
    raw: bytes::Bytes,
) -> NewMessage {
    let nowhere = ChatId::new("");
    NewMessage {
        event_id,
        dedupe,
        conversation: ConversationId::new(""),
        chat: Chat { id: nowhere.clone(), kind: ChatKind::Direct },
        message_id: None,
        route: Route { chat: nowhere, reply_to: None, in_thread: false },
        text: String::new(),
        context: String::new(),
        written_at: None,
        reply_token: None,
        raw,
        verdict: Verdict::Drop(moorline_core::DropReason::Unreadable),
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let now = self.services.clock.wall();
        self.services.board.update(&self.account.id, |status| {
            status.generation = self.env.generation;
            status.enter(self.life.state(), now);
            (status.next_attempt_at, status.attempt) = (None, 1);
            if status.state == AccountState::Connecting {
                status.cause = None;
            }
        });
        self.services.publish(&self.account.id, self.env.generation, self.life.state());
        self.connect(ctx);
    }
}

impl StreamHandler<Said> for Connection {
    fn handle(&mut self, said: Said, ctx: &mut Context<Self>) {
        self.heard(said, ctx);
    }

    /// The end of one attempt's outputs is not the end of the actor.
    fn finished(&mut self, _: &mut Context<Self>) {}
}

impl Handler<Probe> for Connection {
    type Result = ();

    fn handle(&mut self, _: Probe, ctx: &mut Context<Self>) {
        match &self.attempt {
            // A full queue means that the driver has plenty to do, and that it lives.
            Some(attempt) => drop(attempt.commands.try_send(Command::Probe)),
            None => self.connect(ctx),
        }
    }
}

impl Handler<Awoken> for Connection {
    type Result = ();

    fn handle(&mut self, _: Awoken, ctx: &mut Context<Self>) {
        match &self.attempt {
            Some(attempt) => drop(attempt.commands.try_send(Command::Probe)),
            None if self.life.state() == AccountState::Reconnecting && !self.told_to_wait => {
                self.connect(ctx)
            }
            None => {}
        }
    }
}

impl Handler<Drain> for Connection {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) -> Self::Result {
        self.drained = true;
        self.cancel_retry(ctx);
        let (waiter, closed) = oneshot::channel();
        self.draining.push(waiter);
        match &self.attempt {
            Some(attempt) => {
                let commands = attempt.commands.clone();
                ctx.spawn(actix::fut::wrap_future(async move { drop(commands.send(Command::Stop).await) }));
            }
            None => self.gone(ctx),
        }
        Box::pin(async { drop(closed.await) })
    }
}

/// Whatever ends this actor, its socket is gone with it: the board must not go on saying otherwise.
impl Drop for Connection {
    fn drop(&mut self) {
        let mut watch = self.account.actors.watch.borrow_mut();
        // Open or not: the first call of all may be under way.
        if self.attempt.is_some() {
            watch.doubt(Doubt::BrokenOff);
        }
        watch.left();
        drop(watch);
        let now = self.services.clock.wall();
        let generation = self.env.generation;
        self.services.board.update(&self.account.id, |status| {
            if status.generation == generation
                && matches!(status.state, AccountState::Ready | AccountState::Connecting)
            {
                status.enter(AccountState::Reconnecting, now);
                status.evidence.connected_at = None;
                status.suspicion = None;
            }
            if status.generation == generation {
                // Whoever restarts it says when.
                status.next_attempt_at = None;
            }
        });
    }
}
