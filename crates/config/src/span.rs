//! Spans of time as they are written: `250ms`, `30s`, `1h30m`.

use std::time::Duration;

/// Units from the longest to the shortest, with their milliseconds.
const UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Nothing in a configuration lasts longer. Keeps every sum with a clock's reading far from overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads whole numbers with units, the longer unit first, without spaces; `None` for anything else and for spans
/// over [`LONGEST`].
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        // Continues behind the unit found before: a unit is written once, and in order.
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = after;
        if rest.is_empty() {
            return Some(Duration::from_millis(total)).filter(|span| *span <= LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_they_are_written() {
        let rows: &[(&str, Option<u64>)] = &[
            ("30s", Some(30_000)),
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1d2h3m4s5ms", Some(93_784_005)),
            ("0s", Some(0)),
            ("366d", Some(31_622_400_000)),
            ("367d", None),
            ("", None),
            ("30", None),
            ("s", None),
            ("30 s", None),
            ("-30s", None),
            ("1.5h", None),
            ("30m1h", None),
            ("1s1s", None),
            ("30sec", None),
            ("99999999999999999999s", None),
            ("9999999999999999999d", None),
            ("٣s", None),
        ];
        for (text, millis) in rows {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
