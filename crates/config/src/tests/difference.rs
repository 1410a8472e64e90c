//! F-075: each key has a class, and what a reload does with another value of it is what the class says.

use std::collections::BTreeMap;

use super::*;
use crate::setting::{self, Class, Section, Setting};

/// A second value of each setting, beside what [`base`] says: the section, the key, and the value as TOML.
const OTHERS: &[(Section, &str, &str)] = &[
    (Section::Root, "data_dir", "\"elsewhere\""),
    (Section::Admin, "listen", "\"127.0.0.1:1\""),
    (Section::Admin, "allow_remote", "true"),
    (Section::Log, "format", "\"json\""),
    (Section::Log, "filter", "\"debug\""),
    (Section::Network, "proxy", "\"http://u:p@proxy.test:3128\""),
    (Section::Network, "no_proxy", "[\"a.test\"]"),
    (Section::Network, "extra_roots", "[\"roots.pem\"]"),
    (Section::Runtime, "turn_timeout", "\"1s\""),
    (Section::Runtime, "shutdown_grace", "\"1s\""),
    (Section::Runtime, "hold_limit", "\"1s\""),
    (Section::Runtime, "held_reply_limit", "\"1s\""),
    (Section::Runtime, "retention", "\"8d\""),
    (Section::Alerts, "webhook", "\"https://a.test/hook?key=k\""),
    (Section::Alerts, "body", "\"feishu\""),
    (Section::Alerts, "after", "\"1s\""),
    (Section::Alerts, "warnings", "true"),
    (Section::Echo, "delay", "\"1s\""),
    (Section::OpenAi, "base_url", "\"https://b.test\""),
    (Section::OpenAi, "model", "\"other\""),
    (Section::OpenAi, "api_key", "\"key\""),
    (Section::OpenAi, "system_prompt", "\"Be kind.\""),
    (Section::OpenAi, "timeout", "\"1s\""),
    (Section::Command, "command", "[\"/bin/cat\", \"-u\"]"),
    (Section::Command, "timeout", "\"1s\""),
    (Section::Command, "pass_env", "[\"X\"]"),
    (Section::Account, "agent", "\"other\""),
    (Section::Account, "liveness", "\"1m\""),
    (Section::Access, "direct", "\"deny\""),
    (Section::Access, "group", "\"deny\""),
    (Section::Access, "users", "[\"ou_1\"]"),
    (Section::Access, "groups", "[\"oc_1\"]"),
    (Section::Retry, "initial", "\"2s\""),
    (Section::Retry, "max", "\"61s\""),
    (Section::Retry, "reset_after", "\"61s\""),
    (Section::Account, "app_id", "\"cli_2\""),
    (Section::Account, "app_secret", "\"other\""),
    (Section::Account, "base_url", "\"https://a.test\""),
    (Section::Account, "ack_wait", "\"3s\""),
    (Section::Account, "strict", "true"),
    (Section::Account, "shards", "2"),
];

/// Two accounts of which `feishu:main` says `key = value` more.
fn with(directory: &Path, section: Section, key: &str, value: &str) -> Config {
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::from([
        ("agents.default", vec!["kind = \"echo\"".to_owned()]),
        ("agents.other", vec!["kind = \"echo\"".to_owned()]),
        (
            "agents.model",
            ["kind = \"openai\"", "base_url = \"https://a.test\"", "model = \"m\""]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("agents.script", vec!["kind = \"command\"".to_owned(), "command = [\"/bin/cat\"]".to_owned()]),
        (
            "channels.feishu.accounts.main",
            vec!["app_id = \"cli_1\"".to_owned(), "app_secret = \"s\"".to_owned()],
        ),
        (
            "channels.feishu.accounts.next",
            vec!["app_id = \"cli_9\"".to_owned(), "app_secret = \"s\"".to_owned()],
        ),
    ]);
    let table = match section {
        Section::Root => "",
        Section::Admin => "admin",
        Section::Log => "log",
        Section::Network => "network",
        Section::Runtime => "runtime",
        Section::Alerts => "alerts",
        Section::Agent | Section::Echo => "agents.default",
        Section::OpenAi => "agents.model",
        Section::Command => "agents.script",
        Section::Account => "channels.feishu.accounts.main",
        Section::Access => "channels.feishu.accounts.main.access",
        Section::Retry => "channels.feishu.accounts.main.retry",
    };
    let lines = tables.entry(table).or_default();
    lines.retain(|line| !line.starts_with(&format!("{key} = ")));
    lines.push(format!("{key} = {value}"));
    let text: String = tables
        .iter()
        .map(|(name, lines)| {
            let head = if name.is_empty() { String::new() } else { format!("[{name}]\n") };
            format!("{head}{}\n", lines.join("\n"))
        })
        .collect();
    let source = Source { path: directory.join("moorline.toml"), text };
    load(&source, &BTreeMap::new(), SCHEMAS, AGENT_KINDS).unwrap_or_else(|diagnosis| panic!("{diagnosis}"))
}

/// What the table of settings promises for another value of a key.
fn promised(setting: &Setting) -> Difference {
    let mut promised = Difference::default();
    let main = || "feishu:main".parse().unwrap();
    let global = Section::GLOBAL.iter().find(|(section, _)| *section == setting.section);
    match (setting.class, setting.section) {
        (Class::Restart, _) => {
            let (_, table) = global.unwrap();
            let dot = if table.is_empty() { "" } else { "." };
            promised.needs_restart.push(format!("{table}{dot}{}", setting.key));
        }
        (Class::Live, Section::Runtime) => promised.runtime_changed = true,
        (Class::Live, Section::Alerts) => promised.alerts_changed = true,
        (Class::Live, Section::Echo | Section::OpenAi | Section::Command) => promised.agents_changed = true,
        (Class::Live, _) => promised.changed.push((main(), Change::Live)),
        (Class::Reconnect, _) => promised.changed.push((main(), Change::Reconnect)),
    }
    promised
}

/// The reference page in its tables.
fn tables(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.split("\n\n").map(|table| table.lines().collect())
}

#[test]
fn every_key_has_exactly_the_class_that_the_table_says_f075() {
    let directory = tempfile::tempdir().unwrap();
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(directory.path().join("roots.pem"), pem).unwrap();
    let base = with(directory.path(), Section::Root, "data_dir", "\"data\"");
    let settings = || setting::SETTINGS.iter().copied().chain(FEISHU.fields.iter().map(Setting::from));
    for &(section, key, value) in OTHERS {
        let setting = settings().find(|setting| (setting.section, setting.key) == (section, key)).unwrap();
        let changed = with(directory.path(), section, key, value);
        let (there, back) = (Difference::between(&base, &changed), Difference::between(&changed, &base));
        assert_eq!((&there, &back), (&promised(&setting), &promised(&setting)), "{key}");
        assert!(Difference::between(&changed, &changed).is_empty());
        let shown = format!("{key} = ");
        let page = reference(SCHEMAS);
        let agent = [Section::OpenAi, Section::Command].contains(&section);
        let table = if agent { "#[agents." } else { "[" };
        // The same key may be an agent's and an account's.
        let above: Vec<&str> = tables(&page)
            .filter(|lines| lines.iter().any(|line| line.starts_with(table)) || section == Section::Root)
            .filter_map(|lines| {
                let at = lines.iter().position(|line| line.trim_start_matches('#').starts_with(&shown))?;
                lines.get(..at)?.last().copied()
            })
            .collect();
        assert!(!above.is_empty(), "{key}");
        assert!(above.iter().all(|line| line.ends_with(&format!("({})", setting.class.as_str()))), "{key}");
    }
    for setting in settings() {
        // Another kind has other keys, and `stream` no other value yet.
        let known = OTHERS.iter().any(|row| (row.0, row.1) == (setting.section, setting.key));
        let alone = ["kind", "stream"].contains(&setting.key);
        assert!(known || alone, "no second value of {} to try", setting.key);
    }
}

#[test]
fn what_is_inherited_changes_every_account_that_inherits_it() {
    let text = |liveness: &str, own: &str| {
        valid(
            &format!(
                "agents.default.kind = \"echo\"\n[channels.feishu]\nliveness = \"{liveness}\"\napp_secret = \"s\"\n\
                 [channels.feishu.accounts]\na = {{ app_id = \"1\" }}\nb = {{ app_id = \"2\", liveness = \"1m\" }}\n{own}"
            ),
            &[],
        )
    };
    let difference = Difference::between(&text("30s", "c.app_id = \"3\""), &text("40s", "d.app_id = \"4\""));
    let id = |name: &str| format!("feishu:{name}").parse().unwrap();
    let expected = Difference {
        added: vec![id("d")],
        removed: vec![id("c")],
        changed: vec![(id("a"), Change::Reconnect)],
        ..Difference::default()
    };
    assert_eq!(difference, expected);
}

/// Design §3 rule 4: the greater change includes the smaller one; a secret that says the same elsewhere is no change;
/// one that says something else in the same place is.
#[test]
fn what_counts_is_what_is_meant() {
    let config = valid(MINIMAL, &[]);
    let moved = MINIMAL.replace("{ env = \"SECRET\" }", "\"hunter2canary\"");
    assert!(Difference::between(&config, &valid(&moved, &[])).is_empty());
    let both = valid(&account("liveness = \"1m\"\naccess.direct = \"deny\""), &[]);
    let main = || "feishu:main".parse().unwrap();
    assert_eq!(Difference::between(&config, &both).changed, [(main(), Change::Reconnect)]);
    let rotated = load(
        &source(MINIMAL),
        &BTreeMap::from([("SECRET".to_owned(), "another".to_owned())]),
        SCHEMAS,
        AGENT_KINDS,
    );
    assert_eq!(Difference::between(&config, &rotated.unwrap()).changed, [(main(), Change::Reconnect)]);
}
