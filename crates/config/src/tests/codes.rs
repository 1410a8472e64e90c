//! Every kind of problem that a file can show, with its code, its place and its exact words.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// What the rows find beside the file, by name, content and mode.
const FILES: &[(&str, &str, u32)] = &[
    ("private", "hunter2canary\n", 0o600),
    ("shared", "hunter2canary\n", 0o644),
    ("group", "hunter2canary\n", 0o640),
    ("its name", "hunter2canary\n", 0o604),
    ("empty", "\n", 0o600),
    ("roots.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0o644),
    ("key.pem", "-----BEGIN PRIVATE KEY-----\nhunter2canary\n-----END PRIVATE KEY-----\n", 0o600),
];

/// In an account whose other lines are those of [`MINIMAL`].
const ROWS: &[(&str, &[&str])] = &[
    // A file of its own text.
    (
        "=",
        &[
            "f: warning: channels: there is no account: nothing will be received; add one, as in config/moorline.toml \
           (ML0308)",
        ],
    ),
    ("=a = \"hunter2canary", &["f:1:19: invalid basic string, expected `\"` (ML0102)"]),
    ("=a = 1\na = 2", &["f:2:1: duplicate key (ML0102)"]),
    ("=[admim]", &["f:1:2: admim: unknown key, did you mean `admin`? (ML0103)"]),
    ("=[channels.feshu]", &["f:1:11: channels.feshu: unknown channel, did you mean `feishu`? (ML0104)"]),
    ("=admin = 3", &["f:1:9: admin: expected a table, got an integer (ML0105)"]),
    (
        "=admin.listen = \"0.0.0.0:1\"",
        &["f:1:16: admin.listen: 0.0.0.0:1 can be reached from other machines: listen on 127.0.0.1, or set \
           allow_remote = true behind a proxy that adds TLS (ML0401)"],
    ),
    (
        "=agents.x = {}",
        &["f:1:12: agents.x.kind: missing, expected one of `echo`, `openai`, `command` (ML0106)"],
    ),
    (
        "=agents.X.kind = \"echo\"",
        &["f:1:8: agents.X: names of agents are of a-z, 0-9, `_` and `-` (ML0107)"],
    ),
    (
        "=agents.x.kind = \"opnai\"",
        &[
            "f:1:17: agents.x.kind: there is no agent of kind \"opnai\"; this version has `echo`, `openai`, `command` \
             (ML0110)",
        ],
    ),
    (
        "=[agents.x]\nkind = \"openai\"\nbase_ulr = \"x\"\nstream = true\ndelay = \"1s\"",
        &[
            "f:1:1: agents.x.base_url: missing, expected an http or https address without credentials, query and \
             fragment (ML0106)",
            "f:1:1: agents.x.model: missing, expected a string that is not empty (ML0106)",
            "f:3:1: agents.x.base_ulr: unknown key, did you mean `base_url`? (ML0103)",
            "f:4:10: agents.x.stream: answers are not streamed yet: leave `stream` out, or set it to false (ML0116)",
            "f:5:1: agents.x.delay: unknown key; known are `kind`, `base_url`, `model`, `api_key`, `system_prompt`, \
             `timeout`, `stream` (ML0103)",
        ],
    ),
    (
        "=[agents.x]\nkind = \"openai\"\nbase_url = \"http://a.test/v1\"\nmodel = \"m\"\napi_key = \"hunter2canary\"\n\
         timeout = \"0s\"",
        &[
            "f:5:11: warning: agents.x.api_key: holds a secret, and others can read this file, its mode is 0644: chmod \
             600 f (ML0208)",
            "f:6:11: agents.x.timeout: expected a span of time over zero such as \"30s\", \"250ms\" or \"1h30m\", got \
             \"0s\" (ML0105)",
        ],
    ),
    (
        "=[agents.x]\nkind = \"command\"\ncommand = []\npas_env = [\"A\"]",
        &[
            "f:3:11: agents.x.command: expected a list of strings, a program and its arguments, got an empty list (ML0105)",
            "f:4:1: agents.x.pas_env: unknown key, did you mean `pass_env`? (ML0103)",
        ],
    ),
    (
        "=[agents.x]\nkind = \"command\"\ncommand = [\"/bin/cat\"]\n[agents.y]\nkind = \"command\"\ncommand = [\"/no/such\"]",
        &[
            "f:6:11: warning: agents.y.command: there is no program \"/no/such\" here; without it the agent refuses every \
             turn (ML0117)",
        ],
    ),
    (
        "=agents.x = { base_url = 3, command = [\"a\"], colour = 1 }",
        &[
            "f:1:12: agents.x.kind: missing, expected one of `echo`, `openai`, `command` (ML0106)",
            "f:1:25: agents.x.base_url: expected an http or https address without credentials, query and fragment, got \
             an integer (ML0105)",
            "f:1:45: agents.x.colour: unknown key; known are `kind`, `delay`, `base_url`, `model`, `api_key`, \
             `system_prompt`, `timeout`, `stream`, `command`, `pass_env` (ML0103)",
        ],
    ),
    (
        "=agents.x.kind = \"echo\"\nchannels.telegram.accounts.a.bot_token = { env = \"SECRET\" }",
        &["f:1:1: agents.default: missing; accounts that name no agent use it (ML0109)"],
    ),
    // An account's keys.
    (
        "agent = \"x\"",
        &[
            "f:6:9: channels.feishu.accounts.main.agent: there is no agent \"x\"; known are `default` (ML0108)",
        ],
    ),
    (
        "retry = { initial = \"2s\", max = \"1s\" }",
        &[
            "f:6:21: channels.feishu.accounts.main.retry.initial: the first delay, 2s, is longer than the longest, 1s \
           (ML0305)",
        ],
    ),
    (
        "[channels.telegram.accounts.\"Mäin\"]\nbot_token = { env = \"SECRET\" }",
        &[
            "f:6:29: channels.telegram.accounts.\"Mäin\": `telegram:Mäin` is not an account id: it is written \
           channel:name, each of a-z, 0-9, `_` and `-` (ML0301)",
        ],
    ),
    (
        "[channels.feishu.accounts.Main]\n[channels.feishu.accounts.\" MAIN\"]",
        &[
            "f:6:27: channels.feishu.accounts.Main: is `main` at 3:27 in another spelling: ids are of a-z, 0-9, `_` \
             and `-`, and each is there once (ML0302)",
            "f:7:27: channels.feishu.accounts.\" MAIN\": is `main` at 3:27 in another spelling: ids are of a-z, 0-9, \
             `_` and `-`, and each is there once (ML0302)",
        ],
    ),
    (
        "[channels.telegram]\nbot_token = { env = \"SECRET\" }\n[channels.telegram.accounts.Other]\n\
         [channels.telegram.accounts.OTHER]",
        &[
            "f:8:29: channels.telegram.accounts.Other: is `OTHER` at 9:29 in another spelling: ids are of a-z, 0-9, \
             `_` and `-`, and each is there once (ML0302)",
            "f:9:29: channels.telegram.accounts.OTHER: `telegram:OTHER` is not an account id: it is written \
             channel:name, each of a-z, 0-9, `_` and `-` (ML0301)",
        ],
    ),
    // Secrets, as the account's `app_secret`.
    ("!\"\"", &["f:5:14: app_secret: the secret is empty (ML0201)"]),
    (
        "!{ env = \"hunter2canary!\" }",
        &["f:5:22: app_secret: expected the name of an environment variable (ML0202)"],
    ),
    ("!{ env = \"NOPE\" }", &["f:5:22: app_secret: the environment variable NOPE is not set (ML0203)"]),
    ("!{ env = \"EMPTY\" }", &["f:5:22: app_secret: the environment variable EMPTY is empty (ML0204)"]),
    (
        "!{ file = \"gone\" }",
        &[
            "f:5:23: app_secret: cannot read the secret file \"gone\": No such file or directory (os error 2) (ML0205)",
        ],
    ),
    ("!{ file = \"empty\" }", &["f:5:23: app_secret: the secret file \"empty\" is empty (ML0206)"]),
    ("!{ file = \"private\" }", &[]),
    (
        "!{ file = \"shared\" }",
        &[
            "f:5:23: warning: app_secret: others can read the secret file \"shared\", its mode is 0644: chmod 600 \
           DIR/shared (ML0207)",
        ],
    ),
    (
        "!{ file = \"group\" }",
        &[
            "f:5:23: warning: app_secret: others can read the secret file \"group\", its mode is 0640: chmod 600 \
           DIR/group (ML0207)",
        ],
    ),
    (
        "!{ file = \"its name\" }",
        &[
            "f:5:23: warning: app_secret: others can read the secret file \"its name\", its mode is 0604: chmod 600 \
           'DIR/its name' (ML0207)",
        ],
    ),
    (
        "!\"hunter2canary\"",
        &[
            "f:5:14: warning: app_secret: holds a secret, and others can read this file, its mode is 0644: chmod 600 f \
           (ML0208)",
        ],
    ),
    // F-092.
    (
        "access.direct = \"allowlist\"",
        &[
            "f:6:17: warning: channels.feishu.accounts.main.access.users: is empty while direct = \"allowlist\": nobody \
           is admitted; list ids in users, or choose another policy (ML0306)",
        ],
    ),
    (
        "access = { group = \"allowlist\", groups = [] }",
        &[
            "f:6:42: warning: channels.feishu.accounts.main.access.groups: is empty while group = \"allowlist\": nobody \
           is admitted; list ids in groups, or choose another policy (ML0306)",
        ],
    ),
    (
        "access = { users = [\"ou_1\"], groups = [\"oc_1\"], group = \"deny\" }",
        &[
            "f:6:20: warning: channels.feishu.accounts.main.access.users: is ignored: direct is \"allow\", and only \
             \"allowlist\" asks for it (ML0307)",
            "f:6:39: warning: channels.feishu.accounts.main.access.groups: is ignored: group is \"deny\", and only \
             \"allowlist\" asks for it (ML0307)",
        ],
    ),
    (
        "access = { direct = \"allowlist\", users = [\"ou_1\"], group = \"allowlist\", groups = [\"oc_1\"] }",
        &[],
    ),
    // A list of the channel that one of two accounts asks for is no mistake.
    (
        "access.direct = \"allowlist\"\n[channels.feishu.accounts.b]\napp_id = \"b\"\napp_secret = { env = \"SECRET\" }\n\
         [channels.feishu.access]\nusers = [\"ou_1\"]",
        &[],
    ),
    (
        "access.direct = \"allowlist\"\n[channels.feishu.accounts.z]\napp_id = \"b\"\napp_secret = { env = \"SECRET\" }\n\
         [channels.feishu.access]\nusers = [\"ou_1\"]",
        &[],
    ),
    (
        "[channels.feishu.access]\nusers = [\"ou_1\"]",
        &[
            "f:7:9: warning: channels.feishu.access.users: is ignored: direct is \"allow\", and only \"allowlist\" asks \
           for it (ML0307)",
        ],
    ),
    // An inherited policy is right for those who list somebody.
    (
        "access.users = [\"ou_1\"]\n[channels.feishu.accounts.b]\napp_id = \"b\"\napp_secret = { env = \"SECRET\" }\n\
         [channels.feishu.access]\ndirect = \"allowlist\"",
        &[
            "f:7:1: warning: channels.feishu.accounts.b.access.users: is empty while direct = \"allowlist\": nobody is \
           admitted; list ids in users, or choose another policy (ML0306)",
        ],
    ),
    // The network.
    (
        "=network.proxy = \"http://proxy.test:80\"\nnetwork.no_proxy = [\"a.test\"]\nnetwork.extra_roots = [\"roots.pem\"]",
        &[],
    ),
    (
        "=network.proxy = { file = \"private\" }",
        &["f:1:26: network.proxy: expected http://host:port or http://user:password@host:port (ML0402)"],
    ),
    (
        "=network.proxy = \"https://u:hunter2canary@h:1\"",
        &["f:1:17: network.proxy: expected http://host:port or http://user:password@host:port (ML0402)"],
    ),
    (
        "=network.proxy = \"http://u:hunter2canary@h\"",
        &["f:1:17: network.proxy: expected http://host:port or http://user:password@host:port (ML0402)"],
    ),
    (
        "=network.proxy = \"http://h:1/path\"",
        &["f:1:17: network.proxy: expected http://host:port or http://user:password@host:port (ML0402)"],
    ),
    (
        "=network.proxy = \"http://u:hunter2canary@h:1\"",
        &[
            "f:1:17: warning: network.proxy: holds a secret, and others can read this file, its mode is 0644: chmod 600 f \
           (ML0208)",
        ],
    ),
    // Alerts.
    (
        "=alerts.webhook = \"hooks.test/hunter2canary\"",
        &[
            "f:1:18: alerts.webhook: expected an http or https address, without user and password in front of the host \
           (ML0405)",
        ],
    ),
    (
        "=alerts.webhook = { file = \"private\" }",
        &[
            "f:1:27: alerts.webhook: expected an http or https address, without user and password in front of the host \
           (ML0405)",
        ],
    ),
    (
        "=alerts.webhook = \"https://hooks.test/hunter2canary\"",
        &[
            "f:1:18: warning: alerts.webhook: holds a secret, and others can read this file, its mode is 0644: chmod 600 f \
           (ML0208)",
        ],
    ),
    (
        "=network.extra_roots = [\"roots.pem\", \"gone\", \"key.pem\", 3]",
        &[
            "f:1:37: network.extra_roots: cannot read the certificates \"gone\": No such file or directory (os error 2) \
             (ML0403)",
            "f:1:45: network.extra_roots: \"key.pem\" does not hold PEM certificates: line 1 begins something else than \
             a certificate (ML0404)",
            "f:1:56: network.extra_roots: expected a string that is not empty, got an integer (ML0105)",
        ],
    ),
];

/// What the environment says, and what is wrong with it.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("MOORLINE__ADMIN__LSITEN", "1", "unknown setting, did you mean `MOORLINE__ADMIN__LISTEN`? (ML0111)"),
    (
        "MOORLINE__AGENTS__X",
        "1",
        "[agents] is configured in the file only; a secret can be taken from the environment with { env = \"NAME\" } \
         (ML0112)",
    ),
    (
        "MOORLINE__NETWORK__PROXY",
        "hunter2canary",
        "expected http://host:port or http://user:password@host:port (ML0402)",
    ),
    ("MOORLINE__NETWORK__NO_PROXY", "a.test", "expected a list of strings, got \"a.test\" (ML0105)"),
];

/// Found out by the binary, or by nobody as long as the channels' own defaults are right: other tests show them.
const ELSEWHERE: &[&str] = &[
    "ML0101", "ML0113", "ML0114", "ML0115", "ML0303", "ML0304", "ML0501", "ML0601", "ML0602", "ML0603",
    "ML0604",
];

fn found(directory: &Path, text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let path = directory.join("f");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let source = Source::read(path).unwrap();
    let shown = match load_with_warnings(&source, &environment(variables), SCHEMAS, AGENT_KINDS) {
        Ok((_, warnings)) => {
            assert!(!warnings.has_errors());
            warnings.to_string()
        }
        Err(diagnosis) => {
            assert!(diagnosis.has_errors());
            diagnosis.to_string()
        }
    };
    assert!(!shown.contains(CANARY), "a secret is shown (F-090): {shown}");
    let directory = directory.display().to_string();
    let shown = shown.replace(&format!("{directory}/f"), "f").replace(&directory, "DIR");
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn every_kind_of_problem_has_its_words_and_its_place() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text, mode) in FILES {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut see = |line: &str| {
        let (_, code) = line.rsplit_once(" (").unwrap();
        seen.insert(code.trim_end_matches(')').to_owned());
    };
    for (written, expected) in ROWS {
        let text = match (written.strip_prefix('='), written.strip_prefix('!')) {
            (Some(text), _) => text.to_owned(),
            (_, Some(secret)) => MINIMAL.replace("{ env = \"SECRET\" }", secret),
            _ => account(written),
        };
        let shown = found(directory.path(), &text, &[("EMPTY", "")]);
        let shown: Vec<String> = shown
            .iter()
            .map(|line| line.replace("channels.feishu.accounts.main.app_secret", "app_secret"))
            // Most files of their own text are about something else.
            .filter(|line| text.is_empty() || !line.contains("ML0308"))
            .collect();
        assert_eq!(shown, *expected, "{text}");
        shown.iter().for_each(|line| see(line));
    }
    for (name, value, expected) in VARIABLES {
        let shown = found(directory.path(), MINIMAL, &[(name, value)]);
        assert_eq!(shown, [format!("environment: {name}: {expected}")]);
        shown.iter().for_each(|line| see(line));
    }
    for (code, _) in CODES {
        assert!(
            seen.contains(*code) != ELSEWHERE.contains(code),
            "{code} is shown by no row, or need not be listed"
        );
    }
}

#[test]
fn the_network_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let pem = FILES[5].1;
    std::fs::write(directory.path().join("roots.pem"), pem).unwrap();
    let read = |text: &str, variables: &[(&str, &str)]| {
        let source = Source { path: directory.path().join("f"), text: text.to_owned() };
        load(&source, &environment(variables), SCHEMAS, AGENT_KINDS).unwrap().network
    };
    assert_eq!(read("", &[]), Network::default());
    let text =
        "[network]\nproxy = { env = \"PROXY\" }\nno_proxy = [\"a.test\"]\nextra_roots = [\"roots.pem\"]";
    let expected = |proxy: &str| Network {
        proxy: Some(Secret::new(proxy)),
        no_proxy: vec!["a.test".to_owned()],
        extra_roots: vec![pem.as_bytes().to_vec()],
    };
    let (kept, variable) = (("PROXY", "http://u:p@h:1"), ("MOORLINE__NETWORK__PROXY", "http://v:p@h:1/"));
    assert_eq!(read(text, &[kept]), expected("http://u:p@h:1"));
    assert_eq!(read(text, &[kept, variable]), expected("http://v:p@h:1/"));
    let literal = text.replace("{ env = \"PROXY\" }", "\"http://w:p@[::1]:3128\"");
    assert_eq!(read(&literal, &[]), expected("http://w:p@[::1]:3128"));
}

/// Each code has its page and each page its code.
#[test]
fn every_code_has_its_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let codes: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(codes.len(), CODES.len(), "a code is there twice");
    let files: BTreeSet<String> = std::fs::read_dir(&pages)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name.starts_with("ML0"))
        .collect();
    assert_eq!(files, codes);
    for (code, severity) in CODES {
        let page = std::fs::read_to_string(pages.join(format!("{code}.md"))).unwrap();
        let head = format!("# {code}: ");
        assert!(page.starts_with(&head) && page.contains(&format!("**{}**", severity.as_str())), "{code}");
        for part in ["## Example", "## What to do"] {
            assert!(page.contains(part), "{code} lacks {part}");
        }
        assert!(page.contains(&format!("({code})")), "the example of {code} shows another code");
    }
}
