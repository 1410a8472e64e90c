-- What a request under an idempotency key was answered with: sent again, it gets the same answer, over restarts too.

CREATE TABLE request (
    key         TEXT    NOT NULL PRIMARY KEY,
    request     TEXT    NOT NULL,                   -- a hash of its method, path and body
    status      INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    answered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX request_time ON request (answered_at);
