-- Version 5: the scheduler's jobs and their runs.

CREATE TABLE cron_job (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    UNIQUE,                      -- of the request that added it
    name       TEXT,
    account    TEXT    NOT NULL,                    -- by name: a job outlives its account's rows
    chat       TEXT    NOT NULL,
    schedule   TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,                    -- text | prompt
    body       TEXT    NOT NULL,
    missed     TEXT    NOT NULL,                    -- skip | once | all
    max_delay  INTEGER NOT NULL,                    -- milliseconds
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    reason     TEXT,                                -- why it was disabled, unless an operator did it
    created_at INTEGER NOT NULL,
    enabled_at INTEGER NOT NULL,                    -- last
    next_due   INTEGER
) STRICT;

-- Due times that are over, each in one row only, whoever fires it and whatever the clock says. Rows that never ran may
-- stand for several due times in a row: due to until.
CREATE TABLE cron_run (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    job      INTEGER NOT NULL REFERENCES cron_job (id),
    due      INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    key      TEXT,                                  -- of an operator's request; NULL: the schedule's
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,                      -- text | prompt | missed | expired | failed
    reason   TEXT,
    outbox   INTEGER,                               -- the first of parts rows in the outbox, which may be gone
    parts    INTEGER NOT NULL,
    inbox    INTEGER                                -- the prompt's row in the inbox, which may be gone
) STRICT;
CREATE UNIQUE INDEX cron_run_due ON cron_run (job, due) WHERE key IS NULL;
CREATE UNIQUE INDEX cron_run_key ON cron_run (job, key) WHERE key IS NOT NULL;
CREATE INDEX cron_run_job ON cron_run (job);
CREATE INDEX cron_run_time ON cron_run (at);

-- Of turns that ended before this version nobody knows.
ALTER TABLE turn ADD COLUMN result TEXT;            -- answered | silent | failed
