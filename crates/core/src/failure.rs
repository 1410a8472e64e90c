//! What can go wrong with a platform, typed from where it is seen to where it is shown.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failure means for what we do next (design §4). Which vendor code is which class is a table in the
/// channel's crate; what each class costs in waiting is [`RetryPolicy`](crate::RetryPolicy), once, for all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Passes by itself: network, busy platform, and every code nobody knows. Retried for ever.
    Transient,
    /// We were too fast. Retried when the platform says.
    Throttled,
    /// A session or token ended. Rebuilt at once.
    SessionExpired,
    /// Somebody else holds the account's connection.
    Conflict,
    /// The platform does not accept who we say we are.
    Credentials,
    /// The platform knows us and does not allow this.
    Permission,
    /// A person has to log in again.
    NeedsLogin,
    /// A frame or an answer that cannot be read.
    Protocol,
    /// This one message will never be taken.
    Rejected,
    /// The platform takes nothing more for this chat until its user writes again (F-060).
    AwaitsUser,
}

impl FailureClass {
    /// All classes, for tables and documentation.
    pub const ALL: [Self; 10] = [
        Self::Transient,
        Self::Throttled,
        Self::SessionExpired,
        Self::Conflict,
        Self::Credentials,
        Self::Permission,
        Self::NeedsLogin,
        Self::Protocol,
        Self::Rejected,
        Self::AwaitsUser,
    ];

    /// The name users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::SessionExpired => "session_expired",
            Self::Conflict => "conflict",
            Self::Credentials => "credentials",
            Self::Permission => "permission",
            Self::NeedsLogin => "needs_login",
            Self::Protocol => "protocol",
            Self::Rejected => "rejected",
            Self::AwaitsUser => "awaits_user",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether what we asked for may have happened although we were told, or heard, nothing good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It certainly did not happen.
    #[default]
    None,
    /// Nobody can tell: a deadline, a reset, a 5xx or an unreadable answer came after the request was out.
    Unknown,
}

/// One failure of one call or connection. `message` is for people and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What it means for what we do next.
    pub class: FailureClass,
    /// The platform's own code, where it gave one.
    pub code: Option<String>,
    /// What failed, in words; names the phase (`endpoint call`, `handshake`, …).
    pub message: String,
    /// The least time the platform asks us to wait.
    pub retry_after: Option<Duration>,
    /// Whether the call may have taken effect.
    pub effect: Effect,
    /// With [`FailureClass::Permission`]: the permissions any of which would have been enough, as the platform named
    /// them; empty where it did not.
    pub lacks: Vec<String>,
}

impl Failure {
    /// A failure that certainly had no effect.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            code: None,
            message: message.into(),
            retry_after: None,
            effect: Effect::None,
            lacks: Vec::new(),
        }
    }

    /// A failure that passes by itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, message)
    }

    /// The same failure with the platform's code.
    #[must_use]
    pub fn with_code(mut self, code: impl fmt::Display) -> Self {
        self.code = Some(code.to_string());
        self
    }

    /// The same failure with the platform's demand to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The same failure with the permissions that are missing.
    #[must_use]
    pub fn with_lacks(mut self, lacks: Vec<String>) -> Self {
        self.lacks = lacks;
        self
    }

    /// The same failure, of which nobody can tell whether the call took effect.
    #[must_use]
    pub fn with_unknown_effect(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.code {
            Some(code) => write!(f, " ({}, code {code})", self.class),
            None => write!(f, " ({})", self.class),
        }
    }
}
