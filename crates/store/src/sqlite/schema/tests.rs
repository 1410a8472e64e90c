use std::os::unix::fs::PermissionsExt;

use super::super::statements::{CRON, FREQUENT, OPERATOR, REPLIES};
use super::*;

#[test]
fn the_settings_are_those_that_make_a_commit_durable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("moorline.db");
    let conn = open_writer(&file).unwrap();
    let pragma = |name: &str| -> String {
        conn.query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0).map(|value| format!("{value:?}"))
        })
        .unwrap()
    };
    let table = [
        ("journal_mode", "Text(\"wal\")"),
        ("synchronous", "Integer(2)"),
        ("wal_autocheckpoint", "Integer(0)"),
        ("foreign_keys", "Integer(1)"),
        ("auto_vacuum", "Integer(2)"),
        ("journal_size_limit", "Integer(67108864)"),
        ("secure_delete", "Integer(1)"),
        ("user_version", &format!("Integer({})", MIGRATIONS.len())),
    ];
    for (name, value) in table {
        assert_eq!(pragma(name), value, "{name}");
    }
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("moorline.db"), mode("moorline.db-wal")], [0o600; 2]);
}

/// Each step in one transaction, a copy first, and never backwards.
#[test]
fn migrations_go_forward_one_transaction_each() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("moorline.db");
    let conn = open_writer(&file).unwrap();
    let copy = dir.path().join(format!("moorline.db.v{}.bak", MIGRATIONS.len()));
    let and = |step| MIGRATIONS.iter().copied().chain([step]).collect::<Vec<_>>();
    assert!(!copy.exists(), "an empty file needs no copy");

    conn.execute_batch("INSERT INTO account (name, epoch, updated_at) VALUES ('feishu:main', 1, 0)").unwrap();
    let broken = and("CREATE TABLE second (x INTEGER) STRICT; SELECT no_such_column");
    assert!(matches!(migrate(&conn, &file, &broken), Err(OpenError::Database { .. })));
    let tables = |conn: &Connection| -> i64 {
        conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'second'", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(tables(&conn), 0, "half a step");

    migrate(&conn, &file, &and("CREATE TABLE second (x INTEGER) STRICT")).unwrap();
    assert_eq!(tables(&conn), 1);
    let kept = Connection::open(&copy).unwrap();
    let accounts: i64 = kept.query_row("SELECT count(*) FROM account", [], |row| row.get(0)).unwrap();
    assert_eq!((accounts, tables(&kept)), (1, 0));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);

    drop(conn);
    let Err(OpenError::TooNew { found, known, .. }) = open_writer(&file) else { panic!("opened") };
    assert_eq!((found, known), (MIGRATIONS.len() as u32 + 1, MIGRATIONS.len() as u32));
}

/// A database of the first version gets the sums of its sessions.
#[test]
fn the_second_version_sums_up_what_is_there() {
    let conn = Connection::open_in_memory().unwrap();
    migrate(&conn, Path::new(":memory:"), &MIGRATIONS[..1]).unwrap();
    conn.execute_batch(
        "INSERT INTO account (id, name, epoch, updated_at) VALUES (1, 'feishu:main', 1, 0);
         INSERT INTO inbox SELECT value, 1, 'oc_1', 'e', NULL, 'c', 'direct', '', '', '', NULL, value, zeroblob(9)
         FROM (VALUES (0)) JOIN (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5);
         INSERT INTO settled VALUES (1, NULL, 90), (2, 'unsupported', 2);
         INSERT INTO pending VALUES (3, 1, 'oc_1', 'identity'), (4, 1, 'oc_1', NULL), (5, 1, 'oc_1', NULL);
         INSERT INTO turn VALUES (1, 1, 'oc_1', 'done', 1, 1, 1, 0, 90);
         INSERT INTO entry VALUES (1, 1, 'oc_1', 1, 'user', '', 90), (2, 1, 'oc_1', 1, 'agent', '', 90);
         PRAGMA user_version = 1",
    )
    .unwrap();
    conn.execute_batch(MIGRATIONS[1]).unwrap();
    let sums: Vec<i64> = conn
        .query_row("SELECT * FROM session", [], |row| (2..10).map(|column| row.get(column)).collect())
        .unwrap();
    // latest, active_at, received, answered, dropped, held, pending, entries
    assert_eq!(sums, [5, 90, 5, 1, 1, 1, 2, 2]);
}

/// Of a dead letter that had several attempts nobody knows any more whether one of them may have succeeded (F-056).
#[test]
fn the_third_version_doubts_old_dead_letters_with_several_attempts() {
    let conn = Connection::open_in_memory().unwrap();
    migrate(&conn, Path::new(":memory:"), &MIGRATIONS[..2]).unwrap();
    conn.execute_batch(
        "INSERT INTO account (id, name, epoch, updated_at) VALUES (1, 'feishu:main', 1, 0);
         INSERT INTO outbox (account, conversation, outbound, idempotency_key, state, attempts, not_before, created_at)
         VALUES (1, 'c', '', 'a', 'dead', 1, 0, 0), (1, 'c', '', 'b', 'dead', 2, 0, 0), (1, 'c', '', 'd', 'sent', 2, 0, 0)",
    )
    .unwrap();
    conn.execute_batch(MIGRATIONS[2]).unwrap();
    let doubted: Vec<bool> = conn
        .prepare("SELECT doubted FROM outbox ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(doubted, [false, true, false]);
}

/// A database of an earlier version keeps its transcripts; what was given up in it has its time from now on.
#[test]
fn the_fourth_version_knows_since_when_everything_is_over() {
    let conn = Connection::open_in_memory().unwrap();
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    migrate(&conn, Path::new(":memory:"), &MIGRATIONS[..1]).unwrap();
    conn.execute_batch(
        "INSERT INTO account (id, name, epoch, updated_at) VALUES (1, 'feishu:main', 1, 0);
         INSERT INTO inbox VALUES (1, 1, 'oc_1', 'e', NULL, 'c', 'direct', '', '', '', NULL, 1, zeroblob(9));
         INSERT INTO settled VALUES (1, NULL, 90);
         INSERT INTO turn VALUES (1, 1, 'oc_1', 'done', 1, 1, 1, 0, 90);
         INSERT INTO turn_input VALUES (1, 1);
         INSERT INTO entry VALUES (7, 1, 'oc_1', 1, 'user', 'a', 80), (8, 1, 'oc_1', 1, 'agent', 'b', 90);
         INSERT INTO outbox (account, conversation, turn, outbound, idempotency_key, state, not_before, created_at, sent_at)
         VALUES (1, 'oc_1', 1, '', 'a', 'sent', 0, 0, 95), (1, 'oc_1', 1, '', 'b', 'dead', 0, 0, NULL),
                (1, 'oc_1', 1, '', 'c', 'ready', 0, 0, NULL);",
    )
    .unwrap();
    for step in &MIGRATIONS[1..4] {
        conn.execute_batch(step).unwrap();
    }
    let numbers = |sql: &str| -> Vec<Option<i64>> {
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(numbers("SELECT id FROM entry"), [Some(7), Some(8)]);
    assert_eq!(numbers("SELECT oldest FROM session"), [Some(80)]);
    let settled = numbers("SELECT settled_at FROM outbox ORDER BY id");
    assert_eq!((settled[0], settled[2]), (Some(95), None));
    assert!(settled[1] > Some(1_700_000_000_000), "{settled:?}");
    conn.execute_batch("INSERT INTO entry VALUES (NULL, 1, 'oc_1', 99, 'user', 'c', 99)").unwrap();
    assert_eq!(
        numbers("SELECT max(id) FROM entry"),
        [Some(9)],
        "a number is given out again, or a turn is missed"
    );
}

/// F-074: damage is reported, not served; and only an unclean stop costs the check.
#[test]
fn damage_is_found_after_an_unclean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("moorline.db");
    let conn = open_writer(&file).unwrap();
    conn.execute_batch(
        "INSERT INTO boot (name, version, started_at) VALUES ('b1', '0', 0);
         INSERT INTO account (name, epoch, updated_at) VALUES ('feishu:main', 1, 0);
         INSERT INTO dedupe SELECT 1, printf('%0200d', value), value, 0
         FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 500)
               SELECT value FROM n);
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(conn);
    let whole = fs::read(&file).unwrap();
    open_writer(&file).unwrap();

    let mut torn = whole.clone();
    let last = torn.len() - 4096;
    torn[last..].fill(0xa5);
    fs::write(&file, &torn).unwrap();
    assert!(matches!(open_writer(&file), Err(OpenError::Damaged { .. })));

    fs::write(&file, &whole).unwrap();
    let conn = open_writer(&file).unwrap();
    conn.execute_batch("UPDATE boot SET ended_at = 1; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    let mut torn = fs::read(&file).unwrap();
    let last = torn.len() - 4096;
    torn[last..].fill(0xa5);
    fs::write(&file, &torn).unwrap();
    open_writer(&file).unwrap();
}

/// What runs for every message may not get slower with every message.
#[test]
fn no_frequent_statement_reads_a_whole_table() {
    let conn = open_in_memory().unwrap();
    for statement in FREQUENT.iter().chain(OPERATOR).chain(CRON).chain(REPLIES) {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let values = vec![rusqlite::types::Null; explain.parameter_count()];
        let plan: Vec<String> = explain
            .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let scans: Vec<&String> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
        // The transcript's outer query scans the inner one's few rows.
        assert!(scans.iter().all(|step| step.contains("(subquery")), "{statement}\n{plan:#?}");
    }
}
