use std::collections::BTreeMap;

use moorline_config::Access;
use moorline_core::{ChatId, Identity, UserId};
use moorline_store::{Counts, Verdict};

use super::*;
use crate::board::{Board, TokenStatus};

const NOW: Timestamp = Timestamp::from_millis(1_795_176_000_000);

fn open() -> Access {
    let (direct, group) = (DirectPolicy::Allow, GroupPolicy::Mention);
    Access { direct, group, users: Vec::new(), groups: Vec::new() }
}

/// A healthy account.
fn healthy() -> AccountView {
    let id: AccountId = "feishu:main".parse().unwrap();
    let board = Board::default();
    board.add(&id, NOW);
    board.update(&id, |status| {
        status.enter(AccountState::Ready, NOW);
        status.evidence.last_frame_at = Some(NOW);
        let identity = Identity { id: UserId::new("ou_bot"), name: "Bot".to_owned() };
        status.identity.known(&identity, IdentityState::Verified, NOW);
        status.token = Some(TokenStatus::unused(NOW));
    });
    AccountView { status: board.account(&id).unwrap(), counts: Counts::default() }
}

fn found(view: &AccountView, access: Access, dropped: &[DropReason]) -> Vec<Finding> {
    let mut verdicts = Verdicts::under(access);
    for reason in dropped {
        verdicts.note(&ChatId::new("oc_1"), Verdict::Drop(*reason));
    }
    examine(view, Some(&verdicts), NOW)
}

fn cause(class: FailureClass, code: Option<&str>) -> Option<Cause> {
    Some(Cause { class, code: code.map(str::to_owned), message: "endpoint call: it failed".to_owned() })
}

#[test]
fn a_healthy_account_has_no_finding_and_a_stopped_one_is_nobodys_trouble() {
    assert_eq!(found(&healthy(), open(), &[DropReason::NotMentioned; 50]), []);
    let mut stopped = healthy();
    stopped.status.enter(AccountState::Stopped, NOW);
    assert_eq!(found(&stopped, open(), &[]), []);
}

/// Every kind of finding about an account, by what provokes it.
#[test]
fn every_trouble_is_a_finding_with_what_to_do_f101() {
    type Change = fn(&mut AccountView, &mut Access, &mut Vec<DropReason>);
    let rows: Vec<(Kind, &str, Change)> = vec![
        (Kind::NotReady, "it failed (transient), attempt 7", |view, _, _| {
            view.status.enter(AccountState::Reconnecting, NOW);
            (view.status.cause, view.status.attempt) = (cause(FailureClass::Transient, None), 7);
        }),
        (Kind::NotReady, "attempt 0 is under way", |view, _, _| {
            view.status.enter(AccountState::Connecting, NOW)
        }),
        (Kind::Blocked, "code 1000040345", |view, _, _| {
            view.status.enter(AccountState::Blocked, NOW);
            view.status.blocked = Some(BlockReason::Credentials);
            view.status.cause = cause(FailureClass::Credentials, Some("1000040345"));
        }),
        (Kind::Parked, "", |view, _, _| view.status.enter(AccountState::Parked, NOW)),
        (Kind::Silent, "the last frame was received at", |view, _, _| {
            view.status.evidence.last_frame_at = Some(NOW.minus(SILENCE + Duration::from_secs(1)));
        }),
        (Kind::IdentityUnknown, "bot info: it failed", |view, _, _| {
            view.status.identity.state = IdentityState::Unknown;
            view.status.identity.last_error = Some("bot info: it failed".to_owned());
        }),
        (Kind::IdentityUnverified, "attempt 3", |view, _, _| {
            view.status.identity.state = IdentityState::Cached;
            (view.status.identity.last_error, view.status.identity.attempt) = (Some("no".to_owned()), 3);
        }),
        (Kind::NoToken, "token: it failed, attempt 2", |view, _, _| {
            let token = view.status.token.as_mut().unwrap();
            (token.state, token.attempt) = (TokenState::Failing, 2);
            token.last_error = Some("token: it failed".to_owned());
        }),
        (Kind::EmptyAllowlist, "channels.feishu.accounts.main.access.users is empty", |_, access, _| {
            access.direct = DirectPolicy::Allowlist;
        }),
        (Kind::EmptyAllowlist, "channels.feishu.accounts.main.access.groups is empty", |_, access, _| {
            access.group = GroupPolicy::Allowlist;
        }),
        (Kind::AdmitsNobody, "neither", |_, access, _| {
            (access.direct, access.group) = (DirectPolicy::Deny, GroupPolicy::Deny);
        }),
        (Kind::EverythingDropped, "user_not_allowed 3", |_, access, dropped| {
            (access.direct, access.users) = (DirectPolicy::Allowlist, vec![UserId::new("ou_1")]);
            dropped.extend([DropReason::UserNotAllowed; 3]);
        }),
        (Kind::DeadLetters, "refused", |view, _, _| view.counts.dead = 2),
    ];
    for (kind, why, change) in rows {
        let (mut view, mut access, mut dropped) = (healthy(), open(), Vec::new());
        change(&mut view, &mut access, &mut dropped);
        let findings = found(&view, access, &dropped);
        assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
        let finding = &findings[0];
        assert!(finding.why.contains(why), "{finding:?}");
        assert_eq!(finding.account.as_ref(), Some(&view.status.id));
        assert!(!finding.what.is_empty() && !finding.what_to_do.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_code_that_nobody_knows_is_named_from_the_tenth_attempt_on() {
    let mut view = healthy();
    view.status.enter(AccountState::Reconnecting, NOW);
    view.status.cause = cause(FailureClass::Transient, Some("4711"));
    let kinds = |view: &AccountView| {
        found(view, open(), &[]).into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    view.status.attempt = 9;
    assert_eq!(kinds(&view), [Kind::NotReady]);
    view.status.attempt = 10;
    assert_eq!(kinds(&view), [Kind::NotReady, Kind::UnknownCode]);
}

#[test]
fn an_account_that_is_down_says_since_when_and_when_it_is_tried_next_f101() {
    let mut view = healthy();
    let lost = NOW.minus(Duration::from_secs(60));
    view.status.enter(AccountState::Blocked, lost);
    view.status.enter(AccountState::Reconnecting, NOW);
    view.status.next_attempt_at = Some(NOW + Duration::from_secs(23));
    let finding = &found(&view, open(), &[])[0];
    assert_eq!(finding.since, Some(lost), "whatever states it went through meanwhile");
    assert_eq!(finding.next_attempt_at, view.status.next_attempt_at);
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names: BTreeMap<&str, Kind> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    assert_eq!(names.len(), Kind::ALL.len());
}
