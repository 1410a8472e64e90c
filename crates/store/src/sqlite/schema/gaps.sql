-- When accounts were last heard, and when messages for them may have been lost.

CREATE TABLE heard (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    at      INTEGER NOT NULL,
    orderly INTEGER NOT NULL CHECK (orderly IN (0, 1)) -- the connection ended with a goodbye since, without a doubt
) STRICT;

CREATE TABLE gap (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     INTEGER NOT NULL REFERENCES account (id),
    began_at    INTEGER NOT NULL,                   -- the last sign of life before it
    ended_at    INTEGER NOT NULL,                   -- the first one after it
    kind        TEXT    NOT NULL,                   -- outage | broken_off | handed_out
    why         TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX gap_begin ON gap (account, began_at, kind);
CREATE INDEX gap_account ON gap (account);
CREATE INDEX gap_time ON gap (recorded_at);
