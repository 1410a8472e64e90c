//! What a new configuration changes, sorted by what it takes to apply it (F-075).

use moorline_core::AccountId;

use crate::resolved::{Account, Admin, Config, Log, Network};

/// What it takes to get from one configuration to another. What is in none of the lists keeps its socket and its
/// generation. The class of each key is in the table of settings, and the reference page shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Accounts that there were not before, in the order of their ids.
    pub added: Vec<AccountId>,
    /// Accounts that are gone.
    pub removed: Vec<AccountId>,
    /// Accounts that stay, and what has to be done to them.
    pub changed: Vec<(AccountId, Change)>,
    /// Whether agents were added, removed or changed: turns that begin from now on use the new ones (F-078).
    pub agents_changed: bool,
    /// Whether a limit under `[runtime]` is another one: it counts from now on.
    pub runtime_changed: bool,
    /// Whether alerts go elsewhere or at other times: from now on.
    pub alerts_changed: bool,
    /// The keys that a running process cannot apply, such as `admin.listen`: they wait for the next start.
    pub needs_restart: Vec<String>,
}

/// What has to be done to an account that changed. The greater one includes the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Access, agent or retry: applied without touching the connection.
    Live,
    /// Credentials, address, liveness or another setting of the channel's: the account connects again, nobody else.
    Reconnect,
}

impl Difference {
    /// What leads from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let in_both = |account: &Account| old.account(&account.id).map(|before| (before, account.id.clone()));
        let changed = new.accounts.iter().filter_map(|account| {
            let (before, id) = in_both(account)?;
            Some((id, change(before, account)?))
        });
        Self {
            added: only_in(new, old),
            removed: only_in(old, new),
            changed: changed.collect(),
            agents_changed: old.agents != new.agents,
            runtime_changed: old.runtime != new.runtime,
            alerts_changed: old.alerts != new.alerts,
            needs_restart: needs_restart(old, new),
        }
    }

    /// Whether the two configurations mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings that a running process cannot apply, as it has them, in the place of those of `config`: what is in use
/// is what runs, so that a file that is changed back needs no restart.
pub(crate) fn keep_running(config: Config, runs: &Config) -> Config {
    let Config { data_dir, admin, log, network, runtime: _, alerts: _, agents: _, accounts: _ } =
        runs.clone();
    Config { data_dir, admin, log, network, ..config }
}

fn only_in(one: &Config, other: &Config) -> Vec<AccountId> {
    let ids = one.accounts.iter().map(|account| &account.id);
    ids.filter(|id| other.account(id).is_none()).cloned().collect()
}

fn change(old: &Account, new: &Account) -> Option<Change> {
    // Taken apart by name, so that a new field cannot be forgotten here.
    let Account { id: _, settings, agent, access, retry, liveness, position: _ } = old;
    if *settings != new.settings || *liveness != new.liveness {
        return Some(Change::Reconnect);
    }
    let live = *agent != new.agent || *access != new.access || *retry != new.retry;
    live.then_some(Change::Live)
}

fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let Config { data_dir, admin, log, network, runtime: _, alerts: _, agents: _, accounts: _ } = old;
    let Admin { listen, allow_remote } = admin;
    let Log { format, filter } = log;
    let Network { proxy, no_proxy, extra_roots } = network;
    [
        ("data_dir", *data_dir != new.data_dir),
        ("admin.listen", *listen != new.admin.listen),
        ("admin.allow_remote", *allow_remote != new.admin.allow_remote),
        ("log.format", *format != new.log.format),
        ("log.filter", *filter != new.log.filter),
        ("network.proxy", *proxy != new.network.proxy),
        ("network.no_proxy", *no_proxy != new.network.no_proxy),
        ("network.extra_roots", *extra_roots != new.network.extra_roots),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(key, _)| key.to_owned())
    .collect()
}
