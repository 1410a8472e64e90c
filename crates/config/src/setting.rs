//! The one table of what may be written: checking, the nearest known key and the reference page all read it.

use moorline_core::{DEDUPE_WINDOW, Field, FieldKind};

use crate::nearest::list;
use crate::resolved::{AGENT_KINDS, AlertBody, DirectPolicy, GroupPolicy, LogFormat};
use crate::value::{Datum, from_text};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) section: Section,
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// Without TOML's quotes; read exactly as an environment variable is.
    pub(crate) default: Option<&'static str>,
    /// What a reload does with another value of it.
    pub(crate) class: Class,
    pub(crate) doc: &'static str,
}

/// What a reload does with another value of a setting (F-075).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It counts from now on, and no connection notices.
    Live,
    /// The accounts it concerns connect again, and no others.
    Reconnect,
    /// It waits for the next start.
    Restart,
}

/// The tables of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Outside of any table.
    Root,
    /// `[admin]`
    Admin,
    /// `[log]`
    Log,
    /// `[network]`
    Network,
    /// `[runtime]`
    Runtime,
    /// `[alerts]`
    Alerts,
    /// `[agents.<name>]`, whatever its kind.
    Agent,
    /// The same, of an agent of kind `echo`.
    Echo,
    /// The same, of kind `openai`.
    OpenAi,
    /// The same, of kind `command`.
    Command,
    /// `[channels.<channel>.accounts.<name>]`, and `[channels.<channel>]` for the defaults of all its accounts.
    Account,
    /// `access` of either.
    Access,
    /// `retry` of either.
    Retry,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not empty.
    Text,
    /// A string, `{ env = "NAME" }` or `{ file = "path" }`.
    Secret,
    /// As [`Kind::Secret`]: the address of an HTTP proxy, which may hold a password.
    Proxy,
    /// As [`Kind::Secret`]: an `http` or `https` address whose path or query may hold a token.
    Webhook,
    /// `http` or `https`, without credentials, query and fragment.
    Url,
    /// A span of time that may be zero.
    Delay,
    /// A span of time longer than zero.
    Duration,
    /// A span of time no shorter than the one in which a repeated delivery is recognised (G2).
    Retention,
    Bool,
    Integer,
    /// IP address and port.
    Address,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Strings, none of them empty.
    List,
    /// The same, a program and its arguments: at least one.
    Command,
    /// Paths of files of certificates.
    Certificates,
}

const fn setting(
    section: Section,
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    class: Class,
    doc: &'static str,
) -> Setting {
    Setting { section, key, kind, required: false, default, class, doc }
}

/// A setting of an agent that has to be there.
const fn needed(section: Section, key: &'static str, kind: Kind, doc: &'static str) -> Setting {
    Setting { section, key, kind, required: true, default: None, class: Class::Live, doc }
}

/// Every setting that is no channel's own, in the order of the reference page.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        Section::Root,
        "data_dir",
        Kind::Text,
        Some("data"),
        Class::Restart,
        "Where state is kept; relative to the working directory.",
    ),
    setting(
        Section::Admin,
        "listen",
        Kind::Address,
        Some("127.0.0.1:7117"),
        Class::Restart,
        "Where the admin endpoint listens.",
    ),
    setting(
        Section::Admin,
        "allow_remote",
        Kind::Bool,
        Some("false"),
        Class::Restart,
        "Set it to listen on another address than loopback, behind a proxy that adds TLS.",
    ),
    setting(
        Section::Log,
        "format",
        Kind::Word(LogFormat::WORDS),
        Some("pretty"),
        Class::Restart,
        "How log lines are written.",
    ),
    setting(
        Section::Log,
        "filter",
        Kind::Text,
        None,
        Class::Restart,
        "What is logged, such as \"info,moorline_runtime=debug\".",
    ),
    setting(
        Section::Network,
        "proxy",
        Kind::Proxy,
        None,
        Class::Restart,
        "The HTTP proxy through which the platforms are reached, http://user:password@host:port; a secret.",
    ),
    setting(
        Section::Network,
        "no_proxy",
        Kind::List,
        None,
        Class::Restart,
        "Hosts that are reached without the proxy.",
    ),
    setting(
        Section::Network,
        "extra_roots",
        Kind::Certificates,
        None,
        Class::Restart,
        "Files of PEM certificates, relative to this file, that are trusted beside the public ones.",
    ),
    setting(
        Section::Runtime,
        "turn_timeout",
        Kind::Duration,
        Some("10m"),
        Class::Live,
        "How long a call to an agent may take. The time for which the agent cannot be reached does not count.",
    ),
    setting(
        Section::Runtime,
        "shutdown_grace",
        Kind::Delay,
        Some("10s"),
        Class::Live,
        "How long work in hand may take to finish after a request to stop.",
    ),
    setting(
        Section::Runtime,
        "hold_limit",
        Kind::Duration,
        Some("24h"),
        Class::Live,
        "How long group messages wait while the account's identity is unknown, before they are dropped; and how long \
         messages wait for an agent that cannot be reached, before their senders are told.",
    ),
    setting(
        Section::Runtime,
        "held_reply_limit",
        Kind::Duration,
        Some("7d"),
        Class::Live,
        "How long a reply is held that the platform takes only after its user has written again, before it is given up.",
    ),
    setting(
        Section::Runtime,
        "retention",
        Kind::Retention,
        Some("30d"),
        Class::Live,
        "How long what is over is kept: messages answered or dropped, replies sent or given up, transcripts. At least \"7d\".",
    ),
    setting(
        Section::Alerts,
        "webhook",
        Kind::Webhook,
        None,
        Class::Live,
        "Where alerts are posted to, and that all is well again; a secret. Without it they are only logged.",
    ),
    setting(
        Section::Alerts,
        "body",
        Kind::Word(AlertBody::WORDS),
        Some("json"),
        Class::Live,
        "How they are written: as JSON with a `text`, or as Feishu's custom bots want it.",
    ),
    setting(
        Section::Alerts,
        "after",
        Kind::Delay,
        Some("3m"),
        Class::Live,
        "How long a trouble has to last before it is told of. Whatever needs an operator is told of at once.",
    ),
    setting(
        Section::Alerts,
        "warnings",
        Kind::Bool,
        Some("false"),
        Class::Live,
        "Whether findings that are warnings are told of too.",
    ),
    needed(Section::Agent, "kind", Kind::Word(AGENT_KINDS), "What answers."),
    setting(
        Section::Echo,
        "delay",
        Kind::Delay,
        Some("0s"),
        Class::Live,
        "How long it takes to answer, for trying things.",
    ),
    needed(
        Section::OpenAi,
        "base_url",
        Kind::Url,
        "Where the API is, with its version, such as \"https://api.openai.com/v1\"; asked is /chat/completions below it.",
    ),
    needed(Section::OpenAi, "model", Kind::Text, "The model, by the name that the endpoint has for it."),
    setting(
        Section::OpenAi,
        "api_key",
        Kind::Secret,
        None,
        Class::Live,
        "The key, if the endpoint wants one.",
    ),
    setting(
        Section::OpenAi,
        "system_prompt",
        Kind::Text,
        None,
        Class::Live,
        "What the model is told before every conversation.",
    ),
    setting(
        Section::OpenAi,
        "timeout",
        Kind::Duration,
        Some("5m"),
        Class::Live,
        "How long one call may take, from the name lookup to the last byte; runtime.turn_timeout if that is shorter.",
    ),
    setting(
        Section::OpenAi,
        "stream",
        Kind::Bool,
        Some("false"),
        Class::Live,
        "Whether answers are streamed. They are not yet: true is refused.",
    ),
    needed(
        Section::Command,
        "command",
        Kind::Command,
        "The program, by its path or by a name in PATH, and its arguments. No shell reads them.",
    ),
    setting(
        Section::Command,
        "timeout",
        Kind::Duration,
        Some("5m"),
        Class::Live,
        "How long one run may take before it is killed; runtime.turn_timeout if that is shorter.",
    ),
    setting(
        Section::Command,
        "pass_env",
        Kind::List,
        None,
        Class::Live,
        "Environment variables that the program gets beside PATH, HOME and the like. It gets no others.",
    ),
    setting(
        Section::Account,
        "agent",
        Kind::Text,
        Some("default"),
        Class::Live,
        "The agent that answers, by its name.",
    ),
    setting(
        Section::Account,
        "liveness",
        Kind::Duration,
        None,
        Class::Reconnect,
        "Within this time a dead connection is noticed; the channel's own choice (Feishu: 40s) if that is sooner.",
    ),
    setting(
        Section::Access,
        "direct",
        Kind::Word(DirectPolicy::WORDS),
        Some("allow"),
        Class::Live,
        "Which direct messages are answered.",
    ),
    setting(
        Section::Access,
        "group",
        Kind::Word(GroupPolicy::WORDS),
        Some("mention"),
        Class::Live,
        "Which messages in groups are answered.",
    ),
    setting(
        Section::Access,
        "users",
        Kind::List,
        None,
        Class::Live,
        "With direct = \"allowlist\", the user ids that may write; an empty list admits nobody.",
    ),
    setting(
        Section::Access,
        "groups",
        Kind::List,
        None,
        Class::Live,
        "With group = \"allowlist\", the chat ids that are served; an empty list admits none.",
    ),
    setting(
        Section::Retry,
        "initial",
        Kind::Duration,
        Some("1s"),
        Class::Live,
        "The first delay after a transient failure.",
    ),
    setting(
        Section::Retry,
        "max",
        Kind::Duration,
        Some("60s"),
        Class::Live,
        "The longest delay; delays double up to it.",
    ),
    setting(
        Section::Retry,
        "reset_after",
        Kind::Duration,
        Some("60s"),
        Class::Live,
        "How long an account must have been ready before delays start from the first again.",
    ),
];

/// The settings of a table.
pub(crate) fn of(section: Section) -> impl Iterator<Item = Setting> {
    SETTINGS.iter().copied().filter(move |setting| setting.section == section)
}

impl Setting {
    /// The value that is meant when nothing is written.
    pub(crate) fn default_value(&self) -> Option<Datum> {
        self.default.and_then(|text| from_text(self.kind, text).ok())
    }
}

impl Class {
    /// As the reference page shows it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Reconnect => "reconnect",
            Self::Restart => "restart",
        }
    }
}

impl Section {
    /// The tables that can be overridden by environment variables, with their names in the file.
    pub(crate) const GLOBAL: [(Self, &'static str); 6] = [
        (Self::Root, ""),
        (Self::Admin, "admin"),
        (Self::Log, "log"),
        (Self::Network, "network"),
        (Self::Runtime, "runtime"),
        (Self::Alerts, "alerts"),
    ];
}

impl Kind {
    /// What is expected, to be put behind "expected".
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "a string that is not empty".to_owned(),
            Self::Secret | Self::Proxy | Self::Webhook => {
                "a string, { env = \"NAME\" } or { file = \"path\" }".to_owned()
            }
            Self::Url => "an http or https address without credentials, query and fragment".to_owned(),
            Self::Delay => "a span of time such as \"30s\", \"250ms\" or \"1h30m\"".to_owned(),
            Self::Retention => {
                let days = DEDUPE_WINDOW.as_secs() / (24 * 3600);
                format!("a span of time of at least \"{days}d\"")
            }
            Self::Duration => "a span of time over zero such as \"30s\", \"250ms\" or \"1h30m\"".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::Address => "an IP address with port such as \"127.0.0.1:7117\"".to_owned(),
            Self::Word([word]) => format!("`{word}`"),
            Self::Word(words) => format!("one of {}", list(words)),
            Self::List => "a list of strings".to_owned(),
            Self::Command => "a list of strings, a program and its arguments".to_owned(),
            Self::Certificates => "a list of paths".to_owned(),
        }
    }
}

impl From<&Field> for Setting {
    fn from(field: &Field) -> Self {
        let kind = match field.kind {
            FieldKind::Text => Kind::Text,
            FieldKind::Secret => Kind::Secret,
            FieldKind::Url => Kind::Url,
            FieldKind::Duration => Kind::Delay,
            FieldKind::Bool => Kind::Bool,
            FieldKind::Integer => Kind::Integer,
        };
        Self {
            section: Section::Account,
            key: field.key,
            kind,
            required: field.required,
            default: field.default,
            // What a channel wants to know of an account goes into its plan, and with that into its connection.
            class: Class::Reconnect,
            doc: field.doc,
        }
    }
}
