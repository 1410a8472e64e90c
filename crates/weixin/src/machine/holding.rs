//! An answer in hand until it is stored (protocol §4.2).

use std::time::Duration;

use moorline_channel::{AckId, Delivery, Effect, Output};
use moorline_core::Monotonic;

/// Between a refusal by the store and the next attempt: doubled each time, up to the second of them.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long a verdict may take until the same is delivered once more.
const VERDICT: Duration = Duration::from_secs(10);

/// What one answer brought. The platform may have forgotten it when it answered, so it is kept here, and delivered again
/// and again, until the store has it; nothing is polled meanwhile (F-040).
pub(super) struct Holding {
    deliveries: Vec<Delivery>,
    /// Where to go on when this is stored, if that is somewhere else.
    pub(super) cursor: Option<String>,
    /// When it was asked for.
    pub(super) since: Monotonic,
    /// Of the first time it was delivered, and of the last.
    acks: (AckId, AckId),
    /// When to deliver it again.
    pub(super) due: Monotonic,
    /// How long to wait after the next refusal.
    wait: Duration,
}

impl Holding {
    /// Takes something into hand, and delivers it for the first time.
    pub(super) fn new(
        ack: AckId,
        deliveries: Vec<Delivery>,
        cursor: Option<String>,
        since: Monotonic,
        now: Monotonic,
    ) -> (Self, Effect) {
        let holding =
            Self { deliveries, cursor, since, acks: (ack, ack), due: now + VERDICT, wait: FIRST_WAIT };
        let deliver = holding.delivered();
        (holding, deliver)
    }

    /// Whether it is stored now. A verdict on an earlier delivery of the same counts if it is a good one.
    pub(super) fn verdict(&mut self, ack: AckId, stored: bool, now: Monotonic) -> bool {
        if ack < self.acks.0 || ack > self.acks.1 {
            return false;
        }
        if !stored && ack == self.acks.1 {
            self.due = now + self.wait;
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        }
        stored
    }

    /// Delivers it again when it is time to.
    pub(super) fn wake(&mut self, now: Monotonic) -> Option<Effect> {
        (now >= self.due).then(|| self.again(now))
    }

    /// Delivers it again at once, unless its verdict is awaited.
    pub(super) fn hurry(&mut self, now: Monotonic) -> Option<Effect> {
        let refused = self.wait > FIRST_WAIT;
        refused.then(|| self.again(now))
    }

    /// The first ack that this has not used.
    pub(super) const fn next_ack(&self) -> AckId {
        AckId(self.acks.1.0 + 1)
    }

    fn again(&mut self, now: Monotonic) -> Effect {
        self.acks.1 = self.next_ack();
        self.due = now + VERDICT;
        self.delivered()
    }

    fn delivered(&self) -> Effect {
        let (deliveries, cursor) = (self.deliveries.clone(), self.cursor.clone());
        Effect::Emit(Output::Deliver { ack: self.acks.1, deliveries, cursor })
    }
}
