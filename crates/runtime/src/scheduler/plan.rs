//! What is to be done about a job now. Pure, one step at a time: whoever carries it out asks again.

use std::time::Duration;

use moorline_core::Timestamp;
use moorline_store::{JobRow, MissedPolicy};

use super::schedule::Schedule;

/// A run this long after its due time is still on time.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// As many missed due times run at most under `all`; those before them are recorded.
const MOST_CAUGHT_UP: usize = 100;

/// Missed due times are counted up to here.
const COUNTED: u64 = 2_000;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is due before this, or ever.
    Wait(Option<Timestamp>),
    /// The clock was set back: the job is due earlier than it believes.
    Rewind(Timestamp),
    /// These due times do not run.
    Record {
        /// The first of them.
        due: Timestamp,
        /// The last of them.
        until: Timestamp,
        /// How many they are.
        count: u64,
        /// They are too old, whatever the policy.
        expired: bool,
        /// The due time after them.
        next: Option<Timestamp>,
    },
    /// This due time runs now.
    Fire {
        /// The due time.
        due: Timestamp,
        /// It should have run before: whoever carries it out takes care that not all do at once.
        late: bool,
        /// The due time after it.
        next: Option<Timestamp>,
    },
}

/// What is to be done about a job that is enabled. `rewound` says that the wall clock may have been set back since the
/// last time: else a job would wait until the clock has caught up (F-089).
pub(crate) fn step(job: &JobRow, schedule: &Schedule, now: Timestamp, rewound: bool) -> Step {
    let Some(due) = job.job.next_due else { return Step::Wait(None) };
    if due > now {
        let earlier = schedule.after(now).filter(|earlier| rewound && *earlier < due);
        return earlier.map_or(Step::Wait(Some(due)), Step::Rewind);
    }
    // What is on time is never too late, whatever the job's longest delay.
    let oldest = now.minus(Duration::from_millis(job.job.max_delay_ms).max(GRACE));
    let record = |until: Timestamp, expired: bool| Step::Record {
        due,
        until,
        count: count(schedule, due, until),
        expired,
        next: schedule.after(until),
    };
    if due < oldest {
        return record(schedule.before(oldest).filter(|last| *last >= due).unwrap_or(due), true);
    }
    let late = now.since(due) > GRACE;
    let latest = schedule.until(now).filter(|latest| *latest > due);
    let missed = match (job.job.missed, latest) {
        (MissedPolicy::All, Some(latest)) => before_the_last(schedule, due, latest),
        (MissedPolicy::Once | MissedPolicy::Skip, Some(latest)) => schedule.before(latest),
        (MissedPolicy::Skip, None) => late.then_some(due),
        (MissedPolicy::Once | MissedPolicy::All, None) => None,
    };
    match missed {
        Some(until) => record(until.max(due), false),
        None => Step::Fire { due, late, next: schedule.after(due) },
    }
}

/// How many due times there are from `due` to `until`, up to a limit.
fn count(schedule: &Schedule, due: Timestamp, until: Timestamp) -> u64 {
    let mut at = Some(due);
    let mut count = 0;
    while let Some(due) = at.filter(|due| *due <= until && count < COUNTED) {
        count += 1;
        at = schedule.after(due);
    }
    count
}

/// Of the due times from `due` to `latest`: the last one that is too many to be caught up with.
fn before_the_last(schedule: &Schedule, due: Timestamp, latest: Timestamp) -> Option<Timestamp> {
    let mut at = latest;
    for _ in 0..MOST_CAUGHT_UP {
        at = schedule.before(at).filter(|before| *before >= due)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use moorline_core::{ChatId, JobId};
    use moorline_store::{JobKind, NewJob};

    use super::*;

    const HOUR: i64 = 3_600;

    fn at(seconds: i64) -> Timestamp {
        // A full hour.
        Timestamp::from_millis(1_795_176_000_000 + 1_000 * seconds)
    }

    fn job(missed: MissedPolicy, next_due: Option<i64>) -> JobRow {
        let job = NewJob {
            name: None,
            account: "feishu:main".parse().unwrap(),
            chat: ChatId::new("oc_1"),
            schedule: "@hourly".to_owned(),
            zone: "UTC".to_owned(),
            kind: JobKind::Text,
            body: "hello".to_owned(),
            missed,
            max_delay_ms: 12 * 3_600_000,
            next_due: next_due.map(at),
            key: None,
        };
        let (created_at, enabled_at) = (at(0), at(0));
        JobRow { id: JobId::new(1), job, enabled: true, reason: None, created_at, enabled_at }
    }

    /// A job that may not be late at all ran never: no run begins in the very millisecond in which it is due.
    #[test]
    fn a_job_that_may_not_be_late_runs_when_it_is_on_time_f087() {
        let hourly = Schedule::parse("@hourly", "UTC").unwrap();
        let mut job = job(MissedPolicy::Once, Some(HOUR));
        job.job.max_delay_ms = 0;
        let step_at = |seconds| step(&job, &hourly, at(HOUR + seconds), false);
        assert!(matches!(step_at(1), Step::Fire { late: false, .. }));
        assert!(matches!(step_at(61), Step::Record { expired: true, .. }));
    }

    /// Each row: the policy, the due time, now, and the steps until there is nothing more to do.
    #[test]
    fn every_due_time_runs_or_is_recorded_f086_f087() {
        use MissedPolicy::{All, Once, Skip};
        let hourly = Schedule::parse("@hourly", "UTC").unwrap();
        let fire =
            |hours: i64, late| Step::Fire { due: at(hours * HOUR), late, next: Some(at((hours + 1) * HOUR)) };
        let record = |from: i64, to: i64, expired| Step::Record {
            due: at(from * HOUR),
            until: at(to * HOUR),
            count: (to - from + 1) as u64,
            expired,
            next: Some(at((to + 1) * HOUR)),
        };
        let table = [
            (Once, HOUR, vec![fire(1, false)]),
            (Once, HOUR + 60, vec![fire(1, false)]),
            (Once, HOUR + 61, vec![fire(1, true)]),
            (Once, 3 * HOUR + 61, vec![record(1, 2, false), fire(3, true)]),
            (Skip, HOUR + 60, vec![fire(1, false)]),
            (Skip, HOUR + 61, vec![record(1, 1, false)]),
            (Skip, 3 * HOUR, vec![record(1, 2, false), fire(3, false)]),
            (Skip, 3 * HOUR + 61, vec![record(1, 2, false), record(3, 3, false)]),
            (All, 3 * HOUR + 1, vec![fire(1, true), fire(2, true), fire(3, false)]),
            (Once, 20 * HOUR, vec![record(1, 7, true), record(8, 19, false), fire(20, false)]),
            (All, 13 * HOUR + 1, vec![record(1, 1, true), fire(2, true)]),
            (Skip, 20 * HOUR + 61, vec![record(1, 8, true), record(9, 19, false), record(20, 20, false)]),
        ];
        for (policy, now, steps) in table {
            let mut job = job(policy, Some(HOUR));
            for expected in steps {
                let found = step(&job, &hourly, at(now), false);
                assert_eq!(found, expected, "{policy:?} at {now}");
                let (Step::Record { next, .. } | Step::Fire { next, .. }) = found else { unreachable!() };
                job.job.next_due = next;
            }
        }
    }

    #[test]
    fn a_catch_up_is_bounded_and_the_rest_is_recorded_f087() {
        let every_second = Schedule::parse("* * * * * *", "UTC").unwrap();
        let mut job = job(MissedPolicy::All, Some(1));
        let found = step(&job, &every_second, at(3_000), false);
        let Step::Record { until, count, expired: false, next, .. } = found else { panic!("{found:?}") };
        assert_eq!((until, count, next), (at(2_900), COUNTED, Some(at(2_901))));
        job.job.next_due = next;
        for second in 2_901..=3_000 {
            let found = step(&job, &every_second, at(3_000), false);
            let Step::Fire { due, next, .. } = found else { panic!("{found:?}") };
            assert_eq!(due, at(second));
            job.job.next_due = next;
        }
        assert_eq!(step(&job, &every_second, at(3_000), false), Step::Wait(Some(at(3_001))));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_job_wait_for_it_f089() {
        let hourly = Schedule::parse("@hourly", "UTC").unwrap();
        let job = job(MissedPolicy::Once, Some(100 * HOUR));
        assert_eq!(step(&job, &hourly, at(5), false), Step::Wait(Some(at(100 * HOUR))));
        assert_eq!(step(&job, &hourly, at(5), true), Step::Rewind(at(HOUR)));
    }

    #[test]
    fn what_is_never_due_again_waits_for_ever() {
        let hourly = Schedule::parse("@hourly", "UTC").unwrap();
        assert_eq!(step(&job(MissedPolicy::Once, None), &hourly, at(5), true), Step::Wait(None));
    }
}
