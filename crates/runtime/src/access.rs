//! Access policy: which messages reach the agent, and the typed reason for each that does not (F-092, F-102).
//!
//! Pure: the verdict depends on the configuration, the message and what is known of our identity, and is stored in
//! the same commit as the message (docs/decisions.md, "The verdict is part of the receipt").

use moorline_config::{Access, DirectPolicy, GroupPolicy};
use moorline_core::{Chat, ChatKind, DropReason, HoldReason, Inbound, Mention, Sender, SenderKind, UserId};
use moorline_store::Verdict;
use serde::{Deserialize, Serialize};

/// What the policy looks at: everything of a message but its text, and kept with a held one so that it can be
/// judged again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) chat: Chat,
    pub(crate) sender: Sender,
    mentions: Vec<Mention>,
    readable: bool,
}

impl From<&Inbound> for Facts {
    fn from(message: &Inbound) -> Self {
        Self {
            chat: message.chat.clone(),
            sender: message.sender.clone(),
            mentions: message.mentions.clone(),
            readable: message.text.as_deref().is_some_and(|text| !text.trim().is_empty()),
        }
    }
}

/// Judges a message. `us` is our own id; only a message that may mention us waits for it (F-016).
pub(crate) fn judge(access: &Access, us: Option<&UserId>, facts: &Facts) -> Verdict {
    match refusal(access, us, facts) {
        Some(verdict) => verdict,
        None if facts.readable => Verdict::Allow,
        None => Verdict::Drop(DropReason::Unsupported),
    }
}

fn refusal(access: &Access, us: Option<&UserId>, facts: &Facts) -> Option<Verdict> {
    if us.is_some_and(|us| facts.sender.ids.contains(us)) {
        return Some(Verdict::Drop(DropReason::OwnMessage));
    }
    if facts.sender.kind == SenderKind::Bot {
        return Some(Verdict::Drop(DropReason::FromBot));
    }
    match facts.chat.kind {
        ChatKind::Direct => match access.direct {
            DirectPolicy::Allow => None,
            DirectPolicy::Deny => Some(Verdict::Drop(DropReason::DirectDenied)),
            DirectPolicy::Allowlist if facts.sender.ids.iter().any(|id| access.users.contains(id)) => None,
            DirectPolicy::Allowlist => Some(Verdict::Drop(DropReason::UserNotAllowed)),
        },
        ChatKind::Group => match access.group {
            GroupPolicy::Allow => None,
            GroupPolicy::Deny => Some(Verdict::Drop(DropReason::GroupDenied)),
            GroupPolicy::Allowlist if access.groups.contains(&facts.chat.id) => None,
            GroupPolicy::Allowlist => Some(Verdict::Drop(DropReason::GroupNotAllowed)),
            GroupPolicy::Mention => unless_mentioned(us, &facts.mentions),
        },
    }
}

/// A message without any mention of one user or bot is not for us, whoever we are; one with such a mention can be
/// told only when we know our id. `@all` is not us.
fn unless_mentioned(us: Option<&UserId>, mentions: &[Mention]) -> Option<Verdict> {
    let mut named = mentions.iter().filter_map(|mention| match mention {
        Mention::One(ids) => Some(ids),
        Mention::All => None,
    });
    match us {
        Some(us) if named.any(|ids| ids.contains(us)) => None,
        None if named.next().is_some() => Some(Verdict::Hold(HoldReason::Identity)),
        Some(_) | None => Some(Verdict::Drop(DropReason::NotMentioned)),
    }
}

#[cfg(test)]
mod tests {
    use moorline_core::ChatId;

    use super::*;

    fn access(direct: DirectPolicy, group: GroupPolicy) -> Access {
        Access { direct, group, users: vec![UserId::new("on_friend")], groups: vec![ChatId::new("oc_open")] }
    }

    fn facts(kind: ChatKind, chat: &str, sender: &str, mentions: &[&str]) -> Facts {
        Facts {
            chat: Chat { id: ChatId::new(chat), kind },
            sender: Sender { ids: vec![UserId::new("ou_x"), UserId::new(sender)], kind: SenderKind::User },
            mentions: mentions.iter().map(|id| mention(id)).collect(),
            readable: true,
        }
    }

    fn mention(id: &str) -> Mention {
        if id == "all" { Mention::All } else { Mention::One(vec![UserId::new(id)]) }
    }

    #[test]
    fn the_table_of_verdicts_f016_f018_f092_f093() {
        use ChatKind::{Direct, Group};
        use DirectPolicy as D;
        use GroupPolicy as G;
        let drop = Verdict::Drop;
        let hold = Verdict::Hold(HoldReason::Identity);
        let us = UserId::new("ou_us");
        let rows = [
            (D::Allow, G::Mention, Direct, "p", "on_stranger", vec![], false, Verdict::Allow),
            (D::Deny, G::Mention, Direct, "p", "on_friend", vec![], true, drop(DropReason::DirectDenied)),
            (D::Allowlist, G::Mention, Direct, "p", "on_friend", vec![], true, Verdict::Allow),
            (
                D::Allowlist,
                G::Mention,
                Direct,
                "p",
                "on_stranger",
                vec![],
                true,
                drop(DropReason::UserNotAllowed),
            ),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["ou_us"], true, Verdict::Allow),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["ou_b", "ou_us"], true, Verdict::Allow),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["ou_b"], true, drop(DropReason::NotMentioned)),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["all"], true, drop(DropReason::NotMentioned)),
            (D::Allow, G::Mention, Group, "g", "on_a", vec![], true, drop(DropReason::NotMentioned)),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["ou_b"], false, hold),
            (D::Allow, G::Mention, Group, "g", "on_a", vec!["all"], false, drop(DropReason::NotMentioned)),
            (D::Allow, G::Mention, Group, "g", "on_a", vec![], false, drop(DropReason::NotMentioned)),
            (D::Allow, G::Allow, Group, "g", "on_a", vec![], false, Verdict::Allow),
            (D::Allow, G::Deny, Group, "oc_open", "on_a", vec!["ou_us"], true, drop(DropReason::GroupDenied)),
            (D::Allow, G::Allowlist, Group, "oc_open", "on_a", vec![], true, Verdict::Allow),
            (
                D::Allow,
                G::Allowlist,
                Group,
                "g",
                "on_a",
                vec!["ou_us"],
                true,
                drop(DropReason::GroupNotAllowed),
            ),
            (D::Allow, G::Allow, Group, "g", "ou_us", vec![], true, drop(DropReason::OwnMessage)),
        ];
        for (direct, group, kind, chat, sender, mentions, known, expected) in rows {
            let policy = access(direct, group);
            let facts = facts(kind, chat, sender, &mentions);
            let verdict = judge(&policy, known.then_some(&us), &facts);
            assert_eq!(verdict, expected, "{direct:?} {group:?} {facts:?} known={known}");
        }
    }

    #[test]
    fn bots_are_never_answered_and_what_cannot_be_read_is_dropped_f041() {
        let policy = access(DirectPolicy::Allow, GroupPolicy::Allow);
        let mut message = facts(ChatKind::Direct, "p", "on_a", &[]);
        message.readable = false;
        assert_eq!(judge(&policy, None, &message), Verdict::Drop(DropReason::Unsupported));
        message.sender.kind = SenderKind::Bot;
        assert_eq!(judge(&policy, None, &message), Verdict::Drop(DropReason::FromBot));
    }
}
