//! What of the tree is an event: faults and what follows them, and every life that is not the first at its path.

use moorline_core::AccountId;
use moorline_supervision::{Moment, Node, NodeState};

use super::{Events, Sort, What};

impl Events {
    /// Tells what the tree is seen to do.
    pub(crate) fn of_actors(&self) -> impl Fn(&Node, Moment) + Send + Sync + 'static {
        let events = self.clone();
        move |node, moment| events.tell(Sort::Lifecycle, || event(node, moment))
    }
}

fn event(node: &Node, moment: Moment) -> What {
    let (path, account) = (node.path.clone(), owner(&node.path));
    let (generation, next_attempt_at) = (node.generation, node.next_attempt_at);
    match (moment, &node.last_exit) {
        (Moment::Failed, Some(exit)) => {
            let (reason, ran_for_ms) = (exit.reason.clone(), exit.ran_for_ms);
            What::ActorExited { path, account, generation, reason, ran_for_ms }
        }
        (Moment::Waits, _) if node.state == NodeState::Parked => {
            What::ActorParked { path, account, generation, next_attempt_at }
        }
        (Moment::Waits, _) => What::ActorRestarting { path, account, generation, next_attempt_at },
        (Moment::Begun | Moment::Failed, _) => What::ActorStarted { path, account, generation },
    }
}

/// The account that an actor belongs to: `runtime/accounts/feishu:main/outbox`, `runtime/conversations/feishu:main~oc`.
fn owner(path: &str) -> Option<AccountId> {
    path.split('/').nth(2)?.split('~').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_its_accounts_wherever_it_is() {
        let table = [
            ("runtime/accounts/feishu:main", Some("feishu:main")),
            ("runtime/accounts/feishu:main/outbox", Some("feishu:main")),
            ("runtime/conversations/feishu:main~oc_1%2f~x", Some("feishu:main")),
            ("runtime/store/writer", None),
            ("runtime/accounts", None),
            ("runtime", None),
        ];
        for (path, account) in table {
            assert_eq!(owner(path).map(|id| id.to_string()).as_deref(), account, "{path}");
        }
    }
}
