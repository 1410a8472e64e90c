//! The binary with an agent of kind `command`: a shell script, real processes, real time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::world::chat_of;
use serde_json::Value;
use tempfile::TempDir;

use super::{FAILED, SECOND};

/// A platform with one account, and a place for a script.
struct Rig {
    simulator: Simulator,
    _server: Server,
    app: App,
    settings: Settings,
    place: TempDir,
}

impl Rig {
    /// The script is run with the directory that its files are in as its argument.
    fn new(script: &str, timeout: &str) -> Self {
        let simulator = Simulator::new(51);
        let app = simulator.add_app(NewApp::named("Bot"));
        let server = Server::start(&simulator, Options::default()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("agent");
        fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let agent = format!(
            "kind = \"command\"\ncommand = [\"{}\", \"{}\"]\ntimeout = \"{timeout}\"",
            file.display(),
            place.path().display()
        );
        let settings = Settings::with_agent(server.address(), std::slice::from_ref(&app), &agent, "");
        Self { simulator, _server: server, app, settings, place }
    }

    fn say(&self, text: &str) {
        self.simulator.push(&self.app.app_id, Push::direct("oc_alice", "ou_alice", text)).unwrap();
    }

    fn seen(&self) -> Vec<String> {
        let chat = chat_of("alice");
        self.simulator.read_ledger(|ledger| ledger.visible_in(&chat).map(|each| each.text.clone()).collect())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn sigkill_during_a_command_and_its_turn_is_resumed_with_the_note_g9() {
    // The first run says that it began, and waits for an end that does not come.
    let script = r#"
read -r turn
printf '%s\n' "$turn" >> "$1/turns"
[ -e "$1/once" ] && { echo "at last"; exit 0; }
touch "$1/once"
exec sleep 30
"#;
    let rig = Rig::new(script, "2m");
    let mut first = rig.settings.start();
    first.ready(10 * SECOND);
    rig.say("do not forget me");
    first.until("the command runs", 10 * SECOND, |_| rig.place.path().join("once").exists());
    first.kill();
    let mut second = rig.settings.start();
    second.until("answered", 20 * SECOND, |_| rig.seen() == ["at last"]);
    let turns: Vec<Value> =
        rig.lines("turns").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [interrupted, resumed] = turns.as_slice() else { panic!("{turns:?}") };
    assert_eq!((&interrupted["interrupted"], &interrupted["note"]), (&Value::Bool(false), &Value::Null));
    assert_eq!((&resumed["interrupted"], &resumed["attempt"]), (&Value::Bool(true), &Value::from(2)));
    assert!(resumed["note"].as_str().unwrap().contains("interrupted"), "{resumed}");
    assert_eq!(resumed["input"], interrupted["input"]);
    assert!(second.terminate(15 * SECOND).success());
}

#[test]
fn a_command_and_its_children_are_gone_when_its_time_is_over_or_the_process_ends_f044() {
    let script = r#"
sleep 60 &
echo $! >> "$1/pids"
echo $$ >> "$1/pids"
wait
"#;
    let rig = Rig::new(script, "2s");
    let mut process = rig.settings.start();
    process.ready(10 * SECOND);
    rig.say("hello");
    process.until("it runs", 10 * SECOND, |_| rig.lines("pids").len() == 2);
    process.until("told", 20 * SECOND, |_| rig.seen() == [FAILED]);
    process.until("gone", 5 * SECOND, |_| !rig.lines("pids").iter().any(|pid| is_alive(pid)));
    // The same when it is stopped in the middle of a turn.
    rig.say("hello again");
    process.until("it runs again", 10 * SECOND, |_| rig.lines("pids").len() == 4);
    assert!(process.terminate(Duration::from_secs(20)).success());
    assert!(!rig.lines("pids").iter().any(|pid| is_alive(pid)));
}
