//! The doctor: everything that is wrong, from evidence, each finding with what to do about it (F-101).
//!
//! Pure: it looks at the same snapshots that the status shows, so that the two cannot disagree. An account that is
//! not ready, for whatever reason, is always a finding; configuration alone never makes one healthy (G14).

mod account;
mod cron;
mod finding;
mod login;
mod loss;
mod machine;
mod offline;
mod outbox;
mod turns;

use std::collections::BTreeMap;

use moorline_core::{AccountId, AccountState, Monotonic, Timestamp};
use moorline_store::{InboxRow, OutboxRow, ParkedTurn};
use moorline_supervision::{Node, NodeState};
use schemars::JsonSchema;
use serde::Serialize;

pub use finding::{Finding, FindingKind, Severity};
pub use login::LoginFault;
pub use offline::{Offline, OfflineReport, OfflineRun, examine_offline};

use crate::alerts::AlertStatus;
use crate::board::{AgentState, AgentStatus, RunningTurn};
use crate::handle::{AccountView, JobView, Orphan, StoreStatus};
use crate::machine::MachineFacts;
use crate::reload::ConfigStatus;
use crate::verdicts::Verdicts;

/// What the doctor has found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Whether there are no findings.
    pub healthy: bool,
    /// When it looked.
    pub checked_at: Timestamp,
    /// What is wrong: errors first, then by account.
    pub findings: Vec<Finding>,
    /// Every account with the evidence that it lives.
    pub accounts: Vec<AccountView>,
}

/// Turns in a row without an answer that are no accident any more.
const UNANSWERED: u32 = 3;

/// What the doctor looks at.
pub(crate) struct Snapshot<'a> {
    pub(crate) now: Now,
    pub(crate) store: &'a StoreStatus,
    pub(crate) config: &'a ConfigStatus,
    pub(crate) agents: &'a BTreeMap<String, AgentStatus>,
    pub(crate) orphaned: &'a [Orphan],
    /// The first message of each conversation that waits although it was tried.
    pub(crate) waiting: &'a [OutboxRow],
    pub(crate) accounts: &'a [AccountView],
    pub(crate) jobs: &'a [JobView],
    pub(crate) verdicts: &'a BTreeMap<AccountId, Verdicts>,
    pub(crate) turns: &'a [RunningTurn],
    /// Of each account that is ready, the message that has waited longest for a turn.
    pub(crate) unclaimed: &'a [InboxRow],
    pub(crate) parked_turns: &'a [ParkedTurn],
    pub(crate) actors: &'a [Node],
    pub(crate) machine: &'a MachineFacts,
    pub(crate) alerts: &'a AlertStatus,
}

/// One moment by the three clocks there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Now {
    /// For people and for what is in the store.
    pub(crate) wall: Timestamp,
    /// Moved by nobody: for everything else.
    pub(crate) monotonic: Monotonic,
    /// The same, and it goes on while the machine sleeps.
    pub(crate) with_sleep: Monotonic,
}

/// Everything that is wrong.
pub(crate) fn examine(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let accounts = snapshot
        .accounts
        .iter()
        .flat_map(|view| account::examine(view, snapshot.verdicts.get(&view.status.id), snapshot.now));
    let mut findings: Vec<Finding> =
        store(snapshot.store).into_iter().chain(config(snapshot.config)).collect();
    findings.extend(machine::examine(snapshot.machine, snapshot.accounts.len()));
    findings.extend(parked_actors(snapshot.actors, snapshot.accounts));
    findings.extend(snapshot.alerts.finding());
    findings.extend(turns::examine(snapshot));
    findings.extend(snapshot.agents.iter().filter_map(|(name, status)| agent(name, status)));
    findings.extend(snapshot.orphaned.iter().map(orphan));
    findings.extend(outbox::examine(snapshot.waiting, snapshot.now.wall));
    findings.extend(snapshot.jobs.iter().filter_map(cron::examine));
    if snapshot.accounts.is_empty() {
        findings.push(no_accounts());
    }
    findings.extend(accounts);
    in_order(findings)
}

/// Errors first, then by account.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| (a.severity, &a.account, a.kind).cmp(&(b.severity, &b.account, b.kind)));
    findings
}

/// Actors that are given a rest, connections excepted: those say so by their accounts.
fn parked_actors(actors: &[Node], accounts: &[AccountView]) -> Vec<Finding> {
    let told = |path: &str| {
        let parked = accounts.iter().filter(|view| view.status.state == AccountState::Parked);
        path.ends_with("/connection")
            && parked.into_iter().any(|view| path.contains(&view.status.id.to_string()))
    };
    let parked = actors.iter().filter(|node| node.state == NodeState::Parked && !told(&node.path));
    let finding = |node: &Node| {
        Finding::error(
            FindingKind::ActorParked,
            None,
            format!("the actor {} does not run, and nothing that is its work is done", node.path),
            "it failed more than five times in a minute",
            "report the panic in the log; it is tried again every 15 min, and at a restart",
        )
    };
    parked.map(finding).collect()
}

fn no_accounts() -> Finding {
    Finding::error(
        FindingKind::NoAccounts,
        None,
        "receives nothing: there is no account",
        "the configuration names none",
        "add one, as in config/moorline.toml",
    )
}

fn store(store: &StoreStatus) -> Option<Finding> {
    let message = store.message.clone()?;
    Some(match store.state {
        "full" => Finding::error(
            FindingKind::StoreFull,
            None,
            "nothing can be stored, so nothing is acknowledged",
            message,
            "make room on the disk that holds data_dir; what was refused comes again by itself",
        ),
        _ => Finding::error(
            FindingKind::StoreFailed,
            None,
            "nothing is stored or acknowledged any more by this process",
            message,
            "check the disk and the kernel's log; the process ends and has to be started again",
        ),
    })
}

fn agent(name: &str, status: &AgentStatus) -> Option<Finding> {
    if status.state == AgentState::Ok && status.unanswered >= UNANSWERED {
        return Some(Finding::error(
            FindingKind::AgentFailing,
            None,
            format!(
                "the last {} turns got no answer from the agent `{name}` ({})",
                status.unanswered, status.kind
            ),
            status.last_error.clone().unwrap_or_default(),
            format!(
                "see what agents.{name} names; the users were told that it failed, and nothing is tried again"
            ),
        ));
    }
    (status.state == AgentState::Unavailable).then(|| {
        let why = status.last_error.clone().unwrap_or_default();
        Finding::error(
            FindingKind::AgentUnavailable,
            None,
            format!("turns wait: the agent `{name}` ({}) is not available", status.kind),
            format!("{why}, attempt {}", status.attempt),
            format!(
                "see whether what agents.{name} names is up; turns wait for runtime.hold_limit, and go on at once when \
                 it answers"
            ),
        )
        .times(status.since, status.next_attempt_at)
    })
}

fn orphan(orphan: &Orphan) -> Finding {
    let (id, counts) = (&orphan.id, &orphan.counts);
    Finding::error(
        FindingKind::Orphaned,
        Some(id),
        format!(
            "has rows, and is not configured: {} messages wait, {} of ours",
            counts.pending, counts.outbox
        ),
        "the account was removed from the configuration; its rows are kept",
        format!("configure it again, or `moorline account discard-rows {id}`"),
    )
    .warning()
}

fn config(config: &ConfigStatus) -> Option<Finding> {
    let problems = (!config.problems.is_empty()).then(|| config.problems.join("; "))?;
    Some(if config.again {
        Finding::error(
            FindingKind::ReloadFailed,
            None,
            "the configuration file is right and could not be applied, the configuration before it stays in use",
            problems,
            "nothing, if the reason passes: it is tried again by itself; `moorline reload` tries at once",
        )
    } else {
        Finding::error(
            FindingKind::ConfigInvalid,
            None,
            "the configuration file is wrong, the configuration before it stays in use",
            problems,
            "correct the file; `moorline check` says the same, and a restart would fail on it",
        )
    })
}
