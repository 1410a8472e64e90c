//! The router of conversations: one actor per active conversation, and the only one who sends to it.

mod conversation;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{AccountId, ConversationId, Generation};
use moorline_store::{Op, StoreError, Tx};
use moorline_supervision::{ActorRef, ChildExited, ChildSpec, Directive, Env};

use crate::services::Services;
use conversation::Conversation;

/// Conversations with an actor at the same time; more wait in the store until one of these rests (G12).
const MAX_ACTIVE: usize = 4_096;

/// How long to wait before a store that refused is asked again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// After a fault in a conversation, before its work is looked at again.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// A conversation may have something to do. A hint: what there is to do is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
}

/// A conversation asks whether it may end. The router answers after all wake-ups it has sent before.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct MaySleep {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
    pub(crate) generation: Generation,
}

type Key = (AccountId, ConversationId);

/// Routes wake-ups to conversations and supervises them.
pub(crate) struct Conversations {
    services: Rc<Services>,
    env: Env,
    active: BTreeMap<Key, Active>,
    /// There is work in the store that found no room here.
    overflow: bool,
}

/// A conversation with an actor.
struct Active {
    actor: ActorRef<Conversation>,
    /// A wake-up came while it was falling asleep: start it again when it is gone.
    again: bool,
    asleep: bool,
}

impl Conversations {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        Self { services, env, active: BTreeMap::new(), overflow: false }
    }

    fn wake(&mut self, key: Key, ctx: &mut Context<Self>) {
        if let Some(active) = self.active.get_mut(&key) {
            let wake = Wake { account: key.0, conversation: key.1 };
            if active.asleep || !active.actor.tell(wake) {
                active.again = true;
            }
        } else if self.active.len() >= MAX_ACTIVE {
            self.overflow = true;
        } else {
            self.start(key, ctx);
        }
    }

    fn start(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(account) = self.services.accounts.get(&key.0) else { return };
        let actor = ActorRef::new();
        let (services, router, conversation) = (Rc::clone(&self.services), ctx.address(), key.1.clone());
        let spec = ChildSpec::new(child_id(&key), &actor, move |env| {
            let (services, account) = (Rc::clone(&services), Rc::clone(&account));
            Conversation::new(services, account, conversation.clone(), env, router.clone())
        });
        match self.env.children.start(spec.temporary()) {
            Ok(()) => drop(self.active.insert(key, Active { actor, again: false, asleep: false })),
            Err(error) => {
                tracing::debug!(account = %key.0, conversation = %key.1, "conversation not started: {error}");
            }
        }
    }

    /// Wakes every conversation with work, of one account or of all: nothing that was pending when a hint was lost
    /// stays pending.
    fn look(&mut self, account: Option<AccountId>, ctx: &mut Context<Self>) {
        let looking = self.services.store.conversations_with_work(account.as_ref());
        ctx.spawn(actix::fut::wrap_future(looking).map(move |found, this: &mut Self, ctx| match found {
            Ok(found) => found.into_iter().for_each(|key| this.wake(key, ctx)),
            Err(error) => {
                tracing::warn!(actor = "conversations", "pending work not read, trying again: {error}");
                ctx.run_later(STORE_RETRY, move |this, ctx| this.look(account, ctx));
            }
        }));
    }

    /// A conversation ended. What it left running is interrupted by statement first; then its work is looked at
    /// again, so that no wake-up is lost (design §3 rule 6).
    fn ended(&mut self, key: Key, generation: Generation, fault: bool, ctx: &mut Context<Self>) {
        let again = self.active.remove(&key).is_some_and(|active| active.again);
        if fault {
            self.interrupt(key, generation, ctx);
        } else if again {
            self.start(key, ctx);
        }
        if self.overflow && self.active.len() < MAX_ACTIVE {
            self.overflow = false;
            self.look(None, ctx);
        }
    }

    fn interrupt(&mut self, key: Key, generation: Generation, ctx: &mut Context<Self>) {
        let Some(account) = self.services.accounts.get(&key.0) else { return };
        let op = Op::InterruptTurns { conversation: Some(key.1.clone()), generation };
        let commit = self.services.store.commit(Tx::under(&account.lease, self.services.clock.wall(), [op]));
        ctx.spawn(actix::fut::wrap_future(commit).map(move |result, _: &mut Self, ctx| match result {
            Ok(_) => {
                ctx.run_later(AFTER_FAULT, move |this, ctx| this.wake(key, ctx));
            }
            Err(StoreError::Failed(_)) => {}
            Err(error) => {
                tracing::warn!(account = %key.0, conversation = %key.1, "interrupted turn not marked, trying again: {error}");
                ctx.run_later(STORE_RETRY, move |this, ctx| this.interrupt(key, generation, ctx));
            }
        }));
    }

    /// What conversations of an earlier life of this router left running, of all accounts.
    fn interrupt_all(&mut self, ctx: &mut Context<Self>) {
        let services = Rc::clone(&self.services);
        let interrupting = async move {
            for account in services.accounts.all() {
                let op = Op::InterruptTurns { conversation: None, generation: Generation::LAST };
                services.store.commit(Tx::under(&account.lease, services.clock.wall(), [op])).await?;
            }
            Ok::<(), StoreError>(())
        };
        ctx.wait(actix::fut::wrap_future(interrupting).map(|result, this: &mut Self, ctx| match result {
            Ok(()) => this.look(None, ctx),
            Err(StoreError::Failed(_)) => {}
            Err(error) => {
                tracing::warn!(
                    actor = "conversations",
                    "interrupted turns not marked, trying again: {error}"
                );
                ctx.run_later(STORE_RETRY, |this, ctx| this.interrupt_all(ctx));
            }
        }));
    }
}

/// A conversation's name in the tree. Ids of platforms may hold anything, and a slash would look like a level; the
/// escape keeps different conversations different.
fn child_id((account, conversation): &Key) -> String {
    format!("{account}~{}", conversation.as_str().replace('%', "%25").replace('/', "%2f"))
}

impl Actor for Conversations {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.env.children.bind(ctx.address().recipient());
        if self.env.generation > Generation::FIRST {
            self.interrupt_all(ctx);
        } else {
            // Taking the accounts over has interrupted what the last process left running.
            self.look(None, ctx);
        }
    }
}

impl Handler<Wake> for Conversations {
    type Result = ();

    fn handle(&mut self, wake: Wake, ctx: &mut Context<Self>) {
        self.wake((wake.account, wake.conversation), ctx);
    }
}

impl Handler<MaySleep> for Conversations {
    type Result = bool;

    fn handle(&mut self, asked: MaySleep, _: &mut Context<Self>) -> bool {
        match self.active.get_mut(&(asked.account, asked.conversation)) {
            Some(active) if active.actor.generation() == Some(asked.generation) && !active.again => {
                active.asleep = true;
                true
            }
            _ => false,
        }
    }
}

impl Handler<ChildExited> for Conversations {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, ctx: &mut Context<Self>) -> Directive {
        let key = self.active.keys().find(|key| child_id(key) == exited.id).cloned();
        if let Some(key) = key {
            self.ended(key, exited.generation, exited.reason.is_fault(), ctx);
        }
        Directive::Stop
    }
}
