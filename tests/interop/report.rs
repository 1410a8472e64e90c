//! What the run prints: one table, what went wrong, one last line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use moorline_simulator::feishu::{AppId, Ledger};

use crate::client::Kind;
use crate::flow::{Outcome, STEPS};
use crate::weixin;

/// Everything the run found out.
#[derive(Default)]
pub(crate) struct Report {
    versions: Vec<String>,
    outcomes: Vec<Outcome>,
    differences: Vec<String>,
    summary: String,
    weixin: Option<(String, weixin::Outcome)>,
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

    /// What became of the package for WeChat.
    pub(crate) fn add_weixin(&mut self, version: String, outcome: weixin::Outcome) {
        self.differences.extend(outcome.differences.iter().map(|found| format!("weixin: {found}")));
        let _ = write!(self.summary, "; weixin: {}", outcome.summary);
        self.weixin = Some((version, outcome));
    }

    /// Prints it, and says whether everything is as expected.
    pub(crate) fn print(&mut self) -> bool {
        let text = self.render();
        let ok = self.failures() == 0 && self.differences.is_empty();
        let verdict = if ok { "ok" } else { "FAILED" };
        let last = format!(
            "interop: {verdict}: {} clients, {} of {} steps ok, {} differences between ledgers and expectation; {}",
            self.outcomes.len() + usize::from(self.weixin.is_some()),
            self.results().filter(|result| result.is_ok()).count(),
            STEPS.len() * Kind::ALL.len() + weixin::STEPS.len(),
            self.differences.len(),
            if self.summary.is_empty() { "nothing was run" } else { &self.summary }
        );
        // Nobody listening is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{text}{last}");
        ok
    }

    fn failures(&self) -> usize {
        self.results().filter(|result| result.is_err()).count()
    }

    /// How each step went that was taken.
    fn results(&self) -> impl Iterator<Item = &Result<(), String>> {
        let weixin = self.weixin.iter().flat_map(|(_, outcome)| &outcome.steps);
        self.outcomes.iter().flat_map(|outcome| &outcome.steps).chain(weixin).map(|(_, result)| result)
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
                let _ = write!(text, "{:<20}", cell(outcome.steps.get(n)));
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
        if let Some((version, outcome)) = &self.weixin {
            let _ = writeln!(text, "{:<24}{version}", "step");
            for (n, (name, _)) in weixin::STEPS.iter().enumerate() {
                let _ = writeln!(text, "{name:<24}{}", cell(outcome.steps.get(n)));
            }
            text.push('\n');
            for ((_, result), (name, _)) in outcome.steps.iter().zip(weixin::STEPS) {
                if let Err(error) = result {
                    let _ = writeln!(text, "weixin failed at \"{name}\": {error}\n");
                }
            }
        }
        for difference in &self.differences {
            let _ = writeln!(text, "{difference}");
        }
        text
    }
}

/// One step of one client.
fn cell(step: Option<&(Duration, Result<(), String>)>) -> String {
    match step {
        Some((took, Ok(()))) => format!("ok {:>8.1} ms", took.as_secs_f64() * 1e3),
        Some((took, Err(_))) => format!("FAILED {:>4.1} s", took.as_secs_f64()),
        None => "not reached".to_owned(),
    }
}
