//! What is on disk is for its owner only, and what is meant otherwise is warned of (F-092, F-096).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::Settings;
use moorline_tests::process::binary;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);

/// Every file and directory below this one, and it itself, with its mode.
fn modes(path: &Path, found: &mut Vec<(String, u32)>) {
    let metadata = fs::metadata(path).unwrap();
    found.push((path.display().to_string(), metadata.permissions().mode() & 0o777));
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| modes(&entry.unwrap().path(), found));
    }
}

/// Started by somebody whose files are everybody's, it makes none that is.
#[test]
fn nobody_else_may_read_any_file_of_the_data_directory_f096() {
    let simulator = Simulator::new(96);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::with_channel(
        server.address(),
        std::slice::from_ref(&app),
        "0s",
        "access.direct = \"allow\"",
    );
    let careless = settings.file().with_file_name("careless");
    let script = format!("#!/bin/sh\numask 000\nexec '{}' \"$@\"\n", binary().display());
    fs::write(&careless, script).unwrap();
    fs::set_permissions(&careless, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(settings.file(), fs::Permissions::from_mode(0o640)).unwrap();

    let mut process = settings.start_with(&careless, &BTreeMap::new());
    process.ready(10 * SECOND);
    simulator.push(&app.app_id, Push::direct("oc_1", "ou_1", "hello")).unwrap();
    process.until("answered", 10 * SECOND, |p| p.get("/v1/outbox")["messages"][0]["state"] == "sent");
    let mut found = Vec::new();
    modes(&settings.data(), &mut found);
    assert!(process.terminate(15 * SECOND).success());
    modes(&settings.data(), &mut found);
    for name in ["moorline.db", "moorline.db-wal", "admin.token", "run.json", "lock"] {
        assert!(found.iter().any(|(path, _)| path.ends_with(name)), "{name} was not there: {found:?}");
    }
    for (path, mode) in found {
        let is_directory = Path::new(&path).is_dir();
        assert_eq!(mode, if is_directory { 0o700 } else { 0o600 }, "{path}: {mode:o}");
    }
    // The configuration is its owner's affair: others can read its secret, and that is told at the start.
    let warned = warnings(&settings);
    assert!(warned.iter().any(|text| text.contains("ML0208") && text.contains("0640")), "{warned:?}");
}

/// A list that is empty admits nobody, and says so before anybody writes.
#[test]
fn an_empty_allowlist_is_warned_of_at_the_start_f092() {
    let simulator = Simulator::new(92);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::with_channel(server.address(), &[app], "0s", "access.direct = \"allowlist\"");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    assert!(process.terminate(15 * SECOND).success());
    let warned = warnings(&settings);
    let names_the_key = |text: &String| text.contains("ML0306") && text.contains("access.users");
    assert!(warned.iter().any(names_the_key), "{warned:?}");
}

fn warnings(settings: &Settings) -> Vec<String> {
    let log = fs::read_to_string(settings.log()).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warnings = lines.filter(|line| line["level"] == "WARN" && line["actor"] == "config");
    warnings.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}
