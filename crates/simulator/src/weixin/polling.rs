//! Receiving (§4): the queue of a bot, polls that are held, and what an answer does to both.

use serde_json::{Value, json};

use super::auth::stale;
use super::bot::BotId;
use super::calls::Endpoint;
use super::cursor;
use super::expiry::Session;
use super::fault::{Fault, Malformed};
use super::ledger::Breach;
use super::platform::{Platform, Timer, TimerKey};
use super::rules::Cursor;
use crate::link::{LinkId, Now};

/// A message to a bot.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Its place.
    pub(crate) seq: u64,
    /// Its number in the ledger.
    pub(crate) number: u64,
    /// As it is on the wire.
    pub(crate) wire: Value,
    /// Whether it has been handed out.
    consumed: bool,
    /// Whether it comes again with the next answer, whatever its cursor.
    again: bool,
}

/// A poll that waits for a message.
#[derive(Debug)]
pub(crate) struct HeldPoll {
    link: LinkId,
    /// The place of its cursor.
    after: u64,
    timer: TimerKey,
}

/// A message in an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handed {
    number: u64,
    /// Whether it can never come again by itself.
    last_chance: bool,
}

impl Queued {
    pub(crate) fn new(seq: u64, number: u64, wire: Value) -> Self {
        Self { seq, number, wire, consumed: false, again: false }
    }
}

impl Platform {
    /// `getupdates`.
    pub(crate) fn poll(&mut self, link: LinkId, bot: &BotId, body: &Value, now: Now) {
        self.count_polls(link, bot, now);
        let Some(text) = body["get_updates_buf"].as_str() else {
            self.breach(link, Breach::Field, now);
            return self.answer(link, super::calls::refusal(super::auth::INVALID, "invalid argument"), now);
        };
        let Some(state) = self.bots.get(bot) else { return };
        if let Session::Lapsed(expiry) = state.session {
            let answer = if expiry.silent { lapsed() } else { stale(expiry) };
            return self.answer(link, answer, now);
        }
        let place = cursor::decode(bot, text);
        if !text.is_empty() && place.is_none() {
            self.breach(link, Breach::ForeignCursor, now);
        }
        let after = place.unwrap_or_default();
        self.read_up_to(bot, after, now);
        if !self.answer_poll(link, bot, after, now) {
            let timer = Timer::EndPoll { bot: bot.clone(), link };
            let timer = self.set_timer(now.monotonic + self.rules.hold, timer);
            if let Some(state) = self.bots.get_mut(bot) {
                state.held.push(HeldPoll { link, after, timer });
            }
        }
    }

    /// How many polls of the bot the client has open.
    pub(crate) fn open_polls(&self, bot: &BotId) -> usize {
        let polls = self.open.values().filter(|call| call.endpoint == Endpoint::GetUpdates);
        polls.filter(|call| call.bot.as_ref() == Some(bot)).count()
    }

    fn count_polls(&mut self, link: LinkId, bot: &BotId, now: Now) {
        let open = self.open_polls(bot);
        if let Some(state) = self.bots.get_mut(bot) {
            state.counters.max_open_polls = state.counters.max_open_polls.max(open);
            state.counters.overlapping_polls += u64::from(open > 1);
        }
        if open > 1 {
            self.breach(link, Breach::Overlap, now);
        }
    }

    /// A poll with this cursor says that its client has read everything up to it.
    fn read_up_to(&mut self, bot: &BotId, after: u64, now: Now) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        for queued in state.queue.iter().take_while(|queued| queued.seq <= after) {
            if let Some(record) = self.ledger.record_mut(queued.number)
                && record.confirmed_at.is_none()
                && !record.handed_out.is_empty()
            {
                record.confirmed_at = Some(now.wall);
            }
        }
        // What was confirmed can only come again by a cursor that is older still.
        let limit = self.retain;
        while state.queue.len() > limit && state.queue.front().is_some_and(|queued| queued.consumed) {
            state.queue.pop_front();
        }
    }

    /// A message came: the poll that has waited longest takes it. A half-dead one takes it just as well.
    pub(crate) fn wake(&mut self, bot: &BotId, now: Now) {
        let Some(state) = self.bots.get(bot) else { return };
        if state.session != Session::Live {
            return;
        }
        if let Some(held) = state.held.first() {
            let (link, after) = (held.link, held.after);
            if self.answer_poll(link, bot, after, now) {
                self.forget_poll(bot, link);
            }
        }
    }

    /// Answers every held poll as the session now demands.
    pub(crate) fn answer_held(&mut self, bot: &BotId, now: Now) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        let Session::Lapsed(expiry) = state.session else { return };
        for held in std::mem::take(&mut state.held) {
            self.clear_timer(held.timer);
            self.answer(held.link, if expiry.silent { lapsed() } else { stale(expiry) }, now);
        }
    }

    /// The hold of a poll is over.
    pub(crate) fn end_poll(&mut self, bot: &BotId, link: LinkId, now: Now) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        let Some(index) = state.held.iter().position(|held| held.link == link) else { return };
        let after = state.held.remove(index).after;
        let answer = self.updates(Vec::new(), Some(cursor::encode(bot, after)));
        self.answer(link, answer, now);
    }

    /// The client of a held poll is gone.
    pub(crate) fn forget_poll(&mut self, bot: &BotId, link: LinkId) {
        let Some(state) = self.bots.get_mut(bot) else { return };
        if let Some(index) = state.held.iter().position(|held| held.link == link) {
            let timer = state.held.remove(index).timer;
            self.clear_timer(timer);
        }
    }

    /// Answers a poll with what there is for it; false when there is nothing.
    fn answer_poll(&mut self, link: LinkId, bot: &BotId, after: u64, now: Now) -> bool {
        let (rule, batch) = (self.rules.cursor, self.rules.batch);
        let Some(state) = self.bots.get_mut(bot) else { return false };
        let due = |queued: &&mut Queued| {
            queued.again
                || match rule {
                    Cursor::Consumed => !queued.consumed,
                    Cursor::Replay => queued.seq > after,
                }
        };
        let mut messages = Vec::new();
        let mut handed = Vec::new();
        let mut last = after;
        let mut take = |fault: Fault| state.faults.take(|set| (*set == fault).then_some(())).is_some();
        let mut queue = state.queue.iter_mut().filter(due).take(batch).peekable();
        if queue.peek().is_none() {
            return false;
        }
        let across = take(Fault::DuplicateAcross);
        for queued in queue {
            queued.consumed = true;
            queued.again = across;
            last = last.max(queued.seq);
            messages.push(queued.wire.clone());
            let last_chance = rule == Cursor::Consumed && !across;
            handed.push(Handed { number: queued.number, last_chance });
        }
        if take(Fault::DuplicateInAnswer) {
            messages = messages.into_iter().flat_map(|message| [message.clone(), message]).collect();
        }
        if take(Fault::Reversed) {
            messages.reverse();
        }
        let mut next = Some(cursor::encode(bot, last));
        if take(Fault::EmptyCursor) {
            next = Some(String::new());
        }
        if take(Fault::NoCursor) {
            next = None;
        }
        let malformed = state.faults.take(|fault| match fault {
            Fault::Malformed(malformed) => Some(*malformed),
            _ => None,
        });
        if let Some(malformed) = malformed {
            messages.insert(0, mangled(malformed, messages.first()));
        }
        for handed in &handed {
            if let Some(record) = self.ledger.record_mut(handed.number) {
                record.handed_out.push(now.wall);
            }
        }
        if let Some(call) = self.open.get_mut(&link) {
            call.handed = handed;
        }
        let answer = self.updates(messages, next);
        self.answer_effect(link, answer, now);
        true
    }

    /// An answer with its messages went out to its last byte.
    pub(crate) fn handed_over(&mut self, handed: &[Handed], now: Now) {
        for handed in handed {
            if let Some(record) = self.ledger.record_mut(handed.number) {
                record.delivered.push(now.wall);
                record.lost_by_platform = false;
            }
        }
    }

    /// An answer with its messages did not get out.
    pub(crate) fn lost(&mut self, handed: &[Handed]) {
        for handed in handed.iter().filter(|handed| handed.last_chance) {
            if let Some(record) = self.ledger.record_mut(handed.number) {
                record.lost_by_platform = record.delivered.is_empty();
            }
        }
    }

    fn updates(&self, messages: Vec<Value>, cursor: Option<String>) -> Value {
        let mut answer = json!({ "msgs": messages });
        if !self.rules.omit_ret {
            answer["ret"] = 0.into();
        }
        if let Some(cursor) = cursor {
            answer["get_updates_buf"] = cursor.into();
        }
        if self.rules.announce_hold {
            answer["longpolling_timeout_ms"] = moorline_core::millis(self.rules.hold).into();
        }
        answer
    }
}

/// The answer of a silent lapse (§4.5).
fn lapsed() -> Value {
    json!({ "ret": 0, "get_updates_buf": "" })
}

fn mangled(malformed: Malformed, like: Option<&Value>) -> Value {
    let mut message = like.cloned().unwrap_or_default();
    match malformed {
        Malformed::NotAnObject => return 42.into(),
        Malformed::Null => return Value::Null,
        Malformed::ItemsAreText => message["item_list"] = "none".into(),
        Malformed::NoSender => {
            drop(message.as_object_mut().and_then(|message| message.remove("from_user_id")))
        }
        Malformed::FractionalId => message["message_id"] = 0.5.into(),
    }
    if malformed != Malformed::FractionalId {
        message["message_id"] = 1.into();
    }
    message
}
