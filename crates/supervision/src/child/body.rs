//! The live actor in the hands of its task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::children::Children;
use crate::containment::{Scope, contain};
use crate::life::{Drill, Life};
use crate::tree::{NodeState, Tree};

/// An actor and everything needed to let none of its panics out.
pub(super) struct Body {
    /// None once it is buried.
    life: Option<Box<dyn Life>>,
    scope: Scope,
    drill: Arc<Drill>,
    tree: Tree,
    children: Children,
    up: bool,
}

impl Body {
    pub(super) fn new(
        life: Box<dyn Life>,
        scope: Scope,
        drill: Arc<Drill>,
        tree: Tree,
        children: Children,
    ) -> Self {
        Self { life: Some(life), scope, drill, tree, children, up: false }
    }

    /// Polls the actor until it ends by itself or panics. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Result<(), String> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Asks the actor to stop.
    pub(super) fn stop(&mut self) {
        if let Some(life) = &mut self.life {
            life.stop();
        }
    }

    /// Clears the child's reference and drops the actor; returns the panic of its `Drop`.
    pub(super) fn bury(&mut self) -> Result<(), String> {
        let Some(mut life) = self.life.take() else { return Ok(()) };
        life.retire(self.scope.generation);
        contain(&self.scope, move || {
            life.terminate();
            drop(life);
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let Some(life) = &mut self.life else { return Poll::Ready(Ok(())) };
        let polled = contain(&self.scope, || {
            self.drill.attend(cx);
            life.poll(cx)
        });
        match polled {
            Ok(Poll::Pending) => {
                if !self.up {
                    self.up = true;
                    self.come_up();
                }
                Poll::Pending
            }
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    /// `started()` has returned: only now does anybody else see the new life.
    fn come_up(&self) {
        let Scope { path, generation } = &self.scope;
        if let Some(life) = &self.life {
            life.publish(*generation);
        }
        self.tree.set_state(path, NodeState::Running);
        // What an earlier life had started and this one did not would be shown as stopped for ever.
        self.tree.forget_children(path, |child| {
            let id = child.strip_prefix(&**path).and_then(|rest| rest.strip_prefix('/'));
            id.is_some_and(|id| self.children.contains(id))
        });
        tracing::debug!(actor = %path, %generation, "started");
    }
}

impl Drop for Body {
    /// Only reached alive when the task itself is dropped, at the end of the process: the actor's panics stay here.
    fn drop(&mut self) {
        let _ = self.bury();
    }
}
