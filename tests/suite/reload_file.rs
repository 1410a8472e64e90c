//! The configuration file of a running process is changed, broken, rotated and reloaded (F-075, F-079).

use std::fs;
use std::process::Command;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, NewApp};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::pause;
use moorline_tests::{Process, Settings};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    simulator: Simulator,
    apps: Vec<App>,
    settings: Settings,
    process: Process,
    _server: Server,
}

fn start(accounts: usize) -> Rig {
    let simulator = Simulator::new(8);
    let apps: Vec<_> = (0..accounts).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    Rig { simulator, apps, settings, process, _server: server }
}

/// The connection of an app; empty while it has none.
fn device(simulator: &Simulator, app: &App) -> String {
    let connections = simulator.connections(&app.app_id).unwrap();
    connections.first().map(|connection| connection.device_id.clone()).unwrap_or_default()
}

impl Rig {
    fn text(&self) -> String {
        fs::read_to_string(self.settings.file()).unwrap()
    }

    fn devices(&self) -> Vec<String> {
        (0..self.apps.len()).map(|n| device(&self.simulator, &self.apps[n])).collect()
    }

    fn rotate(&self, n: usize, secret: &str) {
        let bot = NewApp::named(format!("Bot {n}"));
        self.simulator.add_app(bot.with_credentials(self.apps[n].app_id.as_str(), secret));
        let text = self.text().replace(&self.apps[n].app_secret, secret);
        fs::write(self.settings.file(), text).unwrap();
    }

    /// The text without one account.
    fn without(&self, n: usize) -> String {
        let text = self.text();
        let start = text.find(&format!("[channels.feishu.accounts.a{n}]")).unwrap();
        let rest = &text[start + 1..];
        let end = rest.find("[channels.feishu.accounts").map_or(text.len(), |at| start + 1 + at);
        format!("{}{}", &text[..start], &text[end..])
    }
}

#[test]
fn a_saved_file_is_applied_by_itself_and_a_broken_one_changes_nothing_f079() {
    let mut rig = start(3);
    let (before, text) = (rig.devices(), rig.text());
    fs::write(rig.settings.file(), rig.without(1)).unwrap();
    rig.process.until("the account is gone", 5 * SECOND, |p| {
        p.get("/v1/accounts")["accounts"].as_array().is_some_and(|accounts| accounts.len() == 2)
    });
    assert_eq!((&rig.devices()[0], &rig.devices()[2]), (&before[0], &before[2]));

    fs::write(rig.settings.file(), format!("{text}\nnonsense = true\n[channels.feishu.accounts.a1\n"))
        .unwrap();
    rig.process.until("the problem is shown", 5 * SECOND, |p| {
        p.get("/v1/status")["config"]["problems"].as_array().is_some_and(|problems| !problems.is_empty())
    });
    let problems = rig.process.get("/v1/status")["config"]["problems"].to_string();
    assert!(problems.contains("moorline.toml:"), "with its position: {problems}");
    let (code, output) = rig.settings.command(&["reload"]);
    assert_eq!(code, Some(78), "{output}");
    assert_eq!((&rig.devices()[0], &rig.devices()[2]), (&before[0], &before[2]));

    fs::write(rig.settings.file(), text).unwrap();
    rig.process.until("mended", 5 * SECOND, |p| {
        p.get("/v1/status")["config"]["problems"].as_array().is_some_and(Vec::is_empty)
    });
    rig.process.ready(10 * SECOND);
    assert_eq!((&rig.devices()[0], &rig.devices()[2]), (&before[0], &before[2]));
    assert!(rig.process.terminate(15 * SECOND).success());
}

#[test]
fn a_file_written_in_two_halves_drops_no_account_f079() {
    let mut rig = start(3);
    let (before, text) = (rig.devices(), rig.text());
    let middle = text.find("[channels.feishu.accounts.a1]").unwrap();
    for _ in 0..5 {
        // The first half by itself is a good configuration with one account.
        fs::write(rig.settings.file(), &text[..middle]).unwrap();
        pause(Duration::from_millis(200));
        fs::write(rig.settings.file(), &text).unwrap();
        pause(Duration::from_millis(700));
    }
    pause(2 * SECOND);
    rig.process.ready(SECOND);
    assert_eq!(rig.devices(), before);
    assert!(rig.process.terminate(15 * SECOND).success());
}

#[test]
fn sighup_and_the_command_rotate_a_secret_in_place_f075() {
    let mut rig = start(3);
    let before = rig.devices();
    rig.rotate(0, "rotated-secret-of-a0");
    let pid = rig.process.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let (simulator, app) = (&rig.simulator, &rig.apps[0]);
    rig.process.until("a0 connects anew", 5 * SECOND, |_| {
        let now = device(simulator, app);
        !now.is_empty() && now != before[0]
    });
    rig.rotate(2, "rotated-secret-of-a2");
    let (code, output) = rig.settings.command(&["reload"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains("feishu:a2: connecting anew") && output.contains("2 accounts untouched"),
        "{output}"
    );
    rig.process.ready(5 * SECOND);
    let after = rig.devices();
    assert_eq!(after[1], before[1]);
    assert_ne!(after[2], before[2]);
    assert_eq!(rig.process.pid().to_string(), pid);
    assert!(rig.process.terminate(15 * SECOND).success());
}
