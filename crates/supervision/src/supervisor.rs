//! The ready-made supervisor, and the top of the tree.

use std::future::Future;

use actix::{Actor, AsyncContext, Context, Handler};

use crate::actor_ref::ActorRef;
use crate::children::Children;
use crate::env::Env;
use crate::exit::{ChildExited, Directive, Exit};
use crate::spec::ChildSpec;
use crate::tree::Tree;

/// A supervisor with a fixed list of children, started in order, under the standard policy.
#[derive(Debug)]
pub struct Supervisor {
    specs: Vec<ChildSpec>,
    children: Children,
    exit: Exit,
}

impl Supervisor {
    /// The spec of a supervisor called `id`. `children` is asked anew for each of its generations; references made
    /// outside of it outlive them all.
    pub fn spec(
        id: impl Into<String>,
        mut children: impl FnMut(&Env) -> Vec<ChildSpec> + 'static,
    ) -> ChildSpec {
        ChildSpec::new(id, &ActorRef::new(), move |env| {
            let specs = children(&env);
            Self { specs, children: env.children, exit: env.exit }
        })
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.children.bind(ctx.address().recipient());
        for spec in self.specs.drain(..) {
            if let Err(error) = self.children.start(spec) {
                self.exit.fail(ctx, error);
                return;
            }
        }
    }
}

impl Handler<ChildExited> for Supervisor {
    type Result = Directive;

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) -> Directive {
        self.children.decide(&exited)
    }
}

/// The running tree, held by whoever runs the process. Dropping it stops everything, without waiting.
#[derive(Debug)]
pub struct Root {
    id: String,
    children: Children,
}

impl Root {
    /// Starts the top of the tree at the path that is its id. It has no parent: the standard policy applies to it.
    /// Must be called on a running arbiter, where all of the tree then lives.
    pub fn start(tree: &Tree, spec: ChildSpec) -> Self {
        let id = spec.id.clone();
        let children = Children::new(tree.clone(), "".into());
        let started = children.start(spec);
        debug_assert!(started.is_ok(), "an empty subtree takes any child");
        Self { id, children }
    }

    /// Stops everything in exact reverse start order and waits until it is gone. Takes no longer than the grace
    /// periods on the way together.
    pub async fn stop(&mut self) {
        self.children.close().await;
    }

    /// Resolves when the tree has ended, for whatever reason. The future borrows nothing.
    pub fn wait(&self) -> impl Future<Output = ()> + use<> {
        self.children.gone(&self.id).wait()
    }
}
