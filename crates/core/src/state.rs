//! The states of an account (design §4), as the connection lives them and as everybody else sees them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::failure::{Failure, FailureClass};

/// Where an account's connection stands. *Ready* means the transport: open, and a first sign of life received.
/// Identity is a second, separate fact ([`IdentityState`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// Not wanted: an operator stopped it.
    Stopped,
    /// On its way to the first *Ready* of this generation, without a failure so far.
    Connecting,
    /// Open and alive.
    Ready,
    /// Lost or refused; will be tried again at `next_attempt_at`.
    Reconnecting,
    /// An operator has to act; probed slowly meanwhile.
    Blocked,
    /// Its actor failed too often; tried again slowly.
    Parked,
}

impl AccountState {
    /// The name users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Reconnecting => "reconnecting",
            Self::Blocked => "blocked",
            Self::Parked => "parked",
        }
    }
}

impl fmt::Display for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an operator has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// The platform does not accept the credentials.
    Credentials,
    /// The platform does not allow what we need.
    Permission,
    /// Another process holds the connection.
    Conflict,
    /// A person has to log in.
    NeedsLogin,
}

impl BlockReason {
    /// The reason a failure of this class blocks an account for, if it does.
    pub const fn of(class: FailureClass) -> Option<Self> {
        match class {
            FailureClass::Credentials => Some(Self::Credentials),
            FailureClass::Permission => Some(Self::Permission),
            FailureClass::Conflict => Some(Self::Conflict),
            FailureClass::NeedsLogin => Some(Self::NeedsLogin),
            FailureClass::Transient
            | FailureClass::Throttled
            | FailureClass::SessionExpired
            | FailureClass::Protocol
            | FailureClass::Rejected
            | FailureClass::AwaitsUser => None,
        }
    }
}

/// Why an account is not ready, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What the failure means for what happens next.
    pub class: FailureClass,
    /// The platform's own code, where it gave one.
    pub code: Option<String>,
    /// What failed, in words.
    pub message: String,
}

impl From<&Failure> for Cause {
    fn from(failure: &Failure) -> Self {
        Self { class: failure.class, code: failure.code.clone(), message: failure.message.clone() }
    }
}

/// How well we know who we are on the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityState {
    /// Never answered for these credentials.
    #[default]
    Unknown,
    /// Known from an earlier run, being verified again.
    Cached,
    /// Answered by the platform in this run.
    Verified,
}

/// Signs of life. Written by the connection and the outbox when they happen, never derived from configuration
/// or from a task's existence (G14).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When the present connection was opened.
    pub connected_at: Option<Timestamp>,
    /// When the last protocol frame was received, of whatever kind.
    pub last_frame_at: Option<Timestamp>,
    /// When the last event was received.
    pub last_event_at: Option<Timestamp>,
    /// When the platform last confirmed a message of ours.
    pub last_sent_at: Option<Timestamp>,
}
