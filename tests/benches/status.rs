//! Whether an operator gets an answer while the runtime has more to do than it can (F-081).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use moorline_core::EventId;
use moorline_simulator::feishu::{EventRecord, Push, Redelivery};
use moorline_tests::process::{Process, pause};
use moorline_tests::world::chat_of;
use tokio::time::Instant;

use crate::{Bench, SECOND, ms, report};

/// Producers at the same time: each sends its next message when the last one is acknowledged.
const PRODUCERS: usize = 256;

/// Spread over so many accounts.
const ACCOUNTS: usize = 8;

/// So many chats for each producer: one chat is answered four times a second at most.
const CHATS_EACH: usize = 4;

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How long, unless `MOORLINE_OVERLOAD_SECS` says otherwise.
const LASTS_SECS: u64 = 60;

/// How often the producers look for acknowledgements.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// `GET /v1/status` every 50 ms, over HTTP, while 256 producers send as fast as they are acknowledged. Questions are
/// asked by the clock: one that waits for its answer does not delay the next.
pub(crate) fn status_under_overload() {
    let lasts = std::env::var("MOORLINE_OVERLOAD_SECS").ok().and_then(|secs| secs.parse().ok());
    let lasts = Duration::from_secs(lasts.unwrap_or(LASTS_SECS));
    let bench = Bench::new(ACCOUNTS);
    bench.simulator.set_rates(None);
    // The platform's patience is not what is measured.
    bench.simulator.set_redelivery(Redelivery { ladder: vec![30 * SECOND; 8], ..Redelivery::default() });
    let mut process = bench.settings.start();
    process.ready(10 * SECOND);
    pause(SECOND);
    let idle = ask(&process, 2 * SECOND);
    let resident = process.resident_kib();

    let (over, acked) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = thread::scope(|scope| {
        scope.spawn(|| produce(&bench, &over, &acked));
        let busy = ask(&process, lasts);
        over.store(true, Relaxed);
        busy
    });
    let (acked, grown) = (acked.load(Relaxed), process.resident_kib().saturating_sub(resident));
    let unanswered = acked.saturating_sub(visible(&bench).0 as u64);
    // What is late is not lost: all are answered, each once.
    let drained = process.until("everything answered and sent", 1_200 * SECOND, |process| {
        pause(SECOND / 4);
        answered(process) == acked && visible(&bench).0 as u64 >= acked
    });
    assert_eq!(visible(&bench), (acked as usize, acked as usize), "every message is answered, and once");
    report(
        "GET /v1/status when nothing happens",
        "for comparison",
        &format!(
            "p50 {}, p99 {}, worst {}",
            ms(share(&idle, 50)),
            ms(share(&idle, 99)),
            ms(share(&idle, 100))
        ),
    );
    report(
        &format!(
            "GET /v1/status every 50 ms for {} s while {PRODUCERS} producers overload the runtime",
            lasts.as_secs()
        ),
        "aim p99 <= 250 ms, worst <= 1 s",
        &format!(
            "p50 {}, p99 {}, worst {} of {}; {acked} messages acknowledged ({:.0} a second), the replies to {unanswered} \
             of them were out {:.1} s after the end, none lost and none twice; grown by {} MB",
            ms(share(&busy, 50)),
            ms(share(&busy, 99)),
            ms(share(&busy, 100)),
            busy.len(),
            acked as f64 / lasts.as_secs_f64(),
            drained.as_secs_f64(),
            grown * 1_024 / 1_000_000,
        ),
    );
    assert!(process.terminate(30 * SECOND).success());
}

/// How long the answers took, in order of length, each from the moment at which it was due to be asked for.
fn ask(process: &Process, lasts: Duration) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    for n in 0.. {
        let due = began + ASK_EVERY * n;
        if due - began >= lasts {
            break;
        }
        pause(due.saturating_duration_since(Instant::now()));
        let answer = process.call("GET", "/v1/status", None);
        let took = due.elapsed();
        let status = answer.expect("an answer").json();
        assert_eq!(status["accounts"].as_array().map(Vec::len), Some(ACCOUNTS), "a whole answer");
        times.push(took);
    }
    times.sort();
    times
}

/// The producers, each in turn: whoever's message is acknowledged writes the next one. Counts what was acknowledged,
/// and comes back when all of it is.
fn produce(bench: &Bench, over: &AtomicBool, acked: &AtomicU64) {
    let mut sent = [0_usize; PRODUCERS];
    let mut waits: Vec<_> = (0..PRODUCERS).map(|producer| Some(say(bench, producer, 0))).collect();
    while waits.iter().any(Option::is_some) {
        let done: Vec<bool> = bench.simulator.read_ledger(|ledger| {
            let is_acked = |id: &EventId| ledger.event(id).is_some_and(EventRecord::is_acked);
            waits.iter().map(|wait| wait.as_ref().is_some_and(is_acked)).collect()
        });
        for producer in (0..PRODUCERS).filter(|producer| done[*producer]) {
            acked.fetch_add(1, Relaxed);
            sent[producer] += 1;
            let next = || say(bench, producer, sent[producer]);
            waits[producer] = (!over.load(Relaxed)).then(next);
        }
        pause(LOOK_EVERY);
    }
}

fn say(bench: &Bench, producer: usize, n: usize) -> EventId {
    let user = format!("u{producer}-{}", n % CHATS_EACH);
    let push = Push::direct(chat_of(&user).as_str(), user, format!("{producer}/{n}"));
    bench.simulator.push(&bench.apps[producer % ACCOUNTS].app_id, push).unwrap().event_id
}

fn answered(process: &Process) -> u64 {
    let status = process.get("/v1/status");
    let accounts = status["accounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    accounts.iter().filter_map(|account| account["counts"]["answered"].as_u64()).sum()
}

/// How many messages users see, and how many different ones.
fn visible(bench: &Bench) -> (usize, usize) {
    bench.simulator.read_ledger(|ledger| {
        let texts: BTreeSet<&str> = ledger.visible().iter().map(|message| message.text.as_str()).collect();
        (ledger.visible().len(), texts.len())
    })
}

/// The time that so many of a hundred do not exceed.
fn share(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
