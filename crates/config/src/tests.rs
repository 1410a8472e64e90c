//! One `check` per subject: a file and variables in, the exact problems or the resolved value out.

mod codes;
mod difference;
mod problems;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use moorline_core::{Backoff, ChatId, Field, FieldKind, Schema, Secret, UserId, Value};
use proptest::prelude::*;

use super::*;
use crate::setting::SETTINGS;

const CANARY: &str = "hunter2canary";

const fn field(key: &'static str, kind: FieldKind, required: bool, default: Option<&'static str>) -> Field {
    Field { key, kind, required, default, doc: "A sentence." }
}

static FEISHU: Schema = Schema {
    channel: "feishu",
    fields: &[
        field("app_id", FieldKind::Text, true, None),
        field("app_secret", FieldKind::Secret, true, None),
        field("base_url", FieldKind::Url, false, Some("https://open.feishu.cn")),
        field("ack_wait", FieldKind::Duration, false, Some("2s")),
        field("strict", FieldKind::Bool, false, None),
        field("shards", FieldKind::Integer, false, Some("1")),
    ],
};

static TELEGRAM: Schema =
    Schema { channel: "telegram", fields: &[field("bot_token", FieldKind::Secret, true, None)] };

const SCHEMAS: &[&Schema] = &[&FEISHU, &TELEGRAM];

/// The shortest useful file; its accounts start in line 3.
const MINIMAL: &str = "\
[agents.default]
kind = \"echo\"
[channels.feishu.accounts.main]
app_id = \"cli_1\"
app_secret = { env = \"SECRET\" }
";

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = variables.iter().map(|&(name, text)| (name.to_owned(), text.to_owned()));
    given.chain([("SECRET".to_owned(), CANARY.to_owned())]).collect()
}

fn source(text: &str) -> Source {
    Source { path: "config/moorline.toml".into(), text: text.to_owned() }
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Diagnosis> {
    let result = load(&source(text), &environment(variables), SCHEMAS, AGENT_KINDS);
    assert!(!format!("{result:?}").contains(CANARY), "a secret is shown (F-090)");
    result
}

/// Loads `text` and expects these problems and no others, in this order. Their codes are the business of `codes.rs`.
#[track_caller]
fn check(text: &str, variables: &[(&str, &str)], problems: &[&str]) {
    let shown = match load_with(text, variables) {
        Ok(_) => String::new(),
        Err(diagnosis) => diagnosis.to_string().replace("config/moorline.toml", "f"),
    };
    assert!(!shown.contains(CANARY), "a secret is shown (F-090): {shown}");
    let lines = shown.lines().map(|line| line.rsplit_once(" (ML").map_or(line, |(line, _)| line));
    assert_eq!(lines.collect::<Vec<_>>(), problems, "{text}");
}

#[track_caller]
fn valid(text: &str, variables: &[(&str, &str)]) -> Config {
    load_with(text, variables).unwrap_or_else(|diagnosis| panic!("{diagnosis}"))
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn echo(delay: u64) -> Agent {
    Agent { kind: AgentKind::Echo { delay: secs(delay) } }
}

/// `MINIMAL` with more keys in its account.
fn account(keys: &str) -> String {
    format!("{MINIMAL}{keys}")
}

#[test]
fn a_minimal_file_has_all_defaults() {
    let config = valid(MINIMAL, &[]);
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.admin, Admin { listen: "127.0.0.1:7117".parse().unwrap(), allow_remote: false });
    assert_eq!(config.log, Log { format: LogFormat::Pretty, filter: None });
    assert_eq!(
        config.runtime,
        Runtime {
            turn_timeout: secs(600),
            shutdown_grace: secs(10),
            hold_limit: secs(24 * 3600),
            held_reply_limit: secs(7 * 24 * 3600),
            retention: secs(30 * 24 * 3600)
        }
    );
    assert_eq!(config.agents, BTreeMap::from([("default".to_owned(), echo(0))]));
    let [account] = config.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.id.to_string(), "feishu:main");
    assert_eq!(account.agent, "default");
    assert_eq!(
        account.access,
        Access { direct: DirectPolicy::Allow, group: GroupPolicy::Mention, users: vec![], groups: vec![] }
    );
    assert_eq!(account.retry, Backoff::default(), "one table of delays (design §4)");
    assert_eq!(account.liveness, None);
    assert_eq!(account.position, Position { line: 3, column: 1 });
    assert_eq!(account.settings.id, account.id);
    let values = [
        ("ack_wait", Value::Duration(secs(2))),
        ("app_id", Value::Text("cli_1".to_owned())),
        ("app_secret", Value::Secret(Secret::new(CANARY))),
        ("base_url", Value::Text("https://open.feishu.cn".to_owned())),
        ("shards", Value::Integer(1)),
    ];
    assert_eq!(account.settings.values, values.map(|(key, value)| (key.to_owned(), value)).into());
}

#[test]
fn everything_can_be_said() {
    let config = valid(
        r#"
data_dir = "/var/lib/moorline"
admin = { listen = "[::]:80", allow_remote = true }
log = { format = "json", filter = "info" }
runtime = { turn_timeout = "1h30m", shutdown_grace = "0s", hold_limit = "2d", held_reply_limit = "3d", retention = "7d" }
agents.slow = { kind = "echo", delay = "5s" }
[channels.telegram.accounts.a]
bot_token = "hunter2canary"
agent = "slow"
liveness = "90s"
access = { direct = "allowlist", group = "deny", users = ["ou_1", "ou_2"], groups = ["oc_1"] }
retry = { initial = "10ms", max = "50ms", reset_after = "100ms" }
[channels.feishu.accounts.0-_]
app_id = 'a'
app_secret = 'hunter2canary'
agent = "slow"
strict = true
shards = 0x10
"#,
        &[],
    );
    assert_eq!(config.data_dir, Path::new("/var/lib/moorline"));
    assert_eq!(config.admin, Admin { listen: "[::]:80".parse().unwrap(), allow_remote: true });
    assert_eq!(config.log, Log { format: LogFormat::Json, filter: Some("info".to_owned()) });
    assert_eq!(
        config.runtime,
        Runtime {
            turn_timeout: secs(5400),
            shutdown_grace: Duration::ZERO,
            hold_limit: secs(48 * 3600),
            held_reply_limit: secs(72 * 3600),
            retention: secs(7 * 24 * 3600)
        }
    );
    assert_eq!(config.agents, BTreeMap::from([("slow".to_owned(), echo(5))]));
    let ids: Vec<String> = config.accounts.iter().map(|account| account.id.to_string()).collect();
    assert_eq!(ids, ["feishu:0-_", "telegram:a"]);
    let account = config.account(&"telegram:a".parse().unwrap()).unwrap();
    assert_eq!(account.settings.secret("bot_token"), Some(&Secret::new(CANARY)));
    assert_eq!(account.liveness, Some(secs(90)));
    assert_eq!(
        account.access,
        Access {
            direct: DirectPolicy::Allowlist,
            group: GroupPolicy::Deny,
            users: vec![UserId::new("ou_1"), UserId::new("ou_2")],
            groups: vec![ChatId::new("oc_1")],
        }
    );
    let millis = Duration::from_millis;
    assert_eq!(account.retry, Backoff { initial: millis(10), max: millis(50), reset_after: millis(100) });
    assert_eq!(config.accounts[0].settings.values["shards"], Value::Integer(16));
    assert_eq!(config.accounts[0].settings.values["strict"], Value::Bool(true));
}

#[test]
fn secrets_are_taken_from_where_they_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("good", "hunter2canary\r\n");
    file("empty", "\n");
    file("large", &"x".repeat(65 * 1024));
    let rows: &[(&str, Result<&str, &str>)] = &[
        ("\"literal\"", Ok("literal")),
        ("{ env = \"SECRET\" }", Ok(CANARY)),
        ("{ file = \"good\" }", Ok(CANARY)),
        ("\"\"", Err("2: app_secret: the secret is empty")),
        ("{ env = \"NOPE\" }", Err("10: app_secret: the environment variable NOPE is not set")),
        ("{ env = \"EMPTY\" }", Err("10: app_secret: the environment variable EMPTY is empty")),
        // Somebody put the secret where its name belongs.
        ("{ env = \"hunter2canary=\" }", Err("10: app_secret: expected the name of an environment variable")),
        ("{ file = \"empty\" }", Err("11: app_secret: the secret file \"empty\" is empty")),
        (
            "{ file = \"large\" }",
            Err("11: app_secret: cannot read the secret file \"large\": too large for a secret"),
        ),
        ("{ file = \"gone\" }", Err("11: app_secret: cannot read the secret file \"gone\": No such file")),
        ("{ file = 1 }", Err("11: app_secret: expected a string that is not empty, got an integer")),
        ("{ evn = \"SECRET\" }", Err("4: app_secret.evn: unknown key, did you mean `env`?")),
        ("{}", Err("2: app_secret: expected a string, { env = \"NAME\" } or { file")),
        ("{ env = \"A\", file = \"b\" }", Err("2: app_secret: expected a string, { env")),
        (
            "12345",
            Err(
                "2: app_secret: expected a string, { env = \"NAME\" } or { file = \"path\" }, got an integer",
            ),
        ),
    ];
    for (written, expected) in rows {
        let text = MINIMAL.replace(" { env = \"SECRET\" }", written);
        let source = Source { path: directory.path().join("moorline.toml"), text };
        let loaded = load(&source, &environment(&[("EMPTY", "")]), SCHEMAS, AGENT_KINDS);
        assert!(!format!("{loaded:?}").contains(CANARY), "a secret is shown (F-090): {written}");
        match (loaded, expected) {
            (Ok(config), Ok(secret)) => {
                let settings = &config.accounts[0].settings;
                assert_eq!(settings.secret("app_secret"), Some(&Secret::new(*secret)), "{written}");
            }
            (Err(diagnosis), Err(problem)) => {
                let shown = diagnosis.to_string().replace("channels.feishu.accounts.main.", "");
                let (column, rest) = problem.split_once(": ").unwrap();
                let column = column.parse::<usize>().unwrap() + "app_secret ".len();
                let start = format!("{}:5:{column}: {rest}", source.path.display());
                assert!(shown.starts_with(&start) && shown.lines().count() == 1, "{shown}\n{start}");
            }
            (loaded, _) => panic!("{written}: {loaded:?}"),
        }
    }
}

#[test]
fn the_environment_overrides_what_is_outside_accounts() {
    let text = format!("data_dir = \"file\"\nadmin = {{ listen = \"127.0.0.1:1\" }}\n{MINIMAL}");
    let config = valid(
        &text,
        &[
            ("MOORLINE__ADMIN__LISTEN", "0.0.0.0:2"),
            ("MOORLINE__ADMIN__ALLOW_REMOTE", "true"),
            ("MOORLINE__LOG__FORMAT", "json"),
            ("MOORLINE__RUNTIME__SHUTDOWN_GRACE", "3s"),
            ("MOORLINE_LOG", "not ours"),
            ("PATH", "not ours"),
        ],
    );
    assert_eq!(config.data_dir, Path::new("file"));
    assert_eq!(config.admin, Admin { listen: "0.0.0.0:2".parse().unwrap(), allow_remote: true });
    assert_eq!((config.log.format, config.runtime.shutdown_grace), (LogFormat::Json, secs(3)));
    assert_eq!(valid(&text, &[("MOORLINE__DATA_DIR", "variable")]).data_dir, Path::new("variable"));
    // What the file says is judged all the same: it is what counts without the variable (F-079).
    check(
        "log.format = \"xml\"",
        &[("MOORLINE__LOG__FORMAT", "json")],
        &["f:1:14: log.format: expected one of `pretty`, `json`, got \"xml\""],
    );
}

/// F-092: a default of the channel that accounts silently do not get.
#[test]
fn accounts_inherit_from_their_channel_key_by_key() {
    let config = valid(
        r#"
agents.a.kind = "echo"
agents.b.kind = "echo"
[channels.feishu]
agent = "a"
liveness = "1m"
base_url = "http://127.0.0.1:1"
app_secret = { env = "SECRET" }
access = { direct = "allowlist", users = ["ou_1"] }
retry.max = "10s"
[channels.feishu.accounts.one]
app_id = "1"
[channels.feishu.accounts.two]
app_id = "2"
agent = "b"
liveness = "2m"
base_url = "http://127.0.0.1:2"
app_secret = "own"
access = { users = ["ou_2"], group = "deny" }
retry.initial = "5s"
"#,
        &[],
    );
    let shown = config.accounts.iter().map(|account| {
        let Account { settings, agent, access, retry, liveness, .. } = account;
        let secret = settings.secret("app_secret").unwrap().expose().to_owned();
        (
            settings.text("base_url"),
            agent.as_str(),
            secret,
            access.direct,
            access.group,
            access.users.clone(),
            (retry.initial.as_secs(), retry.max.as_secs()),
            liveness.unwrap().as_secs(),
        )
    });
    use DirectPolicy::Allowlist;
    let (one, two) = (vec![UserId::new("ou_1")], vec![UserId::new("ou_2")]);
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("http://127.0.0.1:1", "a", CANARY.to_owned(), Allowlist, GroupPolicy::Mention, one, (1, 10), 60),
            ("http://127.0.0.1:2", "b", "own".to_owned(), Allowlist, GroupPolicy::Deny, two, (5, 10), 120),
        ]
    );
}

/// Design §3 rule 4: a reload touches what changed, not what moved.
#[test]
fn configurations_are_compared_by_what_they_mean() {
    let config = valid(MINIMAL, &[]);
    let moved = format!(
        "# comment\n{}ack_wait = \"2000ms\"\n",
        MINIMAL.replace("{ env = \"SECRET\" }", "\"hunter2canary\"")
    );
    assert_eq!(valid(&moved, &[]), config);
    for keys in
        ["app_secret = \"other\"", "liveness = \"1m\"", "retry.max = \"2m\"", "access.group = \"allow\""]
    {
        let changed = MINIMAL.replace("app_secret = { env = \"SECRET\" }", keys);
        let changed = if changed.contains("app_secret") { changed } else { account(keys) };
        assert_ne!(valid(&changed, &[]), config, "{keys}");
    }
}

#[test]
fn agents_of_every_kind_are_read() {
    let text = "[agents.default]\nkind = \"openai\"\nbase_url = \"http://a.test/v1\"\nmodel = \"m\"\nstream = false\n\
         [agents.b]\nkind = \"openai\"\nbase_url = \"http://a.test\"\nmodel = \"m\"\napi_key = { env = \"SECRET\" }\n\
         system_prompt = \"Be kind.\"\ntimeout = \"90s\"\n\
         [agents.c]\nkind = \"command\"\ncommand = [\"agent\", \"-q\"]\npass_env = [\"KEY\"]\ntimeout = \"7s\"";
    let bare = AgentKind::OpenAi {
        base_url: "http://a.test/v1".to_owned(),
        model: "m".to_owned(),
        api_key: None,
        system_prompt: None,
        timeout: secs(300),
    };
    let full = AgentKind::OpenAi {
        base_url: "http://a.test".to_owned(),
        model: "m".to_owned(),
        api_key: Some(Secret::new(CANARY)),
        system_prompt: Some("Be kind.".to_owned()),
        timeout: secs(90),
    };
    let command = AgentKind::Command {
        command: vec!["agent".to_owned(), "-q".to_owned()],
        timeout: secs(7),
        pass_env: vec!["KEY".to_owned()],
    };
    let expected = [("default", bare), ("b", full), ("c", command)];
    let expected = expected.map(|(name, kind)| (name.to_owned(), Agent { kind }));
    assert_eq!(valid(text, &[]).agents, BTreeMap::from(expected));
}

#[test]
fn the_reference_is_complete_and_valid() {
    let page = reference(SCHEMAS);
    let variables = [
        ("FEISHU_APP_SECRET", "x"),
        ("TELEGRAM_BOT_TOKEN", "x"),
        ("OPENAI_API_KEY", "x"),
        ("MOORLINE_PROXY", "http://proxy.test:3128"),
        ("MOORLINE_WEBHOOK", "https://hooks.test/x"),
    ];
    let config = valid(&page, &variables);
    let uncommented: String = page
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()).unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_ne!(valid(&uncommented, &variables), config);
    let fields = SCHEMAS.iter().flat_map(|schema| schema.fields.iter().map(|field| field.key));
    for key in SETTINGS.iter().map(|setting| setting.key).chain(fields) {
        assert!(uncommented.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
    }
    // The page shows the defaults themselves: taking them all out changes nothing.
    let mut bare = valid(MINIMAL, &[]);
    bare.accounts.clear();
    assert_eq!(bare, Config { accounts: vec![], ..config });
}

#[test]
fn the_files_of_the_repository_are_valid() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
        let source = Source::read(path).unwrap();
        load(&source, &environment(&[("FEISHU_APP_SECRET", CANARY)]), SCHEMAS, AGENT_KINDS).unwrap()
    };
    let ids =
        |config: &Config| -> Vec<String> { config.accounts.iter().map(|each| each.id.to_string()).collect() };
    assert_eq!(ids(&read("moorline.toml")), ["feishu:main"]);
    let demo = read("demo.toml");
    assert_eq!(ids(&demo), ["feishu:main", "feishu:sales", "feishu:support"]);
    assert!(demo.accounts.iter().all(|each| each.settings.text("base_url") == "http://127.0.0.1:7118"));
}

proptest! {
    /// F-079: whatever happens to a valid file, loading it says so in words, the same words each time, and without
    /// its secrets.
    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "\\PC{0,4}|[\\[\\]{}\"'=.#\n\r\t0-9]{1,3}"), 1..6)
    ) {
        let page = reference(SCHEMAS);
        let page = page.replace("{ env = \"FEISHU_APP_SECRET\" }", "\"hunter2canary\"");
        let page = page.replace("{ env = \"TELEGRAM_BOT_TOKEN\" }", "{ env = \"SECRET\" }");
        prop_assert!(load_with(&page, &[]).is_ok());
        let mut text: Vec<char> = page.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        prop_assert_eq!(load_with(&text, &[]), load_with(&text, &[]));
    }
}
