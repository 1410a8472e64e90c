//! Plays scenarios, several at a time: those in memory on as many threads as there are cores, those over sockets on
//! more, because they mostly wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::house::Mount;
use super::report::{Cell, Ended, Report};
use super::scenarios::{Scenario, scenarios};
use super::{Open, STAGES, Theatre};
use crate::in_virtual_time;

/// Processes that run at the same time.
const PROCESSES: usize = 10;

/// Where the randomness of a cell comes from; the same in every run.
const SEED: u64 = 6;

/// What one cell is made of.
pub(super) struct Task<'a> {
    pub(super) place: usize,
    pub(super) scenario: &'a Scenario,
    pub(super) channel: &'static str,
    pub(super) open: Open,
    pub(super) mount: Mount,
}

/// Plays every scenario for every channel in both mounts, if its name has all of these words; `finished` is called with
/// each cell as it ends.
pub fn run(words: &[String], finished: impl Fn(&Cell) + Sync) -> Report {
    let began = Instant::now();
    let scenarios = scenarios();
    let mut cells = Vec::new();
    for mount in Mount::ALL {
        let tasks: Vec<Task<'_>> = tasks(&scenarios, mount)
            .filter(|task| {
                let name = format!("{} {} {}", task.scenario.name, task.channel, mount.as_str());
                words.iter().all(|word| name.contains(word.as_str()))
            })
            .collect();
        cells.extend(in_parallel(&tasks, mount, &finished));
    }
    cells.sort_by_key(|cell| (cell.place, cell.channel, cell.mount));
    Report { cells, took: began.elapsed() }
}

fn tasks(scenarios: &[Scenario], mount: Mount) -> impl Iterator<Item = Task<'_>> {
    scenarios.iter().enumerate().flat_map(move |(place, scenario)| {
        STAGES.iter().map(move |&(channel, open)| Task { place, scenario, channel, open, mount })
    })
}

fn in_parallel(tasks: &[Task<'_>], mount: Mount, finished: &(impl Fn(&Cell) + Sync)) -> Vec<Cell> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if mount == Mount::Memory { cores } else { PROCESSES };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(tasks.len()) {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Relaxed)) {
                    let cell = task.play();
                    finished(&cell);
                    done.lock().push(cell);
                }
            });
        }
    });
    done.into_inner()
}

impl Task<'_> {
    /// Plays it on a runtime of its own. A panic, a scenario's or a stage's, is how it failed.
    pub(super) fn play(&self) -> Cell {
        let began = Instant::now();
        let playing = || match self.mount {
            Mount::Memory => in_virtual_time(self.perform()),
            Mount::Sockets => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(self.perform())
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(playing)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Ended::Failed(text.unwrap_or_default())
        });
        Cell {
            place: self.place,
            scenario: self.scenario.name.clone(),
            channel: self.channel,
            mount: self.mount,
            ended,
            took: began.elapsed(),
        }
    }

    async fn perform(&self) -> Ended {
        let mut theatre = Theatre::open(self.open, self.mount, self.scenario.wish, SEED).await;
        match self.scenario.play(&mut theatre).await {
            Ok(()) => {
                let (start, away, ran) = (theatre.took_to_start(), theatre.away(), theatre.ran());
                let judged = theatre.verdict().await;
                Ended::Passed { start, away, ran, judged }
            }
            Err(reason) => Ended::NotApplicable(reason.0),
        }
    }
}
