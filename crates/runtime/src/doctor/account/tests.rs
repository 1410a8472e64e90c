use std::collections::BTreeMap;

use moorline_config::Access;
use moorline_core::{ChatId, Failure, Identity, Monotonic, Timestamp, UserId};
use moorline_store::{Counts, Verdict};

use super::*;
use crate::board::{Board, PlatformTime, TokenStatus};

const NOW: Timestamp = Timestamp::from_millis(1_795_176_000_000);

/// A day after the process began.
fn now() -> Now {
    let monotonic = Monotonic::from_origin(Duration::from_secs(86_400));
    Now { wall: NOW, monotonic, with_sleep: monotonic }
}

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
        status.symptoms.heard = Some(now().monotonic);
        let identity = Identity { id: UserId::new("ou_bot"), name: "Bot".to_owned() };
        status.identity.known(&identity, IdentityState::Verified, NOW);
        status.token = Some(TokenStatus::unused(NOW));
    });
    AccountView::new(board.account(&id).unwrap(), Counts::default())
}

fn found(view: &AccountView, access: Access, dropped: &[DropReason]) -> Vec<Finding> {
    let mut verdicts = Verdicts::under(access);
    for reason in dropped {
        verdicts.note(&ChatId::new("oc_1"), Verdict::Drop(*reason));
    }
    examine(view, Some(&verdicts), now())
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
            let silence = SILENCE + Duration::from_secs(1);
            view.status.symptoms.heard =
                Some(Monotonic::from_origin(now().monotonic.since_origin() - silence));
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
        (Kind::MissingScopes, "send: refused", |view, _, _| {
            let lacks = vec!["im:message".to_owned()];
            let refused = Failure::new(FailureClass::Permission, "send: refused").with_lacks(lacks);
            view.status.called("send", Some(&refused), NOW);
        }),
        (Kind::ClockSkew, "our clock is 62 s behind the platform's", |view, _, _| {
            let there = NOW + Duration::from_secs(62);
            view.status.symptoms.platform =
                Some(PlatformTime { there, here: now().with_sleep, within: Duration::from_secs(1) });
        }),
        (Kind::DeadLetters, "refused", |view, _, _| view.counts.dead = 2),
        (Kind::RepliesHeld, "after a user wrote", |view, _, _| view.counts.outbox_held = 2),
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

/// F-089: only the difference counts, in both directions, and a clock that is set right is right at once.
#[test]
fn a_clock_that_differs_is_found_and_setting_it_right_ends_it_f089() {
    let mut view = healthy();
    let skewed = |view: &AccountView, wall: i64, later: u64| {
        let later = Duration::from_secs(later);
        let mut moment = now();
        moment.wall = Timestamp::from_millis(NOW.as_millis() + wall * 1_000) + later;
        moment.monotonic = moment.monotonic + later;
        moment.with_sleep = moment.with_sleep + later;
        clock(&view.status, moment).is_some()
    };
    assert!(!skewed(&view, 0, 0), "nothing is known");
    view.status.symptoms.platform =
        Some(PlatformTime { there: NOW, here: now().with_sleep, within: Duration::from_secs(2) });
    for (off, found) in [(0, false), (62, false), (63, true), (-62, false), (-63, true), (-86_400, true)] {
        assert_eq!(skewed(&view, off, 0), found, "{off}");
        assert_eq!(skewed(&view, off, 7_200), found, "{off}, two hours later");
    }
}

#[test]
fn a_permission_that_is_missing_is_named_until_the_call_is_made() {
    let mut view = healthy();
    let refuse = |lacks: &[&str]| {
        let lacks = lacks.iter().map(|scope| (*scope).to_owned()).collect();
        Failure::new(FailureClass::Permission, "send: refused").with_lacks(lacks)
    };
    for (lacks, part) in [
        (&[][..], "give the bot the permission for it"),
        (&["im:message"][..], "the permission im:message on"),
        (&["im:message", "im:chat"][..], "one of the permissions im:message, im:chat on"),
    ] {
        view.status.called("send", Some(&refuse(lacks)), NOW);
        let findings = found(&view, open(), &[]);
        assert_eq!(findings[0].kind, Kind::MissingScopes);
        assert!(findings[0].what_to_do.contains(part), "{findings:?}");
    }
    // Trouble of another kind says nothing about permissions; a call that is made does.
    view.status.called("send", Some(&Failure::transient("no")), NOW);
    assert_eq!(found(&view, open(), &[]).len(), 1);
    view.status.called("look up", None, NOW);
    assert_eq!(found(&view, open(), &[]).len(), 1);
    view.status.called("send", None, NOW);
    assert_eq!(found(&view, open(), &[]), []);
}

/// Who has to log in knows that nobody is the bot until then.
#[test]
fn an_account_that_needs_a_login_has_that_one_trouble() {
    let mut view = healthy();
    view.status.identity.state = IdentityState::Unknown;
    view.status.identity.last_error = Some("identity: nobody is logged in".to_owned());
    view.status.cause = cause(FailureClass::NeedsLogin, None);
    // Also while it is tried, which is no other trouble.
    for (state, kind) in [(AccountState::Blocked, Kind::Blocked), (AccountState::Connecting, Kind::NotReady)]
    {
        view.status.enter(state, NOW);
        view.status.blocked = (state == AccountState::Blocked).then_some(BlockReason::NeedsLogin);
        let findings = found(&view, open(), &[]);
        assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
        assert!(findings[0].what_to_do.contains("moorline login feishu:main"), "{findings:?}");
    }
    view.status.enter(AccountState::Ready, NOW);
    (view.status.cause, view.status.blocked) = (None, None);
    assert_eq!(found(&view, open(), &[])[0].kind, Kind::IdentityUnknown);
}

#[test]
fn a_session_that_expired_says_what_happens_by_itself_and_when_a_login_is_needed() {
    let mut view = healthy();
    view.status.enter(AccountState::Reconnecting, NOW);
    view.status.cause = cause(FailureClass::SessionExpired, Some("-14"));
    let finding = &found(&view, open(), &[])[0];
    assert_eq!(finding.kind, Kind::NotReady);
    for part in ["by itself", "sends", "blocked", "moorline login feishu:main", "moorline account probe"] {
        assert!(finding.what_to_do.contains(part), "{part}: {finding:?}");
    }
}
