//! Seeded fault schedules: the whole runtime on one thread in virtual time, with everything going wrong that the
//! vocabulary knows, checkers running throughout, and a calm phase in which all must be well again (docs/simulation.md).
//!
//! Everything follows from the seed: the accounts, the users and what they write, the odds of every fault, and when
//! each strikes. The same seed gives the same run, to the last frame.

pub mod agent;
pub mod book;
pub mod checkers;
pub mod drive;
pub mod faults;
pub mod report;
pub mod schedule;
pub mod store;

pub use report::{Failure, Outcome, Summary};

use schedule::Schedule;

/// Runs the schedule of a seed from its beginning to its end, on this thread.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let schedule = Schedule::draw(seed);
    crate::in_virtual_time(drive::run(schedule))
}
