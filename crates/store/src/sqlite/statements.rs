//! Every statement of the store, by what it is about. Terms in a `WHERE` that repeat the condition of a partial
//! index word for word are there so that SQLite can use that index.

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";
pub(super) const SAVEPOINT: &str = "SAVEPOINT one";
pub(super) const RELEASE: &str = "RELEASE one";
pub(super) const ROLLBACK_TO: &str = "ROLLBACK TO one";

pub(super) const BOOT_BEGIN: &str =
    "INSERT INTO boot (name, version, started_at) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING";
pub(super) const BOOT_END: &str = "UPDATE boot SET ended_at = ?2 WHERE name = ?1 AND ended_at IS NULL";
pub(super) const BOOT_EXISTS: &str = "SELECT 1 FROM boot WHERE name = ?1";
pub(super) const BOOT_LAST_ENDED: &str = "SELECT ended_at IS NOT NULL FROM boot ORDER BY id DESC LIMIT 1";

pub(super) const BOOT_LAST: &str = "SELECT version, started_at, ended_at FROM boot ORDER BY id DESC LIMIT 1";
pub(super) const TURNS_OPEN: &str =
    "SELECT count(*) FROM turn INDEXED BY turn_active WHERE state IN ('running', 'interrupted')";

pub(super) const ACCOUNT: &str = "SELECT id, epoch FROM account WHERE name = ?1";
pub(super) const ACCOUNT_TAKE_OVER: &str = "
    INSERT INTO account (name, epoch, updated_at) VALUES (?1, 1, ?2)
    ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, updated_at = excluded.updated_at
    RETURNING id, epoch";

pub(super) const IDENTITY_SAVE: &str = "
    INSERT INTO identity (account, fingerprint, user_id, name, verified_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (account, fingerprint) DO UPDATE
    SET user_id = excluded.user_id, name = excluded.name, verified_at = excluded.verified_at";
pub(super) const IDENTITY: &str = "
    SELECT user_id, name, verified_at FROM identity
    WHERE account = (SELECT id FROM account WHERE name = ?1) AND fingerprint = ?2";

pub(super) const CURSOR_SET: &str = "
    INSERT INTO cursor (account, kind, value, updated_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account, kind) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
pub(super) const CURSOR_FORGET: &str = "DELETE FROM cursor WHERE account = ?1 AND kind = ?2";
pub(super) const CURSOR: &str = "
    SELECT value FROM cursor WHERE account = (SELECT id FROM account WHERE name = ?1) AND kind = ?2";

pub(super) const ANSWER_REMEMBER: &str = "
    INSERT INTO request (key, request, status, body, answered_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (key) DO NOTHING";
pub(super) const ANSWER: &str = "SELECT request, status, body FROM request WHERE key = ?1";
pub(super) const ANSWERS_FORGET: &str = "
    DELETE FROM request WHERE key IN (
        SELECT key FROM request WHERE answered_at < ?1 ORDER BY answered_at, key LIMIT ?2)";

pub(super) const DEDUPE_FIND: &str = "SELECT inbox FROM dedupe WHERE account = ?1 AND delivery = ?2";
pub(super) const DEDUPE_REMEMBER: &str = "
    INSERT INTO dedupe (account, delivery, inbox, seen_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account, delivery) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)";

pub(super) const INBOX_INSERT: &str = "
    INSERT INTO inbox (account, conversation, event_id, message_id, chat_id, chat_kind, route, text, context,
                       written_at, received_at, raw)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
pub(super) const PENDING_INSERT: &str =
    "INSERT INTO pending (inbox, account, conversation, held) VALUES (?1, ?2, ?3, ?4)";
pub(super) const PENDING_FIND: &str =
    "SELECT conversation, held FROM pending WHERE inbox = ?1 AND account = ?2";
pub(super) const PENDING_RELEASE: &str = "UPDATE pending SET held = NULL WHERE inbox = ?1";
pub(super) const PENDING_DELETE: &str = "DELETE FROM pending WHERE inbox = ?1";
pub(super) const SETTLED_INSERT: &str =
    "INSERT INTO settled (inbox, dropped, settled_at) VALUES (?1, ?2, ?3)";

pub(super) const TURN_ACTIVE: &str = "
    SELECT id FROM turn
    WHERE account = ?1 AND conversation = ?2 AND state IN ('running', 'interrupted')";
pub(super) const TURN_INSERT: &str = "
    INSERT INTO turn (account, conversation, state, attempt, epoch, generation, started_at)
    VALUES (?1, ?2, 'running', 1, ?3, ?4, ?5)";
pub(super) const TURN_INPUT_INSERT: &str = "INSERT INTO turn_input (turn, inbox) VALUES (?1, ?2)";
pub(super) const TURN_INPUTS: &str = "SELECT inbox FROM turn_input WHERE turn = ?1 ORDER BY inbox";
pub(super) const TURN_RESUME: &str = "
    UPDATE turn SET state = 'running', attempt = attempt + 1, epoch = ?4, generation = ?5, resumed_at = ?6
    WHERE id = ?1 AND account = ?2 AND attempt = ?3 AND state = 'interrupted'";
pub(super) const TURN_COUNT: &str = "
    UPDATE turn SET attempt = max(0, attempt + ?5)
    WHERE id = ?1 AND account = ?2 AND epoch = ?3 AND generation = ?4 AND state = 'running'";
pub(super) const TURN_FINISH: &str = "
    UPDATE turn SET state = 'done', ended_at = ?5, result = ?6
    WHERE id = ?1 AND account = ?2 AND epoch = ?3 AND generation = ?4 AND state = 'running'
    RETURNING conversation";
pub(super) const TURN_PARK: &str = "
    UPDATE turn SET state = 'parked', ended_at = ?3
    WHERE id = ?1 AND account = ?2 AND state = 'interrupted'
    RETURNING conversation";
pub(super) const TURNS_INTERRUPT: &str = "
    UPDATE turn SET state = 'interrupted', interrupted_at = ?5
    WHERE account = ?1 AND (?2 IS NULL OR conversation = ?2) AND state IN ('running', 'interrupted')
      AND state = 'running' AND epoch = ?3 AND generation <= ?4";
pub(super) const TURNS_INTERRUPT_OLDER: &str = "
    UPDATE turn SET state = 'interrupted', interrupted_at = ?3
    WHERE account = ?1 AND state IN ('running', 'interrupted') AND state = 'running' AND epoch < ?2";
pub(super) const ENTRY_INSERT: &str = "
    INSERT INTO entry (account, conversation, turn, role, text, added_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const OUTBOX_BY_KEY: &str = "SELECT id, account FROM outbox WHERE idempotency_key = ?1";
pub(super) const OUTBOX_INSERT: &str = "
    INSERT INTO outbox (account, conversation, turn, outbound, idempotency_key, state, not_before, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, 'ready', ?6, ?6)";
pub(super) const OUTBOX_CLAIM: &str = "
    UPDATE outbox
    SET state = 'sending', epoch = ?3, generation = ?4, attempts = attempts + 1,
        first_attempt_at = coalesce(first_attempt_at, ?5), possibly_repeated = possibly_repeated OR ?6,
        doubted = doubted OR state = 'unknown'
    WHERE id = ?1 AND account = ?2 AND state IN ('ready', 'unknown')";
pub(super) const OUTBOX_HELD_BY: &str = "
    SELECT 1 FROM outbox
    WHERE id = ?1 AND account = ?2 AND epoch = ?3 AND generation = ?4 AND state = 'sending'";
pub(super) const OUTBOX_SENT: &str = "
    UPDATE outbox SET state = 'sent', message_id = ?2, sent_at = ?3, settled_at = ?3, delivery_doubted = ?4
    WHERE id = ?1";
pub(super) const OUTBOX_UNKNOWN: &str = "
    UPDATE outbox
    SET state = 'unknown', not_before = ?2, last_error = ?3, repeats = repeats + possibly_repeated
    WHERE id = ?1";
pub(super) const OUTBOX_DEAD: &str =
    "UPDATE outbox SET state = 'dead', last_error = ?2, ended_at = ?3, settled_at = ?3 WHERE id = ?1";
pub(super) const SENDS_INTERRUPT: &str = "
    UPDATE outbox SET state = 'unknown', repeats = repeats + possibly_repeated
    WHERE account = ?1 AND state IN ('ready', 'sending', 'unknown', 'held')
      AND state = 'sending' AND epoch = ?2 AND generation <= ?3";
pub(super) const SENDS_INTERRUPT_OLDER: &str = "
    UPDATE outbox SET state = 'unknown', repeats = repeats + possibly_repeated
    WHERE account = ?1 AND state IN ('ready', 'sending', 'unknown', 'held') AND state = 'sending' AND epoch < ?2";

pub(super) const TALLY_ADD: &str = "
    INSERT INTO tally (account, kind, reason, count) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account, kind, reason) DO UPDATE SET count = count + excluded.count";
pub(super) const TALLY: &str = "
    SELECT account.name, tally.kind, tally.reason, tally.count
    FROM account LEFT JOIN tally ON tally.account = account.id";
pub(super) const SESSION_ADD: &str = "
    INSERT INTO session (account, conversation, latest, active_at, received, answered, dropped, held, pending,
                         entries, oldest)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, iif(?10 > 0, ?4, NULL))
    ON CONFLICT (account, conversation) DO UPDATE
    SET latest = max(latest, excluded.latest), active_at = excluded.active_at,
        received = received + excluded.received, answered = answered + excluded.answered,
        dropped = dropped + excluded.dropped, held = held + excluded.held,
        pending = pending + excluded.pending, entries = entries + excluded.entries,
        oldest = iif(entries > 0, oldest, excluded.oldest)";
pub(super) const SESSION_SHORTEN: &str = "
    UPDATE session
    SET entries = entries - ?3,
        oldest = (SELECT added_at FROM entry WHERE account = ?1 AND conversation = ?2 ORDER BY id LIMIT 1)
    WHERE account = ?1 AND conversation = ?2";

pub(super) const PRUNE_DEDUPE: &str = "
    DELETE FROM dedupe WHERE (account, delivery) IN (
        SELECT account, delivery FROM dedupe WHERE seen_at < ?1 ORDER BY seen_at, account, delivery LIMIT ?2)";
pub(super) const PRUNABLE_MESSAGES: &str = "
    SELECT settled.inbox, inbox.account, settled.dropped
    FROM settled CROSS JOIN inbox ON inbox.id = settled.inbox
    WHERE settled.settled_at < ?1 ORDER BY settled.settled_at, settled.inbox LIMIT ?2";
pub(super) const PRUNE_TURN_INPUT: &str = "DELETE FROM turn_input WHERE inbox = ?1 RETURNING turn";
pub(super) const OUTBOX_FORGET_TURN: &str = "UPDATE outbox SET turn = NULL WHERE turn = ?1";
pub(super) const PRUNE_TURN: &str = "DELETE FROM turn WHERE id = ?1";
pub(super) const PRUNE_SETTLED: &str = "DELETE FROM settled WHERE inbox = ?1";
pub(super) const PRUNE_INBOX: &str = "DELETE FROM inbox WHERE id = ?1";
pub(super) const PRUNE_OUTBOX: &str = "
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox
        WHERE state NOT IN ('ready', 'sending', 'unknown', 'held') AND settled_at < ?1
        ORDER BY settled_at, id LIMIT ?2)
    RETURNING account, state";
pub(super) const IDLE_SESSION: &str = "
    SELECT account, conversation FROM session
    WHERE pending = 0 AND held = 0 AND active_at < ?1 ORDER BY active_at, account, conversation LIMIT 1";
pub(super) const PRUNE_ENTRIES: &str = "
    DELETE FROM entry WHERE id IN (
        SELECT id FROM entry WHERE account = ?1 AND conversation = ?2 ORDER BY id LIMIT ?3)";
pub(super) const PRUNE_SESSION: &str = "DELETE FROM session WHERE account = ?1 AND conversation = ?2";
pub(super) const LONG_SESSION: &str = "
    SELECT account, conversation FROM session
    WHERE entries > 50 AND oldest < ?1 ORDER BY oldest, account, conversation LIMIT 1";
pub(super) const PRUNE_OLD_ENTRIES: &str = "
    DELETE FROM entry WHERE id IN (
        SELECT id FROM entry
        WHERE account = ?1 AND conversation = ?2 AND added_at < ?5
          AND id < (SELECT min(id) FROM (
                        SELECT id FROM entry WHERE account = ?1 AND conversation = ?2 ORDER BY id DESC LIMIT ?4))
        ORDER BY id LIMIT ?3)";
/// The oldest by their numbers, whatever the clock says of them; never the last.
pub(super) const PRUNE_BOOTS: &str = "
    DELETE FROM boot WHERE started_at < ?1 AND id IN (
        SELECT id FROM boot WHERE id < (SELECT max(id) FROM boot) ORDER BY id LIMIT ?2)";
pub(super) const PRUNED_ADD: &str = "
    INSERT INTO pruned (account, kind, reason, count) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (account, kind, reason) DO UPDATE SET count = count + excluded.count";
pub(super) const FREE_PAGES: &str = "PRAGMA freelist_count";
pub(super) const GIVE_PAGES_BACK: &str = "PRAGMA incremental_vacuum(128)";

/// The same columns as [`TALLY`], from the rows themselves and what was pruned of them. Repeated deliveries leave no row
/// of their own.
pub(super) const RECOUNT: &str = "
    SELECT account.name, counted.kind, counted.reason, sum(counted.count)
    FROM account LEFT JOIN (
        SELECT account, 'received' AS kind, '' AS reason, count(*) AS count FROM inbox GROUP BY account
        UNION ALL
        SELECT account, iif(held IS NULL, 'pending', 'held'), coalesce(held, ''), count(*)
        FROM pending GROUP BY account, held
        UNION ALL
        SELECT inbox.account, iif(dropped IS NULL, 'answered', 'dropped'), coalesce(dropped, ''), count(*)
        FROM settled JOIN inbox ON inbox.id = settled.inbox GROUP BY inbox.account, dropped
        UNION ALL
        SELECT account, iif(state IN ('dead', 'discarded'), state, 'outbox') AS kind, '', count(*)
        FROM outbox WHERE state <> 'sent' GROUP BY account, kind
        UNION ALL
        SELECT account, 'outbox_held', '', count(*) FROM outbox WHERE state = 'held' GROUP BY account
        UNION ALL
        SELECT account, kind, reason, count FROM tally WHERE kind = 'duplicates'
        UNION ALL
        SELECT account, 'gaps', '', count(*) FROM gap GROUP BY account
        UNION ALL
        SELECT account, kind, reason, count FROM pruned
    ) AS counted ON counted.account = account.id
    GROUP BY account.id, counted.kind, counted.reason";

/// The columns of an inbox row in the order that `read::inbox_row` expects, with what became of the message.
macro_rules! inbox_columns {
    () => {
        "SELECT inbox.id, account.name, inbox.conversation, inbox.event_id, inbox.message_id, inbox.chat_id,
                inbox.chat_kind, inbox.route, inbox.text, inbox.context, inbox.received_at, pending.held
         FROM pending
         JOIN inbox ON inbox.id = pending.inbox
         JOIN account ON account.id = pending.account "
    };
}

pub(super) const NEXT_PENDING: &str = concat!(
    inbox_columns!(),
    // The oldest of all, and then only if it is not held: nothing overtakes a message that waits to be judged.
    "WHERE pending.inbox = (
         SELECT min(inbox) FROM pending INDEXED BY pending_conversation
         WHERE account = (SELECT id FROM account WHERE name = ?1) AND conversation = ?2)
     AND pending.held IS NULL"
);
pub(super) const HELD: &str = concat!(
    inbox_columns!(),
    "WHERE pending.account = (SELECT id FROM account WHERE name = ?1) AND pending.held IS NOT NULL
     ORDER BY pending.inbox LIMIT ?2"
);
pub(super) const INPUTS: &str = concat!(
    inbox_columns!(),
    "WHERE pending.inbox IN (SELECT inbox FROM turn_input WHERE turn = ?1) ORDER BY pending.inbox"
);

/// A conversation is found by its oldest message that is not held, in their order, so that a page of conversations
/// costs a page. What waits behind a held message is no work; the inputs of an interrupted turn are pending too.
macro_rules! work {
    ($condition:literal) => {
        concat!(
            "SELECT account.name, pending.conversation, pending.inbox
             FROM pending NOT INDEXED CROSS JOIN account ON account.id = pending.account
             WHERE pending.held IS NULL AND pending.inbox > ?1 ",
            $condition,
            " AND NOT EXISTS (
                  SELECT 1 FROM pending AS older INDEXED BY pending_conversation
                  WHERE older.account = pending.account AND older.conversation = pending.conversation
                    AND older.inbox < pending.inbox AND older.held IS NULL)
               AND NOT EXISTS (
                  SELECT 1 FROM turn
                  WHERE turn.account = pending.account AND turn.conversation = pending.conversation
                    AND turn.state IN ('running', 'interrupted') AND turn.state = 'running')
               AND (NOT EXISTS (
                        SELECT 1 FROM pending AS older INDEXED BY pending_conversation
                        WHERE older.account = pending.account AND older.conversation = pending.conversation
                          AND older.inbox < pending.inbox AND older.held IS NOT NULL)
                    OR EXISTS (
                        SELECT 1 FROM turn
                        WHERE turn.account = pending.account AND turn.conversation = pending.conversation
                          AND turn.state IN ('running', 'interrupted')))
             ORDER BY pending.inbox LIMIT ?2"
        )
    };
}

pub(super) const WORK_OF_ALL: &str = work!("");
pub(super) const WORK_OF_ONE: &str = work!("AND pending.account = (SELECT id FROM account WHERE name = ?3)");

/// The columns of a turn in the order that `read::turn_row` expects.
macro_rules! turn_columns {
    () => {
        "SELECT turn.id, account.name, turn.conversation, turn.attempt, turn.epoch, turn.generation, turn.state,
                turn.started_at
         FROM turn JOIN account ON account.id = turn.account
         WHERE turn.account = (SELECT id FROM account WHERE name = ?1)
           AND turn.state IN ('running', 'interrupted') "
    };
}

pub(super) const ACTIVE_TURN: &str = concat!(turn_columns!(), "AND turn.conversation = ?2");
pub(super) const INTERRUPTED_TURNS: &str =
    concat!(turn_columns!(), "AND turn.state = 'interrupted' ORDER BY turn.id");

pub(super) const TRANSCRIPT: &str = "
    SELECT role, text, added_at FROM (
        SELECT id, role, text, added_at FROM entry
        WHERE account = (SELECT id FROM account WHERE name = ?1) AND conversation = ?2
        ORDER BY id DESC LIMIT ?3)
    ORDER BY id";

macro_rules! session_columns {
    () => {
        "SELECT (SELECT name FROM account WHERE id = session.account), session.conversation, session.latest,
                session.active_at, session.received, session.answered, session.dropped, session.held,
                session.pending, session.entries, turn.id, turn.state, turn.attempt, turn.started_at"
    };
}

macro_rules! session_turn {
    () => {
        "LEFT JOIN turn ON turn.account = session.account AND turn.conversation = session.conversation
                       AND turn.state IN ('running', 'interrupted')"
    };
}

/// The columns of an outbox row in the order that `read::outbox_row` expects.
macro_rules! outbox_columns {
    () => {
        "SELECT outbox.id, account.name, outbox.conversation, outbox.turn, outbox.outbound,
                outbox.idempotency_key, outbox.state, outbox.attempts, outbox.first_attempt_at,
                outbox.not_before, outbox.last_error, outbox.message_id, outbox.created_at, outbox.sent_at,
                outbox.possibly_repeated, outbox.doubted, outbox.ended_at, outbox.retried_at, outbox.held_at,
                outbox.released_at, outbox.repeats, outbox.delivery_doubted
         FROM outbox JOIN account ON account.id = outbox.account "
    };
}

pub(super) const OUTBOX_ROW: &str = concat!(outbox_columns!(), "WHERE outbox.id = ?1");
pub(super) const OUTBOX_HEADS: &str = concat!(
    outbox_columns!(),
    "WHERE outbox.id IN (
         SELECT min(id) FROM outbox
         WHERE account = (SELECT id FROM account WHERE name = ?1) AND state IN ('ready', 'sending', 'unknown', 'held')
         GROUP BY conversation)
       AND outbox.state <> 'held'
     ORDER BY outbox.not_before, outbox.id LIMIT ?2"
);

/// The columns of a session in the order that `list::session_row` expects, and where its turn is from.
pub(super) const SESSION_COLUMNS: &str = session_columns!();
pub(super) const SESSION_TURN: &str = session_turn!();
pub(super) const SESSION: &str = concat!(
    session_columns!(),
    " FROM session ",
    session_turn!(),
    " WHERE session.account = (SELECT id FROM account WHERE name = ?1) AND session.conversation = ?2"
);

/// Received messages, settled or not, in the columns that `list::inbox_entry` expects.
macro_rules! inbox_entries {
    () => {
        "SELECT inbox.id, account.name, inbox.conversation, inbox.event_id, inbox.message_id, inbox.chat_id,
                inbox.chat_kind, inbox.route, inbox.text, inbox.context, inbox.received_at, pending.held,
                settled.settled_at, settled.dropped, inbox.written_at, length(inbox.raw)
         FROM inbox
         JOIN account ON account.id = inbox.account
         LEFT JOIN pending ON pending.inbox = inbox.id
         LEFT JOIN settled ON settled.inbox = inbox.id "
    };
}

pub(super) const INBOX_ENTRIES: &str = inbox_entries!();
pub(super) const INBOX_ROW: &str = concat!(inbox_entries!(), "WHERE inbox.id = ?1");
pub(super) const OUTBOX_ENTRIES: &str = outbox_columns!();

mod cron;
mod gap;
mod operator;
mod replies;
pub(super) use cron::*;
pub(super) use gap::*;
pub(super) use operator::*;
pub(super) use replies::*;

/// The statements that run often, for the test that none of them reads a whole table.
#[cfg(test)]
pub(super) const FREQUENT: &[&str] = &[
    ACCOUNT,
    IDENTITY,
    CURSOR_FORGET,
    CURSOR,
    ANSWER,
    ANSWERS_FORGET,
    DEDUPE_FIND,
    PENDING_FIND,
    TURN_ACTIVE,
    TURN_INPUTS,
    TURN_RESUME,
    TURN_COUNT,
    TURN_PARK,
    TURNS_INTERRUPT,
    TURNS_INTERRUPT_OLDER,
    OUTBOX_BY_KEY,
    OUTBOX_CLAIM,
    OUTBOX_HELD_BY,
    SENDS_INTERRUPT,
    SENDS_INTERRUPT_OLDER,
    NEXT_PENDING,
    HELD,
    INPUTS,
    WORK_OF_ALL,
    WORK_OF_ONE,
    ACTIVE_TURN,
    INTERRUPTED_TURNS,
    TRANSCRIPT,
    OUTBOX_ROW,
    OUTBOX_HEADS,
    SESSION,
    INBOX_ROW,
    PRUNE_DEDUPE,
    PRUNABLE_MESSAGES,
    PRUNE_TURN_INPUT,
    OUTBOX_FORGET_TURN,
    PRUNE_TURN,
    PRUNE_SETTLED,
    PRUNE_INBOX,
    PRUNE_OUTBOX,
    IDLE_SESSION,
    PRUNE_ENTRIES,
    PRUNE_SESSION,
    LONG_SESSION,
    PRUNE_OLD_ENTRIES,
    PRUNE_BOOTS,
    SESSION_SHORTEN,
];
