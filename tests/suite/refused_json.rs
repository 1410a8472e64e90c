//! What programs are told when a command fails: one object on standard output, and the exit code that it has anyway.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::NewApp;
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::process::binary;
use serde_json::Value;

/// The exit code, the error's code, and its message.
fn fails(settings: &Settings, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    let output = command.arg("--config").arg(settings.file()).args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}: nothing beside the answer");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let text = |name: &str| answer["error"][name].as_str().unwrap().to_owned();
    (output.status.code(), text("code"), text("message"))
}

#[test]
fn errors_are_json_too_where_answers_are() {
    let simulator = Simulator::new(78);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &[app], "0s");
    fs::set_permissions(settings.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let told = |arguments: &[&str], code: i32, name: &str| {
        let (exit, found, message) = fails(&settings, arguments);
        assert_eq!((exit, found.as_str()), (Some(code), name), "{arguments:?}: {message}");
        assert!(!message.is_empty() && !message.ends_with('\n'), "{arguments:?}: {message:?}");
    };
    told(&["--json", "status"], 69, "unreachable");
    let mut process = settings.start();
    process.ready(Duration::from_secs(10));
    // The endpoint's own code where there is one.
    told(&["--json", "outbox", "retry", "999"], 64, "unknown_message");
    told(&["session", "reset", "feishu:a0~oc_nobody", "--json"], 64, "unknown_session");
    told(&["trace", "in:999", "--json"], 64, "unknown_message");
    told(&["--json", "account", "show", "nobody"], 64, "usage");
    told(&["--json", "no-such-command"], 64, "usage");
    told(&["--json", "outbox", "show", "x"], 64, "usage");
    told(&["--json", "run"], 75, "already_running");
    assert!(process.terminate(Duration::from_secs(15)).success());
    fs::write(settings.file(), "nonsense").unwrap();
    told(&["--json", "run"], 78, "bad_configuration");

    // For people nothing has changed.
    let (code, text) = settings.command(&["outbox", "list", "--limit", "x"]);
    assert!(code == Some(64) && text.contains("error: invalid value"), "{text}");
}
