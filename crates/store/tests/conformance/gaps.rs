//! Signs of life and gaps, on every store (F-040).

use moorline_core::{Epoch, GapId, Timestamp};
use moorline_store::{Gap, GapKind, LastHeard, Lease, Life, NewGap, Op, Outcome, Page, Store, Tx};

use crate::script::account;
use crate::stores;

use Outcome::{Applied, Duplicate};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn gap(from: i64, to: i64, kind: GapKind, why: &str) -> NewGap {
    NewGap { from: at(from), to: at(to), kind, why: why.to_owned() }
}

async fn step(store: &dyn Store, of: u8, seconds: i64, op: Op) -> Outcome {
    let lease = Lease { account: account(of), epoch: Epoch::new(1) };
    let tx = match op {
        Op::TakeOver { .. } | Op::Prune { .. } => Tx::global(at(seconds), [op]),
        _ => Tx::under(&lease, at(seconds), [op]),
    };
    store.commit(tx).await.unwrap()[0]
}

async fn record(store: &dyn Store, of: u8, seconds: i64, gap: NewGap) -> Outcome {
    step(store, of, seconds, Op::RecordGap { gap }).await
}

async fn counted(store: &dyn Store, of: u8) -> u64 {
    store.counts().await.unwrap()[&account(of)].gaps
}

async fn listed(store: &dyn Store, of: Option<u8>) -> Vec<i64> {
    let page = Page { before: None, limit: 10 };
    let listed = store.listing().gaps(of.map(account).as_ref(), page).await.unwrap();
    listed.rows.iter().map(|gap| gap.id.get()).collect()
}

#[tokio::test]
async fn a_gap_that_goes_on_is_one_gap_f040() {
    for mut subject in stores::all() {
        for of in 0..2 {
            step(subject.store(), of, 1, Op::TakeOver { account: account(of) }).await;
        }
        let store = subject.store();
        assert_eq!(store.lives().await.unwrap()[&account(0)], Life::default(), "{}", subject.name);
        assert_eq!(step(store, 0, 10, Op::Heard { at: at(9), orderly: false }).await, Applied(0));
        assert_eq!(record(store, 0, 20, gap(9, 20, GapKind::Outage, "away")).await, Applied(1));
        assert_eq!(record(store, 1, 21, gap(9, 21, GapKind::Outage, "away too")).await, Applied(2));
        assert_eq!(record(store, 0, 22, gap(9, 22, GapKind::HandedOut, "lost")).await, Applied(3));
        assert_eq!(record(store, 0, 30, gap(9, 30, GapKind::Outage, "still")).await, Duplicate(1));
        assert_eq!((counted(store, 0).await, counted(store, 1).await), (2, 1), "{}", subject.name);
        assert_eq!(listed(store, None).await, [3, 2, 1]);
        assert_eq!(listed(store, Some(0)).await, [3, 1]);

        subject.reopen();
        let store = subject.store();
        let page = store.listing().gaps(None, Page { before: Some(2), limit: 1 }).await.unwrap();
        let first = Gap {
            id: GapId::new(1),
            account: account(0),
            gap: gap(9, 30, GapKind::Outage, "still"),
            recorded_at: at(30),
        };
        assert_eq!((page.rows, page.next), (vec![first], None), "{}", subject.name);
        let life = store.lives().await.unwrap()[&account(0)].clone();
        assert_eq!(life.heard, Some(LastHeard { at: at(9), orderly: false }));
        assert_eq!(life.last_gap.map(|gap| gap.id), Some(GapId::new(3)));
        assert_eq!(step(store, 0, 31, Op::Heard { at: at(30), orderly: true }).await, Applied(0));
        let heard = store.lives().await.unwrap()[&account(0)].heard;
        assert_eq!(heard, Some(LastHeard { at: at(30), orderly: true }), "{}", subject.name);
    }
}

#[tokio::test]
async fn old_gaps_go_and_stay_counted_and_a_discarded_account_keeps_none_g12() {
    for subject in stores::all() {
        let store = subject.store();
        step(store, 0, 1, Op::TakeOver { account: account(0) }).await;
        step(store, 0, 1, Op::Heard { at: at(1), orderly: false }).await;
        for second in 1..=4 {
            let gap = gap(second, second + 1, GapKind::BrokenOff, "");
            assert_eq!(record(store, 0, 10 * second, gap).await, Applied(second), "{}", subject.name);
        }
        let prune = |limit| Op::Prune { before: at(30), dedupe_before: at(0), limit };
        assert_eq!(step(store, 0, 50, prune(1)).await, Applied(1), "a little at a time, the oldest first");
        assert_eq!(listed(store, None).await, [4, 3, 2]);
        assert_eq!(step(store, 0, 50, prune(9)).await, Applied(1), "{}", subject.name);
        assert_eq!((listed(store, None).await, counted(store, 0).await), (vec![4, 3], 4), "{}", subject.name);
        if let Some(sqlite) = subject.sqlite() {
            assert_eq!(sqlite.recount().await.unwrap(), sqlite.counts().await.unwrap());
        }
        step(store, 0, 60, Op::DiscardRows { limit: u32::MAX }).await;
        assert_eq!((listed(store, None).await, counted(store, 0).await), (vec![], 0), "{}", subject.name);
        assert_eq!(store.lives().await.unwrap()[&account(0)], Life::default(), "{}", subject.name);
    }
}
