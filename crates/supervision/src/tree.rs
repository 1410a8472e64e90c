//! Every supervised actor in one place: what it is doing now and how its last life ended.

mod registry;

use std::fmt;
use std::sync::{Arc, OnceLock};

use moorline_core::{Clock, Generation, Timestamp, millis};
use parking_lot::Mutex;
use serde::Serialize;

use crate::env::InFlight;
use crate::exit::ExitReason;
use crate::life::Drill;
use registry::Registry;

/// The registry of a tree of supervised actors. Cheap to clone; any thread may look at it.
///
/// It stays bounded: a temporary child's path is forgotten when the child ends, a stopped child's when its parent
/// stops it by name, and a child that its supervisor's next life does not start again when that life has started.
#[derive(Clone)]
pub struct Tree {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    random: Mutex<fastrand::Rng>,
    registry: Mutex<Registry>,
    observer: OnceLock<Observer>,
}

/// Hears of what happens to a node. Called on the arbiter's thread, so it has to be quick.
type Observer = Box<dyn Fn(&Node, Moment) + Send + Sync>;

/// What has happened to a node just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A life that is not the first at its path begins.
    Begun,
    /// A life ended by a fault; `last_exit` tells how.
    Failed,
    /// It waits for its next life.
    Waits,
}

/// One supervised actor, or one registered leaf, at the moment of the snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Ids from the root down, joined by `/`.
    pub path: String,
    /// Whether it has had children of its own in this life.
    pub kind: NodeKind,
    /// What it is doing.
    pub state: NodeState,
    /// The current life, or the last one.
    pub generation: Generation,
    /// Lives begun at this path after the first, for whatever reason.
    pub restarts: u64,
    /// How the last life that ended did so.
    pub last_exit: Option<LastExit>,
    /// When the next life begins, while it waits for it.
    pub next_attempt_at: Option<Timestamp>,
    /// Pieces of work being done in the current life.
    pub in_flight: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// It supervises children of its own.
    Supervisor,
    /// It has none.
    Worker,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Its factory or its `started()` is running.
    Starting,
    /// It is up.
    Running,
    /// It ended and waits for its next life.
    Restarting,
    /// It is in a crash loop and waits long for its next life.
    Parked,
    /// It was asked to stop, or it ended and its children are being stopped.
    Stopping,
    /// It has no life, and none is planned.
    Stopped,
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastExit {
    /// Why.
    pub reason: ExitReason,
    /// When.
    pub at: Timestamp,
    /// How long it lasted, in milliseconds.
    pub ran_for_ms: u64,
}

/// A fault to inject in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The child's next poll panics.
    Panic,
}

/// Something in the tree that is not an actor, like a writer thread. Dropping it without
/// [`finish`](NodeHandle::finish) shows it as stopped, with a panic as reason when the thread is unwinding.
#[derive(Debug)]
pub struct NodeHandle {
    tree: Tree,
    path: Arc<str>,
    since: Timestamp,
    finished: bool,
}

impl Tree {
    /// An empty tree. `clock` gives the times shown in it; `seed` that of the restart jitter.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self {
            shared: Arc::new(Shared { clock, random, registry: Mutex::default(), observer: OnceLock::new() }),
        }
    }

    /// All nodes, ordered by path.
    pub fn snapshot(&self) -> Vec<Node> {
        self.registry(|registry| registry.snapshot())
    }

    /// Has `observer` called at each [`Moment`] of every node from now on. There is one observer; a second is not
    /// taken.
    pub fn observe(&self, observer: impl Fn(&Node, Moment) + Send + Sync + 'static) {
        // The first one stays.
        drop(self.shared.observer.set(Box::new(observer)));
    }

    /// Makes the next poll of the child at `path` panic, inside the containment. False when no such child is alive.
    pub fn inject(&self, path: &str, fault: Fault) -> bool {
        let Fault::Panic = fault;
        // Waking happens outside the lock: a waker is foreign code.
        let drill = self.registry(|registry| registry.drill(path));
        drill.map(|drill| drill.order()).is_some()
    }

    /// Shows something that is not an actor at `path`, as running.
    pub fn register(&self, path: &str) -> NodeHandle {
        let path: Arc<str> = path.into();
        self.registry(|registry| registry.register(&path));
        NodeHandle { tree: self.clone(), path, since: self.shared.clock.wall(), finished: false }
    }

    /// Begins a life at `path`, under the supervisor at `parent`, with the next generation.
    pub(crate) fn begin(
        &self,
        parent: &Arc<str>,
        path: &Arc<str>,
        in_flight: InFlight,
        drill: Arc<Drill>,
    ) -> Generation {
        let generation = self.registry(|registry| registry.begin(parent, path, in_flight, drill));
        self.tell(path, Moment::Begun);
        generation
    }

    pub(crate) fn set_state(&self, path: &str, state: NodeState) {
        self.registry(|registry| registry.update(path, |node| node.state = state));
    }

    pub(crate) fn set_supervisor(&self, path: &str) {
        self.registry(|registry| registry.update(path, |node| node.kind = NodeKind::Supervisor));
    }

    /// Notes that the actor at `path` is gone and its children are not yet: no drill finds it any more.
    pub(crate) fn buried(&self, path: &str) {
        self.registry(|registry| registry.bury(path));
    }

    /// Notes how the life at `path` ended.
    pub(crate) fn exited(&self, path: &str, reason: ExitReason, ran_for_ms: u64) {
        let is_fault = reason.is_fault();
        let exit = LastExit { reason, at: self.shared.clock.wall(), ran_for_ms };
        self.registry(|registry| registry.end(path, exit));
        if is_fault {
            self.tell(path, Moment::Failed);
        }
    }

    /// Notes that the next life at `path` begins after `delay`.
    pub(crate) fn waiting(&self, path: &str, state: NodeState, delay: std::time::Duration) {
        let at = self.shared.clock.wall() + delay;
        self.registry(|registry| {
            registry.update(path, |node| {
                node.state = state;
                node.next_attempt_at = Some(at);
            });
        });
        self.tell(path, Moment::Waits);
    }

    /// Notes that no further life is planned at `path`.
    pub(crate) fn stopped(&self, path: &str) {
        self.registry(|registry| {
            registry.update(path, |node| {
                node.state = NodeState::Stopped;
                node.next_attempt_at = None;
            });
        });
    }

    /// Forgets `path` and all below it; their generations stay taken.
    pub(crate) fn forget(&self, path: &str) {
        self.registry(|registry| registry.forget(path));
    }

    /// Forgets the children of `path` whose paths `keep` does not want.
    pub(crate) fn forget_children(&self, path: &str, keep: impl Fn(&str) -> bool) {
        self.registry(|registry| registry.forget_children(path, keep));
    }

    /// A number from `0.0..1.0`, from the seed.
    pub(crate) fn draw(&self) -> f64 {
        self.shared.random.lock().f64()
    }

    /// Outside the lock: an observer is foreign code.
    fn tell(&self, path: &str, moment: Moment) {
        let Some(observer) = self.shared.observer.get() else { return };
        match self.registry(|registry| registry.node(path)) {
            Some(node) if moment != Moment::Begun || node.restarts > 0 => observer(&node, moment),
            _ => {}
        }
    }

    fn registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.shared.registry.lock())
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

impl NodeHandle {
    /// Shows another state.
    pub fn set_state(&self, state: NodeState) {
        self.tree.set_state(&self.path, state);
    }

    /// Shows it as stopped, and why.
    pub fn finish(mut self, reason: ExitReason) {
        self.end(reason);
    }

    fn end(&mut self, reason: ExitReason) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let ran_for = self.tree.shared.clock.wall().since(self.since);
        self.tree.exited(&self.path, reason, millis(ran_for));
        self.tree.stopped(&self.path);
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        self.end(if panicking {
            ExitReason::Panic("the thread panicked".to_owned())
        } else {
            ExitReason::Normal
        });
    }
}
