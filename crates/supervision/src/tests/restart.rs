//! When a child comes back, and when it does not.

use super::*;
use crate::{Children, ExitReason, Fault, Supervisor};

/// A supervisor over one child, and the handle on its subtree that an operator's command would use.
async fn only(
    make: impl Fn(&ActorRef<Probe>, &Script) -> ChildSpec + 'static,
) -> (Tree, Root, ActorRef<Probe>, Script, Children) {
    let (tree, actor_ref, script) = (tree(), ActorRef::new(), Script::default());
    let handle: Rc<RefCell<Option<Children>>> = Rc::default();
    let specs = {
        let (actor_ref, script, handle) = (actor_ref.clone(), script.clone(), Rc::clone(&handle));
        move |env: &Env| {
            handle.replace(Some(env.children.clone()));
            vec![make(&actor_ref, &script)]
        }
    };
    let root = Root::start(&tree, Supervisor::spec("runtime", specs));
    actor_ref.ready().await;
    let children = handle.take().unwrap();
    (tree, root, actor_ref, script, children)
}

fn worker(actor_ref: &ActorRef<Probe>, script: &Script) -> ChildSpec {
    Probe::spec("worker", actor_ref, script)
}

const WORKER: &str = "runtime/worker";

/// F-001: no number of faults ends the trying.
#[test]
fn a_crash_loop_is_parked_and_tried_every_15_minutes_for_ever() {
    paused(async {
        let (tree, _root, actor_ref, script, _) = only(worker).await;
        script.crash_loop.set(true);
        actor_ref.tell(End { error: Some("first") });
        sleep(secs(40)).await;
        assert_eq!(state(&tree, WORKER), NodeState::Parked);
        assert_eq!(node(&tree, WORKER).generation, generation(6), "five restarts in the window, not six");

        for tries in 1..=100 {
            sleep(secs(15 * 60)).await;
            assert_eq!(state(&tree, WORKER), NodeState::Parked);
            assert_eq!(node(&tree, WORKER).generation, generation(6 + tries), "one try per retry, no burst");
        }
        script.crash_loop.set(false);
        actor_ref.ready().await;
        assert_eq!(state(&tree, WORKER), NodeState::Running);

        sleep(secs(60)).await;
        actor_ref.tell(End { error: Some("after a healthy minute") });
        settle().await;
        assert_eq!(state(&tree, WORKER), NodeState::Restarting, "health ends the parking");
        let waiting = node(&tree, WORKER);
        let delay = waiting.next_attempt_at.unwrap().since(waiting.last_exit.unwrap().at);
        assert!(
            delay >= Duration::from_millis(500) && delay <= secs(1),
            "and the back-off starts anew: {delay:?}"
        );
    });
}

#[test]
fn the_operator_ends_a_parking_at_once_and_forgets_the_faults() {
    paused(async {
        let (tree, _root, actor_ref, script, children) = only(worker).await;
        script.crash_loop.set(true);
        actor_ref.tell(End { error: Some("first") });
        sleep(secs(40)).await;
        assert_eq!(state(&tree, WORKER), NodeState::Parked);

        script.crash_loop.set(false);
        let before = Instant::now();
        assert!(children.restart("worker"));
        let (now, _) = actor_ref.ready().await;
        assert_eq!((now, before.elapsed()), (generation(7), Duration::ZERO));
        assert_eq!(node(&tree, WORKER).next_attempt_at, None);

        actor_ref.tell(End { error: Some("again") });
        settle().await;
        assert_eq!(state(&tree, WORKER), NodeState::Restarting, "the window starts anew");
        assert!(children.restart("worker"));
        assert_eq!(actor_ref.ready().await.0, generation(8));
        assert_eq!(before.elapsed(), Duration::from_millis(1), "a back-off is cut short too");
    });
}

/// F-083: the command says what it did.
#[test]
fn the_operator_restarts_a_healthy_child_gracefully() {
    paused(async {
        let (tree, _root, actor_ref, script, children) = only(worker).await;
        script.take();
        assert!(children.restart("worker"));
        assert!(children.restart("worker"), "asked twice before it has begun: one restart");
        assert_eq!(actor_ref.next_generation(generation(1)).await.0, generation(2));
        sleep(secs(10)).await;
        assert_eq!(actor_ref.generation(), Some(generation(2)));
        assert_eq!(script.take(), ["stopping worker", "end worker", "start worker"]);
        assert_eq!(last_exit(&tree, WORKER).reason, ExitReason::Shutdown);
        assert!(!children.restart("nobody"));
    });
}

#[test]
fn orders_given_while_a_child_is_stopping_are_one_restart() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let children = Children::new(tree.clone(), "".into());
        children.start(Probe::stubborn("worker", &script).shutdown(secs(2))).unwrap();
        settle().await;
        for _ in 0..3 {
            assert!(children.restart("worker"));
            settle().await;
        }
        sleep(secs(10)).await;
        assert_eq!(node(&tree, "worker").generation, generation(2));
        assert_eq!(last_exit(&tree, "worker").reason, ExitReason::Killed, "a killed child is restarted too");
    });
}

/// Restart types of OTP, row by row: whether the child comes back after a normal end, and after a fault.
#[test]
fn the_table_of_restart_types() {
    type Row = (fn(ChildSpec) -> ChildSpec, bool, bool);
    let rows: [Row; 3] = [
        (ChildSpec::permanent, true, true),
        (ChildSpec::transient, false, true),
        (ChildSpec::temporary, false, false),
    ];
    for (index, (kind, after_normal, after_fault)) in rows.into_iter().enumerate() {
        for (error, comes_back) in [(None, after_normal), (Some("fault"), after_fault)] {
            paused(async move {
                let make = move |actor_ref: &_, script: &_| kind(worker(actor_ref, script));
                let (tree, _root, actor_ref, _, children) = only(make).await;
                actor_ref.tell(End { error });
                sleep(secs(2)).await;
                let row = format!("row {index}, {error:?}");
                assert_eq!(actor_ref.addr().is_some(), comes_back, "{row}");
                let temporary = index == 2;
                let known = tree.snapshot().iter().any(|node| node.path == WORKER);
                assert_eq!((known, children.contains("worker")), (!temporary, !temporary), "{row}");
                if !comes_back {
                    assert_eq!(
                        children.restart("worker"),
                        !temporary,
                        "{row}: an ended child can be restarted"
                    );
                    settle().await;
                    assert_eq!(actor_ref.generation(), (!temporary).then_some(generation(2)), "{row}");
                }
            });
        }
    }
}

#[test]
fn a_parent_that_lives_and_does_not_answer_ends_no_child_for_good() {
    struct Deaf(Env, Option<ChildSpec>);
    impl Actor for Deaf {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            self.0.children.bind(ctx.address().recipient());
            self.0.children.start(self.1.take().unwrap()).unwrap();
            ctx.wait(std::future::pending().into_actor(self));
        }
    }
    impl Handler<ChildExited> for Deaf {
        type Result = Directive;
        fn handle(&mut self, _: ChildExited, _: &mut Self::Context) -> Directive {
            Directive::RestartAfter(Duration::ZERO)
        }
    }
    paused(async {
        let (tree, actor_ref, script) = (tree(), ActorRef::new(), Script::default());
        let child = actor_ref.clone();
        let make = move |env| Deaf(env, Some(worker(&child, &script)));
        let _root = Root::start(&tree, ChildSpec::new("runtime", &ActorRef::new(), make));
        actor_ref.ready().await;
        assert!(tree.inject(WORKER, Fault::Panic));
        sleep(secs(29)).await;
        assert!(actor_ref.addr().is_none(), "the parent is given its time");
        sleep(secs(3)).await;
        assert_eq!(state(&tree, WORKER), NodeState::Running);
        assert_eq!(actor_ref.generation(), Some(generation(2)));
    });
}

#[test]
fn the_top_of_the_tree_is_restarted_by_the_same_policy() {
    paused(async {
        let (tree, _root, actor_ref, ..) = only(worker).await;
        assert!(tree.inject("runtime", Fault::Panic));
        let (now, _) = actor_ref.next_generation(generation(1)).await;
        assert_eq!((now, node(&tree, "runtime").generation), (generation(2), generation(2)));
    });
}
