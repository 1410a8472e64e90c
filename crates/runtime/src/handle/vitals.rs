//! Everything that can be told in numbers, for `/metrics`: the snapshots behind the status, and what was measured where
//! it happened.

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{AccountId, Timestamp};
use moorline_store::{Counts, Measured};
use moorline_supervision::Node;

use super::{Handle, StoreStatus, Turns};
use crate::board::{AccountStatus, AgentStatus};
use crate::conversations::MAX_ACTIVE;
use crate::doctor::Finding;
use crate::measures::Measurements;
use crate::pulse::Pulses;

/// How long the store may take for what is read from it. Without it everything else is shown all the same.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The writer thread's name among the heartbeats.
pub const WRITER: &str = "store_writer";

/// The whole runtime in numbers, at one moment.
#[derive(Debug, Clone)]
pub struct Vitals {
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started_at: Timestamp,
    /// The moment.
    pub now: Timestamp,
    /// What `/readyz` says.
    pub ready: bool,
    /// Turns.
    pub turns: Turns,
    /// Whether the store takes commits.
    pub store: StoreStatus,
    /// What the store measured of itself.
    pub stored: Option<Measured>,
    /// Every agent, by name.
    pub agents: BTreeMap<String, AgentStatus>,
    /// Every account, by id.
    pub accounts: Vec<AccountStatus>,
    /// Messages of every account that has any, configured or not; `None` when the store did not say in time.
    pub counts: Option<BTreeMap<AccountId, Counts>>,
    /// What the doctor says; `None` when the store did not answer in time.
    pub findings: Option<Vec<Finding>>,
    /// Every actor.
    pub actors: Vec<Node>,
    /// How many conversations may have an actor at the same time.
    pub conversations_limit: usize,
    /// What was measured where it happened.
    pub measured: Measurements,
    /// How long ago each thread that must not stand still last showed that it does not.
    pub heartbeats: BTreeMap<&'static str, Duration>,
}

impl Handle {
    /// Everything, in numbers. Waits for the store only, and not for long.
    pub async fn vitals(&self) -> Vitals {
        let reading = async {
            let counts = self.store.counts().await.ok();
            (counts, self.doctor().await.ok().map(|report| report.findings))
        };
        let (counts, findings) = tokio::time::timeout(STORE_PATIENCE, reading).await.unwrap_or_default();
        Vitals {
            version: self.version,
            started_at: self.started_at,
            now: self.now(),
            ready: self.readiness().is_ok(),
            turns: Turns { running: self.board.turns(), waiting: self.board.waiting() },
            store: self.store_status(),
            stored: self.store.measured(),
            agents: self.board.agents(),
            accounts: self.board.accounts(),
            counts,
            findings,
            actors: self.tree(),
            conversations_limit: MAX_ACTIVE,
            measured: self.board.measures().now(),
            heartbeats: self.heartbeats(),
        }
    }

    /// How long ago the arbiters and the store's writer last showed that they are alive.
    pub fn heartbeats(&self) -> BTreeMap<&'static str, Duration> {
        let mut heartbeats = self.pulses().ages();
        heartbeats.extend(self.store.measured().map(|measured| (WRITER, measured.writer_silent_for)));
        heartbeats
    }

    /// Where threads that must not stand still show that they do not.
    pub fn pulses(&self) -> &Pulses {
        self.board.pulses()
    }
}
