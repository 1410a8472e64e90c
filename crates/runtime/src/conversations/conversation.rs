//! One conversation: its turns, strictly one at a time, each claimed in the store before the agent hears of it.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_agent::{AgentError, Exchange, Reply, Turn};
use moorline_core::{AccountId, ChatId, ConversationId, MessageId, Route, TurnId};
use moorline_store::{
    Claim, Entry, InboxRow, KEPT_ENTRIES, NewReply, Op, Outcome, Role, StoreError, TurnRow, Tx, Work,
};
use moorline_supervision::Env;
use tokio::sync::oneshot;

use super::asking;
use super::typing::Sign;
use super::{Conversations, MaySleep, RestNow, Wake};
use crate::accounts::{Flush, parts};
use crate::board::TurnRecord;
use crate::events::{Sort, What};
use crate::measures::TurnEnd;
use crate::services::{Account, STORE_RETRY, Services};

/// A turn that ended its actor or the process this often is not tried again (G9, F-069).
const MAX_ATTEMPTS: u32 = 3;

/// How much of a transcript an agent is given: what the store keeps of an old one.
const TRANSCRIPT: u32 = KEPT_ENTRIES;

/// How often the end of a turn is offered to a store that refuses it.
const MAX_REFUSALS: u32 = 10;

/// How long an idle conversation keeps its actor.
const IDLE: Duration = Duration::from_secs(30);

const PARKED_NOTICE: &str = "Your message could not be answered: its processing failed three times. Please send it again, or ask an operator.";
const SCHEDULED_NOTICE: &str =
    "A scheduled task could not be carried out: there was no answer to its prompt. An operator can see why.";
const FAILED_NOTICE: &str = "Your message could not be answered. Please send it again later.";

/// Works through one conversation's messages.
pub(crate) struct Conversation {
    services: Rc<Services>,
    account: AccountId,
    id: ConversationId,
    env: Env,
    router: Addr<Conversations>,
    working: bool,
    /// A wake-up that came during work: look once more before resting (F-046).
    woken: bool,
    /// Wake-ups got in this life.
    heard: u64,
    idle: Option<SpawnHandle>,
}

/// A turn is under way: show it beside the message it answers, until `over` resolves.
#[derive(Message)]
#[rtype(result = "()")]
struct ShowTyping {
    chat: ChatId,
    message: MessageId,
    resumed: bool,
    over: oneshot::Receiver<()>,
}

/// What one round of work came to.
enum Round {
    /// Something was done; there may be more.
    Worked,
    /// There is nothing to do now.
    Rest,
    /// The store refused; nothing was done.
    StoreRefused(StoreError),
    /// A turn was claimed and could not be brought to its end: this life is over, so that the turn can be taken up.
    Failed(StoreError),
}

impl Conversation {
    pub(crate) fn new(
        services: Rc<Services>,
        account: AccountId,
        id: ConversationId,
        env: Env,
        router: Addr<Conversations>,
    ) -> Self {
        Self { services, account, id, env, router, working: false, woken: false, heard: 0, idle: None }
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.working {
            self.woken = true;
            return;
        }
        self.working = true;
        if let Some(idle) = self.idle.take() {
            ctx.cancel_future(idle);
        }
        // Looked up anew for each round: a reload may have replaced it, or taken it away.
        let Some(account) = self.services.accounts.get(&self.account) else { return self.env.exit.done(ctx) };
        let task = Task {
            claim: Claim { epoch: account.lease.epoch, generation: self.env.generation },
            services: Rc::clone(&self.services),
            account,
            conversation: self.id.clone(),
            actor: ctx.address(),
        };
        let guard = self.env.in_flight.enter();
        let round = actix::fut::wrap_future(async move {
            let round = task.round().await;
            drop(guard);
            round
        });
        ctx.spawn(round.map(|round, this: &mut Self, ctx| this.rounded(round, ctx)));
    }

    fn rounded(&mut self, round: Round, ctx: &mut Context<Self>) {
        self.working = false;
        let woken = std::mem::take(&mut self.woken);
        match round {
            Round::Worked => self.work(ctx),
            Round::Rest if woken => self.work(ctx),
            Round::Rest => self.rest(IDLE, ctx),
            Round::Failed(error) => self.env.exit.fail(ctx, error),
            Round::StoreRefused(error) => {
                tracing::warn!(account = %self.account, conversation = %self.id, "the store refused, trying again: {error}");
                ctx.run_later(STORE_RETRY, |this, ctx| this.work(ctx));
            }
        }
    }

    /// Asks to end after a while without work.
    fn rest(&mut self, after: Duration, ctx: &mut Context<Self>) {
        self.idle = Some(ctx.run_later(after, |this, ctx| {
            this.idle = None;
            this.ask_to_sleep(ctx);
        }));
    }

    /// The router may refuse, because a wake-up did not get here (design §3 rule 6): then there is work to look for.
    /// After a yes no wake-up comes here any more.
    fn ask_to_sleep(&mut self, ctx: &mut Context<Self>) {
        let question = MaySleep {
            account: self.account.clone(),
            conversation: self.id.clone(),
            generation: self.env.generation,
            heard: self.heard,
        };
        let asked = actix::fut::wrap_future(self.router.send(question));
        ctx.spawn(asked.map(|answer, this: &mut Self, ctx| match answer {
            Ok(false) => this.work(ctx),
            // The router is gone: its own task takes everybody down.
            Ok(true) | Err(_) => this.env.exit.done(ctx),
        }));
    }
}

impl Actor for Conversation {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.work(ctx);
    }
}

impl Handler<Wake> for Conversation {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        self.heard += 1;
        self.work(ctx);
    }
}

impl Handler<ShowTyping> for Conversation {
    type Result = ();

    fn handle(&mut self, show: ShowTyping, ctx: &mut Context<Self>) {
        let Some(account) = self.services.accounts.get(&self.account) else { return };
        let sign = || Sign {
            services: Rc::clone(&self.services),
            account: Rc::clone(&account),
            conversation: self.id.clone(),
        };
        if show.resumed {
            ctx.spawn(actix::fut::wrap_future(sign().clear_leftover()));
        }
        ctx.spawn(actix::fut::wrap_future(sign().accompany(show.chat, show.message, show.over)));
    }
}

impl Handler<RestNow> for Conversation {
    type Result = ();

    fn handle(&mut self, _: RestNow, ctx: &mut Context<Self>) {
        if let Some(idle) = self.idle.take() {
            ctx.cancel_future(idle);
            self.ask_to_sleep(ctx);
        }
    }
}

/// One round of work as a future: everything it needs, and nothing of the actor.
struct Task {
    services: Rc<Services>,
    account: Rc<Account>,
    conversation: ConversationId,
    claim: Claim,
    actor: Addr<Conversation>,
}

/// The attempt at a turn that is under way.
pub(super) struct Attempt<'a> {
    task: &'a Task,
    turn: TurnId,
    /// As the store has it.
    counts: bool,
}

impl Attempt<'_> {
    /// Says whether it counts from now on.
    pub(super) async fn count(&mut self, counts: bool) {
        if counts == self.counts {
            return;
        }
        let op = Op::CountAttempt { turn: self.turn, claim: self.task.claim, counts };
        // Whoever lost the turn meanwhile hears of it at its end; a store that goes on refusing ends it there too.
        if self.task.persist(op).await.is_ok_and(Outcome::is_done) {
            self.counts = counts;
        }
    }
}

/// A turn that was claimed.
struct Claimed {
    id: TurnId,
    attempt: u32,
    inputs: Vec<String>,
    route: Route,
    /// The message it answers; a prompt of the scheduler's is none.
    message: Option<MessageId>,
}

impl Task {
    async fn round(&self) -> Round {
        match self.try_round().await {
            Ok(round) => round,
            Err(error) => Round::StoreRefused(error),
        }
    }

    async fn try_round(&self) -> Result<Round, StoreError> {
        let claimed = match self.services.store.next_work(&self.account.id, &self.conversation).await? {
            None => return Ok(Round::Rest),
            Some(Work::Answer(row)) => self.start(row).await?,
            // A turn is taken up only when its answer can go out: recovery wakes us at ChannelReady (G9).
            Some(Work::Resume(_)) if !self.services.board.is_ready(&self.account.id) => {
                return Ok(Round::Rest);
            }
            Some(Work::Resume(turn)) if turn.attempt >= MAX_ATTEMPTS => {
                self.park(&turn).await?;
                return Ok(Round::Worked);
            }
            Some(Work::Resume(turn)) => self.resume(turn).await?,
        };
        Ok(match claimed {
            Some(claimed) => match self.run(claimed).await {
                Ok(()) => Round::Worked,
                Err(error) => Round::Failed(error),
            },
            None => Round::Worked,
        })
    }

    async fn start(&self, row: InboxRow) -> Result<Option<Claimed>, StoreError> {
        let op = Op::StartTurn {
            conversation: self.conversation.clone(),
            inputs: vec![row.id],
            claim: self.claim,
        };
        Ok(match self.commit(op).await? {
            Outcome::Applied(turn) => Some(Claimed {
                id: TurnId::new(turn),
                attempt: 1,
                inputs: vec![row.text],
                route: row.route,
                message: row.message_id,
            }),
            Outcome::Duplicate(_) | Outcome::Fenced | Outcome::Conflict => None,
        })
    }

    async fn resume(&self, turn: TurnRow) -> Result<Option<Claimed>, StoreError> {
        let Some(last) = turn.inputs.last() else { return Ok(None) };
        let (route, message) = (last.route.clone(), last.message_id.clone());
        let op = Op::ResumeTurn { turn: turn.id, attempt: turn.attempt, claim: self.claim };
        if !self.commit(op).await?.is_done() {
            return Ok(None);
        }
        let attempt = turn.attempt + 1;
        self.services.board.measures().resumed(&self.account.id);
        tracing::info!(account = %self.account.id, actor = "recovery", conversation = %self.conversation, turn = %turn.id, attempt, "interrupted turn resumed");
        self.services.board.events().tell(Sort::Lifecycle, || What::TurnResumed {
            account: self.account.id.clone(),
            conversation: self.conversation.clone(),
            turn: turn.id,
            attempt,
        });
        let inputs = turn.inputs.into_iter().map(|row| row.text).collect();
        Ok(Some(Claimed { id: turn.id, attempt, inputs, route, message }))
    }

    async fn park(&self, turn: &TurnRow) -> Result<(), StoreError> {
        tracing::error!(account = %self.account.id, conversation = %self.conversation, turn = %turn.id, attempts = turn.attempt, "turn parked: it was interrupted too often");
        let notice = turn.inputs.last().and_then(|row| {
            // Nobody wrote a prompt of the scheduler's.
            let notice = if row.message_id.is_some() { PARKED_NOTICE } else { SCHEDULED_NOTICE };
            self.replies(turn.id, &row.route, notice).pop()
        });
        if self.commit(Op::ParkTurn { turn: turn.id, notice }).await?.is_done() {
            self.services.board.events().tell(Sort::Lifecycle, || What::TurnParked {
                account: self.account.id.clone(),
                conversation: self.conversation.clone(),
                turn: turn.id,
                attempts: turn.attempt,
            });
        }
        self.account.actors.outbox.tell(Flush);
        Ok(())
    }

    /// Runs a claimed turn to its end: the agent's answer, and one commit that makes it final. A turn whose account is
    /// gone is left as it is.
    async fn run(&self, turn: Claimed) -> Result<(), StoreError> {
        let _running = self.services.board.turn_started();
        let (agent, began) = (self.account.treatment().agent.clone(), self.services.clock.now());
        let record = self.services.board.running().enter(
            self.account.id.clone(),
            self.conversation.clone(),
            &self.services.clock,
        );
        let _typing = self.show_typing(&turn);
        self.tell(|account, conversation| What::TurnStarted {
            account,
            conversation,
            turn: turn.id,
            attempt: turn.attempt,
        });
        let history =
            self.services.store.transcript(&self.account.id, &self.conversation, TRANSCRIPT).await?;
        let Some(answer) = self.ask(&turn, history, &record).await else { return Ok(()) };
        let end = match &answer {
            Ok(Reply::Text(_)) => TurnEnd::Answered,
            Ok(Reply::Silent) => TurnEnd::Silent,
            Err(_) => TurnEnd::Failed,
        };
        self.services.board.measures().turn(&agent, end, self.services.clock.now() - began);
        let mut entries: Vec<(Role, String)> =
            turn.inputs.into_iter().map(|text| (Role::User, text)).collect();
        let mut replies = Vec::new();
        let mut ending = "silent";
        match answer {
            Ok(Reply::Text(text)) => {
                ending = "answered";
                replies = self.replies(turn.id, &turn.route, &text);
                entries.push((Role::Agent, text));
            }
            // An empty entry keeps the turn's place in the transcript.
            Ok(Reply::Silent) => entries.push((Role::Agent, String::new())),
            Err(error) => {
                ending = "failed";
                tracing::error!(account = %self.account.id, conversation = %self.conversation, turn = %turn.id, "the agent gave no answer, the user is told: {error}");
                let notice = if turn.message.is_some() { FAILED_NOTICE } else { SCHEDULED_NOTICE };
                replies = self.replies(turn.id, &turn.route, notice);
                entries.push((Role::System, error.to_string()));
            }
        }
        let op = Op::FinishTurn { turn: turn.id, claim: self.claim, entries, replies };
        let outcome = self.persist(op).await?;
        if outcome.is_done() {
            tracing::debug!(account = %self.account.id, conversation = %self.conversation, turn = %turn.id, attempt = turn.attempt, "turn done");
            self.tell(|account, conversation| What::TurnFinished {
                account,
                conversation,
                turn: turn.id,
                outcome: ending,
                attempt: turn.attempt,
            });
            self.account.actors.outbox.tell(Flush);
        } else {
            tracing::warn!(account = %self.account.id, conversation = %self.conversation, turn = %turn.id, "answer discarded: the turn belongs to somebody else now");
        }
        Ok(())
    }

    /// Tells those who watch messages.
    fn tell(&self, what: impl FnOnce(AccountId, ConversationId) -> What) {
        let of = || what(self.account.id.clone(), self.conversation.clone());
        self.services.board.events().tell(Sort::Message, of);
    }

    /// Shows that the turn is under way until what this gives is dropped.
    fn show_typing(&self, turn: &Claimed) -> oneshot::Sender<()> {
        let (under_way, over) = oneshot::channel();
        if let Some(message) = turn.message.clone() {
            self.actor.do_send(ShowTyping {
                chat: turn.route.chat.clone(),
                message,
                resumed: turn.attempt > 1,
                over,
            });
        }
        under_way
    }

    async fn ask(
        &self,
        turn: &Claimed,
        history: Vec<Entry>,
        record: &TurnRecord,
    ) -> Option<Result<Reply, AgentError>> {
        let request = Turn {
            conversation: self.conversation.clone(),
            transcript: exchanges(history),
            input: turn.inputs.clone(),
            interrupted: turn.attempt > 1,
            attempt: turn.attempt,
        };
        let mut attempt = Attempt { task: self, turn: turn.id, counts: true };
        asking::ask(&self.services, &self.account, &mut attempt, request, record).await
    }

    /// The run is part of the keys: turns are numbered from 1 again in a new data directory, while the platform still
    /// remembers the keys of the old one.
    fn replies(&self, turn: TurnId, route: &Route, text: &str) -> Vec<NewReply> {
        let source = format!("turn/{}/{turn}", self.services.boot);
        parts(&self.account, &self.conversation, route, text, &source)
    }

    /// Commits what must not be lost: the answer exists, and is not thrown away because the store cannot take it just
    /// now. A full disk is waited for; a store that goes on refusing is an error.
    async fn persist(&self, op: Op) -> Result<Outcome, StoreError> {
        let mut refusals = 0;
        loop {
            match self.commit(op.clone()).await {
                Err(StoreError::Full) => {}
                Err(StoreError::Refused(_)) if refusals < MAX_REFUSALS => refusals += 1,
                other => return other,
            }
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    async fn commit(&self, op: Op) -> Result<Outcome, StoreError> {
        let tx = Tx::under(&self.account.lease, self.services.clock.wall(), [op]);
        let outcomes = self.services.store.commit(tx).await?;
        outcomes
            .first()
            .copied()
            .ok_or_else(|| StoreError::Refused("no outcome for one operation".to_owned()))
    }
}

/// Turns of a transcript: what was said to the agent, up to its answer.
fn exchanges(history: Vec<Entry>) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut input = Vec::new();
    for entry in history {
        match entry.role {
            Role::User => input.push(entry.text),
            Role::Agent => exchanges
                .push(Exchange { input: std::mem::take(&mut input), reply: Reply::from_text(entry.text) }),
            // A turn that failed has no answer to show.
            Role::System => input.clear(),
        }
    }
    exchanges
}
