//! The conformance table: scenario × channel, in both mounts, with times, losses, duplicates and gaps.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::house::Mount;
use super::judge::Judged;

/// One scenario, played for one channel in one mount.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The scenario's place in the table.
    pub place: usize,
    /// Its name.
    pub scenario: String,
    /// The channel.
    pub channel: &'static str,
    /// The mount.
    pub mount: Mount,
    /// How it ended.
    pub ended: Ended,
    /// How long that took in real time.
    pub took: Duration,
}

/// How a scenario ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// As it has to.
    Passed {
        /// How long it took from nothing to ready, by the mount's own time.
        start: Duration,
        /// How long the account was not ready, by the mount's own time.
        away: Duration,
        /// How long everything took, by the mount's own time.
        ran: Duration,
        /// What became of the messages.
        judged: Judged,
    },
    /// It means nothing on this platform, for this reason.
    NotApplicable(String),
    /// Otherwise.
    Failed(String),
}

/// Everything that was played.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the table.
    pub cells: Vec<Cell>,
    /// Real time of it all.
    pub took: Duration,
}

impl Report {
    /// What failed.
    #[must_use]
    pub fn failures(&self) -> Vec<&Cell> {
        self.cells.iter().filter(|cell| matches!(cell.ended, Ended::Failed(_))).collect()
    }

    /// The table. `start` is how long it took to be ready at first, `away` how long the account was not ready because of what
    /// was done to it, and `all` how long everything took: virtual time in memory, real time over sockets. `missed` are messages that the platform itself will never offer again.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<(usize, &str), BTreeMap<Mount, &Cell>> = BTreeMap::new();
        for cell in &self.cells {
            rows.entry((cell.place, cell.channel)).or_default().insert(cell.mount, cell);
        }
        let mut table = String::new();
        let header = " start      away       all lost doubled missed gaps";
        let _ = writeln!(
            table,
            "{:34} {:15} | {:51} | over sockets, real time",
            "", "", "in memory, virtual time"
        );
        let _ = writeln!(table, "{:34} {:15} | {header} | {header}", "scenario", "channel");
        let mut last = "";
        for ((_, channel), mounts) in &rows {
            let Some(first) = mounts.values().next() else { continue };
            let scenario = if first.scenario == last { "" } else { &first.scenario };
            last = &first.scenario;
            let side = |mount: Mount, width: usize| {
                let text = mounts.get(&mount).map(|cell| cell.ended.to_string()).unwrap_or_default();
                format!("{text:width$}")
            };
            let line = format!(
                "{scenario:34} {channel:15} | {} | {}",
                side(Mount::Memory, 51),
                side(Mount::Sockets, 51)
            );
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    /// One line about it all.
    #[must_use]
    pub fn line(&self) -> String {
        let (mut passed, mut not_applicable, mut failed) = (0, 0, 0);
        let mut all = Judged::default();
        for cell in &self.cells {
            match &cell.ended {
                Ended::Passed { judged, .. } => {
                    passed += 1;
                    all.said += judged.said;
                    all.marked += judged.marked;
                    all.missed += judged.missed;
                    all.gaps += judged.gaps;
                }
                Ended::NotApplicable(_) => not_applicable += 1,
                Ended::Failed(_) => failed += 1,
            }
        }
        let Judged { said, marked, missed, gaps, .. } = all;
        format!(
            "{passed} passed, {not_applicable} n/a, {failed} failed; {said} messages, {marked} marked as possibly \
             repeated, {missed} never offered again by the platform, {gaps} gaps; {:.0} s",
            self.took.as_secs_f64()
        )
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { start, away, ran, judged } => {
                let Judged { lost, doubled, missed, gaps, .. } = judged;
                let [start, away, ran] = [start, away, ran].map(Duration::as_secs_f64);
                let text = format!(
                    "{start:>4.1} s {away:>7.1} s {ran:>7.1} s {lost:>4} {doubled:>7} {missed:>6} {gaps:>4}"
                );
                f.pad(&text)
            }
            Self::NotApplicable(why) => f.pad(&format!("n/a: {why}")),
            Self::Failed(_) => f.pad("FAILED"),
        }
    }
}
