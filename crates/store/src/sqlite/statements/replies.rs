//! The statements of reply tokens, and of what is held until its user writes.

pub(in crate::sqlite) const REPLY_TOKEN_SET: &str = "
    INSERT INTO reply_token (account, chat, fingerprint, token, written_at, received_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (account, chat) DO UPDATE
    SET fingerprint = excluded.fingerprint, token = excluded.token, written_at = excluded.written_at,
        received_at = excluded.received_at
    WHERE reply_token.fingerprint <> excluded.fingerprint
       OR coalesce(excluded.written_at >= reply_token.written_at, TRUE)";
pub(in crate::sqlite) const REPLY_TOKEN: &str = "
    SELECT token, received_at FROM reply_token
    WHERE account = (SELECT id FROM account WHERE name = ?1) AND chat = ?2 AND fingerprint = ?3";
pub(in crate::sqlite) const INBOX_LATEST: &str = "
    SELECT id FROM inbox WHERE account = (SELECT id FROM account WHERE name = ?1) ORDER BY id DESC LIMIT 1";

pub(in crate::sqlite) const RELEASE_HELD: &str = "
    UPDATE outbox
    SET state = iif(doubted, 'unknown', 'ready'), not_before = ?3, released_at = ?3
    WHERE account = ?1 AND chat = ?2 AND state = 'held'";
/// Only what was received during one attempt is looked at. What has no id of the platform's was put there by us, as a
/// prompt is, or could not be read.
pub(in crate::sqlite) const HEARD_SINCE: &str = "
    SELECT 1 FROM inbox INDEXED BY inbox_account LEFT JOIN settled ON settled.inbox = inbox.id
    WHERE inbox.account = ?1 AND inbox.id > ?2 AND inbox.message_id IS NOT NULL
      AND json_extract(inbox.route, '$.chat') = (SELECT chat FROM outbox WHERE outbox.id = ?3)
      AND coalesce(settled.dropped, '') NOT IN ('own_message', 'from_bot')
    LIMIT 1";
pub(in crate::sqlite) const OUTBOX_HOLD: &str =
    "UPDATE outbox SET state = 'held', held_at = ?2, last_error = ?3 WHERE id = ?1";
pub(in crate::sqlite) const OUTBOX_TRY_AGAIN: &str = "
    UPDATE outbox SET state = iif(doubted, 'unknown', 'ready'), not_before = ?2, last_error = ?3 WHERE id = ?1";
pub(in crate::sqlite) const HELD_SENDS: &str = concat!(
    outbox_columns!(),
    "WHERE outbox.account = (SELECT id FROM account WHERE name = ?1) AND outbox.state = 'held'
       AND outbox.held_at < ?2
     ORDER BY outbox.id LIMIT ?3"
);
pub(in crate::sqlite) const HELD_FOR_LONG: &str = "
    SELECT conversation, chat FROM outbox
    WHERE id = ?1 AND account = ?2 AND state = 'held' AND held_at < ?3";
/// What waits behind a held row for as long, in `conversation` and for `chat`.
pub(in crate::sqlite) const EXPIRE_BEHIND: &str = "
    UPDATE outbox
    SET state = 'dead', doubted = doubted OR state = 'unknown', last_error = ?5, ended_at = ?6, settled_at = ?6
    WHERE account = ?1 AND conversation = ?2 AND state IN ('ready', 'sending', 'unknown', 'held')
      AND state IN ('ready', 'unknown') AND chat = ?3 AND id > ?4 AND created_at < ?7";

pub(in crate::sqlite) const PRUNE_REPLY_TOKENS: &str = "
    DELETE FROM reply_token WHERE (account, chat) IN (
        SELECT account, chat FROM reply_token WHERE received_at < ?1
        ORDER BY received_at, account, chat LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_REPLY_TOKENS: &str = "
    DELETE FROM reply_token WHERE account = ?1
        AND chat IN (SELECT chat FROM reply_token WHERE account = ?1 ORDER BY chat LIMIT ?2)";

/// All of them, for the test that none reads a whole table.
#[cfg(test)]
pub(in crate::sqlite) const REPLIES: &[&str] = &[
    REPLY_TOKEN,
    INBOX_LATEST,
    RELEASE_HELD,
    HEARD_SINCE,
    OUTBOX_HOLD,
    OUTBOX_TRY_AGAIN,
    HELD_FOR_LONG,
    EXPIRE_BEHIND,
    HELD_SENDS,
    PRUNE_REPLY_TOKENS,
    DISCARD_REPLY_TOKENS,
];
