//! What of a change on the board is an event. Told by the board itself, so that whatever it shows was told, in the
//! order in which it came to be so.

use moorline_core::{AccountState, BlockReason, Generation, IdentityState, Timestamp, millis};

use super::{Events, Sort, What};
use crate::board::{AccountStatus, TokenState};

/// An account's entry as it was before a change, as far as its difference is an event. Cheap to take: every received
/// frame changes an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    connection: Connection,
    down_since: Option<Timestamp>,
    identity: (IdentityState, u32),
    token: (TokenState, u32),
    suspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection {
    state: AccountState,
    generation: Generation,
    attempt: u32,
    blocked: Option<BlockReason>,
    next_attempt_at: Option<Timestamp>,
}

impl Seen {
    pub(crate) fn of(status: &AccountStatus) -> Self {
        let AccountStatus { state, generation, attempt, blocked, next_attempt_at, .. } = *status;
        let token = status.token.as_ref().map_or((TokenState::Unused, 0), |t| (t.state, t.attempt));
        Self {
            connection: Connection { state, generation, attempt, blocked, next_attempt_at },
            down_since: status.down_since,
            identity: (status.identity.state, status.identity.attempt),
            token,
            suspect: status.suspicion.is_some(),
        }
    }

    /// Tells what the change came to.
    pub(crate) fn tell(self, events: &Events, status: &AccountStatus) {
        let now = Self::of(status);
        if self.connection.is_news(now.connection) {
            events.tell(Sort::Lifecycle, || self.connection_event(status));
        }
        if self.identity != now.identity {
            events.tell(Sort::Lifecycle, || self.identity_event(status));
        }
        if self.token != now.token {
            events.tell(Sort::Lifecycle, || self.token_event(status));
        }
        if self.suspect != now.suspect {
            let why = status.suspicion.as_ref().map(|suspicion| suspicion.why.clone());
            events.tell(Sort::Lifecycle, || What::Suspect { account: status.id.clone(), why });
        }
    }

    fn connection_event(self, status: &AccountStatus) -> What {
        let recovered = status.state == AccountState::Ready && self.connection.state != AccountState::Ready;
        let down = self.down_since.unwrap_or(status.since);
        What::Account {
            account: status.id.clone(),
            from: self.connection.state,
            to: status.state,
            generation: status.generation,
            cause: status.cause.clone(),
            blocked: status.blocked,
            attempt: status.attempt,
            next_attempt_at: status.next_attempt_at,
            after_ms: recovered.then(|| millis(status.since.since(down))),
            attempts: recovered.then_some(self.connection.attempt),
        }
    }

    fn identity_event(self, status: &AccountStatus) -> What {
        let identity = &status.identity;
        What::Identity {
            account: status.id.clone(),
            from: self.identity.0,
            to: identity.state,
            id: identity.id.clone(),
            name: identity.name.clone(),
            attempt: identity.attempt,
            next_attempt_at: identity.next_attempt_at,
            error: identity.last_error.clone(),
        }
    }

    fn token_event(self, status: &AccountStatus) -> What {
        let token = status.token.as_ref();
        What::Token {
            account: status.id.clone(),
            from: self.token.0,
            to: token.map_or(TokenState::Unused, |token| token.state),
            attempt: token.map_or(0, |token| token.attempt),
            next_attempt_at: token.and_then(|token| token.next_attempt_at),
            error: token.and_then(|token| token.last_error.clone()),
        }
    }
}

impl Connection {
    /// That an attempt which was waited for has begun is none: it was announced.
    fn is_news(self, now: Self) -> bool {
        let announced = Self { next_attempt_at: self.next_attempt_at, ..now };
        self != announced || (now.next_attempt_at.is_some() && now.next_attempt_at != self.next_attempt_at)
    }
}
