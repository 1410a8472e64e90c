//! Plays the conformance scenarios for every channel and prints the table: `make conformance`, or
//! `make conformance ONLY="feishu half-open memory"` for what has all of these words in its name.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test program reports on standard output"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness reports by panicking")]

use std::path::Path;
use std::process::ExitCode;

use moorline_tests::conformance::{Cell, Ended, run};

/// Where the table is written beside.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/conformance.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        // Test runners ask what there is before they run it; among the ignored there is nothing.
        if !arguments.iter().any(|a| a == "--ignored") {
            println!("channels: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "channels".contains(filter.as_str())) {
        // The filter of a test runner leaves us out.
        return ExitCode::SUCCESS;
    }
    let only = std::env::var("MOORLINE_CONFORMANCE").unwrap_or_default();
    let words: Vec<String> = only.split_whitespace().map(str::to_owned).collect();
    let report = run(&words, |cell| {
        if let Ended::Failed(why) = &cell.ended {
            println!("{} FAILED after {:.1} s: {why}\n", name(cell), cell.took.as_secs_f64());
        }
    });
    let text = format!("{}\n{}\n", report.table(), report.line());
    println!("{text}");
    if let Err(error) = std::fs::write(Path::new(TABLE), &text) {
        println!("the table could not be written to {TABLE}: {error}");
    }
    for cell in report.failures() {
        println!("failed: make conformance ONLY=\"{}\"", name(cell));
    }
    let nothing = report.cells.is_empty();
    if nothing {
        println!("no scenario has all of these words: {only}");
    }
    if nothing || !report.failures().is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn name(cell: &Cell) -> String {
    format!("{} {} {}", cell.scenario, cell.channel, cell.mount.as_str())
}
