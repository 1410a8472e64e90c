//! Kinds that strike the process, its machine, its store, and what operators do.

use std::time::Duration;

use super::super::store::Mood;
use super::{Act, Actor, Command, Draw, Edit, Kind, kind, millis, secs};

pub(super) fn process(all: &mut Vec<Kind>) {
    let mut panics = |name: &str, pick: fn(&Draw<'_>) -> Actor| {
        kind(all, format!("panic: {name}"), 4, move |d| vec![(secs(0), Act::Panic { actor: pick(d) })]);
    };
    panics("connection", |d| d.path("/connection"));
    panics("outbox", |d| d.path("/outbox"));
    panics("identity", |d| d.path("/identity"));
    panics("credentials", |d| d.path("/credentials"));
    panics("account", |d| d.path(""));
    panics("accounts", |_| Actor::Path("runtime/accounts".to_owned()));
    panics("conversations", |_| Actor::Path("runtime/conversations".to_owned()));
    panics("conversation", |_| Actor::Conversation);
    panics("recovery", |_| Actor::Path("runtime/recovery".to_owned()));
    panics("bus", |_| Actor::Path("runtime/bus".to_owned()));
    panics("store watch", |_| Actor::Path("runtime/store".to_owned()));
    panics("root", |_| Actor::Path("runtime".to_owned()));
    kind(all, "crash loop of an actor", 2, |d| {
        let actor = d.one_of(&["/connection", "/outbox", "/identity", "/credentials"]);
        let actor = d.path(actor);
        (0..6).map(|n| (secs(n * 9), Act::Panic { actor: actor.clone() })).collect()
    });
    kind(all, "crash", 8, |d| vec![(secs(0), Act::Crash { down: down(d) })]);
    kind(all, "crash during recovery", 4, |d| {
        let mut steps = vec![(secs(0), Act::Crash { down: secs(1) })];
        let mut at = secs(1);
        for _ in 0..d.rng.u8(1..=4) {
            at += millis(if d.rng.bool() { d.rng.u64(1..100) } else { d.rng.u64(100..3_000) });
            steps.push((at, Act::Crash { down: secs(1) }));
            at += secs(1);
        }
        steps
    });
    kind(all, "orderly restart", 4, |d| vec![(secs(0), Act::Restart { down: down(d) })]);
    kind(all, "clock: small jump", 4, |d| {
        let seconds = d.one_of(&[-60, -5, -1, 1, 7, 90]);
        vec![(secs(0), Act::Clock { seconds })]
    });
    kind(all, "clock: large jump", 2, |d| {
        let seconds = d.one_of(&[-86_400, -3_600, 3_600, 86_400]);
        vec![(secs(0), Act::Clock { seconds })]
    });
    kind(all, "asleep", 3, |d| vec![(secs(0), Act::Sleep(d.secs(6, 3_000)))]);
    kind(all, "frozen", 3, |d| vec![(secs(0), Act::Freeze(d.secs(6, 600)))]);
    for (name, weight, pick) in moods() {
        kind(all, name, weight, move |d| {
            let mood = pick(d);
            let span = if d.rng.bool() { d.secs(1, 20) } else { d.secs(20, 240) };
            vec![(secs(0), Act::Store(mood)), (span, Act::StoreWell)]
        });
    }
}

type PickMood = fn(&mut Draw<'_>) -> Mood;

fn moods() -> [(&'static str, u32, PickMood); 6] {
    [
        ("store: slow", 4, |d| {
            Mood::Slow(d.one_of(&[millis(20), millis(300), millis(1_500), millis(2_600), secs(9)]))
        }),
        ("store: full", 4, |_| Mood::Full),
        ("store: refuses", 4, |d| Mood::Refuse(d.rng.u32(1..8))),
        ("store: refuses reads", 4, |d| Mood::RefuseReads(d.rng.u32(1..8))),
        ("store: fails before a commit", 3, |_| Mood::FailBefore),
        ("store: fails after a commit", 3, |_| Mood::FailAfter),
    ]
}

fn down(d: &mut Draw<'_>) -> Duration {
    match d.rng.u8(0..4) {
        0 => millis(1),
        1 | 2 => d.secs(1, 10),
        _ => d.secs(10, 400),
    }
}

pub(super) fn operators(all: &mut Vec<Kind>) {
    let reload = |edit| (secs(0), Act::Reload(edit));
    kind(all, "reload: nothing changed", 4, move |_| vec![reload(Edit::Nothing)]);
    kind(all, "reload: access", 4, move |d| {
        let back = d.secs(1, 200);
        vec![reload(Edit::Deny(d.account)), (back, Act::Reload(Edit::Allow(d.account)))]
    });
    kind(all, "reload: credentials", 4, move |d| {
        let known = d.secs(0, 200);
        vec![reload(Edit::RotateOnPlatform(d.account)), (known, Act::Reload(Edit::RotateInFile(d.account)))]
    });
    kind(all, "reload: account removed", 4, move |d| {
        let back = d.secs(0, 300);
        vec![reload(Edit::Remove(d.account)), (back, Act::Reload(Edit::Add(d.account)))]
    });
    kind(all, "reload: during a reload", 3, move |d| {
        let other = (d.account + 1) % d.accounts;
        let gap = millis(d.rng.u64(0..50));
        vec![
            reload(Edit::Remove(d.account)),
            (gap, Act::Reload(Edit::Remove(other))),
            (gap * 2, Act::Reload(Edit::Add(d.account))),
            (gap * 3, Act::Reload(Edit::Add(other))),
        ]
    });
    let mut commands = |name: &str, command, back: Option<Command>| {
        kind(all, format!("operator: {name}"), 4, move |d| {
            let account = d.account;
            let later = d.secs(0, 300);
            let back = back.map(|command| (later, Act::Operator { account, command }));
            std::iter::once((secs(0), Act::Operator { account, command })).chain(back).collect()
        });
    };
    commands("stop and start", Command::Stop, Some(Command::Start));
    commands("restart", Command::Restart, None);
    commands("probe", Command::Probe, None);
}
