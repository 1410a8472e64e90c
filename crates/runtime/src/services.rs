//! What the runtime's actors are wired with: handles only, never somebody's state.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Network, Plan};
use moorline_config::{Access, Config};
use moorline_core::{AccountId, AccountState, BootId, Clock, Epoch, Generation, RetryPolicy, Timestamp};
use moorline_store::{Lease, Life, Store};
use moorline_supervision::ActorRef;
use tokio::sync::Mutex;

use crate::accounts::{Accounts, Connection, Credentials, IdentityProbe, Outbox, Watch};
use crate::agents::Agents;
use crate::board::Board;
use crate::bus::{AccountChanged, Bus};
use crate::conversations::Conversations;
use crate::dated::Dated;
use crate::hosts::Hosts;
use crate::logins::{Logins, Means};
use crate::random::Random;

/// How long to wait before a store that refused is asked again.
pub(crate) const STORE_RETRY: Duration = Duration::from_secs(1);

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
    /// Who starts and stops the accounts.
    pub(crate) keeper: ActorRef<Accounts>,
    pub(crate) logins: Rc<dyn Logins>,
    /// Held while a configuration or a login is applied. What a supervisor has begun goes on when it ends, so its
    /// successor has to wait for it.
    pub(crate) applying: Mutex<()>,
    /// The process is on its way down: nothing connects any more.
    pub(crate) draining: Cell<bool>,
    /// Accounts that an operator stopped: they stay so whatever is restarted, until they are started again.
    pub(crate) stopped: RefCell<BTreeSet<AccountId>>,
    /// What of the configuration can change while it is in use. A snapshot stays good for as long as it is held.
    pub(crate) settings: RefCell<Rc<Settings>>,
}

/// What of the configuration concerns the whole runtime.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) agents: Agents,
    pub(crate) limits: Limits,
}

/// The runtime's own time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) turn_timeout: Duration,
    pub(crate) hold_limit: Duration,
    pub(crate) held_reply_limit: Duration,
    pub(crate) retention: Duration,
}

impl Settings {
    /// What follows `before` when the configuration is this one.
    pub(crate) fn new(config: Config, before: &Agents, network: &Network, now: Timestamp) -> Self {
        let agents = Agents::new(&config.agents, before, network, now);
        let limits = Limits {
            turn_timeout: config.runtime.turn_timeout,
            hold_limit: config.runtime.hold_limit,
            held_reply_limit: config.runtime.held_reply_limit,
            retention: config.runtime.retention,
        };
        Self { config, agents, limits }
    }
}

impl Services {
    /// An account that is there and that no operator has stopped.
    pub(crate) fn wanted(&self, id: &AccountId) -> Option<Rc<Account>> {
        self.accounts.get(id).filter(|_| !self.stopped.borrow().contains(id))
    }

    /// Makes these the settings. Turns that wait for an agent look for the one that they have now.
    pub(crate) fn set(&self, config: Config) {
        let before = self.settings();
        let config = config.applied_to(&before.config);
        let settings = Settings::new(config, &before.agents, &self.network, self.clock.wall());
        self.board.set_agents(settings.agents.statuses());
        self.settings.replace(Rc::new(settings));
        before.agents.wake();
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// The network as an account uses it: what its platform says of the time is noted on the way.
    pub(crate) fn network_of(&self, account: &AccountId) -> Network {
        let http = Dated {
            inner: Rc::clone(&self.network.http),
            board: self.board.clone(),
            clock: Arc::clone(&self.clock),
            account: account.clone(),
        };
        Network { http: Rc::new(http), websocket: Rc::clone(&self.network.websocket) }
    }

    /// Tells the bus; whoever starts or restarts later finds the same on the board.
    pub(crate) fn publish(&self, account: &AccountId, generation: Generation, state: AccountState) {
        self.bus.tell(AccountChanged { account: account.clone(), generation, state });
    }
}

/// Everything that belongs to one configured account. A reload that changes what the connection stands on makes a
/// new one, with the same actors' references; one that changes only how messages are treated changes `treatment`.
pub(crate) struct Account {
    pub(crate) id: AccountId,
    /// What it works with: the plan of `means`.
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) means: Means,
    pub(crate) lease: Lease,
    pub(crate) actors: Rc<AccountActors>,
    treatment: RefCell<Rc<Treatment>>,
}

/// How an account's messages are treated: may change under a running connection (F-075).
pub(crate) struct Treatment {
    pub(crate) access: Access,
    pub(crate) agent: String,
    pub(crate) retry: RetryPolicy,
}

impl Account {
    pub(crate) fn new(
        configured: &moorline_config::Account,
        means: Means,
        epoch: Epoch,
        actors: Rc<AccountActors>,
    ) -> Self {
        let id = configured.id.clone();
        let lease = Lease { account: id.clone(), epoch };
        let treatment = RefCell::new(Rc::new(Treatment::of(configured)));
        Self { id, plan: Arc::clone(&means.plan), means, lease, actors, treatment }
    }

    /// The same account with other means.
    pub(crate) fn with(&self, means: Means) -> Self {
        Self {
            id: self.id.clone(),
            plan: Arc::clone(&means.plan),
            means,
            lease: self.lease.clone(),
            actors: Rc::clone(&self.actors),
            treatment: RefCell::new(self.treatment()),
        }
    }

    /// How messages are treated now.
    pub(crate) fn treatment(&self) -> Rc<Treatment> {
        Rc::clone(&self.treatment.borrow())
    }

    /// The delays after failures, as they are now.
    pub(crate) fn retry(&self) -> RetryPolicy {
        self.treatment.borrow().retry
    }

    pub(crate) fn treat(&self, configured: &moorline_config::Account) {
        self.treatment.replace(Rc::new(Treatment::of(configured)));
    }
}

impl Treatment {
    fn of(configured: &moorline_config::Account) -> Self {
        Self {
            access: configured.access.clone(),
            agent: configured.agent.clone(),
            retry: RetryPolicy { transient: configured.retry, ..RetryPolicy::default() },
        }
    }
}

/// The actors of an account, over all their generations.
#[derive(Default)]
pub(crate) struct AccountActors {
    pub(crate) credentials: ActorRef<Credentials>,
    pub(crate) identity: ActorRef<IdentityProbe>,
    pub(crate) outbox: ActorRef<Outbox>,
    pub(crate) connection: ActorRef<Connection>,
    /// The signs of life that the connection has had, whichever life of it heard them. Never borrowed across an await.
    pub(crate) watch: RefCell<Watch>,
}

impl AccountActors {
    /// Those of an account that an earlier process has left so.
    pub(crate) fn after(life: &Life) -> Self {
        Self { watch: RefCell::new(Watch::after(life)), ..Self::default() }
    }
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

    pub(crate) fn remove(&self, id: &AccountId) {
        self.by_id.borrow_mut().remove(id);
    }

    pub(crate) fn get(&self, id: &AccountId) -> Option<Rc<Account>> {
        self.by_id.borrow().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Rc<Account>> {
        self.by_id.borrow().values().cloned().collect()
    }
}
