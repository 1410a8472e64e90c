//! Asks the agent for an answer, and waits for it while it is not available (F-051).

use std::time::Duration;

use moorline_agent::{AgentError, Reply, Turn};
use moorline_core::{Failure, RetryPolicy};
use tokio::time::Instant;

use super::conversation::Attempt;
use crate::agents::Place;
use crate::board::TurnRecord;
use crate::services::{Account, Services};

/// How often the agent may fail at one turn while it answers others: then it is the turn that it fails at, and not the
/// time. With the delays in between that is a quarter of an hour.
const MAX_LONE_FAILURES: u32 = 20;

/// Asks the account's agent until it answers. `turn_timeout` bounds each call; `hold_limit` bounds the time for which
/// the agent may be away, in this life of the turn.
///
/// An attempt counts while it is with the agent, and not while it waits for it: else three restarts during an outage
/// would park a turn of which nothing was ever tried.
///
/// `None` when the account was taken out of the configuration while the turn waited: whoever configures it again takes
/// the turn up with it.
pub(super) async fn ask(
    services: &Services,
    account: &Account,
    attempt: &mut Attempt<'_>,
    turn: Turn,
    record: &TurnRecord,
) -> Option<Result<Reply, AgentError>> {
    let patience = services.settings().limits.hold_limit;
    let deadline = Instant::now() + patience;
    let mut place = Place { failures: 0, since: services.clock.now(), number: services.random.number() };
    let mut lone = Lone::default();
    loop {
        // A snapshot for each call: a reload changes nothing of one that runs (F-078), and what has waited gets the
        // agent that the account has now.
        let settings = services.settings();
        let name = agent_of(services, account)?;
        let Some(agent) = settings.agents.get(&name) else {
            return Some(Err(AgentError::Refused { reason: format!("there is no agent `{name}`") }));
        };
        if agent.is_away() {
            attempt.count(false).await;
        }
        let Ok(entered) = tokio::time::timeout_at(deadline, agent.enter(services, place)).await else {
            let why = agent.last_error().unwrap_or_else(|| "no reason is known".to_owned());
            let reason = format!("it was not available for {} s: {why}", patience.as_secs());
            return Some(Err(AgentError::Refused { reason }));
        };
        let Some(ticket) = entered else { continue };
        attempt.count(true).await;
        let limit = settings.limits.turn_timeout;
        record.asks(&name, agent.limit(limit));
        let answer = tokio::time::timeout(limit, ticket.ask(turn.clone())).await;
        record.waits();
        let Ok(Err(AgentError::Unavailable { reason, retry_after })) = answer else {
            let answer = answer.unwrap_or(Err(AgentError::Timeout { limit }));
            ticket.answered(answer.as_ref().err());
            return Some(answer);
        };
        ticket.failed(&reason, retry_after);
        place.failures = place.failures.saturating_add(1);
        if lone.failed(agent.answers()) {
            if lone.failures >= MAX_LONE_FAILURES {
                let times = lone.failures;
                let reason =
                    format!("it failed {times} times while it answered others, the last time: {reason}");
                return Some(Err(AgentError::Refused { reason }));
            }
            let failure = Failure::transient(reason).with_retry_after(retry_after);
            let wait = RetryPolicy::STANDARD.delay(&failure, lone.failures, services.random.unit());
            pause(services, wait.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}

/// The agent's name as it is now: the account may have been replaced since the turn began. `None` when it is gone, or
/// was and is back: then the turn is not ours any more.
fn agent_of(services: &Services, account: &Account) -> Option<String> {
    let now = services.accounts.get(&account.id).filter(|now| now.lease == account.lease)?;
    Some(now.treatment().agent.clone())
}

async fn pause(services: &Services, wait: Duration) {
    let _waiting = services.board.turn_waits();
    tokio::time::sleep(wait).await;
}

/// Failures of one turn between which the agent answered others. A turn that breaks its agent must not close the gate
/// for everybody again and again.
#[derive(Default)]
struct Lone {
    failures: u32,
    /// The agent's answers at the last failure.
    answers: Option<u64>,
}

impl Lone {
    /// Counts a failure, and says whether it is one of these.
    fn failed(&mut self, answers: u64) -> bool {
        let lone = self.answers.replace(answers).is_some_and(|before| answers > before);
        self.failures += u32::from(lone);
        lone
    }
}
