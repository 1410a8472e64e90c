//! What the accounts say of themselves: it has to be true, and it has to change.

use std::time::Duration;

use moorline_core::{AccountState, Generation, IdentityState, Timestamp};
use moorline_simulator::weixin::Endpoint;
use moorline_supervision::NodeState;

use super::super::drive::Stage;

/// A closed socket is noticed within this: the next look.
const NOTICED: Duration = Duration::from_secs(2);

/// A half-open one within our own ping interval and the time a pong may take (F-019).
const HALF_OPEN: Duration = Duration::from_secs(42);

/// An attempt has a deadline for the endpoint, the handshake and the first sign of life.
const ATTEMPT: Duration = Duration::from_secs(40);

/// The same of one that polls: a greeting, and two polls that nobody answers.
const ATTEMPT_BY_POLLS: Duration = Duration::from_secs(100);

/// A wait of a connection that merely lost its way; the platform's own wishes are shorter here.
const WAIT: Duration = Duration::from_secs(65);

/// What an operator has to mend is tried every ten minutes.
const BLOCKED: Duration = Duration::from_secs(605);

/// What crashes again and again is tried every quarter of an hour.
const PARKED: Duration = Duration::from_secs(910);

/// A poll that is never answered is found out when two could have been, and nothing that a platform lets hang is seen
/// before.
const WELL_BY_POLLS: Duration = Duration::from_secs(300);

/// What a poll may take.
const ONE_POLL: Duration = Duration::from_secs(45);

/// Between two polls there is a moment, and the store, which may have a queue of slow commits before it.
const BETWEEN_POLLS: Duration = Duration::from_secs(40);

/// After calm, where nothing waits for an operator: silence is found out, and a wait begins and ends (G6).
const WELL: Duration = Duration::from_secs(125);

/// All accounts, as last seen.
pub(super) struct Statuses {
    accounts: Vec<Seen>,
    changes: Vec<String>,
    /// When they were last looked at.
    looked_at: Duration,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// What does not stay the same for long while an account is not ready.
    signature: Option<Signature>,
    since: Duration,
    /// It has said that it is ready since then, with no socket, or with a half-open one.
    without_socket: Option<Duration>,
    half_open: Option<Duration>,
    /// Polls the platform had got at the last look.
    polls: u64,
    /// Pings the platform had got of it when the process started.
    pings_at_start: u64,
    /// Nothing may have been taken up before this is true.
    was_ready: bool,
    /// By when it has to be ready.
    due: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
struct Signature {
    state: AccountState,
    attempt: u32,
    next: Option<Timestamp>,
    generation: Generation,
}

impl Statuses {
    pub(super) fn new(accounts: usize) -> Self {
        Self { accounts: vec![Seen::default(); accounts], changes: Vec::new(), looked_at: Duration::ZERO }
    }

    pub(super) fn changes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn process_gone(&mut self, stage: &Stage) {
        for (n, seen) in self.accounts.iter_mut().enumerate() {
            *seen = Seen { pings_at_start: pings(stage, n), ..Seen::default() };
        }
    }

    /// G9: whatever was taken up was taken up by a process whose channel had been ready.
    pub(super) fn resumed(&self, stage: &Stage, taken_up: &[usize]) -> Result<(), String> {
        for &n in taken_up {
            if self.accounts.get(n).is_some_and(|seen| pings(stage, n) == seen.pings_at_start) {
                return Err(format!(
                    "G9: a turn of account {n} was taken up, and its channel has not been ready"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn look(&mut self, stage: &Stage) -> Result<(), String> {
        if !stage.world.is_up() {
            return Ok(());
        }
        let parked = stage.world.handle.tree().iter().any(|node| node.state == NodeState::Parked);
        let mut all_ready = true;
        let looked_at = std::mem::replace(&mut self.looked_at, stage.now());
        for n in 0..self.accounts.len() {
            let Some(status) = stage.world.handle.board().account(&stage.world.id(n)) else {
                self.accounts[n].signature = None;
                continue;
            };
            let signature = Signature {
                state: status.state,
                attempt: status.attempt,
                next: status.next_attempt_at,
                generation: status.generation,
            };
            all_ready &= matches!(status.state, AccountState::Ready | AccountState::Stopped);
            let now = stage.now();
            let seen = &mut self.accounts[n];
            if seen.signature.as_ref() != Some(&signature) {
                self.changes.push(format!("{now:?} a{n} {signature:?} {:?}", status.identity.state));
                seen.signature = Some(signature.clone());
                seen.since = now;
            }
            // A process that did not run has seen nothing, and has to be given its time again.
            if let Some(frozen) = stage.frozen.filter(|frozen| *frozen >= looked_at) {
                (seen.since, seen.without_socket, seen.half_open) = (seen.since.max(frozen), None, None);
            }
            seen.honest(stage, n, status.state, now)?;
            let attempt = if n < stage.schedule().accounts { ATTEMPT } else { ATTEMPT_BY_POLLS };
            seen.moves(n, &signature, parked, attempt, now)?;
            if status.state == AccountState::Ready && now < seen.since + LOOK && seen.due.is_some() {
                seen.due = None;
            }
        }
        let readyz = stage.world.handle.readiness();
        if readyz.is_ok() && !all_ready {
            return Err("honest status (G14): /readyz says yes, and the board says no".to_owned());
        }
        Ok(())
    }

    /// By when everything has to be well, now that nothing goes wrong any more.
    pub(super) fn calm(&mut self, stage: &Stage, since: Duration) -> Duration {
        let parked = stage.world.handle.tree().iter().any(|node| node.state == NodeState::Parked);
        let slow = |n| {
            let status = stage.world.handle.board().account(&stage.world.id(n));
            status.map_or(Duration::ZERO, |status| match status.state {
                AccountState::Blocked => BLOCKED,
                AccountState::Parked => PARKED,
                _ => Duration::ZERO,
            })
        };
        let floor = if parked { PARKED } else { Duration::ZERO };
        for n in 0..self.accounts.len() {
            let well = if n < stage.schedule().accounts { WELL } else { WELL_BY_POLLS };
            self.accounts[n].due = Some(since + well + slow(n).max(floor));
        }
        // A token, an identity or a message that waits for an operator, and what waits for that.
        since + WELL_BY_POLLS + BLOCKED * 2 + floor
    }

    /// What is not well yet.
    pub(super) fn not_well(&mut self, stage: &Stage, since: Duration) -> Result<Vec<String>, String> {
        let mut wrong = Vec::new();
        for n in 0..self.accounts.len() {
            let id = stage.world.id(n);
            let Some(status) = stage.world.handle.board().account(&id) else {
                wrong.push(format!("{id} is not there"));
                continue;
            };
            let due = self.accounts[n].due;
            if status.state != AccountState::Ready {
                if due.is_some_and(|due| stage.now() > due) {
                    let waited = (stage.now() - since).as_secs();
                    return Err(format!(
                        "liveness (G6): {id} is {} after {waited} s of calm\n{}",
                        status.state,
                        stage.world.describe()
                    ));
                }
                wrong.push(format!("{id} is {}", status.state));
            }
            if status.identity.state != IdentityState::Verified {
                wrong.push(format!("the identity of {id} is {:?}", status.identity.state));
            }
        }
        Ok(wrong)
    }
}

const LOOK: Duration = Duration::from_secs(1);

impl Seen {
    /// F-101: an account that says that it is ready has a socket, or lost it just now.
    fn honest(&mut self, stage: &Stage, n: usize, state: AccountState, now: Duration) -> Result<(), String> {
        if let Some(bot) = n.checked_sub(stage.schedule().accounts) {
            return self.honest_by_polls(stage, bot, state, now);
        }
        let sockets = stage.world.simulator.connections(stage.world.app(n)).unwrap_or_default();
        let ready = state == AccountState::Ready;
        let since = |holds: bool, before: Option<Duration>| holds.then(|| before.unwrap_or(now));
        self.without_socket = since(ready && sockets.is_empty(), self.without_socket);
        let half_open = ready && sockets.iter().any(|socket| socket.black_hole);
        self.half_open = since(half_open, self.half_open);
        if self.without_socket.is_some_and(|since| now - since > NOTICED) {
            return Err(format!("honest status (F-101): account {n} says ready, and has no socket"));
        }
        if self.half_open.is_some_and(|since| now - since > HALF_OPEN) {
            return Err(format!(
                "honest status (F-019): account {n} says ready, and its socket is half-open for long"
            ));
        }
        self.was_ready |= ready;
        Ok(())
    }

    /// The same of one that polls: a poll is open, or was a moment ago, or what it brought waits for the store.
    fn honest_by_polls(
        &mut self,
        stage: &Stage,
        bot: usize,
        state: AccountState,
        now: Duration,
    ) -> Result<(), String> {
        let counters = stage.world.wechat.counters(&stage.world.bots[bot].bot_id);
        let open = counters.is_ok_and(|counters| counters.open_polls > 0);
        // Those that are answered at once are never seen open.
        let before = std::mem::replace(&mut self.polls, pings(stage, stage.schedule().accounts + bot));
        let open = open || self.polls > before;
        // One that began while nobody answered ends at its deadline.
        let reachable = stage.world.wechat.reach() == moorline_simulator::Reach::Open
            && now > stage.wechat_back + ONE_POLL;
        let ready = state == AccountState::Ready;
        let without = ready && !open && reachable && stage.store.is_well();
        self.without_socket = without.then(|| self.without_socket.unwrap_or(now));
        if self.without_socket.is_some_and(|since| now - since > BETWEEN_POLLS) {
            let calls: Vec<String> = stage.world.wechat.read_ledger(|ledger| {
                let of_bot = |call: &&moorline_simulator::weixin::CallRecord| {
                    call.bot.as_ref() == Some(&stage.world.bots[bot].bot_id)
                };
                ledger.calls().rev().filter(of_bot).take(5).map(|call| format!("{call:?}")).collect()
            });
            return Err(format!(
                "honest status (F-101): bot {bot} says ready, and does not poll: {calls:#?}"
            ));
        }
        self.was_ready |= ready;
        Ok(())
    }

    /// F-001: an account that is not ready tries again, for ever.
    fn moves(
        &self,
        n: usize,
        signature: &Signature,
        parked: bool,
        attempt: Duration,
        now: Duration,
    ) -> Result<(), String> {
        let bound = match signature.state {
            AccountState::Ready | AccountState::Stopped => return Ok(()),
            _ if parked => PARKED + attempt,
            AccountState::Parked => PARKED + attempt,
            AccountState::Blocked => BLOCKED + attempt,
            AccountState::Connecting | AccountState::Reconnecting if signature.next.is_some() => WAIT,
            AccountState::Connecting | AccountState::Reconnecting => WAIT + attempt,
        };
        if now - self.since > bound {
            let for_how_long = (now - self.since).as_secs();
            return Err(format!("never stuck (F-001): account {n} for {for_how_long} s: {signature:?}"));
        }
        Ok(())
    }
}

fn pings(stage: &Stage, n: usize) -> u64 {
    if let Some(bot) = n.checked_sub(stage.schedule().accounts) {
        let counters = stage.world.wechat.counters(&stage.world.bots[bot].bot_id);
        return counters
            .map_or(0, |counters| counters.calls.get(&Endpoint::GetUpdates).copied().unwrap_or(0));
    }
    stage.world.simulator.counters(stage.world.app(n)).map_or(0, |counters| counters.pings)
}
