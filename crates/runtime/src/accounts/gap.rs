//! Whether messages for an account may have been lost: decided here for every channel, from what its platform promises
//! and from what happened between two signs of life (F-040). Without I/O; the connection puts down what it says.

use std::time::Duration;

use moorline_channel::Redelivery;
use moorline_core::{Monotonic, Timestamp};
use moorline_store::{GapKind, LastHeard, Life, NewGap, Op};

/// Doubts of one kind with less than this between them are one gap: a noisy link must not fill the store.
const HEALTHY: Duration = Duration::from_secs(60);

/// What a call takes that is under way when a connection is broken off. Signs of life may have come beside it.
const CALL: Duration = Duration::from_secs(60);

/// After how long a sign of life is put down anew: where every moment without one may cost messages, and
const OFTEN: Duration = Duration::from_secs(60);
/// where the platform keeps them for hours.
const SELDOM: Duration = Duration::from_secs(600);

/// How long a store that did not take it is left alone.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// Why there may be a gap, however short the silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The process or the connection's actor ended without a goodbye while there was a connection, or the first call of
    /// one.
    BrokenOff,
    /// The connector said that something may have been handed out in vain, and what.
    HandedOut {
        /// Since when; signs of life since then say nothing of it.
        since: Timestamp,
        /// What happened to them.
        why: String,
    },
}

/// What lies between two signs of life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence<'a> {
    /// How long it was.
    pub(crate) lasted: Duration,
    /// Whether there was no connection meanwhile.
    pub(crate) reconnected: bool,
    /// What happened to the connection.
    pub(crate) doubt: Option<&'a Doubt>,
}

/// Why messages that were sent during the silence may be missing; `None` when the platform still has all of them for us.
pub(crate) fn judge(redelivery: Redelivery, silence: Silence<'_>) -> Option<(GapKind, String)> {
    let lasted = silence.lasted.as_secs();
    match (silence.doubt, redelivery) {
        (Some(Doubt::HandedOut { why, .. }), _) => Some((GapKind::HandedOut, why.clone())),
        (Some(Doubt::BrokenOff), Redelivery::Perhaps) => {
            let why = "the connection was broken off without a goodbye, and what the platform was handing out just then it \
                       may not hand out again";
            Some((GapKind::BrokenOff, why.to_owned()))
        }
        (_, Redelivery::None) if silence.reconnected => {
            let why = format!("not connected for {}, and the platform keeps nothing meanwhile", span(lasted));
            Some((GapKind::Outage, why))
        }
        (_, Redelivery::UntilAcked(kept) | Redelivery::ByCursor(kept)) if silence.lasted > kept => {
            let kept = span(kept.as_secs());
            let why = format!("nothing heard for {}, and the platform repeats for {kept} only", span(lasted));
            Some((GapKind::Outage, why))
        }
        _ => None,
    }
}

/// What is known of one account's signs of life. It outlives the lives of the connection's actor.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    heard: Option<Sign>,
    doubt: Option<Doubt>,
    /// What has to be put down, at most one of each kind.
    unsaved: Vec<NewGap>,
    /// The one before.
    last: Option<NewGap>,
    /// When the next sign of life is worth a commit.
    next_write: Monotonic,
    /// Nothing was asked of the platform since the goodbye.
    parted: bool,
}

/// A sign of life.
#[derive(Debug, Clone, Copy)]
struct Sign {
    at: Timestamp,
    /// The same on the clock that nobody sets and that goes on during a sleep; an earlier process had another one.
    here: Option<Monotonic>,
}

impl Watch {
    /// What the process before has left.
    pub(crate) fn after(life: &Life) -> Self {
        Self {
            heard: life.heard.map(|heard| Sign { at: heard.at, here: None }),
            doubt: life.heard.filter(|heard| !heard.orderly).map(|_| Doubt::BrokenOff),
            last: life.last_gap.as_ref().map(|last| last.gap.clone()),
            parted: life.heard.is_some_and(|heard| heard.orderly),
            ..Self::default()
        }
    }

    /// Whether the store has to be told that something may be missed from now on, before anything is asked of the platform
    /// for the first time, or for the first time after a goodbye. Not where the platform promises enough.
    pub(crate) fn begins(&self, redelivery: Redelivery) -> bool {
        (self.heard.is_none() || self.parted) && redelivery == Redelivery::Perhaps
    }

    /// The store has been told.
    pub(crate) fn begun(&mut self, at: Timestamp, here: Monotonic) {
        self.heard = Some(Sign { at, here: Some(here) });
        self.parted = false;
    }

    /// Something happened because of which the next sign of life may end a gap. What the connector says outweighs the
    /// other.
    pub(crate) fn doubt(&mut self, doubt: Doubt) {
        use Doubt::{BrokenOff, HandedOut};
        let heard = self.heard.map(|heard| heard.at.minus(CALL));
        self.doubt = Some(match (self.doubt.take(), doubt) {
            // The call that was broken off may have been under way when the last sign of life came.
            (Some(HandedOut { since, why }), BrokenOff) | (Some(BrokenOff), HandedOut { since, why }) => {
                HandedOut { since: heard.map_or(since, |heard| heard.min(since)), why }
            }
            // The first of several counts: a gap begins with it.
            (Some(first @ HandedOut { .. }), HandedOut { .. }) => first,
            (Some(BrokenOff) | None, doubt) => doubt,
        });
    }

    /// The connection's actor is gone: what was on its way to the store is put down by the next.
    pub(crate) fn left(&mut self) {
        if !self.unsaved.is_empty() {
            self.next_write = Monotonic::default();
        }
    }

    /// A sign of life, by the wall clock and by the one that goes on during a sleep. `reconnected`: it is the first one of a
    /// connection.
    pub(crate) fn heard(
        &mut self,
        (at, here): (Timestamp, Monotonic),
        redelivery: Redelivery,
        reconnected: bool,
    ) {
        let before = self.heard.replace(Sign { at, here: Some(here) });
        self.parted = false;
        let doubt = self.doubt.take();
        let lasted = before.map_or(Duration::ZERO, |before| match before.here {
            Some(then) => here - then,
            None => at.since(before.at),
        });
        // One that was never heard has missed nothing.
        let silence = Silence { lasted, reconnected: reconnected && before.is_some(), doubt: doubt.as_ref() };
        if let Some((kind, why)) = judge(redelivery, silence) {
            let heard = before.map_or(at, |before| before.at.min(at));
            let from = match doubt {
                Some(Doubt::HandedOut { since, .. }) => heard.min(since),
                Some(Doubt::BrokenOff) | None => heard,
            };
            self.add(NewGap { from, to: at, kind, why });
            self.next_write = Monotonic::default();
        }
    }

    /// Takes a gap up: as a longer one if there was none of the kind for less than a healthy minute, or if that could not
    /// be put down yet.
    fn add(&mut self, mut gap: NewGap) {
        if let Some(unsaved) = self.unsaved.iter_mut().find(|unsaved| unsaved.kind == gap.kind) {
            (unsaved.to, unsaved.why) = (gap.to, gap.why);
            return;
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.kind == gap.kind)
            && last.from <= gap.from
            && gap.from.since(last.to) < HEALTHY
        {
            gap.from = last.from;
        } else if gap.kind == GapKind::BrokenOff {
            // A call may have been under way when the last sign of life came.
            gap.from = gap.from.minus(CALL);
        }
        self.unsaved.push(gap);
    }

    /// What is to be committed now, if anything is.
    pub(crate) fn due(&mut self, now: Monotonic, redelivery: Redelivery) -> Option<(Vec<NewGap>, LastHeard)> {
        let heard = self.heard?;
        if now < self.next_write {
            return None;
        }
        self.next_write = now + every(redelivery);
        Some((self.unsaved.clone(), LastHeard { at: heard.at, orderly: false }))
    }

    /// What may ride along with a commit that is made anyhow.
    pub(crate) fn ride(&mut self, now: Monotonic, redelivery: Redelivery) -> Option<Op> {
        let (heard, every) = (self.heard?, every(redelivery));
        if !self.unsaved.is_empty() || now + every / 2 < self.next_write {
            return None;
        }
        self.next_write = now + every;
        Some(Op::Heard { at: heard.at, orderly: false })
    }

    /// The connection has ended with a goodbye: what is to be committed of it.
    pub(crate) fn part(&mut self) -> Option<(Vec<NewGap>, LastHeard)> {
        let heard = self.heard.filter(|heard| heard.here.is_some() && !self.parted)?;
        (self.parted, self.next_write) = (true, Monotonic::default());
        Some((self.unsaved.clone(), LastHeard { at: heard.at, orderly: self.doubt.is_none() }))
    }

    /// These gaps are on disk.
    pub(crate) fn saved(&mut self, gaps: &[NewGap]) {
        self.unsaved.retain(|unsaved| !gaps.contains(unsaved));
        if let Some(last) = gaps.last() {
            self.last = Some(last.clone());
        }
    }

    /// The store did not take it.
    pub(crate) fn refused(&mut self, now: Monotonic) {
        self.next_write = now + AFTER_REFUSAL;
    }
}

const fn every(redelivery: Redelivery) -> Duration {
    match redelivery {
        Redelivery::None | Redelivery::Perhaps => OFTEN,
        Redelivery::UntilAcked(_) | Redelivery::ByCursor(_) => SELDOM,
    }
}

/// A span in words, to the second while that matters.
fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
