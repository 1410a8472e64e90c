//! What the run prints: one table, what went wrong, one last line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use moorline_simulator::feishu::{AppId, Ledger};

use crate::client::Kind;
use crate::flow::{Outcome, STEPS};

/// Everything the run found out.
#[derive(Default)]
pub(crate) struct Report {
    versions: Vec<String>,
    outcomes: Vec<Outcome>,
    differences: Vec<String>,
    summary: String,
}

impl Report {
    pub(crate) fn new(versions: &[String]) -> Self {
        Self { versions: versions.to_vec(), ..Self::default() }
    }

    /// A run that could not begin.
    pub(crate) fn broken(error: &anyhow::Error) -> Self {
        Self { differences: vec![format!("{error:#}")], ..Self::default() }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Compares both ledgers, as they are after everything, with what every client was expected to do.
    pub(crate) fn compare(&mut self, ledger: &Ledger, took: Duration) {
        for outcome in &self.outcomes {
            let found = outcome.book.differences(ledger, &outcome.counters);
            self.differences.extend(found.into_iter().map(|found| format!("{}: {found}", outcome.name)));
        }
        let known = |app: &AppId| self.outcomes.iter().any(|outcome| outcome.book.app == *app);
        let strangers = ledger.events().iter().filter(|record| !known(&record.app)).count()
            + ledger.visible().iter().filter(|visible| !known(&visible.app)).count();
        if strangers > 0 {
            self.differences.push(format!("{strangers} entries of no client"));
        }
        let deliveries: usize = ledger.events().iter().map(|record| record.deliveries.len()).sum();
        let _ = write!(
            self.summary,
            "{} events in {deliveries} deliveries, {} visible messages, {:.1} s",
            ledger.events().len(),
            ledger.visible().len(),
            took.as_secs_f64()
        );
    }

    /// Prints it, and says whether everything is as expected.
    pub(crate) fn print(&mut self) -> bool {
        let text = self.render();
        let ok = self.failures() == 0 && self.differences.is_empty();
        let (verdict, taken) =
            (if ok { "ok" } else { "FAILED" }, self.outcomes.iter().map(|o| o.steps.len()));
        let last = format!(
            "interop: {verdict}: {} clients, {} of {} steps ok, {} differences between ledgers and expectation; {}",
            self.outcomes.len(),
            taken.sum::<usize>() - self.failures(),
            STEPS.len() * Kind::ALL.len(),
            self.differences.len(),
            if self.summary.is_empty() { "nothing was run" } else { &self.summary }
        );
        // Nobody listening is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{text}{last}");
        ok
    }

    fn failures(&self) -> usize {
        self.outcomes.iter().flat_map(|outcome| &outcome.steps).filter(|(_, result)| result.is_err()).count()
    }

    fn render(&self) -> String {
        let mut text = format!("\n{:<24}", "step");
        for version in &self.versions {
            let _ = write!(text, "{version:<20}");
        }
        text.push('\n');
        for (n, (name, _)) in STEPS.iter().enumerate().filter(|_| !self.outcomes.is_empty()) {
            let _ = write!(text, "{name:<24}");
            for outcome in &self.outcomes {
                let cell = match outcome.steps.get(n) {
                    Some((took, Ok(()))) => format!("ok {:>8.1} ms", took.as_secs_f64() * 1e3),
                    Some((took, Err(_))) => format!("FAILED {:>4.1} s", took.as_secs_f64()),
                    None => "not reached".to_owned(),
                };
                let _ = write!(text, "{cell:<20}");
            }
            text.push('\n');
        }
        text.push('\n');
        for outcome in &self.outcomes {
            for ((_, result), (name, _)) in outcome.steps.iter().zip(STEPS) {
                if let Err(error) = result {
                    let _ = writeln!(text, "{} failed at \"{name}\": {error}\n", outcome.name);
                }
            }
        }
        for difference in &self.differences {
            let _ = writeln!(text, "{difference}");
        }
        text
    }
}
