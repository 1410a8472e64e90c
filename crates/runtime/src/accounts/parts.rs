//! A text as the messages that carry it: as many as the platform's limit asks for, each a row with a key of its own, so
//! that a part that fails repeats none of the others (design §6, F-054).

use moorline_core::{ConversationId, IdempotencyKey, Outbound, Route, split};
use moorline_store::NewReply;
use sha2::{Digest, Sha256};

use crate::services::Account;

/// The parts of `text`, in order. The same `source` gives the same keys.
pub(crate) fn parts(
    account: &Account,
    conversation: &ConversationId,
    route: &Route,
    text: &str,
    source: &str,
) -> Vec<NewReply> {
    let part = |(n, text): (usize, &str)| NewReply {
        conversation: conversation.clone(),
        outbound: Outbound { route: route.clone(), text: text.to_owned() },
        key: key_of(&format!("{source}/{n}")),
    };
    split(text, account.plan.capabilities().text_limit).into_iter().enumerate().map(part).collect()
}

/// 32 hexadecimal digits that stand for `source`; short enough for every platform's idempotency key.
fn key_of(source: &str) -> IdempotencyKey {
    let digest = Sha256::digest(source);
    IdempotencyKey::new(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>())
}
