//! Whether an agent is asked: a machine without I/O, one for each agent (F-051).
//!
//! It is open until a call finds that the agent is not available. Then one call at a time goes in, a probe, when the
//! back-off is over; everybody else waits for what becomes of it. Who has failed least often goes first, so that no turn
//! can keep all probes for itself. Whatever shows that the agent takes calls opens the gate to
//! all at once.

use std::collections::BTreeSet;
use std::time::Duration;

use moorline_core::{Backoff, Failure, Monotonic, RetryPolicy};

/// Between probes. Shorter than for platforms, because somebody waits for the answer: within 5 s of an agent's return
/// everybody is on the way to it.
const PROBES: Backoff = Backoff {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(5),
    reset_after: Backoff::STANDARD.reset_after,
};

/// How long the next probe is left to whose turn it is.
const AFTER_YOU: Duration = Duration::from_millis(50);

/// The gate in front of an agent.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waiting: BTreeSet<Place>,
    outage: Option<Outage>,
    outages: u64,
    answers: u64,
}

/// The time for which an agent is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Which one of this gate's it is.
    number: u64,
    pub(crate) since: Monotonic,
    /// The call that began it, and failed probes.
    pub(crate) failures: u32,
    /// When the next probe may begin.
    pub(crate) next_at: Monotonic,
    probing: bool,
}

/// A place among those who wait, in the order of the fields: who has failed least often goes first, so that a turn that
/// breaks its agent never keeps the probes from those it would answer. The number keeps places different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) failures: u32,
    pub(crate) since: Monotonic,
    pub(crate) number: u64,
}

/// What somebody may do who wants to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Ask; as the probe of this outage, if there is one.
    Ask(Option<u64>),
    /// Wait until somebody else has an answer, and no longer than this if it is known.
    Wait(Option<Duration>),
}

impl Gate {
    /// Whether there is an outage.
    pub(crate) fn is_closed(&self) -> bool {
        self.outage.is_some()
    }

    /// Somebody wants to ask. Who has to wait keeps the place until [`Gate::leave`].
    pub(crate) fn enter(&mut self, place: Place, now: Monotonic) -> Entry {
        let entry = match &mut self.outage {
            None => return Entry::Ask(None),
            Some(outage) if outage.probing => Entry::Wait(None),
            Some(outage) if outage.next_at > now => Entry::Wait(Some(outage.next_at - now)),
            Some(_) if self.waiting.first().is_some_and(|first| *first < place) => {
                Entry::Wait(Some(AFTER_YOU))
            }
            Some(outage) => {
                outage.probing = true;
                return Entry::Ask(Some(outage.number));
            }
        };
        self.waiting.insert(place);
        entry
    }

    /// Somebody waits no longer.
    pub(crate) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// A call ended in another way than by finding the agent not available. If that was the end of an outage, how long
    /// that was.
    pub(crate) fn answered(&mut self, now: Monotonic) -> Option<Duration> {
        self.answers += 1;
        self.outage.take().map(|outage| now - outage.since)
    }

    /// A call found the agent not available, with `unit` drawn from `0.0..1.0`.
    pub(crate) fn failed(
        &mut self,
        probe: Option<u64>,
        retry_after: Option<Duration>,
        unit: f64,
        now: Monotonic,
    ) -> Outage {
        let policy = RetryPolicy { transient: PROBES, ..RetryPolicy::STANDARD };
        let failure = Failure::transient("the agent is not available").with_retry_after(retry_after);
        let next_at = |failures| now + policy.delay(&failure, failures, unit);
        let outage = match self.outage {
            None => {
                self.outages += 1;
                Outage { number: self.outages, since: now, failures: 1, next_at: next_at(1), probing: false }
            }
            Some(outage) if probe == Some(outage.number) => {
                let failures = outage.failures.saturating_add(1);
                Outage { failures, next_at: next_at(failures), probing: false, ..outage }
            }
            // It began before the outage did, and says nothing new; unless it was told to wait for longer.
            Some(outage) if retry_after.is_some() => {
                Outage { next_at: outage.next_at.max(next_at(outage.failures)), ..outage }
            }
            Some(outage) => outage,
        };
        self.outage = Some(outage);
        outage
    }

    /// A call was dropped before it ended: the next one may probe.
    pub(crate) fn given_up(&mut self, probe: Option<u64>) {
        if let Some(outage) = self.outage.as_mut().filter(|outage| probe == Some(outage.number)) {
            outage.probing = false;
        }
    }

    /// How many calls have shown that the agent takes calls.
    pub(crate) fn answers(&self) -> u64 {
        self.answers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    const fn place(number: u64) -> Place {
        Place { failures: 0, since: Monotonic::from_origin(Duration::ZERO), number }
    }

    const fn wait(millis: u64) -> Entry {
        Entry::Wait(Some(Duration::from_millis(millis)))
    }

    #[test]
    fn one_probe_at_a_time_and_then_everybody_f051() {
        let mut gate = Gate::default();
        assert_eq!([gate.enter(place(0), at(0)), gate.enter(place(0), at(0))], [Entry::Ask(None); 2]);
        let outage = gate.failed(None, None, 1.0, at(10));
        assert_eq!((outage.failures, outage.next_at), (1, at(1_010)));
        // The other call of that time fails as well.
        assert_eq!(gate.failed(None, None, 1.0, at(20)), outage);
        assert_eq!(gate.enter(place(0), at(30)), wait(980));
        assert_eq!(gate.enter(place(0), at(1_010)), Entry::Ask(Some(1)));
        assert_eq!(gate.enter(place(0), at(9_999)), Entry::Wait(None), "while the probe is out");
        let outage = gate.failed(Some(1), None, 1.0, at(10_000));
        assert_eq!((outage.failures, outage.next_at), (2, at(12_000)));
        assert_eq!(gate.enter(place(0), at(12_000)), Entry::Ask(Some(1)));
        gate.given_up(Some(1));
        assert_eq!(gate.enter(place(0), at(12_000)), Entry::Ask(Some(1)), "the next one instead");
        assert_eq!(gate.answered(at(12_010)), Some(Duration::from_secs(12)));
        assert_eq!(
            [gate.enter(place(0), at(12_010)), gate.enter(place(0), at(12_010))],
            [Entry::Ask(None); 2]
        );
        assert_eq!((gate.answered(at(12_020)), gate.answers()), (None, 2));
    }

    #[test]
    fn who_has_failed_least_often_probes_first_and_of_these_who_has_waited_for_longest() {
        let mut gate = Gate::default();
        gate.failed(None, None, 1.0, at(0));
        assert_eq!([gate.enter(place(2), at(0)), gate.enter(place(1), at(0))], [wait(1_000); 2]);
        assert_eq!(gate.enter(place(2), at(1_000)), Entry::Wait(Some(AFTER_YOU)));
        assert_eq!(gate.enter(place(1), at(1_000)), Entry::Ask(Some(1)));
        gate.leave(place(1));
        // It failed, and has a later place now.
        gate.failed(Some(1), None, 1.0, at(1_000));
        let again = Place { failures: 1, ..place(1) };
        assert_eq!(gate.enter(again, at(3_000)), Entry::Wait(Some(AFTER_YOU)));
        assert_eq!(gate.enter(place(2), at(3_000)), Entry::Ask(Some(1)));
        gate.given_up(Some(1));
        gate.leave(place(2));
        assert_eq!(gate.enter(again, at(3_050)), Entry::Ask(Some(1)), "nobody is before it any more");
    }

    #[test]
    fn the_agent_may_ask_for_a_longer_wait_and_not_for_a_shorter_one() {
        let mut gate = Gate::default();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(gate.failed(None, seconds(20), 0.5, at(0)).next_at, at(20_000));
        assert_eq!(gate.failed(None, seconds(30), 0.5, at(1_000)).next_at, at(31_000));
        assert_eq!(gate.failed(None, seconds(3), 0.5, at(2_000)).next_at, at(31_000));
        assert_eq!(gate.enter(place(0), at(31_000)), Entry::Ask(Some(1)));
        assert_eq!(gate.failed(Some(1), seconds(0), 0.0, at(31_000)).next_at, at(32_000));
    }

    #[test]
    fn a_probe_of_an_earlier_outage_says_nothing_about_this_one() {
        let mut gate = Gate::default();
        gate.failed(None, None, 1.0, at(0));
        let Entry::Ask(early) = gate.enter(place(0), at(1_000)) else { panic!("a probe") };
        gate.answered(at(1_001));
        let outage = gate.failed(None, None, 1.0, at(1_002));
        let Entry::Ask(late) = gate.enter(place(0), at(2_002)) else { panic!("a probe") };
        assert_ne!(early, late);
        gate.given_up(early);
        assert_eq!(gate.failed(early, None, 1.0, at(2_003)).failures, outage.failures);
        assert_eq!(gate.enter(place(0), at(9_000)), Entry::Wait(None), "the probe of this outage is out");
    }

    proptest! {
        /// However often it is asked, and whatever becomes of the probes: there is one in each back-off at most, and
        /// back-offs are between half a second and 5 s.
        #[test]
        fn there_is_never_more_than_one_probe_in_a_back_off_f051(
            steps in prop::collection::vec((0_u64..2_000, 0_u8..3, 0.0_f64..1.0), 1..200)
        ) {
            let (mut gate, mut now, mut probe) = (Gate::default(), at(0), None);
            let mut earliest = gate.failed(None, None, 0.5, now).next_at;
            for (millis, what, unit) in steps {
                now = now + Duration::from_millis(millis);
                match gate.enter(place(0), now) {
                    Entry::Ask(number) => {
                        prop_assert!(probe.is_none() && number.is_some() && now >= earliest);
                        probe = number;
                    }
                    Entry::Wait(Some(wait)) => {
                        prop_assert!(probe.is_none() && wait <= Duration::from_secs(5));
                    }
                    Entry::Wait(None) => prop_assert!(probe.is_some()),
                }
                if what == 0 && probe.is_some() {
                    let outage = gate.failed(probe.take(), None, unit, now);
                    let wait = outage.next_at - now;
                    prop_assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(5));
                    earliest = outage.next_at;
                } else if what == 1 {
                    gate.given_up(probe.take());
                }
            }
        }
    }
}
