//! The scheduler in virtual time: due times across crashes, changes of the clock and sleep, and what a run's status is
//! worth.

use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, ready};
use moorline_agent::{Agent, AgentError, Reply, Turn};
use moorline_core::{ChatId, JobId, Timestamp};
use moorline_runtime::{
    AddJob, Delivery, FindingKind, JobKind, JobView, MissedPolicy, Page, RunResult, RunRow,
};
use moorline_simulator::feishu::{Answer, ChatType, Fault, Times};
use moorline_tests::world::{Parts, chat_of};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn setup() -> Setup {
    Setup { accounts: 1, ..Setup::default() }
}

fn text(schedule: &str, zone: &str, body: &str) -> AddJob {
    AddJob {
        name: None,
        account: "feishu:a0".parse().unwrap(),
        to: chat_of("job"),
        schedule: schedule.to_owned(),
        zone: zone.to_owned(),
        kind: JobKind::Text,
        body: body.to_owned(),
        missed: MissedPolicy::Once,
        max_delay: 12 * HOUR,
        key: None,
    }
}

async fn world() -> World {
    let world = World::start(setup()).await;
    world.simulator.add_chat(world.app(0), chat_of("job"), ChatType::P2p).unwrap();
    world.settled().await;
    world
}

async fn add(world: &World, job: AddJob) -> JobId {
    world.handle.add_job(job).await.unwrap().0.row.id
}

async fn view(world: &World, job: JobId) -> JobView {
    world.handle.job(job).await.unwrap()
}

/// A job's runs, oldest first.
async fn runs(world: &World, job: JobId) -> Vec<RunRow> {
    let mut rows = Vec::new();
    let mut page = Page { before: None, limit: 500 };
    loop {
        let listed = world.handle.runs(job, page).await.unwrap();
        rows.extend(listed.rows);
        page.before = listed.next;
        if page.before.is_none() {
            break;
        }
    }
    rows.sort_by_key(|run| run.due);
    rows
}

async fn results(world: &World, job: JobId) -> Vec<(RunResult, u64)> {
    runs(world, job).await.iter().map(|run| (run.result, run.count)).collect()
}

/// Every due time from the first to the last is in one run, which stands for as many as it says.
fn assert_complete(runs: &[RunRow], every: Duration) {
    for pair in runs.windows(2) {
        assert_eq!(pair[1].due, pair[0].until + every, "{pair:?}");
    }
    for run in runs {
        assert_eq!(run.until.since(run.due), every * (run.count as u32 - 1), "{run:?}");
    }
}

fn wall(world: &World) -> Timestamp {
    world.handle.now()
}

/// F-087: the process dies at the due time, a little before it, or a little after it, 200 times.
#[test]
fn two_hundred_crashes_at_the_due_time_run_nothing_twice_and_leave_nothing_out_f087() {
    in_virtual_time(async {
        let mut world = world().await;
        let once = add(&world, text("* * * * *", "UTC", "once")).await;
        let all = add(&world, AddJob { missed: MissedPolicy::All, ..text("* * * * *", "UTC", "all") }).await;
        for number in 0..200_u64 {
            let due = view(&world, once).await.row.job.next_due.unwrap();
            let before = due.since(wall(&world));
            // From 3 ms before it to 12 ms after it, which is when it has been sent.
            tokio::time::sleep(
                (before + Duration::from_millis(number % 16)).saturating_sub(3 * SECOND / 1_000),
            )
            .await;
            for _ in 0..number % 7 {
                tokio::task::yield_now().await;
            }
            world.crash().await;
            // Now and then it is away for longer than a minute.
            tokio::time::sleep(if number % 10 == 9 { 130 * SECOND } else { SECOND }).await;
            world.boot().await;
            world.settled().await;
        }
        tokio::time::sleep(2 * MINUTE).await;
        for (job, text) in [(once, "once"), (all, "all")] {
            let runs = runs(&world, job).await;
            assert_complete(&runs, MINUTE);
            let ran = runs.iter().filter(|run| run.result == RunResult::Ok).count();
            assert_eq!(world.copies("job", text), ran, "{text}");
            let missed = runs.iter().filter(|run| run.result == RunResult::Missed).count();
            assert_eq!(runs.len(), ran + missed, "{text}");
            assert!(ran >= 200 && (missed > 0) == (text == "once"), "{text}: {ran} ran, {missed} missed");
        }
        world.check().await;
    });
}

/// F-086: what was due while nothing ran is recorded within two seconds of the start, by every policy.
#[test]
fn a_due_time_that_was_missed_is_recorded_at_the_start_f086() {
    in_virtual_time(async {
        let mut world = world().await;
        let mut jobs = Vec::new();
        for missed in [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All] {
            jobs.push(add(&world, AddJob { missed, ..text("*/5 * * * *", "UTC", missed.as_str()) }).await);
        }
        let due = view(&world, jobs[0]).await.row.job.next_due.unwrap();
        tokio::time::sleep(due.since(wall(&world)) - SECOND).await;
        world.crash().await;
        tokio::time::sleep(13 * MINUTE).await;
        world.boot().await;
        tokio::time::sleep(2 * SECOND).await;
        use RunResult::{Missed, Ok};
        assert_eq!(results(&world, jobs[0]).await, [(Missed, 2), (Missed, 1)], "skip");
        assert_eq!(results(&world, jobs[1]).await, [(Missed, 2), (Ok, 1)], "once");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(results(&world, jobs[2]).await, [(Ok, 1), (Ok, 1), (Ok, 1)], "all");
        let copies = ["skip", "once", "all"].map(|text| world.copies("job", text));
        assert_eq!(copies, [0, 1, 3]);
        for job in jobs {
            assert_complete(&runs(&world, job).await, 5 * MINUTE);
        }
    });
}

/// F-087: five jobs, missed eleven hours ago.
#[test]
fn stale_jobs_expire_or_run_once_each_and_not_all_at_once_f087() {
    in_virtual_time(async {
        let mut world = world().await;
        let (mut stale, mut wanted) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let daily = |text: &str| self::text("30 12 * * *", "UTC", &format!("{text} {number}"));
            stale.push(add(&world, AddJob { max_delay: HOUR, ..daily("stale") }).await);
            wanted.push(add(&world, daily("wanted")).await);
        }
        world.crash().await;
        tokio::time::sleep(11 * HOUR + 30 * MINUTE).await;
        world.boot().await;
        tokio::time::sleep(2 * SECOND).await;
        for job in &stale {
            assert_eq!(results(&world, *job).await, [(RunResult::Expired, 1)]);
        }
        tokio::time::sleep(10 * SECOND).await;
        let mut times = Vec::new();
        for (number, job) in wanted.iter().enumerate() {
            assert_eq!(results(&world, *job).await, [(RunResult::Ok, 1)]);
            assert_eq!(world.copies("job", &format!("wanted {number}")), 1);
            assert_eq!(world.copies("job", &format!("stale {number}")), 0);
            times.push(runs(&world, *job).await[0].at);
        }
        times.sort();
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= SECOND / 2), "{times:?}");
    });
}

/// F-089: the wall clock jumps two hours ahead and two hours back, the machine sleeps for an hour: each due time runs
/// once, within a minute, or is recorded; and nothing spins meanwhile.
#[test]
fn steps_of_the_clock_and_sleep_run_nothing_twice_f089() {
    in_virtual_time(async {
        let world = world().await;
        let job = add(&world, text("*/10 * * * *", "UTC", "tick")).await;
        let looks = world.lag.lists();
        tokio::time::sleep(25 * MINUTE).await;
        world.clock.step(2 * 3_600_000);
        tokio::time::sleep(MINUTE).await;
        let after_jump = runs(&world, job).await;
        assert!(
            after_jump.iter().any(|run| run.result == RunResult::Missed && run.count == 11),
            "{after_jump:?}"
        );
        tokio::time::sleep(25 * MINUTE).await;
        world.clock.step(-2 * 3_600_000);
        tokio::time::sleep(MINUTE).await;
        let next = view(&world, job).await.row.job.next_due.unwrap();
        assert!(next.since(wall(&world)) <= 10 * MINUTE, "it does not wait two hours for the clock");
        // Through what it had been through already, and beyond.
        tokio::time::sleep(4 * HOUR).await;
        world.sleep_machine(HOUR);
        tokio::time::sleep(MINUTE).await;
        let last = runs(&world, job).await.pop().unwrap();
        assert!(wall(&world).since(last.until) <= 10 * MINUTE, "{last:?}");
        tokio::time::sleep(20 * MINUTE).await;
        let runs = runs(&world, job).await;
        assert_complete(&runs, 10 * MINUTE);
        let ran: Vec<&RunRow> = runs.iter().filter(|run| run.result == RunResult::Ok).collect();
        assert_eq!(world.copies("job", "tick"), ran.len());
        // The jumps happened between two due times, so that what ran did so on time.
        let late = ran.iter().filter(|run| run.at.since(run.due) > MINUTE).count();
        assert!(late <= 2, "{late} late");
        let (looks, hours) = (world.lag.lists() - looks, 5.5);
        // Two a minute of the scheduler's, and three of those who ask the doctor every four seconds.
        assert!((looks as f64) < hours * (120.0 + 3.0 * 900.0), "{looks} looks in {hours} hours");
    });
}

/// F-089: the nights around those in which the clocks go forward and back.
#[test]
fn a_daily_job_runs_once_in_every_night_whatever_the_clocks_do_f089() {
    in_virtual_time(async {
        const DAY: i64 = 24 * 3_600_000;
        let world = world().await;
        let berlin = add(&world, text("30 2 * * *", "Europe/Berlin", "berlin")).await;
        assert!(view(&world, berlin).await.next_local.unwrap().ends_with("02:30:00 +01:00"));
        // 2:30 does not exist on 28 March 2027, when it runs at 3:00, and comes twice on 31 October.
        let nights = [(124 * DAY, vec![23 * 60 + 30, 24 * 60]), (209 * DAY, vec![24 * 60, 25 * 60])];
        for (step, spans) in nights {
            world.clock.step(step);
            tokio::time::sleep(2 * MINUTE).await;
            let (began, seen) = (wall(&world), world.copies("job", "berlin"));
            tokio::time::sleep(8 * 24 * HOUR).await;
            let runs = runs(&world, berlin).await;
            let due: Vec<Timestamp> = runs.iter().map(|run| run.due).filter(|due| *due > began).collect();
            assert_eq!((due.len(), world.copies("job", "berlin") - seen), (8, 8), "{due:?}");
            let found: std::collections::BTreeSet<u64> =
                due.windows(2).map(|pair| pair[1].since(pair[0]).as_secs() / 60).collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), spans);
        }
    });
}

/// Answers as the prompt says.
struct Obedient;

impl Agent for Obedient {
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        let answer = match turn.text().as_str() {
            "be silent" => Ok(Reply::Silent),
            "fail" => Err(AgentError::Refused { reason: "it was told to".to_owned() }),
            text => Ok(Reply::Text(format!("answer to {text}"))),
        };
        ready(answer).boxed_local()
    }
}

async fn obeyed() -> World {
    let agents = [("default".to_owned(), Rc::new(Obedient) as Rc<dyn Agent>)].into();
    let world = World::assemble(setup(), Parts { agents, ..Parts::default() }, |_, _| {}).await;
    world.simulator.add_chat(world.app(0), chat_of("job"), ChatType::P2p).unwrap();
    world.settled().await;
    world
}

fn prompt(body: &str) -> AddJob {
    AddJob { kind: JobKind::Prompt, ..text("0 0 1 1 *", "UTC", body) }
}

async fn run_now(world: &World, job: JobId) -> RunRow {
    let run = world.handle.run_job(job, None).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    runs(world, job).await.into_iter().find(|row| row.id == run.id).unwrap()
}

/// F-088: result and delivery are told apart, and both are what happened.
#[test]
fn a_runs_result_and_its_delivery_are_what_happened_f088() {
    in_virtual_time(async {
        let world = obeyed().await;
        let refuse = |code| Fault::Chat { chat_id: chat_of("job"), code };
        let (say, silent, fail) = ("say", "be silent", "fail");
        let table = [
            (say, None, RunResult::Ok, Delivery::Delivered),
            (say, Some(refuse(230_038)), RunResult::Ok, Delivery::Failed),
            (say, Some(Fault::Send(Answer::Status(503))), RunResult::Ok, Delivery::Held),
            (silent, None, RunResult::Silent, Delivery::NotRequested),
            (fail, None, RunResult::Error, Delivery::Delivered),
            (fail, Some(refuse(230_038)), RunResult::Error, Delivery::Failed),
            (fail, Some(Fault::Send(Answer::Status(503))), RunResult::Error, Delivery::Held),
        ];
        for (body, fault, result, delivery) in table {
            let job = add(&world, prompt(body)).await;
            let told = format!("{body} with {fault:?}");
            if let Some(fault) = fault {
                world.simulator.set_fault(world.app(0), fault, Times::UntilCleared).unwrap();
            }
            let run = run_now(&world, job).await;
            assert_eq!((run.result, run.delivery), (result, delivery), "{told}: {run:?}");
            world.simulator.clear_faults(world.app(0)).unwrap();
            tokio::time::sleep(2 * MINUTE).await;
            let later = runs(&world, job).await.pop().unwrap();
            let expected = if delivery == Delivery::Held { Delivery::Delivered } else { delivery };
            assert_eq!((later.result, later.delivery), (result, expected), "{told}, later");
        }
        assert_eq!(world.copies("job", "answer to say"), 2);
        world.check().await;
    });
}

/// F-088: a job that does nothing but fail is disabled, says so, and begins anew when it is enabled.
#[test]
fn a_job_that_only_fails_is_disabled_and_found_f088() {
    in_virtual_time(async {
        let world = obeyed().await;
        let job = add(&world, AddJob { schedule: "* * * * *".to_owned(), ..prompt("fail") }).await;
        let kinds = async || {
            let report = world.handle.doctor().await.unwrap();
            report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>()
        };
        tokio::time::sleep(90 * SECOND).await;
        assert!(kinds().await.contains(&FindingKind::CronFailing));
        tokio::time::sleep(8 * MINUTE).await;
        let disabled = view(&world, job).await;
        assert!(!disabled.row.enabled && disabled.row.reason.is_some(), "{disabled:?}");
        assert_eq!(runs(&world, job).await.len(), 5);
        assert!(kinds().await.contains(&FindingKind::CronDisabled));
        let enabled = world.handle.switch_job(job, true).await.unwrap();
        assert_eq!((enabled.row.enabled, enabled.failures), (true, 0));
        tokio::time::sleep(MINUTE).await;
        assert!(runs(&world, job).await.len() > 5 && view(&world, job).await.row.enabled);
        world.handle.remove_job(job).await.unwrap();
        tokio::time::sleep(5 * MINUTE).await;
        let left = kinds().await;
        assert!(
            !left.contains(&FindingKind::CronFailing) && !left.contains(&FindingKind::CronDisabled),
            "{left:?}"
        );
    });
}

/// A job outlives its account: its runs say that they failed, and it goes on when the account is back.
#[test]
fn a_job_whose_account_is_gone_says_so_and_goes_on_when_it_is_back_f086() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 2, ..Setup::default() }).await;
        world.simulator.add_chat(world.app(0), chat_of("job"), ChatType::P2p).unwrap();
        world.settled().await;
        let job = add(&world, text("* * * * *", "UTC", "tick")).await;
        let whole = world.config();
        world.reload(|config| config.accounts.retain(|account| account.id.name() == "a1")).await.unwrap();
        tokio::time::sleep(2 * MINUTE).await;
        let gone = view(&world, job).await;
        let last = gone.last.clone().unwrap();
        assert!(gone.account_gone && gone.failures >= 1, "{gone:?}");
        assert_eq!((last.result, last.delivery), (RunResult::Error, Delivery::NotRequested));
        assert_eq!(last.reason.as_deref(), Some("its account is not configured"));
        world.begin_reload(whole).await.unwrap();
        tokio::time::sleep(2 * MINUTE).await;
        assert!(world.copies("job", "tick") >= 1);
        assert_eq!(view(&world, job).await.failures, 0);
        // The same while the account is stopped: the message waits in the outbox.
        world.handle.stop(&world.id(0)).await.unwrap();
        let sent = world.copies("job", "tick");
        tokio::time::sleep(3 * MINUTE).await;
        assert_eq!(view(&world, job).await.last.unwrap().delivery, Delivery::Held);
        world.handle.start(&world.id(0)).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        assert!(world.copies("job", "tick") >= sent + 3);
        world.check().await;
    });
}

/// A prompt is answered in the conversation of its chat, in order with what people write there, and joins a queue
/// instead of a second agent (G3).
#[test]
fn a_prompt_is_answered_in_its_chats_conversation_g3() {
    in_virtual_time(async {
        let mut world = World::start(Setup { agent_delay: "30s", ..setup() }).await;
        world.settled().await;
        let job = add(&world, AddJob { to: ChatId::new("oc_alice"), ..prompt("the report") }).await;
        world.say(0, "alice", "first");
        tokio::time::sleep(SECOND).await;
        let run = world.handle.run_job(job, None).await.unwrap();
        assert_eq!(run.result, RunResult::Running);
        let again = world.handle.run_job(job, None).await.unwrap();
        assert_eq!(
            (again.result, again.reason.as_deref()),
            (RunResult::Missed, Some("the run before it is not over"))
        );
        // It is resumed like any other turn.
        tokio::time::sleep(40 * SECOND).await;
        world.crash().await;
        world.boot().await;
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(world.replies(&chat_of("alice")), ["first", "the report"]);
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!((counts.received, counts.answered), (2, 2));
        world.check().await;
    });
}

#[test]
fn a_job_is_added_once_for_each_key_and_not_without_a_schedule() {
    in_virtual_time(async {
        let world = world().await;
        let key = |key: &str| Some(moorline_core::IdempotencyKey::new(key));
        let job = || AddJob { key: key("k"), ..text("@daily", "UTC", "hello") };
        let (first, repeated) = world.handle.add_job(job()).await.unwrap();
        assert!(!repeated);
        let (again, repeated) = world.handle.add_job(job()).await.unwrap();
        assert_eq!((again.row.id, repeated), (first.row.id, true));
        let run = world.handle.run_job(first.row.id, key("r")).await.unwrap();
        assert_eq!(world.handle.run_job(first.row.id, key("r")).await.unwrap().id, run.id);
        tokio::time::sleep(SECOND).await;
        assert_eq!(world.copies("job", "hello"), 1);
        for (schedule, zone) in [("nonsense", "UTC"), ("@daily", "Mars/Base"), ("0 0 30 2 *", "UTC")] {
            let error = world.handle.add_job(text(schedule, zone, "x")).await.unwrap_err();
            assert!(matches!(error, moorline_runtime::CommandError::InvalidSchedule(_)), "{error}");
        }
        let nobody = AddJob { account: "feishu:nobody".parse().unwrap(), ..text("@daily", "UTC", "x") };
        assert!(world.handle.add_job(nobody).await.is_err());
    });
}
