//! The bus: lifecycle events of accounts, with the last one retained, so that a late subscriber misses nothing.

use std::collections::BTreeMap;

use actix::prelude::*;
use moorline_core::{AccountId, AccountState, Generation};
use moorline_supervision::{ActorRef, Env};

use crate::board::Board;

/// An account's connection changed its state. Retained: the last one of each account is told to every new
/// subscriber, and may therefore be heard twice.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct AccountChanged {
    pub(crate) account: AccountId,
    pub(crate) generation: Generation,
    pub(crate) state: AccountState,
}

/// Wants to hear of one account, or of all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Subscribe {
    pub(crate) account: Option<AccountId>,
    pub(crate) to: Recipient<AccountChanged>,
}

/// Distributes events. What it retains comes from the board when it starts, so that its own restart loses nothing.
pub(crate) struct Bus {
    retained: BTreeMap<AccountId, AccountChanged>,
    subscribers: Vec<Subscribe>,
}

impl Bus {
    pub(crate) fn new(_env: &Env, board: &Board) -> Self {
        let retained = board.accounts().into_iter().map(|status| {
            let event =
                AccountChanged { account: status.id, generation: status.generation, state: status.state };
            (event.account.clone(), event)
        });
        Self { retained: retained.collect(), subscribers: Vec::new() }
    }
}

impl Actor for Bus {
    type Context = Context<Self>;
}

impl Handler<AccountChanged> for Bus {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, _: &mut Context<Self>) {
        self.subscribers.retain(|subscriber| subscriber.to.connected());
        for subscriber in &self.subscribers {
            if subscriber.account.as_ref().is_none_or(|account| *account == event.account) {
                subscriber.to.do_send(event.clone());
            }
        }
        self.retained.insert(event.account.clone(), event);
    }
}

impl Handler<Subscribe> for Bus {
    type Result = ();

    fn handle(&mut self, subscriber: Subscribe, _: &mut Context<Self>) {
        match &subscriber.account {
            Some(account) => {
                if let Some(event) = self.retained.get(account) {
                    subscriber.to.do_send(event.clone());
                }
            }
            None => self.retained.values().for_each(|event| subscriber.to.do_send(event.clone())),
        }
        self.subscribers.retain(|subscriber| subscriber.to.connected());
        self.subscribers.push(subscriber);
    }
}

/// Keeps the actor of `ctx` subscribed through every restart of the bus. Each new generation of the bus tells it
/// the retained events again, which covers what was published in between.
pub(crate) fn follow<A>(bus: &ActorRef<Bus>, account: Option<AccountId>, ctx: &mut Context<A>)
where
    A: Actor<Context = Context<A>> + Handler<AccountChanged>,
{
    let bus = bus.clone();
    let to = ctx.address().recipient();
    let subscribing = async move {
        let mut seen = Generation::default();
        loop {
            let (generation, addr) = bus.next_generation(seen).await;
            addr.do_send(Subscribe { account: account.clone(), to: to.clone() });
            seen = generation;
        }
    };
    ctx.spawn(actix::fut::wrap_future(subscribing));
}
