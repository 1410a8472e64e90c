//! The nodes by path, and which generations are taken.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use moorline_core::Generation;

use super::{LastExit, Node, NodeKind, NodeState};
use crate::env::InFlight;
use crate::life::Drill;

#[derive(Default)]
pub(super) struct Registry {
    entries: BTreeMap<Arc<str>, Entry>,
    /// For a parent path, the greatest generation ever forgotten below it. A path that comes back starts above the
    /// floors of all its ancestors, so its generations never run backwards although nobody remembers it.
    floors: BTreeMap<Arc<str>, Generation>,
}

struct Entry {
    /// `in_flight` is filled in by the snapshot.
    node: Node,
    in_flight: InFlight,
    /// There only while a life is: a drill never hits a later one.
    drill: Option<Arc<Drill>>,
    /// The supervisor's path, which the path alone does not tell: an id may hold a `/`.
    parent: Arc<str>,
    /// Registered from outside; only its handle ends it.
    leaf: bool,
}

impl Registry {
    pub(super) fn snapshot(&self) -> Vec<Node> {
        let shown = |entry: &Entry| Node { in_flight: entry.in_flight.get(), ..entry.node.clone() };
        self.entries.values().map(shown).collect()
    }

    pub(super) fn node(&self, path: &str) -> Option<Node> {
        self.entries.get(path).map(|entry| entry.node.clone())
    }

    pub(super) fn drill(&self, path: &str) -> Option<Arc<Drill>> {
        self.entries.get(path)?.drill.clone()
    }

    pub(super) fn register(&mut self, path: &Arc<str>) {
        let parent = path_above(path).unwrap_or_default().into();
        let entry = self.next_life(&parent, path);
        entry.leaf = true;
        entry.node.state = NodeState::Running;
    }

    pub(super) fn begin(
        &mut self,
        parent: &Arc<str>,
        path: &Arc<str>,
        in_flight: InFlight,
        drill: Arc<Drill>,
    ) -> Generation {
        let entry = self.next_life(parent, path);
        entry.in_flight = in_flight;
        entry.drill = Some(drill);
        entry.node.generation
    }

    pub(super) fn update(&mut self, path: &str, change: impl FnOnce(&mut Node)) {
        if let Some(entry) = self.entries.get_mut(path) {
            change(&mut entry.node);
        }
    }

    pub(super) fn bury(&mut self, path: &str) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.node.state = NodeState::Stopping;
            entry.drill = None;
            entry.in_flight = InFlight::default();
        }
    }

    pub(super) fn end(&mut self, path: &str, exit: LastExit) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.node.last_exit = Some(exit);
        }
    }

    pub(super) fn forget(&mut self, path: &str) {
        let Some(parent) = self.entries.get(path).map(|entry| Arc::clone(&entry.parent)) else { return };
        let mut floor = self.floors.get(&parent).copied().unwrap_or_default();
        for gone in within(&self.entries, path, |entry| !entry.leaf) {
            floor =
                floor.max(self.entries.remove(&gone).map(|entry| entry.node.generation).unwrap_or_default());
        }
        for gone in within(&self.floors, path, |_| true) {
            floor = floor.max(self.floors.remove(&gone).unwrap_or_default());
        }
        self.floors.insert(parent, floor);
    }

    pub(super) fn forget_children(&mut self, path: &str, keep: impl Fn(&str) -> bool) {
        let children = within(&self.entries, path, |entry| !entry.leaf && *entry.parent == *path);
        for child in children.iter().filter(|child| !keep(child)) {
            self.forget(child);
        }
    }

    fn next_life(&mut self, parent: &Arc<str>, path: &Arc<str>) -> &mut Entry {
        let floor = std::iter::successors(path_above(path), |path| path_above(path))
            .filter_map(|ancestor| self.floors.get(ancestor).copied())
            .max()
            .unwrap_or_default();
        let entry = self
            .entries
            .entry(Arc::clone(path))
            .and_modify(|entry| entry.node.restarts += 1)
            .or_insert_with(|| Entry::new(Arc::clone(parent), path));
        entry.node.generation = entry.node.generation.max(floor).next();
        entry.node.kind = NodeKind::Worker;
        entry.node.state = NodeState::Starting;
        entry.node.next_attempt_at = None;
        entry
    }
}

impl Entry {
    fn new(parent: Arc<str>, path: &str) -> Self {
        let node = Node {
            path: path.to_owned(),
            kind: NodeKind::Worker,
            state: NodeState::Starting,
            generation: Generation::default(),
            restarts: 0,
            last_exit: None,
            next_attempt_at: None,
            in_flight: 0,
        };
        Self { node, in_flight: InFlight::default(), drill: None, parent, leaf: false }
    }
}

/// The path one step up; above the root is the empty path, and nothing above that.
fn path_above(path: &str) -> Option<&str> {
    if path.is_empty() { None } else { Some(path.rsplit_once('/').map_or("", |(above, _)| above)) }
}

/// The wanted keys at `path` and below it.
fn within<V>(map: &BTreeMap<Arc<str>, V>, path: &str, wanted: impl Fn(&V) -> bool) -> Vec<Arc<str>> {
    let prefix = format!("{path}/");
    let below = map
        .range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(&prefix));
    map.get_key_value(path)
        .into_iter()
        .chain(below)
        .filter(|(_, v)| wanted(v))
        .map(|(k, _)| Arc::clone(k))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_parent_hands_the_floor_of_its_children_up() {
        let mut registry = Registry::default();
        let begin = |registry: &mut Registry, parent: &str, path: &str| {
            registry.begin(&parent.into(), &path.into(), InFlight::default(), Arc::default()).get()
        };
        assert_eq!(begin(&mut registry, "", "r"), 1);
        assert_eq!(begin(&mut registry, "r", "r/a"), 1);
        for life in 1..4 {
            assert_eq!(begin(&mut registry, "r/a", "r/a/x"), life);
            registry.forget("r/a/x");
        }
        registry.forget("r/a");
        assert_eq!((registry.entries.len(), registry.floors.len()), (1, 1));
        assert_eq!(begin(&mut registry, "r", "r/a"), 4);
        assert_eq!(begin(&mut registry, "r/a", "r/a/x"), 4, "its own floor is gone, the one above holds");
        assert_eq!(begin(&mut registry, "", "r"), 2, "a floor concerns only what is below it");
    }
}
