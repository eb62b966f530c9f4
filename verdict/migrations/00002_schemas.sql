-- +goose Up
-- What databases looked like when rollouts were registered. Most rollouts change
-- nothing, so that a schema is stored once for all that found it.
CREATE TABLE schemas (
    id   TEXT NOT NULL PRIMARY KEY, -- hash of the body
    body BLOB NOT NULL              -- JSON, compressed
);

CREATE TABLE rollout_schemas (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT    NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    target  TEXT    NOT NULL,
    schema  TEXT    NOT NULL, -- empty: not known
    read_at INTEGER NOT NULL,
    unknown TEXT    NOT NULL  -- why
);
CREATE INDEX rollout_schemas_by_rollout ON rollout_schemas (rollout);
CREATE INDEX rollout_schemas_by_schema ON rollout_schemas (schema);

-- +goose Down
DROP TABLE rollout_schemas;
DROP TABLE schemas;
