//! The accounts: a dynamic one_for_one supervisor, one account supervisor each.

mod account;
mod apply;
mod call;
mod connection;
mod credentials;
mod gap;
mod identity;
mod lifecycle;
mod login;
mod outbox;
mod parts;
mod repair;
mod vigil;

pub(crate) use apply::Apply;
pub use apply::{Applied, UnreadableLogin};
pub(crate) use call::with_token;
pub(crate) use connection::{Awoken, Connection, Drain, Probe};
pub(crate) use credentials::Credentials;
pub(crate) use gap::Watch;
pub(crate) use identity::{IdentityProbe, ProbeNow};
pub(crate) use login::TakeUp;
pub(crate) use outbox::{Due, Flush, Outbox, TryNow};
pub(crate) use parts::parts;
pub(crate) use repair::{Deleted, DiscardRows, DiscardSend, ResetSession, ResumeSession, RetrySend};

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{
    AccountId, AccountState, ChatId, ConversationId, IdempotencyKey, OutboxId, Route, millis,
};
use moorline_store::{Op, Outcome, Tx};
use moorline_supervision::{ChildExited, Children, Directive, Env};

use crate::handle::CommandError;
use crate::services::{Account, Services};
use account::{AccountSupervisor, report};
use vigil::{Gap, Vigil};

/// How long a connection may take to say goodbye before its account is stopped all the same.
const GOODBYE: Duration = Duration::from_secs(3);

/// How often the log sums up the drops that it did not tell one by one.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);

/// Starts an account that is stopped. `false` when it runs already.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct StartAccount(pub(crate) AccountId);

/// Stops an account and keeps it stopped until it is started. `false` when it is stopped already.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct StopAccount(pub(crate) AccountId);

/// Gives every actor of an account a new life at once. `false` when the account is stopped.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct RestartAccount(pub(crate) AccountId);

/// Asks an account for signs of life now. `false` when it is stopped.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct ProbeAccount(pub(crate) AccountId);

/// Makes what runs of an account what is configured: it was changed by a supervisor that ended meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Settle {
    pub(crate) account: AccountId,
    /// Whether what runs may be what was configured before.
    pub(crate) renew: bool,
}

/// Puts a message into an account's outbox; answers with its number, and whether the key was used before.
#[derive(Debug, Message)]
#[rtype(result = "Result<(OutboxId, bool), CommandError>")]
pub(crate) struct Enqueue {
    pub(crate) account: AccountId,
    pub(crate) to: ChatId,
    pub(crate) text: String,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Starts, restarts and stops accounts.
pub(crate) struct Accounts {
    services: Rc<Services>,
    env: Env,
}

impl Accounts {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        Self { services, env }
    }

    /// Connections may have died unseen: every one of them shows a sign of life now, or is given up (design §4).
    fn awake(&self, gap: Gap) {
        let accounts = self.services.accounts.all();
        let (what, lasted) = match gap {
            Gap::Slept(lasted) => ("the machine slept", lasted),
            Gap::Frozen(lasted) => ("the process stood still", lasted),
        };
        tracing::warn!(
            actor = "accounts",
            lasted_ms = millis(lasted),
            accounts = accounts.len(),
            "{what}: every connection is asked for a sign of life"
        );
        for account in accounts {
            account.actors.connection.tell(Awoken);
        }
    }

    fn launch(services: &Rc<Services>, children: &Children, account: Rc<Account>) -> bool {
        let spec = AccountSupervisor::spec(Rc::clone(services), account).shutdown(Duration::from_secs(10));
        children.start(spec).is_ok()
    }

    /// Launches an account that was built anew. The supervisor that began this may be gone by now, and its successor have
    /// started what there was then: that is told to settle it.
    fn launch_anew(services: &Rc<Services>, children: &Children, account: Rc<Account>) {
        let id = account.id.clone();
        services.board.update(&id, |status| status.enter(AccountState::Connecting, services.clock.wall()));
        if !Self::launch(services, children, account) {
            services.keeper.tell(Settle { account: id, renew: true });
        }
    }
}

impl Actor for Accounts {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.env.children.bind(ctx.address().recipient());
        for account in self.services.accounts.all() {
            if !self.services.stopped.borrow().contains(&account.id) {
                Self::launch(&self.services, &self.env.children, account);
            }
        }
        ctx.run_interval(SUMMARY_EVERY, |this, _| {
            for (account, untold) in this.services.board.untold() {
                tracing::info!(%account, "messages dropped or held since the last such line: {untold}");
            }
        });
        let mut vigil = Vigil::begin(&*self.services.clock);
        ctx.run_interval(vigil::TICK, move |this, _| {
            if let Some(gap) = vigil.tick(&*this.services.clock) {
                this.awake(gap);
            }
        });
    }
}

impl Handler<ChildExited> for Accounts {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, _: &mut Context<Self>) -> Directive {
        let directive = self.env.children.decide(&exited);
        let account = exited.id.parse().ok().and_then(|id| self.services.accounts.get(&id));
        if let Some(account) = account {
            report(&self.services, &account, &exited, directive);
        }
        directive
    }
}

impl Handler<StartAccount> for Accounts {
    type Result = bool;

    fn handle(&mut self, StartAccount(id): StartAccount, _: &mut Context<Self>) -> bool {
        let Some(account) = self.services.accounts.get(&id) else { return false };
        let was_stopped = self.services.stopped.borrow_mut().remove(&id);
        if self.env.children.contains(&id.to_string()) {
            if was_stopped {
                // It is on its way down; whoever takes it down starts it again.
                return true;
            }
            // Wanted already; one that is parked is tried at once.
            let parked =
                self.services.board.account(&id).is_some_and(|status| status.state == AccountState::Parked);
            return parked && self.env.children.restart(&id.to_string());
        }
        let now = self.services.clock.wall();
        self.services.board.update(&id, |status| status.enter(AccountState::Connecting, now));
        Self::launch(&self.services, &self.env.children, account)
    }
}

impl Handler<Settle> for Accounts {
    type Result = ();

    fn handle(&mut self, Settle { account: id, renew }: Settle, ctx: &mut Context<Self>) {
        let (services, children) = (Rc::clone(&self.services), self.env.children.clone());
        ctx.spawn(actix::fut::wrap_future(async move {
            let _turn = services.applying.lock().await;
            if renew || services.wanted(&id).is_none() {
                children.stop(&id.to_string()).await;
            }
            // Asked again: while it ended an operator may have stopped it, or started it.
            if let Some(account) = services.wanted(&id) {
                Self::launch(&services, &children, account);
            }
        }));
    }
}

impl Handler<StopAccount> for Accounts {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, StopAccount(id): StopAccount, _: &mut Context<Self>) -> Self::Result {
        let (services, children) = (Rc::clone(&self.services), self.env.children.clone());
        // At once: the next command may be to start it.
        services.stopped.borrow_mut().insert(id.clone());
        Box::pin(async move {
            let stopped = stop_account(Rc::clone(&services), children.clone(), id.clone()).await;
            if stopped {
                tracing::info!(account = %id, actor = "accounts", state = %AccountState::Stopped, "stopped by an operator");
                // Started again while it ended.
                if let Some(account) = services.wanted(&id) {
                    Self::launch_anew(&services, &children, account);
                }
            }
            stopped
        })
    }
}

/// Ends an account's connection in an orderly way. One that is down has nothing to say, and one that cannot say it in
/// time is dropped with its socket.
pub(crate) async fn say_goodbye(account: &Account) {
    drop(tokio::time::timeout(GOODBYE, account.actors.connection.send(Drain)).await);
}

/// Lets the connection say goodbye, then takes the account's actors down in order. `false` when it is not running.
async fn stop_account(services: Rc<Services>, children: Children, id: AccountId) -> bool {
    let name = id.to_string();
    let Some(account) = services.accounts.get(&id).filter(|_| children.contains(&name)) else { return false };
    say_goodbye(&account).await;
    let stopped = children.stop(&name).await;
    services.board.update(&id, |status| {
        status.enter(AccountState::Stopped, services.clock.wall());
        (status.cause, status.next_attempt_at, status.attempt) = (None, None, 0);
        status.evidence.connected_at = None;
        status.identity.next_attempt_at = None;
    });
    stopped
}

impl Handler<RestartAccount> for Accounts {
    type Result = bool;

    fn handle(&mut self, RestartAccount(id): RestartAccount, _: &mut Context<Self>) -> bool {
        let restarted = self.env.children.restart(&id.to_string());
        if restarted {
            tracing::info!(account = %id, actor = "accounts", "restarted by an operator");
        }
        restarted
    }
}

impl Handler<ProbeAccount> for Accounts {
    type Result = bool;

    fn handle(&mut self, ProbeAccount(id): ProbeAccount, _: &mut Context<Self>) -> bool {
        let Some(account) = self.services.accounts.get(&id) else { return false };
        if !self.env.children.contains(&id.to_string()) {
            return false;
        }
        account.actors.identity.tell(ProbeNow);
        account.actors.outbox.tell(TryNow);
        // Where there is no connection actor there is one that failed and waits, or its supervisor does: none of them
        // has to wait any longer.
        account.actors.connection.tell(Probe) || self.env.children.restart(&id.to_string())
    }
}

impl Handler<Enqueue> for Accounts {
    type Result = ResponseFuture<Result<(OutboxId, bool), CommandError>>;

    fn handle(&mut self, message: Enqueue, _: &mut Context<Self>) -> Self::Result {
        let services = Rc::clone(&self.services);
        Box::pin(async move {
            let account = services
                .accounts
                .get(&message.account)
                .ok_or_else(|| CommandError::UnknownAccount(message.account.clone()))?;
            let route = Route { chat: message.to.clone(), reply_to: None, in_thread: false };
            let conversation = ConversationId::new(message.to.as_str());
            let source = send_source(&services, &account.id, message.key);
            let parts = parts(&account, &conversation, &route, &message.text, &source);
            let tx = Tx::under(&account.lease, services.clock.wall(), [Op::Enqueue { parts }]);
            match services.store.commit(tx).await?.first() {
                Some(Outcome::Applied(row)) => {
                    account.actors.outbox.tell(Flush);
                    Ok((OutboxId::new(*row), false))
                }
                Some(Outcome::Duplicate(row)) => Ok((OutboxId::new(*row), true)),
                _ => Err(CommandError::Busy),
            }
        })
    }
}

/// What an operator's message has its keys from: the operator's own key, which means something within this account
/// only; without one, something nobody used before.
fn send_source(services: &Services, account: &AccountId, given: Option<IdempotencyKey>) -> String {
    match given {
        Some(key) => format!("send/{account}/{key}"),
        None => format!("send/{}/{}", services.boot, services.random.number()),
    }
}
