//! The configuration after loading: validated, and with nothing missing that has a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use moorline_core::{AccountId, AccountSettings, Backoff, ChatId, Secret, UserId};

use crate::source::Position;

/// A choice that is written as a word.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// The words, in the order in which they are shown.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The choice that `word` stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// A whole configuration. Two are equal when they mean the same, wherever in the file it is written, so that a
/// reload touches only what changed (design §3 rule 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where state is kept; relative to the working directory, like every path a user types.
    pub data_dir: PathBuf,
    /// The admin endpoint.
    pub admin: Admin,
    /// Logging.
    pub log: Log,
    /// The way to the platforms.
    pub network: Network,
    /// Limits of the runtime.
    pub runtime: Runtime,
    /// Who is told of lasting trouble.
    pub alerts: Alerts,
    /// Agents by name.
    pub agents: BTreeMap<String, Agent>,
    /// Accounts in the order of their ids.
    pub accounts: Vec<Account>,
}

/// The admin endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether an address other than loopback is wanted; without it such an address is refused (F-091).
    pub allow_remote: bool,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged, as `tracing-subscriber` directives; `None` for the binary's own choice.
    pub filter: Option<String>,
}

/// The way to the platforms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The HTTP proxy that connections are tunnelled through, `http://[user:password@]host:port`; a secret because of
    /// the password.
    pub proxy: Option<Secret>,
    /// Hosts that are reached without the proxy.
    pub no_proxy: Vec<String>,
    /// Files of PEM certificates, as read, whose authorities are trusted beside the built-in ones.
    pub extra_roots: Vec<Vec<u8>>,
}

/// Limits of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// How long one call to an agent may take.
    pub turn_timeout: Duration,
    /// How long the work in hand may take to finish after a request to stop.
    pub shutdown_grace: Duration,
    /// How long a group message waits for the account's identity before it is dropped (design §2), and a turn for an
    /// agent that is away before its user is told (F-051).
    pub hold_limit: Duration,
    /// How long a message of ours is held for its user to write before it is given up (F-060).
    pub held_reply_limit: Duration,
    /// How long what is over is kept in the store; never shorter than [`moorline_core::DEDUPE_WINDOW`].
    pub retention: Duration,
}

/// Who is told of lasting trouble, and when (F-103).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// Where it is posted to; `None` for nowhere but the log. A secret, because such addresses hold tokens.
    pub webhook: Option<Secret>,
    /// How it is written.
    pub body: AlertBody,
    /// How long a trouble lasts before it is told of.
    pub after: Duration,
    /// Whether warnings are told of too.
    pub warnings: bool,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// What answers.
    pub kind: AgentKind,
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentKind {
    /// Answers with what it was told, after a delay.
    Echo {
        /// The delay; zero by default. A long one is for trying recovery out.
        delay: Duration,
    },
    /// A model behind an OpenAI-compatible endpoint.
    OpenAi {
        /// The API's address, below which `/chat/completions` is asked.
        base_url: String,
        /// The model's name there.
        model: String,
        /// The key, if one is needed.
        api_key: Option<Secret>,
        /// What the model is told before every conversation.
        system_prompt: Option<String>,
        /// For one call.
        timeout: Duration,
    },
    /// A program that is run for each turn.
    Command {
        /// The program and its arguments; never empty.
        command: Vec<String>,
        /// For one run.
        timeout: Duration,
        /// The names of the variables it gets beside the usual ones.
        pass_env: Vec<String>,
    },
}

/// The kinds of agents this crate can read, as they are written.
pub const AGENT_KINDS: &[&str] = &["echo", "openai", "command"];

/// One account.
#[derive(Debug, Clone, Eq)]
pub struct Account {
    /// Its id, `<channel>:<name>`.
    pub id: AccountId,
    /// What its channel wants to know of it.
    pub settings: AccountSettings,
    /// The name of its agent; always one of [`Config::agents`].
    pub agent: String,
    /// Whose messages are answered.
    pub access: Access,
    /// Delays after transient failures.
    pub retry: Backoff,
    /// Within this time a dead connection is noticed; also in `settings`, for the channel. `None` for its own choice.
    pub liveness: Option<Duration>,
    /// Where it is written. No part of its equality.
    pub position: Position,
}

/// Whose messages are answered. Lists are by id, never by name (F-093); an empty list admits nobody (F-092).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Direct messages.
    pub direct: DirectPolicy,
    /// Messages in groups.
    pub group: GroupPolicy,
    /// Who may write directly, under [`DirectPolicy::Allowlist`].
    pub users: Vec<UserId>,
    /// The groups that are served, under [`GroupPolicy::Allowlist`].
    pub groups: Vec<ChatId>,
}

word! {
    /// How log lines are written.
    LogFormat {
        /// For people.
        Pretty = "pretty",
        /// An object per line.
        Json = "json",
    }
}

word! {
    /// How an alert is written.
    AlertBody {
        /// An object with a `text` and the findings.
        Json = "json",
        /// A text message, as Feishu's custom bots take it.
        Feishu = "feishu",
    }
}

word! {
    /// Which direct messages are answered.
    DirectPolicy {
        /// All.
        Allow = "allow",
        /// Those of [`Access::users`].
        Allowlist = "allowlist",
        /// None.
        Deny = "deny",
    }
}

word! {
    /// Which messages in groups are answered.
    GroupPolicy {
        /// Those that mention the account.
        Mention = "mention",
        /// All.
        Allow = "allow",
        /// Those in [`Access::groups`].
        Allowlist = "allowlist",
        /// None.
        Deny = "deny",
    }
}

impl AgentKind {
    /// As it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Echo { .. } => "echo",
            Self::OpenAi { .. } => "openai",
            Self::Command { .. } => "command",
        }
    }
}

impl Config {
    /// This configuration, applied to a process that runs with `running`: what waits for the next start is as it was.
    #[must_use]
    pub fn applied_to(self, running: &Self) -> Self {
        crate::difference::keep_running(self, running)
    }

    /// The account of this id.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == *id)
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let Self { id, settings, agent, access, retry, liveness, position: _ } = self;
        *id == other.id
            && *settings == other.settings
            && *agent == other.agent
            && *access == other.access
            && *retry == other.retry
            && *liveness == other.liveness
    }
}
