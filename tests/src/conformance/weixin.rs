//! WeChat on the conformance stage (`protocols/weixin.md`, docs/weixin.md), twice: a message that was handed out is
//! consumed, or it comes again with an old cursor. Nobody knows which of the two the live service does.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use moorline_channel::{Factory, Network, SavedLogin};
use moorline_core::{ChatId, FailureClass, Secret, UserId};
use moorline_simulator::memory;
use moorline_simulator::server::{Options, Server};
use moorline_simulator::weixin::{
    Answer, Bot, BotId, CallOutcome, Cursor, Endpoint, Expiry, Fault, Malformed, NewBot, NewMessage, Reach,
    Simulator, Times,
};
use moorline_weixin::Weixin;
use serde_json::json;

use super::stage::{Fate, Harm, MessageRef, NotApplicable, Opening, Pace, Phase, Silence, Stage};

/// Longer than any answer the channel takes (`ANSWER_BYTES` there is 32 MiB).
const OVERSIZED: usize = 33 << 20;

/// "Stale token".
const STALE: i64 = -14;

/// What an answer may have in the place of a message. A message whose id alone is odd is none of it: it can be read, and
/// is known by its other ids.
const NONSENSE: [Malformed; 4] =
    [Malformed::NotAnObject, Malformed::ItemsAreText, Malformed::NoSender, Malformed::Null];

/// The platform, with a bot for each account.
pub struct WeixinStage {
    simulator: Simulator,
    bots: Vec<Bot>,
    cursor: Cursor,
    pace: Pace,
    server: Option<Server>,
    /// What was done that the simulator does not count as a fault.
    done: Cell<u64>,
}

/// A fresh platform on which what was handed out never comes again.
#[must_use]
pub fn consuming(opening: &Opening) -> Box<dyn Stage> {
    Box::new(WeixinStage::new(opening, Cursor::Consumed))
}

/// A fresh platform on which everything after the cursor comes again.
#[must_use]
pub fn replaying(opening: &Opening) -> Box<dyn Stage> {
    Box::new(WeixinStage::new(opening, Cursor::Replay))
}

impl WeixinStage {
    fn new(opening: &Opening, cursor: Cursor) -> Self {
        let simulator = Simulator::new(opening.seed);
        simulator.set_cursor_behaviour(cursor);
        if opening.pace == Pace::Quick {
            simulator.set_rules(|rules| rules.hold = Duration::from_millis(500));
        }
        let bot = |n| {
            let bot = NewBot::of(&UserId::new(format!("owner{n}@im.wechat")));
            simulator.add_bot(bot.with_credentials(format!("{n:012x}@im.bot"), format!("token-of-a{n}")))
        };
        let bots = (0..opening.accounts).map(bot).collect();
        Self { simulator, bots, cursor, pace: opening.pace, server: None, done: Cell::new(0) }
    }

    fn bot(&self, n: usize) -> &BotId {
        &self.bots[n].bot_id
    }

    fn fault(&self, n: usize, fault: Fault) {
        self.simulator.set_fault(self.bot(n), fault, Times::UntilCleared).unwrap();
    }

    fn answer(&self, n: usize, endpoint: Endpoint, answer: Answer) {
        self.fault(n, Fault::Answer(endpoint, answer));
    }

    fn once(&self, n: usize, fault: Fault) {
        self.simulator.set_fault(self.bot(n), fault, Times::Count(1)).unwrap();
    }

    fn expire(&self, n: usize, expiry: Expiry) {
        self.simulator.expire(self.bot(n), expiry).unwrap();
    }

    /// Ends the run of polls there is, with the next one.
    fn cut(&self, n: usize) {
        self.once(n, Fault::Answer(Endpoint::GetUpdates, Answer::Fin));
    }

    fn refuse(&self, n: usize, class: FailureClass) -> Result<(), NotApplicable> {
        let answer = match class {
            FailureClass::Transient => Answer::Status(503),
            FailureClass::Throttled => Answer::code(-12),
            FailureClass::Protocol => Answer::Garbage,
            FailureClass::SessionExpired => {
                self.expire(n, Expiry::revoked());
                return Ok(());
            }
            FailureClass::NeedsLogin => {
                self.takes_minutes()?;
                self.expire(n, Expiry::revoked());
                return Ok(());
            }
            FailureClass::Conflict => return NotApplicable::because("another login makes another bot"),
            FailureClass::Credentials | FailureClass::Permission => {
                return NotApplicable::because("has no code for it");
            }
            FailureClass::Rejected | FailureClass::AwaitsUser => {
                return NotApplicable::because("is about messages, not connections");
            }
        };
        self.answer(n, Endpoint::GetUpdates, answer);
        Ok(())
    }

    fn refuse_sends(&self, n: usize, class: FailureClass) -> Result<(), NotApplicable> {
        let answer = match class {
            FailureClass::Transient => Answer::Status(502),
            FailureClass::Throttled => Answer::ret(-2, "rate limited"),
            FailureClass::SessionExpired => Answer::code(STALE),
            FailureClass::Protocol => Answer::Garbage,
            FailureClass::Rejected => Answer::ret(-3, "bad item"),
            FailureClass::AwaitsUser => Answer::ret(-2, "prepare failed"),
            FailureClass::Conflict => return NotApplicable::because("any number of senders"),
            FailureClass::Credentials | FailureClass::Permission | FailureClass::NeedsLogin => {
                return NotApplicable::because("has no code for it");
            }
        };
        self.answer(n, Endpoint::SendMessage, answer);
        Ok(())
    }

    fn hang(&self, n: usize, phase: Phase) -> Result<(), NotApplicable> {
        match phase {
            Phase::Prelude => {
                self.answer(n, Endpoint::NotifyStart, Answer::Hang);
                self.cut(n);
            }
            // A poll that is held after a good greeting is a good one, so both are silent.
            Phase::SignOfLife => {
                self.cut(n);
                self.answer(n, Endpoint::NotifyStart, Answer::Hang);
                self.answer(n, Endpoint::GetUpdates, Answer::Hang);
            }
            Phase::Send => self.answer(n, Endpoint::SendMessage, Answer::Hang),
            Phase::Opening => return NotApplicable::because("a poll is opening and sign of life in one"),
            Phase::Credentials => return NotApplicable::because("a login's token is not renewed"),
            Phase::Identity => return NotApplicable::because("comes with the login"),
        }
        Ok(())
    }

    /// What takes minutes, whatever the configuration, is tried where time is virtual.
    fn takes_minutes(&self) -> Result<(), NotApplicable> {
        match self.pace {
            Pace::Documented => Ok(()),
            Pace::Quick => NotApplicable::because("known after 2 min, too long for real time"),
        }
    }

    /// Answers with "stale token" are no faults that the simulator counts.
    fn stale_answers(&self, n: usize) -> usize {
        self.simulator.read_ledger(|ledger| {
            let polls = ledger.calls_of(self.bot(n), Endpoint::GetUpdates);
            polls.filter(|call| call.outcome == CallOutcome::Answered(STALE)).count()
        })
    }
}

impl Stage for WeixinStage {
    fn factory(&self) -> &'static dyn Factory {
        &Weixin
    }

    fn configuration(&self, base: &str) -> String {
        let mut text = format!("[channels.weixin]\nbase_url = \"{base}\"\ncdn_base_url = \"{base}/c2c\"\n");
        if self.pace == Pace::Quick {
            text +=
                "liveness = \"2s\"\nretry = { initial = \"50ms\", max = \"400ms\", reset_after = \"60s\" }\n";
        }
        for n in 0..self.bots.len() {
            let _ = writeln!(text, "[channels.weixin.accounts.a{n}]");
        }
        text
    }

    fn login(&self, n: usize, base: &str) -> Option<SavedLogin> {
        let Bot { bot_id, token, user_id, .. } = &self.bots[n];
        let login = json!({ "token": token, "base_url": base, "bot_id": bot_id, "user_id": user_id });
        Some(SavedLogin(Secret::new(login.to_string())))
    }

    fn network(&self) -> Network {
        memory::network(&self.simulator)
    }

    fn serve(&mut self) -> SocketAddr {
        let server = Server::start(&self.simulator, Options::default()).unwrap();
        self.server.insert(server).address()
    }

    fn address(&self, _: usize, user: &str) -> ChatId {
        ChatId::new(person(user).as_str())
    }

    fn user_writes(&self, n: usize, user: &str, text: &str) -> MessageRef {
        let pushed = self.simulator.push(self.bot(n), NewMessage::text(person(user).as_str(), text)).unwrap();
        MessageRef(pushed.message_id.to_string())
    }

    fn fate(&self, message: &MessageRef) -> Fate {
        let id = message.0.parse().unwrap();
        self.simulator.read_ledger(|ledger| {
            let record = ledger.message(id).unwrap();
            match (self.cursor, record.handed_out.is_empty(), record.confirmed_at) {
                (_, true, _) => Fate::Waiting,
                // Whether we have it the platform cannot know: a later cursor says nothing of it.
                (Cursor::Consumed, false, _) => Fate::Gone,
                (Cursor::Replay, false, None) => Fate::HandedOut,
                (Cursor::Replay, false, Some(_)) => Fate::Acknowledged,
            }
        })
    }

    fn visible(&self, n: usize, user: &str) -> Vec<String> {
        let user = person(user);
        self.simulator.read_ledger(|ledger| {
            let visible = ledger.visible_to(&user).filter(|message| message.bot == *self.bot(n));
            visible.map(|message| message.text.clone()).collect()
        })
    }

    fn most_connections(&self, n: usize) -> usize {
        self.simulator.counters(self.bot(n)).unwrap().max_open_polls
    }

    fn violations(&self) -> Vec<String> {
        self.simulator
            .read_ledger(|ledger| ledger.violations().map(|violation| format!("{violation:?}")).collect())
    }

    fn harm(&self, n: usize, harm: Harm) -> Result<(), NotApplicable> {
        match harm {
            Harm::Refuse(class) => return self.refuse(n, class),
            Harm::RefuseSends(class) => return self.refuse_sends(n, class),
            Harm::Hang(phase) => return self.hang(n, phase),
            Harm::HalfOpen => self.answer(n, Endpoint::GetUpdates, Answer::Hang),
            Harm::Cut(way) => {
                let ways = [Answer::Fin, Answer::Reset, Answer::Status(502), Answer::CutBody];
                self.once(n, Fault::Answer(Endpoint::GetUpdates, ways[way % ways.len()].clone()));
            }
            Harm::Flap => self.answer(n, Endpoint::GetUpdates, Answer::Reset),
            Harm::Duplicate => {
                self.fault(n, Fault::DuplicateInAnswer);
                self.fault(n, Fault::DuplicateAcross);
            }
            Harm::Reorder => self.fault(n, Fault::Reversed),
            Harm::Malformed => {
                for nonsense in NONSENSE {
                    self.once(n, Fault::Malformed(nonsense));
                }
            }
            Harm::Oversized => {
                self.once(n, Fault::Answer(Endpoint::GetUpdates, Answer::Oversized(OVERSIZED)))
            }
            Harm::SessionExpired => self.expire(n, Expiry::until_notifystart()),
            Harm::Revoked => {
                self.takes_minutes()?;
                self.expire(n, Expiry::revoked().refusing_sends());
            }
            Harm::LoseAnswers(silence) => {
                let answer = match silence {
                    Silence::Refused => Answer::Reset,
                    Silence::Silent => Answer::Hang,
                };
                self.fault(n, Fault::LoseAnswer(Endpoint::SendMessage, answer));
            }
            Harm::Unreachable(silence) => {
                self.simulator.set_reach(match silence {
                    Silence::Refused => Reach::Refused,
                    Silence::Silent => Reach::Hangs,
                });
                self.done.set(self.done.get() + 1);
            }
            Harm::Forget if self.cursor == Cursor::Replay => {
                return NotApplicable::because("what was not taken comes again");
            }
            Harm::Forget => self.fault(n, Fault::LoseAnswer(Endpoint::GetUpdates, Answer::Reset)),
        }
        Ok(())
    }

    fn heal(&self, n: usize) {
        self.simulator.set_reach(Reach::Open);
        self.simulator.clear_faults(self.bot(n)).unwrap();
        self.simulator.heal(self.bot(n)).unwrap();
    }

    fn blows(&self, n: usize) -> u64 {
        let struck = self.simulator.struck(self.bot(n)).unwrap();
        let struck = struck.iter().map(|(_, times)| times).sum::<u64>();
        self.done.get() + struck + self.stale_answers(n) as u64
    }
}

fn person(user: &str) -> UserId {
    UserId::new(format!("{user}@im.wechat"))
}
