-- One row for each acknowledged POST /api/writes: the evidence of hand-over tests.

CREATE TABLE writes (
  id       TEXT    NOT NULL PRIMARY KEY,
  at       INTEGER NOT NULL,
  instance TEXT    NOT NULL
);
