//! The invariants of supervision.md §8.10, for random trees under random schedules of faults.
//!
//! A run writes down everything that happens; each invariant is then a function over that record.

mod invariants;

use std::collections::BTreeMap;

use actix::{Addr, AsyncContext};
use moorline_core::Backoff;
use proptest::prelude::*;

use super::*;
use crate::{Exit, ExitReason, Fault, InFlightGuard, Intensity};

/// A random tree: what one node is.
#[derive(Debug, Clone)]
struct Shape {
    restart: Kind,
    children: Vec<Shape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permanent,
    Transient,
    Temporary,
}

/// One fault: after `wait_ms`, to the node at `target` in pre-order (modulo their number).
#[derive(Debug, Clone, Copy)]
struct Step {
    wait_ms: u64,
    target: usize,
    act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Drill,
    Panic,
    Fail,
    Done,
}

/// One policy for all nodes of a run.
#[derive(Debug, Clone, Copy)]
struct Rules {
    intensity: Intensity,
    backoff: Backoff,
    parked_retry: Duration,
}

/// One line of the record.
#[derive(Debug, Clone)]
struct Event {
    at: Instant,
    path: String,
    generation: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// The test made this life end.
    Hit,
    /// A life began, in its `started()`.
    Began,
    /// Its actor was dropped.
    Ended,
    /// Its parent, itself of this generation, was told and answered.
    Decided { parent: u64, reason: ExitReason, directive: Directive },
    /// The test stopped everything.
    Closing,
}

/// Shared by all members of a run.
struct World {
    rules: Rules,
    tree: Tree,
    refs: RefCell<BTreeMap<String, ActorRef<Member>>>,
    record: RefCell<Vec<Event>>,
    violations: RefCell<Vec<String>>,
    /// What every life leaves behind: a way to complete late, to exit late, and a piece of work never finished.
    leftovers: RefCell<Vec<Leftover>>,
}

struct Leftover {
    path: String,
    generation: u64,
    addr: Addr<Member>,
    _exit: Exit,
    _work: InFlightGuard,
}

/// The actor of every node.
struct Member {
    world: Rc<World>,
    shape: Rc<Shape>,
    env: Env,
}

/// A completion that belongs to one generation.
struct Completion {
    generation: u64,
}

struct Do(Act);

impl Message for Completion {
    type Result = ();
}

impl Message for Do {
    type Result = ();
}

impl World {
    fn note(&self, path: &str, generation: u64, what: What) {
        let event = Event { at: Instant::now(), path: path.to_owned(), generation, what };
        self.record.borrow_mut().push(event);
    }

    fn violated(&self, text: String) {
        self.violations.borrow_mut().push(text);
    }

    fn actor_ref(&self, path: &str) -> ActorRef<Member> {
        self.refs.borrow_mut().entry(path.to_owned()).or_default().clone()
    }

    fn spec(self: &Rc<Self>, path: String, shape: Rc<Shape>) -> ChildSpec {
        let id = path.rsplit('/').next().unwrap().to_owned();
        let (world, kind, rules) = (Rc::clone(self), shape.restart, self.rules);
        let make = move |env| Member { world: Rc::clone(&world), shape: Rc::clone(&shape), env };
        let spec = ChildSpec::new(id, &self.actor_ref(&path), make);
        let spec = spec.intensity(rules.intensity).backoff(rules.backoff).parked_retry(rules.parked_retry);
        match kind {
            Kind::Permanent => spec.permanent(),
            Kind::Transient => spec.transient(),
            Kind::Temporary => spec.temporary(),
        }
    }

    /// All that ended, and all below `path`, must be closed by now.
    fn check_gone(&self, path: &str) {
        for left in self.leftovers.borrow().iter() {
            if invariants::is_within(&left.path, path) && left.addr.connected() {
                self.violated(format!("{} #{} outlives {path}", left.path, left.generation));
            }
        }
        for (below, actor_ref) in self.refs.borrow().iter() {
            if invariants::is_within(below, path) && actor_ref.addr().is_some() {
                self.violated(format!("the reference to {below} outlives {path}"));
            }
        }
    }
}

impl Actor for Member {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (path, generation) = (self.env.path.to_string(), self.env.generation.get());
        self.world.note(&path, generation, What::Began);
        let (addr, exit, work) = (ctx.address(), self.env.exit.clone(), self.env.in_flight.enter());
        let leftover = Leftover { path: path.clone(), generation, addr, _exit: exit, _work: work };
        self.world.leftovers.borrow_mut().push(leftover);
        self.env.children.bind(ctx.address().recipient());
        for (index, shape) in self.shape.children.iter().enumerate() {
            let spec = self.world.spec(format!("{path}/{index}"), Rc::new(shape.clone()));
            self.env.children.start(spec).unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.world.note(&self.env.path, self.env.generation.get(), What::Ended);
    }
}

impl Handler<ChildExited> for Member {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) -> Directive {
        self.world.check_gone(&exited.path);
        let directive = self.env.children.decide(&exited);
        let parent = self.env.generation.get();
        let what = What::Decided { parent, reason: exited.reason, directive };
        self.world.note(&exited.path, exited.generation.get(), what);
        directive
    }
}

impl Handler<Completion> for Member {
    type Result = ();

    fn handle(&mut self, done: Completion, _: &mut Self::Context) {
        if done.generation != self.env.generation.get() {
            let text = format!("a completion of #{} reached {:?}", done.generation, self.env);
            self.world.violated(text);
        }
    }
}

impl Handler<Do> for Member {
    type Result = ();

    fn handle(&mut self, Do(act): Do, ctx: &mut Self::Context) {
        match act {
            Act::Drill => {}
            Act::Panic => panic!("as scheduled"),
            Act::Fail => self.env.exit.fail(ctx, "as scheduled"),
            Act::Done => self.env.exit.done(ctx),
        }
    }
}

/// Lets the schedule run over the tree, then stops it; returns the record and what was seen to be wrong meanwhile.
async fn run(shape: Shape, rules: Rules, schedule: Vec<Step>) -> (Vec<Event>, Vec<String>) {
    let tree = tree();
    let world = Rc::new(World {
        rules,
        tree: tree.clone(),
        refs: RefCell::default(),
        record: RefCell::default(),
        violations: RefCell::default(),
        leftovers: RefCell::default(),
    });
    let mut root = Root::start(&tree, world.spec("root".to_owned(), Rc::new(shape)));
    settle().await;
    let targets: Vec<_> = world.refs.borrow().keys().cloned().collect();
    for step in schedule {
        sleep(Duration::from_millis(step.wait_ms)).await;
        let path = &targets[step.target % targets.len()];
        let actor_ref = world.actor_ref(path);
        if let Some(generation) = actor_ref.generation() {
            world.note(path, generation.get(), What::Hit);
            let hit = match step.act {
                Act::Drill => world.tree.inject(path, Fault::Panic),
                act => actor_ref.tell(Do(act)),
            };
            assert!(hit, "a published life is alive");
        }
        settle().await;
        for left in world.leftovers.borrow().iter() {
            left.addr.do_send(Completion { generation: left.generation });
        }
        settle().await;
        invariants::snapshot_is_truthful(&world);
    }
    world.note("root", 0, What::Closing);
    root.stop().await;
    world.check_gone("root");
    let (record, violations) = (world.record.take(), world.violations.take());
    // The leftovers hold the world's own actors' addresses.
    world.leftovers.take();
    (record, violations)
}

fn shapes() -> impl Strategy<Value = Shape> {
    let kind =
        prop_oneof![4 => Just(Kind::Permanent), 1 => Just(Kind::Transient), 1 => Just(Kind::Temporary)];
    let leaf = kind.clone().prop_map(|restart| Shape { restart, children: Vec::new() });
    let inner = leaf.prop_recursive(3, 16, 4, move |child| {
        (kind.clone(), prop::collection::vec(child, 1..4))
            .prop_map(|(restart, children)| Shape { restart, children })
    });
    prop::collection::vec(inner, 1..4).prop_map(|children| Shape { restart: Kind::Permanent, children })
}

fn rules() -> impl Strategy<Value = Rules> {
    (0u32..4, 1u64..60, 10u64..2_000, 0u64..5_000, 1u64..90, 0u64..600).prop_map(
        |(max_restarts, within, initial, spread, reset_after, extra)| Rules {
            intensity: Intensity { max_restarts, within: secs(within) },
            backoff: Backoff {
                initial: Duration::from_millis(initial),
                max: Duration::from_millis(initial + spread),
                reset_after: secs(reset_after),
            },
            parked_retry: secs(within + extra),
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![Just(Act::Drill), Just(Act::Panic), Just(Act::Fail), Just(Act::Done)];
    // Mostly in quick succession, so that the intensity is reached.
    let wait_ms = prop_oneof![3 => 1u64..3_000, 1 => 1u64..100_000];
    let step = (wait_ms, any::<usize>(), act);
    prop::collection::vec(step.prop_map(|(wait_ms, target, act)| Step { wait_ms, target, act }), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_any_tree_and_any_schedule(shape in shapes(), rules in rules(), steps in steps()) {
        // Thousands of panics are expected here: they need no backtraces.
        let _quiet = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        crate::install_panic_hook();
        let outcome = Rc::new(RefCell::new(None));
        let result = Rc::clone(&outcome);
        paused(async move {
            result.replace(Some(run(shape, rules, steps).await));
        });
        let (record, violations) = outcome.take().expect("the run ended");
        prop_assert!(violations.is_empty(), "{violations:#?}");
        for (name, holds) in invariants::ALL {
            if let Err(violation) = holds(&record, &rules) {
                prop_assert!(false, "{name}: {violation}\n{record:#?}");
            }
        }
    }
}
