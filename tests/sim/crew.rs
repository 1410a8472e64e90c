//! As many threads as there are cores, each running one schedule after the other.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use moorline_tests::sim::{Failure, Outcome, Summary, run};
use parking_lot::Mutex;

use super::corpus;

/// Runs schedules and remembers what they came to.
pub(crate) struct Crew {
    summary: Summary,
    traces: BTreeMap<u64, u64>,
    began: tokio::time::Instant,
}

impl Default for Crew {
    fn default() -> Self {
        Self { summary: Summary::default(), traces: BTreeMap::new(), began: tokio::time::Instant::now() }
    }
}

impl Crew {
    /// Runs these seeds.
    pub(crate) fn run(&mut self, seeds: Vec<u64>) {
        for outcome in in_parallel(&seeds) {
            self.traces.insert(outcome.seed, outcome.trace);
            self.summary.add(outcome);
        }
    }

    /// Runs seeds once more, and gives those that were not the same (T2).
    pub(crate) fn run_again(&self, seeds: Vec<u64>) -> Vec<u64> {
        let outcomes = in_parallel(&seeds);
        let differ = |outcome: &Outcome| self.traces.get(&outcome.seed) != Some(&outcome.trace);
        outcomes.iter().filter(|outcome| differ(outcome)).map(|outcome| outcome.seed).collect()
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Real time since the beginning.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

fn in_parallel(seeds: &[u64]) -> Vec<Outcome> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Relaxed)) {
                    let outcome = caught(seed);
                    let mut done = done.lock();
                    // At once: whatever ends the run early must not take the seed with it.
                    if corpus::add(&outcome) {
                        println!("seed 0x{seed:016x} failed");
                    }
                    done.push(outcome);
                }
            });
        }
    });
    let mut outcomes = done.into_inner();
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

/// A schedule whose harness panicked has failed too.
fn caught(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = format!("the harness panicked: {}", what.unwrap_or_default());
        let failure = Failure { at: Duration::ZERO, what, story: Vec::new() };
        Outcome {
            seed,
            ran: Duration::ZERO,
            messages: 0,
            struck: BTreeMap::new(),
            trace: 0,
            failure: Some(failure),
        }
    })
}

/// Drills panic by the thousand, inside the containment that they are for: nobody wants to read of each.
pub(crate) fn keep_drills_quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Where this run begins: the operating system's randomness, through the one door that the standard library has.
pub(crate) fn fresh_seed() -> u64 {
    RandomState::new().hash_one("where to begin")
}
