//! A panic injected into every actor in turn changes its own generation and nothing else; into a supervisor, that
//! of exactly its subtree (F-072, T17).

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{AccountState, Generation};
use moorline_supervision::{ExitReason, Fault, NodeKind, NodeState};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// The store's writer is a thread and no actor: its end is the process's (durability.rs).
const WRITER: &str = "runtime/store/writer";

/// Every permanent actor with its generation. Conversations come and go by design.
fn generations(world: &World) -> BTreeMap<String, Generation> {
    let permanent = |path: &str| !path.starts_with("runtime/conversations/") && path != WRITER;
    world
        .handle
        .tree()
        .into_iter()
        .filter(|node| permanent(&node.path))
        .map(|node| (node.path, node.generation))
        .collect()
}

async fn all_running(world: &World) {
    world
        .until("every actor runs", 5 * SECOND, |w| {
            w.handle.tree().iter().all(|node| node.state == NodeState::Running)
        })
        .await;
    world.all_ready(5 * SECOND).await;
}

/// Sends one message to each account and insists on exactly one answer.
async fn everybody_answers(world: &World, tag: &str) {
    for n in 0..world.apps.len() {
        world.say(n, &format!("u{n}"), &format!("{tag} {n}"));
    }
    world
        .until(&format!("every message answered {tag}"), 5 * SECOND, |world| {
            (0..world.apps.len()).all(|n| world.copies(&format!("u{n}"), &format!("{tag} {n}")) == 1)
        })
        .await;
}

#[test]
fn a_panic_in_any_actor_changes_exactly_its_own_subtree_f072() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let actors: Vec<(String, NodeKind)> =
            world.handle.tree().into_iter().map(|node| (node.path, node.kind)).collect();
        assert!(actors.len() >= 6 + 3 * 5, "{actors:?}");
        for (path, kind) in actors.iter().filter(|(path, _)| path != WRITER) {
            // Beyond the window of the restart intensity, so that each is the first fault again.
            tokio::time::sleep(61 * SECOND).await;
            let before = generations(&world);
            assert!(world.handle.drills().inject(path, Fault::Panic), "{path}");
            tokio::time::sleep(SECOND / 10).await;
            all_running(&world).await;
            let after = generations(&world);
            let below = format!("{path}/");
            for (other, generation) in &before {
                let hit = other == path || other.starts_with(&below);
                let now = after[other];
                assert_eq!(now > *generation, hit, "{kind:?} {path} hit, {other}: {generation} -> {now}");
            }
            everybody_answers(&world, path).await;
        }
        world.check().await;
    });
}

#[test]
fn a_panic_in_a_conversation_interrupts_its_turn_which_is_resumed_and_answered_once_f044_f069() {
    in_virtual_time(async {
        let world = World::start(Setup { agent_delay: "5s", ..Setup::default() }).await;
        world.settled().await;
        world.say(0, "alice", "think");
        world.say(0, "bob", "think too");
        let thinking = |w: &World| w.handle.board().turns() == 2;
        world.until("both turns run", SECOND, thinking).await;
        let alice = world
            .handle
            .tree()
            .into_iter()
            .find(|node| node.path.contains("oc_alice"))
            .expect("alice has a conversation");
        assert!(world.handle.drills().inject(&alice.path, Fault::Panic));
        world.until("bob is answered", 6 * SECOND, |w| w.copies("bob", "think too") == 1).await;
        world.until("alice is answered", 8 * SECOND, |w| w.copies("alice", "think") == 1).await;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!((world.copies("alice", "think"), world.copies("bob", "think too")), (1, 1));
        world.check().await;
    });
}

#[test]
fn a_turn_that_ends_its_actor_three_times_is_parked_and_the_user_is_told_f069() {
    in_virtual_time(async {
        let world = World::start(Setup { agent_delay: "5s", ..Setup::default() }).await;
        world.settled().await;
        world.say(0, "alice", "poison");
        for _ in 0..3 {
            world.until("the turn runs", 10 * SECOND, |w| w.handle.board().turns() == 1).await;
            let path =
                world.handle.tree().into_iter().find(|node| node.path.contains("oc_alice")).unwrap().path;
            assert!(world.handle.drills().inject(&path, Fault::Panic));
            world.until("it is down", SECOND, |w| w.handle.board().turns() == 0).await;
        }
        let chat = moorline_tests::world::chat_of("alice");
        world
            .until("the user is told", 10 * SECOND, |w| {
                w.simulator
                    .read_ledger(|l| l.visible_in(&chat).any(|m| m.text.contains("could not be answered")))
            })
            .await;
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        assert_eq!(counts.dropped.get("turn_parked"), Some(&1));
        world.say(0, "alice", "still there?");
        world.until("the next is answered", 10 * SECOND, |w| w.copies("alice", "still there?") == 1).await;
        world.check().await;
    });
}

#[test]
fn an_actor_that_keeps_failing_is_parked_shown_and_tried_again() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let path = "runtime/accounts/feishu:a0/connection";
        let node = |w: &World| w.handle.tree().into_iter().find(|node| node.path == path).unwrap();
        for _ in 0..6 {
            world.until("it runs", 70 * SECOND, |w| node(w).state == NodeState::Running).await;
            assert!(world.handle.drills().inject(path, Fault::Panic));
            tokio::time::sleep(SECOND / 10).await;
        }
        assert_eq!(node(&world).state, NodeState::Parked);
        assert!(matches!(node(&world).last_exit.unwrap().reason, ExitReason::Panic(_)));
        assert_eq!(world.status(0).state, AccountState::Parked);
        assert!(world.handle.readiness().is_err());
        assert!((1..3).all(|n| world.status(n).state == AccountState::Ready));
        // Tried again after 15 minutes, for ever.
        world.all_ready(Duration::from_secs(15 * 60 + 2)).await;
        everybody_answers(&world, "after parking").await;
        world.check().await;
    });
}
