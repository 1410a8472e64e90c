//! A login that lapsed without a word: good answers with nothing in them, not even the cursor that an idle bot gets
//! (protocol §4.5).

use std::time::Duration;

use moorline_channel::{Effect, Output};
use moorline_core::Monotonic;

/// So many answers in a row are more than chance.
const SUSPICIOUS: u32 = 3;

/// From then on it is for people to look at.
const LASTING: Duration = Duration::from_secs(600);

/// Between two greetings, if the first was not answered well.
const AGAIN: Duration = Duration::from_secs(60);

/// How it stands with the lapse, if there is one.
#[derive(Debug, Default)]
pub(super) struct Lapse {
    /// Empty answers in a row.
    answers: u32,
    /// When the first of them came.
    since: Monotonic,
    /// When the platform was last told that we are here.
    greeted_at: Option<Monotonic>,
    /// Whether it took notice.
    heard: bool,
    /// Whether the runtime knows.
    told: bool,
}

impl Lapse {
    /// A healthy answer came.
    pub(super) fn over(&mut self) -> Option<Effect> {
        let told = std::mem::take(self).told;
        told.then_some(Effect::Emit(Output::Suspect(None)))
    }

    /// An empty answer came.
    pub(super) fn another(&mut self, now: Monotonic) -> Option<Effect> {
        if self.answers == 0 {
            self.since = now;
        }
        self.answers = self.answers.saturating_add(1);
        if self.told || self.answers < SUSPICIOUS || now.since(self.since) < LASTING {
            return None;
        }
        self.told = true;
        let why = "the platform answers polls with nothing at all, not even a cursor, as it does when a login has lapsed";
        Some(Effect::Emit(Output::Suspect(Some(why.to_owned()))))
    }

    /// Whether to tell the platform now that we are here: once, and again after a minute if it took no notice.
    pub(super) fn wants_greeting(&mut self, now: Monotonic) -> bool {
        let waited = self.greeted_at.is_none_or(|at| now.since(at) >= AGAIN);
        let wants = self.answers >= SUSPICIOUS && !self.heard && waited;
        if wants {
            self.greeted_at = Some(now);
        }
        wants
    }

    /// The platform took notice.
    pub(super) const fn heard(&mut self) {
        self.heard = self.greeted_at.is_some();
    }
}
