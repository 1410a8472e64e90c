//! What a run came to, and what many runs came to together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What one schedule came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Virtual time.
    pub ran: Duration,
    /// Messages of users and operators.
    pub messages: u64,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<String, u64>,
    /// Stands for everything that was seen: ledgers, states, faults.
    pub trace: u64,
    /// What was wrong, if anything was.
    pub failure: Option<Failure>,
}

/// A checker that did not agree, and the story up to then.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When, since the start.
    pub at: Duration,
    /// Which checker, and what it saw.
    pub what: String,
    /// What was done to the system, line by line.
    pub story: Vec<String>,
}

/// What many schedules came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Schedules.
    pub seeds: u64,
    /// Virtual time of all of them.
    pub ran: Duration,
    /// Messages of all of them.
    pub messages: u64,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<String, u64>,
    /// Those that failed.
    pub failures: Vec<Outcome>,
}

impl Summary {
    /// Adds what one schedule came to.
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.ran += outcome.ran;
        self.messages += outcome.messages;
        for (kind, times) in &outcome.struck {
            *self.struck.entry(kind.clone()).or_default() += times;
        }
        if outcome.failure.is_some() {
            self.failures.push(outcome);
        }
    }

    /// The kinds of `all` that struck fewer than `least` times.
    #[must_use]
    pub fn idle<'a>(&self, all: &'a [String], least: u64) -> Vec<&'a str> {
        let times = |kind: &str| self.struck.get(kind).copied().unwrap_or_default();
        all.iter().map(String::as_str).filter(|kind| times(kind) < least).collect()
    }

    /// How often each kind struck, in three columns.
    #[must_use]
    pub fn table(&self) -> String {
        let cells: Vec<String> =
            self.struck.iter().map(|(kind, times)| format!("{times:>8} {kind:<38}")).collect();
        let rows = cells.len().div_ceil(3);
        let mut table = String::new();
        for row in 0..rows {
            let line: String = cells.iter().skip(row).step_by(rows).cloned().collect();
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        let faults: u64 = self.struck.values().sum();
        let hours = self.ran.as_secs() / 3_600;
        format!(
            "{} schedules, {hours} virtual hours, {} messages, {faults} faults of {} kinds, {} failures",
            self.seeds,
            self.messages,
            self.struck.len(),
            self.failures.len()
        )
    }
}

impl Outcome {
    /// The story of a failure, and the command that shows it again.
    #[must_use]
    pub fn tell(&self) -> String {
        let Some(failure) = &self.failure else { return String::new() };
        let mut text =
            format!("seed 0x{:016x} failed at {}: {}\n", self.seed, clock(failure.at), failure.what);
        for line in &failure.story {
            let _ = writeln!(text, "    {line}");
        }
        let _ = writeln!(text, "again: make sim SEED=0x{:016x}", self.seed);
        text
    }
}

/// A time since the start.
#[must_use]
pub fn clock(at: Duration) -> String {
    let secs = at.as_secs();
    format!("{:02}:{:02}:{:02}.{:03}", secs / 3_600, secs / 60 % 60, secs % 60, at.subsec_millis())
}
