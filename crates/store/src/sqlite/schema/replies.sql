-- Version 8: what a platform takes only for a while after its user wrote. Nothing here costs anything where there are no
-- such platforms.

-- The newest reply token of each chat, good for the credentials that it was given to and for no others.
CREATE TABLE reply_token (
    account     INTEGER NOT NULL REFERENCES account (id),
    chat        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    token       TEXT    NOT NULL,                   -- a secret
    written_at  INTEGER,                            -- the message it came with, as the platform says
    received_at INTEGER NOT NULL,
    PRIMARY KEY (account, chat)
) STRICT, WITHOUT ROWID;
CREATE INDEX reply_token_received ON reply_token (received_at);

-- A message of ours in the state held waits for the next message in its chat.
ALTER TABLE outbox ADD COLUMN chat TEXT AS (json_extract(outbound, '$.route.chat')) VIRTUAL;
ALTER TABLE outbox ADD COLUMN held_at INTEGER;      -- last held
ALTER TABLE outbox ADD COLUMN released_at INTEGER;  -- last let go by a message in its chat
CREATE INDEX outbox_held ON outbox (account, chat) WHERE state = 'held';

DROP INDEX outbox_unsettled;
CREATE INDEX outbox_unsettled ON outbox (account, conversation)
WHERE state IN ('ready', 'sending', 'unknown', 'held');
DROP INDEX outbox_settled;
CREATE INDEX outbox_settled ON outbox (settled_at)
WHERE state NOT IN ('ready', 'sending', 'unknown', 'held');
