//! Generated scripts against every store.

use std::collections::BTreeSet;

use moorline_core::OutboxId;
use moorline_store::{Outcome, StoreError, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::script::{self, ACCOUNTS, Act, By, CONVERSATIONS, Made, Step};
use crate::stores::{self, Subject};
use crate::visible::{assert_conserved, visible, visible_cron};

/// After how many steps all lists are looked at too.
const LISTED_EVERY: usize = 16;

fn by() -> impl Strategy<Value = By> {
    (prop::bool::weighted(0.1), 1_u8..=2).prop_map(|(stale, generation)| By { stale, generation })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        5 => Just(Verdict::Allow),
        1 => Just(script::DROP),
        2 => Just(script::HOLD),
        2 => Just(script::ECHO),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let conversation = || 0..CONVERSATIONS;
    let back = || prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => 0_u8..5];
    let key = || 0_u8..16;
    let notice = || (conversation(), key());
    // Now and then so many that a transcript is longer than what outlives its age.
    let entries = prop_oneof![6 => 0_u8..4, 1 => Just(30)];
    let keys = prop_oneof![12 => prop::collection::vec(0_u8..60, 1..3), 1 => Just(vec![])];
    let backs = prop_oneof![12 => prop::collection::vec(back(), 1..3), 1 => Just(vec![])];
    prop_oneof![
        10 => (keys, conversation(), verdict())
            .prop_map(|(keys, conversation, verdict)| Act::Receive { keys, conversation, verdict }),
        1 => (0_u8..9).prop_map(Act::SetCursor),
        1 => (0_u8..9).prop_map(Act::SaveIdentity),
        2 => (back(), verdict()).prop_map(|(back, verdict)| Act::Judge { back, verdict }),
        6 => (conversation(), backs, by())
            .prop_map(|(conversation, backs, claim)| Act::StartTurn { conversation, backs, claim }),
        4 => (back(), 1_u32..=2, by())
            .prop_map(|(back, attempt, claim)| Act::ResumeTurn { back, attempt, claim }),
        2 => (back(), by(), any::<bool>())
            .prop_map(|(back, claim, counts)| Act::CountAttempt { back, claim, counts }),
        7 => (back(), by(), entries, prop::collection::vec(notice(), 0..3))
            .prop_map(|(back, claim, entries, replies)| Act::FinishTurn { back, claim, entries, replies }),
        2 => (prop::option::of(conversation()), 1_u8..=2)
            .prop_map(|(conversation, generation)| Act::InterruptTurns { conversation, generation }),
        2 => (back(), prop::option::of(notice())).prop_map(|(back, notice)| Act::ParkTurn { back, notice }),
        3 => (conversation(), key()).prop_map(|(conversation, key)| Act::Enqueue { conversation, key }),
        5 => (back(), by()).prop_map(|(back, claim)| Act::ClaimSend { back, claim }),
        5 => (back(), by(), prop::sample::select(script::results().to_vec()))
            .prop_map(|(back, claim, result)| Act::SettleSend { back, claim, result }),
        1 => (1_u8..=2).prop_map(|generation| Act::InterruptSends { generation }),
        2 => (back(), 0_u8..6).prop_map(|(back, age)| Act::ExpireHeld { back, age }),
        1 => (0_u8..5, any::<bool>()).prop_map(|(ago, orderly)| Act::Heard { ago, orderly }),
        2 => (0_u8..4, 4_u8..8, 0_u8..3).prop_map(|(from, to, kind)| Act::RecordGap { from, to, kind }),
        2 => back().prop_map(|back| Act::RetrySend { back }),
        1 => back().prop_map(|back| Act::DiscardSend { back }),
        1 => conversation().prop_map(|conversation| Act::ReopenTurns { conversation }),
        1 => conversation().prop_map(|conversation| Act::ResetSession { conversation }),
        3 => recorded_run(),
    ]
}

fn recorded_run() -> impl Strategy<Value = Act> {
    let back = prop_oneof![4 => Just(0_u8), 1 => 0_u8..3];
    // Times near each other, so that they meet.
    (back, 0_u8..24, 0_u8..2, 0_u8..5, prop::bool::weighted(0.3), prop::bool::weighted(0.05)).prop_map(
        |(back, due, span, what, by_operator, stale)| Act::RecordRun {
            back,
            due,
            span,
            what,
            by_operator,
            stale,
        },
    )
}

fn global() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0_u8..3).prop_map(Act::BeginBoot),
        2 => (0_u8..3).prop_map(Act::EndBoot),
        4 => (0..ACCOUNTS).prop_map(Act::TakeOver),
        4 => (0_u8..24, 0_u8..24, prop_oneof![1 => 0_u8..4, 2 => Just(200)])
            .prop_map(|(age, dedupe_age, limit)| Act::Prune { age, dedupe_age, limit }),
        3 => (0..ACCOUNTS, prop::option::of(0_u8..4))
            .prop_map(|(account, key)| Act::AddJob { account, key }),
        1 => (0_u8..3).prop_map(|back| Act::RemoveJob { back }),
        2 => (0_u8..3, any::<bool>()).prop_map(|(back, enabled)| Act::SwitchJob { back, enabled }),
        3 => recorded_run(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let under = |ops| {
        (0..ACCOUNTS, prop::bool::weighted(0.05), ops).prop_map(|(account, stale, ops)| Step::Under {
            account,
            stale,
            ops,
        })
    };
    prop_oneof![
        48 => under(prop::collection::vec(act(), 1..2).boxed()),
        12 => under(prop::collection::vec(prop_oneof![6 => act().boxed(), 1 => global().boxed()], 0..4).boxed()),
        10 => prop::collection::vec(prop_oneof![8 => global().boxed(), 1 => act().boxed()], 1..3)
            .prop_map(|ops| Step::Global { ops }),
        2 => Just(Step::Reopen),
        // Alone: a script names rows by what it has seen of them.
        1 => under(Just(vec![Act::DiscardRows]).boxed()),
    ]
}

fn scripts() -> impl Strategy<Value = Vec<Step>> {
    let crossing = prop::sample::select(vec![Verdict::Allow, script::DROP, script::ECHO]);
    let rare = (prop::bool::weighted(0.2), prop::option::weighted(0.4, crossing));
    (rare, prop::collection::vec(step(), 1..60)).prop_map(|((parked, crossed), mut steps)| {
        let take_over = |account| Step::Global { ops: vec![Act::TakeOver(account)] };
        // Mostly with accounts that are there, and now and then with a turn that was given up, or a message that came
        // while one of ours was refused.
        let given_up = parked.then(given_up).into_iter().flatten();
        let crossed = crossed.map(crossed_with).into_iter().flatten();
        steps.splice(0..0, (0..ACCOUNTS).map(take_over).chain(crossed).chain(given_up));
        steps
    })
}

/// A send during which a message with this verdict came into its chat, and which the platform did not take, after more
/// messages than [`script::results`] has heard; chance alone finds it too seldom.
fn crossed_with(verdict: Verdict) -> [Step; 6] {
    let by = By { stale: false, generation: 1 };
    let receive = |key, verdict| Act::Receive { keys: vec![key], conversation: 0, verdict };
    let acts = [
        receive(50, Verdict::Allow),
        receive(51, Verdict::Allow),
        Act::Enqueue { conversation: 0, key: 0 },
        Act::ClaimSend { back: 0, claim: by },
        receive(52, verdict),
        Act::SettleSend { back: 0, claim: by, result: script::results()[5].clone() },
    ];
    acts.map(|act| Step::Under { account: 0, stale: false, ops: vec![act] })
}

/// A turn from its beginning to its parking, which chance alone finds too seldom.
fn given_up() -> [Step; 4] {
    let acts = [
        Act::Receive { keys: vec![0], conversation: 0, verdict: Verdict::Allow },
        Act::StartTurn { conversation: 0, backs: vec![0], claim: By { stale: false, generation: 1 } },
        Act::InterruptTurns { conversation: None, generation: 1 },
        Act::ParkTurn { back: 0, notice: None },
    ];
    acts.map(|act| Step::Under { account: 0, stale: false, ops: vec![act] })
}

/// Runs one script on the stores; tells which operations were seen with which outcome.
async fn run(subjects: &mut [Subject], steps: &[Step]) -> BTreeSet<String> {
    let mut made = Made::default();
    let mut seen = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        let (account, stale, acts) = match step {
            Step::Under { account, stale, ops } => (Some(*account), *stale, ops),
            Step::Global { ops } => (None, false, ops),
            Step::Reopen => {
                subjects.iter_mut().for_each(Subject::reopen);
                compare(subjects, number, &made, false).await;
                continue;
            }
        };
        let tx = made.tx(account, stale, acts);
        let mut expected = None;
        for subject in subjects.iter() {
            // The words of a refusal are each store's own.
            let outcome = match subject.store().commit(tx.clone()).await {
                Err(StoreError::Refused(_)) => Err(()),
                Err(other) => panic!("step {number}, {}: {other}", subject.name),
                Ok(outcomes) => Ok(outcomes),
            };
            let expected = expected.get_or_insert_with(|| outcome.clone());
            assert_eq!(outcome, *expected, "step {number}, {}: {step:?}", subject.name);
        }
        if let Some(Ok(outcomes)) = expected {
            made.learn(&tx, acts, &outcomes);
            let next = |made: &Made| OutboxId::new(made.outbox_rows() + 1);
            while let Some(row) = subjects[0].store().outbox_row(next(&made)).await.unwrap() {
                made.learn_outbox(row.account);
            }
            for (act, outcome) in acts.iter().zip(outcomes) {
                let outcome = match outcome {
                    Outcome::Applied(_) => "applied",
                    Outcome::Duplicate(_) => "duplicate",
                    Outcome::Fenced => "fenced",
                    Outcome::Conflict => "conflict",
                };
                // Only alone does an outcome belong to its operation.
                if acts.len() == 1 && !stale {
                    seen.insert(format!("{} {outcome}", act.name()));
                }
            }
        }
        compare(subjects, number, &made, number % LISTED_EVERY == 0).await;
    }
    compare(subjects, steps.len(), &made, true).await;
    seen
}

async fn compare(subjects: &[Subject], step: usize, made: &Made, with_lists: bool) {
    let (rows, (runs, jobs)) = (made.outbox_rows(), made.runs_and_jobs());
    let cron = visible_cron(subjects[0].store(), runs, jobs).await;
    let expected = visible(subjects[0].store(), rows + 1, with_lists).await;
    assert_conserved(&expected.counts);
    for subject in &subjects[1..] {
        let found = visible(subject.store(), rows + 1, with_lists).await;
        assert_eq!(
            visible_cron(subject.store(), runs, jobs).await,
            cron,
            "after step {step}, {}",
            subject.name
        );
        assert_eq!(found, expected, "after step {step}, {}", subject.name);
        if let Some(sqlite) = subject.sqlite() {
            assert_eq!(sqlite.recount().await.unwrap(), found.counts, "after step {step}, {}", subject.name);
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(Config { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    /// The same outcomes and the same visible state after every step, whatever happens; closing and opening the
    /// file changes nothing.
    #[test]
    fn every_store_does_what_the_model_does(steps in scripts()) {
        runtime().block_on(run(&mut stores::all(), &steps));
    }
}

/// The guard on the test above: its scripts reach every outcome that an operation can have.
#[test]
fn the_scripts_reach_every_outcome() {
    let config = Config { rng_seed: RngSeed::Fixed(7), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let mut model = [stores::model()];
        let steps = scripts().new_tree(&mut runner).unwrap().current();
        seen.append(&mut runtime().block_on(run(&mut model, &steps)));
    }
    let reachable = [
        "BeginBoot applied",
        "BeginBoot duplicate",
        "EndBoot applied",
        "EndBoot conflict",
        "TakeOver applied",
        "Prune applied",
        "Receive applied",
        "Receive duplicate",
        "SetCursor applied",
        "SaveIdentity applied",
        "Judge applied",
        "Judge conflict",
        "StartTurn applied",
        "StartTurn conflict",
        "StartTurn fenced",
        "ResumeTurn applied",
        "ResumeTurn conflict",
        "ResumeTurn fenced",
        "CountAttempt applied",
        "CountAttempt fenced",
        "FinishTurn applied",
        "FinishTurn fenced",
        "FinishTurn conflict",
        "InterruptTurns applied",
        "ParkTurn applied",
        "ParkTurn conflict",
        "Enqueue applied",
        "Enqueue duplicate",
        "Enqueue conflict",
        "ClaimSend applied",
        "ClaimSend conflict",
        "ClaimSend fenced",
        "SettleSend applied",
        "SettleSend fenced",
        "InterruptSends applied",
        "ExpireHeld applied",
        "ExpireHeld conflict",
        "Heard applied",
        "RecordGap applied",
        "RecordGap duplicate",
        "RetrySend applied",
        "RetrySend conflict",
        "DiscardSend applied",
        "DiscardSend duplicate",
        "DiscardSend conflict",
        "ReopenTurns applied",
        "ReopenTurns conflict",
        "ResetSession applied",
        "ResetSession conflict",
        "DiscardRows applied",
        "AddJob applied",
        "AddJob duplicate",
        "RemoveJob applied",
        "RemoveJob conflict",
        "SwitchJob applied",
        "SwitchJob duplicate",
        "SwitchJob conflict",
        "RecordRun applied",
        "RecordRun duplicate",
        "RecordRun conflict",
    ];
    let missing: Vec<_> = reachable.iter().filter(|outcome| !seen.contains(**outcome)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
