-- What belongs to signing in: it lives beside the notes so that it moves with them.

-- The id is the SHA-256 of the cookie: whoever reads a backup cannot take over a session.
CREATE TABLE sessions (
  id_hash    TEXT    NOT NULL PRIMARY KEY,
  user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  data       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE password_resets (
  token_hash TEXT    NOT NULL PRIMARY KEY,
  user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX password_resets_by_user ON password_resets (user_id);

-- Failed sign-ins and asked-for resets, to slow down guessing.
CREATE TABLE attempts (
  id      INTEGER PRIMARY KEY,
  subject TEXT    NOT NULL,
  at      INTEGER NOT NULL
);

CREATE INDEX attempts_by_subject ON attempts (subject, at);

CREATE INDEX attempts_by_time ON attempts (at);
