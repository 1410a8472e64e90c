//! How a session is named in an answer and in a path: `feishu:main~oc_1`, which says what it is in every log and script
//! and needs no number that only one database knows. An account's id has no `~`; the conversation, which is a
//! platform's own text, is percent-encoded so that it is one segment of a path.

use std::fmt::Write as _;

use moorline_core::{AccountId, ConversationId};

/// A session's name, with nothing in it that a path would have to encode again.
pub(crate) fn encode(account: &AccountId, conversation: &ConversationId) -> String {
    let mut id = format!("{account}~");
    for byte in conversation.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._:@".contains(&byte) {
            id.push(byte.into());
        } else {
            // Writing into a string cannot fail.
            let _ = write!(id, "%{byte:02X}");
        }
    }
    id
}

/// Reads a name that was percent-decoded already, as a segment of a path is.
pub(crate) fn decoded(id: &str) -> Option<(AccountId, ConversationId)> {
    let (account, conversation) = id.split_once('~')?;
    let account = account.parse().ok()?;
    (!conversation.is_empty()).then(|| (account, ConversationId::new(conversation)))
}
