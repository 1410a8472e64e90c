//! `moorline login` against WeChat's simulator over real sockets: with a process that runs, and without one.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use moorline_core::UserId;
use moorline_simulator::server::{Options, Server};
use moorline_simulator::weixin::{LoginCode, NewBot, Simulator};
use moorline_tests::process::{binary, pause, signal};
use moorline_tests::{Process, Settings};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);

/// WeChat on two addresses, and a configuration with accounts there.
struct Rig {
    simulator: Simulator,
    server: Server,
    settings: Settings,
}

impl Rig {
    fn new(seed: u64, accounts: &[&str]) -> Self {
        let simulator = Simulator::new(seed);
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(&simulator, Options { listen: vec![any, any], control: None }).unwrap();
        let mut tables = format!(
            "[agents.default]\nkind = \"echo\"\n[channels.weixin]\nbase_url = \"{}\"\n",
            server.base_url()
        );
        for account in accounts {
            let _ = writeln!(tables, "[channels.weixin.accounts.{account}]");
        }
        Self { simulator, server, settings: Settings::of_tables(&tables) }
    }

    /// Begins `moorline login`.
    fn login(&self, account: &str) -> Terminal {
        self.command(&["login", account, "--json"])
    }

    fn command(&self, arguments: &[&str]) -> Terminal {
        let mut child = Command::new(binary())
            .arg("--config")
            .arg(self.settings.file())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Terminal { child, stdin, lines }
    }

    /// The code that is shown.
    fn code(&self, view: &Value) -> LoginCode {
        let codes = self.simulator.login_codes();
        codes.into_iter().find(|code| view["qr"] == json!(code.content)).unwrap()
    }

    /// Logs this user in, who scans and confirms.
    fn log_in(&self, account: &str, user: &str) -> Value {
        let mut terminal = self.login(account);
        let code = self.code(&terminal.until("scan"));
        self.simulator.scan(&code.qrcode, &UserId::new(user)).unwrap();
        terminal.until("scanned");
        self.simulator.confirm(&code.qrcode).unwrap();
        let end = terminal.until("done");
        assert_eq!(terminal.exit(), Some(0));
        end
    }

    fn file(&self, account: &str) -> std::path::PathBuf {
        self.settings.data().join(format!("logins/weixin.{account}.json"))
    }
}

/// A command that is being used.
struct Terminal {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    /// Reads until the login stands there.
    fn until(&mut self, state: &str) -> Value {
        let mut seen = Vec::new();
        loop {
            let Some(line) = self.lines.next() else { panic!("ended before {state}: {seen:?}") };
            let view: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if view["state"] == state {
                return view;
            }
            seen.push(view);
        }
    }

    fn types(&mut self, text: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// All that is printed until the end.
    fn rest(&mut self) -> Vec<String> {
        self.lines.by_ref().map(Result::unwrap).collect()
    }

    fn exit(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Gone already, as a rule.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn account(process: &Process, name: &str) -> Value {
    process.get(&format!("/v1/accounts/weixin:{name}"))
}

fn state(process: &Process, name: &str) -> String {
    account(process, name)["state"].as_str().unwrap_or_default().to_owned()
}

fn waits(process: &Process, name: &str) -> bool {
    let account = account(process, name);
    account["state"] == "blocked" && account["blocked"] == "needs_login"
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn without_a_process_a_login_is_kept_for_the_next_start() {
    let rig = Rig::new(61, &["main"]);
    let mut terminal = rig.login("main");
    let first = terminal.until("scan");
    assert_eq!((&first["account"], &first["person"]), (&json!("weixin:main"), &Value::Null));
    assert_eq!(
        rig.settings.start().exit(LIMIT).code(),
        Some(75),
        "no process begins that would not know of the login"
    );
    rig.simulator.expire_code(&rig.code(&first).qrcode).unwrap();
    let second = terminal.until("scan");
    assert_ne!(first["qr"], second["qr"]);
    let code = rig.code(&second);
    rig.simulator.scan(&code.qrcode, &UserId::new("alice@im.wechat")).unwrap();
    terminal.until("scanned");
    let bot = rig.simulator.confirm(&code.qrcode).unwrap().unwrap();
    let end = terminal.until("done");
    assert_eq!((&end["person"], &end["qr"]), (&json!("alice@im.wechat"), &Value::Null));
    assert_eq!(terminal.exit(), Some(0));

    let file = rig.file("main");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&bot.token) && kept.contains("alice@im.wechat"), "{kept}");
    let mut process = rig.settings.start();
    process.ready(LIMIT);
    let main = account(&process, "main");
    assert_eq!(main["login"]["person"], "alice@im.wechat");
    assert_eq!(main["identity"]["id"], json!(bot.bot_id));

    // What stands in the file is for us alone, also when somebody has been careless with it.
    assert!(process.terminate(LIMIT).success());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, report) = rig.settings.command(&["doctor", "--offline"]);
    assert!(code == Some(1) && report.contains("weixin.main.json has mode 0644"), "{report}");
    let mut process = rig.settings.start();
    process.ready(LIMIT);
    assert_eq!(mode(&file), 0o600);
    let log = fs::read_to_string(rig.settings.log()).unwrap();
    assert!(!log.contains(&bot.token) && !log.contains("liteapp.weixin"), "{log}");
    drop(rig.server);
}

#[test]
fn with_a_process_a_login_is_taken_up_without_a_restart_and_no_other_account_notices() {
    let rig = Rig::new(62, &["a", "b"]);
    rig.log_in("b", "bob@im.wechat");
    let mut process = rig.settings.start();
    process.until("b is ready and a waits", LIMIT, |p| state(p, "b") == "ready" && waits(p, "a"));
    let (a, b) = (account(&process, "a"), account(&process, "b"));
    assert!(a["cause"]["message"].as_str().unwrap().contains("`moorline login weixin:a`"), "{a}");
    let report = process.get("/v1/doctor").to_string();
    assert!(report.contains("`moorline login weixin:a`"), "{report}");

    let mut terminal = rig.login("a");
    let code = rig.code(&terminal.until("scan"));
    assert_eq!(code.local_tokens.len(), 1, "the platform is told of b's login");
    // To another host, and with a number that is typed wrong at first.
    let elsewhere = rig.server.addresses()[1].to_string();
    rig.simulator.redirect(&code.qrcode, Some(&elsewhere)).unwrap();
    rig.simulator.scan(&code.qrcode, &UserId::new("alice@im.wechat")).unwrap();
    rig.simulator.require_code(&code.qrcode, "42").unwrap();
    assert_eq!(terminal.until("code")["code_wrong"], false);
    terminal.types("41");
    terminal.until("scanned");
    assert_eq!(terminal.until("code")["code_wrong"], true);
    terminal.types("42");
    process.until("the platform has the number", LIMIT, |_| {
        rig.simulator.login_codes().last().is_some_and(|code| code.entered == ["41", "42"])
    });
    let bot = rig.simulator.confirm(&code.qrcode).unwrap().unwrap();
    assert_eq!(terminal.until("done")["person"], "alice@im.wechat");
    assert_eq!(terminal.exit(), Some(0));
    process.until("a is ready", LIMIT, |p| state(p, "a") == "ready");
    assert_eq!(account(&process, "a")["identity"]["id"], json!(bot.bot_id));
    let after = account(&process, "b");
    assert_eq!((&after["generation"], &after["since"]), (&b["generation"], &b["since"]));

    // Again: the platform says that it knows the login, and nothing happens.
    let before = account(&process, "a")["generation"].clone();
    assert_eq!(rig.log_in("a", "alice@im.wechat")["message"], "logged in already as alice@im.wechat");
    assert_eq!(account(&process, "a")["generation"], before);
    assert_eq!(state(&process, "a"), "ready");
    let log = fs::read_to_string(rig.settings.log()).unwrap();
    assert!(!log.contains(&bot.token) && !log.contains("liteapp.weixin"), "{log}");
}

/// A person has one bot. Who is logged in here for another account is found by the platform; whose login was ended
/// elsewhere loses it for good when the person logs in for another account.
#[test]
fn the_same_person_for_two_accounts_has_one_of_them_f011() {
    let rig = Rig::new(63, &["a", "b"]);
    let alice = UserId::new("alice@im.wechat");
    let mut process = rig.settings.start();
    process.until("both wait", LIMIT, |p| waits(p, "a") && waits(p, "b"));
    rig.log_in("a", alice.as_str());
    process.until("a is ready", LIMIT, |p| state(p, "a") == "ready");

    let mut terminal = rig.login("b");
    let code = rig.code(&terminal.until("scan"));
    rig.simulator.scan(&code.qrcode, &alice).unwrap();
    assert_eq!(rig.simulator.confirm(&code.qrcode).unwrap(), None);
    let end = terminal.until("failed");
    assert!(end["message"].as_str().unwrap().contains("for another account (weixin:a)"), "{end}");
    assert_eq!(terminal.exit(), Some(1));
    assert_eq!(state(&process, "a"), "ready");

    // She logs in with another program: the login of a is dead, whether a has noticed or not.
    rig.simulator.add_bot(NewBot { user_id: Some(alice.clone()), ..NewBot::default() });
    let end = rig.log_in("b", alice.as_str());
    assert_eq!(end["message"], "logged in as alice@im.wechat; this has ended the login of weixin:a");
    process.until("b is ready and a waits", LIMIT, |p| state(p, "b") == "ready" && waits(p, "a"));
    let cause = account(&process, "a")["cause"]["message"].clone();
    assert!(cause.as_str().unwrap().contains("its person has logged in for weixin:b"), "{cause}");
    assert!(!rig.file("a").exists() && rig.file("b").exists());
}

#[test]
fn a_login_heals_an_account_whose_token_was_revoked_f011() {
    let rig = Rig::new(64, &["a"]);
    let alice = UserId::new("alice@im.wechat");
    rig.log_in("a", alice.as_str());
    let mut process = rig.settings.start();
    process.ready(LIMIT);
    rig.simulator.add_bot(NewBot { user_id: Some(alice.clone()), ..NewBot::default() });
    process.until("it is refused", LIMIT, |p| state(p, "a") != "ready");
    rig.log_in("a", alice.as_str());
    process.ready(LIMIT);
    assert_eq!(account(&process, "a")["identity"]["id"], json!(rig.simulator.bot_of(&alice).unwrap().bot_id));
}

#[test]
fn whoever_gives_up_or_lets_every_code_expire_is_told_and_nothing_is_saved() {
    let rig = Rig::new(65, &["main"]);
    let expire_all = |rig: &Rig| {
        let mut terminal = rig.login("main");
        for _ in 0..3 {
            rig.simulator.expire_code(&rig.code(&terminal.until("scan")).qrcode).unwrap();
        }
        let end = terminal.until("failed");
        assert!(end["message"].as_str().unwrap().contains("expired"), "{end}");
        assert_eq!(terminal.exit(), Some(1));
    };
    let interrupt = |rig: &Rig, name: &str, code: i32| {
        let mut terminal = rig.login("main");
        terminal.until("scan");
        signal(terminal.child.id(), name);
        assert_eq!(terminal.until("failed")["message"], "it was given up");
        assert_eq!(terminal.exit(), Some(code));
    };
    let signals = [("INT", 130), ("TERM", 143), ("HUP", 129)];
    // Standard input has an end where nobody sits.
    let silent = |rig: &Rig| {
        let mut terminal = rig.login("main");
        terminal.stdin.take();
        let code = rig.code(&terminal.until("scan"));
        rig.simulator.scan(&code.qrcode, &UserId::new("alice@im.wechat")).unwrap();
        rig.simulator.require_code(&code.qrcode, "42").unwrap();
        assert_eq!(terminal.until("failed")["message"], "a number was asked for, and none was typed");
        assert_eq!(terminal.exit(), Some(1));
    };
    expire_all(&rig);
    for (name, code) in signals {
        interrupt(&rig, name, code);
    }
    silent(&rig);
    assert!(!rig.file("main").exists());
    let mut process = rig.settings.start();
    process.until("it waits", LIMIT, |p| waits(p, "main"));
    let given_up = |process: &Process| {
        let view = process.get("/v1/accounts/weixin:main/login");
        assert_eq!((&view["state"], &view["message"]), (&json!("failed"), &json!("it was given up")));
    };
    for (name, code) in signals {
        interrupt(&rig, name, code);
        given_up(&process);
    }
    silent(&rig);
    given_up(&process);
    expire_all(&rig);
    assert!(!rig.file("main").exists());
    process.kill();
}

#[test]
fn a_person_sees_a_code_to_scan_and_what_comes_of_it() {
    let rig = Rig::new(66, &["main"]);
    let mut terminal = rig.command(&["login", "main"]);
    let began = std::iter::repeat_with(|| {
        pause(SECOND / 100);
        rig.simulator.login_codes().pop()
    });
    let code = began.take(3_000).flatten().next().unwrap();
    rig.simulator.scan(&code.qrcode, &UserId::new("alice@im.wechat")).unwrap();
    // Two polls of the machine later.
    pause(SECOND * 3 / 2);
    rig.simulator.confirm(&code.qrcode).unwrap();
    let lines = terminal.rest();
    assert_eq!(terminal.exit(), Some(0));
    let text = lines.join("\n");
    assert!(lines.contains(&code.content), "{text}");
    assert!(lines.iter().filter(|line| line.contains('\u{2588}')).count() > 10, "{text}");
    assert!(text.contains("weixin:main: QR code 1: scan it with the phone (good for another "), "{text}");
    assert!(text.contains("weixin:main: scanned: confirm it on the phone"), "{text}");
    assert_eq!(lines.last().unwrap(), "weixin:main: logged in as alice@im.wechat");
}

#[test]
fn what_cannot_be_logged_in_is_a_misuse() {
    let rig = Rig::new(67, &["main"]);
    let refused = |account: &str, exit: i32, what: &str| {
        let (code, text) = rig.settings.command(&["login", account]);
        assert!(code == Some(exit) && text.contains(what), "{account}: {code:?} {text}");
    };
    let mut config = fs::read_to_string(rig.settings.file()).unwrap();
    config.push_str(
        "[channels.feishu.accounts.main]\napp_id = \"cli_a1b2c3d4e5f60718\"\napp_secret = \"s\"\n\
         base_url = \"http://127.0.0.1:9\"\n",
    );
    fs::write(rig.settings.file(), config).unwrap();
    let nobody = "there is no account `nobody`; those that can be logged in are weixin:main";
    refused("nobody", 64, nobody);
    refused("main", 64, "name the channel too");
    refused("feishu:main", 64, "nobody has to log feishu:main in");
    let mut process = rig.settings.start();
    process.until("it answers", LIMIT, |p| p.call("GET", "/healthz", None).is_some());
    refused("nobody", 64, nobody);
    refused("weixin:nobody", 64, "there is no account `weixin:nobody`; those that can be");
    refused("main", 64, "name the channel too");
    refused("feishu:main", 64, "nobody has to log feishu:main in");
    process.kill();
    fs::write(rig.settings.file(), "data_dir = 7\n").unwrap();
    let (code, _) = rig.settings.command(&["login", "main"]);
    assert_eq!(code, Some(78));
}

/// Before a start, by the configuration and the files; afterwards by whoever is asked.
#[test]
fn what_is_wrong_with_saved_logins_is_said_wherever_one_looks_f096() {
    let rig = Rig::new(68, &["a", "b"]);
    rig.log_in("b", "bob@im.wechat");
    let saved = fs::read(rig.file("b")).unwrap();
    let kinds = || {
        let (_, text) = rig.settings.command(&["--json", "doctor", "--offline"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        let kind = |finding: &Value| format!("{} {}", finding["account"], finding["kind"]).replace('"', "");
        findings.iter().filter(|finding| !finding["account"].is_null()).map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(), ["weixin:a login_missing"]);
    let (code, said) = rig.settings.command(&["check"]);
    assert!(
        code == Some(0)
            && said.contains("accounts.a: nobody is logged in: `moorline login weixin:a` (ML0601)"),
        "{said}"
    );
    assert!(!said.contains("accounts.b"), "{said}");

    fs::write(rig.file("a"), "{").unwrap();
    fs::write(rig.file("old"), &saved).unwrap();
    for name in ["a", "old"] {
        fs::set_permissions(rig.file(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(rig.file("b"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(kinds(), ["weixin:a login_unreadable", "weixin:old login_orphaned"]);
    let (code, said) = rig.settings.command(&["doctor", "--offline"]);
    assert_eq!(code, Some(1));
    for part in [
        "weixin.a.json: it is not a saved login",
        "`moorline login weixin:a` makes another",
        "`moorline account discard-rows weixin:old`",
        "weixin.b.json has mode 0640",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = rig.settings.command(&["check"]);
    assert_eq!(code, Some(0), "{said}");
    for part in
        ["(ML0602)", "(ML0603)", "(ML0604)", "weixin.a.json", "chmod 600 '", "discard-rows weixin:old"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(mode(&rig.file("b")), 0o640, "nothing is written");

    let mut process = rig.settings.start();
    process.until("b is ready and a waits", LIMIT, |p| state(p, "b") == "ready" && waits(p, "a"));
    let cause = account(&process, "a")["cause"]["message"].to_string();
    assert!(cause.contains("/logins/weixin.a.json: it is not a saved login"), "{cause}");
    let log = fs::read_to_string(rig.settings.log()).unwrap();
    // The alerts have words of their own.
    let told = log.lines().filter(|line| line.contains("weixin.a.json") && !line.contains("\"alerts\""));
    assert_eq!(told.count(), 1, "{log}");

    let (code, said) = rig.settings.command(&["account", "discard-rows", "weixin:old"]);
    assert!(code == Some(0) && said.contains("every row is deleted, and its saved login"), "{said}");
    assert!(!rig.file("old").exists());

    fs::write(rig.file("b"), "{").unwrap();
    let (code, said) = rig.settings.command(&["reload"]);
    assert!(code == Some(0) && said.contains("weixin:b: the saved login cannot be read: "), "{said}");
    let goes_on = "weixin:b goes on with the login it has: the saved login cannot be read: ";
    let (_, said) = rig.settings.command(&["status"]);
    assert!(said.contains(goes_on) && said.contains("/logins/weixin.b.json: it is not"), "{said}");
    let (_, said) = rig.settings.command(&["account", "show", "b"]);
    assert!(said.contains("login problem"), "{said}");
    let (_, said) = rig.settings.command(&["doctor"]);
    assert!(
        said.contains("weixin:b works with the login it has") && said.contains("weixin.b.json"),
        "{said}"
    );
    process.kill();
}
