//! A panic stops at its actor, wherever it happens.

use super::*;
use crate::{ExitReason, Fault, Supervisor};

/// One victim and one neighbour under a supervisor.
async fn pair(script: &Script) -> (Tree, Root, ActorRef<Probe>, ActorRef<Probe>) {
    let tree = tree();
    let (victim, neighbour) = (ActorRef::new(), ActorRef::new());
    let specs = {
        let (victim, neighbour, script) = (victim.clone(), neighbour.clone(), script.clone());
        move |_: &Env| {
            vec![Probe::spec("victim", &victim, &script), Probe::spec("neighbour", &neighbour, &script)]
        }
    };
    let root = Root::start(&tree, Supervisor::spec("runtime", specs));
    neighbour.ready().await;
    (tree, root, victim, neighbour)
}

/// supervision.md §1: each of these ends a plain actix actor unnoticed, or the process. F-072.
#[test]
fn a_panic_anywhere_costs_one_generation_and_touches_nobody_else() {
    use Spot::*;
    for spot in [Factory, Started, Handler, Spawned, Later, Waited, Stopping, HandlerAndStopping, Dropped] {
        paused(async move {
            let script = Script::default();
            let (tree, mut root, victim, neighbour) = pair(&script).await;
            let (first, old) = victim.ready().await;
            // A panic at the start is the second generation's, and the third comes up.
            let lost = if matches!(spot, Factory | Started) { 2 } else { 1 };
            let _ = old.send(Misbehave(spot)).await;
            let (now, _) = victim.next_generation(generation(lost)).await;

            assert_eq!((first.get(), now.get()), (1, lost + 1), "{spot:?}");
            assert_eq!(victim.send(Ping).await, Ok(lost + 1), "{spot:?}");
            assert_eq!(neighbour.send(Ping).await, Ok(1), "{spot:?}");
            let exit = last_exit(&tree, "runtime/victim");
            assert_eq!(exit.reason, ExitReason::Panic(format!("panic in {spot:?}")));
            assert_eq!(node(&tree, "runtime/victim").restarts, lost);
            assert!(!old.connected(), "{spot:?}: the old address is closed for ever");
            root.stop().await;
        });
    }
}

#[test]
fn the_reference_points_at_nothing_during_the_delay() {
    paused(async {
        let (tree, _root, victim, _) = pair(&Script::default()).await;
        victim.tell(End { error: Some("token store is gone") });
        settle().await;
        assert!(victim.addr().is_none() && victim.generation().is_none());
        assert!(victim.send(Ping).await.is_err(), "closed at once, not after the delay");
        assert!(!victim.tell(Ping));
        let node = node(&tree, "runtime/victim");
        assert_eq!(node.state, NodeState::Restarting);
        assert!(node.next_attempt_at.unwrap() > node.last_exit.unwrap().at);
        assert_eq!(victim.next_generation(generation(1)).await.0, generation(2));
    });
}

#[test]
fn a_drill_wakes_an_idle_child_and_panics_inside_the_containment() {
    paused(async {
        let (tree, _root, victim, neighbour) = pair(&Script::default()).await;
        assert!(!tree.inject("runtime/nobody", Fault::Panic));
        assert!(tree.inject("runtime/victim", Fault::Panic));
        settle().await;
        assert_eq!(last_exit(&tree, "runtime/victim").reason, ExitReason::Panic("injected fault".to_owned()));
        assert!(!tree.inject("runtime/victim", Fault::Panic), "nothing is alive during the delay");
        assert_eq!(victim.ready().await.0, generation(2), "and the drill did not wait for the next life");
        assert_eq!(neighbour.send(Ping).await, Ok(1));
    });
}

#[test]
fn references_are_send_and_sync_whatever_the_actor_holds() {
    fn check<T: Clone + Send + Sync>() {}
    check::<ActorRef<Probe>>();
    check::<Tree>();
}
