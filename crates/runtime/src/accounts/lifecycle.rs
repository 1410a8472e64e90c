//! The life of an account's connection as a pure machine: states, attempts and delays (design §4).

use std::time::Duration;

use moorline_core::{AccountState, BlockReason, Cause, Failure, FailureClass, Monotonic, RetryPolicy};

/// A session that was rebuilt this often without recovering…
const EXPIRED_ROUNDS: u32 = 5;

/// …and for this long, is over for good where sessions come from logins: a person has to log in again (F-011).
const EXPIRED_FOR: Duration = Duration::from_secs(120);

/// A session that has lasted this long had recovered.
const RECOVERED_FOR: Duration = Duration::from_secs(60);

/// Where the connection stands and what the next failure will cost.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: AccountState,
    /// Counts failures for the back-off; starts over only after `reset_after` in Ready, so that a flapping
    /// connection backs off although it succeeds now and then (F-003).
    failures: u32,
    /// The same for conflicts, which have a scale of their own: the first one waits a minute, whatever came before it.
    conflicts: u32,
    /// The same for sessions that ended: the first one is rebuilt at once, whatever came before it.
    sessions: u32,
    /// Attempts since the connection was last ready.
    attempts: u32,
    /// Since when, and how often, the platform has called the session expired without a sign of life in between.
    expired: Option<(Monotonic, u32)>,
    ready_since: Option<Monotonic>,
    down_since: Monotonic,
}

/// The connection became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The state before.
    pub(crate) from: AccountState,
    /// How long it was not ready.
    pub(crate) after: Duration,
    /// How many attempts it took.
    pub(crate) attempts: u32,
}

/// The connection ended or was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setback {
    /// The state now.
    pub(crate) state: AccountState,
    /// Why, typed.
    pub(crate) cause: Cause,
    /// Why an operator has to act, if one has to.
    pub(crate) blocked: Option<BlockReason>,
    /// How long to wait before the next attempt.
    pub(crate) wait: Duration,
    /// The number of the next attempt.
    pub(crate) attempt: u32,
}

impl Lifecycle {
    /// A life that begins in `state`, which has lasted since `down_since`: [`AccountState::Connecting`] for the first
    /// one, else whatever the end of the life before has left the account in.
    pub(crate) fn new(state: AccountState, down_since: Monotonic) -> Self {
        Self {
            state,
            failures: 0,
            conflicts: 0,
            sessions: 0,
            attempts: 0,
            expired: None,
            ready_since: None,
            down_since,
        }
    }

    pub(crate) fn state(&self) -> AccountState {
        self.state
    }

    /// An attempt begins.
    pub(crate) fn started(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The platform showed that it is there; `Some` when that made the connection ready.
    pub(crate) fn alive(&mut self, now: Monotonic) -> Option<Recovered> {
        if self.state == AccountState::Ready {
            return None;
        }
        let recovered = Recovered { from: self.state, after: now - self.down_since, attempts: self.attempts };
        self.state = AccountState::Ready;
        self.ready_since = Some(now);
        self.attempts = 0;
        Some(recovered)
    }

    /// What a failure is once it is seen as one of a series: a session that cannot be rebuilt needs a login. A notice of
    /// the platform that all is well ends no series, nor does a poll that is held for a while and then refused; only a
    /// minute of health does.
    pub(crate) fn in_series(&mut self, failure: Failure, now: Monotonic) -> Failure {
        if failure.class != FailureClass::SessionExpired {
            return failure;
        }
        if self.ready_since.is_some_and(|since| now - since >= RECOVERED_FOR) {
            self.expired = None;
        }
        let (since, times) = self.expired.unwrap_or((now, 0));
        let times = times.saturating_add(1);
        self.expired = Some((since, times));
        if times <= EXPIRED_ROUNDS || now - since < EXPIRED_FOR {
            return failure;
        }
        let message = format!(
            "{}: rebuilding the session has not helped; the login has lapsed, or its person has logged in elsewhere",
            failure.message
        );
        Failure { class: FailureClass::NeedsLogin, message, ..failure }
    }

    /// The connection failed. `policy` is the one of this moment, `unit` is drawn from `0.0..1.0`.
    pub(crate) fn failed(
        &mut self,
        failure: &Failure,
        policy: &RetryPolicy,
        now: Monotonic,
        unit: f64,
    ) -> Setback {
        if let Some(since) = self.ready_since.take() {
            self.down_since = now;
            if now - since >= policy.transient.reset_after {
                (self.failures, self.conflicts, self.sessions) = (0, 0, 0);
            }
        }
        let count = match failure.class {
            FailureClass::Conflict => &mut self.conflicts,
            FailureClass::SessionExpired => &mut self.sessions,
            _ => &mut self.failures,
        };
        *count = count.saturating_add(1);
        let count = *count;
        let blocked = BlockReason::of(failure.class);
        self.state = if blocked.is_some() { AccountState::Blocked } else { AccountState::Reconnecting };
        Setback {
            state: self.state,
            cause: Cause::from(failure),
            blocked,
            wait: policy.delay(failure, count, unit),
            attempt: self.attempts.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy::STANDARD;

    fn at(secs: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(secs))
    }

    fn lost() -> Failure {
        Failure::transient("lost")
    }

    #[test]
    fn two_hundred_refusals_are_followed_by_a_two_hundred_and_first_attempt_f001() {
        let mut life = Lifecycle::new(AccountState::Connecting, at(0));
        let mut now = at(0);
        for _ in 0..200 {
            life.started();
            let setback = life.failed(&lost(), &POLICY, now, 0.5);
            assert_eq!(setback.state, AccountState::Reconnecting);
            assert!(setback.wait <= Duration::from_secs(60));
            now = now + setback.wait;
        }
        life.started();
        let recovered = life.alive(now).unwrap();
        assert_eq!((recovered.attempts, recovered.after), (201, now - at(0)));
    }

    #[test]
    fn a_flapping_connection_backs_off_although_it_succeeds_f003() {
        let mut life = Lifecycle::new(AccountState::Connecting, at(0));
        let mut waits = Vec::new();
        for round in 0..8 {
            life.started();
            assert!(life.alive(at(round)).is_some());
            waits.push(life.failed(&lost(), &POLICY, at(round), 1.0).wait.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_minute_in_ready_makes_the_next_failure_the_first_again() {
        let mut life = Lifecycle::new(AccountState::Connecting, at(0));
        for _ in 0..5 {
            life.failed(&lost(), &POLICY, at(0), 1.0);
        }
        life.alive(at(100));
        assert_eq!(life.failed(&lost(), &POLICY, at(160), 1.0).wait, Duration::from_secs(1));
        life.alive(at(200));
        assert_eq!(life.failed(&lost(), &POLICY, at(259), 1.0).wait, Duration::from_secs(2));
    }

    #[test]
    fn the_first_conflict_waits_a_minute_whatever_came_before_it() {
        let mut life = Lifecycle::new(AccountState::Connecting, at(0));
        let conflict = Failure::new(FailureClass::Conflict, "somebody else");
        let mut wait = |failure: &Failure| life.failed(failure, &POLICY, at(0), 1.0).wait.as_secs();
        assert_eq!(
            [wait(&lost()), wait(&lost()), wait(&conflict), wait(&conflict), wait(&lost())],
            [1, 2, 60, 120, 4]
        );
    }

    /// F-011: rounds or time, whichever is later; and a revoked session makes few calls although each round is answered.
    #[test]
    fn a_session_that_cannot_be_rebuilt_needs_a_login_f011() {
        let expired = || Failure::new(FailureClass::SessionExpired, "poll: session expired").with_code(-14);
        for unit in [0.0, 0.5, 1.0] {
            let mut life = Lifecycle::new(AccountState::Connecting, at(0));
            life.alive(at(0));
            let (mut now, mut rounds, mut first_minute) = (at(1_000), 0, 0);
            let blocked = loop {
                life.started();
                let failure = life.in_series(expired(), now);
                let setback = life.failed(&failure, &POLICY, now, unit);
                if setback.state == AccountState::Blocked {
                    break setback;
                }
                assert!(rounds > 0 || setback.wait.is_zero(), "rebuilt at once");
                rounds += 1;
                now = now + setback.wait;
                first_minute += u32::from(now - at(1_000) < Duration::from_secs(60));
            };
            assert_eq!((blocked.cause.class, blocked.wait.as_secs()), (FailureClass::NeedsLogin, 600));
            assert_eq!(blocked.cause.code.as_deref(), Some("-14"));
            assert!(blocked.cause.message.ends_with("or its person has logged in elsewhere"));
            assert!(rounds >= 5 && now - at(1_000) >= EXPIRED_FOR, "{rounds}");
            assert!(now - at(1_000) <= EXPIRED_FOR + Duration::from_secs(60));
            // Two calls each.
            assert!(first_minute <= 8, "{first_minute}");
            // The slow probe finds the same.
            let failure = life.in_series(expired(), now + Duration::from_secs(600));
            assert_eq!(failure.class, FailureClass::NeedsLogin);
            // A sign of life that does not last ends nothing; one that does ends the series.
            life.alive(now + Duration::from_secs(601));
            let failure = life.in_series(expired(), now + Duration::from_secs(604));
            assert_eq!(failure.class, FailureClass::NeedsLogin);
            life.failed(&failure, &POLICY, now + Duration::from_secs(604), unit);
            life.alive(now + Duration::from_secs(700));
            let failure = life.in_series(expired(), now + Duration::from_secs(800));
            assert_eq!(failure.class, FailureClass::SessionExpired);
        }
    }

    /// An outage before it made the first -14 wait for as long as the outage's next attempt would have (F-011).
    #[test]
    fn the_first_session_that_ends_is_rebuilt_at_once_whatever_came_before_it_f011() {
        let mut life = Lifecycle::new(AccountState::Connecting, at(0));
        let expired = Failure::new(FailureClass::SessionExpired, "-14");
        let mut wait = |failure: &Failure| life.failed(failure, &POLICY, at(0), 1.0).wait.as_secs();
        assert_eq!(
            [
                wait(&lost()),
                wait(&lost()),
                wait(&lost()),
                wait(&expired),
                wait(&expired),
                wait(&expired),
                wait(&lost())
            ],
            [1, 2, 4, 0, 1, 2, 8]
        );
    }

    #[test]
    fn only_what_an_operator_can_mend_blocks_f006() {
        for class in FailureClass::ALL {
            let mut life = Lifecycle::new(AccountState::Connecting, at(0));
            let setback = life.failed(&Failure::new(class, "x"), &POLICY, at(0), 0.0);
            let blocks = matches!(
                class,
                FailureClass::Conflict
                    | FailureClass::Credentials
                    | FailureClass::Permission
                    | FailureClass::NeedsLogin
            );
            assert_eq!(setback.state == AccountState::Blocked, blocks, "{class}");
            assert_eq!(setback.blocked.is_some(), blocks, "{class}");
        }
    }
}
