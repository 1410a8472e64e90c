use std::fs;
use std::path::{Path, PathBuf};

use moorline_core::ConversationId;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

fn turn(input: &str) -> Turn {
    Turn {
        conversation: ConversationId::new("oc_1"),
        transcript: vec![Exchange { input: vec!["a".to_owned()], reply: Reply::Silent }],
        input: vec![input.to_owned()],
        interrupted: true,
        attempt: 2,
    }
}

/// A shell script as an agent.
fn script(text: &str, timeout: Duration) -> Command {
    let command = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    Command { command, timeout, pass_env: Vec::new() }
}

async fn run(text: &str) -> Result<Reply, AgentError> {
    script(text, Duration::from_secs(20)).respond(turn("hello")).await
}

fn is_alive(pid: &str) -> bool {
    // A zombie that nobody has waited for yet is dead all the same.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The script's children write their ids here.
struct Children {
    directory: TempDir,
}

impl Children {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("pids")
    }

    async fn begun(&self, count: usize) -> Vec<String> {
        loop {
            let pids = fs::read_to_string(self.file()).unwrap_or_default();
            if pids.lines().count() == count {
                return pids.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn all_gone(pids: &[String]) {
    let began = Instant::now();
    while pids.iter().any(|pid| is_alive(pid)) {
        assert!(began.elapsed() < Duration::from_secs(10), "still alive: {pids:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A program and a child of its that would both go on for a minute.
fn lingering(pids: &Path) -> String {
    format!("sleep 60 & echo $! >> {0}; echo $$ >> {0}; wait", pids.display())
}

#[tokio::test]
async fn the_turn_goes_in_as_json_and_the_answer_comes_out_as_text() {
    let Ok(Reply::Text(seen)) = run("cat").await else { panic!("no answer") };
    let expected = json!({
        "conversation": "oc_1", "transcript": [{ "input": ["a"], "reply": null }], "input": ["hello"],
        "interrupted": true, "note": turn("").note(), "attempt": 2,
    });
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), expected);
}

#[tokio::test]
async fn how_it_ends_says_what_it_means() {
    let text = |text: &str| Ok(Reply::Text(text.to_owned()));
    assert_eq!(run("printf ' hi there\\n\\n'").await, text(" hi there"));
    assert_eq!(run("echo NO_REPLY").await, Ok(Reply::Silent));
    assert_eq!(run("exec <&-; sleep 0.1; echo deaf").await, text("deaf"), "it need not read");
    let refused = [
        ("true", "empty answer"),
        ("echo hi; exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("printf '\\377'", "UTF-8"),
        ("head -c 1048577 /dev/zero", "longer than 1048576"),
        ("while :; do echo and on; done", "longer than 1048576"),
    ];
    for (script, why) in refused {
        match run(script).await {
            Err(AgentError::Refused { reason }) => assert!(reason.contains(why), "{script}: {reason}"),
            other => panic!("{script}: {other:?}"),
        }
    }
    assert!(matches!(run("echo hi; exit 75").await, Err(AgentError::Unavailable { retry_after: None, .. })));
    for program in ["/no/such/agent", "/etc/passwd"] {
        let command = Command { command: vec![program.to_owned()], ..script("", Duration::from_secs(5)) };
        match command.respond(turn("hello")).await {
            Err(AgentError::Refused { reason }) => assert!(reason.contains(program), "{reason}"),
            other => panic!("{program}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn much_input_and_much_output_do_not_wait_for_each_other() {
    let long = "x".repeat(400_000);
    let echo = script("head -c 300000 /dev/zero | tr '\\0' y; cat; echo more >&2", Duration::from_secs(20));
    let Ok(Reply::Text(answer)) = echo.respond(turn(&long)).await else { panic!("no answer") };
    assert!(answer.len() > 700_000 && answer.contains(&long));
}

#[tokio::test]
async fn it_gets_the_usual_variables_and_those_it_is_given_and_no_others_f090() {
    let passes =
        Command { pass_env: vec!["CARGO_PKG_NAME".to_owned()], ..script("env", Duration::from_secs(20)) };
    for (command, given) in [(script("env", Duration::from_secs(20)), false), (passes, true)] {
        let Ok(Reply::Text(variables)) = command.respond(turn("hello")).await else { panic!("no answer") };
        let names: Vec<&str> = variables.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(names.contains(&"PATH"), "{names:?}");
        assert_eq!(names.contains(&"CARGO_PKG_NAME"), given, "{names:?}");
        assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    }
}

#[tokio::test]
async fn when_its_time_is_over_it_is_killed_with_its_children_f044() {
    let children = Children::new();
    let limit = Duration::from_secs(2);
    let hanging = script(&lingering(&children.file()), limit);
    assert_eq!(hanging.respond(turn("hello")).await, Err(AgentError::Timeout { limit }));
    all_gone(&children.begun(2).await).await;
}

#[tokio::test]
async fn when_nobody_waits_for_the_answer_any_more_it_is_killed_with_its_children() {
    let children = Children::new();
    let hanging = script(&lingering(&children.file()), Duration::from_secs(60));
    let pids = tokio::select! {
        answer = hanging.respond(turn("hello")) => panic!("{answer:?}"),
        pids = children.begun(2) => pids,
    };
    all_gone(&pids).await;
}

#[tokio::test]
async fn what_it_leaves_behind_in_peace_is_left_alone() {
    let children = Children::new();
    let text =
        format!("sleep 60 </dev/null >/dev/null 2>&1 & echo $! >> {}; echo done", children.file().display());
    assert_eq!(run(&text).await, Ok(Reply::Text("done".to_owned())));
    let pids = children.begun(1).await;
    assert!(is_alive(&pids[0]));
    assert!(std::process::Command::new("kill").arg(&pids[0]).status().unwrap().success());
}
