use std::cell::Cell;

use moorline_core::GapId;
use moorline_store::Gap;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const KEPT: Duration = Duration::from_secs(7 * 3_600);
const ALL: [Redelivery; 4] =
    [Redelivery::None, Redelivery::UntilAcked(KEPT), Redelivery::ByCursor(KEPT), Redelivery::Perhaps];

/// What the clock that goes on during a sleep and the wall clock say, in seconds.
#[derive(Default)]
struct Clocks {
    here: Cell<u64>,
    wall: Cell<i64>,
}

impl Clocks {
    fn here(&self) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(self.here.get()))
    }

    fn now(&self) -> (Timestamp, Monotonic) {
        (at(self.wall.get()), self.here())
    }

    fn pass(&self, seconds: u64) {
        self.here.set(self.here.get() + seconds);
        self.wall.set(self.wall.get() + seconds as i64);
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn told() -> Doubt {
    Doubt::HandedOut { since: Timestamp::from_millis(i64::MAX), why: "an answer was lost".to_owned() }
}

/// Hears something, and says what is to be recorded because of it.
fn hear(
    watch: &mut Watch,
    clock: &Clocks,
    redelivery: Redelivery,
    reconnected: bool,
) -> Vec<(i64, i64, GapKind)> {
    watch.heard(clock.now(), redelivery, reconnected);
    let seconds = |time: Timestamp| time.as_millis() / 1_000;
    match watch.due(clock.here(), redelivery) {
        Some((gaps, _)) => {
            watch.saved(&gaps);
            gaps.iter().map(|gap| (seconds(gap.from), seconds(gap.to), gap.kind)).collect()
        }
        None => Vec::new(),
    }
}

/// The whole policy: one row for each thing that can happen, one column for each promise of a platform.
#[test]
fn what_is_a_gap_depends_on_what_the_platform_promises_f040() {
    use GapKind::{BrokenOff, HandedOut, Outage};
    let (second, broken, told) = (Duration::from_secs(1), Doubt::BrokenOff, told());
    let quiet = Silence { lasted: second, reconnected: false, doubt: None };
    let lost = Silence { reconnected: true, ..quiet };
    // None, UntilAcked, ByCursor, Perhaps
    let rows = [
        (quiet, [None, None, None, None]),
        (lost, [Some(Outage), None, None, None]),
        (Silence { lasted: KEPT, ..lost }, [Some(Outage), None, None, None]),
        (Silence { lasted: KEPT + second, ..lost }, [Some(Outage), Some(Outage), Some(Outage), None]),
        (Silence { lasted: KEPT + second, ..quiet }, [None, Some(Outage), Some(Outage), None]),
        (Silence { doubt: Some(&broken), ..lost }, [Some(Outage), None, None, Some(BrokenOff)]),
        (
            Silence { doubt: Some(&broken), lasted: 9 * HOUR, reconnected: true },
            [Some(Outage), Some(Outage), Some(Outage), Some(BrokenOff)],
        ),
        (Silence { doubt: Some(&told), ..quiet }, [Some(HandedOut); 4]),
        (Silence { doubt: Some(&told), ..lost }, [Some(HandedOut); 4]),
    ];
    for (silence, expected) in rows {
        let found = ALL.map(|redelivery| judge(redelivery, silence).map(|(kind, _)| kind));
        assert_eq!(found, expected, "{silence:?}");
    }
    let (_, why) = judge(ALL[1], Silence { lasted: 8 * HOUR + second, ..lost }).unwrap();
    assert_eq!(why, "nothing heard for 8 h 0 min, and the platform repeats for 7 h 0 min only");
}

#[test]
fn an_account_that_was_never_heard_has_missed_nothing() {
    for redelivery in ALL {
        let (mut watch, clock) = (Watch::default(), Clocks::default());
        clock.pass(1_000_000);
        assert_eq!(hear(&mut watch, &clock, redelivery, true), []);
    }
}

#[test]
fn an_outage_is_measured_by_the_clock_that_nobody_sets_f089() {
    let (mut watch, clock) = (Watch::default(), Clocks::default());
    clock.wall.set(500);
    hear(&mut watch, &clock, ALL[1], true);
    clock.wall.set(1_000_000);
    assert_eq!(hear(&mut watch, &clock, ALL[1], true), [], "only the wall clock was set");
    clock.wall.set(500);
    clock.pass(8 * 3_600);
    clock.wall.set(400);
    assert_eq!(
        hear(&mut watch, &clock, ALL[1], true),
        [(400, 400, GapKind::Outage)],
        "it was set back meanwhile"
    );
}

/// Doubts that follow one another are one gap, for as long as there is no healthy minute between them.
#[test]
fn a_noisy_link_makes_one_gap_and_not_a_thousand_g12() {
    let (mut watch, clock) = (Watch::default(), Clocks::default());
    hear(&mut watch, &clock, Redelivery::Perhaps, true);
    for _ in 0..1_000 {
        clock.pass(59);
        hear(&mut watch, &clock, Redelivery::Perhaps, false);
        clock.pass(20);
        watch.doubt(told());
        watch.doubt(told());
        let now = clock.wall.get();
        // The first sign of life ends it; it began with the last one before the first doubt of all.
        assert_eq!(hear(&mut watch, &clock, Redelivery::Perhaps, true), [(59, now, GapKind::HandedOut)]);
    }
    clock.pass(60);
    hear(&mut watch, &clock, Redelivery::Perhaps, false);
    let healthy = clock.wall.get();
    clock.pass(20);
    watch.doubt(told());
    assert_eq!(
        hear(&mut watch, &clock, Redelivery::Perhaps, false),
        [(healthy, healthy + 20, GapKind::HandedOut)],
        "after a healthy minute it is another one"
    );
}

#[test]
fn what_the_connector_says_outweighs_a_broken_connection() {
    for first in [true, false] {
        let (mut watch, clock) = (Watch::default(), Clocks::default());
        hear(&mut watch, &clock, ALL[1], true);
        clock.pass(5);
        for told_now in [first, !first] {
            watch.doubt(if told_now { told() } else { Doubt::BrokenOff });
        }
        // It was told from the last sign of life on, and the call that was broken off began before that.
        let expected = [(-60, 5, GapKind::HandedOut)];
        assert_eq!(hear(&mut watch, &clock, ALL[1], true), expected);
    }
}

/// What the store did not take is tried again, soon and not at once; meanwhile it may grow.
#[test]
fn a_gap_is_kept_until_it_is_on_disk_f074() {
    let (mut watch, clock) = (Watch::default(), Clocks::default());
    let clock = &clock;
    hear(&mut watch, clock, Redelivery::Perhaps, true);
    let doubtful = |watch: &mut Watch| {
        clock.pass(5);
        watch.doubt(told());
        watch.heard(clock.now(), Redelivery::Perhaps, false);
        watch.due(clock.here(), Redelivery::Perhaps).unwrap().0
    };
    let first = doubtful(&mut watch);
    watch.refused(clock.here());
    assert_eq!(watch.due(clock.here(), Redelivery::Perhaps), None);
    assert_eq!(watch.ride(clock.here(), Redelivery::Perhaps), None, "a sign of life that hides the gap");
    clock.pass(9);
    assert_eq!(watch.due(clock.here(), Redelivery::Perhaps), None, "too soon");
    clock.pass(1);
    assert!(watch.due(clock.here(), Redelivery::Perhaps).is_some(), "again");
    let second = doubtful(&mut watch);
    assert_eq!((second.len(), second[0].from, second[0].to), (1, at(0), at(20)));
    // The first commit took its time.
    watch.saved(&first);
    watch.left();
    let (gaps, _) = watch.due(clock.here(), Redelivery::Perhaps).unwrap();
    assert_eq!(gaps, second);
    watch.saved(&gaps);
    clock.pass(60);
    let (gaps, heard) = watch.due(clock.here(), Redelivery::Perhaps).unwrap();
    assert_eq!((gaps, heard), (Vec::new(), LastHeard { at: at(20), orderly: false }));
}

#[test]
fn signs_of_life_are_put_down_seldom_and_ride_along_where_they_can() {
    let often = [Redelivery::None, Redelivery::Perhaps].map(|redelivery| (redelivery, 60));
    let seldom = [ALL[1], ALL[2]].map(|redelivery| (redelivery, 600));
    for (redelivery, every) in often.into_iter().chain(seldom) {
        let (mut watch, clock) = (Watch::default(), Clocks::default());
        let mut written = Vec::new();
        for _ in 0..=2 * every {
            watch.heard(clock.now(), redelivery, false);
            if watch.due(clock.here(), redelivery).is_some() {
                written.push(clock.here.get());
            }
            clock.pass(1);
        }
        assert_eq!(written, [0, every, 2 * every], "{redelivery:?}");
        clock.pass(every / 2 - 2);
        assert_eq!(watch.ride(clock.here(), redelivery), None, "{redelivery:?}");
        clock.pass(1);
        let rides = Op::Heard { at: at(2 * every as i64), orderly: false };
        assert_eq!(watch.ride(clock.here(), redelivery), Some(rides), "{redelivery:?}");
        clock.pass(every - 1);
        assert_eq!(watch.due(clock.here(), redelivery), None, "{redelivery:?}");
    }
}

/// What the next process makes of what this one leaves: [the end, and whether a goodbye is said after it] → a gap.
#[test]
fn the_next_process_judges_the_end_of_this_one_f040() {
    type End = (&'static str, fn(&mut Watch), bool, bool);
    let ends: [End; 4] = [
        ("a goodbye", |_| {}, true, false),
        ("a kill", |_| {}, false, true),
        ("a goodbye in doubt", |watch| watch.doubt(told()), true, true),
        ("a goodbye after the actor has crashed", |watch| watch.doubt(Doubt::BrokenOff), true, true),
    ];
    for (name, end, goodbye, gap) in ends {
        let (mut watch, clock) = (Watch::default(), Clocks::default());
        watch.heard(clock.now(), Redelivery::Perhaps, true);
        let mut left = watch.due(clock.here(), Redelivery::Perhaps).unwrap().1;
        end(&mut watch);
        if goodbye {
            left = watch.part().unwrap().1;
            assert_eq!(watch.part(), None, "{name}: nothing is new since");
        }
        let life = Life { heard: Some(left), last_gap: None };
        let mut next = Watch::after(&life);
        assert_eq!(next.part(), None, "{name}: a process that hears nothing says nothing");
        clock.pass(100);
        // A call may have been under way for a minute when it was last heard.
        let expected = if gap { vec![(-60, 100, GapKind::BrokenOff)] } else { vec![] };
        assert_eq!(hear(&mut next, &clock, Redelivery::Perhaps, true), expected, "{name}");
    }
}

/// What was put down with a goodbye is not true any more with the next sign of life.
#[test]
fn a_sign_of_life_after_a_goodbye_is_put_down_at_once_f040() {
    let (mut watch, clock) = (Watch::default(), Clocks::default());
    for _ in 0..3 {
        clock.pass(1);
        watch.heard(clock.now(), Redelivery::Perhaps, true);
        let (at, _) = clock.now();
        let put_down = |orderly| Some((Vec::new(), LastHeard { at, orderly }));
        assert_eq!(watch.due(clock.here(), Redelivery::Perhaps), put_down(false));
        assert_eq!(watch.part(), put_down(true));
    }
}

#[test]
fn a_gap_goes_on_over_a_restart_f040() {
    let last = NewGap { from: at(-50), to: at(-9), kind: GapKind::BrokenOff, why: String::new() };
    let (id, account) = (GapId::new(1), "feishu:main".parse().unwrap());
    let last_gap = Some(Gap { id, account, gap: last, recorded_at: at(-9) });
    let mut watch = Watch::after(&Life { heard: Some(LastHeard { at: at(0), orderly: false }), last_gap });
    let clock = Clocks::default();
    clock.pass(5);
    assert_eq!(hear(&mut watch, &clock, Redelivery::Perhaps, true), [(-50, 5, GapKind::BrokenOff)]);
}

/// What said goodbye and asks again has something to miss from then on, and not from the goodbye on.
#[test]
fn a_new_beginning_after_a_goodbye_is_put_down_f040() {
    let (mut watch, clock) = (Watch::default(), Clocks::default());
    watch.heard(clock.now(), Redelivery::Perhaps, true);
    assert!(!watch.begins(Redelivery::Perhaps));
    let (_, left) = watch.part().unwrap();
    assert!(watch.begins(Redelivery::Perhaps), "in the same process");
    for orderly in [true, false] {
        let mut next = Watch::after(&Life { heard: Some(LastHeard { orderly, ..left }), last_gap: None });
        assert_eq!(next.begins(Redelivery::Perhaps), orderly, "in the next one");
        assert!(!next.begins(Redelivery::None) && !next.begins(ALL[1]));
        clock.pass(1_000);
        let (at, here) = clock.now();
        next.begun(at, here);
        assert!(!next.begins(Redelivery::Perhaps));
        assert_eq!(
            next.part().map(|(_, left)| left.orderly),
            Some(orderly),
            "it ends in order before it is heard"
        );
    }
}

/// A process that was killed with the very first answer in its hands left no word of it.
#[test]
fn what_is_lost_before_the_first_sign_of_life_is_told_f040() {
    let mut watch = Watch::after(&Life::default());
    assert!(watch.begins(Redelivery::Perhaps));
    assert!(
        !watch.begins(Redelivery::UntilAcked(Duration::from_secs(60))) && !watch.begins(Redelivery::None)
    );
    let moment = |seconds: u64| {
        let span = Duration::from_secs(seconds);
        (Timestamp::default() + span, Monotonic::from_origin(span))
    };
    let (at, here) = moment(10);
    watch.begun(at, here);
    assert!(!watch.begins(Redelivery::Perhaps));
    watch.heard(moment(12), Redelivery::Perhaps, true);
    watch.doubt(Doubt::HandedOut { since: moment(11).0, why: "cut off".to_owned() });
    watch.heard(moment(13), Redelivery::Perhaps, true);
    let (gaps, _) = watch.due(moment(13).1, Redelivery::Perhaps).unwrap();
    // A sign of life beside the doubtful call changes nothing.
    assert_eq!((gaps[0].from, gaps[0].to), (moment(11).0, moment(13).0));
    assert_ne!(at, moment(11).0);
}
