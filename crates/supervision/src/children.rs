//! The subtree of one actor: what it started, in which order, and how each is doing.

mod link;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use actix::Recipient;
use tokio::time::Instant;

use crate::child::Child;
use crate::exit::{ChildExited, Directive};
use crate::intensity::{History, Policy};
use crate::spec::ChildSpec;
use crate::tree::Tree;
pub(crate) use link::{Gone, Link, Order, Orders, link};

/// The children of one generation of one actor. Any actor can supervise: it binds itself in `started()`, starts
/// children whenever it likes, and answers their [`ChildExited`].
///
/// The actor holds a handle; the task that runs the actor owns the subtree. It stops the children in exact reverse
/// start order before the actor is stopped, and also when the actor ends in any other way, before that is reported.
#[derive(Clone)]
pub struct Children {
    subtree: Rc<Subtree>,
}

/// What a child's task knows of the subtree it belongs to, without keeping it alive.
pub(crate) type Siblings = Weak<Subtree>;

pub(crate) struct Subtree {
    tree: Tree,
    path: Arc<str>,
    parent: RefCell<Option<Recipient<ChildExited>>>,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    /// Set once the subtree is being stopped; nothing starts after that.
    closed: bool,
    started: u64,
    /// Boxed, because a map's node has room for eleven of them and most supervisors have four.
    by_id: BTreeMap<String, Box<Slot>>,
}

struct Slot {
    /// The place in the start order, never given twice: it also tells a slot from a later one with the same id.
    place: u64,
    policy: Policy,
    history: History,
    occupant: Occupant,
}

enum Occupant {
    /// A task runs the child, or waits to run it again.
    Running(Link),
    /// The child ended for good; an operator can still restart it.
    Finished(ChildSpec),
}

/// A child was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A child with this id is running, restarting, parked, or not yet gone.
    #[error("child `{id}` of `{path}` was not started: one with this id is still there; stop it first")]
    AlreadyRunning {
        /// The parent.
        path: String,
        /// The child.
        id: String,
    },
    /// The parent is being stopped.
    #[error(
        "child `{id}` of `{path}` was not started: its parent is being stopped, and will start its children anew"
    )]
    Closed {
        /// The parent.
        path: String,
        /// The child.
        id: String,
    },
}

impl Children {
    pub(crate) fn new(tree: Tree, path: Arc<str>) -> Self {
        Self {
            subtree: Rc::new(Subtree { tree, path, parent: RefCell::default(), slots: RefCell::default() }),
        }
    }

    pub(crate) fn of(siblings: &Siblings) -> Option<Self> {
        siblings.upgrade().map(|subtree| Self { subtree })
    }

    /// Names who decides about exits: the actor itself, in its `started()`. Until then the standard policy of
    /// [`decide`](Self::decide) applies.
    pub fn bind(&self, parent: Recipient<ChildExited>) {
        self.subtree.tree.set_supervisor(&self.subtree.path);
        self.subtree.parent.replace(Some(parent));
    }

    /// Starts a child after all others. Its factory runs soon, in a task of its own.
    ///
    /// # Errors
    /// When the id is taken by a child that has not ended for good, or the subtree is being stopped.
    pub fn start(&self, spec: ChildSpec) -> Result<(), StartError> {
        let path = || self.subtree.path.to_string();
        let mut slots = self.subtree.slots.borrow_mut();
        if slots.closed {
            return Err(StartError::Closed { path: path(), id: spec.id });
        }
        if slots.by_id.get(&spec.id).is_some_and(|slot| slot.is_running()) {
            return Err(StartError::AlreadyRunning { path: path(), id: spec.id });
        }
        let replaced = self.launch(&mut slots, spec);
        // Dropping a spec runs foreign code, which may look at the subtree again.
        drop(slots);
        drop(replaced);
        Ok(())
    }

    /// Stops a child and forgets its spec and its path. The order is given at once, whether or not the future is
    /// polled; the future resolves when the child and all below it are gone. False when there is no such child.
    pub fn stop(&self, id: &str) -> impl Future<Output = bool> + use<> {
        let mut slots = self.subtree.slots.borrow_mut();
        let gone = match slots.by_id.get(id).map(|slot| &slot.occupant) {
            None => None,
            Some(Occupant::Running(link)) => {
                link.stop();
                Some(link.gone())
            }
            Some(Occupant::Finished(_)) => {
                let removed = slots.by_id.remove(id);
                drop(slots);
                drop(removed);
                self.subtree.tree.forget(&self.path_of(id));
                Some(Gone::already())
            }
        };
        async move {
            match gone {
                Some(gone) => {
                    gone.wait().await;
                    true
                }
                None => false,
            }
        }
    }

    /// The operator's restart: stops the child with its grace, then begins a new generation at once. Ends a back-off
    /// or a parking early, starts a child that had ended for good, and forgets its earlier faults. False when there
    /// is no such child or it is being stopped.
    pub fn restart(&self, id: &str) -> bool {
        let mut slots = self.subtree.slots.borrow_mut();
        if slots.closed {
            return false;
        }
        let Some(slot) = slots.by_id.get_mut(id) else { return false };
        match &slot.occupant {
            Occupant::Running(link) => {
                slot.history = History::default();
                link.restart()
            }
            Occupant::Finished(_) => {
                if let Some(Slot { occupant: Occupant::Finished(spec), .. }) =
                    slots.by_id.remove(id).map(|slot| *slot)
                {
                    self.launch(&mut slots, spec);
                }
                true
            }
        }
    }

    /// The ids of all children, ended ones included unless they were temporary or stopped by name; in order.
    pub fn ids(&self) -> Vec<String> {
        self.subtree.slots.borrow().by_id.keys().cloned().collect()
    }

    /// Whether [`ids`](Self::ids) has this one.
    pub fn contains(&self, id: &str) -> bool {
        self.subtree.slots.borrow().by_id.contains_key(id)
    }

    /// The standard answer to an exit: restart type, then back-off with jitter, then parking over the intensity.
    /// Counts the exit, so ask once for each.
    pub fn decide(&self, exited: &ChildExited) -> Directive {
        let mut slots = self.subtree.slots.borrow_mut();
        let Some(slot) = slots.by_id.get_mut(&exited.id) else { return Directive::Stop };
        let unit = self.subtree.tree.draw();
        slot.policy.decide(&mut slot.history, &exited.reason, exited.ran_for, Instant::now(), unit)
    }

    pub(crate) fn parent(&self) -> Option<Recipient<ChildExited>> {
        self.subtree.parent.borrow().clone()
    }

    /// How many restarts in a row the standard policy has counted for a child.
    pub(crate) fn attempt(&self, id: &str) -> u32 {
        self.subtree.slots.borrow().by_id.get(id).map_or(0, |slot| slot.history.attempt())
    }

    /// Resolves when the child is gone; at once when there is none.
    pub(crate) fn gone(&self, id: &str) -> Gone {
        match self.subtree.slots.borrow().by_id.get(id).map(Box::as_ref) {
            Some(Slot { occupant: Occupant::Running(link), .. }) => link.gone(),
            _ => Gone::already(),
        }
    }

    /// Lets nothing start any more, and stops everything in exact reverse start order, each child with its own
    /// grace and only when the one started after it is gone. May be dropped half-way and called again.
    pub(crate) async fn close(&self) {
        self.stop_all().await;
        // A finished child's factory may hold a handle to this very subtree.
        let slots = std::mem::take(&mut self.subtree.slots.borrow_mut().by_id);
        drop(slots);
    }

    async fn stop_all(&self) {
        for (place, id) in self.closing() {
            let gone = {
                let slots = self.subtree.slots.borrow();
                match slots.by_id.get(&id).map(Box::as_ref) {
                    Some(Slot { occupant: Occupant::Running(link), place: now, .. }) if *now == place => {
                        link.stop();
                        link.gone()
                    }
                    _ => continue,
                }
            };
            gone.wait().await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.subtree.slots.borrow().closed
    }

    /// A child's task is at its end.
    pub(crate) fn finished(&self, place: u64, spec: ChildSpec, ordered: bool) {
        let mut slots = self.subtree.slots.borrow_mut();
        let forget = spec.policy.is_temporary() || (ordered && !slots.closed);
        let path = self.path_of(&spec.id);
        if forget {
            self.subtree.tree.forget(&path);
        } else {
            self.subtree.tree.stopped(&path);
        }
        let mine = slots.by_id.get_mut(&spec.id).filter(|slot| slot.place == place);
        let dropped = match mine {
            Some(slot) if !forget => {
                slot.occupant = Occupant::Finished(spec);
                None
            }
            Some(_) => slots.by_id.remove(&spec.id).map(|slot| (Some(slot), spec)),
            None => Some((None, spec)),
        };
        drop(slots);
        drop(dropped);
    }

    /// Marks the subtree as closed; what there is to stop, last started first.
    fn closing(&self) -> Vec<(u64, String)> {
        let mut slots = self.subtree.slots.borrow_mut();
        slots.closed = true;
        let mut places: Vec<_> = slots.by_id.iter().map(|(id, slot)| (slot.place, id.clone())).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        places
    }

    fn launch(&self, slots: &mut Slots, spec: ChildSpec) -> Option<Box<Slot>> {
        self.subtree.tree.set_supervisor(&self.subtree.path);
        slots.started += 1;
        let place = slots.started;
        let (link, orders) = link();
        let (id, policy) = (spec.id.clone(), spec.policy);
        let history = History::default();
        let slot = Slot { place, policy, history, occupant: Occupant::Running(link) };
        let replaced = slots.by_id.insert(id.clone(), Box::new(slot));
        Child {
            tree: self.subtree.tree.clone(),
            parent: Arc::clone(&self.subtree.path),
            path: self.path_of(&id),
            siblings: Rc::downgrade(&self.subtree),
            place,
            spec,
            orders,
        }
        .spawn();
        replaced
    }

    fn path_of(&self, id: &str) -> Arc<str> {
        if self.subtree.path.is_empty() { id.into() } else { format!("{}/{id}", self.subtree.path).into() }
    }
}

impl Slot {
    fn is_running(&self) -> bool {
        matches!(self.occupant, Occupant::Running(_))
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("path", &self.subtree.path).finish_non_exhaustive()
    }
}
