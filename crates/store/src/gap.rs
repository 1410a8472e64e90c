//! When an account was last heard, and when messages for it may have been lost (F-040).

use moorline_core::{AccountId, GapId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::names::named;

/// A time in which messages for an account may have been lost, as it is put down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NewGap {
    /// The last sign of life before it.
    pub from: Timestamp,
    /// The first one after it.
    pub to: Timestamp,
    /// What gave rise to the doubt.
    pub kind: GapKind,
    /// Why messages may be missing, in words.
    pub why: String,
}

/// A time in which messages for an account may have been lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gap {
    /// Its number.
    pub id: GapId,
    /// Whose messages.
    pub account: AccountId,
    /// From when to when, and why.
    #[serde(flatten)]
    pub gap: NewGap,
    /// When it was put down, or last made longer.
    pub recorded_at: Timestamp,
}

named! {
    /// What gives rise to the doubt whether all messages arrived.
    GapKind {
        /// The account was not heard for longer than the platform keeps messages for it.
        Outage = "outage",
        /// The connection was broken off, without a goodbye, while the platform may have been handing something out.
        BrokenOff = "broken_off",
        /// The platform may have handed something out that did not arrive.
        HandedOut = "handed_out",
    }
}

/// An account's last sign of life, as it was put down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastHeard {
    /// When.
    pub at: Timestamp,
    /// Whether the connection ended with a goodbye after that, and without a doubt.
    pub orderly: bool,
}

/// What the next process has to know of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// Its last sign of life; `None` when it was never heard.
    pub heard: Option<LastHeard>,
    /// The gap that was recorded last.
    pub last_gap: Option<Gap>,
}
