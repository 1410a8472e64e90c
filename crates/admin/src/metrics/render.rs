//! Fills the page.

use std::collections::BTreeMap;

use moorline_core::{AccountState, IdentityState, Timestamp};
use moorline_runtime::supervision::{Node, NodeState};
use moorline_runtime::{AccountStatus, AgentState, Counts, Finding, Measured, Severity, Vitals};

use super::catalogue as the;
use super::catalogue::Metric;
use super::page::Page;
use super::process::Process;
use super::traffic::Traffic;

const ACCOUNT_STATES: [&str; 6] = ["stopped", "connecting", "ready", "reconnecting", "blocked", "parked"];
const IDENTITY_STATES: [&str; 3] = ["unknown", "cached", "verified"];
const AGENT_STATES: [&str; 2] = ["ok", "unavailable"];
const STORE_STATES: [&str; 3] = ["ok", "full", "failed"];
const ACTOR_STATES: [&str; 6] = ["starting", "running", "restarting", "parked", "stopping", "stopped"];

/// Where conversations and accounts are in the tree. The names of conversations are nobody's business here.
const CONVERSATIONS: &str = "runtime/conversations/";
const ACCOUNTS: &str = "runtime/accounts/";
const ROOT: &str = "runtime/";

/// The whole page.
pub(super) fn render(vitals: &Vitals, traffic: &Traffic) -> String {
    let mut page = Page::default();
    whole(&mut page, vitals);
    accounts(&mut page, &vitals.accounts, vitals.now);
    connections(&mut page, vitals);
    messages(&mut page, vitals);
    sends(&mut page, vitals);
    turns(&mut page, vitals);
    actors(&mut page, vitals);
    store(&mut page, vitals);
    requests(&mut page, traffic);
    process(&mut page, &Process::now());
    page.into_text()
}

fn whole(page: &mut Page, vitals: &Vitals) {
    page.family(the::BUILD_INFO).sample(&[vitals.version], 1.0);
    page.single(the::START_TIME, seconds(vitals.started_at));
    page.single(the::UPTIME, vitals.now.since(vitals.started_at).as_secs_f64());
    page.single(the::READY, f64::from(u8::from(vitals.ready)));
    let mut found: BTreeMap<(&str, &str, String), u64> = BTreeMap::new();
    for finding in vitals.findings.iter().flatten() {
        *found.entry(key(finding)).or_default() += 1;
    }
    let mut family = page.family(the::FINDINGS);
    for ((severity, kind, account), count) in found {
        family.sample(&[severity, kind, &account], count as f64);
    }
}

fn key(finding: &Finding) -> (&'static str, &'static str, String) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let account = finding.account.as_ref().map(ToString::to_string).unwrap_or_default();
    (severity, finding.kind.as_str(), account)
}

fn accounts(page: &mut Page, accounts: &[AccountStatus], now: Timestamp) {
    let mut family = page.family(the::ACCOUNT_STATE);
    for account in accounts {
        family.one_of(&[&account.id.to_string()], &ACCOUNT_STATES, account.state.as_str());
    }
    let down = |account: &AccountStatus| {
        let since = account.down_since.filter(|_| account.state != AccountState::Ready);
        since.map_or(0.0, |since| now.since(since).as_secs_f64())
    };
    let mut each = |metric, value: &dyn Fn(&AccountStatus) -> Option<f64>| {
        let mut family = page.family(metric);
        for account in accounts {
            if let Some(value) = value(account) {
                family.sample(&[&account.id.to_string()], value);
            }
        }
    };
    each(the::ACCOUNT_DOWN, &|account| Some(down(account)));
    each(the::ACCOUNT_ATTEMPT, &|account| Some(f64::from(account.attempt)));
    each(the::ACCOUNT_LAST_FRAME, &|account| account.evidence.last_frame_at.map(seconds));
    each(the::ACCOUNT_LAST_EVENT, &|account| account.evidence.last_event_at.map(seconds));
    each(the::ACCOUNT_LAST_SENT, &|account| account.evidence.last_sent_at.map(seconds));
    each(the::ACCOUNT_SKIPPED, &|account| Some(account.skipped as f64));
    let mut family = page.family(the::ACCOUNT_IDENTITY);
    for account in accounts {
        let state = match account.identity.state {
            IdentityState::Unknown => "unknown",
            IdentityState::Cached => "cached",
            IdentityState::Verified => "verified",
        };
        family.one_of(&[&account.id.to_string()], &IDENTITY_STATES, state);
    }
}

fn connections(page: &mut Page, vitals: &Vitals) {
    let mut family = page.family(the::ACCOUNT_FAILURES);
    for (id, account) in &vitals.measured.accounts {
        for (class, count) in &account.failures {
            family.sample(&[&id.to_string(), class], *count as f64);
        }
    }
    let mut family = page.family(the::ACCOUNT_RECONNECTS);
    for (id, account) in &vitals.measured.accounts {
        family.sample(&[&id.to_string()], account.reconnects as f64);
    }
}

fn messages(page: &mut Page, vitals: &Vitals) {
    counted(page, vitals, the::GAPS, |counts| counts.gaps);
    counted(page, vitals, the::RECEIVED, |counts| counts.received);
    counted(page, vitals, the::DUPLICATES, |counts| counts.duplicates);
    counted(page, vitals, the::ANSWERED, |counts| counts.answered);
    counted(page, vitals, the::PENDING, |counts| counts.pending);
    by_reason(page, vitals, the::DROPPED, |counts| &counts.dropped);
    by_reason(page, vitals, the::HELD, |counts| &counts.held);
    let mut family = page.family(the::REFUSED);
    for (id, account) in &vitals.measured.accounts {
        family.sample(&[&id.to_string()], account.refused as f64);
    }
    page.family(the::ACKNOWLEDGEMENT).distribution(&[], &vitals.measured.acknowledgements);
}

fn sends(page: &mut Page, vitals: &Vitals) {
    counted(page, vitals, the::OUTBOX, |counts| counts.outbox);
    counted(page, vitals, the::OUTBOX_HELD, |counts| counts.outbox_held);
    counted(page, vitals, the::DEAD, |counts| counts.dead);
    counted(page, vitals, the::DISCARDED, |counts| counts.discarded);
    let mut family = page.family(the::SENDS);
    for (id, account) in &vitals.measured.accounts {
        for (outcome, count) in &account.sends {
            family.sample(&[&id.to_string(), outcome], *count as f64);
        }
    }
    let mut family = page.family(the::SEND);
    for (outcome, distribution) in &vitals.measured.sends {
        family.distribution(&[outcome], distribution);
    }
}

/// One sample for each account that the store counts for, configured or not.
fn counted(page: &mut Page, vitals: &Vitals, metric: &'static Metric, value: impl Fn(&Counts) -> u64) {
    let mut family = page.family(metric);
    for (id, counts) in vitals.counts.iter().flatten() {
        family.sample(&[&id.to_string()], value(counts) as f64);
    }
}

fn by_reason(
    page: &mut Page,
    vitals: &Vitals,
    metric: &'static Metric,
    reasons: impl Fn(&Counts) -> &BTreeMap<String, u64>,
) {
    let mut family = page.family(metric);
    for (id, counts) in vitals.counts.iter().flatten() {
        for (reason, count) in reasons(counts) {
            family.sample(&[&id.to_string(), reason], *count as f64);
        }
    }
}

fn turns(page: &mut Page, vitals: &Vitals) {
    page.single(the::TURNS_RUNNING, f64::from(vitals.turns.running));
    page.single(the::TURNS_WAITING, f64::from(vitals.turns.waiting));
    let mut family = page.family(the::TURNS);
    for (agent, turns) in &vitals.measured.agents {
        for (end, count) in &turns.ends {
            family.sample(&[agent, end], *count as f64);
        }
    }
    let mut family = page.family(the::TURN);
    for (agent, turns) in &vitals.measured.agents {
        family.distribution(&[agent], &turns.took);
    }
    let mut family = page.family(the::TURNS_RESUMED);
    for (id, account) in &vitals.measured.accounts {
        family.sample(&[&id.to_string()], account.resumed as f64);
    }
    let mut family = page.family(the::AGENT_STATE);
    for (name, agent) in &vitals.agents {
        let state = match agent.state {
            AgentState::Ok => "ok",
            AgentState::Unavailable => "unavailable",
        };
        family.one_of(&[name], &AGENT_STATES, state);
    }
    let mut family = page.family(the::AGENT_UNANSWERED);
    for (name, agent) in &vitals.agents {
        family.sample(&[name], f64::from(agent.unanswered));
    }
}

fn actors(page: &mut Page, vitals: &Vitals) {
    let active = vitals.actors.iter().filter(|node| node.path.starts_with(CONVERSATIONS)).count();
    page.single(the::CONVERSATIONS, active as f64);
    page.single(the::CONVERSATIONS_LIMIT, vitals.conversations_limit as f64);
    let mut states: BTreeMap<&str, u64> = ACTOR_STATES.map(|state| (state, 0)).into();
    for node in &vitals.actors {
        *states.entry(state(node)).or_default() += 1;
    }
    let mut family = page.family(the::ACTORS);
    for (state, count) in states {
        family.sample(&[state], count as f64);
    }
    let mut family = page.family(the::RESTARTS);
    for node in &vitals.actors {
        if let Some(actor) = node.path.strip_prefix(ROOT).filter(|actor| !actor.contains('/')) {
            family.sample(&[actor], node.restarts as f64);
        }
    }
    let mut family = page.family(the::ACCOUNT_RESTARTS);
    for node in vitals.actors.iter().filter(|node| node.restarts > 0) {
        if let Some(below) = node.path.strip_prefix(ACCOUNTS) {
            // The account's own supervisor has no name below it.
            let (account, actor) = below.split_once('/').unwrap_or((below, "account"));
            family.sample(&[account, actor], node.restarts as f64);
        }
    }
    let mut family = page.family(the::HEARTBEAT);
    for (thread, age) in &vitals.heartbeats {
        family.sample(&[thread], age.as_secs_f64());
    }
}

fn state(node: &Node) -> &'static str {
    match node.state {
        NodeState::Starting => "starting",
        NodeState::Running => "running",
        NodeState::Restarting => "restarting",
        NodeState::Parked => "parked",
        NodeState::Stopping => "stopping",
        NodeState::Stopped => "stopped",
    }
}

fn store(page: &mut Page, vitals: &Vitals) {
    page.family(the::STORE_STATE).one_of(&[], &STORE_STATES, vitals.store.state);
    page.single(the::STORE_READABLE, f64::from(u8::from(vitals.counts.is_some())));
    let Some(stored) = &vitals.stored else { return };
    let Measured { commits, group_sizes, failed_commits, queued, queue_capacity, checkpoints, .. } = stored;
    page.family(the::STORE_COMMIT).distribution(&[], commits);
    page.family(the::STORE_GROUP).distribution(&[], group_sizes);
    page.single(the::STORE_FAILED, *failed_commits as f64);
    page.single(the::STORE_QUEUE, *queued as f64);
    page.single(the::STORE_QUEUE_LIMIT, *queue_capacity as f64);
    page.single(the::STORE_CHECKPOINTS, *checkpoints as f64);
}

fn requests(page: &mut Page, traffic: &Traffic) {
    let routes = traffic.now();
    let mut family = page.family(the::REQUESTS);
    for (route, _, answers) in &routes {
        for ((method, status), count) in answers {
            family.sample(&[route, method, &status.to_string()], *count as f64);
        }
    }
    let mut family = page.family(the::REQUEST);
    for (route, took, _) in &routes {
        family.distribution(&[route], took);
    }
}

fn process(page: &mut Page, process: &Process) {
    let known = [
        (the::RESIDENT, process.resident_bytes.map(|bytes| bytes as f64)),
        (the::FILES, process.open_files.map(|files| files as f64)),
        (the::FILES_LIMIT, process.file_limit.map(|files| files as f64)),
        (the::THREADS, process.threads.map(|threads| threads as f64)),
        (the::CPU, Some(process.cpu.as_secs_f64())),
    ];
    for (metric, value) in known {
        if let Some(value) = value {
            page.single(metric, value);
        }
    }
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_millis() as f64 / 1e3
}
