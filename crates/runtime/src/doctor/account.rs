//! What can be wrong with one account.

use std::time::Duration;

use moorline_config::{DirectPolicy, GroupPolicy};
use moorline_core::{AccountId, AccountState, BlockReason, Cause, DropReason, FailureClass, IdentityState};

use super::finding::{Finding, FindingKind as Kind};
use super::{Now, loss};
use crate::board::{AccountStatus, Denied, IdentityStatus, TokenState};
use crate::handle::AccountView;
use crate::verdicts::{Verdicts, access_table};

/// An account that is ready shows a sign of life more often than this on every platform.
const SILENCE: Duration = Duration::from_secs(300);

/// By more than this no clock is off that anybody looks after.
const SKEW: Duration = Duration::from_secs(60);

/// Attempts after which a code that nobody knows is worth a finding of its own (design §4).
const ATTEMPTS: u32 = 10;

/// Drops by the policy, one after the other, that are no accident any more.
const DROPS: u64 = 3;

pub(super) fn examine(view: &AccountView, verdicts: Option<&Verdicts>, now: Now) -> Vec<Finding> {
    let status = &view.status;
    if status.state == AccountState::Stopped {
        return Vec::new();
    }
    let mut findings = Vec::new();
    findings.extend(connection(status, now));
    findings.extend(unknown_code(status));
    findings.extend(loss::suspect(status));
    findings.extend(loss::gap(view, now));
    // Nobody is the bot before somebody has logged in.
    if !needs_login(status) {
        findings.extend(identity(&status.id, &status.identity, view.counts.held.values().sum()));
    }
    findings.extend(token(status));
    findings.extend(login(status));
    findings.extend(denied(status));
    findings.extend(clock(status, now));
    findings.extend(verdicts.into_iter().flat_map(|verdicts| policy(&status.id, verdicts)));
    findings.extend(dead_letters(&status.id, view.counts.dead));
    findings.extend(replies_held(&status.id, view.counts.outbox_held));
    findings
}

/// Whether all that is wrong with the account is that a person has to log in, also while that is being tried.
fn needs_login(status: &AccountStatus) -> bool {
    status.cause.as_ref().is_some_and(|cause| cause.class == FailureClass::NeedsLogin)
}

fn connection(status: &AccountStatus, now: Now) -> Option<Finding> {
    let id = &status.id;
    let why = match &status.cause {
        Some(cause) => format!("{}, attempt {}", describe(cause), status.attempt),
        None => format!("attempt {} is under way", status.attempt),
    };
    let (kind, what, what_to_do) = match status.state {
        AccountState::Ready => return silent(status, now),
        AccountState::Stopped => return None,
        AccountState::Connecting | AccountState::Reconnecting => (
            Kind::NotReady,
            format!("receives nothing: it is {}", status.state),
            match status.cause.as_ref().map(|cause| cause.class) {
                None => "nothing: it is on its way".to_owned(),
                Some(FailureClass::NeedsLogin) => unblock(status),
                Some(FailureClass::SessionExpired) => rebuild(id),
                Some(_) => format!(
                    "nothing, if the platform or the network has a bad hour: it tries for ever. Else see whether this \
                     machine reaches the account's base_url; `moorline account probe {id}` tries at once"
                ),
            },
        ),
        AccountState::Blocked => {
            (Kind::Blocked, "receives nothing: an operator has to act".to_owned(), unblock(status))
        }
        AccountState::Parked => (
            Kind::Parked,
            "receives nothing: its actor failed more than five times in a minute".to_owned(),
            format!(
                "report the panic in the log; `moorline account start {id}` tries at once, else it is tried every 15 min"
            ),
        ),
    };
    let since = status.down_since.unwrap_or(status.since);
    Some(Finding::error(kind, Some(id), what, why, what_to_do).times(since, status.next_attempt_at))
}

/// Never true while the connection's own deadline works; whoever trusts a status wants to know that it was checked.
fn silent(status: &AccountStatus, now: Now) -> Option<Finding> {
    // By the clock that nobody sets: a step of the wall clock is no silence (F-089).
    let silence = now.monotonic - status.symptoms.heard?;
    (silence > SILENCE).then(|| {
        let heard = status.evidence.last_frame_at.unwrap_or(status.since);
        let (why, id) = (format!("the last frame was received at {heard}"), &status.id);
        let what_to_do = format!("`moorline account restart {id}`, and report it: this is a defect");
        Finding::error(Kind::Silent, Some(id), "says ready, and receives nothing", why, what_to_do)
            .times(heard, None)
    })
}

fn describe(cause: &Cause) -> String {
    match &cause.code {
        Some(code) => format!("{} ({}, code {code})", cause.message, cause.class),
        None => format!("{} ({})", cause.message, cause.class),
    }
}

/// A session that is over: what happens by itself, and when a person is needed.
fn rebuild(id: &AccountId) -> String {
    format!(
        "nothing for now: the session is rebuilt by itself, at once and then again and again, and it sends what the \
         platform takes meanwhile. When that has not helped for some minutes the account is blocked, and \
         `moorline login {id}` is needed: at once, if you know that the bot was logged in elsewhere; \
         `moorline account probe {id}` tries now"
    )
}

fn unblock(status: &AccountStatus) -> String {
    let id = &status.id;
    let table = id.config_key();
    let reason = status.blocked.or_else(|| needs_login(status).then_some(BlockReason::NeedsLogin));
    let cure = match reason {
        Some(BlockReason::Credentials) | None => format!("correct the credentials in {table}"),
        Some(BlockReason::Permission) => {
            "give the bot the permission on the platform's own pages, and publish it".to_owned()
        }
        Some(BlockReason::Conflict) => "end the other process that uses the same bot".to_owned(),
        Some(BlockReason::NeedsLogin) => format!("`moorline login {id}`"),
    };
    format!("{cure}; `moorline account probe {id}` tries at once, and so does a change of the configuration")
}

fn unknown_code(status: &AccountStatus) -> Option<Finding> {
    let cause = status.cause.as_ref().filter(|cause| cause.class == FailureClass::Transient)?;
    let code = cause.code.as_ref().filter(|_| status.attempt >= ATTEMPTS)?;
    let id = &status.id;
    Some(
        Finding::error(
            Kind::UnknownCode,
            Some(id),
            format!("the platform has answered code {code} {} times or more", ATTEMPTS - 1),
            cause.message.clone(),
            "look the code up in the platform's documentation; it is taken for trouble that passes, and tried for ever".to_owned(),
        )
        .warning()
        .times(status.since, status.next_attempt_at),
    )
}

fn identity(id: &AccountId, identity: &IdentityStatus, held: u64) -> Option<Finding> {
    let why = match &identity.last_error {
        Some(error) => format!("{error}, attempt {}", identity.attempt),
        None => "the platform has not answered yet".to_owned(),
    };
    let what_to_do = format!(
        "nothing, if the platform has a bad hour: it asks for ever; `moorline account probe {id}` asks at once"
    );
    let finding = match identity.state {
        IdentityState::Verified => return None,
        IdentityState::Cached if identity.last_error.is_none() => return None,
        IdentityState::Unknown => {
            let what = format!("who the bot is, is unknown: mentions in groups are held, {held} by now");
            Finding::error(Kind::IdentityUnknown, Some(id), what, why, what_to_do)
        }
        IdentityState::Cached => {
            let what = "who the bot is, is remembered from an earlier run and cannot be verified";
            Finding::error(Kind::IdentityUnverified, Some(id), what, why, what_to_do).warning()
        }
    };
    Some(finding.times(identity.since, identity.next_attempt_at))
}

fn token(status: &AccountStatus) -> Option<Finding> {
    let token = status.token.as_ref().filter(|token| token.state == TokenState::Failing)?;
    let why = token.last_error.clone().unwrap_or_default();
    let table = status.id.config_key();
    Some(
        Finding::error(
            Kind::NoToken,
            Some(&status.id),
            "sends nothing: there is no access token; receiving does not need one",
            format!("{why}, attempt {}", token.attempt),
            format!("nothing, if the platform has a bad hour; else check the credentials in {table}"),
        )
        .times(token.since, token.next_attempt_at),
    )
}

/// What is saved is no good, and what was read before is in use. Where nothing is, the account is blocked and says so.
fn login(status: &AccountStatus) -> Option<Finding> {
    let login = status.login.as_ref().filter(|login| login.saved_at.is_some())?;
    let why = login.problem.clone()?;
    let id = &status.id;
    Some(
        Finding::error(
            Kind::LoginUnreadable,
            Some(id),
            "works with the login it has; what is saved is no good, and after a restart there would be none",
            why,
            format!("`moorline login {id}`, or mend the file; `moorline reload` reads it again"),
        )
        .warning(),
    )
}

/// What the platform refuses for want of a permission, whatever the connection says.
fn denied(status: &AccountStatus) -> Vec<Finding> {
    let id = &status.id;
    let finding = |(what, denied): (&&str, &Denied)| {
        let wanted = match &*denied.lacks {
            [] => "the permission for it".to_owned(),
            [one] => format!("the permission {one}"),
            several => format!("one of the permissions {}", several.join(", ")),
        };
        Finding::error(
            Kind::MissingScopes,
            Some(id),
            format!("may not {what}: the platform refuses it for want of a permission"),
            denied.why.clone(),
            format!(
                "give the bot {wanted} on the platform's own pages, and publish it; it is tried again every 10 min, and \
                 `moorline account probe {id}` or `moorline outbox retry` try at once"
            ),
        )
        .times(denied.since, None)
    };
    status.symptoms.denied.iter().map(finding).collect()
}

/// By how much our clock differs from the platform's at this moment: a clock that is set right is right at once.
fn clock(status: &AccountStatus, now: Now) -> Option<Finding> {
    let seen = status.symptoms.platform?;
    let there = seen.there + (now.with_sleep - seen.here);
    let (behind, ahead) = (there.since(now.wall), now.wall.since(there));
    let (off, word) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    (off.saturating_sub(seen.within) > SKEW).then(|| {
        Finding::error(
            Kind::ClockSkew,
            Some(&status.id),
            "this machine's clock and the platform's differ: times that are shown are wrong, and schedules are early or late",
            format!("our clock is {} s {word} the platform's", off.as_secs()),
            "let the machine keep its time, by NTP for example; waits and expiries do not depend on it",
        )
        .warning()
    })
}

pub(super) fn policy(id: &AccountId, verdicts: &Verdicts) -> Vec<Finding> {
    let (access, table) = (&verdicts.access, access_table(id));
    let no_users = access.direct == DirectPolicy::Allowlist && access.users.is_empty();
    let no_groups = access.group == GroupPolicy::Allowlist && access.groups.is_empty();
    let closed =
        (no_users || access.direct == DirectPolicy::Deny) && (no_groups || access.group == GroupPolicy::Deny);
    let mut findings = Vec::new();
    let lists = [
        (no_users, "direct", "users", "direct messages"),
        (no_groups, "group", "groups", "messages in groups"),
    ];
    for (_, policy, list, what) in lists.into_iter().filter(|(empty, ..)| *empty) {
        let finding = Finding::error(
            Kind::EmptyAllowlist,
            Some(id),
            format!("drops all {what}"),
            format!("{table}.{policy} is \"allowlist\", and {table}.{list} is empty"),
            format!("list ids in {table}.{list}, or set {table}.{policy} to another policy"),
        );
        findings.push(finding);
    }
    if closed {
        findings.push(Finding::error(
            Kind::AdmitsNobody,
            Some(id),
            "drops every message",
            format!("neither {table}.direct nor {table}.group admits anybody"),
            format!("set {table}.direct or {table}.group to \"allow\", or list ids in {table}.users or {table}.groups"),
        ));
    }
    findings.extend(everything_dropped(id, verdicts, &table));
    findings
}

/// All since the last message that was let through.
fn everything_dropped(id: &AccountId, verdicts: &Verdicts, table: &str) -> Option<Finding> {
    let key = |reason| match reason {
        DropReason::DirectDenied => Some("direct"),
        DropReason::GroupDenied => Some("group"),
        DropReason::UserNotAllowed => Some("users"),
        DropReason::GroupNotAllowed => Some("groups"),
        _ => None,
    };
    let by_policy =
        || verdicts.in_a_row.iter().filter_map(|(reason, count)| Some((reason, *count, key(*reason)?)));
    let dropped: u64 = by_policy().map(|(_, count, _)| count).sum();
    let reasons: Vec<String> = by_policy().map(|(reason, count, _)| format!("{reason} {count}")).collect();
    let keys: Vec<String> = by_policy().map(|(.., key)| format!("{table}.{key}")).collect();
    (dropped >= DROPS).then(|| {
        Finding::error(
            Kind::EverythingDropped,
            Some(id),
            format!("the last {dropped} messages that the access policy looked at were all dropped by it"),
            reasons.join(", "),
            format!("see {}; the log has the ids to add, and so has `moorline inbox show`", keys.join(", ")),
        )
        .warning()
    })
}

pub(super) fn dead_letters(id: &AccountId, dead: u64) -> Option<Finding> {
    (dead > 0).then(|| {
        Finding::error(
            Kind::DeadLetters,
            Some(id),
            format!("{dead} messages of ours were given up, and are not sent by themselves"),
            "the platform refused each of them for good, or never confirmed it, so that it may have been delivered; \
             `moorline outbox list --state dead` says which",
            "`moorline outbox retry <id>` when the reason is gone, or `moorline outbox discard <id>`; what may have been \
             delivered is seen twice if it is sent again",
        )
        .warning()
    })
}

pub(super) fn replies_held(id: &AccountId, held: u64) -> Option<Finding> {
    (held > 0).then(|| {
        Finding::error(
            Kind::RepliesHeld,
            Some(id),
            format!("{held} messages of ours, and what is to follow them, wait until their users write"),
            "the platform takes messages only for a while after a user wrote, and only so many; \
             `moorline outbox list --state held` has them",
            "nothing: each goes out when its user writes, and is given up after runtime.held_reply_limit; \
             `moorline outbox retry <id>` tries now, `moorline outbox discard <id>` gives it up",
        )
        .warning()
    })
}

#[cfg(test)]
mod tests;
