//! Going down in order, leaving nobody behind. F-070.

use std::io;

use parking_lot::Mutex;

use super::*;
use crate::{ExitReason, Fault, Supervisor};

/// `runtime` over `a`, `mid` (over `m1`, `m2`) and `z`; all probes.
fn family(tree: &Tree, script: &Script, refs: &[ActorRef<Probe>; 5]) -> Root {
    let [a, mid, m1, m2, z] = refs.clone();
    let script = script.clone();
    let specs = move |_: &Env| {
        let inner = {
            let (m1, m2, script) = (m1.clone(), m2.clone(), script.clone());
            move |_: &Env| vec![Probe::spec("m1", &m1, &script), Probe::spec("m2", &m2, &script)]
        };
        vec![
            Probe::spec("a", &a, &script),
            Probe::parent("mid", &mid, &script, inner),
            Probe::spec("z", &z, &script),
        ]
    };
    Root::start(tree, Supervisor::spec("runtime", specs))
}

fn ends(script: &Script) -> Vec<String> {
    script.take().into_iter().filter(|line| line.starts_with("end ")).collect()
}

#[test]
fn a_graceful_stop_is_the_exact_reverse_of_the_start() {
    paused(async {
        let (tree, script, refs) = (tree(), Script::default(), Default::default());
        let mut root = family(&tree, &script, &refs);
        settle().await;
        let ended = root.wait();
        root.stop().await;
        assert_eq!(ends(&script), ["end z", "end m2", "end m1", "end mid", "end a"]);
        assert!(refs.iter().all(|actor_ref| actor_ref.addr().is_none()));
        for node in tree.snapshot() {
            assert_eq!(node.state, NodeState::Stopped, "{}", node.path);
            assert_eq!(node.last_exit.unwrap().reason, ExitReason::Shutdown, "{}", node.path);
        }
        ended.await;
    });
}

/// One connection per credential at a time: the subtree is gone before it is back.
#[test]
fn a_supervisors_panic_takes_exactly_its_subtree_down_in_order_and_brings_it_back() {
    paused(async {
        let (tree, script, refs) = (tree(), Script::default(), Default::default());
        let _root = family(&tree, &script, &refs);
        settle().await;
        script.take();
        assert!(tree.inject("runtime/mid", Fault::Panic));
        settle().await;
        assert_eq!(script.take(), ["end mid", "stopping m2", "end m2", "stopping m1", "end m1"]);

        let [a, mid, m1, m2, z] = &refs;
        for actor_ref in [mid, m1, m2] {
            assert_eq!(actor_ref.ready().await.0, generation(2));
        }
        assert_eq!(script.take(), ["start mid", "start m1", "start m2"]);
        assert_eq!((a.send(Ping).await, z.send(Ping).await), (Ok(1), Ok(1)), "siblings are untouched");
        assert_eq!(tree.snapshot().len(), 6, "and the tree knows each of them once");
    });
}

#[test]
fn nobody_is_orphaned_by_a_dropped_root() {
    paused(async {
        let (tree, script, refs) = (tree(), Script::default(), Default::default());
        let root = family(&tree, &script, &refs);
        settle().await;
        drop(root);
        settle().await;
        assert!(refs.iter().all(|actor_ref| actor_ref.addr().is_none()));
        assert_eq!(ends(&script).len(), 5);
    });
}

/// The kill is noticed by name, and the stop goes on.
#[test]
fn a_child_that_refuses_to_stop_is_killed_after_its_grace_with_a_warning() {
    let captured = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).without_time().finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let specs = {
            let script = script.clone();
            move |_: &Env| {
                vec![
                    Probe::spec("polite", &ActorRef::new(), &script),
                    Probe::stubborn("stubborn", &script).shutdown(secs(3)),
                ]
            }
        };
        let mut root = Root::start(&tree, Supervisor::spec("runtime", specs));
        settle().await;
        let before = Instant::now();
        root.stop().await;
        assert_eq!(before.elapsed(), secs(3));
        assert_eq!(last_exit(&tree, "runtime/stubborn").reason, ExitReason::Killed);
        assert_eq!(last_exit(&tree, "runtime/polite").reason, ExitReason::Shutdown);
        assert_eq!(ends(&script), ["end stubborn", "end polite"]);
    });
    let log = captured.text();
    let warning = log.lines().find(|line| line.contains("killed") && line.contains("WARN")).unwrap();
    assert!(warning.contains("runtime/stubborn") && warning.contains("generation=1"), "{warning}");
}

#[test]
fn a_stop_ends_a_back_off_at_once_and_nothing_comes_back() {
    paused(async {
        let (tree, script, refs) = (tree(), Script::default(), Default::default());
        let mut root = family(&tree, &script, &refs);
        settle().await;
        assert!(tree.inject("runtime/mid/m1", Fault::Panic) && tree.inject("runtime/z", Fault::Panic));
        settle().await;
        let before = Instant::now();
        root.stop().await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(secs(3600)).await;
        assert!(refs.iter().all(|actor_ref| actor_ref.addr().is_none()));
    });
}

/// While a subtree waits for one slow child, an earlier one whose delay is over must not come back.
#[test]
fn nothing_restarts_under_a_supervisor_that_is_going_down() {
    paused(async {
        let (tree, script) = (tree(), Script::default());
        let first = ActorRef::new();
        let specs = {
            let (first, script) = (first.clone(), script.clone());
            move |_: &Env| {
                vec![
                    Probe::spec("first", &first, &script),
                    Probe::stubborn("slow", &script).shutdown(secs(30)),
                ]
            }
        };
        let parent = ActorRef::new();
        let mut root = Root::start(&tree, Probe::parent("runtime", &parent, &script, specs));
        settle().await;
        let slow_stop = async {
            settle().await;
            script.take();
            // Dies while its supervisor is already stopping: still answered, never restarted.
            first.tell(End { error: Some("late") });
            sleep(secs(10)).await;
            assert_eq!(script.take(), ["stopping first", "end first", "exited first"]);
            assert_eq!(parent.send(Ping).await, Ok(1), "the supervisor answers until its children are gone");
        };
        tokio::join!(root.stop(), slow_stop);
        assert_eq!(script.take(), ["end slow", "stopping runtime", "end runtime"]);
    });
}

/// A writer into memory, for what the operator would read.
#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
