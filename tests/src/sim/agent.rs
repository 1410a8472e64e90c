//! An agent that answers with what it was told, and sometimes does not: it takes its time, hangs, fails, stays
//! silent or crashes. It notes who asks what and when, which is how a second agent on a conversation is found out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use moorline_agent::{Agent, AgentError, Reply, Turn};
use moorline_core::ConversationId;

use super::book;

/// How often an agent misbehaves, in one turn of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// Takes seconds.
    pub slow: u32,
    /// Never answers.
    pub hang: u32,
    /// Cannot be reached.
    pub unavailable: u32,
    /// Will not answer.
    pub refuse: u32,
    /// Has nothing to say.
    pub silent: u32,
    /// Panics.
    pub crash: u32,
}

/// The kinds of misbehaviour, as they are counted.
pub const KINDS: [&str; 6] = [
    "agent: slow",
    "agent: hangs",
    "agent: unavailable",
    "agent: refuses",
    "agent: silent",
    "agent: crashes",
];

/// What an attempt at a message came to, beside its right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// It was silent.
    Silent,
    /// The user was, or may have been, told that there is no answer.
    Failed,
}

/// Which conversation: the account, and the conversation within it.
type Key = (usize, ConversationId);

/// One agent for all conversations of a run; clones share what it notes.
#[derive(Clone)]
pub struct Unsteady(Rc<Notes>);

struct Notes {
    rng: RefCell<Rng>,
    odds: Cell<Odds>,
    /// Which account a message belongs to.
    account_of: RefCell<BTreeMap<usize, usize>>,
    running: RefCell<BTreeMap<Key, u32>>,
    excuses: RefCell<BTreeMap<usize, BTreeSet<Excuse>>>,
    interrupted: RefCell<Vec<usize>>,
    asked: Cell<u64>,
    struck: RefCell<BTreeMap<&'static str, u64>>,
    wrong: RefCell<Vec<String>>,
}

/// A turn that runs, until it ends in whatever way.
struct Running(Rc<Notes>, Key);

impl Unsteady {
    /// An agent with these odds.
    #[must_use]
    pub fn new(seed: u64, odds: Odds) -> Self {
        Self(Rc::new(Notes {
            rng: RefCell::new(Rng::with_seed(seed)),
            odds: Cell::new(odds),
            account_of: RefCell::default(),
            running: RefCell::default(),
            excuses: RefCell::default(),
            interrupted: RefCell::default(),
            asked: Cell::new(0),
            struck: RefCell::default(),
            wrong: RefCell::default(),
        }))
    }

    /// Says to which account a message belongs.
    pub fn expect(&self, number: usize, account: usize) {
        self.0.account_of.borrow_mut().insert(number, account);
    }

    /// From now on every answer is right and comes at once.
    pub fn calm(&self) {
        self.0.odds.set(Odds::default());
    }

    /// The accounts of turns that were taken up again since the last call.
    #[must_use]
    pub fn taken_up(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.interrupted.borrow_mut())
    }

    /// What no agent should have seen, since the last call.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.wrong.borrow_mut())
    }

    /// Why a message may have no answer.
    #[must_use]
    pub fn excuses(&self, number: usize) -> BTreeSet<Excuse> {
        self.0.excuses.borrow().get(&number).cloned().unwrap_or_default()
    }

    /// How often each kind of misbehaviour happened.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.0.struck.borrow().clone()
    }

    /// How many turns there were.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.0.asked.get()
    }
}

impl Agent for Unsteady {
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        let notes = Rc::clone(&self.0);
        async move {
            notes.asked.set(notes.asked.get() + 1);
            let text = turn.text();
            let Some(number) = book::number_of(&text) else {
                notes.wrong.borrow_mut().push(format!("asked to answer what nobody wrote: {text:?}"));
                return Ok(Reply::Silent);
            };
            let account = notes.account_of.borrow().get(&number).copied().unwrap_or(usize::MAX);
            let _running = notes.enter((account, turn.conversation.clone()), number);
            if turn.attempt > 1 {
                notes.interrupted.borrow_mut().push(account);
            }
            let kind = notes.draw();
            let (blink, thought) = notes.with_rng(|rng| {
                (Duration::from_millis(rng.u64(0..400)), Duration::from_millis(rng.u64(1_000..9_000)))
            });
            match kind {
                Some("agent: slow") => tokio::time::sleep(thought).await,
                Some("agent: hangs") => {
                    notes.excuse(number, Excuse::Failed);
                    std::future::pending::<()>().await;
                }
                Some("agent: unavailable") => {
                    // It may go on until the turn's time is over.
                    notes.excuse(number, Excuse::Failed);
                    return Err(AgentError::Unavailable { reason: "drill".to_owned(), retry_after: None });
                }
                Some("agent: refuses") => {
                    tokio::time::sleep(blink).await;
                    notes.excuse(number, Excuse::Failed);
                    return Err(AgentError::Refused { reason: "drill".to_owned() });
                }
                Some("agent: silent") => {
                    tokio::time::sleep(blink).await;
                    notes.excuse(number, Excuse::Silent);
                    return Ok(Reply::Silent);
                }
                Some("agent: crashes") => {
                    tokio::time::sleep(blink).await;
                    notes.excuse(number, Excuse::Failed);
                    std::panic::panic_any("drill: the agent panics");
                }
                _ => tokio::time::sleep(blink).await,
            }
            Ok(Reply::Text(book::answer(&text).unwrap_or_default()))
        }
        .boxed_local()
    }
}

impl Notes {
    fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// How this attempt misbehaves, if it does.
    fn draw(&self) -> Option<&'static str> {
        let Odds { slow, hang, unavailable, refuse, silent, crash } = self.odds.get();
        let mut at = self.with_rng(|rng| rng.u32(0..1_000));
        for (kind, odds) in KINDS.into_iter().zip([slow, hang, unavailable, refuse, silent, crash]) {
            if at < odds {
                *self.struck.borrow_mut().entry(kind).or_default() += 1;
                return Some(kind);
            }
            at -= odds;
        }
        None
    }

    fn excuse(&self, number: usize, excuse: Excuse) {
        self.excuses.borrow_mut().entry(number).or_default().insert(excuse);
    }

    fn enter(self: &Rc<Self>, key: Key, number: usize) -> Running {
        let mut running = self.running.borrow_mut();
        let count = running.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let wrong =
                format!("{count} agents at once on {} of account {}, one for message {number}", key.1, key.0);
            self.wrong.borrow_mut().push(wrong);
        }
        drop(running);
        Running(Rc::clone(self), key)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.0.running.borrow_mut().get_mut(&self.1) {
            *count -= 1;
        }
    }
}
