//! Counting how large things are: how long an acknowledgement took, how many transactions shared a sync.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts values by size. Never grows, takes no lock, and any thread may write and read (G12).
///
/// Values are whole numbers: a number of things, or a span in microseconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is larger than all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The greatest value that each class holds, ascending.
    pub bounds: &'static [u64],
    /// How many values are in each class; the last class has no bound.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Histogram {
    /// An empty one; `bounds` ascend.
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let class = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(class) {
            count.fetch_add(1, Relaxed);
            self.sum.fetch_add(value, Relaxed);
        }
    }

    /// Counts a span, in microseconds.
    pub fn observe_span(&self, span: Duration) {
        self.observe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it holds now.
    pub fn distribution(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_class_and_what_is_larger_than_all_is_counted_too() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, 1_000_000] {
            histogram.observe(value);
        }
        let distribution = histogram.distribution();
        assert_eq!(distribution.counts, [2, 2, 2, 2]);
        assert_eq!((distribution.count(), distribution.sum), (8, 1_000_225));
    }

    #[test]
    fn spans_are_counted_in_microseconds() {
        let histogram = Histogram::new(&[1_000]);
        histogram.observe_span(Duration::from_millis(1));
        histogram.observe_span(Duration::from_micros(1_001));
        assert_eq!(histogram.distribution().counts, [1, 1]);
        assert_eq!(histogram.distribution().sum, 2_001);
    }
}
