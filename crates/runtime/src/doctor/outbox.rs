//! What can be wrong with messages of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{AccountId, Timestamp};
use moorline_store::{OutboxRow, OutboxState};

use super::finding::{Finding, FindingKind};

/// A send that is tried again and again for longer than this is worth a finding.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same of one that nobody has tried: a flood of replies gets its turns sooner.
const UNTRIED: Duration = Duration::from_secs(120);

/// Of the first message of each conversation that is not settled, those that wait too long.
pub(super) fn examine(waiting: &[OutboxRow], now: Timestamp) -> Vec<Finding> {
    let mut findings = tried(waiting, now);
    findings.extend(untried(waiting, now));
    findings
}

/// What was tried and still waits after a while, a finding for each account.
fn tried(waiting: &[OutboxRow], now: Timestamp) -> Vec<Finding> {
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

/// What waits without an attempt, a finding for each account.
fn untried(waiting: &[OutboxRow], now: Timestamp) -> Vec<Finding> {
    let mut by_account: BTreeMap<&AccountId, (u64, &OutboxRow)> = BTreeMap::new();
    for row in waiting.iter().filter(|row| row.state == OutboxState::Ready && row.attempts == 0) {
        if now.since(row.created_at.max(row.not_before)) > UNTRIED {
            by_account.entry(&row.account).or_insert((0, row)).0 += 1;
        }
    }
    let finding = |(id, (conversations, row)): (&AccountId, (u64, &OutboxRow))| {
        Finding::error(
            FindingKind::OutboxStale,
            Some(id),
            format!(
                "does not send: nobody has tried the next message of {conversations} conversations, such as out:{}",
                row.id
            ),
            format!("it was put into the outbox at {}, and no attempt was made", row.created_at),
            format!(
                "`moorline outbox retry {}` tries it at once, `moorline account restart {id}` begins anew; report it if \
                 it comes again",
                row.id
            ),
        )
        .times(row.created_at, None)
    };
    by_account.into_iter().map(finding).collect()
}
