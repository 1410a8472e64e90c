//! What the crate promises, in virtual time on one thread.

mod containment;
mod dynamic;
mod properties;
mod restart;
mod shutdown;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, System, WrapFuture};
use moorline_core::{Clock, Generation, Monotonic, Timestamp};
use tokio::time::{Instant, sleep};

use crate::{ActorRef, ChildExited, ChildSpec, Directive, Env, LastExit, Node, NodeState, Root, Tree};

/// Runs a test on one arbiter whose clock jumps to the next timer whenever everybody waits.
fn paused(test: impl Future<Output = ()>) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    System::with_tokio_rt(runtime).block_on(test);
}

/// A clock that follows tokio's.
struct PausedClock {
    origin: Instant,
}

impl Clock for PausedClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.origin.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0) + self.origin.elapsed()
    }
}

fn tree() -> Tree {
    Tree::new(Arc::new(PausedClock { origin: Instant::now() }), 7)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Lets everything that can happen now happen.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn node(tree: &Tree, path: &str) -> Node {
    tree.snapshot().into_iter().find(|node| node.path == path).unwrap_or_else(|| panic!("no node {path}"))
}

fn state(tree: &Tree, path: &str) -> NodeState {
    node(tree, path).state
}

fn last_exit(tree: &Tree, path: &str) -> LastExit {
    node(tree, path).last_exit.unwrap()
}

/// Where a [`Probe`] misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    Factory,
    Started,
    Handler,
    Spawned,
    Later,
    Waited,
    Stopping,
    HandlerAndStopping,
    Dropped,
}

/// What all probes of a test share: what they did, and what the next life of each is to do wrong.
#[derive(Clone, Default)]
struct Script {
    log: Rc<RefCell<Vec<String>>>,
    /// Taken by the next life that begins anywhere.
    fault: Rc<Cell<Option<Spot>>>,
    /// As long as it is set, every life fails at once.
    crash_loop: Rc<Cell<bool>>,
}

impl Script {
    fn say(&self, what: &str, who: &str) {
        self.log.borrow_mut().push(format!("{what} {who}"));
    }

    /// What happened since the last call.
    fn take(&self) -> Vec<String> {
        self.log.take()
    }
}

/// An actor that does as it is told, and tells what happens to it. Supervises what `children` makes.
struct Probe {
    name: String,
    script: Script,
    env: Env,
    fault: Option<Spot>,
    stubborn: bool,
    children: Vec<ChildSpec>,
}

/// Answered with the generation.
struct Ping;

/// Makes the probe misbehave now.
struct Misbehave(Spot);

/// Ends the probe with an error, or normally.
struct End {
    error: Option<&'static str>,
}

impl Message for Ping {
    type Result = u64;
}

impl Message for Misbehave {
    type Result = ();
}

impl Message for End {
    type Result = ();
}

impl Probe {
    /// A worker called `id`.
    fn spec(id: &str, actor_ref: &ActorRef<Self>, script: &Script) -> ChildSpec {
        Self::parent(id, actor_ref, script, |_| Vec::new())
    }

    /// A worker that refuses to stop.
    fn stubborn(id: &str, script: &Script) -> ChildSpec {
        let (name, script) = (id.to_owned(), script.clone());
        ChildSpec::new(id, &ActorRef::new(), move |env| {
            let mut probe = Self::new(name.clone(), &script, env, Vec::new());
            probe.stubborn = true;
            probe
        })
    }

    /// An actor that supervises children of its own.
    fn parent(
        id: &str,
        actor_ref: &ActorRef<Self>,
        script: &Script,
        mut children: impl FnMut(&Env) -> Vec<ChildSpec> + 'static,
    ) -> ChildSpec {
        let (name, script) = (id.to_owned(), script.clone());
        ChildSpec::new(id, actor_ref, move |env| {
            let specs = children(&env);
            Self::new(name.clone(), &script, env, specs)
        })
    }

    fn new(name: String, script: &Script, env: Env, children: Vec<ChildSpec>) -> Self {
        let fault = script.fault.take();
        assert!(fault != Some(Spot::Factory), "panic in Factory");
        script.say("start", &name);
        Self { name, script: script.clone(), env, fault, stubborn: false, children }
    }

    fn panic_at(&self, spot: Spot) {
        assert!(self.fault != Some(spot), "panic in {spot:?}");
    }
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.panic_at(Spot::Started);
        if !self.children.is_empty() {
            self.env.children.bind(ctx.address().recipient());
        }
        for spec in self.children.drain(..) {
            self.env.children.start(spec).unwrap();
        }
        if self.script.crash_loop.get() {
            self.env.exit.fail(ctx, "crash loop");
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
        self.script.say("stopping", &self.name);
        self.panic_at(Spot::Stopping);
        assert!(self.fault != Some(Spot::HandlerAndStopping), "a second panic");
        if self.stubborn { actix::Running::Continue } else { actix::Running::Stop }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.script.say("end", &self.name);
        assert!(self.fault != Some(Spot::Dropped), "panic in Dropped");
    }
}

impl Handler<Ping> for Probe {
    type Result = u64;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> u64 {
        self.env.generation.get()
    }
}

impl Handler<Misbehave> for Probe {
    type Result = ();

    fn handle(&mut self, Misbehave(spot): Misbehave, ctx: &mut Self::Context) {
        self.fault = Some(spot);
        let later = sleep(secs(1)).into_actor(self).map(move |(), _, _| panic!("panic in {spot:?}"));
        match spot {
            Spot::Handler | Spot::HandlerAndStopping => panic!("panic in {spot:?}"),
            Spot::Spawned => drop(ctx.spawn(later)),
            Spot::Waited => ctx.wait(later),
            Spot::Later => drop(ctx.run_later(secs(1), |_, _| panic!("panic in Later"))),
            Spot::Stopping | Spot::Dropped => self.env.exit.done(ctx),
            Spot::Factory | Spot::Started => {
                // These concern the next life.
                self.script.fault.set(self.fault.take());
                self.env.exit.fail(ctx, "make room");
            }
        }
    }
}

impl Handler<End> for Probe {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        match end.error {
            Some(error) => self.env.exit.fail(ctx, error),
            None => self.env.exit.done(ctx),
        }
    }
}

impl Handler<ChildExited> for Probe {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) -> Directive {
        self.script.say("exited", &exited.id);
        self.env.children.decide(&exited)
    }
}

fn generation(n: u64) -> Generation {
    Generation::new(n)
}
