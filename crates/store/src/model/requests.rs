//! Answers to requests that may be sent again.

use moorline_core::Timestamp;

use super::State;
use crate::tx::{Outcome, RequestAnswer};

impl State {
    pub(super) fn remember_answer(&mut self, key: &str, at: Timestamp, answer: &RequestAnswer) -> Outcome {
        if self.answers.contains_key(key) {
            return Outcome::Duplicate(0);
        }
        self.answers.insert(key.to_owned(), (at, answer.clone()));
        Outcome::Applied(0)
    }

    pub(super) fn forget_answers(&mut self, before: Timestamp, limit: u32) -> Outcome {
        let old = self.answers.iter().filter(|(_, (at, _))| *at < before);
        let mut old: Vec<(Timestamp, String)> = old.map(|(key, (at, _))| (*at, key.clone())).collect();
        old.sort();
        old.truncate(limit as usize);
        for (_, key) in &old {
            self.answers.remove(key);
        }
        Outcome::Applied(old.len() as i64)
    }
}
