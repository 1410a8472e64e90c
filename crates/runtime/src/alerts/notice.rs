//! What is told: one trouble or several, begun or over.

use std::time::Duration;

use moorline_core::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::doctor::Finding;

/// So many are told one by one; of more only how many (G12).
const MOST: usize = 20;

/// One message to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) kind: NoticeKind,
    pub(super) at: Timestamp,
    pub(super) items: Vec<Item>,
}

/// Begun, or over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoticeKind {
    Alert,
    AllClear,
}

/// One trouble, as a finding told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) kind: String,
    pub(super) severity: String,
    pub(super) account: Option<AccountId>,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) what_to_do: String,
    pub(super) page: String,
    pub(super) since: Timestamp,
    /// For how long it lasted; `None` while it does.
    pub(super) lasted_ms: Option<u64>,
}

impl Item {
    pub(super) fn of(finding: &Finding, now: Timestamp) -> Self {
        Self {
            kind: finding.kind.as_str().to_owned(),
            severity: finding.severity.as_str().to_owned(),
            account: finding.account.clone(),
            what: finding.what.clone(),
            why: finding.why.clone(),
            what_to_do: finding.what_to_do.clone(),
            page: finding.page.to_owned(),
            since: finding.since.unwrap_or(now).min(now),
            lasted_ms: None,
        }
    }

    /// In one sentence.
    fn line(&self) -> String {
        let whose = self.account.as_ref().map(|id| format!("{id} ")).unwrap_or_default();
        match self.lasted_ms {
            None => {
                format!("{whose}{} [{}]; why: {}; do: {}", self.what, self.kind, self.why, self.what_to_do)
            }
            Some(ms) => format!("{whose}{} [{}]: over after {}", self.what, self.kind, span(ms)),
        }
    }
}

impl Notice {
    /// Those that are told one by one.
    pub(super) fn told(&self) -> &[Item] {
        self.items.get(..MOST).unwrap_or(&self.items)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.told().iter().map(Item::line).collect();
        if self.items.len() > MOST {
            lines.push(format!("and {} more", self.items.len() - MOST));
        }
        lines.join("\n")
    }
}

/// A span as people say it.
fn span(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
