//! Watches the store: the end of its right to acknowledge is the end of the process (design §3 rule 7). And keeps it
//! from growing without end ([`janitor`]).

mod janitor;

use std::rc::Rc;

use actix::prelude::*;
use moorline_store::Health;
use moorline_supervision::{Env, NodeHandle, NodeState, Tree};

use crate::exit::{ExitReason, ExitRequests};
use crate::handle::StoreStatus;
use crate::pulse::BEAT;
use crate::services::Services;

/// Asks for the end of the process when the store has failed, and prunes it as long as it has not.
pub(crate) struct StoreWatch {
    services: Rc<Services>,
    exits: ExitRequests,
    _env: Env,
}

impl StoreWatch {
    pub(crate) fn new(services: Rc<Services>, exits: ExitRequests, env: Env) -> Self {
        Self { services, exits, _env: env }
    }
}

impl Actor for StoreWatch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // This actor is the first to start and the last to stop, so it speaks for the thread that all of them run on.
        let pulse = self.services.board.pulses().begin("runtime");
        ctx.run_interval(BEAT, move |_, _| pulse.beat());
        let mut health = self.services.store.health();
        let (exits, events) = (self.exits.clone(), self.services.board.events().clone());
        let watching = async move {
            loop {
                events.store(&StoreStatus::of(&health.borrow()));
                match &*health.borrow_and_update() {
                    Health::Ok => tracing::debug!(actor = "store", "store takes commits"),
                    Health::Full => {
                        tracing::error!(
                            actor = "store",
                            "the disk is full: messages are refused until there is room, and come again"
                        );
                    }
                    Health::Failed(why) => {
                        tracing::error!(
                            actor = "store",
                            "the store failed, nothing more may be acknowledged by this process: {why}"
                        );
                        exits.request(ExitReason::StoreFailed(why.clone()));
                        return;
                    }
                }
                if health.changed().await.is_err() {
                    exits.request(ExitReason::StoreFailed("the store is gone".to_owned()));
                    return;
                }
            }
        };
        ctx.spawn(actix::fut::wrap_future(watching));
        ctx.spawn(actix::fut::wrap_future(janitor::run(Rc::clone(&self.services))));
    }
}

/// The writer thread's place in the tree. It is no actor and is not restarted: its end is the process's.
pub(crate) fn writer_node(tree: &Tree) -> NodeHandle {
    let node = tree.register("runtime/store/writer");
    node.set_state(NodeState::Running);
    node
}
