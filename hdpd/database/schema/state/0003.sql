-- What was sent to each peer, for the quotas; rows of other days are deleted.
CREATE TABLE sent_today (
  peer BLOB PRIMARY KEY,
  day TEXT NOT NULL,                  -- local, as 2026-01-31
  bytes INTEGER NOT NULL
) WITHOUT ROWID;
