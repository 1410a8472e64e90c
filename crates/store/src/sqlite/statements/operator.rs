//! The statements of what an operator does and of traces.

pub(in crate::sqlite) const REPEATED_ADD: &str = "
    INSERT INTO repeated (inbox, count, last_at) SELECT id, 1, ?2 FROM inbox WHERE id = ?1
    ON CONFLICT (inbox) DO UPDATE SET count = count + 1, last_at = excluded.last_at";
pub(in crate::sqlite) const JUDGED_INSERT: &str =
    "INSERT INTO judged (inbox, held, judged_at) VALUES (?1, ?2, ?3)";

pub(in crate::sqlite) const OUTBOX_STATE: &str = "SELECT state FROM outbox WHERE id = ?1 AND account = ?2";
pub(in crate::sqlite) const OUTBOX_RETRY: &str = "
    UPDATE outbox
    SET state = iif(state IN ('dead', 'held'), iif(doubted, 'unknown', 'ready'), state), not_before = ?2, retried_at = ?2,
        settled_at = NULL, repeats = 0
    WHERE id = ?1";
pub(in crate::sqlite) const OUTBOX_DISCARD: &str =
    "UPDATE outbox SET state = 'discarded', ended_at = ?2, settled_at = ?2 WHERE id = ?1";

pub(in crate::sqlite) const TURNS_PARKED_LAST: &str = "
    SELECT id FROM turn
    WHERE account = ?1 AND conversation = ?2 AND state = 'parked'
      AND id > coalesce((
          SELECT max(id) FROM turn WHERE account = ?1 AND conversation = ?2 AND state <> 'parked'), 0)
    ORDER BY id";
pub(in crate::sqlite) const SETTLED_REOPEN: &str =
    "DELETE FROM settled WHERE inbox = ?1 AND dropped = 'turn_parked'";
pub(in crate::sqlite) const TURN_RESET: &str = "
    UPDATE turn SET state = 'reset', ended_at = ?3
    WHERE account = ?1 AND conversation = ?2 AND state IN ('running', 'interrupted')
    RETURNING id";
/// What was given up before is over too: nothing is left to be resumed.
pub(in crate::sqlite) const TURNS_PARKED_RESET: &str = "
    UPDATE turn SET state = 'reset' WHERE account = ?1 AND conversation = ?2 AND state = 'parked'";
/// A turn that was given up, until its conversation has got over it: by a turn after it, or by a reset.
pub(in crate::sqlite) const TURNS_PARKED: &str = "
    SELECT account.name, turn.conversation, turn.id, coalesce(turn.ended_at, turn.started_at)
    FROM turn INDEXED BY turn_parked CROSS JOIN account ON account.id = turn.account
    WHERE turn.state = 'parked' AND NOT EXISTS (
        SELECT 1 FROM turn AS later
        WHERE later.account = turn.account AND later.conversation = turn.conversation
          AND later.id > turn.id AND later.state <> 'parked')
    ORDER BY turn.id LIMIT ?1";
pub(in crate::sqlite) const MEMO: &str = "SELECT value FROM memo WHERE name = ?1";
pub(in crate::sqlite) const MEMO_SET: &str = "
    INSERT INTO memo (name, value, updated_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
pub(in crate::sqlite) const TRANSCRIPT_RESET: &str = "
    DELETE FROM entry WHERE account = ?1 AND conversation = ?2";
pub(in crate::sqlite) const SESSION_EMPTY: &str = "
    UPDATE session SET entries = 0, oldest = NULL WHERE account = ?1 AND conversation = ?2 RETURNING 1";
pub(in crate::sqlite) const CONVERSATION_KNOWN: &str =
    "SELECT 1 FROM inbox WHERE account = ?1 AND conversation = ?2 LIMIT 1";

// === An account's rows, ?2 of them at a time ===

pub(in crate::sqlite) const DISCARD_DEDUPE: &str = "
    DELETE FROM dedupe WHERE account = ?1
        AND delivery IN (SELECT delivery FROM dedupe WHERE account = ?1 ORDER BY delivery LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_ENTRIES: &str = "
    DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE account = ?1 LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_SESSIONS: &str = "
    DELETE FROM session WHERE account = ?1
        AND conversation IN (SELECT conversation FROM session WHERE account = ?1 ORDER BY conversation LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_CURSORS: &str = "
    DELETE FROM cursor WHERE account = ?1
        AND kind IN (SELECT kind FROM cursor WHERE account = ?1 ORDER BY kind LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_IDENTITIES: &str = "
    DELETE FROM identity WHERE account = ?1
        AND fingerprint IN (SELECT fingerprint FROM identity WHERE account = ?1 ORDER BY fingerprint LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_TALLY: &str = "DELETE FROM tally WHERE account = ?1";
pub(in crate::sqlite) const DISCARD_PRUNED: &str = "DELETE FROM pruned WHERE account = ?1";

/// The first rows of an account in a table with numbers.
macro_rules! first_of {
    ($table:literal) => {
        concat!("(SELECT id FROM ", $table, " WHERE account = ?1 ORDER BY id LIMIT ?2)")
    };
}

pub(in crate::sqlite) const FIRST_OF_OUTBOX: &str =
    concat!("SELECT state, count(*) FROM outbox WHERE id IN ", first_of!("outbox"), " GROUP BY state");
pub(in crate::sqlite) const DISCARD_OUTBOX: &str =
    concat!("DELETE FROM outbox WHERE id IN ", first_of!("outbox"));
pub(in crate::sqlite) const DISCARD_TURN_INPUTS: &str =
    concat!("DELETE FROM turn_input WHERE turn IN ", first_of!("turn"));
pub(in crate::sqlite) const DISCARD_TURNS: &str = concat!("DELETE FROM turn WHERE id IN ", first_of!("turn"));
pub(in crate::sqlite) const FIRST_OF_INBOX: &str = concat!(
    "SELECT settled.inbox IS NOT NULL, settled.dropped, pending.held, count(*)
     FROM inbox
     LEFT JOIN pending ON pending.inbox = inbox.id
     LEFT JOIN settled ON settled.inbox = inbox.id
     WHERE inbox.id IN ",
    first_of!("inbox"),
    " GROUP BY 1, 2, 3"
);
pub(in crate::sqlite) const DISCARD_PENDING: &str =
    concat!("DELETE FROM pending WHERE inbox IN ", first_of!("inbox"));
pub(in crate::sqlite) const DISCARD_SETTLED: &str =
    concat!("DELETE FROM settled WHERE inbox IN ", first_of!("inbox"));
pub(in crate::sqlite) const DISCARD_INBOX: &str =
    concat!("DELETE FROM inbox WHERE id IN ", first_of!("inbox"));

// === Traces ===

pub(in crate::sqlite) const TRACE_RECEIVED: &str = "
    SELECT id FROM inbox WHERE message_id = ?1 UNION SELECT id FROM inbox WHERE event_id = ?1
    ORDER BY id DESC LIMIT ?2";
pub(in crate::sqlite) const TRACE_OURS: &str =
    "SELECT id FROM outbox WHERE message_id = ?1 ORDER BY id DESC LIMIT ?2";
pub(in crate::sqlite) const TRACE_TURNS: &str =
    "SELECT turn FROM turn_input WHERE inbox = ?1 ORDER BY turn DESC LIMIT ?2";
pub(in crate::sqlite) const TRACE_REPLIES: &str =
    "SELECT id FROM outbox WHERE turn = ?1 ORDER BY id DESC LIMIT ?2";
pub(in crate::sqlite) const TRACE_TURN: &str = "
    SELECT turn.id, account.name, turn.conversation, turn.state, turn.attempt, turn.started_at,
           turn.interrupted_at, turn.resumed_at, turn.ended_at
    FROM turn JOIN account ON account.id = turn.account WHERE turn.id = ?1";
pub(in crate::sqlite) const TRACE_BESIDE: &str = "
    SELECT repeated.count, repeated.last_at, judged.held, judged.judged_at
    FROM inbox
    LEFT JOIN repeated ON repeated.inbox = inbox.id
    LEFT JOIN judged ON judged.inbox = inbox.id
    WHERE inbox.id = ?1";

/// All of them, for the test that none reads a whole table.
#[cfg(test)]
pub(in crate::sqlite) const OPERATOR: &[&str] = &[
    REPEATED_ADD,
    OUTBOX_STATE,
    OUTBOX_RETRY,
    OUTBOX_DISCARD,
    TURNS_PARKED_LAST,
    SETTLED_REOPEN,
    TURN_RESET,
    TURNS_PARKED_RESET,
    MEMO,
    MEMO_SET,
    TRANSCRIPT_RESET,
    SESSION_EMPTY,
    CONVERSATION_KNOWN,
    DISCARD_DEDUPE,
    DISCARD_ENTRIES,
    DISCARD_SESSIONS,
    DISCARD_CURSORS,
    DISCARD_IDENTITIES,
    DISCARD_TALLY,
    FIRST_OF_OUTBOX,
    DISCARD_OUTBOX,
    DISCARD_TURN_INPUTS,
    DISCARD_TURNS,
    FIRST_OF_INBOX,
    DISCARD_PENDING,
    DISCARD_SETTLED,
    DISCARD_INBOX,
    TRACE_RECEIVED,
    TRACE_OURS,
    TRACE_TURNS,
    TRACE_REPLIES,
    TRACE_TURN,
    TRACE_BESIDE,
];
