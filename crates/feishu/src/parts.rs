//! Joins the parts of an event that came in several frames (protocol §2.3, F-038).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moorline_core::Monotonic;

use crate::frame::Frame;

/// How long a set waits for its next part. Nothing of an incomplete set was acknowledged, so the platform sends
/// what expires again.
const EXPIRY: Duration = Duration::from_secs(10);

/// Most incomplete sets kept; the one that waited longest makes room.
const SETS: usize = 64;

/// Most parts of one event.
const PARTS: i64 = 1_024;

/// Most bytes kept, all sets together, and so the longest event that comes in parts. Messages are at most 150 KB
/// (protocol §3.4).
const BYTES: usize = 4 << 20;

/// Longest id of a set; a real one is a UUID.
const ID_BYTES: usize = 256;

/// The incomplete events of one connection.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    sets: BTreeMap<String, Set>,
    bytes: usize,
}

#[derive(Debug)]
struct Set {
    sum: i64,
    parts: BTreeMap<i64, Bytes>,
    bytes: usize,
    last: Monotonic,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The event is whole. The frame that completed it is the one to acknowledge.
    Whole(Bytes),
    /// More parts are missing. Nothing is acknowledged yet.
    Incomplete,
}

/// A frame that is no part of anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartError {
    /// `sum` or `seq` is no whole number.
    #[error("header {0} is no whole number")]
    NotANumber(&'static str),
    /// `sum` is less than one or more than anybody sends.
    #[error("an event of {0} parts")]
    Sum(i64),
    /// `seq` names a part there cannot be.
    #[error("part {seq} of an event of {sum} parts")]
    Seq {
        /// Index of the part.
        seq: i64,
        /// Parts of the event.
        sum: i64,
    },
    /// The parts of a set disagree on how many they are.
    #[error("a part says that its event has {sum} parts, the first one said {first}")]
    SumChanged {
        /// What this part says.
        sum: i64,
        /// What the first part said.
        first: i64,
    },
    /// No id to join by, or one longer than any real one.
    #[error("a part without a usable message_id")]
    Id,
    /// The event alone is more than is kept.
    #[error("an event in parts has more than {BYTES} bytes")]
    TooLarge,
}

impl Parts {
    /// Takes the payload of a data frame. A frame without `sum` and `seq` is whole.
    ///
    /// # Errors
    /// When the frame is no possible part. The set it names stays as it was, unless it has become too large.
    pub(crate) fn take(&mut self, frame: &Frame, now: Monotonic) -> Result<Joined, PartError> {
        let payload = frame.payload.clone().unwrap_or_default();
        let (sum, seq) = (number(frame, "sum", 1)?, number(frame, "seq", 0)?);
        if !(1..=PARTS).contains(&sum) {
            return Err(PartError::Sum(sum));
        }
        if !(0..sum).contains(&seq) {
            return Err(PartError::Seq { seq, sum });
        }
        let id = frame.header("message_id").unwrap_or_default();
        if let Some(first) = self.sets.get(id).map(|set| set.sum).filter(|&first| first != sum) {
            return Err(PartError::SumChanged { sum, first });
        }
        if sum == 1 {
            return Ok(Joined::Whole(payload));
        }
        if id.is_empty() || id.len() > ID_BYTES {
            return Err(PartError::Id);
        }
        let mut set = self.remove(id).unwrap_or_else(|| Set {
            sum,
            parts: BTreeMap::new(),
            bytes: id.len(),
            last: now,
        });
        set.add(seq, &payload, now);
        if set.bytes > BYTES {
            return Err(PartError::TooLarge);
        }
        if set.is_whole() {
            return Ok(Joined::Whole(set.join()));
        }
        self.make_room(set.bytes);
        self.bytes += set.bytes;
        self.sets.insert(id.to_owned(), set);
        Ok(Joined::Incomplete)
    }

    /// Drops the sets that no part came for in 10 s, and says how many these were.
    pub(crate) fn expire(&mut self, now: Monotonic) -> usize {
        let before = self.sets.len();
        self.sets.retain(|_, set| now.since(set.last) < EXPIRY);
        self.bytes = self.sets.values().map(|set| set.bytes).sum();
        before - self.sets.len()
    }

    fn remove(&mut self, id: &str) -> Option<Set> {
        let set = self.sets.remove(id)?;
        self.bytes -= set.bytes;
        Some(set)
    }

    /// Drops the sets that waited longest until one more of `bytes` fits.
    fn make_room(&mut self, bytes: usize) {
        while self.sets.len() >= SETS || self.bytes + bytes > BYTES {
            let stalest = self.sets.iter().min_by_key(|(_, set)| set.last).map(|(id, _)| id.clone());
            match stalest {
                Some(id) => drop(self.remove(&id)),
                None => return,
            }
        }
    }
}

impl Set {
    /// A part that came twice is kept once.
    fn add(&mut self, seq: i64, payload: &[u8], now: Monotonic) {
        self.last = now;
        // A copy: the payload shares the memory of its frame, of which only the payload is counted here.
        self.parts.entry(seq).or_insert_with(|| {
            self.bytes += payload.len();
            Bytes::copy_from_slice(payload)
        });
    }

    fn is_whole(&self) -> bool {
        i64::try_from(self.parts.len()) == Ok(self.sum)
    }

    /// Bytes are joined before anything is decoded: parts end in the middle of characters.
    fn join(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.bytes);
        self.parts.values().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

fn number(frame: &Frame, key: &'static str, default: i64) -> Result<i64, PartError> {
    match frame.header(key) {
        Some(text) => text.parse().map_err(|_| PartError::NotANumber(key)),
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests;
