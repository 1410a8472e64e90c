//! One thing that is wrong.

use moorline_core::{AccountId, Timestamp};
use serde::{Serialize, Serializer};

/// Something that an operator should know, and can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// The account is connecting or reconnecting.
    NotReady = "not_ready",
    /// The account is blocked: an operator has to act.
    Blocked = "blocked",
    /// The account's actor failed too often.
    Parked = "parked",
    /// The account says that it is ready, and nothing was received for long. Only a defect of ours can cause it.
    Silent = "silent",
    /// A code that nobody knows keeps coming (design §4).
    UnknownCode = "unknown_code",
    /// Who the bot is was never answered (F-013).
    IdentityUnknown = "identity_unknown",
    /// Who the bot is, is remembered and cannot be verified (F-014).
    IdentityUnverified = "identity_unverified",
    /// There is no access token (F-008).
    NoToken = "no_token",
    /// The policy admits nobody at all (F-092).
    AdmitsNobody = "admits_nobody",
    /// A list that is in force is empty (F-092).
    EmptyAllowlist = "empty_allowlist",
    /// All the last messages were dropped by the policy (F-092).
    EverythingDropped = "everything_dropped",
    /// Messages of ours will never be sent (F-055).
    DeadLetters = "dead_letters",
    /// An agent does not answer (F-051).
    AgentUnavailable = "agent_unavailable",
    /// An agent takes turns and answers none of them (F-047).
    AgentFailing = "agent_failing",
    /// Messages of ours wait because they could not be sent (F-053).
    SendsWait = "sends_wait",
    /// Nothing is configured that could receive a message.
    NoAccounts = "no_accounts",
    /// A job failed too often and was disabled (F-088).
    CronDisabled = "cron_disabled",
    /// The last run of a job failed (F-088).
    CronFailing = "cron_failing",
    /// An account has rows and is not configured (F-055).
    Orphaned = "orphaned",
}

impl Finding {
    /// Something that keeps messages from being received, answered or sent.
    pub(super) fn error(
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
        }
    }

    /// The same, with when it began and when it is tried again.
    pub(super) fn times(mut self, since: Timestamp, next_attempt_at: Option<Timestamp>) -> Self {
        self.since = Some(since);
        self.next_attempt_at = next_attempt_at;
        self
    }

    /// The same as a warning.
    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl Serialize for FindingKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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
