//! The configured agents, each behind a gate that knows whether it is available.

mod gate;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_agent::{Agent, AgentError, Command, Echo, OpenAi, Reply, Turn};
use moorline_channel::Network;
use moorline_config::AgentKind;
use moorline_core::{Timestamp, millis};
use tokio::sync::Notify;

use crate::board::{AgentState, AgentStatus, SharedAgentStatus};
use crate::services::Services;
use gate::{Entry, Gate};

pub(crate) use gate::Place;

/// Agents of the program's own, by the names of the configured ones in whose place they answer.
pub type OwnAgents = BTreeMap<String, Rc<dyn Agent>>;

/// The agents of one configuration, by name.
#[derive(Default)]
pub(crate) struct Agents {
    by_name: BTreeMap<String, Rc<Backend>>,
    /// They stay through every reload.
    own: Rc<OwnAgents>,
}

/// One agent, for as long as its configuration stays the same.
pub(crate) struct Backend {
    name: String,
    kind: AgentKind,
    agent: Rc<dyn Agent>,
    gate: RefCell<Gate>,
    status: SharedAgentStatus,
    /// Wakes whoever waits at the gate.
    moved: Notify,
}

/// The right to ask an agent once. Dropped without a word, the call was given up.
pub(crate) struct Ticket<'a> {
    backend: &'a Backend,
    services: &'a Services,
    probe: Option<u64>,
    used: bool,
}

/// Somebody at the gate.
struct Waiting<'a> {
    backend: &'a Backend,
    place: Place,
}

impl Agents {
    /// None yet, and these instead of configured ones.
    pub(crate) fn with_own(own: OwnAgents) -> Self {
        Self { by_name: BTreeMap::new(), own: Rc::new(own) }
    }

    /// The agents of a configuration. Those that are the same in the one before it are kept, with what is known of
    /// them.
    pub(crate) fn new(
        configured: &BTreeMap<String, moorline_config::Agent>,
        before: &Self,
        network: &Network,
        now: Timestamp,
    ) -> Self {
        let backend = |(name, agent): (&String, &moorline_config::Agent)| {
            let kept = before.get(name).filter(|backend| backend.kind == agent.kind);
            (
                name.clone(),
                kept.unwrap_or_else(|| {
                    let own = before.own.get(name).cloned();
                    let answering = own.unwrap_or_else(|| build(&agent.kind, network));
                    Rc::new(Backend::new(name, &agent.kind, answering, now))
                }),
            )
        };
        Self { by_name: configured.iter().map(backend).collect(), own: Rc::clone(&before.own) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Rc<Backend>> {
        self.by_name.get(name).cloned()
    }

    /// What they say about themselves.
    pub(crate) fn statuses(&self) -> BTreeMap<String, SharedAgentStatus> {
        let status = |(name, backend): (&String, &Rc<Backend>)| (name.clone(), backend.status.clone());
        self.by_name.iter().map(status).collect()
    }

    /// Sends everybody who waits at a gate to look for the agent that is theirs now.
    pub(crate) fn wake(&self) {
        for backend in self.by_name.values() {
            backend.moved.notify_waiters();
        }
    }
}

/// What answers, as it is configured.
fn build(kind: &AgentKind, network: &Network) -> Rc<dyn Agent> {
    match kind.clone() {
        AgentKind::Echo { delay } => Rc::new(Echo { delay }),
        AgentKind::OpenAi { base_url, model, api_key, system_prompt, timeout } => {
            let http = Rc::clone(&network.http);
            Rc::new(OpenAi { http, base_url, model, api_key, system_prompt, timeout })
        }
        AgentKind::Command { command, timeout, pass_env } => Rc::new(Command { command, timeout, pass_env }),
    }
}

impl Backend {
    fn new(name: &str, kind: &AgentKind, agent: Rc<dyn Agent>, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.clone(),
            agent,
            gate: RefCell::default(),
            status: AgentStatus::new(kind.as_str(), now),
            moved: Notify::new(),
        }
    }

    /// Goes through the gate, or waits until something changes there; then it is to be tried again, perhaps at
    /// another agent's.
    pub(crate) async fn enter<'a>(&'a self, services: &'a Services, place: Place) -> Option<Ticket<'a>> {
        let moved = self.moved.notified();
        let entry = self.gate.borrow_mut().enter(place, services.clock.now());
        let wait = match entry {
            Entry::Ask(probe) => return Some(Ticket { backend: self, services, probe, used: false }),
            Entry::Wait(wait) => wait,
        };
        let _waiting = (Waiting { backend: self, place }, services.board.turn_waits());
        match wait {
            // Whether it is the time or somebody's answer is the same here.
            Some(wait) => drop(tokio::time::timeout(wait, moved).await),
            None => moved.await,
        }
        None
    }

    /// How long a call may take: its own limit, if it has a shorter one than turns have.
    pub(crate) fn limit(&self, turn_timeout: Duration) -> Duration {
        match &self.kind {
            AgentKind::Echo { .. } => turn_timeout,
            AgentKind::OpenAi { timeout, .. } | AgentKind::Command { timeout, .. } => {
                turn_timeout.min(*timeout)
            }
        }
    }

    /// Whether it is known not to take calls: whoever asks now waits, or is a probe.
    pub(crate) fn is_away(&self) -> bool {
        self.gate.borrow().is_closed()
    }

    /// How many calls have shown that it takes calls.
    pub(crate) fn answers(&self) -> u64 {
        self.gate.borrow().answers()
    }

    /// Why it was not available the last time.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.status.read().last_error.clone()
    }
}

impl Ticket<'_> {
    /// Asks.
    pub(crate) fn ask(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        self.backend.agent.respond(turn)
    }

    /// The agent took the call, whatever it made of it: `failure` says why there is no answer, if there is none.
    pub(crate) fn answered(mut self, failure: Option<&AgentError>) {
        self.used = true;
        self.note(failure);
        let away = self.backend.gate.borrow_mut().answered(self.services.clock.now());
        if let Some(away) = away {
            tracing::info!(
                agent = self.backend.name,
                after_ms = millis(away),
                "the agent takes calls again; whoever waited for it goes on"
            );
            let mut status = self.backend.status.write();
            let from = status.state;
            status.enter(AgentState::Ok, self.services.clock.wall());
            self.services.board.agent_changed(&self.backend.name, from, &status);
            drop(status);
            self.backend.moved.notify_waiters();
        }
    }

    /// Counts the turns in a row without an answer.
    fn note(&self, failure: Option<&AgentError>) {
        let mut status = self.backend.status.write();
        match failure {
            None if status.unanswered == 0 => {}
            None => (status.unanswered, status.last_error) = (0, None),
            Some(error) => {
                status.unanswered = status.unanswered.saturating_add(1);
                status.last_error = Some(error.to_string());
            }
        }
    }

    /// The agent was not available.
    pub(crate) fn failed(mut self, reason: &str, retry_after: Option<Duration>) {
        self.used = true;
        let (now, unit) = (self.services.clock.now(), self.services.random.unit());
        let outage = self.backend.gate.borrow_mut().failed(self.probe, retry_after, unit, now);
        let (agent, next_in) = (&self.backend.name, outage.next_at - now);
        let (attempt, next_in_ms) = (outage.failures, millis(next_in));
        if self.backend.status.read().state == AgentState::Ok {
            tracing::warn!(agent, next_in_ms, "the agent is not available, turns wait for it: {reason}");
        } else {
            tracing::debug!(agent, attempt, next_in_ms, "the agent is still not available: {reason}");
        }
        let wall = self.services.clock.wall();
        let mut status = self.backend.status.write();
        let from = status.state;
        status.enter(AgentState::Unavailable, wall);
        status.attempt = attempt;
        status.next_attempt_at = Some(wall + next_in);
        status.last_error = Some(reason.to_owned());
        self.services.board.agent_changed(&self.backend.name, from, &status);
        drop(status);
        // They wait for the next probe now, and not for this one.
        self.backend.moved.notify_waiters();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.backend.gate.borrow_mut().leave(self.place);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.backend.gate.borrow_mut().given_up(self.probe);
            self.backend.moved.notify_waiters();
        }
    }
}
