//! What one generation of a child is given to live with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moorline_core::Generation;

use crate::children::Children;
use crate::exit::Exit;

/// Passed to a child's factory, new for each generation; the actor keeps what it needs.
#[derive(Debug, Clone)]
pub struct Env {
    /// This life's number: greater than that of every earlier life at this path in this process.
    pub generation: Generation,
    /// The child's place in the tree, for logs.
    pub path: Arc<str>,
    /// How to end with a reason.
    pub exit: Exit,
    /// The child's own subtree; empty, and costing nothing, unless the actor starts children.
    pub children: Children,
    /// How many pieces of work are being done, shown in the tree.
    pub in_flight: InFlight,
}

/// A gauge of work being done. Each generation has its own, so that a late guard never changes the next one's.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    count: Arc<AtomicU32>,
}

/// One piece of work; dropping it ends it.
#[derive(Debug)]
#[must_use = "the work counts as in flight only while the guard lives"]
pub struct InFlightGuard {
    count: Arc<AtomicU32>,
}

impl InFlight {
    /// Counts one more piece of work until the guard is dropped.
    pub fn enter(&self) -> InFlightGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        InFlightGuard { count: Arc::clone(&self.count) }
    }

    /// How many guards live now.
    pub fn get(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
