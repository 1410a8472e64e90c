//! What the model forgets: everything that is over is listed, and the longest over of it goes.

use moorline_core::{AccountId, ChatId, ConversationId, DedupeKey, InboxId, OutboxId, Timestamp};

use super::{Account, State, is_open};
use crate::rows::InboxState;
use crate::tx::{KEPT_ENTRIES, Outcome};

type Of<T> = (Timestamp, AccountId, T);

impl State {
    pub(super) fn prune(&mut self, before: Timestamp, dedupe_before: Timestamp, limit: u32) -> Outcome {
        let limit = limit as usize;
        let mut left = limit;
        self.forget_keys(dedupe_before, &mut left);
        self.forget_messages(before, &mut left);
        self.forget_sends(before, &mut left);
        self.forget_conversations(before, &mut left);
        self.forget_entries(before, &mut left);
        self.forget_boots(before, &mut left);
        self.forget_runs(before, &mut left);
        self.forget_gaps(before, &mut left);
        self.forget_tokens(before, &mut left);
        Outcome::Applied((limit - left) as i64)
    }

    fn forget_keys(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<Of<DedupeKey>> = Vec::new();
        for (id, account) in &self.accounts {
            let keys = account.dedupe.iter().filter(|(_, seen)| seen.at < before);
            old.extend(keys.map(|(key, seen)| (seen.at, id.clone(), key.clone())));
        }
        old.sort();
        for (_, id, key) in take(old, left) {
            self.of(&id).dedupe.remove(&key);
        }
    }

    fn forget_messages(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<(Timestamp, InboxId)> = self
            .beside
            .iter()
            .filter_map(|(id, beside)| Some((beside.settled_at?, *id)))
            .filter(|(at, _)| *at < before)
            .collect();
        old.sort();
        for (_, id) in take(old, left) {
            self.beside.remove(&id);
            let Some(row) = self.inbox.remove(&id) else { continue };
            let account = self.of(&row.account);
            let conversation = account.shortened.entry(row.conversation.clone()).or_default();
            for pruned in [&mut account.pruned, conversation] {
                pruned.latest = pruned.latest.max(id);
                match row.state {
                    InboxState::Dropped(reason) => {
                        *pruned.dropped.entry(reason.to_string()).or_default() += 1
                    }
                    _ => pruned.answered += 1,
                }
            }
            let mut gone = Vec::new();
            for (&turn, of) in &mut self.turns {
                if of.inputs.remove(&id) && of.inputs.is_empty() {
                    gone.push(turn);
                }
            }
            for turn in gone {
                self.turns.remove(&turn);
                for message in self.outbox.values_mut().filter(|message| message.row.turn == Some(turn)) {
                    message.row.turn = None;
                }
            }
        }
    }

    fn forget_sends(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<(Timestamp, OutboxId)> = self
            .outbox
            .values()
            .filter(|message| !is_open(message.row.state))
            .filter_map(|message| Some((message.settled_at?, message.row.id)))
            .filter(|(at, _)| *at < before)
            .collect();
        old.sort();
        for (_, id) in take(old, left) {
            self.outbox.remove(&id);
        }
    }

    fn forget_conversations(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<Of<ConversationId>> = Vec::new();
        for (id, account) in &self.accounts {
            let quiet = account.active.iter().filter(|(conversation, at)| {
                let waits = |state| matches!(state, InboxState::Pending | InboxState::Held(_));
                **at < before
                    && !self.messages(id).any(|row| row.conversation == **conversation && waits(row.state))
            });
            old.extend(quiet.map(|(conversation, at)| (*at, id.clone(), conversation.clone())));
        }
        old.sort();
        for (_, id, conversation) in old {
            let account = self.of(&id);
            let transcript = account.transcripts.entry(conversation.clone()).or_default();
            let gone = transcript.len().min(*left);
            transcript.drain(..gone);
            *left -= gone;
            if *left > 0 {
                *left -= 1;
                account.transcripts.remove(&conversation);
                account.active.remove(&conversation);
                account.shortened.remove(&conversation);
            }
        }
    }

    fn forget_entries(&mut self, before: Timestamp, left: &mut usize) {
        while *left > 0 {
            let mut long: Vec<Of<ConversationId>> = Vec::new();
            for (id, account) in &self.accounts {
                let transcripts =
                    account.transcripts.iter().filter(|(_, all)| all.len() > KEPT_ENTRIES as usize);
                let oldest =
                    transcripts.filter_map(|(conversation, all)| Some((all.first()?.at, conversation)));
                long.extend(oldest.map(|(at, conversation)| (at, id.clone(), conversation.clone())));
            }
            let Some((_, id, conversation)) = long.into_iter().filter(|(at, ..)| *at < before).min() else {
                return;
            };
            let Some(transcript) = self.of(&id).transcripts.get_mut(&conversation) else { return };
            let beyond = transcript.len() - KEPT_ENTRIES as usize;
            let old = transcript[..beyond].iter().filter(|entry| entry.at < before).count();
            // Time runs forward here, so that what is old comes first.
            let gone = old.min(*left);
            transcript.drain(..gone);
            *left -= gone;
        }
    }

    fn forget_boots(&mut self, before: Timestamp, left: &mut usize) {
        let looked_at = self.boots.len().saturating_sub(1).min(*left);
        let later = self.boots.split_off(looked_at);
        let kept = self.boots.drain(..).filter(|boot| boot.began_at >= before).collect::<Vec<_>>();
        *left -= looked_at - kept.len();
        self.boots = kept.into_iter().chain(later).collect();
    }

    fn forget_tokens(&mut self, before: Timestamp, left: &mut usize) {
        let mut old: Vec<Of<ChatId>> = Vec::new();
        for (id, account) in &self.accounts {
            let tokens = account.tokens.iter().filter(|(_, kept)| kept.received_at < before);
            old.extend(tokens.map(|(chat, kept)| (kept.received_at, id.clone(), chat.clone())));
        }
        old.sort();
        for (_, id, chat) in take(old, left) {
            self.of(&id).tokens.remove(&chat);
        }
    }

    /// An account that something is known of.
    fn of(&mut self, id: &AccountId) -> &mut Account {
        self.accounts.entry(id.clone()).or_default()
    }
}

/// The first of `old` for which there is room.
fn take<T>(mut old: Vec<T>, left: &mut usize) -> Vec<T> {
    old.truncate(*left);
    *left -= old.len();
    old
}
