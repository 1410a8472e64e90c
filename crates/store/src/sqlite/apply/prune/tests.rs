#![allow(clippy::disallowed_macros, reason = "what a test measures is printed with it")]

use std::time::Duration;

use tokio::time::Instant;

use super::super::super::{SqliteOptions, SqliteStore, schema};
use crate::data_dir::DataDir;
use crate::tx::{Op, Outcome, Tx};
use crate::{Listing, OutboxFilter, Page, Store};
use moorline_core::Timestamp;

/// Messages that were answered, with all that belongs to them: eight rows each, and more than that in the file.
const MESSAGES: i64 = 15_000;

/// What pruned the file, by its wall-clock cost.
struct Batches {
    each: Vec<Duration>,
    pruned: i64,
    longest_log: u64,
}

fn fill(conn: &rusqlite::Connection) {
    conn.execute_batch(&format!(
        "BEGIN;
         INSERT INTO account (id, name, epoch, updated_at) VALUES (1, 'feishu:main', 1, 0);
         CREATE TEMP TABLE n AS
         WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {MESSAGES}) SELECT v FROM n;
         INSERT INTO inbox (id, account, conversation, event_id, chat_id, chat_kind, route, text, context,
                            received_at, raw)
         SELECT v, 1, 'oc_' || (v % 1000), 'e', 'c', 'direct', '{{}}', 'hello', '{{}}', v, zeroblob(600) FROM n;
         INSERT INTO settled SELECT v, NULL, v FROM n;
         INSERT INTO dedupe SELECT 1, 'om_' || hex(randomblob(16)), v, v FROM n;
         INSERT INTO turn (id, account, conversation, state, attempt, epoch, generation, started_at, ended_at)
         SELECT v, 1, 'oc_' || (v % 1000), 'done', 1, 1, 1, v, v FROM n;
         INSERT INTO turn_input SELECT v, v FROM n;
         INSERT INTO entry (account, conversation, turn, role, text, added_at)
         SELECT 1, 'oc_' || (v % 1000), v, 'user', 'hello', v FROM n
         UNION ALL SELECT 1, 'oc_' || (v % 1000), v, 'agent', 'hello to you', v FROM n;
         INSERT INTO outbox (account, conversation, turn, outbound, idempotency_key, state, not_before, created_at,
                             sent_at, settled_at)
         SELECT 1, 'oc_' || (v % 1000), v, '{{}}', hex(randomblob(16)), 'sent', v, v, v, v FROM n;
         INSERT INTO session
         SELECT 1, conversation, max(id), max(id), count(*), count(*), 0, 0, 0, 2 * count(*), min(id)
         FROM inbox GROUP BY conversation;
         INSERT INTO tally VALUES (1, 'received', '', {MESSAGES}), (1, 'answered', '', {MESSAGES});
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .unwrap();
}

async fn prune_all(store: &SqliteStore, log: &std::path::Path) -> Batches {
    let before = Timestamp::from_millis(MESSAGES + 1);
    let mut batches = Batches { each: Vec::new(), pruned: 0, longest_log: 0 };
    loop {
        let began = Instant::now();
        let op = Op::Prune { before, dedupe_before: before, limit: 500 };
        let outcomes = store.commit(Tx::global(before, [op])).await.unwrap();
        batches.each.push(began.elapsed());
        batches.longest_log = batches.longest_log.max(std::fs::metadata(log).unwrap().len());
        let [Outcome::Applied(pruned)] = outcomes[..] else { panic!("{outcomes:?}") };
        batches.pruned += pruned;
        if pruned < 500 {
            return batches;
        }
        // The runtime leaves most of the time to others.
        tokio::time::sleep(began.elapsed() * 4).await;
    }
}

/// F-100: a message that arrives meanwhile waits for one batch at most; the log stays within its bound and the file gets
/// smaller.
#[tokio::test]
async fn a_batch_is_short_and_the_file_shrinks_g12_f100() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path().join("data")).unwrap();
    let file = dir.database();
    fill(&schema::open_writer(&file).unwrap());
    let size = || std::fs::metadata(&file).unwrap().len();
    let full = size();
    let store = SqliteStore::open(&dir, SqliteOptions::default()).unwrap();

    let mut batches = prune_all(&store, &schema::log_of(&file)).await;
    assert_eq!(store.counts().await.unwrap(), store.recount().await.unwrap());
    let page = Page { before: None, limit: 5 };
    assert!(store.outbox(&OutboxFilter::default(), page).await.unwrap().rows.is_empty());
    store.close();
    batches.each.sort();
    let [median, worst] = [batches.each[batches.each.len() / 2], batches.each[batches.each.len() - 1]];
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{} things in {} batches: median {median:?}, worst {worst:?}; log {:.0} MiB; file {:.0} MiB, then {:.0} MiB",
        batches.pruned,
        batches.each.len(),
        mib(batches.longest_log),
        mib(full),
        mib(size())
    );
    // A key, a message with its turn, a reply, two entries; and the conversations.
    assert_eq!(batches.pruned, 5 * MESSAGES + 1_000);
    // Far more than it takes, for machines that are busy with other things.
    assert!(median < Duration::from_millis(100), "{median:?}");
    assert!(batches.longest_log < 80 << 20, "the log: {} bytes", batches.longest_log);
    assert!(size() < full / 3, "{} bytes of {full} are left", size());
}

/// F-096: what was forgotten is nowhere in the files either, not in a page that nobody uses just now.
#[tokio::test]
async fn nothing_that_was_forgotten_is_left_in_the_files_f096() {
    const CANARY: &str = "nobody-reads-this-again";
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path().join("data")).unwrap();
    let file = dir.database();
    let conn = schema::open_writer(&file).unwrap();
    fill(&conn);
    // Short ones, and ones that need pages of their own.
    conn.execute_batch(&format!(
        "UPDATE inbox SET text = '{CANARY}', raw = CAST(replace(hex(zeroblob(id % 5000 / 2)), '0', '{CANARY}') AS BLOB)
         WHERE id % 100 = 0;
         UPDATE entry SET text = '{CANARY}' WHERE id % 100 = 0;
         UPDATE outbox SET outbound = '\"{CANARY}\"' WHERE id % 100 = 0;"
    ))
    .unwrap();
    drop(conn);
    let found = |file: &std::path::Path| {
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count()
    };
    let log = schema::log_of(&file);
    let before = found(&file) + found(&log);
    assert!(before > 10_000, "{before} are not enough to miss one");
    let store = SqliteStore::open(&dir, SqliteOptions::default()).unwrap();
    prune_all(&store, &log).await;
    store.close();
    assert_eq!((found(&file), found(&log)), (0, 0), "of {before}");
}
