//! The router of conversations: one actor per active conversation, and the only one who sends to it.

mod asking;
mod conversation;
mod interruption;
mod reset;
mod typing;

pub(crate) use reset::Reset;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use moorline_core::{AccountId, AccountState, ConversationId, Generation, InboxId};
use moorline_store::{Tx, Waiting};
use moorline_supervision::{ActorRef, ChildExited, ChildSpec, Directive, Env};

use crate::bus::{self, AccountChanged};
use crate::services::{STORE_RETRY, Services};
use conversation::Conversation;
use interruption::{Marked, interrupt};

/// Conversations with an actor at the same time; more wait in the store until one of these rests (G12).
pub(crate) const MAX_ACTIVE: usize = 4_096;

/// Conversations with work that are read from the store at a time.
const PAGE: u32 = 512;

/// After a fault in a conversation, before its work is looked at again.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// Between two looks for work that found no room.
const OVERFLOW_ROUND: Duration = Duration::from_millis(100);

/// A conversation may have something to do. A hint: what there is to do is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
}

/// There is no room for others: a conversation that only rests asks to end now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct RestNow;

/// A conversation asks whether it may end. `heard` says how many wake-ups it has got in this life: one that is still
/// on its way to it means no.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct MaySleep {
    pub(crate) account: AccountId,
    pub(crate) conversation: ConversationId,
    pub(crate) generation: Generation,
    pub(crate) heard: u64,
}

type Key = (AccountId, ConversationId);

/// Routes wake-ups to conversations and supervises them.
pub(crate) struct Conversations {
    services: Rc<Services>,
    env: Env,
    /// By their names in the tree.
    active: BTreeMap<String, Active>,
    /// There is work in the store that found no room here; a look for it is due.
    overflow: bool,
    /// Where that look begins: those before it had their turn, and what rests among them must not keep the others out.
    overflow_after: InboxId,
}

/// A conversation with an actor, or with one that is on its way out.
struct Active {
    key: Key,
    actor: ActorRef<Conversation>,
    /// Wake-ups sent to this life.
    sent: u64,
    /// No wake-up reaches it any more: it was allowed to end, or has ended.
    leaving: bool,
    /// A wake-up came that it did not get.
    again: bool,
    /// An operator lets the conversation begin anew; its place is free when that is stored.
    resetting: bool,
}

impl Conversations {
    pub(crate) fn new(services: Rc<Services>, env: Env) -> Self {
        Self { services, env, active: BTreeMap::new(), overflow: false, overflow_after: InboxId::default() }
    }

    /// Wakes a conversation, or says that there is no room for it now.
    fn wake(&mut self, key: Key, ctx: &mut Context<Self>) -> bool {
        let (name, full) = (child_name(&key), self.active.len() >= MAX_ACTIVE);
        match self.active.get_mut(&name) {
            Some(active) if active.leaving => active.again = true,
            Some(active) => {
                let wake = Wake { account: key.0, conversation: key.1 };
                if active.actor.tell(wake) {
                    active.sent += 1;
                } else {
                    // Not begun yet, and then it looks for itself; or over, which will be heard of.
                    active.again = true;
                }
            }
            None if full => {
                self.make_room(ctx);
                return false;
            }
            None => self.start(name, key, ctx),
        }
        true
    }

    fn start(&mut self, name: String, key: Key, ctx: &mut Context<Self>) {
        if self.services.accounts.get(&key.0).is_none() {
            return;
        }
        let actor = ActorRef::new();
        let (services, router, (account, conversation)) =
            (Rc::clone(&self.services), ctx.address(), key.clone());
        let spec = ChildSpec::new(name.as_str(), &actor, move |env| {
            Conversation::new(
                Rc::clone(&services),
                account.clone(),
                conversation.clone(),
                env,
                router.clone(),
            )
        });
        if let Err(error) = self.env.children.start(spec.temporary()) {
            tracing::warn!(account = %key.0, conversation = %key.1, "conversation not started, trying again: {error}");
            ctx.run_later(STORE_RETRY, move |this, ctx| {
                this.wake(key, ctx);
            });
            return;
        }
        let active = Active { key, actor, sent: 0, leaving: false, again: false, resetting: false };
        self.active.insert(name, active);
    }

    /// Asks whoever only rests to end, and looks again soon for the work that found no room.
    fn make_room(&mut self, ctx: &mut Context<Self>) {
        if self.overflow {
            return;
        }
        self.overflow = true;
        for active in self.active.values().filter(|active| !active.leaving) {
            active.actor.tell(RestNow);
        }
        ctx.run_later(OVERFLOW_ROUND, |this, ctx| {
            this.overflow = false;
            let after = std::mem::take(&mut this.overflow_after);
            this.look_after(None, after, ctx);
            if after > InboxId::default() {
                // Those before it are looked at in the next round.
                this.make_room(ctx);
            }
        });
    }

    /// Wakes every conversation with work, of one account or of all: nothing that was pending when a hint was lost
    /// stays pending.
    fn look(&mut self, account: Option<AccountId>, ctx: &mut Context<Self>) {
        self.look_after(account, InboxId::default(), ctx);
    }

    /// A page of them, and then the next, as long as there is room (G12).
    fn look_after(&mut self, account: Option<AccountId>, after: InboxId, ctx: &mut Context<Self>) {
        let services = Rc::clone(&self.services);
        let of = account.clone();
        let looking = async move {
            let first_page = after == InboxId::default();
            if let Some(account) = of.as_ref().filter(|_| first_page).and_then(|id| services.accounts.get(id))
            {
                // What the connection before handed to the store may still be on its way to it, and nobody is left to
                // say so: the look comes after it.
                let nothing = Tx::under(&account.lease, services.clock.wall(), []);
                services.store.commit(nothing).await?;
            }
            services.store.conversations_with_work(of.as_ref(), after, PAGE).await
        };
        ctx.spawn(actix::fut::wrap_future(looking).map(move |found, this: &mut Self, ctx| match found {
            Ok(found) => this.wake_page(account, after, found, ctx),
            Err(error) => {
                tracing::warn!(actor = "conversations", "pending work not read, trying again: {error}");
                ctx.run_later(STORE_RETRY, move |this, ctx| this.look_after(account, after, ctx));
            }
        }));
    }

    fn wake_page(
        &mut self,
        account: Option<AccountId>,
        mut after: InboxId,
        found: Vec<Waiting>,
        ctx: &mut Context<Self>,
    ) {
        let is_last = found.len() < PAGE as usize;
        for waiting in found {
            if !self.wake((waiting.account, waiting.conversation), ctx) {
                self.overflow_after = after;
                return;
            }
            after = waiting.since;
        }
        if !is_last {
            self.look_after(account, after, ctx);
        }
    }

    /// A conversation ended. Its place is free when its task is gone, and not while its exit is being answered; what
    /// woke it meanwhile waits until then, so that no wake-up is lost (design §3 rule 6).
    fn ended(&mut self, exited: &ChildExited, ctx: &mut Context<Self>) {
        let Some(active) = self.active.get_mut(&exited.id) else { return };
        active.leaving = true;
        let (generation, fault) = (exited.generation, exited.reason.is_fault());
        let name = exited.id.clone();
        let gone = self.env.children.stop(&name);
        ctx.spawn(actix::fut::wrap_future(gone).map(move |_, this: &mut Self, ctx| {
            // A reset frees the place by itself, and may have done so.
            if this.active.get(&name).is_none_or(|active| active.resetting || !active.leaving) {
                return;
            }
            let Some(active) = this.active.remove(&name) else { return };
            if fault {
                this.interrupt(active.key, generation, ctx);
            } else if active.again {
                this.start(name, active.key, ctx);
            }
        }));
    }

    /// What a life left running is marked before its work is looked at again.
    fn interrupt(&mut self, key: Key, generation: Generation, ctx: &mut Context<Self>) {
        let services = Rc::clone(&self.services);
        let marking = async move {
            let marked = interrupt(&services, &key.0, Some(&key.1), generation).await;
            (key, marked)
        };
        ctx.spawn(actix::fut::wrap_future(marking).map(|(key, marked), _: &mut Self, ctx| {
            if marked == Marked::Yes {
                ctx.run_later(AFTER_FAULT, move |this, ctx| {
                    this.wake(key, ctx);
                });
            }
        }));
    }

    /// What conversations of an earlier life of this router left running, of all accounts. Nobody is woken before it is
    /// marked: a turn of this life must not be taken for one of the last.
    fn interrupt_all(&mut self, ctx: &mut Context<Self>) {
        let services = Rc::clone(&self.services);
        let marking = async move {
            for account in services.accounts.all() {
                if interrupt(&services, &account.id, None, Generation::LAST).await == Marked::StoreFailed {
                    return;
                }
            }
        };
        ctx.wait(actix::fut::wrap_future(marking).map(|(), this: &mut Self, ctx| this.look(None, ctx)));
    }
}

/// A conversation's name in the tree. Ids of platforms may hold anything, and a slash would look like a level; the
/// escape keeps different conversations different.
fn child_name((account, conversation): &Key) -> String {
    format!("{account}~{}", conversation.as_str().replace('%', "%25").replace('/', "%2f"))
}

impl Actor for Conversations {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.env.children.bind(ctx.address().recipient());
        bus::follow(&self.services.bus, None, ctx);
        if self.env.generation > Generation::FIRST {
            self.interrupt_all(ctx);
        } else {
            // Taking the accounts over has interrupted what the last process left running.
            self.look(None, ctx);
        }
    }
}

/// A channel that is ready is the moment to look for what a lost hint has left pending: a message may have been stored
/// just as its connection ended, and comes again as a duplicate only.
impl Handler<AccountChanged> for Conversations {
    type Result = ();

    fn handle(&mut self, event: AccountChanged, ctx: &mut Context<Self>) {
        if event.state == AccountState::Ready {
            self.look(Some(event.account), ctx);
        }
    }
}

impl Handler<Wake> for Conversations {
    type Result = ();

    fn handle(&mut self, wake: Wake, ctx: &mut Context<Self>) {
        // One that finds no room is found in the store again.
        self.wake((wake.account, wake.conversation), ctx);
    }
}

impl Handler<MaySleep> for Conversations {
    type Result = bool;

    fn handle(&mut self, asked: MaySleep, _: &mut Context<Self>) -> bool {
        let Some(active) = self.active.get_mut(&child_name(&(asked.account, asked.conversation))) else {
            return true;
        };
        let is_this_life = active.actor.generation() == Some(asked.generation);
        // The no sends it to the store once more, which covers whatever it did not get.
        let missed = std::mem::take(&mut active.again) || active.sent != asked.heard;
        if is_this_life && !missed {
            active.leaving = true;
        }
        is_this_life && !missed
    }
}

impl Handler<ChildExited> for Conversations {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, ctx: &mut Context<Self>) -> Directive {
        self.ended(&exited, ctx);
        Directive::Stop
    }
}
