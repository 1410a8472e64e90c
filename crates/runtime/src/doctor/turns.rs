//! What can be wrong with turns: those that run for long, those that nobody runs, those that were given up.

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::AccountId;
use moorline_store::ParkedTurn;

use super::Snapshot;
use super::finding::{Finding, FindingKind};
use crate::board::{AgentState, RunningTurn};

/// A call to an agent is long when half of what it may take is over,
const PART: u32 = 2;
/// and never before this.
const SHORTEST: Duration = Duration::from_secs(30);

/// A turn, or a message without one, waits for nobody longer than this where all is well.
const UNATTENDED: Duration = Duration::from_secs(120);

pub(super) fn examine(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(stuck(snapshot));
    findings.extend(waits(snapshot));
    findings.extend(parked(snapshot.parked_turns, |id| {
        snapshot.accounts.iter().any(|view| view.status.id == *id)
    }));
    findings
}

/// A finding for each account whose agent takes long, about the turn that takes longest.
fn stuck(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let mut by_account: BTreeMap<&AccountId, Vec<(&RunningTurn, &str, Duration)>> = BTreeMap::new();
    for turn in snapshot.turns {
        if let Some((agent, limit)) = &turn.asked
            && snapshot.now.monotonic - turn.since.0 > (*limit / PART).max(SHORTEST).min(*limit)
        {
            by_account.entry(&turn.account).or_default().push((turn, agent, *limit));
        }
    }
    let finding = |(id, turns): (&AccountId, Vec<(&RunningTurn, &str, Duration)>)| {
        let number = turns.len();
        let (turn, agent, limit) = turns.into_iter().min_by_key(|(turn, ..)| turn.since.0)?;
        let waited = (snapshot.now.monotonic - turn.since.0).as_secs();
        let session = format!("{id}~{}", turn.conversation);
        let finding = Finding::error(
            FindingKind::TurnStuck,
            Some(id),
            format!("{number} turns take long; what is written in their conversations waits behind them"),
            format!("the agent `{agent}` has been working on one of {session} for {waited} s"),
            format!(
                "nothing, if such turns are usual: it is given up after {} s (runtime.turn_timeout, or the agent's own \
                 timeout); `moorline session reset {session}` gives it up now",
                limit.as_secs()
            ),
        );
        Some(finding.warning().times(turn.since.1, None))
    };
    by_account.into_iter().filter_map(finding).collect()
}

/// Turns and messages that nobody works on, although the account's agent is there and its channel is ready.
fn waits(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    // One that is away says so by itself.
    let away = snapshot.agents.values().any(|agent| agent.state == AgentState::Unavailable);
    let now = snapshot.now;
    let turns = snapshot
        .turns
        .iter()
        .filter(|turn| !away && turn.asked.is_none() && now.monotonic - turn.since.0 > UNATTENDED);
    let turns = turns.map(|turn| (&turn.account, &turn.conversation, turn.since.1));
    let messages = snapshot.unclaimed.iter().filter(|row| now.wall.since(row.received_at) > UNATTENDED);
    let messages = messages.map(|row| (&row.account, &row.conversation, row.received_at));
    let mut by_account = BTreeMap::new();
    for (account, conversation, since) in turns.chain(messages) {
        by_account.entry(account).or_insert((conversation, since));
    }
    let finding = |(id, (conversation, since))| {
        let session = format!("{id}~{conversation}");
        Finding::error(
            FindingKind::TurnWaits,
            Some(id),
            "a message is not answered, and nobody works on it",
            format!("its conversation is {session}, and no agent has been asked since {since}"),
            format!(
                "`moorline session resume {session}` wakes it; the log says what stood in its way, and report it if it \
                 comes again"
            ),
        )
        .times(since, None)
    };
    by_account.into_iter().map(finding).collect()
}

/// A finding for each account that is there, about what was given up last.
pub(super) fn parked(parked: &[ParkedTurn], is_there: impl Fn(&AccountId) -> bool) -> Vec<Finding> {
    let mut by_account: BTreeMap<&AccountId, (u64, &ParkedTurn)> = BTreeMap::new();
    for turn in parked.iter().filter(|turn| is_there(&turn.account)) {
        let entry = by_account.entry(&turn.account).or_insert((0, turn));
        *entry = (entry.0 + 1, turn);
    }
    let finding = |(id, (number, turn)): (&AccountId, (u64, &ParkedTurn))| {
        let session = format!("{id}~{}", turn.conversation);
        Finding::error(
            FindingKind::TurnParked,
            Some(id),
            format!("{number} turns were given up, the last one in {session}; their users were told"),
            "each ended its actor or the process three times",
            format!(
                "see the log for why; then `moorline session resume {session}` answers after all, or `moorline session \
                 reset {session}` begins anew"
            ),
        )
        .warning()
        .times(turn.at, None)
    };
    by_account.into_iter().map(finding).collect()
}
