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
