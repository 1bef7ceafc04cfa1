-- The whole schema at version 3, for a new database. It equals the sum of migrations/*.sql
-- (a test compares them); change both together and raise Schema::VERSION.

-- Users, pads and notes.

CREATE TABLE users (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  email         TEXT    NOT NULL COLLATE NOCASE UNIQUE,
  password_hash TEXT    NOT NULL,
  created_at    INTEGER NOT NULL                       -- milliseconds since 1970, UTC, as all *_at
);

-- (id, user_id) is unique so that a note can only point to a pad of its own user.
CREATE TABLE pads (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (id, user_id)
);

CREATE INDEX pads_by_user ON pads (user_id, name COLLATE NOCASE);

CREATE TABLE notes (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  pad_id     INTEGER,
  name       TEXT    NOT NULL,
  text       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  FOREIGN KEY (pad_id, user_id) REFERENCES pads (id, user_id) ON DELETE CASCADE
);

CREATE INDEX notes_by_user_updated ON notes (user_id, updated_at);

CREATE INDEX notes_by_user_name ON notes (user_id, name COLLATE NOCASE);

CREATE INDEX notes_by_pad ON notes (pad_id, user_id);

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

-- One row for each acknowledged POST /api/writes: the evidence of hand-over tests.

CREATE TABLE writes (
  id       TEXT    NOT NULL PRIMARY KEY,
  at       INTEGER NOT NULL,
  instance TEXT    NOT NULL
);
