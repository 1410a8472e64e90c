//! A bounded queue from tasks to threads.
//!
//! Chosen over tokio's mpsc because its takers are plain threads that must also wake for a heartbeat, several of
//! them may share it, and closing it must not depend on tasks that are waiting for room letting go of a sender.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Items in the order in which they were put. Those beyond the capacity wait for room: they are in their place, but
/// belong to whoever puts them until there is.
#[derive(Debug)]
pub(super) struct Queue<T> {
    capacity: usize,
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    /// Told when items are taken, and when it is closed.
    room: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    /// With their tickets, which only grow.
    items: VecDeque<(u64, T)>,
    next: u64,
    /// Once it is closed: tickets from this one on were not taken, and never will be.
    closed: Option<u64>,
}

/// An item that may still be beyond the capacity; whoever gives up waiting takes it back.
struct Place<'a, T> {
    queue: &'a Queue<T>,
    ticket: u64,
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

impl<T> Waiting<T> {
    /// Where an item stands; `None` when it was taken.
    fn position(&self, ticket: u64) -> Option<usize> {
        self.items.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock();
        let beyond = waiting.position(self.ticket).filter(|position| *position >= self.queue.capacity);
        let given_up = beyond.and_then(|position| waiting.items.remove(position));
        drop(waiting);
        drop(given_up);
    }
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            waiting: Mutex::new(Waiting { items: VecDeque::new(), next: 0, closed: None }),
            changed: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Puts an item in its place at the first poll, whatever becomes of the polls that follow: the order of the first
    /// polls is the order of the items, also while there is no room, and also when the task has used up its share of
    /// the thread. Then waits for room.
    pub(super) async fn put(&self, item: T) -> Result<(), Closed> {
        let place = {
            let mut waiting = self.waiting.lock();
            if waiting.closed.is_some() {
                return Err(Closed);
            }
            let ticket = waiting.next;
            waiting.next += 1;
            waiting.items.push_back((ticket, item));
            Place { queue: self, ticket }
        };
        self.changed.notify_one();
        loop {
            let room = self.room.notified();
            {
                let waiting = self.waiting.lock();
                if waiting.closed.is_some_and(|cut| place.ticket >= cut) {
                    return Err(Closed);
                }
                if waiting.position(place.ticket).is_none_or(|position| position < self.capacity) {
                    break;
                }
            }
            room.await;
        }
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
        if waiting.items.is_empty() && waiting.closed.is_none() {
            self.changed.wait_for(&mut waiting, patience);
        }
        let mut taken = Vec::new();
        let mut weight = 0_usize;
        let crowded = waiting.items.len() > self.capacity;
        while taken.len() < most.min(self.capacity) && weight < heaviest {
            let Some((_, item)) = waiting.items.pop_front() else { break };
            weight = weight.saturating_add(weigh(&item));
            taken.push(item);
        }
        if crowded {
            self.room.notify_waiters();
        }
        match taken.is_empty() {
            false => Taken::Items(taken),
            true if waiting.closed.is_some() => Taken::Closed,
            true => Taken::Nothing,
        }
    }

    /// How many items wait, those beyond the capacity included.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().items.len()
    }

    /// How many of them there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Lets the takers look up without an item.
    pub(super) fn wake(&self) {
        let _waiting = self.waiting.lock();
        self.changed.notify_all();
    }

    /// Takes nothing more; what waits already can still be taken.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        let beyond = waiting.items.len().min(self.capacity);
        // What had room is still taken; the rest is told that it will not be.
        let refused = waiting.items.split_off(beyond);
        let cut = refused.front().map_or(waiting.next, |(ticket, _)| *ticket);
        waiting.closed.get_or_insert(cut);
        drop(waiting);
        drop(refused);
        self.room.notify_waiters();
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
    /// A task that has done much in one go is told by tokio that nothing is ready any more; and what waits for room is
    /// polled in any order.
    #[tokio::test]
    async fn the_order_is_that_of_the_first_polls_g3() {
        let queue = Queue::new(300);
        for n in 0..300 {
            assert_eq!(queue.put(n).now_or_never(), Some(Ok(())), "item {n} of one go");
        }
        let mut late: Vec<_> = (300..310).map(|n| Box::pin(queue.put(n))).collect();
        for put in &mut late {
            assert_eq!(put.now_or_never(), None, "no room");
        }
        let take = |most| queue.take(most, usize::MAX, |_| 1, Duration::ZERO);
        assert_eq!(take(305), Taken::Items((0..300).collect()), "at most what there is room for");
        for put in late.iter_mut().rev() {
            assert_eq!(put.now_or_never(), Some(Ok(())));
        }
        assert_eq!(queue.put(310).now_or_never(), Some(Ok(())));
        assert_eq!(take(305), Taken::Items((300..311).collect()));
    }

    #[test]
    fn whoever_gives_up_waiting_leaves_nothing_and_whoever_is_told_of_the_end_was_not_taken() {
        let queue = Queue::new(1);
        assert_eq!(queue.put(1).now_or_never(), Some(Ok(())));
        let mut second = Box::pin(queue.put(2));
        assert_eq!((&mut second).now_or_never(), None);
        assert_eq!(queue.put(3).now_or_never(), None, "and gives up");
        queue.close();
        assert_eq!(second.now_or_never(), Some(Err(Closed)));
        let take = || queue.take(9, 9, |_| 1, Duration::ZERO);
        assert_eq!(take(), Taken::Items(vec![1]));
        assert_eq!(take(), Taken::Closed);
    }
}
