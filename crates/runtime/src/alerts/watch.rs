//! Decides when to tell of what, without I/O: from what the doctor finds at each look.
//!
//! A trouble is told of when it has lasted for the grace period, at once when an operator has to act; and once more
//! when it was gone for a while. One that comes and goes is one trouble, as long as it does not stay away. What is
//! about to be told soon is told along, so that an outage of everything is one message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moorline_config::Alerts as Settings;
use moorline_core::{AccountId, Monotonic, millis};
use serde::{Deserialize, Serialize};

use super::notice::{Item, Notice, NoticeKind};
use crate::doctor::{Finding, FindingKind, Now, Severity};

/// A trouble is over when it was gone for the grace period, but within these bounds.
const CALM: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// What is due at this part of its time is told along with what is due.
const ALONG: u32 = 2;

/// Most troubles that are kept in mind (G12).
const MOST: usize = 1_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Tell the log.
    Log(Notice),
    /// Tell the webhook; what came of it is to be told to [`Watch::posted`].
    Post(Notice),
    /// Remember this over restarts.
    Keep(String),
}

/// What is troubled. All that can be wrong with an account's receiving is one trouble: it changes from one kind to the
/// other, and all is well when none is left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Subject {
    account: Option<AccountId>,
    concern: String,
}

/// One trouble.
#[derive(Debug, Clone)]
struct Trouble {
    /// As it is now.
    item: Item,
    /// As it was when it was announced, which is what its end is told by.
    told: Item,
    /// An operator has to act.
    urgent: bool,
    /// When it was first seen in this life, and for how long it had lasted by then.
    first: Monotonic,
    before: Duration,
    /// Since when it is gone.
    gone: Option<Monotonic>,
    /// It was told to the log, as urgent or not.
    announced: Option<bool>,
    /// What was announced last was posted.
    posted: bool,
    /// Anything of it was ever posted.
    known: bool,
}

/// A trouble that was told of, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    subject: Subject,
    item: Item,
    urgent: bool,
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Watch {
    troubles: BTreeMap<Subject, Trouble>,
    /// What is over and still has to be posted.
    ended: Vec<Item>,
    /// What is on its way to the webhook.
    sending: Option<(NoticeKind, BTreeSet<Subject>, usize)>,
    /// Not before this the webhook is tried again.
    not_before: Monotonic,
}

impl Watch {
    /// Goes on where an earlier life was. What cannot be read is forgotten: then something may be told twice.
    pub(super) fn recall(told: &str, now: Now) -> Self {
        let told: Vec<Told> = serde_json::from_str(told).unwrap_or_default();
        let troubles = told.into_iter().map(|Told { subject, item, urgent }| {
            let trouble = Trouble {
                before: now.wall.since(item.since),
                told: item.clone(),
                item,
                urgent,
                first: now.monotonic,
                gone: None,
                announced: Some(urgent),
                posted: true,
                known: true,
            };
            (subject, trouble)
        });
        Self { troubles: troubles.collect(), not_before: now.monotonic, ..Self::default() }
    }

    /// Looks at what is wrong now.
    pub(super) fn step(&mut self, now: Now, findings: &[Finding], settings: &Settings) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.note(now, findings, settings);
        let told: Vec<Item> = self.begun(now.monotonic, settings.after);
        if !told.is_empty() {
            effects.push(Effect::Log(Notice { kind: NoticeKind::Alert, at: now.wall, items: told }));
        }
        let told: Vec<Item> = self.over(now.monotonic, settings.after);
        if !told.is_empty() {
            effects.push(Effect::Log(Notice { kind: NoticeKind::AllClear, at: now.wall, items: told }));
        }
        if settings.webhook.is_none() {
            effects.extend(self.nobody_to_tell());
        } else {
            effects.extend(self.post(now));
        }
        effects
    }

    /// What came of a post: `wait` is the pause before the next one when it failed.
    pub(super) fn posted(&mut self, now: Now, wait: Option<Duration>) -> Vec<Effect> {
        let Some((kind, subjects, ended)) = self.sending.take() else { return Vec::new() };
        if let Some(wait) = wait {
            self.not_before = now.monotonic + wait;
            return Vec::new();
        }
        match kind {
            NoticeKind::Alert => {
                for (_, trouble) in self.troubles.iter_mut().filter(|(subject, _)| subjects.contains(subject))
                {
                    (trouble.posted, trouble.known) = (true, true);
                }
            }
            NoticeKind::AllClear => drop(self.ended.drain(..ended.min(self.ended.len()))),
        }
        let mut effects = vec![Effect::Keep(self.told())];
        effects.extend(self.post(now));
        effects
    }

    /// Takes down what is there, and since when the rest is gone.
    fn note(&mut self, now: Now, findings: &[Finding], settings: &Settings) {
        let mut seen = BTreeSet::new();
        for finding in findings {
            let wanted = finding.severity == Severity::Error || settings.warnings;
            // What cannot be posted is not to be told by posting.
            if !wanted || finding.kind == FindingKind::AlertFailed {
                continue;
            }
            let subject = Subject::of(finding);
            // The first is the worst.
            if !seen.insert(subject.clone()) {
                continue;
            }
            let (item, urgent) = (Item::of(finding, now.wall), is_urgent(finding.kind));
            if let Some(trouble) = self.troubles.get_mut(&subject) {
                trouble.item = Item { since: trouble.item.since.min(item.since), ..item };
                (trouble.urgent, trouble.gone) = (urgent, None);
                trouble.refresh();
            } else if self.troubles.len() < MOST {
                self.troubles.insert(subject, Trouble::new(item, urgent, now));
            }
        }
        for (subject, trouble) in &mut self.troubles {
            if !seen.contains(subject) {
                trouble.gone.get_or_insert(now.monotonic);
            }
        }
    }

    /// What has lasted long enough, and was not told of.
    fn begun(&mut self, now: Monotonic, after: Duration) -> Vec<Item> {
        let ripe = |trouble: &Trouble, part: u32| {
            let due = if trouble.urgent { Duration::ZERO } else { after / part };
            trouble.gone.is_none() && trouble.is_new() && now - trouble.first >= due
        };
        if !self.troubles.values().any(|trouble| ripe(trouble, 1)) {
            return Vec::new();
        }
        let begun = self.troubles.values_mut().filter(|trouble| ripe(trouble, ALONG));
        let told = begun.map(|trouble| {
            (trouble.announced, trouble.posted) = (Some(trouble.urgent), false);
            trouble.told = trouble.item.clone();
            trouble.item.clone()
        });
        told.collect()
    }

    /// What has been gone long enough. What was never told of is forgotten.
    fn over(&mut self, now: Monotonic, after: Duration) -> Vec<Item> {
        let calm = after.clamp(CALM.0, CALM.1);
        let sending = self.sending.clone();
        // What is just being told has to be known before its end can be.
        let is_sent =
            |subject: &Subject| sending.as_ref().is_some_and(|(_, subjects, _)| subjects.contains(subject));
        let gone = |subject: &Subject, trouble: &Trouble, part: u32| {
            trouble.gone.is_some_and(|gone| now - gone >= calm / part) && !is_sent(subject)
        };
        if !self.troubles.iter().any(|(subject, trouble)| gone(subject, trouble, 1)) {
            return Vec::new();
        }
        let over: Vec<Subject> = self
            .troubles
            .iter()
            .filter(|(subject, trouble)| {
                gone(subject, trouble, if trouble.announced.is_some() { ALONG } else { 1 })
            })
            .map(|(subject, _)| subject.clone())
            .collect();
        let mut told = Vec::new();
        for subject in over {
            let Some(trouble) = self.troubles.remove(&subject) else { continue };
            if trouble.announced.is_none() {
                continue;
            }
            let item = trouble.ended();
            // Of what nobody heard nobody need hear that it is over.
            if trouble.known && self.ended.len() < MOST {
                self.ended.push(item.clone());
            }
            told.push(item);
        }
        told
    }

    /// The next thing to post: one at a time, first what is wrong.
    fn post(&mut self, now: Now) -> Option<Effect> {
        if self.sending.is_some() || now.monotonic < self.not_before {
            return None;
        }
        let unposted =
            self.troubles.iter().filter(|(_, trouble)| trouble.announced.is_some() && !trouble.posted);
        let (subjects, items): (BTreeSet<Subject>, Vec<Item>) =
            unposted.map(|(subject, trouble)| (subject.clone(), trouble.told.clone())).unzip();
        let (kind, items) = if !items.is_empty() {
            (NoticeKind::Alert, items)
        } else if !self.ended.is_empty() {
            (NoticeKind::AllClear, self.ended.clone())
        } else {
            return None;
        };
        self.sending = Some((kind, subjects, items.len()));
        Some(Effect::Post(Notice { kind, at: now.wall, items }))
    }

    /// There is no webhook: the log is all there is to be told.
    fn nobody_to_tell(&mut self) -> Option<Effect> {
        let untold =
            self.troubles.values_mut().filter(|trouble| trouble.announced.is_some() && !trouble.posted);
        let mut news = !self.ended.is_empty();
        for trouble in untold {
            (trouble.posted, trouble.known, news) = (true, true, true);
        }
        self.ended.clear();
        news.then(|| Effect::Keep(self.told()))
    }

    /// Everything that somebody was told of and that is not over.
    fn told(&self) -> String {
        let known = self.troubles.iter().filter(|(_, trouble)| trouble.known);
        let told = known.map(|(subject, trouble)| Told {
            subject: subject.clone(),
            item: trouble.told.clone(),
            urgent: trouble.announced.unwrap_or_default(),
        });
        serde_json::to_string(&told.collect::<Vec<_>>()).unwrap_or_default()
    }
}

impl Subject {
    fn of(finding: &Finding) -> Self {
        let concern = match finding.kind {
            FindingKind::NotReady | FindingKind::Blocked | FindingKind::Parked | FindingKind::Silent => {
                "receiving"
            }
            kind => kind.as_str(),
        };
        Self { account: finding.account.clone(), concern: concern.to_owned() }
    }
}

impl Trouble {
    fn new(item: Item, urgent: bool, now: Now) -> Self {
        Self {
            before: now.wall.since(item.since),
            told: item.clone(),
            item,
            urgent,
            first: now.monotonic,
            gone: None,
            announced: None,
            posted: false,
            known: false,
        }
    }

    /// Not told of, or not as something that needs an operator.
    fn is_new(&self) -> bool {
        self.announced.is_none_or(|urgent| self.urgent && !urgent)
    }

    /// What is not posted yet is to be told as it is now, unless it has become something else: its end has to name what
    /// its beginning named.
    fn refresh(&mut self) {
        if !self.posted && self.told.kind == self.item.kind {
            self.told = self.item.clone();
        }
    }

    /// As it was told, with how long it lasted.
    fn ended(&self) -> Item {
        let lasted = self.gone.unwrap_or(self.first) - self.first + self.before;
        Item { lasted_ms: Some(millis(lasted)), since: self.item.since, ..self.told.clone() }
    }
}

/// Whether it cannot pass without an operator, or takes the process with it.
fn is_urgent(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::Blocked | FindingKind::StoreFailed)
}

#[cfg(test)]
mod tests;
