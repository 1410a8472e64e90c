//! Each invariant over the record of a run.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

pub(super) type Invariant = fn(&[Event], &Rules) -> Result<(), String>;

pub(super) const ALL: &[(&str, Invariant)] = &[
    ("generations never run backwards", generations_grow),
    ("a life ends only by a hit on itself or above", faults_stay_local),
    ("never more than max restarts in any window", intensity_holds),
    ("every delay is within [d/2, cap]", delays_are_bounded),
    ("exits = restarts + parked + stopped", every_exit_is_decided_once),
    ("a directive is obeyed", directives_are_obeyed),
    ("what stops together stops in reverse start order", stops_in_reverse),
];

/// Whether `path` is `above` or below it.
pub(super) fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The tree shows as running exactly what its reference points at, with the work of this life alone.
pub(super) fn snapshot_is_truthful(world: &World) {
    let nodes: BTreeMap<_, _> =
        world.tree.snapshot().into_iter().map(|node| (node.path.clone(), node)).collect();
    for idle in nodes.values().filter(|node| node.state != NodeState::Running && node.in_flight > 0) {
        world.violated(format!("work of an ended life is shown: {idle:?}"));
    }
    for (path, actor_ref) in world.refs.borrow().iter() {
        let shown = nodes.get(path).filter(|node| node.state == NodeState::Running);
        let shown = shown.map(|node| (node.generation, node.in_flight));
        let alive = actor_ref.generation().map(|generation| (generation, 1));
        if shown != alive {
            world.violated(format!("{path} is shown as {shown:?} and is {alive:?}"));
        }
    }
}

fn generations_grow(record: &[Event], _: &Rules) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for event in record.iter().filter(|event| matches!(event.what, What::Began)) {
        if last.insert(&event.path, event.generation).is_some_and(|before| before >= event.generation) {
            return Err(format!("{event:?}"));
        }
    }
    Ok(())
}

fn faults_stay_local(record: &[Event], _: &Rules) -> Result<(), String> {
    for (index, event) in record.iter().enumerate().filter(|(_, event)| matches!(event.what, What::Ended)) {
        // A hit works at once: nothing else may happen at a later time because of it.
        let now = record[..index].iter().rev().take_while(|earlier| earlier.at == event.at);
        let explained = now.into_iter().any(|cause| match cause.what {
            What::Hit => is_within(&event.path, &cause.path),
            What::Closing => true,
            _ => false,
        });
        if !explained {
            return Err(format!("{event:?}"));
        }
    }
    Ok(())
}

/// Counts per parent generation, because a supervisor that comes back starts with a clean slate. Both the decisions
/// and the starts they lead to are counted.
fn intensity_holds(record: &[Event], rules: &Rules) -> Result<(), String> {
    let mut restarts: BTreeMap<_, Vec<(Instant, Instant)>> = BTreeMap::new();
    for event in record {
        if let What::Decided { parent, directive: Directive::RestartAfter(delay), .. } = event.what {
            restarts.entry((&event.path, parent)).or_default().push((event.at, event.at + delay));
        }
    }
    let max = rules.intensity.max_restarts as usize;
    for (who, times) in restarts {
        // One more than allowed, next to each other, must span more than the window.
        for burst in times.windows(max + 1) {
            let (first, last) = (burst[0], burst[max]);
            let within = rules.intensity.within;
            if last.0 - first.0 < within || last.1 - first.1 < within {
                return Err(format!("{who:?} {burst:?}"));
            }
        }
    }
    Ok(())
}

fn delays_are_bounded(record: &[Event], rules: &Rules) -> Result<(), String> {
    for event in record {
        match event.what {
            What::Decided { directive: Directive::RestartAfter(delay), .. }
                if delay < rules.backoff.initial / 2 || delay > rules.backoff.max =>
            {
                return Err(format!("{event:?}"));
            }
            What::Decided { directive: Directive::Park(delay), .. } if delay != rules.parked_retry => {
                return Err(format!("{event:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every exit nobody asked for is decided exactly once. The root has no parent, and is left out.
fn every_exit_is_decided_once(record: &[Event], _: &Rules) -> Result<(), String> {
    let lives = |wanted: fn(&What) -> bool| -> Vec<(&str, u64)> {
        let mut lives: Vec<_> = record
            .iter()
            .filter(|event| wanted(&event.what) && event.path != "root")
            .map(|event| (&*event.path, event.generation))
            .collect();
        lives.sort_unstable();
        lives
    };
    let exits = lives(|what| matches!(what, What::Hit));
    let decided = lives(|what| matches!(what, What::Decided { .. }));
    if exits == decided { Ok(()) } else { Err(format!("exits {exits:?}\ndecided {decided:?}")) }
}

/// After `RestartAfter(d)` and `Park(d)` the next life begins exactly `d` later, unless something above ended before;
/// after `Stop` none begins under the same parent.
fn directives_are_obeyed(record: &[Event], _: &Rules) -> Result<(), String> {
    for (index, event) in record.iter().enumerate() {
        let What::Decided { directive, ref reason, .. } = event.what else { continue };
        if reason == &ExitReason::Shutdown {
            return Err(format!("reported although asked for: {event:?}"));
        }
        let next = record[index..].iter().find(|later| match later.what {
            What::Began => later.path == event.path,
            What::Ended => later.path != event.path && is_within(&event.path, &later.path),
            What::Closing => true,
            _ => false,
        });
        let Some(next) = next else { return Err(format!("nothing followed {event:?}")) };
        let due = match directive {
            Directive::RestartAfter(delay) | Directive::Park(delay) => Some(event.at + delay),
            Directive::Stop => None,
        };
        let obeyed = match (&next.what, due) {
            (What::Began, Some(due)) => {
                next.at.duration_since(due) <= Duration::from_millis(1) && next.at >= due
            }
            (What::Began, None) => false,
            // Interrupted: it must not have been overdue.
            (_, Some(due)) => next.at <= due + Duration::from_millis(1),
            (_, None) => true,
        };
        if !obeyed {
            return Err(format!("{event:?} then {next:?}"));
        }
    }
    Ok(())
}

/// Whenever lives end together, because of a hit or the final stop, those below the one that was hit end after it
/// and in exact reverse start order; in a graceful stop a parent ends after its children.
fn stops_in_reverse(record: &[Event], _: &Rules) -> Result<(), String> {
    // Ids are single digits, so the order of paths is the order in which they were first started.
    let mut alive: BTreeSet<&str> = BTreeSet::new();
    let mut stopping: Option<&Event> = None;
    for event in record {
        match event.what {
            What::Hit | What::Closing => stopping = Some(event),
            // A supervisor whose turn to stop is yet to come still restarts its children; a dead one does not.
            What::Began => {
                let parent = event.path.rsplit_once('/').map(|(parent, _)| parent);
                if parent.is_some_and(|parent| !alive.contains(parent)) || !alive.insert(&event.path) {
                    return Err(format!("began twice or under nobody: {event:?}"));
                }
            }
            What::Ended => {
                let cause = stopping.ok_or("nothing was hit yet")?;
                let hit_itself = matches!(cause.what, What::Hit) && alive.contains(&*cause.path);
                let last_started = alive.iter().rev().find(|path| is_within(path, &cause.path)).copied();
                let expected = if hit_itself { Some(&*cause.path) } else { last_started };
                if expected != Some(&*event.path) {
                    return Err(format!("after {cause:?} came {event:?} instead of {expected:?}"));
                }
                alive.remove(&*event.path);
            }
            // It was reported, so everything below must be gone.
            What::Decided { .. } => {
                if let Some(orphan) = alive.iter().find(|path| is_within(path, &event.path)) {
                    return Err(format!("{orphan} outlives {event:?}"));
                }
            }
        }
    }
    if alive.is_empty() { Ok(()) } else { Err(format!("never ended: {alive:?}")) }
}
