//! One thing that is wrong.

use std::borrow::Cow;

use moorline_core::{AccountId, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Something that an operator should know, and can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of trouble, by a name that never changes its meaning.
    pub kind: FindingKind,
    /// Whose; `None` for the whole process.
    pub account: Option<AccountId>,
    /// What is wrong, as its users feel it.
    pub what: String,
    /// Why, with the platform's own code where there is one.
    pub why: String,
    /// What to do, with the setting to change.
    pub what_to_do: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it is tried again; `None` when an attempt is under way or there is nothing to try.
    pub next_attempt_at: Option<Timestamp>,
    /// Where to read more: [`FindingKind::page`].
    pub page: &'static str,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Messages are not received, not answered or not sent.
    Error,
    /// It works, and not as it should.
    Warning,
}

/// Defines the kinds of findings with their stable names.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Every kind of trouble the doctor knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $name,)*
        }

        impl FindingKind {
            /// All of them, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The section of the documentation that explains it.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => concat!("docs/doctor.md#", $text),)* }
            }
        }
    };
}

kinds! {
    /// The disk is full (F-074).
    StoreFull = "store_full",
    /// The store has failed (G11).
    StoreFailed = "store_failed",
    /// The file on disk is not the configuration in use (F-079).
    ConfigInvalid = "config_invalid",
    /// The configuration is right, and could not be applied just then (F-077).
    ReloadFailed = "reload_failed",
    /// The configuration works, and probably not as it was meant.
    ConfigWarning = "config_warning",
    /// Others may read what is ours alone (F-096).
    FileExposed = "file_exposed",
    /// The disk is nearly full (F-074).
    DiskLow = "disk_low",
    /// The process may open too few files for its accounts (F-099).
    FewFiles = "few_files",
    /// Our clock and the platform's differ (F-089).
    ClockSkew = "clock_skew",
    /// An actor other than a connection failed too often.
    ActorParked = "actor_parked",
    /// Alerts do not get to whom they are for (F-103).
    AlertFailed = "alert_failed",
    /// The account is connecting or reconnecting.
    NotReady = "not_ready",
    /// The account is blocked: an operator has to act.
    Blocked = "blocked",
    /// The account's actor failed too often.
    Parked = "parked",
    /// The account says that it is ready, and nothing was received for long. Only a defect of ours can cause it.
    Silent = "silent",
    /// The connector says that the connection may be deaf although it looks well.
    Suspect = "suspect",
    /// Messages may have been lost within the last day (F-040).
    Gap = "gap",
    /// A code that nobody knows keeps coming (design §4).
    UnknownCode = "unknown_code",
    /// Who the bot is was never answered (F-013).
    IdentityUnknown = "identity_unknown",
    /// Who the bot is, is remembered and cannot be verified (F-014).
    IdentityUnverified = "identity_unverified",
    /// The saved login of an account cannot be read.
    LoginUnreadable = "login_unreadable",
    /// Nobody has logged an account in; only without a running process, which calls it blocked.
    LoginMissing = "login_missing",
    /// There is a login of an account that is not configured; only without a running process.
    LoginOrphaned = "login_orphaned",
    /// There is no access token (F-008).
    NoToken = "no_token",
    /// The platform does not let us do something for want of a permission.
    MissingScopes = "missing_scopes",
    /// The policy admits nobody at all (F-092).
    AdmitsNobody = "admits_nobody",
    /// A list that is in force is empty (F-092).
    EmptyAllowlist = "empty_allowlist",
    /// All the last messages were dropped by the policy (F-092).
    EverythingDropped = "everything_dropped",
    /// Messages of ours will never be sent (F-055).
    DeadLetters = "dead_letters",
    /// Messages of ours wait until their users write (F-060).
    RepliesHeld = "replies_held",
    /// An agent does not answer (F-051).
    AgentUnavailable = "agent_unavailable",
    /// An agent takes turns and answers none of them (F-047).
    AgentFailing = "agent_failing",
    /// An agent has been working on a turn for long (F-052).
    TurnStuck = "turn_stuck",
    /// A message waits for long, and nobody works on it (F-046).
    TurnWaits = "turn_waits",
    /// A turn was given up after three attempts (F-069).
    TurnParked = "turn_parked",
    /// Messages of ours wait because they could not be sent (F-053).
    SendsWait = "sends_wait",
    /// Messages of ours wait, and nobody has tried to send them.
    OutboxStale = "outbox_stale",
    /// Nothing is configured that could receive a message.
    NoAccounts = "no_accounts",
    /// A job failed too often and was disabled (F-088).
    CronDisabled = "cron_disabled",
    /// The last run of a job failed (F-088).
    CronFailing = "cron_failing",
    /// An account has rows and is not configured (F-055).
    Orphaned = "orphaned",
    /// There is no data directory; only without a running process.
    NoDataDir = "no_data_dir",
    /// The store cannot be read; only without a running process.
    StoreUnreadable = "store_unreadable",
    /// The last run did not end in an orderly way; only without a running process.
    UncleanStop = "unclean_stop",
}

impl Finding {
    /// Something that keeps messages from being received, answered or sent.
    pub(crate) fn error(
        kind: FindingKind,
        account: Option<&AccountId>,
        what: impl Into<String>,
        why: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            kind,
            account: account.cloned(),
            what: what.into(),
            why: why.into(),
            what_to_do: what_to_do.into(),
            since: None,
            next_attempt_at: None,
            page: kind.page(),
        }
    }

    /// The same, with when it began and when it is tried again.
    pub(crate) fn times(mut self, since: Timestamp, next_attempt_at: Option<Timestamp>) -> Self {
        self.since = Some(since);
        self.next_attempt_at = next_attempt_at;
        self
    }

    /// The same as a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl Serialize for FindingKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for FindingKind {
    fn schema_name() -> Cow<'static, str> {
        "FindingKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

impl Severity {
    /// In lower case, as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
