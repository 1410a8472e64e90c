//! What the access policy has decided lately, per account: for the log, which says the first drop of a kind in full and
//! counts the others (F-092, F-100), and for the doctor.

use std::collections::{BTreeMap, BTreeSet};

use moorline_config::Access;
use moorline_core::{AccountId, ChatId, DropReason, MessageId, UserId};
use moorline_store::Verdict;

use crate::access::Facts;
use crate::board::Board;

/// Chats and reasons that the log remembers having told; more are only counted (G12).
const TOLD: usize = 1_024;

/// One account's verdicts.
#[derive(Debug, Clone)]
pub(crate) struct Verdicts {
    /// The policy they were made under.
    pub(crate) access: Access,
    /// Drops since a message was last let through, by reason.
    pub(crate) in_a_row: BTreeMap<DropReason, u64>,
    told: BTreeSet<(ChatId, &'static str)>,
    /// Not told one by one, since the last summary.
    untold: BTreeMap<&'static str, u64>,
}

impl Verdicts {
    pub(crate) fn under(access: Access) -> Self {
        Self { access, in_a_row: BTreeMap::new(), told: BTreeSet::new(), untold: BTreeMap::new() }
    }

    /// Counts a verdict; true when it is to be told by itself, because it is the first of its reason in its chat.
    pub(crate) fn note(&mut self, chat: &ChatId, verdict: Verdict) -> bool {
        let reason = match verdict {
            Verdict::Allow => {
                self.in_a_row.clear();
                return false;
            }
            Verdict::Drop(reason) => {
                *self.in_a_row.entry(reason).or_default() += 1;
                reason.as_str()
            }
            Verdict::Hold(reason) => reason.as_str(),
        };
        let first = self.told.len() < TOLD && self.told.insert((chat.clone(), reason));
        if !first {
            *self.untold.entry(reason).or_default() += 1;
        }
        first
    }

    /// What was not told one by one since the last call: `user_not_allowed 7, not_mentioned 120`.
    pub(crate) fn summary(&mut self) -> Option<String> {
        let untold = std::mem::take(&mut self.untold);
        let listed: Vec<String> = untold.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        (!listed.is_empty()).then(|| listed.join(", "))
    }
}

/// A verdict and its reason by their stable names.
pub(crate) const fn words(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Allow => ("allowed", None),
        Verdict::Drop(reason) => ("dropped", Some(reason.as_str())),
        Verdict::Hold(reason) => ("held", Some(reason.as_str())),
    }
}

/// Counts the verdict on a message, and says so in the log when it is the first of its kind.
pub(crate) fn tell(
    board: &Board,
    account: &AccountId,
    facts: &Facts,
    message: Option<&MessageId>,
    verdict: Verdict,
) {
    if !board.judged(account, &facts.chat.id, verdict) {
        return;
    }
    let (chat, message_id) = (&facts.chat.id, message.map(tracing::field::display));
    match verdict {
        Verdict::Allow => {}
        Verdict::Drop(reason) => {
            let remedy = remedy(reason, account, chat, &facts.sender.ids).map(|text| format!(": {text}"));
            let remedy = remedy.unwrap_or_default();
            tracing::warn!(%account, %chat, message_id, reason = %reason, "message dropped{remedy}; more of this reason in this chat are only counted");
        }
        Verdict::Hold(reason) => {
            tracing::warn!(%account, %chat, message_id, reason = %reason, "message held until it can be judged; more in this chat are only counted");
        }
    }
}

/// What an operator changes so that such a message is answered; `None` where nothing can be changed. `sender` and
/// `chat` are what a list would have to hold.
pub(crate) fn remedy(
    reason: DropReason,
    account: &AccountId,
    chat: &ChatId,
    sender: &[UserId],
) -> Option<String> {
    let table = access_table(account);
    let ids = sender.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(" or ");
    Some(match reason {
        DropReason::NotMentioned => {
            format!("it does not mention the bot; {table}.group = \"allow\" answers all")
        }
        DropReason::DirectDenied => format!("{table}.direct is \"deny\""),
        DropReason::GroupDenied => format!("{table}.group is \"deny\""),
        DropReason::UserNotAllowed => format!("to answer this user, add {ids} to {table}.users"),
        DropReason::GroupNotAllowed => format!("to answer this group, add \"{chat}\" to {table}.groups"),
        _ => return None,
    })
}

/// Where an account's policy is configured.
pub(crate) fn access_table(account: &AccountId) -> String {
    format!("{}.access", account.config_key())
}

#[cfg(test)]
mod tests {
    use moorline_config::{DirectPolicy, GroupPolicy};
    use moorline_core::HoldReason;

    use super::*;

    fn verdicts() -> Verdicts {
        let (direct, group) = (DirectPolicy::Allowlist, GroupPolicy::Mention);
        Verdicts::under(Access { direct, group, users: Vec::new(), groups: Vec::new() })
    }

    const STRANGER: Verdict = Verdict::Drop(DropReason::UserNotAllowed);

    #[test]
    fn the_first_of_a_kind_is_told_and_ten_thousand_more_are_one_line_f092() {
        let mut verdicts = verdicts();
        let chat = ChatId::new("oc_1");
        assert!(verdicts.note(&chat, STRANGER));
        for _ in 0..10_000 {
            assert!(!verdicts.note(&chat, STRANGER));
        }
        assert!(verdicts.note(&ChatId::new("oc_2"), STRANGER));
        assert!(verdicts.note(&chat, Verdict::Hold(HoldReason::Identity)));
        assert!(!verdicts.note(&chat, Verdict::Allow));
        assert_eq!(verdicts.summary().as_deref(), Some("user_not_allowed 10000"));
        assert_eq!(verdicts.summary(), None);
    }

    #[test]
    fn a_million_chats_are_not_remembered_g12() {
        let mut verdicts = verdicts();
        let told = (0..5_000).filter(|n| verdicts.note(&ChatId::new(format!("oc_{n}")), STRANGER)).count();
        assert_eq!((told, verdicts.told.len()), (TOLD, TOLD));
        assert_eq!(verdicts.summary(), Some(format!("user_not_allowed {}", 5_000 - TOLD)));
    }

    #[test]
    fn a_message_that_is_let_through_ends_the_row() {
        let mut verdicts = verdicts();
        for _ in 0..3 {
            verdicts.note(&ChatId::new("oc_1"), STRANGER);
        }
        assert_eq!(verdicts.in_a_row.get(&DropReason::UserNotAllowed), Some(&3));
        verdicts.note(&ChatId::new("oc_1"), Verdict::Allow);
        assert!(verdicts.in_a_row.is_empty());
    }

    #[test]
    fn a_remedy_names_the_key_and_what_belongs_there_f092_f018() {
        let account: AccountId = "feishu:main".parse().unwrap();
        let (chat, sender) = (ChatId::new("oc_1"), [UserId::new("ou_1"), UserId::new("on_1")]);
        let remedy = |reason| remedy(reason, &account, &chat, &sender);
        for (reason, part) in [
            (
                DropReason::UserNotAllowed,
                "add \"ou_1\" or \"on_1\" to channels.feishu.accounts.main.access.users",
            ),
            (DropReason::GroupNotAllowed, "add \"oc_1\" to channels.feishu.accounts.main.access.groups"),
            (DropReason::GroupDenied, "channels.feishu.accounts.main.access.group is \"deny\""),
            (DropReason::DirectDenied, "channels.feishu.accounts.main.access.direct is \"deny\""),
            (DropReason::NotMentioned, "channels.feishu.accounts.main.access.group = \"allow\""),
        ] {
            assert!(remedy(reason).is_some_and(|text| text.contains(part)), "{reason}: {:?}", remedy(reason));
        }
        assert_eq!(remedy(DropReason::OwnMessage), None);
    }
}
