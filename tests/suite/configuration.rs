//! The configuration as the binary sees it: what `check` says, what the start says, and with which exit codes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use moorline_store::DataDir;
use moorline_tests::process::binary;
use serde_json::Value;
use tempfile::TempDir;

const APP: &str = "cli_a1b2c3d4e5f60718";
const CANARY: &str = "hunter2canary";

/// A directory with a configuration in it, which runs of the binary are to judge.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.write(text);
        place
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("f")
    }

    /// Runs the binary in the directory, so that paths are as short as they are written.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["--config", "f"]).args(arguments).current_dir(self.directory.path());
        command.env("SECRET", CANARY).env_remove("APP_SECRET").output().unwrap()
    }

    /// The exit code and everything that was printed.
    fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains(CANARY), "a secret is shown (F-090): {text}");
        (output.status.code(), text)
    }
}

/// One account on a host that nobody has.
fn text(globals: &str, account: &str) -> String {
    format!(
        "data_dir = \"data\"\n{globals}\nagents.default.kind = \"echo\"\n[channels.feishu.accounts.main]\n\
         app_id = \"{APP}\"\napp_secret = {{ env = \"SECRET\" }}\nbase_url = \"http://127.0.0.1:1\"\n{account}\n"
    )
}

#[test]
fn what_only_the_binary_finds_has_its_words_too_f079() {
    let twin = |id: &str, rest: &str| {
        format!(
            "[channels.feishu.accounts.twin]\napp_id = \"{id}\"\napp_secret = {{ env = \"SECRET\" }}\n{rest}"
        )
    };
    let shared =
        "one bot, two accounts, and the platform would give each of them a part of the messages (ML0303)";
    let rows: &[(String, &[&str])] = &[
        (
            text("log.filter = \"a=b=c\"", ""),
            &[
                "f:2:14: log.filter: is not a log filter such as \"info,moorline_runtime=debug\": error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5 (ML0115)",
            ],
        ),
        (
            text("", "").replace("cli_", "app_"),
            &[
                "f:5:10: channels.feishu.accounts.main.app_id: an App ID is `cli_` and 16 hexadecimal digits (ML0304)",
            ],
        ),
        // The same app on the same host, with the same secret and with another one, and on another host.
        (
            text("", &twin(APP, "base_url = \"http://127.0.0.1:1\"")),
            &[&format!(
                "f:9:10: channels.feishu.accounts.twin.app_id: feishu:twin and feishu:main at 4:1 have the same \
                        app_id: {shared}"
            )],
        ),
        (
            text("", &twin(APP, "app_secret = \"x\"").replacen("app_secret = { env = \"SECRET\" }\n", "", 1)),
            &[&format!(
                "f:9:10: channels.feishu.accounts.twin.app_id: feishu:twin and feishu:main at 4:1 have the same \
                        app_id: {shared}"
            )],
        ),
        // A warning does not stop the start, and is told with what does.
        (
            text("log.filter = \"a=b=c\"", "access.group = \"allowlist\""),
            &[
                "f:2:14: log.filter: is not a log filter such as \"info,moorline_runtime=debug\": error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5 (ML0115)",
                "f:8:16: warning: channels.feishu.accounts.main.access.groups: is empty while group = \"allowlist\": \
                 nobody is admitted; list ids in groups, or choose another policy (ML0306)",
            ],
        ),
        // An agent that is not there hides nothing of an account, nor does one account of another.
        (
            text("", "").replace("cli_", "app_").replace("agents.default.kind", "agents.other.kind"),
            &[
                "f:3:1: agents.default: missing; accounts that name no agent use it (ML0109)",
                "f:5:10: channels.feishu.accounts.main.app_id: an App ID is `cli_` and 16 hexadecimal digits (ML0304)",
            ],
        ),
        (
            text(
                "",
                "liveness = 3\n[channels.feishu.accounts.twin]\napp_id = \"twin\"\napp_secret = { env = \"SECRET\" }",
            ),
            &[
                "f:8:12: channels.feishu.accounts.main.liveness: expected a span of time over zero such as \"30s\", \
                 \"250ms\" or \"1h30m\", got an integer (ML0105)",
                "f:10:10: channels.feishu.accounts.twin.app_id: an App ID is `cli_` and 16 hexadecimal digits (ML0304)",
            ],
        ),
        // A password that is no UTF-8 once decoded is one that the transport would refuse.
        (
            text("network.proxy = \"http://u:%ff@h:1\"", ""),
            &["f:2:17: network.proxy: expected http://host:port or http://user:password@host:port (ML0402)"],
        ),
    ];
    for (text, expected) in rows {
        let place = Place::new(text);
        for command in ["check", "run"] {
            let (code, shown) = place.says(&[command]);
            let shown: Vec<&str> = shown.trim_end().trim_start_matches("moorline: ").lines().collect();
            assert_eq!((code, shown), (Some(78), expected.to_vec()), "{command}\n{text}");
        }
        assert!(!place.directory.path().join("data").exists(), "half started: {text}");
    }
    let place = Place::new("");
    fs::remove_file(place.file()).unwrap();
    let (code, shown) = place.says(&["run"]);
    assert_eq!(code, Some(78));
    assert_eq!(shown, "moorline: f: cannot be read: No such file or directory (os error 2) (ML0101)\n");
    let place = Place::new(&text("", ""));
    let mut check = Command::new(binary());
    check.args(["check", "--config", "f"]).current_dir(place.directory.path());
    let output = check.env("SECRET", CANARY).env("MOORLINE__LOG__FILTER", "a=b=c").output().unwrap();
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("moorline: environment: MOORLINE__LOG__FILTER: is not a log filter"),
        "{shown}"
    );
}

#[test]
fn a_root_that_is_no_certificate_is_found_before_the_start() {
    let place = Place::new(&text("network.extra_roots = [\"roots.pem\"]", ""));
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    fs::write(place.directory.path().join("roots.pem"), pem).unwrap();
    for command in ["check", "run"] {
        let (code, shown) = place.says(&[command]);
        assert_eq!(code, Some(78), "{shown}");
        let start = "moorline: f:2:24: network.extra_roots: \"roots.pem\" does not hold PEM certificates: ";
        assert!(shown.starts_with(start) && shown.ends_with(" (ML0404)\n"), "{shown}");
    }
}

#[test]
fn warnings_stop_nothing_f092_f096() {
    let place =
        Place::new(&text("", "access.direct = \"allowlist\"").replace("{ env = \"SECRET\" }", "\"own\""));
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, shown) = place.says(&["check"]);
    let expected = [
        "f:6:14: warning: channels.feishu.accounts.main.app_secret: holds a secret, and others can read this file, its \
         mode is 0644: chmod 600 f (ML0208)",
        "f:8:17: warning: channels.feishu.accounts.main.access.users: is empty while direct = \"allowlist\": nobody is \
         admitted; list ids in users, or choose another policy (ML0306)",
        "f is good: accounts feishu:main",
    ];
    assert_eq!((code, shown.lines().collect::<Vec<_>>()), (Some(0), expected.to_vec()));
    let output = place.run(&["check", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let first: Value = serde_json::json!({
        "severity": "warning", "file": "f", "line": 6, "column": 14, "code": "ML0208",
        "key": "channels.feishu.accounts.main.app_secret",
        "message": "holds a secret, and others can read this file, its mode is 0644: chmod 600 f",
    });
    assert_eq!(list[0], first);
    // The command that the message ends with is the cure.
    let cure = Command::new("chmod").args(["600", "f"]).current_dir(place.directory.path()).status();
    assert!(cure.unwrap().success());
    assert!(!place.says(&["check"]).1.contains("ML0208"));
    place.write("admin = 3");
    let output = place.run(&["--json", "check"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &list[0]["severity"]), (Some(78), &Value::from("error")));
}

#[test]
fn online_check_connects_to_every_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let host = |address: &str| text("", "").replace("http://127.0.0.1:1", address);
    let place = Place::new(&host(&format!("http://{open}")));
    let (code, shown) = place.says(&["check", "--online"]);
    assert_eq!(shown, format!("feishu:main: {open} can be reached\nf is good: accounts feishu:main\n"));
    assert_eq!(code, Some(0));

    drop(listener);
    let (code, shown) = place.says(&["check", "--online"]);
    let problem =
        format!("f:4:1: channels.feishu.accounts.main: {open} cannot be reached: Connection refused");
    assert!(code == Some(1) && shown.starts_with(&problem) && shown.contains("(ML0501)"), "{shown}");
    let output = place.run(&["--json", "check", "--online"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &list[0]["code"]), (Some(1), &Value::from("ML0501")));

    place.write(&host("https://platform.invalid"));
    let (code, shown) = place.says(&["check", "--online"]);
    assert!(code == Some(1) && shown.contains("platform.invalid:443 cannot be reached: its name"), "{shown}");

    // Behind a proxy it is the proxy that has to be there, except for hosts that are reached without it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    let behind = |more: &str| {
        text(&format!("network.proxy = \"http://u:p@{proxy}\"\n{more}"), "")
            .replace("http://127.0.0.1:1", "https://a.platform.invalid")
    };
    place.write(&behind(""));
    let (code, shown) = place.says(&["check", "--online"]);
    assert!(code == Some(0) && shown.contains(&format!("{proxy} can be reached")), "{shown}");
    place.write(&behind("network.no_proxy = [\"platform.invalid\"]"));
    assert_eq!(place.says(&["check", "--online"]).0, Some(1));
}

/// A host that answers nothing costs the deadline, once, however many accounts it has.
#[test]
fn online_check_waits_five_seconds_at_most() {
    // Its queue of connections is full, so that the kernel drops what comes next.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        full.push(stream);
        assert!(full.len() < 10_000, "the queue has no end");
    }
    let more = format!(
        "[channels.feishu.accounts.b]\napp_id = \"cli_b1b2c3d4e5f60718\"\napp_secret = \"x\"\nbase_url = \
         \"http://{address}\""
    );
    let place = Place::new(&text("", &more).replace("http://127.0.0.1:1", &format!("http://{address}")));
    let began = tokio::time::Instant::now();
    let (code, shown) = place.says(&["check", "--online"]);
    let took = began.elapsed();
    assert_eq!(code, Some(1), "{shown}");
    assert_eq!(shown.matches("no answer within 5 s").count(), 2, "{shown}");
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn what_cannot_be_had_ends_the_start_with_its_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new(&text(&format!("admin.listen = \"{address}\""), ""));
    let (code, shown) = place.says(&["run"]);
    assert_eq!(code, Some(78), "{shown}");
    assert!(shown.contains("admin.listen") && shown.contains(&address.to_string()), "{shown}");
    let (code, shown) = place.says(&["check"]);
    assert_eq!(code, Some(0), "a port is no matter of the file: {shown}");

    let place = Place::new(&text("admin.listen = \"127.0.0.1:0\"", ""));
    let lock = DataDir::open(place.directory.path().join("data")).unwrap();
    let (code, shown) = place.says(&["run"]);
    assert_eq!(code, Some(75), "{shown}");
    assert!(shown.contains(&std::process::id().to_string()) && shown.contains("data_dir"), "{shown}");
    drop(lock);

    // Nobody, not even root, can make a directory here: that stands for a disk that is read-only or not ours.
    let place = Place::new(
        &text("admin.listen = \"127.0.0.1:0\"", "").replace("\"data\"", "\"/proc/moorline/data\""),
    );
    let (code, shown) = place.says(&["run"]);
    assert_eq!(code, Some(70), "{shown}");
    assert!(shown.contains("/proc/moorline") && shown.contains("data directory"), "{shown}");
    // A file in the place of the directory.
    let place = Place::new(&text("admin.listen = \"127.0.0.1:0\"", "").replace("\"data\"", "\"f\""));
    let (code, shown) = place.says(&["run"]);
    assert_eq!(code, Some(70), "{shown}");
    assert!(shown.contains("data directory's f"), "{shown}");
}

/// F-079: the start takes exactly what `check` takes, and refuses the rest in the same words.
#[test]
fn check_and_start_agree_about_two_hundred_mutated_files_f079() {
    let sound = text(
        "admin.listen = \"127.0.0.1:0\"\nlog = { format = \"json\", filter = \"info\" }\nruntime.turn_timeout = \"5m\"",
        "agent = \"default\"\nliveness = \"30s\"\naccess = { direct = \"allowlist\", users = [\"ou_1\"] }\nretry.max = \
         \"30s\"\n[channels.feishu.accounts.other]\napp_id = \"cli_b1b2c3d4e5f60718\"\napp_secret = \"x\"",
    );
    let place = Place::new(&sound);
    let data = place.directory.path().join("locked");
    // Who has found the file good goes on to the data directory, and no further: 75 is the start's "good".
    let _lock = DataDir::open(&data).unwrap();
    let (mut good, mut bad) = (0, 0);
    for seed in 0..200_u64 {
        let text = if seed == 0 { sound.clone() } else { mutated(&sound, seed) };
        place.write(&text);
        let (check, start) = (place.says(&["check"]), place.says(&["run", "--data-dir", "locked"]));
        match check.0 {
            Some(0) => {
                assert_eq!(start.0, Some(75), "seed {seed}: {}\n{text}", start.1);
                good += 1;
            }
            Some(78) => {
                assert_eq!(check, start, "seed {seed}\n{text}");
                bad += 1;
            }
            other => panic!("seed {seed}: {other:?}: {}\n{text}", check.1),
        }
    }
    println!("{good} of 200 mutated files good for both, {bad} bad for both");
    assert!(good >= 10 && bad >= 100, "{good} {bad}");
}

/// One of: a letter changed, a line lost, a line doubled, two lines swapped, the end cut off.
fn mutated(text: &str, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut lines: Vec<&str> = text.lines().collect();
    let (one, other) = (next(lines.len()), next(lines.len()));
    match seed % 5 {
        0 => {
            let mut letters: Vec<char> = text.chars().collect();
            let at = next(letters.len());
            letters[at] = ['x', '"', '1', '[', '=', ' ', '\n', '.'][next(8)];
            return letters.into_iter().collect();
        }
        1 => drop(lines.remove(one)),
        2 => lines.insert(other, lines[one]),
        3 => lines.swap(one, other),
        _ => return text.chars().take(next(text.len())).collect(),
    }
    lines.join("\n")
}

#[test]
fn the_reference_page_is_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kept = fs::read_to_string(root.join("config/reference.toml")).unwrap();
    let output = Command::new(binary()).args(["check", "--reference"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let generated = String::from_utf8(output.stdout).unwrap();
    assert!(kept == generated, "config/reference.toml is not what the code says: run `make reference`");
}
