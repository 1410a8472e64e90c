-- Version 5: what the doctor looks for, and what the program keeps for itself. Neither costs an ordinary message
-- anything.

-- Turns that were given up; there are few.
CREATE INDEX turn_parked ON turn (id) WHERE state = 'parked';

-- One short text for each name, such as which alerts have been told of.
CREATE TABLE memo (
    name       TEXT    PRIMARY KEY,
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
