//! What is wrong is said in exactly these words, at exactly these places.

use std::collections::BTreeMap;

use moorline_core::{AccountId, FieldKind, Finding, Schema};

use super::*;

#[test]
fn unknown_keys_are_reported_with_the_nearest_known_one() {
    check("[admim]\nlsiten = 3", &[], &["f:1:2: admim: unknown key, did you mean `admin`?"]);
    check(
        &account("app_idd = 1\ncolour = 2\naccess.dirct = 3\nretry.maxx = 4\n\"a b\" = 5"),
        &[],
        &[
            "f:6:1: channels.feishu.accounts.main.app_idd: unknown key, did you mean `app_id`?",
            "f:7:1: channels.feishu.accounts.main.colour: unknown key; known are `app_id`, `app_secret`, `base_url`, \
             `ack_wait`, `strict`, `shards`, `agent`, `liveness`, `access`, `retry`",
            "f:8:8: channels.feishu.accounts.main.access.dirct: unknown key, did you mean `direct`?",
            "f:9:7: channels.feishu.accounts.main.retry.maxx: unknown key, did you mean `max`?",
            "f:10:1: channels.feishu.accounts.main.\"a b\": unknown key; known are `app_id`, `app_secret`, \
             `base_url`, `ack_wait`, `strict`, `shards`, `agent`, `liveness`, `access`, `retry`",
        ],
    );
    check(
        "[channels.feshu]\nx = 1\n[agents.default]\nkind = \"echo\"\ndelai = \"1s\"",
        &[],
        &[
            "f:1:11: channels.feshu: unknown channel, did you mean `feishu`?",
            "f:5:1: agents.default.delai: unknown key, did you mean `delay`?",
        ],
    );
    check("[channels.x]", &[], &["f:1:11: channels.x: unknown channel; known are `feishu`, `telegram`"]);
}

/// What is forgotten before a repetition of it can no longer come would be answered twice (G2, F-032).
#[test]
fn nothing_is_forgotten_within_the_window_of_repetition_g2() {
    check(
        "runtime.retention = \"6d\"",
        &[],
        &["f:1:21: runtime.retention: expected a span of time of at least \"7d\", got \"6d\""],
    );
}

#[test]
fn wrong_types_and_values_are_reported_where_they_are() {
    check(
        &account(
            "base_url = \"ftp://hunter2canary@x\"\nack_wait = 30\nstrict = \"yes\"\nshards = 1.5\nliveness = \"0s\"",
        ),
        &[],
        &[
            "f:6:12: channels.feishu.accounts.main.base_url: expected an http or https address without credentials, \
             query and fragment",
            "f:7:12: channels.feishu.accounts.main.ack_wait: expected a span of time such as \"30s\", \"250ms\" or \
             \"1h30m\", got an integer",
            "f:8:10: channels.feishu.accounts.main.strict: expected true or false, got a string",
            "f:9:10: channels.feishu.accounts.main.shards: expected a whole number, got a float",
            "f:10:12: channels.feishu.accounts.main.liveness: expected a span of time over zero such as \"30s\", \
             \"250ms\" or \"1h30m\", got \"0s\"",
        ],
    );
    check(
        "data_dir = \"\"\nadmin.listen = \"localhost\"\nlog = 3\nchannels.feishu = []\nagents.default = 1979-05-27",
        &[],
        &[
            "f:1:12: data_dir: expected a string that is not empty, got \"\"",
            "f:2:16: admin.listen: expected an IP address with port such as \"127.0.0.1:7117\", got \"localhost\"",
            "f:3:7: log: expected a table, got an integer",
            "f:4:19: channels.feishu: expected a table, got an array",
            "f:5:18: agents.default: expected a table, got a date",
        ],
    );
    check(
        &account(
            "access = { users = [\"a\", 1, \"\"], groups = \"oc\", group = \"al\" }\nshards = 99999999999999999999",
        ),
        &[],
        &[
            "f:6:26: channels.feishu.accounts.main.access.users: expected a string that is not empty, got an integer",
            "f:6:29: channels.feishu.accounts.main.access.users: expected a string that is not empty, got \"\"",
            "f:6:43: channels.feishu.accounts.main.access.groups: expected a list of strings, got a string",
            "f:6:57: channels.feishu.accounts.main.access.group: expected one of `mention`, `allow`, `allowlist`, \
             `deny`, got \"al\"",
            "f:7:10: channels.feishu.accounts.main.shards: expected a whole number, got a number that is too large",
        ],
    );
    check(
        &account("retry.initial = \"2m\""),
        &[],
        &[
            "f:6:17: channels.feishu.accounts.main.retry.initial: the first delay, 120s, is longer than the longest, 60s",
        ],
    );
}

#[test]
fn what_is_missing_is_reported_at_its_table() {
    check(
        "agents.default = {}\n[channels.feishu.accounts.main]\n[channels.feishu.accounts.other]\napp_id = \"x\"",
        &[],
        &[
            "f:1:18: agents.default.kind: missing, expected one of `echo`, `openai`, `command`",
            "f:2:1: channels.feishu.accounts.main.app_id: missing, expected a string that is not empty",
            "f:2:1: channels.feishu.accounts.main.app_secret: missing, expected a string, { env = \"NAME\" } or \
             { file = \"path\" }",
            "f:3:1: channels.feishu.accounts.other.app_secret: missing, expected a string, { env = \"NAME\" } or \
             { file = \"path\" }",
        ],
    );
}

#[test]
fn ids_are_of_one_alphabet() {
    check(
        "agents.Default.kind = \"echo\"\n[channels.telegram]\nagent = \"Default\"\nbot_token = \"t\"\n[channels.telegram.accounts.\"a.B\"]",
        &[],
        &[
            "f:1:8: agents.Default: names of agents are of a-z, 0-9, `_` and `-`",
            "f:5:29: channels.telegram.accounts.\"a.B\": `telegram:a.B` is not an account id: it is written \
             channel:name, each of a-z, 0-9, `_` and `-`",
        ],
    );
}

#[test]
fn agents_have_to_exist() {
    let no_default = MINIMAL.replace("agents.default", "agents.helpdesk");
    check(&no_default, &[], &["f:1:2: agents.default: missing; accounts that name no agent use it"]);
    check(
        &format!("{no_default}agent = \"helpdeks\""),
        &[],
        &[
            "f:6:9: channels.feishu.accounts.main.agent: there is no agent \"helpdeks\", did you mean `helpdesk`?",
        ],
    );
    // What else an agent of an unknown kind says is not judged, and its accounts are not blamed.
    check(
        &MINIMAL.replace("\"echo\"", "\"webhook\"\nbase_url = \"https://x\""),
        &[],
        &[
            "f:2:8: agents.default.kind: there is no agent of kind \"webhook\"; this version has `echo`, `openai`, `command`",
        ],
    );
}

#[test]
fn variables_that_cannot_be_used_are_reported_by_name() {
    check(
        "colour = 1",
        &[
            ("MOORLINE__ADMIN__LSITEN", "127.0.0.1:1"),
            ("MOORLINE__LOG__FORMAT", "xml"),
            ("MOORLINE__admin__listen", "127.0.0.1:1"),
            ("MOORLINE__CHANNELS__FEISHU__ACCOUNTS__MAIN__APP_SECRET", CANARY),
            ("MOORLINE__ADMIN__ALLOW_REMOTE", "1"),
        ],
        &[
            "f:1:1: colour: unknown key; known are `data_dir`, `admin`, `log`, `network`, `runtime`, `alerts`, `agents`, `channels`",
            "environment: MOORLINE__ADMIN__ALLOW_REMOTE: expected true or false, got \"1\"",
            "environment: MOORLINE__ADMIN__LSITEN: unknown setting, did you mean `MOORLINE__ADMIN__LISTEN`?",
            "environment: MOORLINE__CHANNELS__FEISHU__ACCOUNTS__MAIN__APP_SECRET: [channels] is configured in the \
             file only; a secret can be taken from the environment with { env = \"NAME\" }",
            "environment: MOORLINE__LOG__FORMAT: expected one of `pretty`, `json`, got \"xml\"",
            "environment: MOORLINE__admin__listen: unknown setting, did you mean `MOORLINE__ADMIN__LISTEN`?",
        ],
    );
}

#[test]
fn an_address_that_others_can_reach_has_to_be_wanted() {
    let problem = "can be reached from other machines: listen on 127.0.0.1, or set allow_remote = true behind a proxy \
                   that adds TLS";
    check("[admin]\nlisten = \"0.0.0.0:80\"", &[], &[&format!("f:2:10: admin.listen: 0.0.0.0:80 {problem}")]);
    check(
        "[admin]\nlisten = \"[::1]:80\"",
        &[("MOORLINE__ADMIN__LISTEN", "10.0.0.1:80")],
        &[&format!("environment: MOORLINE__ADMIN__LISTEN: 10.0.0.1:80 {problem}")],
    );
    check("[admin]\nlisten = \"0.0.0.0:80\"\nallow_remote = true", &[], &[]);
    check("[admin]\nlisten = \"127.9.9.9:80\"", &[], &[]);
}

#[test]
fn what_is_wrong_with_a_default_is_reported_once() {
    check(
        "[agents.default]\nkind = \"echo\"\n[channels.telegram]\nbot_token = { env = \"NOPE\" }\nagent = \"x\"\n\
         retry = { initial = \"5m\" }\naccess.direct = 1\n[channels.telegram.accounts]\na = {}\nb = {}\nc = {}",
        &[],
        &[
            "f:4:21: channels.telegram.bot_token: the environment variable NOPE is not set",
            "f:5:9: channels.telegram.agent: there is no agent \"x\"; known are `default`",
            "f:6:21: channels.telegram.retry.initial: the first delay, 300s, is longer than the longest, 60s",
            "f:7:17: channels.telegram.access.direct: expected one of `allow`, `allowlist`, `deny`, got an integer",
        ],
    );
}

#[test]
fn what_is_no_toml_is_reported_without_its_text() {
    check(
        "a = \nb = [",
        &[],
        &[
            "f:1:5: string values must be quoted, expected literal string",
            "f:2:6: unclosed array, expected `]`",
        ],
    );
    check(
        "app_secret = hunter2canary",
        &[],
        &["f:1:14: string values must be quoted, expected literal string"],
    );
    check("app_secret = \"hunter2canary", &[], &["f:1:28: invalid basic string, expected `\"`"]);
    check(
        "é = 1\n\"é\" = 2",
        &[],
        &["f:1:1: invalid unquoted key, expected letters, numbers, `-`, `_`", "f:2:1: duplicate key"],
    );
    // A byte order mark is none of the text, and nesting has an end.
    check("\u{feff}log = 1", &[], &["f:1:8: log: expected a table, got an integer"]);
    let nested = load_with(&format!("a = {}", "[".repeat(100_000)), &[]).unwrap_err();
    assert!(nested.0.len() < 5 && nested.to_string().contains("max recursion depth"), "{nested}");
    check("log = {}\r\n\tlog = {}", &[], &["f:2:2: duplicate key"]);
}

#[test]
fn a_channels_finding_gets_its_place() {
    let text = "[channels.feishu]\n  base_url = \"x\"\n[channels.feishu.accounts.main]\napp_id = \"é\"\n";
    let rows = [
        ("app_id", "f:4:10: channels.feishu.accounts.main.app_id: is odd (ML0304)"),
        ("base_url", "f:2:14: channels.feishu.base_url: is odd (ML0304)"),
        ("app_secret", "f:3:1: channels.feishu.accounts.main.app_secret: is odd (ML0304)"),
    ];
    let main: AccountId = "feishu:main".parse().unwrap();
    let locate = |account: &AccountId, key| {
        let finding = Finding { key, problem: "is odd".to_owned() };
        let problem = Problem::locate(&source(text), account, &finding);
        problem.to_string().replace("config/moorline.toml", "f")
    };
    for (key, shown) in rows {
        assert_eq!(locate(&main, key), shown);
    }
    assert_eq!(
        locate(&"telegram:x".parse().unwrap(), "app_id"),
        "f: channels.telegram.accounts.x.app_id: is odd (ML0304)"
    );
}

#[test]
fn a_default_of_a_channel_that_is_no_value_does_not_pass() {
    static ODD: Schema =
        Schema { channel: "odd", fields: &[field("base_url", FieldKind::Url, false, Some("\"https://x\""))] };
    let text = "[agents.default]\nkind = \"echo\"\n[channels.odd.accounts.a]\n";
    let diagnosis = load(&source(text), &BTreeMap::new(), &[&ODD], AGENT_KINDS).unwrap_err();
    assert!(diagnosis.to_string().contains("base_url: has a default that is no value"), "{diagnosis}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let diagnosis = Source::read("no/such/file.toml").unwrap_err();
    assert!(diagnosis.to_string().starts_with("no/such/file.toml: cannot be read: "), "{diagnosis}");
}
