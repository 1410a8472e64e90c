-- Version 3: what an operator can do about rows that are stuck, and what else tells a message's life. New facts are
-- in columns and tables that are written only when they become true, so that an ordinary message costs index entries
-- and no rows.

ALTER TABLE outbox ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0 CHECK (doubted IN (0, 1));
ALTER TABLE outbox ADD COLUMN ended_at INTEGER;     -- last became dead or was discarded
ALTER TABLE outbox ADD COLUMN retried_at INTEGER;
-- Nobody knows any more whether one of several attempts had an unknown outcome.
UPDATE outbox SET doubted = 1 WHERE state = 'dead' AND attempts > 1;

ALTER TABLE turn ADD COLUMN interrupted_at INTEGER;
ALTER TABLE turn ADD COLUMN resumed_at INTEGER;

-- What a message was held for, once it is judged.
CREATE TABLE judged (
    inbox     INTEGER PRIMARY KEY REFERENCES inbox (id) ON DELETE CASCADE,
    held      TEXT    NOT NULL,
    judged_at INTEGER NOT NULL
) STRICT;

-- Deliveries of a message after the first.
CREATE TABLE repeated (
    inbox   INTEGER PRIMARY KEY REFERENCES inbox (id) ON DELETE CASCADE,
    count   INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_discarded ON outbox (account) WHERE state = 'discarded';
CREATE INDEX inbox_event ON inbox (event_id);
CREATE INDEX inbox_message ON inbox (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX outbox_message ON outbox (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX turn_conversation ON turn (account, conversation);
-- Also what deleting a turn or a message looks for.
CREATE INDEX turn_input_inbox ON turn_input (inbox);
CREATE INDEX outbox_turn ON outbox (turn);
CREATE INDEX entry_turn ON entry (turn);
