-- Version 4: what has been settled for long is pruned: by when it was settled, along an index, and without looking at
-- what has to stay.

CREATE INDEX dedupe_seen ON dedupe (seen_at);
CREATE INDEX settled_time ON settled (settled_at);

-- When it was sent or given up; of what was given up before this version nobody knows, so its time begins now.
ALTER TABLE outbox ADD COLUMN settled_at INTEGER;
UPDATE outbox SET settled_at = iif(state = 'sent', sent_at, unixepoch() * 1000)
WHERE state NOT IN ('ready', 'sending', 'unknown');
CREATE INDEX outbox_settled ON outbox (settled_at) WHERE state NOT IN ('ready', 'sending', 'unknown');

-- An entry may outlive its turn, hence no reference to it any more.
CREATE TABLE kept_entry (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL REFERENCES account (id),
    conversation TEXT    NOT NULL,
    turn         INTEGER NOT NULL,
    role         TEXT    NOT NULL,                  -- user | agent | system
    text         TEXT    NOT NULL,
    added_at     INTEGER NOT NULL
) STRICT;
INSERT INTO kept_entry SELECT id, account, conversation, turn, role, text, added_at FROM entry;
DROP TABLE entry;
ALTER TABLE kept_entry RENAME TO entry;
CREATE INDEX entry_conversation ON entry (account, conversation);

-- A session counts everything since its first message, and of its transcript (entries) what is left; oldest is from
-- when that is. A transcript as long as an agent is given is kept for as long as anything happens in the conversation.
ALTER TABLE session ADD COLUMN oldest INTEGER;
UPDATE session SET oldest = (
    SELECT added_at FROM entry
    WHERE entry.account = session.account AND entry.conversation = session.conversation ORDER BY id LIMIT 1);
CREATE INDEX session_long ON session (oldest) WHERE entries > 50;
CREATE INDEX session_idle ON session (active_at) WHERE pending = 0 AND held = 0;

-- What was counted and is gone, so that the tally can still be compared with the rows.
CREATE TABLE pruned (
    account INTEGER NOT NULL REFERENCES account (id),
    kind    TEXT    NOT NULL,                       -- received | answered | dropped
    reason  TEXT    NOT NULL,                       -- of dropped, else empty
    count   INTEGER NOT NULL,
    PRIMARY KEY (account, kind, reason)
) STRICT, WITHOUT ROWID;

-- One conversation's backlog in order, held messages too: the work of each is found without reading that of the others.
DROP INDEX pending_work;
CREATE INDEX pending_conversation ON pending (account, conversation);
