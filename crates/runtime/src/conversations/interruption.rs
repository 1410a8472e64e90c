//! What an actor left running is interrupted by statement before anybody looks at it again (design §6).

use moorline_core::{AccountId, ConversationId, Generation};
use moorline_store::{Op, Outcome, StoreError, Tx};

use crate::events::{Sort, What};
use crate::services::{STORE_RETRY, Services};

/// What came of marking turns as interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// They are.
    Yes,
    /// The account is not there any more.
    NoAccount,
    /// The store has failed, and with it this process.
    StoreFailed,
}

/// Marks the turns of a conversation, or of all of the account's, that lives up to `generation` left running. A store
/// that refuses is asked again until it does it.
pub(super) async fn interrupt(
    services: &Services,
    account: &AccountId,
    conversation: Option<&ConversationId>,
    generation: Generation,
) -> Marked {
    loop {
        // Looked up anew for each attempt: a reload may have replaced it, or taken it away.
        let Some(account) = services.accounts.get(account) else { return Marked::NoAccount };
        let op = Op::InterruptTurns { conversation: conversation.cloned(), generation };
        match services.store.commit(Tx::under(&account.lease, services.clock.wall(), [op])).await {
            Ok(outcomes) => {
                if matches!(outcomes.first(), Some(Outcome::Applied(1..))) {
                    services.board.events().tell(Sort::Lifecycle, || What::TurnsInterrupted {
                        account: account.id.clone(),
                        conversation: conversation.cloned(),
                    });
                }
                return Marked::Yes;
            }
            Err(StoreError::Failed(_)) => return Marked::StoreFailed,
            Err(error) => {
                tracing::warn!(account = %account.id, actor = "conversations", conversation = conversation.map(tracing::field::display), "interrupted turns not marked, trying again: {error}");
            }
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}
