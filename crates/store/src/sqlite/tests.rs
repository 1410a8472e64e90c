use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use moorline_core::{
    BootId, Chat, ChatId, ChatKind, DedupeKey, DropReason, Epoch, EventId, Generation, InboxId, Route,
    Timestamp,
};
use rusqlite::ErrorCode;

use super::*;
use crate::tx::{Claim, Lease, NewMessage, Op, Verdict};

const AT: Timestamp = Timestamp::from_millis(1_000);

fn account() -> AccountId {
    "feishu:main".parse().unwrap()
}

fn lease() -> Lease {
    Lease { account: account(), epoch: Epoch::new(1) }
}

fn message(number: usize) -> NewMessage {
    NewMessage {
        event_id: EventId::new(format!("e{number}")),
        dedupe: vec![DedupeKey::new(format!("m{number}"))],
        conversation: ConversationId::new("c"),
        chat: Chat { id: ChatId::new("c"), kind: ChatKind::Direct },
        message_id: None,
        route: Route { chat: ChatId::new("c"), reply_to: None, in_thread: false },
        text: "hello".to_owned(),
        context: "{}".to_owned(),
        written_at: None,
        reply_token: None,
        raw: Bytes::from_static(b"\0raw"),
        verdict: Verdict::Allow,
    }
}

fn receive(number: usize) -> Tx {
    Tx::under(&lease(), AT, [Op::Receive { message: message(number) }])
}

/// Names no row, so that its transaction is undone.
fn conflict() -> Tx {
    Tx::under(
        &lease(),
        AT,
        [
            Op::Receive { message: message(999) },
            Op::Judge { inbox: InboxId::new(999), verdict: Verdict::Drop(DropReason::Discarded) },
        ],
    )
}

fn take_over() -> Tx {
    Tx::global(AT, [Op::TakeOver { account: account() }])
}

async fn opened() -> (tempfile::TempDir, SqliteStore) {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path().join("data")).unwrap();
    let store = SqliteStore::open(&dir, SqliteOptions::default()).unwrap();
    assert_eq!(store.commit(take_over()).await, Ok(vec![Outcome::Applied(1)]));
    (parent, store)
}

async fn received(store: &SqliteStore) -> u64 {
    store.counts().await.unwrap()[&account()].received
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let (_dir, store) = opened().await;
    let before = store.statistics();
    let answers = join_all((0..400).map(|number| store.commit(receive(number)))).await;
    for answer in answers {
        assert!(matches!(answer.as_deref(), Ok([Outcome::Applied(_)])), "{answer:?}");
    }
    let after = store.statistics();
    assert_eq!(after.transactions - before.transactions, 400);
    let commits = after.commits - before.commits;
    assert!((1..=100).contains(&commits), "400 transactions in {commits} commits");
    assert_eq!(received(&store).await, 400);
}

#[test]
fn one_failure_in_a_group_leaves_its_neighbours_alone() {
    let conn = schema::open_in_memory().unwrap();
    let mut committer = Committer::new(conn, Arc::new(Status::new()));
    committer.commit([take_over()].iter());
    let fenced = Lease { epoch: Epoch::new(7), ..lease() };
    let wrong_claim = Claim { epoch: Epoch::new(2), generation: Generation::FIRST };
    let start = |claim| {
        let (conversation, inputs) = (ConversationId::new("c"), vec![InboxId::new(1)]);
        Op::StartTurn { conversation, inputs, claim }
    };
    let group = [
        receive(1),
        conflict(),
        Tx::under(&fenced, AT, [Op::SetCursor { kind: "k".to_owned(), value: "v".to_owned() }]),
        Tx::under(
            &lease(),
            AT,
            [Op::SetCursor { kind: "k".to_owned(), value: "w".to_owned() }, start(wrong_claim)],
        ),
        Tx::global(AT, [Op::Receive { message: message(5) }]),
        Tx::under(&lease(), AT, [Op::Receive { message: NewMessage { dedupe: vec![], ..message(6) } }]),
        receive(2),
        receive(1),
        Tx::global(AT, []),
    ];
    let answers = committer.commit(group.iter());
    assert_eq!(answers[0], Ok(vec![Outcome::Applied(1)]));
    assert_eq!(
        answers[1],
        Ok(vec![Outcome::Conflict; 2]),
        "nothing of it happened, and no outcome says otherwise"
    );
    assert_eq!(answers[2], Ok(vec![Outcome::Fenced]));
    assert_eq!(answers[3], Ok(vec![Outcome::Fenced; 2]));
    assert!(matches!(answers[4], Err(StoreError::Refused(_))), "a lease is missing: {:?}", answers[4]);
    assert!(matches!(answers[5], Err(StoreError::Refused(_))), "no key: {:?}", answers[5]);
    // The number a rolled back message had is given out again.
    assert_eq!(answers[6], Ok(vec![Outcome::Applied(2)]));
    assert_eq!(answers[7], Ok(vec![Outcome::Duplicate(1)]));
    assert_eq!(answers[8], Ok(vec![]));
    let conn = committer.connection();
    assert_eq!(read::cursor(conn, &account(), "k").unwrap(), None);
    assert_eq!(read::counts(conn).unwrap(), read::recount(conn).unwrap());
    assert_eq!(read::counts(conn).unwrap()[&account()].received, 2);
}

/// F-074, design §3 rule 7: back-pressure, and well again by itself.
#[tokio::test]
async fn a_full_disk_is_back_pressure() {
    let (_dir, store) = opened().await;
    let health = store.health();
    store.inject(Fault::Full(true));
    for _ in 0..3 {
        assert_eq!(store.commit(receive(1)).await, Err(StoreError::Full));
    }
    assert_eq!(*health.borrow(), Health::Full);
    assert_eq!(received(&store).await, 0, "reads go on, and see nothing that was refused");
    store.inject(Fault::Full(false));
    // F-033: the claim on the key did not outlive the refusal.
    assert_eq!(store.commit(receive(1)).await, Ok(vec![Outcome::Applied(1)]));
    assert_eq!(*health.borrow(), Health::Ok);
}

/// The same with SQLite itself running out of room, in the middle of a group.
#[tokio::test]
async fn sqlite_without_room_is_full_and_recovers() {
    let conn = schema::open_in_memory().unwrap();
    let status = Arc::new(Status::new());
    let mut committer = Committer::new(conn, Arc::clone(&status));
    committer.commit([take_over()].iter());
    let pages: i64 = committer.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    committer.connection().query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    let big = NewMessage { raw: Bytes::from(vec![7; 1 << 20]), ..message(2) };
    let group = [receive(1), Tx::under(&lease(), AT, [Op::Receive { message: big }])];
    assert_eq!(committer.commit(group.iter()), vec![Err(StoreError::Full); 2]);
    assert_eq!(*status.subscribe().borrow(), Health::Full);
    committer.connection().query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).unwrap();
    assert_eq!(
        committer.commit(group.iter()),
        [Ok(vec![Outcome::Applied(1)]), Ok(vec![Outcome::Applied(2)])]
    );
    assert_eq!(*status.subscribe().borrow(), Health::Ok);
}

/// G11, storage.md §1.5: after a failed sync nothing is acknowledged, whatever SQLite would still accept.
#[tokio::test]
async fn a_failed_sync_or_a_dead_writer_is_the_end() {
    for fault in [Fault::FailSync, Fault::PanicWriter] {
        let (parent, store) = opened().await;
        assert!(store.commit(receive(1)).await.is_ok());
        let mut health = store.health();
        store.inject(fault);
        let mut acknowledged = 0;
        let commits = (2..50).map(|number| store.commit(receive(number)).map(move |answer| (number, answer)));
        for (number, answer) in join_all(commits).await {
            // What the writer took before it saw the panic drill is stored and may say so.
            match answer {
                Ok(_) => acknowledged += 1,
                Err(error) => assert!(matches!(error, StoreError::Failed(_)), "{fault:?} {number}: {error}"),
            }
        }
        if fault == Fault::FailSync {
            assert_eq!(acknowledged, 0);
        }
        health.wait_for(|health| matches!(health, Health::Failed(_))).await.unwrap();
        for number in 50..60 {
            assert!(matches!(store.commit(receive(number)).await, Err(StoreError::Failed(_))));
        }
        let stored = received(&store).await;
        assert!(stored > acknowledged, "reads still work");
        drop(store);
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        let next = SqliteStore::open(&dir, SqliteOptions::default()).unwrap();
        assert_eq!(received(&next).await, stored, "what was acknowledged is there for the next process");
        assert_eq!(*next.health().borrow(), Health::Ok);
    }
}

#[test]
fn what_an_error_of_sqlite_means() {
    use rusqlite::ffi;
    let table = [
        (ffi::SQLITE_FULL, Health::Full),
        (ffi::SQLITE_IOERR_SHMSIZE, Health::Full),
        (ffi::SQLITE_IOERR_FSYNC, Health::Failed(String::new())),
        (ffi::SQLITE_IOERR_WRITE, Health::Failed(String::new())),
        (ffi::SQLITE_CORRUPT, Health::Failed(String::new())),
        (ffi::SQLITE_NOTADB, Health::Failed(String::new())),
        (ffi::SQLITE_READONLY, Health::Failed(String::new())),
        (ffi::SQLITE_CONSTRAINT_UNIQUE, Health::Ok),
        (ffi::SQLITE_TOOBIG, Health::Ok),
        (ffi::SQLITE_BUSY, Health::Ok),
    ];
    for (code, expected) in table {
        let status = Status::new();
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let answer = status.judge("a test", &error);
        let health = status.subscribe().borrow().clone();
        assert_eq!(std::mem::discriminant(&health), std::mem::discriminant(&expected), "{code}");
        let matching = match health {
            Health::Ok => matches!(answer, StoreError::Refused(_)),
            Health::Full => answer == StoreError::Full,
            Health::Failed(_) => matches!(answer, StoreError::Failed(_)),
        };
        assert!(matching, "{code}: {answer}");
    }
    assert_eq!(ffi::Error::new(ffi::SQLITE_IOERR_SHMSIZE).code, ErrorCode::SystemIoFailure);
}

/// A row nobody can read is one refused request, not the end of the store.
#[tokio::test]
async fn a_strange_row_refuses_one_request() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("moorline.db");
    let store = SqliteStore::inline(Some(&path)).unwrap();
    store.commit(take_over()).await.unwrap();
    store.commit(receive(1)).await.unwrap();
    Connection::open(&path)
        .and_then(|conn| conn.execute_batch("UPDATE inbox SET route = 'no json', chat_kind = '?'"))
        .unwrap();
    let work = store.next_work(&account(), &ConversationId::new("c")).await;
    assert!(matches!(work, Err(StoreError::Refused(_))), "{work:?}");
    assert_eq!(store.commit(receive(2)).await, Ok(vec![Outcome::Applied(2)]));
    assert_eq!(*store.health().borrow(), Health::Ok);
}

#[tokio::test]
async fn the_inline_store_fails_as_the_other_does() {
    for fault in [Fault::FailSync, Fault::PanicWriter] {
        let store = SqliteStore::inline(None).unwrap();
        store.commit(take_over()).await.unwrap();
        store.inject(fault);
        for _ in 0..2 {
            assert!(matches!(store.commit(receive(1)).await, Err(StoreError::Failed(_))));
        }
        assert!(matches!(&*store.health().borrow(), Health::Failed(_)));
        assert_eq!(received(&store).await, 0);
    }
}

/// Under paused time nothing may wait on another thread: the future is ready at once.
#[tokio::test(start_paused = true)]
async fn the_inline_store_needs_no_thread() {
    let store = SqliteStore::inline(None).unwrap();
    assert_eq!(store.commit(take_over()).now_or_never(), Some(Ok(vec![Outcome::Applied(1)])));
    assert!(store.counts().now_or_never().is_some());
}

#[tokio::test]
async fn closing_carries_out_what_waits_and_leaves_no_log() {
    let (parent, store) = opened().await;
    let boot = || BootId::new("b1");
    store.commit(Tx::global(AT, [Op::BeginBoot { boot: boot(), version: "0".to_owned() }])).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..20 {
        let mut commit = store.commit(receive(number));
        // Polled once: it is in the queue.
        assert!(futures_util::poll!(&mut commit).is_pending());
        waiting.push(commit);
    }
    let late = store.commit(receive(99));
    store.close();
    for answer in join_all(waiting).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert!(matches!(late.await, Err(StoreError::Failed(_))));
    assert!(matches!(store.counts().await, Err(StoreError::Failed(_))));
    let log = parent.path().join("data/moorline.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |file| file.len()), 0);
    let dir = DataDir::open(parent.path().join("data")).expect("the lock is free once the store is closed");
    let again = SqliteStore::open(&dir, SqliteOptions::default()).unwrap();
    assert_eq!(received(&again).await, 20);
}

#[tokio::test]
async fn the_log_is_carried_over_beside_the_commits() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path().join("data")).unwrap();
    let options = SqliteOptions { checkpoint_every: 64 << 10, ..SqliteOptions::default() };
    let store = SqliteStore::open(&dir, options).unwrap();
    store.commit(take_over()).await.unwrap();
    for number in 0..200 {
        store.commit(receive(number)).await.unwrap();
    }
    // Once everything is carried over, the next commit starts the log again from its beginning.
    let log = schema::log_of(&dir.database());
    let length = || std::fs::metadata(&log).unwrap().len();
    let deadline = Instant::now() + Duration::from_secs(10);
    for number in 200.. {
        let before = length();
        store.commit(receive(number)).await.unwrap();
        if length() == before {
            break;
        }
        assert!(Instant::now() < deadline, "the log only grows: {before} bytes");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(store.statistics().checkpoints > 0);
}

#[tokio::test]
async fn an_idle_writer_beats() {
    let (_dir, store) = opened().await;
    let first = store.last_beat();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.last_beat() == first && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.last_beat() > first);
}

#[test]
fn the_store_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<SqliteStore>();
    shared::<crate::ModelStore>();
}
