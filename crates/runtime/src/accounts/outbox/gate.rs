//! Whether an account may send at all. A failure that is the account's and not the message's, such as a login that was
//! revoked, lets every message wait: one series of delays for all of them, and at its end one message that is tried for
//! all. Otherwise each of a thousand messages would have a timer of its own, and each its call.

use std::time::Duration;

use moorline_core::{Failure, FailureClass, Monotonic, OutboxId, RetryPolicy};

/// Between two sends that may find the session expired still: together with what a connection needs to begin anew, an
/// account whose login was revoked makes less than twenty calls a minute.
const LEAST: Duration = Duration::from_secs(15);

/// What an account may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// All there is, in many places.
    All,
    /// All there is, one at a time: nothing has shown yet that the platform takes anything from us.
    InTurn,
    /// One message, to find out.
    One,
    /// Nothing before this.
    NotBefore(Monotonic),
    /// Nothing until the one that is being tried is answered.
    Wait,
}

/// What a failure means for the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shut {
    /// How long everything waits.
    pub(super) wait: Duration,
    /// It is the first of its series.
    pub(super) first: bool,
}

/// One account's gate.
#[derive(Debug)]
pub(super) struct Gate {
    /// Calls need no token that would have to be fetched before, so that a send is the first to find out.
    without_tokens: bool,
    /// Something was taken, or refused for a reason of its own, since the gate was last shut.
    proven: bool,
    /// Failures of the account since then.
    failures: u32,
    /// Shut until then.
    until: Option<Monotonic>,
    /// What is being tried while it is shut.
    trying: Option<OutboxId>,
    /// When it was last opened without proof.
    trusted_at: Option<Monotonic>,
}

impl Gate {
    /// An open one, of an account of which nothing is known.
    pub(super) fn new(without_tokens: bool) -> Self {
        Self { without_tokens, proven: false, failures: 0, until: None, trying: None, trusted_at: None }
    }

    /// What may be sent at `now`.
    pub(super) fn pass(&self, now: Monotonic) -> Pass {
        match self.until {
            None if self.without_tokens && !self.proven => Pass::InTurn,
            None => Pass::All,
            Some(_) if self.trying.is_some() => Pass::Wait,
            Some(until) if until > now => Pass::NotBefore(until),
            Some(_) => Pass::One,
        }
    }

    /// A message is being sent.
    pub(super) fn begin(&mut self, row: OutboxId) {
        if self.until.is_some() {
            self.trying = Some(row);
        }
    }

    /// Its attempt is over, whatever it came to; without an answer, the next message may be tried.
    pub(super) fn end(&mut self, row: OutboxId) {
        self.trying.take_if(|trying| *trying == row);
    }

    /// It was taken, or refused for a reason of its own. `true` when that opens the gate.
    pub(super) fn prove(&mut self) -> bool {
        (self.proven, self.failures, self.trying) = (true, 0, None);
        self.until.take().is_some()
    }

    /// It failed for a reason that says nothing about the account: whoever is tried next waits as long.
    pub(super) fn learned_nothing(&mut self, row: OutboxId, again_at: Monotonic) {
        if self.trying == Some(row) {
            self.until = Some(again_at);
        }
    }

    /// Whether this failure is the account's: what it says of one message it would say of all.
    pub(super) fn concerns_all(&self, class: FailureClass) -> bool {
        match class {
            FailureClass::Credentials | FailureClass::NeedsLogin => true,
            // Where there are tokens, a fresh one was tried already.
            FailureClass::SessionExpired => self.without_tokens,
            _ => false,
        }
    }

    /// It failed for a reason that is the account's. What was on its way when the gate was shut says nothing new.
    pub(super) fn shut(
        &mut self,
        row: OutboxId,
        failure: &Failure,
        retry: &RetryPolicy,
        unit: f64,
        now: Monotonic,
    ) -> Shut {
        self.proven = false;
        if let Some(until) = self.until.filter(|_| self.trying != Some(row)) {
            return Shut { wait: until - now, first: false };
        }
        self.failures = self.failures.saturating_add(1);
        self.trying = None;
        let wait = retry.delay(failure, self.failures, unit).max(LEAST);
        self.until = Some(now + wait);
        Shut { wait, first: self.failures == 1 }
    }

    /// The account is ready, which is a reason to believe that it may send, and no proof: not twice within a short time.
    /// `true` when that opens the gate.
    pub(super) fn trust(&mut self, now: Monotonic) -> bool {
        let Some(until) = self.until else { return false };
        match self.trusted_at.map(|at| at + LEAST).filter(|next| *next > now) {
            Some(next) => {
                self.until = Some(until.min(next));
                false
            }
            None => {
                (self.until, self.trying, self.trusted_at) = (None, None, Some(now));
                true
            }
        }
    }

    /// An operator wants it tried now.
    pub(super) fn hurry(&mut self, now: Monotonic) {
        self.until = self.until.map(|until| until.min(now));
    }
}

#[cfg(test)]
mod tests;
