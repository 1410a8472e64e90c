//! What the runtime's actors are wired with: handles only, never somebody's state.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_agent::Agent;
use moorline_channel::{Network, Plan};
use moorline_config::Access;
use moorline_core::{AccountId, AccountState, BootId, Clock, Generation, RetryPolicy};
use moorline_store::{Lease, Store};
use moorline_supervision::ActorRef;

use crate::accounts::{Connection, Credentials, IdentityProbe, Outbox};
use crate::board::Board;
use crate::bus::{AccountChanged, Bus};
use crate::conversations::Conversations;
use crate::hosts::Hosts;
use crate::random::Random;

/// The process-wide handles. One per runtime, shared by `Rc`: everything here lives on one arbiter.
pub(crate) struct Services {
    pub(crate) boot: BootId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) network: Network,
    pub(crate) board: Board,
    pub(crate) hosts: Hosts,
    pub(crate) random: Random,
    pub(crate) bus: ActorRef<Bus>,
    pub(crate) conversations: ActorRef<Conversations>,
    pub(crate) accounts: AccountDirectory,
    pub(crate) agents: BTreeMap<String, Rc<dyn Agent>>,
    pub(crate) limits: Limits,
}

/// The runtime's own time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) turn_timeout: Duration,
    pub(crate) hold_limit: Duration,
}

impl Services {
    /// Tells the bus; whoever starts or restarts later finds the same on the board.
    pub(crate) fn publish(&self, account: &AccountId, generation: Generation, state: AccountState) {
        self.bus.tell(AccountChanged { account: account.clone(), generation, state });
    }
}

/// Everything that belongs to one configured account.
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) lease: Lease,
    pub(crate) access: Access,
    pub(crate) agent: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) actors: AccountActors,
}

/// The actors of an account, over all their generations.
#[derive(Default)]
pub(crate) struct AccountActors {
    pub(crate) credentials: ActorRef<Credentials>,
    pub(crate) identity: ActorRef<IdentityProbe>,
    pub(crate) outbox: ActorRef<Outbox>,
    pub(crate) connection: ActorRef<Connection>,
}

/// The configured accounts by id. Never borrowed across an await.
#[derive(Clone, Default)]
pub(crate) struct AccountDirectory {
    by_id: Rc<RefCell<BTreeMap<AccountId, Rc<Account>>>>,
}

impl AccountDirectory {
    pub(crate) fn insert(&self, account: Rc<Account>) {
        self.by_id.borrow_mut().insert(account.id.clone(), account);
    }

    pub(crate) fn get(&self, id: &AccountId) -> Option<Rc<Account>> {
        self.by_id.borrow().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Rc<Account>> {
        self.by_id.borrow().values().cloned().collect()
    }
}
