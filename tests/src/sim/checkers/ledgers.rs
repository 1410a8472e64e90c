//! The platform's ledgers against the store: nothing acknowledged is missing, nothing is visible that nobody asked
//! for, twice, out of order, or in the wrong place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use moorline_core::{ChatId, InboxId, MessageId};
use moorline_simulator::feishu::Visible;
use moorline_store::{InboxFilter, Listing as _, Page, SessionFilter};

use super::super::book::{self, About, Audience};
use super::super::drive::Stage;
use super::now;

/// Where an answer belongs: the account, the chat and the thread.
type Place = (usize, String, Option<String>);

/// What has been seen in the ledgers and the store so far.
pub(super) struct Ledgers {
    /// Events the platform holds us responsible for: how many of the first are known to be stored.
    open_events: BTreeSet<usize>,
    events_seen: usize,
    acks_seen: u64,
    visible_seen: usize,
    /// The same of the other channel, and how many of its messages are known to be stored.
    pub(super) wechat_seen: usize,
    pub(super) wechat_acks: usize,
    /// Stored messages.
    pub(super) stored: BTreeMap<(usize, MessageId), InboxId>,
    last_stored: i64,
    /// Keys of what is visible, with how often each is.
    pub(super) keys: BTreeMap<(usize, String), Vec<usize>>,
    /// Beginnings of answers and messages of operators that are visible, by key.
    begun: BTreeMap<Begun, String>,
    /// The last answer in each place.
    last: BTreeMap<Place, (InboxId, usize)>,
}

/// A message of ours as a user sees it.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) account: usize,
    pub(super) chat: &'a ChatId,
    pub(super) thread: Option<&'a str>,
    pub(super) reply_to: Option<&'a MessageId>,
    pub(super) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begun {
    Answer(usize),
    Send(usize),
}

impl Ledgers {
    pub(super) fn new(_accounts: usize) -> Self {
        Self {
            open_events: BTreeSet::new(),
            events_seen: 0,
            acks_seen: 0,
            visible_seen: 0,
            wechat_seen: 0,
            wechat_acks: 0,
            stored: BTreeMap::new(),
            last_stored: 0,
            keys: BTreeMap::new(),
            begun: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    pub(super) fn look(&mut self, stage: &Stage) -> Result<(), String> {
        let mut acks = 0;
        for app in &stage.world.apps {
            let counters = stage.world.simulator.counters(&app.app_id).map_err(|error| error.to_string())?;
            if counters.max_open > 1 {
                return Err(format!("one socket (F-026): {} had {} at once", app.app_id, counters.max_open));
            }
            if counters.bad_frames > 0 || counters.bad_acks > 0 {
                return Err(format!("frames as the platform wants them: {counters:?}"));
            }
            acks += counters.acks;
        }
        let fresh: Vec<Visible> =
            stage.world.simulator.read_ledger(|ledger| ledger.visible()[self.visible_seen..].to_vec());
        if acks != self.acks_seen || !fresh.is_empty() {
            self.acks_seen = acks;
            self.read_store(stage)?;
            self.acknowledged_is_stored(stage)?;
        }
        for visible in fresh {
            self.seen(stage, &visible)?;
            self.visible_seen += 1;
        }
        Ok(())
    }

    /// Reads what is new in the inbox.
    pub(super) fn read_store(&mut self, stage: &Stage) -> Result<(), String> {
        let mut newest = self.last_stored;
        let mut page = Page { before: None, limit: 20 };
        loop {
            let listed = now(stage.world.store.inbox(&InboxFilter::default(), page))?;
            let mut done = listed.rows.is_empty();
            for entry in listed.rows {
                let row = entry.row;
                if row.id.get() <= self.last_stored {
                    done = true;
                    break;
                }
                newest = newest.max(row.id.get());
                let (Some(account), Some(message)) =
                    (account_of(stage, &row.account.to_string()), row.message_id)
                else {
                    continue;
                };
                if let Some(first) = self.stored.insert((account, message.clone()), row.id) {
                    return Err(format!(
                        "once (G2): message {message} is stored as {first} and as {}",
                        row.id
                    ));
                }
            }
            match listed.next {
                Some(before) if !done => page.before = Some(before),
                _ => break,
            }
        }
        self.last_stored = newest;
        Ok(())
    }

    /// G1: what was acknowledged is in the store, at this very moment.
    fn acknowledged_is_stored(&mut self, stage: &Stage) -> Result<(), String> {
        let accounts: BTreeMap<_, _> =
            stage.world.apps.iter().enumerate().map(|(n, app)| (app.app_id.clone(), n)).collect();
        stage.world.simulator.read_ledger(|ledger| {
            let events = ledger.events();
            self.open_events.extend(self.events_seen..events.len());
            self.events_seen = events.len();
            let acked: Vec<usize> =
                self.open_events.iter().copied().filter(|&n| events[n].is_acked()).collect();
            for n in acked {
                self.open_events.remove(&n);
                let event = &events[n];
                if event.event_type != "im.message.receive_v1" {
                    continue;
                }
                let (Some(message), Some(&account)) = (&event.message_id, accounts.get(&event.app)) else {
                    continue;
                };
                if !self.stored.contains_key(&(account, message.clone())) {
                    return Err(format!(
                        "no loss (G1): {message} of account {account} was acknowledged and is not stored"
                    ));
                }
            }
            Ok(())
        })
    }

    /// Something of ours became visible.
    fn seen(&mut self, stage: &Stage, visible: &Visible) -> Result<(), String> {
        let number = self.visible_seen;
        let account = stage.world.apps.iter().position(|app| app.app_id == visible.app).unwrap_or(usize::MAX);
        let Some(key) = visible.uuid.clone() else {
            return Err(format!("keys (G4): a message without one is visible: {:?}", visible.text));
        };
        let shown = Shown {
            account,
            chat: &visible.chat,
            thread: visible.thread.as_deref(),
            reply_to: visible.reply_to.as_ref(),
            text: &visible.text,
        };
        self.shown(stage, number, key, &shown)
    }

    /// The same, on whatever channel it is.
    pub(super) fn shown(
        &mut self,
        stage: &Stage,
        number: usize,
        key: String,
        visible: &Shown<'_>,
    ) -> Result<(), String> {
        let account = visible.account;
        let copies = self.keys.entry((account, key.clone())).or_default();
        copies.push(number);
        if copies.len() > 1 {
            // Right only when the row is marked, which is looked at in the end.
            return Ok(());
        }
        let begun = match book::about(visible.text) {
            Some(About::Answer(number)) => Begun::Answer(number),
            Some(About::Send(number)) => Begun::Send(number),
            // A later part, or a notice; whose it is the store knows.
            None => return Ok(()),
        };
        if let Some(other) = self.begun.insert(begun, key.clone()) {
            return Err(format!("once (G4): {begun:?} is visible under two keys, {other} and {key}"));
        }
        match begun {
            Begun::Answer(number) => self.answered(stage, number, visible),
            Begun::Send(number) => {
                let Some(sent) = stage.book.sent.get(number) else {
                    return Err(format!("nobody asked for {:?}", visible.text));
                };
                if sent.account != account || sent.chat != *visible.chat {
                    return Err(format!("right place (F-049): {sent:?} is visible as {visible:?}"));
                }
                Ok(())
            }
        }
    }

    fn answered(&mut self, stage: &Stage, number: usize, visible: &Shown<'_>) -> Result<(), String> {
        let account = visible.account;
        let Some(said) = stage.book.said.get(number) else {
            return Err(format!("nobody asked for {:?}", visible.text));
        };
        if said.account != account || said.chat != *visible.chat || said.thread.as_deref() != visible.thread {
            return Err(format!("right place (F-049): {said:?} is answered as {visible:?}"));
        }
        if said.audience == Audience::Bystander {
            return Err(format!("G8: a message for others was answered: {said:?}"));
        }
        if visible.reply_to.is_some_and(|to| *to != said.message) {
            return Err(format!("right place (F-049): {said:?} is answered beside {visible:?}"));
        }
        let Some(&inbox) = self.stored.get(&(account, said.message.clone())) else {
            return Err(format!("message {number} is answered and not stored"));
        };
        let place = (account, visible.chat.to_string(), visible.thread.map(str::to_owned));
        if let Some((before, earlier)) = self.last.insert(place, (inbox, number))
            && before > inbox
        {
            return Err(format!(
                "order (G3): message {number} was received as {inbox}, before {earlier} as {before}, and is answered after it"
            ));
        }
        Ok(())
    }
}

/// What is not settled: messages that wait, and messages of ours that are not out.
pub(super) fn not_settled(stage: &Stage) -> Vec<String> {
    let counts = match now(moorline_store::Store::counts(&*stage.world.store)) {
        Ok(counts) => counts,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    for (id, c) in counts {
        let held: u64 = c.held.values().sum();
        if c.pending + held + c.outbox > 0 {
            wrong.push(format!("{id}: {} pending, {held} held, {} to be sent", c.pending, c.outbox));
        }
    }
    wrong
}

/// The conversations that have something to do, and the actors there are for conversations.
pub(super) fn unfinished(stage: &Stage) -> String {
    let mut text = String::new();
    let page = Page { before: None, limit: 500 };
    let sessions = now(stage.world.store.sessions(&SessionFilter::default(), page));
    for session in sessions.map(|listed| listed.rows).unwrap_or_default() {
        if session.pending > 0 || session.held > 0 || session.turn.is_some() {
            let _ = writeln!(text, "{session:?}");
        }
    }
    for node in stage.world.handle.tree() {
        if node.path.starts_with("runtime/conversations") {
            let _ = writeln!(text, "{node:?}");
        }
    }
    text
}

/// The number of an account: that of `feishu:a3` is 3, and those of the other channel come after all of these.
pub(super) fn account_of(stage: &Stage, id: &str) -> Option<usize> {
    match id.strip_prefix("weixin:w") {
        Some(n) => n.parse::<usize>().ok().map(|n| stage.schedule().accounts + n),
        None => id.strip_prefix("feishu:a")?.parse().ok(),
    }
}
