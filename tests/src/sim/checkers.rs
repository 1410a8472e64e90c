//! What must hold: looked at after every virtual second, when a process is gone, and at the end.

mod ledgers;
mod status;
mod verdict;
mod wechat;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::ledgers::Ledgers;
use self::status::Statuses;
use super::drive::Stage;

/// How often what costs more is looked at.
const THOROUGHLY_EVERY: u64 = 60;

/// All checkers of one run.
pub struct Checkers {
    ledgers: Ledgers,
    statuses: Statuses,
    looks: u64,
    calm: Option<Calm>,
}

/// Since when all is well around the system, and by when it has to be well within.
#[derive(Debug, Clone, Copy)]
struct Calm {
    since: Duration,
    until: Duration,
}

impl Checkers {
    /// For this stage.
    #[must_use]
    pub fn new(stage: &Stage) -> Self {
        let accounts = stage.all_accounts();
        Self { ledgers: Ledgers::new(accounts), statuses: Statuses::new(accounts), looks: 0, calm: None }
    }

    /// Once a virtual second.
    ///
    /// # Errors
    /// What is wrong.
    pub fn look(&mut self, stage: &Stage) -> Result<(), String> {
        self.looks += 1;
        let complaints = stage.agent.complaints();
        if let Some(complaint) = complaints.first() {
            return Err(format!("one agent per conversation: {complaint}"));
        }
        self.statuses.resumed(stage, &stage.agent.taken_up())?;
        self.ledgers.look(stage)?;
        self.ledgers.look_at_wechat(stage)?;
        self.statuses.look(stage)?;
        if self.looks.is_multiple_of(THOROUGHLY_EVERY) {
            conserved(stage)?;
        }
        Ok(())
    }

    /// The process is gone; what it had promised is in the store, or it was a lie.
    ///
    /// # Errors
    /// What is wrong.
    pub fn process_gone(&mut self, stage: &Stage) -> Result<(), String> {
        self.statuses.resumed(stage, &stage.agent.taken_up())?;
        self.statuses.process_gone(stage);
        self.ledgers.look(stage)?;
        self.ledgers.look_at_wechat(stage)?;
        conserved(stage)
    }

    /// What has changed in the accounts' states since the last call, for the trace.
    pub fn changes(&mut self) -> Vec<String> {
        self.statuses.changes()
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&mut self, stage: &Stage, since: Duration) {
        let until = self.statuses.calm(stage, since);
        self.calm = Some(Calm { since, until });
    }

    /// Whether all is well again.
    ///
    /// # Errors
    /// When it is not, and should be by now.
    pub fn is_well(&mut self, stage: &Stage) -> Result<bool, String> {
        let Some(calm) = self.calm else { return Ok(false) };
        let mut wrong = self.statuses.not_well(stage, calm.since)?;
        wrong.extend(ledgers::not_settled(stage));
        match wechat::yet_to_come(stage, &self.ledgers) {
            0 => {}
            waiting => wrong.push(format!("{waiting} messages of users wait for a poll")),
        }
        if wrong.is_empty() {
            return Ok(true);
        }
        if stage.now() < calm.until {
            return Ok(false);
        }
        let waited = (stage.now() - calm.since).as_secs();
        Err(format!(
            "liveness: after {waited} s of calm: {}\n{}{}",
            wrong.join("; "),
            ledgers::unfinished(stage),
            stage.world.describe()
        ))
    }

    /// At the end, when all is well: what became of everything.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verdict(&mut self, stage: &mut Stage) -> Result<(), String> {
        self.look(stage)?;
        conserved(stage)?;
        wechat::nothing_is_missing(stage, &self.ledgers)?;
        verdict::pronounce(stage, &self.ledgers)
    }
}

/// Outcomes are conserved, and the counters are what the rows say (design §2).
fn conserved(stage: &Stage) -> Result<(), String> {
    let store = &stage.world.store;
    let counts = now(moorline_store::Store::counts(&**store))?;
    let rows = now(store.recount())?;
    if counts != rows {
        return Err(format!("conservation: the counters say {counts:?}, the rows {rows:?}"));
    }
    for (id, c) in &counts {
        let outcomes =
            c.answered + c.pending + c.dropped.values().sum::<u64>() + c.held.values().sum::<u64>();
        if c.received != outcomes {
            return Err(format!("conservation: {id}: {c:?}"));
        }
    }
    Ok(())
}

/// An answer of the inline store, which is there at once.
fn now<T, E: std::fmt::Display>(answer: BoxFuture<'static, Result<T, E>>) -> Result<T, String> {
    match answer.now_or_never() {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(format!("the store cannot be read: {error}")),
        None => Err("the store does not answer".to_owned()),
    }
}
