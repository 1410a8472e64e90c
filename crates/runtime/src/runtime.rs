//! Puts the tree together, and takes it down again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Network, Plan};
use moorline_config::Config;
use moorline_core::{AccountId, BootId, Clock, Epoch};
use moorline_store::{Life, Op, Outcome, Store, StoreError, Tx};
use moorline_supervision::{ActorRef, ChildSpec, NodeHandle, Root, Supervisor, Tree};
use tokio::sync::Mutex;

use crate::accounts::{Accounts, say_goodbye};
use crate::agents::{Agents, OwnAgents};
use crate::alerts::Alerts;
use crate::board::Board;
use crate::bus::Bus;
use crate::conversations::Conversations;
use crate::events::Events;
use crate::exit::{ExitReason, ExitRequests};
use crate::handle::Handle;
use crate::hosts::Hosts;
use crate::logins::{Desk, Logins, Means};
use crate::machine::{Machine, MachineWatch};
use crate::random::Random;
use crate::recovery::SessionRecovery;
use crate::reload::{ConfigFile, ConfigWatch};
use crate::scheduler::Scheduler;
use crate::services::{Account, AccountActors, AccountDirectory, Services, Settings};
use crate::storage::{StoreWatch, writer_node};

/// How often a shutdown looks whether the work under way is done.
const DRAIN_ROUND: Duration = Duration::from_millis(20);

/// For telling the store that the run is over.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Rounds without work under way after which a drain is over: one may fall between a turn and its reply.
const QUIET_ROUNDS: u32 = 3;

/// Makes the specification of one more child of the root, for each life of the root.
pub type ChildFactory = Box<dyn FnMut(&Handle) -> ChildSpec>;

/// What a runtime is made of.
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The plan of each configured account, made by its channel's factory.
    pub plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    /// Agents of the program's own, each in the place of the configured one of its name.
    pub agents: OwnAgents,
    /// The store, open.
    pub store: Arc<dyn Store>,
    /// Where logins by a person are kept.
    pub logins: Rc<dyn Logins>,
    /// The network.
    pub network: Network,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// This run.
    pub boot: BootId,
    /// Where randomness comes from.
    pub seed: u64,
    /// The program's version.
    pub version: &'static str,
    /// The configuration file to watch, if there is one.
    pub config_file: Option<ConfigFile>,
    /// The machine under the process; `()` for none.
    pub machine: Arc<dyn Machine>,
    /// More children of the root, started last.
    pub children: Vec<ChildFactory>,
}

/// The runtime did not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The accounts could not be taken over in the store.
    #[error("the accounts could not be taken over, nothing was started: {0}")]
    Store(#[from] StoreError),
    /// An account is configured and has no plan.
    #[error("account {0} has no plan: its channel is not part of this program")]
    NoPlan(AccountId),
}

/// A running runtime.
pub struct Runtime {
    root: Root,
    handle: Handle,
    services: Rc<Services>,
    _writer: NodeHandle,
}

impl Runtime {
    /// Takes the accounts over and starts the tree. What an earlier process left running is marked interrupted by
    /// the same commit, before any actor exists (G9). Has to be called inside an actix system.
    ///
    /// # Errors
    /// When the store refuses, or an account has no plan.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options {
            config,
            plans,
            agents,
            store,
            logins,
            network,
            clock,
            boot,
            seed,
            version,
            config_file,
            machine,
            children,
        } = options;
        let started_at = clock.wall();
        let epochs = take_over(&*store, &config, &boot, version, &*clock).await?;
        let lives = store.lives().await?;
        let tree = Tree::new(Arc::clone(&clock), seed);
        let events = Events::new(Arc::clone(&clock));
        tree.observe(events.of_actors());
        let board = Board::telling(events);
        let settings = Settings::new(config, &Agents::with_own(agents), &network, started_at);
        board.set_agents(settings.agents.statuses());
        let services = Rc::new(Services {
            boot: boot.clone(),
            clock: Arc::clone(&clock),
            store: Arc::clone(&store),
            network,
            board,
            hosts: Hosts::default(),
            random: Random::new(seed),
            bus: ActorRef::new(),
            conversations: ActorRef::new(),
            accounts: AccountDirectory::default(),
            keeper: ActorRef::new(),
            logins,
            applying: Mutex::default(),
            draining: Cell::new(false),
            stopped: RefCell::default(),
            settings: RefCell::new(Rc::new(settings)),
        });
        add_accounts(&services, &services.settings().config, plans, &epochs, &lives).await?;
        let handle = Handle {
            version,
            boot,
            started_at,
            clock,
            board: services.board.clone(),
            tree: tree.clone(),
            store,
            accounts: services.keeper.clone(),
            logins: ActorRef::new(),
            scheduler: ActorRef::new(),
            config: ActorRef::new(),
            config_status: Arc::default(),
            config_file: config_file.clone(),
            machine: MachineWatch::new(machine),
            exits: ExitRequests::new(),
        };
        let root = Root::start(&tree, root_spec(&services, &handle, config_file, children));
        Ok(Self { root, handle, services, _writer: writer_node(&tree) })
    }

    /// What may be seen and done from outside.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends in an orderly way: connections first, so that nothing more comes in; then turns and sends get `grace` to
    /// finish; then the tree goes down in reverse order of its start. What is not finished is resumed by the next
    /// process.
    pub async fn shutdown(mut self, grace: Duration) {
        tracing::info!(
            grace_ms = moorline_core::millis(grace),
            turns = self.handle.board.turns(),
            "shutting down"
        );
        self.services.draining.set(true);
        let replaced = self.handle.exit_reason().is_some_and(|reason| reason != ExitReason::Shutdown);
        self.handle.board.drain(replaced);
        self.close_connections().await;
        if tokio::time::timeout(grace, self.quiet()).await.is_err() {
            tracing::warn!(
                turns = self.handle.board.turns(),
                "not everything finished in time; it is resumed at the next start"
            );
        }
        self.root.stop().await;
        let end = Op::EndBoot { boot: self.services.boot.clone() };
        let telling = self.services.store.commit(Tx::global(self.services.clock.wall(), [end]));
        match tokio::time::timeout(LAST_WORD, telling).await {
            Ok(Ok(_)) => tracing::info!("shut down"),
            Ok(Err(error)) => tracing::error!("shut down, but the store could not be told: {error}"),
            Err(_) => tracing::error!("shut down, but the store did not answer"),
        }
    }

    async fn close_connections(&self) {
        let accounts = self.services.accounts.all();
        futures_util::future::join_all(accounts.iter().map(|account| say_goodbye(account))).await;
    }

    async fn quiet(&self) {
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS {
            let sending: u32 = self
                .handle
                .tree()
                .iter()
                .filter(|node| node.path.ends_with("/outbox"))
                .map(|node| node.in_flight)
                .sum();
            quiet = if self.handle.board.turns() == 0 && sending == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(DRAIN_ROUND).await;
        }
    }
}

/// One commit: the run begins, and every account is ours.
async fn take_over(
    store: &dyn Store,
    config: &Config,
    boot: &BootId,
    version: &str,
    clock: &dyn Clock,
) -> Result<Vec<Epoch>, StoreError> {
    let begin = Op::BeginBoot { boot: boot.clone(), version: version.to_owned() };
    let take = config.accounts.iter().map(|account| Op::TakeOver { account: account.id.clone() });
    let outcomes = store.commit(Tx::global(clock.wall(), std::iter::once(begin).chain(take))).await?;
    outcomes.into_iter().skip(1).map(epoch_of).collect()
}

/// The epoch that taking an account over gave.
pub(crate) fn epoch_of(outcome: Outcome) -> Result<Epoch, StoreError> {
    match outcome {
        Outcome::Applied(epoch) => Ok(Epoch::new(epoch)),
        other => Err(StoreError::Refused(format!("taking an account over gave {other:?}"))),
    }
}

async fn add_accounts(
    services: &Rc<Services>,
    config: &Config,
    mut plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    epochs: &[Epoch],
    lives: &BTreeMap<AccountId, Life>,
) -> Result<(), StartError> {
    for (configured, epoch) in config.accounts.iter().zip(epochs) {
        let id = &configured.id;
        let plan = plans.remove(id).ok_or_else(|| StartError::NoPlan(id.clone()))?;
        let life = lives.get(id).cloned().unwrap_or_default();
        let means = Means::of(&*services.logins, id, plan).await;
        services.board.add(id, services.clock.wall());
        services.board.update(id, |status| status.login.clone_from(&means.login));
        services.board.set_access(id, &configured.access);
        let account = Account::new(configured, means, *epoch, Rc::new(AccountActors::after(&life)));
        services.board.update(id, |status| status.symptoms.last_gap = life.last_gap);
        services.accounts.insert(Rc::new(account));
    }
    Ok(())
}

/// The tree of design §3. What others stand on is started first and stopped last.
fn root_spec(
    services: &Rc<Services>,
    handle: &Handle,
    config_file: Option<ConfigFile>,
    mut more: Vec<ChildFactory>,
) -> ChildSpec {
    let (services, handle) = (Rc::clone(services), handle.clone());
    Supervisor::spec("runtime", move |_| {
        let s = || Rc::clone(&services);
        let (storage, bus, recovery, conversations, accounts, jobs) = (s(), s(), s(), s(), s(), s());
        let people = s();
        let exits = handle.exits.clone();
        let mut specs = vec![
            ChildSpec::new("store", &ActorRef::new(), move |env| {
                StoreWatch::new(Rc::clone(&storage), exits.clone(), env)
            }),
            ChildSpec::new("bus", &services.bus, move |env| Bus::new(&env, &bus.board)),
            ChildSpec::new("recovery", &ActorRef::new(), move |env| {
                SessionRecovery::new(Rc::clone(&recovery), env)
            }),
            ChildSpec::new("conversations", &services.conversations, move |env| {
                Conversations::new(Rc::clone(&conversations), env)
            }),
            ChildSpec::new("accounts", &handle.accounts, move |env| Accounts::new(Rc::clone(&accounts), env))
                .shutdown(Duration::from_secs(10)),
            ChildSpec::new("logins", &handle.logins, move |env| Desk::new(Rc::clone(&people), env)),
            ChildSpec::new("scheduler", &handle.scheduler, move |env| Scheduler::new(Rc::clone(&jobs), env)),
        ];
        specs.extend(config_file.clone().map(|file| config_spec(file, &handle)));
        let (watching, watched) = (s(), handle.clone());
        specs.push(ChildSpec::new("alerts", &ActorRef::new(), move |env| {
            Alerts::new(Rc::clone(&watching), watched.clone(), env)
        }));
        specs.extend(more.iter_mut().map(|child| child(&handle)));
        specs
    })
}

fn config_spec(file: ConfigFile, handle: &Handle) -> ChildSpec {
    let handle = handle.clone();
    ChildSpec::new("config", &handle.config.clone(), move |env| {
        let (accounts, status) = (handle.accounts.clone(), Arc::clone(&handle.config_status));
        let events = handle.board.events().clone();
        ConfigWatch::new(file.clone(), accounts, status, events, Arc::clone(&handle.clock), env)
    })
}
