-- The download queue. What is unfinished here goes on after a restart; `state` is what must survive,
-- the finer states (waiting_for_peer, downloading, ...) follow from what is going on.

CREATE TABLE download (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,            -- for clients and for the names of partial files
  peer BLOB NOT NULL,                 -- 32 bytes
  path TEXT NOT NULL,                 -- at the peer: share, then components
  into_path TEXT NOT NULL,            -- below the download directory, '' for itself
  added REAL NOT NULL,
  position INTEGER NOT NULL,          -- order in the queue, rising
  state TEXT NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'paused', 'done', 'failed', 'removed')),
  type TEXT CHECK (type IN ('file', 'directory')),   -- NULL until the peer was asked
  listed INTEGER NOT NULL DEFAULT 0,  -- 1: download_file holds everything there is
  cursor BLOB,                        -- where the listing goes on
  error TEXT,                         -- word and text of the last error
  message TEXT,
  size INTEGER NOT NULL DEFAULT 0,    -- bytes of all files known so far
  files INTEGER NOT NULL DEFAULT 0,
  done_bytes INTEGER NOT NULL DEFAULT 0,      -- finished files and watermarks
  done_files INTEGER NOT NULL DEFAULT 0,
  failed_files INTEGER NOT NULL DEFAULT 0,
  received_bytes INTEGER NOT NULL DEFAULT 0   -- of files, repeated ones counted again
);

CREATE INDEX download_position ON download (position, number);

CREATE TABLE download_file (
  download INTEGER NOT NULL REFERENCES download (number),
  number INTEGER NOT NULL,            -- in the order of the listing, from 1
  path TEXT NOT NULL,                 -- below the download's path, '' for itself
  directory INTEGER NOT NULL,         -- 1: only to be made
  size INTEGER,                       -- as listed, later as read; NULL: not known yet
  mtime_ns INTEGER,                   -- likewise; for a finished file what the file system kept
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
  validator BLOB,                     -- of the bytes below the watermark
  watermark INTEGER NOT NULL DEFAULT 0,       -- so many bytes are durable in the partial file
  restarts INTEGER NOT NULL DEFAULT 0,        -- how often it changed while it was fetched
  saved_as TEXT,                      -- its name on the disk where that is another one
  error TEXT,
  message TEXT,
  PRIMARY KEY (download, number)
) WITHOUT ROWID;
