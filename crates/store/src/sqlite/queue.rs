//! A bounded queue from tasks to threads.
//!
//! Chosen over tokio's mpsc because its takers are plain threads that must also wake for a heartbeat, several of
//! them may share it, and closing it must not depend on tasks that are waiting for room letting go of a sender.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Items wait here with the permit that made room for them.
#[derive(Debug)]
pub(super) struct Queue<T> {
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, OwnedSemaphorePermit)>,
    closed: bool,
}

/// What a taker finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// At least one item.
    Items(Vec<T>),
    /// Nothing for as long as it was willing to wait, or somebody woke it.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

/// The queue is closed; the item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: Mutex::new(Waiting { items: VecDeque::new(), closed: false }),
            changed: Condvar::new(),
        }
    }

    /// Waits for room, in the order of asking.
    pub(super) async fn put(&self, item: T) -> Result<(), Closed> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Closed)?;
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.items.push_back((item, permit));
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes what waits, until `most` items or a total weight of `heaviest` is reached; waits up to `patience` for
    /// the first. A closed queue is emptied before it says so.
    pub(super) fn take(
        &self,
        most: usize,
        heaviest: usize,
        weigh: impl Fn(&T) -> usize,
        patience: Duration,
    ) -> Taken<T> {
        let mut waiting = self.waiting.lock();
        if waiting.items.is_empty() && !waiting.closed {
            self.changed.wait_for(&mut waiting, patience);
        }
        let mut taken = Vec::new();
        let mut weight = 0_usize;
        while taken.len() < most && weight < heaviest {
            let Some((item, _room)) = waiting.items.pop_front() else { break };
            weight = weight.saturating_add(weigh(&item));
            taken.push(item);
        }
        match taken.is_empty() {
            false => Taken::Items(taken),
            true if waiting.closed => Taken::Closed,
            true => Taken::Nothing,
        }
    }

    /// Lets the takers look up without an item.
    pub(super) fn wake(&self) {
        let _waiting = self.waiting.lock();
        self.changed.notify_all();
    }

    /// Takes nothing more; what waits already can still be taken.
    pub(super) fn close(&self) {
        self.room.close();
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }

    /// Closes it and drops what waits.
    pub(super) fn abandon(&self) {
        self.close();
        let items = std::mem::take(&mut self.waiting.lock().items);
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_is_bounded_and_taken_by_number_and_weight() {
        let queue = Queue::new(4);
        for weight in [1, 5, 5, 1] {
            assert_eq!(queue.put(weight).now_or_never(), Some(Ok(())));
        }
        assert_eq!(queue.put(1).now_or_never(), None, "no room");
        let take = |most, heaviest| queue.take(most, heaviest, |w| *w, Duration::ZERO);
        assert_eq!(take(1, 10), Taken::Items(vec![1]));
        assert_eq!(take(9, 6), Taken::Items(vec![5, 5]));
        assert_eq!(queue.put(7).now_or_never(), Some(Ok(())));
        queue.close();
        assert_eq!(queue.put(8).now_or_never(), Some(Err(Closed)));
        assert_eq!(take(9, 9), Taken::Items(vec![1, 7]));
        assert_eq!(take(9, 9), Taken::Closed);
    }
}
