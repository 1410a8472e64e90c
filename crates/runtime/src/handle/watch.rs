//! What a watcher is told first: everything as it is at the moment from which it hears of changes.

use std::collections::BTreeMap;

use moorline_core::{BootId, Timestamp};
use serde::Serialize;

use super::{Handle, StoreStatus};
use crate::board::{AccountStatus, AgentStatus};
use crate::events::{Scope, Subscription};
use crate::reload::ConfigStatus;

/// The retained state of everything that events tell changes of.
#[derive(Debug, Clone, Serialize)]
pub struct Retained {
    /// The number of the last event before it.
    pub seq: u64,
    /// When it was so.
    pub at: Timestamp,
    /// The program's version.
    pub version: &'static str,
    /// The process.
    pub pid: u32,
    /// This run of it: another one numbers its events anew.
    pub boot: BootId,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether every wanted account is ready and the store takes commits.
    pub ready: bool,
    /// Whether the process is on its way down.
    pub draining: bool,
    /// The store.
    pub store: StoreStatus,
    /// The configuration file.
    pub config: ConfigStatus,
    /// Every agent, by name.
    pub agents: BTreeMap<String, AgentStatus>,
    /// Every account in the scope, by id.
    pub accounts: Vec<AccountStatus>,
}

impl Handle {
    /// Everything as it is now, and what becomes of it. Nothing that happens in between is missed: of accounts, what
    /// the subscription tells is exactly what changes in them from here on; of agents, the store and the
    /// configuration, an event may tell once more what is shown already.
    pub fn events(&self, scope: &Scope) -> (Retained, Subscription) {
        let (mut accounts, subscription) = self.board.retained(scope);
        accounts.retain(|status| scope.account.as_ref().is_none_or(|account| *account == status.id));
        let retained = Retained {
            seq: subscription.after(),
            at: self.now(),
            version: self.version,
            pid: std::process::id(),
            boot: self.boot.clone(),
            started_at: self.started_at,
            ready: self.readiness().is_ok(),
            draining: self.board.is_draining(),
            store: self.store_status(),
            config: self.config_status.read().clone(),
            agents: self.board.agents(),
            accounts,
        };
        (retained, subscription)
    }
}
