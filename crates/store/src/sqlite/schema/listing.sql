-- Version 2: what an operator lists. A session is a conversation with what happened in it summed up, kept up by every
-- transaction that changes it, as the tally is: it outlives the rows it counts.

CREATE TABLE session (
    account      INTEGER NOT NULL REFERENCES account (id),
    conversation TEXT    NOT NULL,
    latest       INTEGER NOT NULL,                  -- the inbox row received last: the order of the list
    active_at    INTEGER NOT NULL,
    received     INTEGER NOT NULL,
    answered     INTEGER NOT NULL,
    dropped      INTEGER NOT NULL,
    held         INTEGER NOT NULL,
    pending      INTEGER NOT NULL,
    entries      INTEGER NOT NULL,
    PRIMARY KEY (account, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_latest ON session (latest);

INSERT INTO session
SELECT inbox.account, inbox.conversation, max(inbox.id),
       max(inbox.received_at, coalesce(max(settled.settled_at), 0)),
       count(*),
       count(settled.inbox) - count(settled.dropped),
       count(settled.dropped),
       count(pending.held),
       count(pending.inbox) - count(pending.held),
       (SELECT count(*) FROM entry
        WHERE entry.account = inbox.account AND entry.conversation = inbox.conversation)
FROM inbox
LEFT JOIN pending ON pending.inbox = inbox.id
LEFT JOIN settled ON settled.inbox = inbox.id
GROUP BY inbox.account, inbox.conversation;

CREATE INDEX inbox_account ON inbox (account);
CREATE INDEX inbox_conversation ON inbox (account, conversation);
CREATE INDEX outbox_account ON outbox (account);
CREATE INDEX outbox_conversation ON outbox (account, conversation);
CREATE INDEX outbox_dead ON outbox (account) WHERE state = 'dead';
