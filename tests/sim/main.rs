//! Runs fault schedules: every seed of the corpus, then fresh ones, or those that are asked for.
//!
//! `MOORLINE_SIM_SEEDS` or `--seeds` says how many, `MOORLINE_SIM_SEED` or `--seed` where to begin; without a
//! beginning one is drawn. A seed that fails prints its story and joins the corpus.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test program reports on standard output"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness reports by panicking")]

mod corpus;
mod crew;

use std::process::ExitCode;

use moorline_tests::sim::agent;
use moorline_tests::sim::faults::{vocabulary, wechat_vocabulary};

use crate::crew::Crew;

/// How many fresh seeds there are without being asked.
const SEEDS: u64 = 1_000;

/// How many of the first seeds run twice, to see whether they are the same.
const TWICE: u64 = 20;

/// In as many seeds as a usual run has, every kind strikes at least this often; an idle fault is an untested one.
const LEAST: u64 = 100;

/// What is asked for.
struct Request {
    seed: Option<u64>,
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        // Test runners ask what there is before they run it; among the ignored there is nothing.
        if !arguments.iter().any(|a| a == "--ignored") {
            println!("schedules: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(request) = Request::read(&arguments) else { return ExitCode::SUCCESS };
    crew::keep_drills_quiet();
    if let Ok(filter) = std::env::var("MOORLINE_SIM_LOG") {
        // What the runtime says, for looking closely at one seed; its time is virtual, so none is shown.
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
    }
    run(&request)
}

fn run(request: &Request) -> ExitCode {
    let base = request.seed.unwrap_or_else(crew::fresh_seed);
    let mut crew = Crew::default();
    if request.seed.is_none() {
        let known = corpus::seeds();
        println!("corpus: {} seeds", known.len());
        crew.run(known);
        println!("fresh: {} seeds from 0x{base:016x}", request.seeds);
    }
    crew.run((0..request.seeds).map(|n| base.wrapping_add(n)).collect());
    let twice = crew.run_again((0..request.seeds.min(TWICE)).map(|n| base.wrapping_add(n)).collect());
    for seed in &twice {
        println!("seed 0x{seed:016x} ran twice and was not the same: see docs/simulation.md, Determinism");
    }
    let summary = crew.summary();
    println!("{}", summary.table());
    let kinds: Vec<String> = vocabulary()
        .into_iter()
        .chain(wechat_vocabulary())
        .map(|kind| kind.name)
        .chain(agent::KINDS.iter().map(|&kind| kind.to_owned()))
        .collect();
    let idle = if request.seeds >= SEEDS { summary.idle(&kinds, LEAST) } else { Vec::new() };
    if !idle.is_empty() {
        println!("struck fewer than {LEAST} times: {}", idle.join(", "));
    }
    // After the table: of a long output often only the end is kept.
    for failed in &summary.failures {
        print!("{}", failed.tell());
    }
    println!("{} in {:.0} s", summary.line(), crew.took().as_secs_f64());
    if summary.failures.is_empty() && idle.is_empty() && twice.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Request {
    /// `None` when a filter of the test runner leaves us out.
    fn read(arguments: &[String]) -> Option<Self> {
        let value = |flag: &str, variable: &str| {
            let given =
                arguments.iter().position(|a| a == flag).and_then(|at| arguments.get(at + 1).cloned());
            given.or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty())
        };
        let seed = value("--seed", "MOORLINE_SIM_SEED").map(|text| number(&text));
        let seeds = value("--seeds", "MOORLINE_SIM_SEEDS").map(|text| number(&text));
        let mut flags = arguments.iter().enumerate();
        let filtered = flags.any(|(n, a)| {
            let is_value = n > 0 && arguments[n - 1].starts_with("--") && arguments[n - 1] != "--exact";
            !a.starts_with('-') && !is_value && !"schedules".contains(a.as_str())
        });
        let fallback = if seed.is_some() { 1 } else { SEEDS };
        (!filtered).then_some(Self { seed, seeds: seeds.unwrap_or(fallback) })
    }
}

/// A number as people write seeds: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}
