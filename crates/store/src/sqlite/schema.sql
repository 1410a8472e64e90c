-- Version 1. Ids from platforms are TEXT, our own are INTEGER; times are milliseconds since 1970-01-01T00:00:00Z.
-- Payload rows (inbox) are written once: what became of a message is in the narrow tables pending and settled,
-- so that finishing a turn rewrites no payload page.

CREATE TABLE boot (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    version    TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER                              -- NULL: still running, or ended without notice
) STRICT;

CREATE TABLE account (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    epoch      INTEGER NOT NULL,                    -- the fencing token
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE identity (
    account     INTEGER NOT NULL REFERENCES account (id),
    fingerprint TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    verified_at INTEGER NOT NULL,
    PRIMARY KEY (account, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    account    INTEGER NOT NULL REFERENCES account (id),
    kind       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL REFERENCES account (id),
    conversation TEXT    NOT NULL,
    event_id     TEXT    NOT NULL,
    message_id   TEXT,
    chat_id      TEXT    NOT NULL,
    chat_kind    TEXT    NOT NULL,
    route        TEXT    NOT NULL,                  -- JSON
    text         TEXT    NOT NULL,
    context      TEXT    NOT NULL,                  -- the receiver's own JSON
    written_at   INTEGER,
    received_at  INTEGER NOT NULL,
    raw          BLOB    NOT NULL
) STRICT;

-- A row exists while the message is not settled; held is the reason it cannot be judged yet.
CREATE TABLE pending (
    inbox        INTEGER PRIMARY KEY REFERENCES inbox (id),
    account      INTEGER NOT NULL,
    conversation TEXT    NOT NULL,
    held         TEXT
) STRICT;
CREATE INDEX pending_work ON pending (account, conversation) WHERE held IS NULL;
CREATE INDEX pending_held ON pending (account) WHERE held IS NOT NULL;

-- A row exists once the message is settled; dropped is NULL when it was answered.
CREATE TABLE settled (
    inbox      INTEGER PRIMARY KEY REFERENCES inbox (id),
    dropped    TEXT,
    settled_at INTEGER NOT NULL
) STRICT;

-- Outlives the inbox row, hence no reference to it.
CREATE TABLE dedupe (
    account  INTEGER NOT NULL REFERENCES account (id),
    delivery TEXT    NOT NULL,
    inbox    INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (account, delivery)
) STRICT, WITHOUT ROWID;

CREATE TABLE turn (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL REFERENCES account (id),
    conversation TEXT    NOT NULL,
    state        TEXT    NOT NULL,                  -- running | interrupted | done | parked
    attempt      INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,                  -- with generation: the claim
    generation   INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;
-- There is never a second agent on a conversation.
CREATE UNIQUE INDEX turn_active ON turn (account, conversation) WHERE state IN ('running', 'interrupted');

CREATE TABLE turn_input (
    turn  INTEGER NOT NULL REFERENCES turn (id),
    inbox INTEGER NOT NULL REFERENCES inbox (id),
    PRIMARY KEY (turn, inbox)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL REFERENCES account (id),
    conversation TEXT    NOT NULL,
    turn         INTEGER NOT NULL REFERENCES turn (id),
    role         TEXT    NOT NULL,                  -- user | agent | system
    text         TEXT    NOT NULL,
    added_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX entry_conversation ON entry (account, conversation);

CREATE TABLE outbox (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    account          INTEGER NOT NULL REFERENCES account (id),
    conversation     TEXT    NOT NULL,
    turn             INTEGER REFERENCES turn (id),
    outbound         TEXT    NOT NULL,              -- JSON
    idempotency_key  TEXT    NOT NULL UNIQUE,
    state            TEXT    NOT NULL,              -- ready | sending | sent | unknown | dead
    epoch            INTEGER,                       -- with generation: the claim while it is sending
    generation       INTEGER,
    attempts         INTEGER NOT NULL DEFAULT 0,
    possibly_repeated INTEGER NOT NULL DEFAULT 0 CHECK (possibly_repeated IN (0, 1)),
    first_attempt_at INTEGER,
    not_before       INTEGER NOT NULL,
    last_error       TEXT,
    message_id       TEXT,
    created_at       INTEGER NOT NULL,
    sent_at          INTEGER
) STRICT;
CREATE INDEX outbox_unsettled ON outbox (account, conversation) WHERE state IN ('ready', 'sending', 'unknown');

-- What counts() answers, kept up by every transaction that changes it.
CREATE TABLE tally (
    account INTEGER NOT NULL REFERENCES account (id),
    kind    TEXT    NOT NULL,                       -- received | answered | dropped | held | pending | duplicates | outbox | dead
    reason  TEXT    NOT NULL,                       -- of dropped and held, else empty
    count   INTEGER NOT NULL,
    PRIMARY KEY (account, kind, reason)
) STRICT, WITHOUT ROWID;
