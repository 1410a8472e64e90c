//! The doctor: everything that is wrong, from evidence, each finding with what to do about it (F-101).
//!
//! Pure: it looks at the same snapshots that the status shows, so that the two cannot disagree. An account that is
//! not ready, for whatever reason, is always a finding; configuration alone never makes one healthy (G14).

mod account;
mod cron;
mod finding;

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{AccountId, Timestamp};
use moorline_store::OutboxRow;
use serde::Serialize;

pub use finding::{Finding, FindingKind, Severity};

use crate::board::{AgentState, AgentStatus};
use crate::handle::{AccountView, JobView, Orphan, StoreStatus};
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

/// A send that is tried again and again for longer than this is worth a finding.
const PATIENCE: Duration = Duration::from_secs(30);

/// Turns in a row without an answer that are no accident any more.
const UNANSWERED: u32 = 3;

/// What the doctor looks at.
pub(crate) struct Snapshot<'a> {
    pub(crate) now: Timestamp,
    pub(crate) store: &'a StoreStatus,
    pub(crate) config: &'a ConfigStatus,
    pub(crate) agents: &'a BTreeMap<String, AgentStatus>,
    pub(crate) orphaned: &'a [Orphan],
    /// The first message of each conversation that waits although it was tried.
    pub(crate) waiting: &'a [OutboxRow],
    pub(crate) accounts: &'a [AccountView],
    pub(crate) jobs: &'a [JobView],
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
    findings.extend(sends(snapshot.waiting, snapshot.now));
    findings.extend(snapshot.jobs.iter().filter_map(cron::examine));
    if snapshot.accounts.is_empty() {
        findings.push(Finding::error(
            FindingKind::NoAccounts,
            None,
            "receives nothing: there is no account",
            "the configuration names none",
            "add one, as in config/moorline.toml",
        ));
    }
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

/// What was tried and still waits after a while, a finding for each account.
fn sends(waiting: &[OutboxRow], now: Timestamp) -> Vec<Finding> {
    let mut by_account: BTreeMap<&AccountId, (u64, &OutboxRow)> = BTreeMap::new();
    for row in waiting {
        let tried_for = row.first_attempt_at.map_or(Duration::ZERO, |first| now.since(first));
        if row.last_error.is_some() && (tried_for > PATIENCE || row.not_before.since(now) > PATIENCE) {
            by_account.entry(&row.account).or_insert((0, row)).0 += 1;
        }
    }
    let finding = |(id, (conversations, row)): (&AccountId, (u64, &OutboxRow))| {
        Finding::error(
            FindingKind::SendsWait,
            Some(id),
            format!(
                "cannot send: the next message of {conversations} conversations waits, such as out:{}",
                row.id
            ),
            format!("{}, attempt {}", row.last_error.clone().unwrap_or_default(), row.attempts),
            format!(
                "see the error; when its reason is gone, `moorline outbox retry {}` tries at once",
                row.id
            ),
        )
        .times(row.first_attempt_at.unwrap_or(row.created_at), Some(row.not_before))
    };
    by_account.into_iter().map(finding).collect()
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
