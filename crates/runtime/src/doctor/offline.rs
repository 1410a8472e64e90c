//! What can be found out while no process runs: from the configuration and from what is in the data directory.

use std::collections::BTreeMap;

use moorline_config::Config;
use moorline_core::{AccountId, Timestamp};
use moorline_store::{Counts, Inspection};
use serde::Serialize;

use super::finding::{Finding, FindingKind};
use super::login::{self, LoginFault};
use super::{account, in_order, machine, orphan, turns};
use crate::handle::repair;
use crate::machine::MachineFacts;
use crate::verdicts::Verdicts;

/// What is looked at.
#[derive(Debug)]
pub struct Offline<'a> {
    /// Now.
    pub now: Timestamp,
    /// The configuration, or everything that is wrong with it, one line each.
    pub config: Result<&'a Config, Vec<String>>,
    /// The data directory, as it is shown; `None` when it is there.
    pub missing: Option<String>,
    /// What is in the store, or why that cannot be told; nothing when there is none.
    pub store: Result<Option<&'a Inspection>, String>,
    /// What is wrong with the logins that are saved.
    pub logins: &'a [LoginFault],
    /// Whether a process runs on it after all.
    pub running: bool,
    /// The machine.
    pub machine: &'a MachineFacts,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfflineReport {
    /// Whether there are no findings.
    pub healthy: bool,
    /// Always true: no process was asked.
    pub offline: bool,
    /// Whether a process runs on the data directory all the same; it knows more.
    pub running: bool,
    /// When it was looked.
    pub checked_at: Timestamp,
    /// What is wrong: errors first, then by account.
    pub findings: Vec<Finding>,
    /// Every account that is configured or has rows, with its messages by state.
    pub accounts: BTreeMap<AccountId, Counts>,
    /// Turns that were under way when the last run ended: the next start takes them up.
    pub open_turns: u64,
    /// The last run.
    pub last_run: Option<OfflineRun>,
}

/// The last run of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfflineRun {
    /// The program's version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended in an orderly way, if it did.
    pub ended_at: Option<Timestamp>,
}

/// Everything that is wrong, as far as it can be told.
pub fn examine_offline(offline: &Offline<'_>) -> OfflineReport {
    let mut findings = machine::examine(offline.machine, 0);
    findings.extend(configuration(&offline.config));
    findings.extend(offline.logins.iter().map(login::examine));
    findings.extend(offline.missing.as_ref().map(|path| missing(path)));
    let inspection = match &offline.store {
        Ok(inspection) => *inspection,
        Err(why) => {
            findings.push(unreadable(why));
            None
        }
    };
    let mut accounts = BTreeMap::new();
    let (mut open_turns, mut last_run) = (0, None);
    if let Some(inspection) = inspection {
        accounts.clone_from(&inspection.counts);
        open_turns = inspection.open_turns;
        last_run = inspection.last_run.as_ref().map(|run| OfflineRun {
            version: run.version.clone(),
            started_at: run.started_at,
            ended_at: run.ended_at,
        });
        findings.extend(contents(inspection, offline.config.as_ref().ok().copied()));
        findings
            .extend(last_run.as_ref().filter(|_| !offline.running).and_then(|run| unclean(run, open_turns)));
    }
    if let Ok(config) = &offline.config {
        for account in &config.accounts {
            accounts.entry(account.id.clone()).or_default();
        }
    }
    let findings = in_order(findings);
    OfflineReport {
        healthy: findings.is_empty(),
        offline: true,
        running: offline.running,
        checked_at: offline.now,
        findings,
        accounts,
        open_turns,
        last_run,
    }
}

fn configuration(config: &Result<&Config, Vec<String>>) -> Vec<Finding> {
    match config {
        Ok(config) if config.accounts.is_empty() => vec![super::no_accounts()],
        Ok(config) => config
            .accounts
            .iter()
            .flat_map(|account| account::policy(&account.id, &Verdicts::under(account.access.clone())))
            .collect(),
        Err(problems) => vec![Finding::error(
            FindingKind::ConfigInvalid,
            None,
            "the configuration file is wrong: no start is possible with it",
            problems.join("; "),
            "correct the file; `moorline check` says the same",
        )],
    }
}

/// What is in the store that somebody should see to. Without a configuration nobody can tell whose rows are orphaned.
fn contents(inspection: &Inspection, config: Option<&Config>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_there = |id: &AccountId| config.is_none_or(|config| config.account(id).is_some());
    for (id, counts) in &inspection.counts {
        if is_there(id) {
            findings.extend(account::dead_letters(id, counts.dead));
            findings.extend(account::replies_held(id, counts.outbox_held));
        }
    }
    let others = inspection.counts.iter().filter(|(id, _)| !is_there(id));
    let others = others.map(|(id, counts)| (id.clone(), counts.clone())).collect();
    findings.extend(repair::orphans(others).iter().map(orphan));
    findings.extend(turns::parked(&inspection.parked, is_there));
    findings
}

fn missing(path: &str) -> Finding {
    Finding::error(
        FindingKind::NoDataDir,
        None,
        "there is no data directory: nothing has ever run with this configuration from here",
        format!("{path} does not exist"),
        "nothing before the first start, which creates it; else see data_dir, which is relative to the working directory",
    )
    .warning()
}

fn unreadable(why: &str) -> Finding {
    Finding::error(
        FindingKind::StoreUnreadable,
        None,
        "what is in the store cannot be told",
        why,
        "see what it says; a start says more, and brings a store of an earlier version up to date",
    )
}

fn unclean(run: &OfflineRun, open_turns: u64) -> Option<Finding> {
    run.ended_at.is_none().then(|| {
        Finding::error(
            FindingKind::UncleanStop,
            None,
            "the last run did not end in an orderly way: a crash, a power cut or a kill",
            format!("it began at {} (version {}), and {open_turns} turns were under way", run.started_at, run.version),
            "start it again: the store is checked, and what was under way is taken up; the log says why it ended",
        )
        .warning()
    })
}
