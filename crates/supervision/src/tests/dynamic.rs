//! Children that come and go while their parent runs, and what the tree shows of them.

use super::shutdown::Captured;
use super::*;
use crate::{Children, ExitReason, Fault, NodeKind, StartError, install_panic_hook};

/// A router: an actor that starts children on demand. Its subtree is handed out once per generation.
async fn router(tree: &Tree, script: &Script) -> (Root, ActorRef<Probe>, Rc<RefCell<Option<Children>>>) {
    let (actor_ref, handle) = (ActorRef::new(), Rc::<RefCell<Option<Children>>>::default());
    let spec = {
        let handle = Rc::clone(&handle);
        let keep = ActorRef::new();
        let keep_script = script.clone();
        Probe::parent("router", &actor_ref, script, move |env| {
            handle.replace(Some(env.children.clone()));
            vec![Probe::spec("fixed", &keep, &keep_script)]
        })
    };
    let root = Root::start(tree, spec);
    actor_ref.ready().await;
    (root, actor_ref, handle)
}

#[test]
fn an_id_is_free_again_only_when_its_child_is_gone() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (_root, _, handle) = router(&tree, &script).await;
        let children = handle.borrow().clone().unwrap();
        let stubborn = || Probe::stubborn("chat", &script).shutdown(secs(2));
        children.start(stubborn()).unwrap();
        settle().await;
        let taken = StartError::AlreadyRunning { path: "router".to_owned(), id: "chat".to_owned() };
        assert_eq!(children.start(stubborn()), Err(taken.clone()));
        assert_eq!(children.ids(), ["chat", "fixed"]);

        let before = Instant::now();
        let stopped = children.stop("chat");
        settle().await;
        assert_eq!(children.start(stubborn()), Err(taken), "still stopping: never two at once");
        assert!(!children.restart("chat"), "a child that is being stopped is not restarted");
        assert!(stopped.await);
        assert_eq!(before.elapsed(), secs(2));
        assert!(!children.contains("chat") && !children.stop("chat").await);

        children.start(stubborn()).unwrap();
        settle().await;
        assert_eq!(node(&tree, "router/chat").generation, generation(2), "although the path was forgotten");
    });
}

#[test]
fn a_closed_subtree_starts_nothing() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (mut root, _, handle) = router(&tree, &script).await;
        let children = handle.borrow().clone().unwrap();
        root.stop().await;
        let late = children.start(Probe::spec("late", &ActorRef::new(), &script));
        assert!(matches!(late, Err(StartError::Closed { .. })));
        assert!(!children.restart("fixed"));
    });
}

/// The tree stays bounded over months of chats, and still no generation is ever given twice.
#[test]
fn ten_thousand_chats_leave_nothing_behind_but_a_floor() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (_root, router, handle) = router(&tree, &script).await;
        let children = handle.borrow().clone().unwrap();
        let mut last = 0;
        for turn in 0..10_000 {
            let actor_ref = ActorRef::new();
            // A slash in an id is part of the id.
            let id = format!("account/{}", turn % 7);
            children.start(Probe::spec(&id, &actor_ref, &script).temporary()).unwrap();
            let (now, _) = actor_ref.ready().await;
            assert!(now.get() > last, "greater than any forgotten sibling");
            last = now.get();
            actor_ref.tell(End { error: (turn % 2 == 0).then_some("fault") });
            while children.contains(&id) {
                tokio::task::yield_now().await;
            }
            script.take();
        }
        assert_eq!(tree.snapshot().len(), 2);

        // The router dies with a chat running: children added at run time are lost with it, as in OTP.
        children.start(Probe::spec("lost", &ActorRef::new(), &script)).unwrap();
        settle().await;
        let lost = node(&tree, "router/lost").generation;
        assert!(tree.inject("router", Fault::Panic));
        settle().await;
        assert_eq!(state(&tree, "router/lost"), NodeState::Stopped);
        router.ready().await;
        assert_eq!(tree.snapshot().len(), 2, "what the new router did not start is forgotten");
        handle.borrow().clone().unwrap().start(Probe::spec("lost", &ActorRef::new(), &script)).unwrap();
        settle().await;
        assert!(node(&tree, "router/lost").generation > lost);
    });
}

#[test]
fn forgetting_a_whole_subtree_keeps_the_generations_below_it_taken() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (_root, _, handle) = router(&tree, &script).await;
        let children = handle.borrow().clone().unwrap();
        let connection = ActorRef::new();
        let account = || {
            let (connection, script) = (connection.clone(), script.clone());
            let inner = script.clone();
            Probe::parent("account", &ActorRef::new(), &script, move |_| {
                vec![Probe::spec("connection", &connection, &inner)]
            })
        };
        children.start(account()).unwrap();
        for n in 1..4 {
            assert_eq!(connection.next_generation(generation(n - 1)).await.0, generation(n));
            assert!(tree.inject("router/account/connection", Fault::Panic));
            settle().await;
        }
        assert!(children.stop("account").await);
        assert_eq!(tree.snapshot().len(), 2);
        children.start(account()).unwrap();
        assert_eq!(connection.ready().await.0, generation(4));
    });
}

#[test]
fn a_node_as_the_admin_endpoint_shows_it() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (_root, router, _) = router(&tree, &script).await;
        let writer = tree.register("router/writer");
        router.tell(End { error: Some("boom") });
        router.next_generation(generation(1)).await;
        let json = serde_json::to_value(node(&tree, "router")).unwrap();
        let exit = &json["last_exit"];
        assert_eq!(exit["reason"], serde_json::json!({"kind": "error", "message": "boom"}));
        assert_eq!(exit["ran_for_ms"], 0);
        assert_eq!((&json["kind"], &json["state"]), (&"supervisor".into(), &"running".into()));
        assert_eq!(
            serde_json::to_value(ExitReason::Shutdown).unwrap(),
            serde_json::json!({"kind": "shutdown"})
        );

        let leaf = node(&tree, "router/writer");
        assert_eq!(
            (leaf.kind, leaf.state),
            (NodeKind::Worker, NodeState::Running),
            "a leaf outlives the router"
        );
        sleep(secs(1)).await;
        writer.finish(ExitReason::Error("disk".to_owned()));
        let exit = last_exit(&tree, "router/writer");
        assert_eq!(i64::try_from(exit.ran_for_ms).unwrap(), exit.at.as_millis(), "registered at time zero");
        let paths: Vec<_> = tree.snapshot().into_iter().map(|node| node.path).collect();
        assert!(paths.is_sorted(), "{paths:?}");
    });
}

#[test]
fn the_panic_hook_names_the_actor_in_one_line() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    install_panic_hook();
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let (_root, ..) = router(&tree, &script).await;
        assert!(tree.inject("router/fixed", Fault::Panic));
        settle().await;
    });
    let log = captured.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("actor=router/fixed generation=1") && lines[0].contains("injected fault"),
        "{log}"
    );
}
