//! Where a channel is tried, one view of two mounts: the whole runtime in memory under virtual time, and the real
//! binary over real sockets. What is seen of either is what an operator would see, as JSON.

mod memory;
mod sockets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::Plan;
use moorline_config::{AGENT_KINDS, Config, Source, load};
use moorline_core::{AccountId, ChatId, Timestamp};
use serde_json::Value;

use super::stage::{Pace, Stage};
use memory::InMemory;
use sockets::OnSockets;

/// Where the platform is in memory: under every name.
const PLATFORM: &str = "http://platform.test";

/// How a channel is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mount {
    /// The runtime on one thread, and the platform beside it, in virtual time.
    Memory,
    /// The binary, and the platform behind a socket on loopback, in real time.
    Sockets,
}

/// What a scenario may ask for before anything starts.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// How many accounts; what is done to the first one must not touch the others.
    pub accounts: usize,
    /// How long the echo agent takes, as it is written in a configuration.
    pub agent_delay: &'static str,
}

/// Where the next commit stops, so that the process can be killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// What arrives is not stored.
    BeforeTheCommit,
    /// What arrives is stored, and nobody learns of it.
    AfterTheCommit,
}

/// A runtime in one of the mounts.
pub enum House {
    /// See [`Mount::Memory`].
    Memory(Box<InMemory>),
    /// See [`Mount::Sockets`].
    Sockets(Box<OnSockets>),
}

impl Mount {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Sockets];

    /// Its name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sockets => "sockets",
        }
    }

    /// How fast a platform has to be for it.
    #[must_use]
    pub const fn pace(self) -> Pace {
        match self {
            Self::Memory => Pace::Documented,
            Self::Sockets => Pace::Quick,
        }
    }

    /// The longest that anything is waited for whose limit is `limit`. Real time passes at the speed of the machine,
    /// and everything is configured to be quick: there it is only a limit for what never comes.
    #[must_use]
    pub fn patience(self, limit: Duration) -> Duration {
        match self {
            Self::Memory => limit,
            Self::Sockets => Duration::from_secs(60),
        }
    }
}

impl House {
    /// Builds it around a stage and starts it.
    pub async fn open(mount: Mount, stage: &mut dyn Stage, wish: &Wish) -> Self {
        match mount {
            Mount::Memory => Self::Memory(Box::new(InMemory::open(stage, wish).await)),
            Mount::Sockets => Self::Sockets(Box::new(OnSockets::open(stage, wish))),
        }
    }

    /// Which of the two it is.
    #[must_use]
    pub const fn mount(&self) -> Mount {
        match self {
            Self::Memory(_) => Mount::Memory,
            Self::Sockets(_) => Mount::Sockets,
        }
    }

    /// An account as `GET /v1/accounts/{id}` shows it; null while there is no answer.
    pub async fn account(&self, id: &AccountId) -> Value {
        match self {
            Self::Memory(house) => house.account(id).await,
            Self::Sockets(house) => house.get(&format!("/v1/accounts/{id}")),
        }
    }

    /// Turns that an agent is working on.
    #[must_use]
    pub fn turns(&self) -> u64 {
        match self {
            Self::Memory(house) => house.turns(),
            Self::Sockets(house) => house.get("/v1/status")["turns"]["running"].as_u64().unwrap_or(0),
        }
    }

    /// An account's messages of ours, newest first, as `GET /v1/outbox` shows them.
    pub async fn outbox(&self, id: &AccountId) -> Vec<Value> {
        match self {
            Self::Memory(house) => house.outbox(id).await,
            Self::Sockets(house) => house.list(&format!("/v1/outbox?account={id}&limit=500")),
        }
    }

    /// An account's received messages, newest first, as `GET /v1/inbox` shows them.
    pub async fn inbox(&self, id: &AccountId) -> Vec<Value> {
        match self {
            Self::Memory(house) => house.inbox(id).await,
            Self::Sockets(house) => house.list(&format!("/v1/inbox?account={id}&limit=500")),
        }
    }

    /// An account's gaps, as `GET /v1/gaps` shows them.
    pub async fn gaps(&self, id: &AccountId) -> Vec<Value> {
        match self {
            Self::Memory(house) => house.gaps(id).await,
            Self::Sockets(house) => house.gaps(id),
        }
    }

    /// Now, by the clock that the rows are dated by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Memory(house) => house.now(),
            Self::Sockets(_) => Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()),
        }
    }

    /// An operator writes to a user; the key makes asking again harmless.
    pub async fn send(&self, id: &AccountId, to: &ChatId, text: &str, key: &str) {
        match self {
            Self::Memory(house) => house.send(id, to, text, key).await,
            Self::Sockets(house) => house.send(id, to, text, key),
        }
    }

    /// An operator asks for the next attempt of everything that waits, of an account and of its messages.
    pub async fn hurry(&self, id: &AccountId) {
        match self {
            Self::Memory(house) => house.hurry(id).await,
            Self::Sockets(house) => house.hurry(id),
        }
    }

    /// From now on commits stop there.
    pub fn hold(&mut self, hold: Hold) {
        match self {
            Self::Memory(house) => house.hold(hold),
            Self::Sockets(house) => house.hold(hold),
        }
    }

    /// Whether a commit has stopped there.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self {
            Self::Memory(house) => house.is_held(),
            Self::Sockets(house) => house.is_held(),
        }
    }

    /// Ends the process at once: nothing is said, nothing is finished. What is stored remains.
    pub async fn kill(&mut self) {
        match self {
            Self::Memory(house) => house.kill().await,
            Self::Sockets(house) => house.kill(),
        }
    }

    /// Starts the next process on what the last one left.
    pub async fn start(&mut self) {
        match self {
            Self::Memory(house) => house.start().await,
            Self::Sockets(house) => house.start(),
        }
    }

    /// What is wrong with the counters: they are the sum of the rows (design §2). Only the mount in memory can count
    /// rows; the other one compares counters with each other.
    pub async fn miscounted(&self, ids: &[AccountId]) -> Option<String> {
        for id in ids {
            let account = self.account(id).await;
            let counts = &account["counts"];
            let number = |key: &str| counts[key].as_u64().unwrap_or(u64::MAX);
            let sum = |key: &str| -> u64 {
                counts[key].as_object().map_or(u64::MAX, |map| map.values().filter_map(Value::as_u64).sum())
            };
            let outcomes = [number("answered"), number("pending"), sum("dropped"), sum("held")];
            if number("received") != outcomes.into_iter().fold(0, u64::saturating_add) {
                return Some(format!("{id}: received is not the sum of the outcomes: {counts}"));
            }
        }
        match self {
            Self::Memory(house) => house.miscounted().await,
            Self::Sockets(_) => None,
        }
    }

    /// Everything there is to see, for a scenario that failed.
    pub async fn describe(&self, ids: &[AccountId]) -> String {
        let mut text = String::new();
        for id in ids {
            let (account, outbox) = (self.account(id).await, self.outbox(id).await);
            let gaps = self.gaps(id).await;
            text += &format!("{account:#}\noutbox of {id}: {}\n", Value::Array(outbox));
            text += &format!("gaps of {id}: {}\n", Value::Array(gaps));
        }
        if let Self::Sockets(house) = self {
            text += &house.log_tail();
        }
        text
    }
}

/// A whole configuration for a stage: `base` is where its platform is.
fn configuration(stage: &dyn Stage, wish: &Wish, data: &str, base: &str) -> String {
    format!(
        "data_dir = \"{data}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [agents.default]\nkind = \"echo\"\ndelay = \"{}\"\n{}",
        wish.agent_delay,
        stage.configuration(base)
    )
}

/// The configuration as the binary would read it.
fn loaded(stage: &dyn Stage, text: String) -> Config {
    let source = Source { path: "stage.toml".into(), text };
    let schemas = [stage.factory().schema()];
    load(&source, &BTreeMap::new(), &schemas, AGENT_KINDS).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The plan of the first account.
pub(super) fn first_plan(stage: &dyn Stage, wish: &Wish) -> Arc<dyn Plan> {
    let config = loaded(stage, configuration(stage, wish, "unused", PLATFORM));
    stage.plan(&config.accounts[0])
}

/// Where a platform on sockets is.
fn base(address: SocketAddr) -> String {
    format!("http://{address}")
}
