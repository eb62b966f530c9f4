-- +goose Up
-- Times are Unix nanoseconds, 0 for none. What is listed newest first is ordered by n.
CREATE TABLE rollouts (
    n             INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    service       TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    registration  TEXT    NOT NULL, -- JSON, as it was sent
    baseline      TEXT    NOT NULL, -- JSON, frozen
    verdict       TEXT    NOT NULL DEFAULT '',
    final         INTEGER NOT NULL DEFAULT 0,
    seq           INTEGER NOT NULL DEFAULT 0,
    latched       TEXT    NOT NULL DEFAULT '',
    latched_at    INTEGER NOT NULL DEFAULT 0,
    superseded_by TEXT    NOT NULL DEFAULT '',
    outcome       TEXT    NOT NULL DEFAULT '',
    finished_at   INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX rollouts_by_service ON rollouts (service, n);
CREATE INDEX rollouts_under_watch ON rollouts (n) WHERE final = 0;

CREATE TABLE stages (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT    NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    weight  REAL,
    note    TEXT    NOT NULL
);
CREATE INDEX stages_by_rollout ON stages (rollout, n);

CREATE TABLE overrides (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT    NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    verdict TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    author  TEXT    NOT NULL
);
CREATE INDEX overrides_by_rollout ON overrides (rollout, n);

CREATE TABLE transitions (
    event    TEXT    NOT NULL PRIMARY KEY, -- the webhook-id
    rollout  TEXT    NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    type     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    document TEXT    NOT NULL, -- JSON, as it was served
    payload  BLOB    NOT NULL, -- the bytes that webhooks sign
    UNIQUE (rollout, seq)
);

CREATE TABLE deliveries (
    n            INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    event        TEXT    NOT NULL REFERENCES transitions (event) ON DELETE CASCADE,
    endpoint     TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    owed_since   INTEGER NOT NULL, -- when trying began; a replay begins anew
    next_attempt INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_owed ON deliveries (endpoint, next_attempt) WHERE state = 'owed';
CREATE INDEX deliveries_by_event ON deliveries (event);

CREATE TABLE idempotency_keys (
    key     TEXT NOT NULL PRIMARY KEY,
    request TEXT NOT NULL, -- hash of what was registered with it
    rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_by_rollout ON idempotency_keys (rollout);

-- An endpoint that answered 410 Gone, until its address changes or a delivery to it is replayed.
CREATE TABLE gone_endpoints (
    endpoint TEXT    NOT NULL PRIMARY KEY,
    address  TEXT    NOT NULL, -- hash of the URL
    at       INTEGER NOT NULL
);

-- +goose Down
DROP TABLE gone_endpoints;
DROP TABLE idempotency_keys;
DROP TABLE deliveries;
DROP TABLE transitions;
DROP TABLE overrides;
DROP TABLE stages;
DROP TABLE rollouts;
