use std::time::Duration;

use tokio::time::Instant;

use super::super::schema::open_in_memory;
use super::*;

const FIRST: Page = Page { before: None, limit: 50 };

fn account(number: u32) -> AccountId {
    format!("feishu:a{number}").parse().unwrap()
}

fn scopes() -> [Scope; 3] {
    [Scope::All, Scope::Account(account(1)), Scope::Conversation(account(1), ConversationId::new("oc_1"))]
}

/// Every statement there is, with a name for messages.
fn statements() -> Vec<String> {
    let mut found = Vec::new();
    for scope in scopes() {
        for state in [None].into_iter().chain(InboxKind::ALL.iter().copied().map(Some)) {
            found.push(inbox_sql(&InboxFilter { scope: scope.clone(), state }));
        }
        use OutboxState::{Dead, Discarded, Ready, Sending, Sent, Unknown};
        for state in [None].into_iter().chain([Ready, Sending, Sent, Unknown, Dead, Discarded].map(Some)) {
            found.push(outbox_sql(&OutboxFilter { scope: scope.clone(), state }));
        }
        found.extend(["inbox", "outbox"].map(|table| floor_sql(table, &scope)));
    }
    for account in [None, Some(account(1))] {
        for state in [None].into_iter().chain(SessionState::ALL.iter().copied().map(Some)) {
            found.push(sessions_sql(&SessionFilter { account: account.clone(), state }));
        }
    }
    found
}

/// A page may read along an index, but not through a table: only the backlog and the dead are read whole.
#[test]
fn no_list_reads_a_whole_table() {
    let conn = open_in_memory().unwrap();
    let small = [
        "SCAN pending",
        "SCAN outbox USING INDEX outbox_unsettled",
        "SCAN outbox USING COVERING INDEX outbox_dead",
        "SCAN outbox USING COVERING INDEX outbox_discarded",
    ];
    for statement in statements() {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let values = vec![rusqlite::types::Null; explain.parameter_count()];
        let plan: Vec<String> = explain
            .query_map(params_from_iter(values), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let scans = plan.iter().filter(|step| step.starts_with("SCAN"));
        assert!(
            scans.clone().all(|step| small.iter().any(|small| step.starts_with(small))),
            "{statement}\n{plan:#?}"
        );
    }
}

/// 200,000 messages of 100 accounts, one of them with a few only; one message in 50,000 was dropped.
fn large() -> Connection {
    let conn = open_in_memory().unwrap();
    conn.execute_batch(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100)
         INSERT INTO account (id, name, epoch, updated_at) SELECT v, 'feishu:a' || v, 1, 0 FROM n;
         WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 200000)
         INSERT INTO inbox (id, account, conversation, event_id, chat_id, chat_kind, route, text, context,
                            received_at, raw)
         SELECT v, iif(v % 40000 = 3, 1, 2 + v % 99), 'oc_' || (v % 1000), 'e', 'c', 'direct',
                '{\"chat\":\"c\",\"reply_to\":null,\"in_thread\":false}', 'hello', '{}', v, zeroblob(400)
         FROM n;
         INSERT INTO settled SELECT id, iif(id % 50000 = 7, 'unsupported', NULL), 1 FROM inbox;
         INSERT INTO turn (id, account, conversation, state, attempt, epoch, generation, started_at)
         VALUES (1, 2, 'oc_0', 'done', 1, 1, 1, 0);
         INSERT INTO outbox (id, account, conversation, turn, outbound, idempotency_key, state, not_before, created_at)
         SELECT id, account, conversation, 1,
                '{\"route\":{\"chat\":\"c\",\"reply_to\":null,\"in_thread\":false},\"text\":\"hello\"}',
                'k' || id, iif(id % 50000 = 9, 'dead', 'sent'), 0, 0
         FROM inbox;
         INSERT INTO session
         SELECT account, conversation, max(id), 0, count(*), count(*), 0, 0, 0, 0, NULL FROM inbox GROUP BY 1, 2;",
    )
    .unwrap();
    conn
}

fn pages<T>(
    mut list: impl FnMut(Page) -> Result<Listed<T>>,
    number: impl Fn(&T) -> i64,
) -> (Vec<i64>, Duration) {
    let (mut found, mut slowest, mut page) = (Vec::new(), Duration::ZERO, FIRST);
    for _ in 0..1_000 {
        let began = Instant::now();
        let listed = list(page).unwrap();
        slowest = slowest.max(began.elapsed());
        assert!(listed.rows.len() <= 50);
        found.extend(listed.rows.iter().map(&number));
        page.before = listed.next;
        // Ten pages of a full list say enough.
        if page.before.is_none() || found.len() >= 500 {
            break;
        }
    }
    assert!(found.is_sorted_by(|a, b| a > b), "{found:?}");
    (found, slowest)
}

#[test]
fn a_page_is_quick_however_few_rows_match_in_however_many() {
    let conn = large();
    let mut slowest = Duration::ZERO;
    let mut of_inbox = |scope: Scope, state| {
        let filter = InboxFilter { scope, state };
        let (found, took) = pages(|page| inbox(&conn, &filter, page), |entry| entry.row.id.get());
        slowest = slowest.max(took);
        found
    };
    assert_eq!(of_inbox(Scope::All, None).len(), 500);
    assert_eq!(of_inbox(Scope::Account(account(1)), None), [160_003, 120_003, 80_003, 40_003, 3]);
    let one = Scope::Conversation(account(1), ConversationId::new("oc_3"));
    assert_eq!(of_inbox(one, None), [160_003, 120_003, 80_003, 40_003, 3]);
    assert_eq!(of_inbox(Scope::All, Some(InboxKind::Dropped)), [150_007, 100_007, 50_007, 7]);
    assert_eq!(of_inbox(Scope::All, Some(InboxKind::Held)).len(), 0);
    assert_eq!(of_inbox(Scope::Account(account(1)), Some(InboxKind::Dropped)).len(), 0);
    let mut of_outbox = |scope: Scope, state| {
        let filter = OutboxFilter { scope, state };
        let (found, took) = pages(|page| outbox(&conn, &filter, page), |row| row.id.get());
        slowest = slowest.max(took);
        found
    };
    assert_eq!(of_outbox(Scope::All, Some(OutboxState::Dead)), [150_009, 100_009, 50_009, 9]);
    assert_eq!(of_outbox(Scope::All, Some(OutboxState::Ready)).len(), 0);
    assert_eq!(of_outbox(Scope::Account(account(1)), Some(OutboxState::Sent)).len(), 5);
    for (account, count) in [(None, 500), (Some(account(1)), 1)] {
        for (state, count) in
            [(None, count), (Some(SessionState::Idle), count), (Some(SessionState::Waiting), 0)]
        {
            let filter = SessionFilter { account: account.clone(), state };
            let (found, took) = pages(|page| sessions(&conn, &filter, page), |row| row.latest.get());
            slowest = slowest.max(took);
            assert_eq!(found.len(), count, "{filter:?}");
        }
    }
    // About 10 ms; a list that went through a table would take longer than this.
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
}

/// A page looks at so many rows and no more, and says where it stopped.
#[test]
fn a_page_that_finds_nothing_goes_on_where_it_stopped() {
    let conn = large();
    let filter = InboxFilter { scope: Scope::All, state: Some(InboxKind::Dropped) };
    let first = inbox(&conn, &filter, FIRST).unwrap();
    assert_eq!((first.rows.len(), first.next), (0, Some(200_001 - i64::from(LOOKED_AT))));
    let end = inbox(&conn, &filter, Page { before: Some(5), ..FIRST }).unwrap();
    assert_eq!((end.rows.len(), end.next), (0, None));
    let one = inbox(&conn, &InboxFilter::default(), Page { before: None, limit: 0 }).unwrap();
    assert_eq!((one.rows.len(), one.next), (1, Some(200_000)), "a page has a row at least");
    let all = inbox(&conn, &InboxFilter::default(), Page { before: None, limit: 9_999 }).unwrap();
    assert_eq!((all.rows.len(), all.next), (500, Some(199_501)), "and at most this many");
}
