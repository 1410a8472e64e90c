//! Seeds that once failed. They run for ever.

use std::fs::OpenOptions;
use std::io::Write as _;

use moorline_tests::sim::Outcome;

/// One seed per line, and after a `#` what it found.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sim/corpus.txt");

/// All of them.
pub(crate) fn seeds() -> Vec<u64> {
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    let seeds = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    seeds.filter(|seed| !seed.is_empty()).map(super::number).collect()
}

/// Adds a seed that failed, if it is not there yet; whether it failed.
pub(crate) fn add(outcome: &Outcome) -> bool {
    let Some(failure) = &outcome.failure else { return false };
    if seeds().contains(&outcome.seed) {
        return true;
    }
    let what = failure.what.lines().next().unwrap_or_default();
    let what: String = what.chars().take(100).collect();
    let line = format!("0x{:016x} # {what}\n", outcome.seed);
    // A place that cannot be written to costs the memory of this seed, and no more.
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(FILE) {
        drop(file.write_all(line.as_bytes()));
    }
    true
}
