//! Prunes the store, a little at a time: the state file holds what is under way and what was settled lately, whatever
//! the rate at which messages come (G12).

use std::rc::Rc;
use std::time::Duration;

use moorline_core::{DEDUPE_WINDOW, millis};
use moorline_store::{Op, Outcome, StoreError, Tx};

use crate::services::Services;

/// The first time after a start: not while everybody connects.
const FIRST: Duration = Duration::from_secs(60);

/// Between two times.
const EVERY: Duration = Duration::from_secs(3600);

/// How much one transaction forgets: a few milliseconds, which a message may have to wait.
const BATCH: u32 = 250;

/// Between two transactions, at least,
const PAUSE: Duration = Duration::from_millis(20);
/// and this many times as long as the one before took: messages that come in have four fifths of the store.
const SHARE: u32 = 4;

/// How long the answer to a request with an idempotency key is kept.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long a store that refuses is left alone.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// Prunes until the store has failed.
pub(super) async fn run(services: Rc<Services>) {
    tokio::time::sleep(FIRST).await;
    loop {
        let pause = match prune_all(&services).await {
            Ok(0) => EVERY,
            Ok(rows) => {
                tracing::info!(actor = "store", rows, "what was over for long is pruned");
                EVERY
            }
            // Nothing is written any more by this process.
            Err(StoreError::Failed(_)) => return,
            Err(error) => {
                tracing::warn!(
                    actor = "store",
                    next_in_ms = millis(AFTER_REFUSAL),
                    "the store was not pruned: {error}"
                );
                AFTER_REFUSAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Forgets answers that nobody asks for again.
async fn forget_answers(services: &Services) -> Result<i64, StoreError> {
    let now = services.clock.wall();
    let op = Op::ForgetAnswers { before: now.minus(ANSWERS_KEPT), limit: BATCH };
    match services.store.commit(Tx::global(now, [op])).await?.first() {
        Some(Outcome::Applied(rows)) => Ok(*rows),
        other => Err(StoreError::Refused(format!("forgetting answers gave {other:?}"))),
    }
}

/// Forgets all that may be forgotten, and says how much it was.
async fn prune_all(services: &Services) -> Result<i64, StoreError> {
    let mut pruned = 0;
    while forget_answers(services).await? == i64::from(BATCH) {
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        let now = services.clock.wall();
        let op = Op::Prune {
            before: now.minus(services.settings().limits.retention),
            dedupe_before: now.minus(DEDUPE_WINDOW),
            limit: BATCH,
        };
        let began = services.clock.now();
        let outcomes = services.store.commit(Tx::global(now, [op])).await?;
        let batch = match outcomes.first() {
            Some(Outcome::Applied(rows)) => *rows,
            other => return Err(StoreError::Refused(format!("pruning gave {other:?}"))),
        };
        pruned += batch;
        if batch < i64::from(BATCH) {
            return Ok(pruned);
        }
        tokio::time::sleep(PAUSE.max((services.clock.now() - began) * SHARE)).await;
    }
}
