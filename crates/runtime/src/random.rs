//! Randomness from one seed, so that a run can be repeated.

use std::cell::RefCell;
use std::rc::Rc;

/// Draws for jitter. One per runtime; the order of draws is part of what a seed repeats.
#[derive(Debug, Clone)]
pub(crate) struct Random(Rc<RefCell<fastrand::Rng>>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&self) -> f64 {
        self.0.borrow_mut().f64()
    }

    /// A number no other draw of this run is likely to give.
    pub(crate) fn number(&self) -> u64 {
        self.0.borrow_mut().u64(..)
    }
}
