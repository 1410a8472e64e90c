//! When a job is due: a cron pattern in a time zone. Pure; the zones are compiled in, so that no machine lacks one.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use moorline_config::nearest;
use moorline_core::Timestamp;

/// How far on a search begins again, and how often.
const STRIDE_MS: i64 = 6 * 3_600_000;
const STRIDES: i64 = 8;

/// A pattern in a zone.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why there is no such schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// The time zone is not known.
    #[error("`{written}` is no time zone{hint}")]
    UnknownZone {
        /// What was written.
        written: String,
        /// What may be meant.
        hint: String,
    },
    /// The pattern cannot be read.
    #[error(
        "`{written}` is no schedule: {why}; write five fields (minute, hour, day, month, weekday), six with seconds \
         before them, or one of @hourly, @daily, @weekly, @monthly and @yearly"
    )]
    Pattern {
        /// What was written.
        written: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such day.
    #[error("`{0}` is never due: there is no such day")]
    Never(String),
}

impl Schedule {
    /// Reads a pattern and the IANA name of a zone.
    pub(crate) fn parse(pattern: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        let wrong = |why: String| InvalidSchedule::Pattern { written: pattern.to_owned(), why };
        let zone = TimeZone::get(zone)
            .map_err(|_| InvalidSchedule::UnknownZone { written: zone.to_owned(), hint: hint(zone) })?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { cron, zone })
    }

    /// The first due time after this moment. A due time of day that the clocks skip is due when they have skipped it;
    /// one that they repeat is due the first time. What recurs within hours goes by the clock on the wall.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.search(moment, 1, |from| self.cron.find_next_occurrence(from, false)).filter(|due| *due > moment)
    }

    /// The last due time that is not after this moment.
    pub(crate) fn until(&self, moment: Timestamp) -> Option<Timestamp> {
        self.search(moment, -1, |from| self.cron.find_previous_occurrence(from, true))
            .filter(|due| *due <= moment)
    }

    /// The last due time before this one.
    pub(crate) fn before(&self, due: Timestamp) -> Option<Timestamp> {
        self.until(Timestamp::from_millis(due.as_millis() - 1))
    }

    /// A search that finds nothing begins again a little further on: it cannot pass a whole day that a zone left out,
    /// and a job must not be thought never due because of one.
    fn search(
        &self,
        moment: Timestamp,
        direction: i64,
        find: impl Fn(&Zoned) -> Result<Zoned, CronError>,
    ) -> Option<Timestamp> {
        let further = |times: i64| moment.as_millis().saturating_add(direction * times * STRIDE_MS);
        let from = |times| self.zoned(Timestamp::from_millis(further(times)));
        let found = (0..=STRIDES).find_map(|times| find(&from(times)?).ok())?;
        Some(Timestamp::from_millis(found.timestamp().as_millisecond()))
    }

    fn zoned(&self, moment: Timestamp) -> Option<Zoned> {
        let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).ok()?;
        Some(moment.to_zoned(self.zone.clone()))
    }
}

/// This moment as the clocks in the zone show it; nothing for a zone that is not known.
pub(crate) fn local(moment: Timestamp, zone: &str) -> Option<String> {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).ok()?;
    let zoned = moment.to_zoned(TimeZone::get(zone).ok()?);
    Some(zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// What may be meant: a place by its own name, or what is spelt nearly so.
fn hint(written: &str) -> String {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let place = |name: &&String| {
        name.rsplit('/').next().is_some_and(|place| place.eq_ignore_ascii_case(written.trim()))
    };
    let found = known.iter().find(place).map(String::as_str);
    match found.or_else(|| nearest(written, known.iter().map(String::as_str))) {
        Some(name) => format!(", did you mean `{name}`?"),
        None => ": write an IANA name such as `Asia/Shanghai`, `Europe/Berlin` or `UTC`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// F-089: what is due across every kind of change of the clocks, in UTC.
    #[test]
    fn due_times_are_those_of_the_clock_on_the_wall_f089() {
        let table: &[(&str, &str, &str, &[&str])] = &[
            (
                "0 9 * * *",
                "Asia/Shanghai",
                "2026-11-20T00:59:59Z",
                &["2026-11-20T01:00:00Z", "2026-11-21T01:00:00Z"],
            ),
            // 2:30 is skipped on 29 March: due when the clocks have skipped it.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T00:00:00Z",
                &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
            ),
            // 2:30 comes twice on 25 October: due the first time only.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T00:00:00Z",
                &["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
            ),
            // Every half hour goes on being every half hour.
            (
                "*/30 * * * *",
                "Europe/Berlin",
                "2026-03-29T00:10:00Z",
                &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
            ),
            (
                "*/30 * * * *",
                "Europe/Berlin",
                "2026-10-24T23:45:00Z",
                &[
                    "2026-10-25T00:00:00Z",
                    "2026-10-25T00:30:00Z",
                    "2026-10-25T01:00:00Z",
                    "2026-10-25T01:30:00Z",
                    "2026-10-25T02:00:00Z",
                ],
            ),
            // A gap of half an hour.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T00:00:00Z",
                &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
            ),
            ("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"]),
            // A whole day that a zone left out.
            (
                "0 8 * * *",
                "Pacific/Apia",
                "2011-12-29T00:00:00Z",
                &["2011-12-29T18:00:00Z", "2011-12-30T18:00:00Z"],
            ),
            ("0 8 * * MON-FRI", "UTC", "2026-11-20T09:00:00Z", &["2026-11-23T08:00:00Z"]),
            ("@daily", "UTC", "2026-12-31T10:00:00Z", &["2027-01-01T00:00:00Z"]),
            (
                "*/10 * * * * *",
                "UTC",
                "2026-11-20T09:00:05.500Z",
                &["2026-11-20T09:00:10Z", "2026-11-20T09:00:20Z"],
            ),
        ];
        for (pattern, zone, from, expected) in table {
            let schedule = Schedule::parse(pattern, zone).unwrap();
            let mut at = moment(from);
            let mut found = Vec::new();
            for _ in 0..expected.len() {
                at = schedule.after(at).unwrap_or_else(|| panic!("{pattern} {zone}: nothing after {at}"));
                found.push(at);
                assert_eq!(schedule.until(at), Some(at), "{pattern} {zone}");
                assert_eq!(schedule.until(at + std::time::Duration::from_millis(999)), Some(at), "{pattern}");
            }
            let expected: Vec<Timestamp> = expected.iter().map(|text| moment(text)).collect();
            assert_eq!(found, expected, "{pattern} {zone}");
            for pair in found.windows(2) {
                assert_eq!(schedule.before(pair[1]), Some(pair[0]), "{pattern} {zone}");
            }
        }
    }

    #[test]
    fn what_is_no_schedule_is_said_with_what_may_be_meant() {
        let said = |pattern: &str, zone: &str| Schedule::parse(pattern, zone).unwrap_err().to_string();
        for pattern in ["", "daily", "61 * * * *", "* * * *", "0 0 9 * * * 2026", "@every 10m", "a b c d e"] {
            assert!(said(pattern, "UTC").contains("is no schedule"), "{pattern}: {}", said(pattern, "UTC"));
        }
        assert!(said("@daily", "Asia/Shangai").contains("`Asia/Shanghai`"));
        assert!(said("@daily", "tokyo").contains("`Asia/Tokyo`"));
        assert!(said("@daily", "nowhere at all").contains("IANA name"));
        let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.after(moment("2026-01-01T00:00:00Z")), None);
    }
}
