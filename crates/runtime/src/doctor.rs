//! The doctor: everything that is wrong, from evidence, each finding with what to do about it (F-101).
//!
//! Pure: it looks at the same snapshots that the status shows, so that the two cannot disagree. An account that is
//! not ready, for whatever reason, is always a finding; configuration alone never makes one healthy (G14).

mod account;
mod finding;

use std::collections::BTreeMap;

use moorline_core::{AccountId, Timestamp};
use serde::Serialize;

pub use finding::{Finding, FindingKind, Severity};

use crate::board::{AgentState, AgentStatus};
use crate::handle::{AccountView, Orphan, StoreStatus};
use crate::reload::ConfigStatus;
use crate::verdicts::Verdicts;

/// What the doctor has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// What the doctor looks at.
pub(crate) struct Snapshot<'a> {
    pub(crate) now: Timestamp,
    pub(crate) store: &'a StoreStatus,
    pub(crate) config: &'a ConfigStatus,
    pub(crate) agents: &'a BTreeMap<String, AgentStatus>,
    pub(crate) orphaned: &'a [Orphan],
    pub(crate) accounts: &'a [AccountView],
    pub(crate) verdicts: &'a BTreeMap<AccountId, Verdicts>,
}

/// Everything that is wrong.
pub(crate) fn examine(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let accounts = snapshot
        .accounts
        .iter()
        .flat_map(|view| account::examine(view, snapshot.verdicts.get(&view.status.id), snapshot.now));
    let mut findings: Vec<Finding> =
        store(snapshot.store).into_iter().chain(config(snapshot.config)).collect();
    findings.extend(snapshot.agents.iter().filter_map(|(name, status)| agent(name, status)));
    findings.extend(snapshot.orphaned.iter().map(orphan));
    findings.extend(accounts);
    findings.sort_by(|a, b| (a.severity, &a.account, a.kind).cmp(&(b.severity, &b.account, b.kind)));
    findings
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
    Some(Finding::error(
        FindingKind::ConfigInvalid,
        None,
        "the configuration file is wrong, the configuration before it stays in use",
        problems,
        "correct the file; `moorline check` says the same, and a restart would fail on it",
    ))
}
