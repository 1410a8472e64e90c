//! Everything the trait lets anybody see.

use std::collections::BTreeMap;

use moorline_core::{AccountId, OutboxId};
use moorline_store::{Counts, Entry, InboxRow, OutboxRow, Store, StoredIdentity, TurnRow, Work};

use crate::script::{self, ACCOUNTS, CONVERSATIONS};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    pub(crate) counts: BTreeMap<AccountId, Counts>,
    with_work: Vec<(AccountId, moorline_core::ConversationId)>,
    accounts: Vec<OfAccount>,
    outbox: Vec<Option<OutboxRow>>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfAccount {
    with_work: Vec<(AccountId, moorline_core::ConversationId)>,
    interrupted: Vec<TurnRow>,
    held: Vec<InboxRow>,
    first_held: Vec<InboxRow>,
    heads: Vec<OutboxRow>,
    first_head: Vec<OutboxRow>,
    identity: Option<StoredIdentity>,
    cursor: Option<String>,
    conversations: Vec<(Option<Work>, Vec<Entry>, Vec<Entry>)>,
}

pub(crate) async fn visible(store: &dyn Store, rows: i64) -> Visible {
    let mut accounts = Vec::new();
    for account in (0..=ACCOUNTS).map(script::account) {
        let mut conversations = Vec::new();
        for conversation in (0..=CONVERSATIONS).map(script::conversation) {
            conversations.push((
                store.next_work(&account, &conversation).await.unwrap(),
                store.transcript(&account, &conversation, 1_000).await.unwrap(),
                store.transcript(&account, &conversation, 2).await.unwrap(),
            ));
        }
        accounts.push(OfAccount {
            with_work: store.conversations_with_work(Some(&account)).await.unwrap(),
            interrupted: store.interrupted_turns(&account).await.unwrap(),
            held: store.held(&account, 1_000).await.unwrap(),
            first_held: store.held(&account, 1).await.unwrap(),
            heads: store.outbox_heads(&account, 1_000).await.unwrap(),
            first_head: store.outbox_heads(&account, 1).await.unwrap(),
            identity: store.identity(&account, &script::fingerprint(0)).await.unwrap(),
            cursor: store.cursor(&account, "poll").await.unwrap(),
            conversations,
        });
    }
    let mut outbox = Vec::new();
    for id in 0..=rows {
        outbox.push(store.outbox_row(OutboxId::new(id)).await.unwrap());
    }
    Visible {
        counts: store.counts().await.unwrap(),
        with_work: store.conversations_with_work(None).await.unwrap(),
        accounts,
        outbox,
    }
}

/// Design §2: every message is in exactly one of these.
pub(crate) fn assert_conserved(counts: &BTreeMap<AccountId, Counts>) {
    for (account, counts) in counts {
        let dropped: u64 = counts.dropped.values().sum();
        let held: u64 = counts.held.values().sum();
        assert_eq!(
            counts.received,
            counts.answered + dropped + held + counts.pending,
            "{account}: {counts:?}"
        );
    }
}
