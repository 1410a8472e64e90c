//! The board: what every account last said about itself, for whoever wants to look.
//!
//! Actors write their own part when something happens to them; readers get copies. Nobody who looks ever waits in
//! an actor's mailbox, so the status is there also while the runtime is busy (F-081). Nothing here is derived from
//! configuration or from a task's existence (G14).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use moorline_config::Access;
use moorline_core::{
    AccountId, AccountState, BlockReason, Cause, ChatId, Evidence, Failure, FailureClass, Generation,
    Identity, IdentityState, Monotonic, Timestamp, UserId,
};
use moorline_store::{Gap, Verdict};
use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::Serialize;

use crate::alerts::AlertStatus;
use crate::events::{Events, Seen, Sort, Subscription, What};
use crate::logins::LoginStatus;
use crate::measures::Measures;
use crate::pulse::Pulses;
use crate::verdicts::Verdicts;

mod turns;

pub(crate) use turns::{RunningTurn, RunningTurns, TurnRecord};

/// Shared by all actors and readers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board {
    accounts: Arc<RwLock<BTreeMap<AccountId, AccountStatus>>>,
    verdicts: Arc<Mutex<BTreeMap<AccountId, Verdicts>>>,
    agents: Arc<RwLock<BTreeMap<String, SharedAgentStatus>>>,
    draining: Arc<AtomicBool>,
    turns: Arc<AtomicU32>,
    waiting: Arc<AtomicU32>,
    events: Events,
    measures: Arc<Measures>,
    pulses: Pulses,
    running: RunningTurns,
    alerts: Arc<RwLock<AlertStatus>>,
}

/// An agent's own part of the board. One that a reload has replaced goes on writing, where nobody reads.
pub(crate) type SharedAgentStatus = Arc<RwLock<AgentStatus>>;

/// One agent, as its last calls have shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AgentStatus {
    /// Its kind, as it is configured.
    pub kind: &'static str,
    /// Whether it takes calls.
    pub state: AgentState,
    /// Since when.
    pub since: Timestamp,
    /// Failed calls since the last good one, one for each back-off; 0 while it takes calls.
    pub attempt: u32,
    /// Not before this it is asked again.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last call failed, in our words.
    pub last_error: Option<String>,
    /// Turns in a row that it took and gave no answer to: it refused them, or took too long.
    pub unanswered: u32,
}

/// Whether an agent takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing is known to the contrary.
    Ok,
    /// The last call found that it does not; turns wait.
    Unavailable,
}

/// One account, as last reported.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct AccountStatus {
    /// The account.
    pub id: AccountId,
    /// Its channel.
    pub channel: String,
    /// Where its connection stands.
    pub state: AccountState,
    /// Since when.
    pub since: Timestamp,
    /// Since when it receives nothing, whatever states it went through meanwhile; `None` while it is ready or stopped.
    pub down_since: Option<Timestamp>,
    /// The life of its connection actor.
    pub generation: Generation,
    /// Why it is not ready.
    pub cause: Option<Cause>,
    /// Why an operator has to act.
    pub blocked: Option<BlockReason>,
    /// The number of the attempt under way or waited for; 0 while ready.
    pub attempt: u32,
    /// When the next attempt begins.
    pub next_attempt_at: Option<Timestamp>,
    /// Who we are there.
    pub identity: IdentityStatus,
    /// Whether calls can be made; `None` where the platform needs no token.
    pub token: Option<TokenStatus>,
    /// Who is logged in; `None` where nobody has to be.
    pub login: Option<LoginStatus>,
    /// Signs of life.
    pub evidence: Evidence,
    /// Frames and answers that could not be read since the process started.
    pub skipped: u64,
    /// Why the connection may be deaf although it looks well; `None` while nothing speaks for that.
    pub suspicion: Option<Suspicion>,
    /// What only the doctor looks at.
    #[serde(skip)]
    pub symptoms: Symptoms,
}

/// What speaks for a deaf connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Suspicion {
    /// Since when.
    pub since: Timestamp,
    /// What it is.
    pub why: String,
}

/// What is remembered of an account and shown elsewhere, or by the doctor alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Symptoms {
    /// When the last frame was received, on the clock that nobody sets: a step of the wall clock is no silence.
    pub heard: Option<Monotonic>,
    /// What time it is on the platform.
    pub platform: Option<PlatformTime>,
    /// What the platform does not let us do for want of a permission, by what we wanted, since it last let us.
    pub denied: BTreeMap<&'static str, Denied>,
    /// The gap that was recorded last.
    pub last_gap: Option<Gap>,
}

/// What time it was on the platform at a moment of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformTime {
    /// By the platform's clock.
    pub there: Timestamp,
    /// By the clock of ours that nobody sets and that goes on while the machine sleeps.
    pub here: Monotonic,
    /// It may have been off by so much: the time the answer took, and the second that the platform rounds to.
    pub within: Duration,
}

/// A call that was refused for want of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Since when.
    pub since: Timestamp,
    /// The failure, in words.
    pub why: String,
    /// The permissions any of which would do, where the platform named them.
    pub lacks: Vec<String>,
}

/// What is known of an account's access token. The token itself is nowhere but in its actor.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TokenStatus {
    /// Whether there is one.
    pub state: TokenState,
    /// Since when.
    pub since: Timestamp,
    /// Failed fetches since the last good one.
    pub attempt: u32,
    /// When the next fetch is made.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last fetch failed.
    pub last_error: Option<String>,
    /// When the token that there is, or was, came.
    pub fetched_at: Option<Timestamp>,
    /// When it is of no use any more.
    pub expires_at: Option<Timestamp>,
}

/// Whether there is an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// Nobody has asked for one yet.
    Unused,
    /// There is a good one.
    Valid,
    /// There is none, and the platform gives none.
    Failing,
}

/// What is known of an account's identity.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct IdentityStatus {
    /// How well.
    pub state: IdentityState,
    /// Our id.
    pub id: Option<UserId>,
    /// Our name.
    pub name: Option<String>,
    /// Since when the state is what it is.
    pub since: Timestamp,
    /// Failed probes since the last good one.
    pub attempt: u32,
    /// When the next probe is made.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last probe failed.
    pub last_error: Option<String>,
}

impl Board {
    /// An empty board whose changes are told there.
    pub(crate) fn telling(events: Events) -> Self {
        Self { events, ..Self::default() }
    }

    /// Where everything is told.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// All accounts, by id, at the moment in which the subscription begins: what it tells is what becomes of them.
    pub(crate) fn retained(&self, scope: &crate::events::Scope) -> (Vec<AccountStatus>, Subscription) {
        let accounts = self.accounts.read();
        let subscription = self.events.subscribe(scope);
        (accounts.values().cloned().collect(), subscription)
    }

    /// Puts an account on the board.
    pub(crate) fn add(&self, id: &AccountId, now: Timestamp) {
        let status = AccountStatus {
            id: id.clone(),
            channel: id.channel().to_string(),
            state: AccountState::Connecting,
            since: now,
            down_since: Some(now),
            generation: Generation::default(),
            cause: None,
            blocked: None,
            attempt: 0,
            next_attempt_at: None,
            identity: IdentityStatus::unknown(now),
            token: None,
            login: None,
            evidence: Evidence::default(),
            skipped: 0,
            suspicion: None,
            symptoms: Symptoms::default(),
        };
        let mut accounts = self.accounts.write();
        if let Entry::Vacant(free) = accounts.entry(id.clone()) {
            free.insert(status);
            self.events.tell(Sort::Lifecycle, || What::AccountAdded { account: id.clone() });
        }
        self.measures.add(id);
    }

    /// Takes an account off the board.
    pub(crate) fn remove(&self, id: &AccountId) {
        let mut accounts = self.accounts.write();
        if accounts.remove(id).is_some() {
            self.events.tell(Sort::Lifecycle, || What::AccountRemoved { account: id.clone() });
        }
        drop(accounts);
        self.verdicts.lock().remove(id);
        self.measures.forget(id);
    }

    /// The policy that the account's messages are judged under from now on.
    pub(crate) fn set_access(&self, id: &AccountId, access: &Access) {
        let mut verdicts = self.verdicts.lock();
        if verdicts.get(id).is_none_or(|verdicts| verdicts.access != *access) {
            verdicts.insert(id.clone(), Verdicts::under(access.clone()));
        }
    }

    /// Counts a verdict on a message; true when the log is to tell of it by itself.
    pub(crate) fn judged(&self, id: &AccountId, chat: &ChatId, verdict: Verdict) -> bool {
        self.verdicts.lock().get_mut(id).is_some_and(|verdicts| verdicts.note(chat, verdict))
    }

    /// The verdicts of each account, as they are now.
    pub(crate) fn verdicts(&self) -> BTreeMap<AccountId, Verdicts> {
        self.verdicts.lock().clone()
    }

    /// What the log has not told one by one since the last call, for each account.
    pub(crate) fn untold(&self) -> Vec<(AccountId, String)> {
        let mut verdicts = self.verdicts.lock();
        verdicts.iter_mut().filter_map(|(id, verdicts)| Some((id.clone(), verdicts.summary()?))).collect()
    }

    /// Forgets who the account is: its credentials have changed.
    pub(crate) fn forget_identity(&self, id: &AccountId, now: Timestamp) {
        self.update(id, |status| status.identity = IdentityStatus::unknown(now));
    }

    /// Changes an account's entry, and tells what of that is worth knowing: under the lock, so that the events of an
    /// account are in the order of its changes.
    pub(crate) fn update(&self, id: &AccountId, change: impl FnOnce(&mut AccountStatus)) {
        if let Some(status) = self.accounts.write().get_mut(id) {
            let before = Seen::of(status);
            change(status);
            before.tell(&self.events, status);
        }
    }

    /// One account.
    pub fn account(&self, id: &AccountId) -> Option<AccountStatus> {
        self.accounts.read().get(id).cloned()
    }

    /// All accounts, by id.
    pub fn accounts(&self) -> Vec<AccountStatus> {
        self.accounts.read().values().cloned().collect()
    }

    /// Whether the account's connection is ready.
    pub fn is_ready(&self, id: &AccountId) -> bool {
        self.accounts.read().get(id).is_some_and(|status| status.state == AccountState::Ready)
    }

    /// Our own id on the account, verified or remembered.
    pub(crate) fn own_id(&self, id: &AccountId) -> Option<UserId> {
        self.accounts.read().get(id).and_then(|status| status.identity.id.clone())
    }

    /// Puts these agents on the board, and no others.
    pub(crate) fn set_agents(&self, agents: BTreeMap<String, SharedAgentStatus>) {
        self.measures.set_agents(agents.keys());
        let before = std::mem::replace(&mut *self.agents.write(), agents.clone());
        for (name, now) in agents {
            let was = before.get(&name).map_or(AgentState::Ok, |status| status.read().state);
            if was != now.read().state {
                self.agent_changed(&name, was, &now.read());
            }
        }
    }

    /// Tells that an agent is in another state, or still in a bad one.
    pub(crate) fn agent_changed(&self, agent: &str, from: AgentState, now: &AgentStatus) {
        if from != now.state || now.state == AgentState::Unavailable {
            self.events.tell(Sort::Lifecycle, || What::Agent {
                agent: agent.to_owned(),
                from,
                to: now.state,
                attempt: now.attempt,
                next_attempt_at: now.next_attempt_at,
                error: now.last_error.clone(),
            });
        }
    }

    /// What is counted and timed where it happens.
    pub(crate) fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Where threads that must not stand still show that they do not.
    pub(crate) fn pulses(&self) -> &Pulses {
        &self.pulses
    }

    /// All agents, by name.
    pub fn agents(&self) -> BTreeMap<String, AgentStatus> {
        let agents = self.agents.read();
        agents.iter().map(|(name, status)| (name.clone(), status.read().clone())).collect()
    }

    /// The process is on its way down, and its accounts with it; another one may be to take its place.
    pub(crate) fn drain(&self, restart: bool) {
        self.draining.store(true, Ordering::Relaxed);
        self.events.tell(Sort::Lifecycle, || What::Draining { restart });
    }

    /// Whether the process is on its way down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How many turns are running.
    pub fn turns(&self) -> u32 {
        self.turns.load(Ordering::Relaxed).saturating_sub(self.waiting())
    }

    /// How many turns wait for an agent that is not available.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts a running turn as one that waits until the guard is dropped.
    pub(crate) fn turn_waits(&self) -> TurnGuard {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        TurnGuard(Arc::clone(&self.waiting))
    }

    /// Counts a running turn until the guard is dropped.
    pub(crate) fn turn_started(&self) -> TurnGuard {
        self.turns.fetch_add(1, Ordering::Relaxed);
        TurnGuard(Arc::clone(&self.turns))
    }

    /// Every running turn with what it is doing.
    pub(crate) fn running(&self) -> &RunningTurns {
        &self.running
    }

    /// How alerts get to whom they are for.
    pub(crate) fn alerts(&self) -> AlertStatus {
        self.alerts.read().clone()
    }

    /// Changes that.
    pub(crate) fn set_alerts(&self, status: AlertStatus) {
        *self.alerts.write() = status;
    }
}

impl AccountStatus {
    /// Records what became of a call: whether the platform lets us do this.
    pub(crate) fn called(&mut self, what: &'static str, failed: Option<&Failure>, now: Timestamp) {
        match failed {
            None => drop(self.symptoms.denied.remove(what)),
            Some(failure) if failure.class == FailureClass::Permission => {
                let since = self.symptoms.denied.get(what).map_or(now, |denied| denied.since);
                let denied = Denied { since, why: failure.to_string(), lacks: failure.lacks.clone() };
                self.symptoms.denied.insert(what, denied);
            }
            Some(_) => {}
        }
    }

    /// Records a change of state.
    pub(crate) fn enter(&mut self, state: AccountState, now: Timestamp) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        self.down_since = match state {
            AccountState::Ready | AccountState::Stopped => None,
            _ => self.down_since.or(Some(now)),
        };
        if state == AccountState::Ready {
            (self.cause, self.blocked, self.next_attempt_at, self.attempt) = (None, None, None, 0);
        }
        if state != AccountState::Blocked {
            self.blocked = None;
        }
    }
}

impl TokenStatus {
    /// What is known before anybody has asked for a token.
    pub(crate) fn unused(now: Timestamp) -> Self {
        Self {
            state: TokenState::Unused,
            since: now,
            attempt: 0,
            next_attempt_at: None,
            last_error: None,
            fetched_at: None,
            expires_at: None,
        }
    }

    /// Records what there is now.
    pub(crate) fn enter(&mut self, state: TokenState, now: Timestamp) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }
}

impl AgentStatus {
    /// An agent of which nothing is known yet.
    pub(crate) fn new(kind: &'static str, now: Timestamp) -> SharedAgentStatus {
        let state = AgentState::Ok;
        Arc::new(RwLock::new(Self {
            kind,
            state,
            since: now,
            attempt: 0,
            next_attempt_at: None,
            last_error: None,
            unanswered: 0,
        }))
    }

    /// Records a change of state.
    pub(crate) fn enter(&mut self, state: AgentState, now: Timestamp) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
        if state == AgentState::Ok {
            (self.attempt, self.next_attempt_at, self.last_error) = (0, None, None);
        }
    }
}

impl IdentityStatus {
    fn unknown(now: Timestamp) -> Self {
        Self {
            state: IdentityState::Unknown,
            id: None,
            name: None,
            since: now,
            attempt: 0,
            next_attempt_at: None,
            last_error: None,
        }
    }

    /// Records an identity, verified now or remembered.
    pub(crate) fn known(&mut self, identity: &Identity, state: IdentityState, now: Timestamp) {
        self.id = Some(identity.id.clone());
        self.name = Some(identity.name.clone());
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        if state == IdentityState::Verified {
            (self.attempt, self.next_attempt_at, self.last_error) = (0, None, None);
        }
    }
}

/// A turn that is running, or that waits.
#[derive(Debug)]
pub(crate) struct TurnGuard(Arc<AtomicU32>);

impl Drop for TurnGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
