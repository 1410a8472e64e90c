//! Jobs and runs, told as short stories and checked on every store.

use moorline_core::{Epoch, Generation, IdempotencyKey, InboxId, JobId, OutboxId, RunId, Timestamp, TurnId};
use moorline_store::{
    Claim, Delivery, KEPT_RUNS, Lease, NewRun, Op, Outcome, Page, Role, RunContent, RunResult, SendResult,
    Store, Trigger, Tx, Verdict,
};

use crate::script::{account, conversation, job, message, reply, results};
use crate::stores;
use crate::visible::assert_conserved;

use Outcome::{Applied, Conflict, Duplicate};

const JOB: JobId = JobId::new(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn add(key: Option<u8>) -> Op {
    let mut job = job(0, key);
    job.next_due = Some(at(10));
    Op::AddJob { job: Box::new(job) }
}

fn run(due: i64, content: RunContent) -> NewRun {
    let trigger = Trigger::Schedule { seen: at(due), next_due: Some(at(due + 10)) };
    NewRun { job: JOB, due: at(due), until: at(due), count: 1, trigger, content }
}

fn record(run: NewRun) -> Op {
    Op::RecordRun { run: Box::new(run) }
}

fn text(due: i64, key: u8) -> Op {
    record(run(due, RunContent::Text(vec![reply(0, key), reply(0, key + 1)])))
}

fn prompt(due: i64, key: u8) -> Op {
    record(run(due, RunContent::Prompt(Box::new(message(&[key], 0, Verdict::Allow)))))
}

async fn commit(store: &dyn Store, leased: bool, second: i64, op: Op) -> Outcome {
    let lease = Lease { account: account(0), epoch: Epoch::new(1) };
    let tx = if leased { Tx::under(&lease, at(second), [op]) } else { Tx::global(at(second), [op]) };
    let outcome = store.commit(tx).await.unwrap()[0];
    assert_conserved(&store.counts().await.unwrap());
    outcome
}

async fn each(mut check: impl AsyncFnMut(&dyn Store, &str)) {
    for subject in stores::all() {
        for number in [0, 1] {
            let take_over = Tx::global(at(0), [Op::TakeOver { account: account(number) }]);
            subject.store().commit(take_over).await.unwrap();
        }
        check(subject.store(), subject.name).await;
        if let Some(sqlite) = subject.sqlite() {
            assert_eq!(sqlite.recount().await.unwrap(), sqlite.counts().await.unwrap(), "{}", subject.name);
        }
    }
}

async fn judged(store: &dyn Store, run: i64) -> (RunResult, Delivery) {
    let run = store.listing().run(RunId::new(run)).await.unwrap().unwrap();
    (run.result, run.delivery)
}

async fn rows_of_outbox(store: &dyn Store) -> u64 {
    store.counts().await.unwrap()[&account(0)].outbox
}

#[tokio::test]
async fn a_due_time_is_over_once_whatever_the_clock_says_f087_f089() {
    each(async |store, name| {
        assert_eq!(commit(store, false, 1, add(None)).await, Applied(1), "{name}");
        assert_eq!(commit(store, true, 10, text(10, 1)).await, Applied(1), "{name}");
        assert_eq!(rows_of_outbox(store).await, 2, "{name}: both parts");
        // Somebody else who has read the job before.
        assert_eq!(commit(store, true, 10, text(10, 1)).await, Conflict, "{name}");
        // The clock went back, and the job was moved back with it.
        let back = |due, content| NewRun {
            trigger: Trigger::Schedule { seen: at(20), next_due: Some(at(20)) },
            ..run(due, content)
        };
        let again = back(10, RunContent::Text(vec![reply(0, 5)]));
        assert_eq!(commit(store, true, 11, record(again)).await, Duplicate(1), "{name}");
        assert_eq!(rows_of_outbox(store).await, 2, "{name}: nothing twice");
        let missed = RunContent::Missed { reason: "down".to_owned() };
        let several = NewRun { until: at(15), count: 4, ..back(12, missed.clone()) };
        assert_eq!(commit(store, false, 20, record(several)).await, Applied(2), "{name}");
        for within in [12, 13, 15] {
            let again = back(within, RunContent::Text(vec![reply(0, 7)]));
            assert_eq!(commit(store, true, 21, record(again)).await, Duplicate(2), "{name}: {within}");
        }
        assert_eq!(commit(store, false, 22, record(back(16, missed))).await, Applied(3), "{name}");
        assert_eq!(judged(store, 2).await, (RunResult::Missed, Delivery::NotRequested), "{name}");
        let next_due = store.listing().job(JOB).await.unwrap().unwrap().job.next_due;
        assert_eq!(next_due, Some(at(20)), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_added_once_and_a_disabled_one_does_not_run() {
    each(async |store, name| {
        assert_eq!(commit(store, false, 1, add(Some(1))).await, Applied(1), "{name}");
        assert_eq!(commit(store, false, 1, add(Some(1))).await, Duplicate(1), "{name}");
        assert_eq!(commit(store, false, 1, add(None)).await, Applied(2), "{name}");
        let off = |reason: Option<&str>| Op::SwitchJob {
            job: JOB,
            enabled: false,
            next_due: None,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(commit(store, false, 2, off(Some("it failed"))).await, Applied(0), "{name}");
        assert_eq!(commit(store, false, 3, off(None)).await, Duplicate(0), "{name}");
        let row = store.listing().job(JOB).await.unwrap().unwrap();
        assert_eq!((row.enabled, row.reason.as_deref(), row.job.next_due), (false, Some("it failed"), None));
        assert_eq!(commit(store, true, 10, text(10, 1)).await, Conflict, "{name}");
        // An operator may run it all the same, once for each key.
        let by_hand = |key: &str| {
            let trigger = Trigger::Operator { key: IdempotencyKey::new(key) };
            let content = RunContent::Text(vec![reply(0, 9)]);
            record(NewRun { trigger, ..run(11, content) })
        };
        assert_eq!(commit(store, true, 11, by_hand("a")).await, Applied(1), "{name}");
        assert_eq!(commit(store, true, 12, by_hand("a")).await, Duplicate(1), "{name}");
        assert_eq!(commit(store, true, 12, by_hand("b")).await, Applied(2), "{name}: the same time");
        let on = Op::SwitchJob { job: JOB, enabled: true, next_due: Some(at(20)), reason: None };
        assert_eq!(commit(store, false, 13, on.clone()).await, Applied(0), "{name}");
        assert_eq!(commit(store, false, 14, on).await, Duplicate(0), "{name}");
        let row = store.listing().job(JOB).await.unwrap().unwrap();
        assert_eq!((row.created_at, row.enabled_at), (at(1), at(13)), "{name}");
        assert_eq!(commit(store, true, 20, text(20, 1)).await, Applied(3), "{name}");
        assert_eq!(commit(store, false, 21, Op::RemoveJob { job: JOB }).await, Applied(0), "{name}");
        assert_eq!(commit(store, false, 22, Op::RemoveJob { job: JOB }).await, Conflict, "{name}");
        assert_eq!(commit(store, true, 30, text(30, 3)).await, Conflict, "{name}");
        assert_eq!(store.listing().run(RunId::new(3)).await, Ok(None), "{name}");
        assert_eq!(rows_of_outbox(store).await, 3, "{name}: what was put down stays");
    })
    .await;
}

#[tokio::test]
async fn a_run_needs_its_own_accounts_lease_to_do_something() {
    each(async |store, name| {
        commit(store, false, 1, add(None)).await;
        let without = store.commit(Tx::global(at(10), [text(10, 1)])).await;
        assert!(without.is_err(), "{name}: {without:?}");
        let other = Lease { account: account(1), epoch: Epoch::new(1) };
        let theirs = store.commit(Tx::under(&other, at(10), [text(10, 1)])).await;
        assert_eq!(theirs, Ok(vec![Conflict]), "{name}");
        let stale = Lease { account: account(0), epoch: Epoch::new(0) };
        let fenced = store.commit(Tx::under(&stale, at(10), [text(10, 1)])).await;
        assert_eq!(fenced, Ok(vec![Outcome::Fenced]), "{name}");
        let failed = record(run(10, RunContent::Failed { reason: "no account".to_owned() }));
        assert_eq!(commit(store, false, 10, failed).await, Applied(1), "{name}");
        assert_eq!(judged(store, 1).await, (RunResult::Error, Delivery::NotRequested), "{name}");
        assert_eq!(rows_of_outbox(store).await, 0, "{name}");
    })
    .await;
}

/// F-088: what came of a run is what its rows say, at every moment.
#[tokio::test]
async fn a_runs_status_is_its_deliverys_status_f088() {
    each(async |store, name| {
        let claim = Claim { epoch: Epoch::new(1), generation: Generation::FIRST };
        let send = |id: i64| Op::ClaimSend { outbox: OutboxId::new(id), claim, possibly_repeated: false };
        let settle = |id: i64, result: &SendResult| Op::SettleSend {
            outbox: OutboxId::new(id),
            claim,
            result: result.clone(),
        };
        let [sent, _, _, dead, ..] = results();
        commit(store, false, 1, add(None)).await;
        commit(store, true, 10, text(10, 1)).await;
        assert_eq!(judged(store, 1).await, (RunResult::Ok, Delivery::Held), "{name}");
        for (id, after) in [(1, Delivery::Held), (2, Delivery::Delivered)] {
            commit(store, true, 11, send(id)).await;
            commit(store, true, 12, settle(id, &sent)).await;
            assert_eq!(judged(store, 1).await, (RunResult::Ok, after), "{name}");
        }
        commit(store, true, 20, text(20, 3)).await;
        commit(store, true, 21, send(3)).await;
        commit(store, true, 22, settle(3, &dead)).await;
        assert_eq!(judged(store, 2).await, (RunResult::Ok, Delivery::Failed), "{name}");
        let row = store.listing().run(RunId::new(2)).await.unwrap().unwrap();
        assert_eq!((row.reason.as_deref(), row.outbox), (Some("no route"), Some(OutboxId::new(3))), "{name}");

        let answers = [
            (vec![(Role::Agent, "yes".to_owned())], vec![reply(0, 10)], RunResult::Ok, Delivery::Held),
            (vec![(Role::Agent, String::new())], vec![], RunResult::Silent, Delivery::NotRequested),
            (vec![(Role::System, "broken".to_owned())], vec![reply(0, 11)], RunResult::Error, Delivery::Held),
        ];
        for (number, (entries, replies, result, delivery)) in (0..).zip(answers) {
            let due = 30 + 10 * number;
            assert_eq!(
                commit(store, true, due, prompt(due, number as u8)).await,
                Applied(3 + number),
                "{name}"
            );
            assert_eq!(
                judged(store, 3 + number).await,
                (RunResult::Running, Delivery::NotRequested),
                "{name}"
            );
            let inputs = vec![InboxId::new(1 + number)];
            let start = Op::StartTurn { conversation: conversation(0), inputs, claim };
            assert_eq!(commit(store, true, due, start).await, Applied(1 + number), "{name}");
            let finish = Op::FinishTurn { turn: TurnId::new(1 + number), claim, entries, replies };
            commit(store, true, due, finish).await;
            assert_eq!(judged(store, 3 + number).await, (result, delivery), "{name}");
        }
        let counts = store.counts().await.unwrap().remove(&account(0)).unwrap();
        assert_eq!((counts.received, counts.answered), (3, 3), "{name}: a prompt is received and answered");
    })
    .await;
}

#[tokio::test]
async fn old_runs_are_forgotten_but_for_the_latest_of_each_job() {
    each(async |store, name| {
        commit(store, false, 1, add(None)).await;
        commit(store, false, 1, add(None)).await;
        let kept = i64::from(KEPT_RUNS);
        for number in 1..=kept + 5 {
            let content = RunContent::Expired;
            assert_eq!(
                commit(store, false, number, record(run(10 * number, content))).await,
                Applied(number)
            );
        }
        let prune = |limit| Op::Prune { before: at(1_000), dedupe_before: at(0), limit };
        assert_eq!(commit(store, false, 2_000, prune(2)).await, Applied(2), "{name}");
        assert_eq!(commit(store, false, 2_000, prune(200)).await, Applied(3), "{name}");
        assert_eq!(commit(store, false, 2_000, prune(200)).await, Applied(0), "{name}");
        let page = Page { before: None, limit: 500 };
        let left = store.listing().runs(Some(JOB), page).await.unwrap().rows;
        let ids: Vec<i64> = left.iter().map(|run| run.id.get()).collect();
        assert_eq!(ids, (6..=kept + 5).rev().collect::<Vec<_>>(), "{name}");
    })
    .await;
}
