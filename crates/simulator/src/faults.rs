//! Faults that wait until they strike, whatever they are.

use serde::{Deserialize, Serialize};

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// This often, then it is gone.
    Count(u32),
    /// Until it is cleared.
    UntilCleared,
}

/// The faults of one app or bot.
#[derive(Debug, Clone)]
pub(crate) struct Faults<F> {
    /// In the order in which they were set.
    set: Vec<(F, Times)>,
    /// How often each has struck, in the order of their first times.
    struck: Vec<(F, u64)>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { set: Vec::new(), struck: Vec::new() }
    }
}

impl<F: Clone + PartialEq> Faults<F> {
    pub(crate) fn set(&mut self, fault: F, times: Times) {
        if times != Times::Count(0) {
            self.set.push((fault, times));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.set.clear();
    }

    pub(crate) fn list(&self) -> &[(F, Times)] {
        &self.set
    }

    pub(crate) fn struck(&self) -> &[(F, u64)] {
        &self.struck
    }

    /// The first fault `pick` knows, used up by one.
    pub(crate) fn take<T>(&mut self, pick: impl Fn(&F) -> Option<T>) -> Option<T> {
        let (index, found) =
            self.set.iter().enumerate().find_map(|(index, (fault, _))| Some((index, pick(fault)?)))?;
        let (fault, times) = self.set.get_mut(index)?;
        match self.struck.iter_mut().find(|(known, _)| known == fault) {
            Some((_, count)) => *count += 1,
            None => self.struck.push((fault.clone(), 1)),
        }
        if let Times::Count(left) = times {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.set.remove(index);
            }
        }
        Some(found)
    }
}

/// Spans as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(moorline_core::millis(*span))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
