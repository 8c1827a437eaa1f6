-- The journal: what happened in every run, in the order in which it happened. Nothing here is ever changed or removed.

-- The expanded runbook of a run, as canonical JSON, under its own SHA-256.
CREATE TABLE definitions (
    digest TEXT PRIMARY KEY,
    body   TEXT NOT NULL
) WITHOUT ROWID;

-- The facts. hash = SHA-256 of "switchover event 1\n" || hash of the event before || "\n" || run || "\n" || body, in hexadecimal;
-- before the first event stands the empty text.
CREATE TABLE events (
    run    TEXT    NOT NULL,
    number INTEGER NOT NULL,
    at     TEXT    NOT NULL,
    event  TEXT    NOT NULL,
    step   TEXT,
    body   TEXT    NOT NULL,
    hash   TEXT    NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'events are never updated'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'events are never deleted'); END;
CREATE TRIGGER definitions_are_never_updated BEFORE UPDATE ON definitions BEGIN SELECT raise(ABORT, 'definitions are never updated'); END;
CREATE TRIGGER definitions_are_never_deleted BEFORE DELETE ON definitions BEGIN SELECT raise(ABORT, 'definitions are never deleted'); END;
