//! What is counted and timed where it happens, because no snapshot could tell it afterwards. Everything else that
//! `/metrics` shows is read from the snapshots that the status shows too (F-101).
//!
//! Bounded: what an account counts is forgotten with the account, what an agent counts with the agent (F-097).

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{AccountId, Distribution, FailureClass, Histogram};
use parking_lot::Mutex;

/// The classes of an acknowledgement's time, in microseconds. The store is waited for two seconds at most.
const ACKNOWLEDGEMENT_TIMES: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 2_500_000,
];

/// The same of one attempt to send, token included.
const SEND_TIMES: &[u64] = &[
    10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    15_000_000, 30_000_000,
];

/// The same of a turn, from its claim to the answer: a turn may take ten minutes.
const TURN_TIMES: &[u64] = &[
    10_000,
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

/// The outcome of an attempt to send that was taken; the others are named by the class of their failure.
const SENT: &str = "sent";

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    /// With an answer.
    Answered,
    /// The agent had nothing to say.
    Silent,
    /// The agent gave no answer, and the user was told.
    Failed,
}

/// The counters of one runtime.
#[derive(Debug)]
pub(crate) struct Measures {
    acknowledgements: Histogram,
    sends: BTreeMap<&'static str, Histogram>,
    agents: Mutex<BTreeMap<String, Agent>>,
    accounts: Mutex<BTreeMap<AccountId, AccountMeasures>>,
}

#[derive(Debug)]
struct Agent {
    took: Histogram,
    ends: BTreeMap<&'static str, u64>,
}

/// All of it at one moment. Times are in microseconds, and count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measurements {
    /// From the receipt of a delivery to the verdict that is handed back for the platform.
    pub acknowledgements: Distribution,
    /// Attempts to send, by outcome: `sent`, or the class of the failure.
    pub sends: BTreeMap<&'static str, Distribution>,
    /// Turns, by agent.
    pub agents: BTreeMap<String, AgentMeasures>,
    /// Configured accounts.
    pub accounts: BTreeMap<AccountId, AccountMeasures>,
}

/// What one agent's turns came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentMeasures {
    /// How long they took.
    pub took: Distribution,
    /// How many ended `answered`, `silent` and `failed`.
    pub ends: BTreeMap<&'static str, u64>,
}

/// What happened to one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountMeasures {
    /// Attempts to send, by outcome.
    pub sends: BTreeMap<&'static str, u64>,
    /// Connections that ended or were refused, by the class of the failure.
    pub failures: BTreeMap<&'static str, u64>,
    /// How often it became ready again after that.
    pub reconnects: u64,
    /// Deliveries that were refused in the protocol's own way, because the store did not take them in time.
    pub refused: u64,
    /// Interrupted turns that were taken up again.
    pub resumed: u64,
}

impl Default for Measures {
    fn default() -> Self {
        let outcomes = FailureClass::ALL.iter().map(|class| class.as_str()).chain([SENT]);
        Self {
            acknowledgements: Histogram::new(ACKNOWLEDGEMENT_TIMES),
            sends: outcomes.map(|outcome| (outcome, Histogram::new(SEND_TIMES))).collect(),
            agents: Mutex::default(),
            accounts: Mutex::default(),
        }
    }
}

impl Measures {
    /// A delivery was stored, or refused, and the platform is told so.
    pub(crate) fn acknowledged(&self, account: &AccountId, stored: bool, took: Duration) {
        self.acknowledgements.observe_span(took);
        if !stored {
            self.refused(account);
        }
    }

    /// A delivery was refused without asking the store.
    pub(crate) fn refused(&self, account: &AccountId) {
        self.of(account, |account| account.refused += 1);
    }

    /// An attempt to send was answered, or failed.
    pub(crate) fn attempted(&self, account: &AccountId, failure: Option<FailureClass>, took: Duration) {
        let outcome = failure.map_or(SENT, FailureClass::as_str);
        if let Some(sends) = self.sends.get(outcome) {
            sends.observe_span(took);
        }
        self.of(account, |account| *account.sends.entry(outcome).or_default() += 1);
    }

    /// A connection ended, or was refused.
    pub(crate) fn failed(&self, account: &AccountId, class: FailureClass) {
        self.of(account, |account| *account.failures.entry(class.as_str()).or_default() += 1);
    }

    /// An account that was down is ready again.
    pub(crate) fn reconnected(&self, account: &AccountId) {
        self.of(account, |account| account.reconnects += 1);
    }

    /// An interrupted turn was taken up.
    pub(crate) fn resumed(&self, account: &AccountId) {
        self.of(account, |account| account.resumed += 1);
    }

    /// A turn ended.
    pub(crate) fn turn(&self, agent: &str, end: TurnEnd, took: Duration) {
        if let Some(agent) = self.agents.lock().get_mut(agent) {
            agent.took.observe_span(took);
            *agent.ends.entry(end.as_str()).or_default() += 1;
        }
    }

    /// Begins to count for an account. What happens to one that is not known, or not any more, is not counted.
    pub(crate) fn add(&self, account: &AccountId) {
        self.accounts.lock().entry(account.clone()).or_default();
    }

    /// Forgets an account.
    pub(crate) fn forget(&self, account: &AccountId) {
        self.accounts.lock().remove(account);
    }

    /// Counts for these agents, and forgets all others.
    pub(crate) fn set_agents<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let mut before = std::mem::take(&mut *self.agents.lock());
        let new = || Agent { took: Histogram::new(TURN_TIMES), ends: BTreeMap::new() };
        let agents = names.map(|name| (name.clone(), before.remove(name).unwrap_or_else(new)));
        let agents: BTreeMap<String, Agent> = agents.collect();
        *self.agents.lock() = agents;
    }

    /// All of it, now.
    pub(crate) fn now(&self) -> Measurements {
        let agents = self.agents.lock();
        let agents = agents.iter().map(|(name, agent)| {
            (name.clone(), AgentMeasures { took: agent.took.distribution(), ends: agent.ends.clone() })
        });
        Measurements {
            acknowledgements: self.acknowledgements.distribution(),
            sends: self.sends.iter().map(|(outcome, sends)| (*outcome, sends.distribution())).collect(),
            agents: agents.collect(),
            accounts: self.accounts.lock().clone(),
        }
    }

    fn of(&self, account: &AccountId, change: impl FnOnce(&mut AccountMeasures)) {
        if let Some(account) = self.accounts.lock().get_mut(account) {
            change(account);
        }
    }
}

impl TurnEnd {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_thing_is_counted_where_it_belongs() {
        let (measures, account) = (Measures::default(), "feishu:main".parse().unwrap());
        measures.add(&account);
        measures.set_agents(["default".to_owned()].iter());
        measures.acknowledged(&account, true, SECOND);
        measures.acknowledged(&account, false, SECOND);
        measures.refused(&account);
        measures.attempted(&account, None, SECOND);
        measures.attempted(&account, Some(FailureClass::Throttled), SECOND);
        measures.failed(&account, FailureClass::Transient);
        measures.reconnected(&account);
        measures.resumed(&account);
        measures.turn("default", TurnEnd::Answered, SECOND);
        let now = measures.now();
        assert_eq!(now.acknowledgements.count(), 2);
        assert_eq!((now.sends[SENT].count(), now.sends["throttled"].count()), (1, 1));
        assert_eq!(now.agents["default"].took.sum, 1_000_000);
        assert_eq!(now.agents["default"].ends, BTreeMap::from([("answered", 1)]));
        let account = AccountMeasures {
            sends: BTreeMap::from([(SENT, 1), ("throttled", 1)]),
            failures: BTreeMap::from([("transient", 1)]),
            reconnects: 1,
            refused: 2,
            resumed: 1,
        };
        assert_eq!(now.accounts.into_values().collect::<Vec<_>>(), [account]);
    }

    #[test]
    fn what_is_gone_is_forgotten_f097() {
        let (measures, account) = (Measures::default(), "feishu:main".parse().unwrap());
        measures.add(&account);
        let names = ["old", "kept"].map(str::to_owned);
        measures.set_agents(names.iter());
        measures.turn("kept", TurnEnd::Silent, SECOND);
        measures.forget(&account);
        measures.set_agents(names[1..].iter());
        // News that come late change nothing.
        measures.reconnected(&account);
        measures.turn("old", TurnEnd::Silent, SECOND);
        assert!(measures.now().accounts.is_empty());
        let agents = measures.now().agents;
        assert_eq!((agents.len(), agents["kept"].took.count()), (1, 1));
    }
}
