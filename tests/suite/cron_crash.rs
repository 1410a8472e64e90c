//! The binary is killed at named points of a run: its message is delivered once each time, and never not at all.
//!
//! A point is reached by evidence, not by a delay: the answer that says that the run is stored, the row that says that
//! the agent is at it, the platform's own ledger. Where a point lasts a moment only, the platform holds the call there.

use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, App, ChatType, Fault, NewApp, Times};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::process::{Process, pause, signal};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Kills at each point.
const KILLS: usize = 12;

/// Kills around due times.
const KILLS_WHEN_DUE: usize = 20;

/// Never by itself: these jobs are run by hand.
const NEW_YEAR: &str = "0 0 1 1 *";

/// Where the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The request to run is on its way: before the run's commit or just after it.
    BeforeTheCommit,
    /// The run is stored, and nobody has looked at what it put down, or is about to.
    AfterTheCommit,
    /// A prompt's turn is with the agent.
    DuringTheTurn,
    /// The row is claimed and the call under way; the platform has not done anything.
    DuringTheSend,
    /// The message is visible; its answer is on its way.
    BeforeTheAnswer,
    /// The message is visible, and its row becomes marked as sent.
    AfterTheAnswer,
    /// The row is marked as sent.
    AfterTheSend,
}

/// A platform with one chat, and a configuration of one account.
struct Ground {
    simulator: Simulator,
    _server: Server,
    app: App,
    settings: Settings,
}

impl Ground {
    fn new(agent_delay: &str) -> Self {
        let simulator = Simulator::new(11);
        let app = simulator.add_app(NewApp::named("Bot"));
        let server = Server::start(&simulator, Options::default()).unwrap();
        let settings = Settings::new(server.address(), std::slice::from_ref(&app), agent_delay);
        simulator.add_chat(&app.app_id, chat(), ChatType::P2p).unwrap();
        Self { simulator, _server: server, app, settings }
    }

    fn start(&self) -> Process {
        let mut process = self.settings.start();
        process.ready(15 * SECOND);
        process
    }

    /// Copies of a text that people see.
    fn copies(&self, text: &str) -> usize {
        self.simulator.read_ledger(|ledger| ledger.visible_copies(&chat(), text))
    }

    fn fault(&self, fault: Fault) {
        self.simulator.set_fault(&self.app.app_id, fault, Times::UntilCleared).unwrap();
    }

    fn heal(&self) {
        self.simulator.clear_faults(&self.app.app_id).unwrap();
    }
}

fn chat() -> ChatId {
    ChatId::new("oc_job")
}

fn add(process: &Process, schedule: &str, kind: &str, body: &str) -> i64 {
    let mut job = json!({ "account": "feishu:a0", "to": chat().as_str(), "schedule": schedule });
    job[kind] = json!(body);
    let answer = process.call("POST", "/v1/cron", Some(&job)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_i64().unwrap()
}

/// Asks for a run; null when the process died before it answered.
fn run(process: &Process, job: i64, key: &str) -> Value {
    let asked = json!({ "idempotency_key": key });
    let answer = process.call("POST", &format!("/v1/cron/{job}/run"), Some(&asked));
    answer.map(|answer| answer.json()).unwrap_or_default()
}

fn latest(process: &Process, job: i64) -> Value {
    process.get(&format!("/v1/cron/{job}?limit=1"))["runs"][0].clone()
}

/// Runs a job once for each kill, and kills the process at the point; the next process makes up for it.
fn drive(point: Point, kind: &str) {
    let ground = Ground::new("150ms");
    let mut process = ground.start();
    let text = format!("{point:?} {kind}");
    let job = add(&process, NEW_YEAR, kind, &text);
    for number in 1..=KILLS {
        let key = format!("run {number}").replace(' ', "-");
        match point {
            Point::DuringTheSend => ground.fault(Fault::Send(Answer::Hang)),
            Point::BeforeTheAnswer => ground.fault(Fault::SlowSend(400 * MS)),
            _ => {}
        }
        if point == Point::BeforeTheCommit {
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| run(&process, job, &key));
                // From before the request arrives until well after its commit.
                pause(MS * (number as u32 - 1) / 2);
                signal(process.pid(), "KILL");
                drop(asking.join());
            });
        } else {
            assert_eq!(run(&process, job, &key)["trigger"], "manual", "{text}");
        }
        match point {
            Point::BeforeTheCommit | Point::AfterTheCommit => {}
            Point::DuringTheTurn => {
                process.until("the turn runs", 5 * SECOND, |p| p.get("/v1/status")["turns"]["running"] == 1);
            }
            Point::DuringTheSend => {
                process.until("a send is held", 5 * SECOND, |p| {
                    p.get("/v1/outbox?state=sending")["messages"][0]["state"] == "sending"
                });
            }
            Point::BeforeTheAnswer | Point::AfterTheAnswer => {
                process.until("visible", 5 * SECOND, |_| ground.copies(&text) == number);
            }
            Point::AfterTheSend => {
                process.until("delivered", 5 * SECOND, |p| latest(p, job)["delivery"] == "delivered");
            }
        }
        process.kill();
        let before = ground.copies(&text);
        let visible = matches!(point, Point::BeforeTheAnswer | Point::AfterTheAnswer | Point::AfterTheSend);
        assert!(before == number || !visible && before == number - 1, "{text}: {before} of {number}");
        ground.heal();
        process = ground.start();
        // Whoever got no answer asks again with the same key.
        run(&process, job, &key);
        process.until("delivered", 20 * SECOND, |p| latest(p, job)["delivery"] == "delivered");
        assert_eq!(ground.copies(&text), number, "{text}");
    }
    pause(SECOND);
    assert_eq!(ground.copies(&text), KILLS, "{text}");
    let shown = process.get(&format!("/v1/cron/{job}"));
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), KILLS, "{text}: {shown}");
    assert!(runs.iter().all(|run| run["result"] == "ok" && run["delivery"] == "delivered"), "{shown}");
    let counts = process.get("/v1/accounts/feishu:a0")["counts"].clone();
    let prompts = if kind == "prompt" { KILLS } else { 0 };
    assert_eq!((&counts["received"], &counts["answered"]), (&json!(prompts), &json!(prompts)), "{counts}");
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn sigkill_of_a_text_run_before_its_commit_and_after_it_f087() {
    drive(Point::BeforeTheCommit, "text");
    drive(Point::AfterTheCommit, "text");
}

#[test]
fn sigkill_of_a_text_run_during_its_send_f087() {
    drive(Point::DuringTheSend, "text");
    drive(Point::BeforeTheAnswer, "text");
}

#[test]
fn sigkill_of_a_text_run_after_its_send_f087() {
    drive(Point::AfterTheAnswer, "text");
    drive(Point::AfterTheSend, "text");
}

#[test]
fn sigkill_of_a_prompt_run_before_its_turn_and_during_it_f087() {
    drive(Point::AfterTheCommit, "prompt");
    drive(Point::DuringTheTurn, "prompt");
}

#[test]
fn sigkill_of_a_prompt_run_after_its_turn_f087() {
    drive(Point::DuringTheSend, "prompt");
    drive(Point::BeforeTheAnswer, "prompt");
}

/// A job that is due every second, and a process that dies around its due times: every second there is a run that is
/// delivered once, or a record that it was missed.
#[test]
fn sigkill_around_due_times_f086_f087() {
    let ground = Ground::new("0s");
    let mut process = ground.start();
    let job = add(&process, "* * * * * *", "text", "tick");
    for number in 0..KILLS_WHEN_DUE {
        let before = ground.copies("tick");
        process.until("the next tick", 5 * SECOND, |_| ground.copies("tick") > before);
        // The next one is due a second after this one was; it took some milliseconds to be seen.
        pause(980 * MS + 2 * MS * number as u32);
        process.kill();
        process = ground.start();
    }
    process.call("POST", &format!("/v1/cron/{job}/disable"), None).unwrap();
    process.until("everything delivered", 20 * SECOND, |p| {
        let shown = p.get(&format!("/v1/cron/{job}?limit=500"));
        let runs = shown["runs"].as_array().map_or(&[][..], Vec::as_slice);
        runs.iter().all(|run| run["delivery"] == "delivered" || run["result"] == "missed")
    });
    pause(SECOND);
    let shown = process.get(&format!("/v1/cron/{job}?limit=500"));
    let mut runs = shown["runs"].as_array().unwrap().clone();
    runs.sort_by_key(|run| run["due"].as_str().unwrap().to_owned());
    let seconds = |time: &Value| -> i64 {
        let time: moorline_core::Timestamp = serde_json::from_value(time.clone()).unwrap();
        time.as_millis() / 1_000
    };
    let mut next = seconds(&runs[0]["due"]);
    for run in &runs {
        assert_eq!(seconds(&run["due"]), next, "none is left out, none comes twice: {run}");
        next += run["count"].as_i64().unwrap();
    }
    let ran = runs.iter().filter(|run| run["result"] == "ok").count();
    assert_eq!(ground.copies("tick"), ran, "{shown}");
    assert!(ran >= KILLS_WHEN_DUE, "{ran} runs in {} seconds", next - seconds(&runs[0]["due"]));
    assert!(process.terminate(15 * SECOND).success());
}

#[test]
fn what_an_operator_types_about_jobs_is_answered() {
    let ground = Ground::new("0s");
    let process = ground.start();
    let command = |words: &str| {
        let words: Vec<&str> = words.split('|').collect();
        ground.settings.command(&words)
    };
    let add = "cron|add|--account|a0|--to|oc_job|--schedule|0 9 * * *|--tz|Asia/Shanghai|--text|Good morning";
    let (code, said) = command(add);
    assert!(
        code == Some(0) && said.contains("job 1: next due") && said.contains("09:00:00 +08:00"),
        "{said}"
    );
    let (code, said) = command("--json|cron|list");
    let jobs: Value = serde_json::from_str(&said).unwrap();
    let job = &jobs["jobs"][0];
    assert_eq!((code, &job["tz"], &job["missed"]), (Some(0), &json!("Asia/Shanghai"), &json!("once")));
    let (code, said) = command("cron|list");
    assert!(code == Some(0) && said.contains("0 9 * * *") && said.contains("never"), "{said}");
    let run = "cron|run|1|--idempotency-key|k";
    assert!(
        [command(run), command(run)].iter().all(|(code, said)| *code == Some(0) && said.contains("run 1"))
    );
    let until = |words: &str| {
        for _ in 0..100 {
            let (_, said) = command("cron|show|1");
            if said.contains(words) {
                return said;
            }
            pause(20 * MS);
        }
        panic!("never: {words}\n{}", command("cron|show|1").1);
    };
    assert!(until("delivered").contains("manual"));
    assert_eq!(ground.copies("Good morning"), 1);
    let (code, said) = command("cron|disable|1");
    assert!(code == Some(0) && said.contains("disabled"), "{said}");
    assert!(command("cron|list").1.contains("disabled"));
    assert!(command("cron|enable|1").1.contains("next due"));
    let (code, said) = command(&add.replace("Asia/Shanghai", "Shanghai"));
    assert!(code == Some(64) && said.contains("did you mean `Asia/Shanghai`?"), "{said}");
    assert_eq!(command(&add.replace("--text", "--prompt")).0, Some(0));
    assert_eq!(command(&format!("{add}|--prompt|x")).0, Some(64), "text and prompt");
    assert_eq!(command("cron|remove|1").0, Some(0));
    assert_eq!(command("cron|show|1").0, Some(64));
    let status = process.get("/v1/status");
    assert_eq!(status["cron"]["jobs"], 1, "{}", status["cron"]);
    assert!(process.terminate(15 * SECOND).success());
}
