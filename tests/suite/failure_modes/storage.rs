//! What a power cut or a bad disk leaves of the data directory.

use std::fs;
use std::path::Path;

use moorline_core::{
    AccountId, BootId, Chat, ChatId, ChatKind, ConversationId, DedupeKey, Epoch, EventId, Route, Timestamp,
};
use moorline_store::{
    DataDir, InboxFilter, LONGEST_PAGE, Lease, Listing, NewMessage, Op, OpenError, Page, SqliteOptions,
    SqliteStore, Store, StoreError, Tx, Verdict,
};
use tempfile::TempDir;

const MESSAGES: usize = 60;

fn account() -> AccountId {
    "feishu:a0".parse().unwrap()
}

fn message(n: usize) -> NewMessage {
    let chat = ChatId::new(format!("oc_{}", n % 5));
    NewMessage {
        event_id: EventId::new(format!("event-{n}")),
        dedupe: vec![DedupeKey::new(format!("event-{n}"))],
        conversation: ConversationId::new(chat.as_str()),
        chat: Chat { id: chat.clone(), kind: ChatKind::Direct },
        message_id: None,
        route: Route { chat, reply_to: None, in_thread: false },
        text: format!("message {n} {}", "and so on ".repeat(n % 30)),
        context: "{}".to_owned(),
        written_at: None,
        reply_token: None,
        raw: b"raw".to_vec().into(),
        verdict: Verdict::Allow,
    }
}

/// The files of a process that was killed after its last commit, in a directory of their own.
async fn remains() -> TempDir {
    let (living, remains) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = DataDir::open(living.path()).unwrap();
    let options = SqliteOptions { checkpoint_every: u64::MAX, ..SqliteOptions::default() };
    let store = SqliteStore::open(&dir, options).unwrap();
    let at = Timestamp::from_millis(1_795_176_000_000);
    let begin = Op::BeginBoot { boot: BootId::new("boot"), version: "test".to_owned() };
    store.commit(Tx::global(at, [begin, Op::TakeOver { account: account() }])).await.unwrap();
    let lease = Lease { account: account(), epoch: Epoch::new(1) };
    for n in 0..MESSAGES {
        store.commit(Tx::under(&lease, at, [Op::Receive { message: message(n) }])).await.unwrap();
    }
    copy(living.path(), remains.path());
    remains
}

fn copy(from: &Path, to: &Path) {
    for file in ["moorline.db", "moorline.db-wal"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// The texts in the store of this directory, in the order of receipt; and how many there are by another count.
async fn texts(directory: &Path) -> Result<Result<(Vec<String>, u64), StoreError>, OpenError> {
    let dir = DataDir::open(directory)?;
    let store = SqliteStore::open(&dir, SqliteOptions::default())?;
    let read = async {
        let page = Page { before: None, limit: LONGEST_PAGE };
        let rows = store.inbox(&InboxFilter::default(), page).await?.rows;
        let counted = store.recount().await?.values().map(|counts| counts.received).sum::<u64>();
        store.conversations_with_work(None, moorline_core::InboxId::default(), 512).await?;
        store.interrupted_turns(&account()).await?;
        store.outbox_heads(&account(), 10).await?;
        let texts = rows.into_iter().rev().map(|entry| entry.row.text);
        Ok((texts.map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect(), counted))
    };
    Ok(read.await)
}

fn on_threads<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn a_log_that_is_torn_anywhere_loses_its_tail_and_nothing_else_f074() {
    on_threads(async {
        let remains = remains().await;
        let log = fs::read(remains.path().join("moorline.db-wal")).unwrap();
        let all: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
        let mut dice = fastrand::Rng::with_seed(74);
        let mut lengths: Vec<usize> = (0..60).map(|_| dice.usize(0..log.len())).collect();
        lengths.extend([log.len(), log.len() - 1, log.len().saturating_sub(4_096)]);
        lengths.sort_unstable();
        let mut most = 0;
        for length in lengths {
            let torn = tempfile::tempdir().unwrap();
            copy(remains.path(), torn.path());
            fs::write(torn.path().join("moorline.db-wal"), &log[..length]).unwrap();
            let (left, counted) = texts(torn.path()).await.unwrap().unwrap();
            assert_eq!(counted, left.len() as u64);
            assert_eq!(left, all[..left.len()], "{length} of {} bytes", log.len());
            assert!(left.len() >= most, "more of the log, and less of the messages");
            most = left.len();
        }
        assert_eq!(most, MESSAGES, "an untorn log is whole");
    });
}

#[test]
fn a_database_with_a_flipped_bit_is_opened_or_named_and_never_a_panic_f074() {
    on_threads(async {
        let remains = remains().await;
        // Once opened and closed, everything is in the database itself.
        texts(remains.path()).await.unwrap().unwrap();
        let mut dice = fastrand::Rng::with_seed(75);
        let (mut whole, mut named) = (0, 0);
        for _ in 0..60 {
            let damaged = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(remains.path()).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), damaged.path().join(entry.file_name())).unwrap();
            }
            let file = damaged.path().join("moorline.db");
            let mut bytes = fs::read(&file).unwrap();
            let at = dice.usize(0..bytes.len());
            bytes[at] ^= 1 << dice.u32(0..8);
            fs::write(&file, bytes).unwrap();
            match texts(damaged.path()).await {
                // The two counts may differ then: a bit of an index hides a row, and no check of the whole file is made.
                Ok(Ok(_)) => whole += 1,
                // One read of what is damaged is refused; or all of them, at the start, with the file's name.
                Ok(Err(error)) => drop(error.to_string()),
                Err(error) => {
                    assert!(error.to_string().contains("moorline.db"), "{error}");
                    named += 1;
                }
            }
        }
        println!("of 60 flipped bits {whole} went unnoticed, {named} were named at the start");
        assert!(whole > 0 && named > 0, "{whole} {named}");
    });
}
