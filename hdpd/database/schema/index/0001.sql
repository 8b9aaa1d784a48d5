-- What the shares hold, as the last scan saw it; a scan can make all of it again.
-- Only the scanner writes here. Names are the reversible text of hdpd/wire/paths.py, sizes are
-- bytes, times of files are nanoseconds since the epoch. Ids are never used twice.

CREATE TABLE state (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  last_directory INTEGER NOT NULL,        -- the highest ids given so far
  last_file INTEGER NOT NULL,
  searchable_directory INTEGER NOT NULL,  -- rows up to these ids are in the search tables
  searchable_file INTEGER NOT NULL,
  folding TEXT NOT NULL                   -- which folding the search tables were made with
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, '');

-- One row for each share, with the outcome of its last complete scan (none: scanned_at is null).
CREATE TABLE share (
  name TEXT PRIMARY KEY,
  path TEXT NOT NULL,
  hidden INTEGER NOT NULL,                -- 1: names with a leading dot are shared too
  root INTEGER NOT NULL,                  -- directory.id
  mount_point INTEGER NOT NULL DEFAULT 0, -- 1: the path was a mount point
  skipped INTEGER NOT NULL DEFAULT 0,
  directories INTEGER NOT NULL DEFAULT 0,
  scanned_at REAL
) WITHOUT ROWID;

-- `parent` is 0 for the root of a share, and null for what is no longer there and waits to be
-- swept away with all that is below it.
CREATE TABLE directory (
  id INTEGER PRIMARY KEY,
  parent INTEGER,
  name TEXT NOT NULL,
  mtime INTEGER NOT NULL,
  scanned INTEGER NOT NULL,               -- 0: what is in it has not been read yet
  size INTEGER NOT NULL,                  -- of all files below it
  files INTEGER NOT NULL                  -- the number of all files below it
);
-- Listings ignore the case of ASCII letters, as people expect; equal names differ in bytes then.
CREATE INDEX directory_name ON directory (parent, name COLLATE NOCASE);

CREATE TABLE file (
  id INTEGER PRIMARY KEY,
  directory INTEGER NOT NULL,
  name TEXT NOT NULL,
  size INTEGER NOT NULL,
  mtime INTEGER NOT NULL
);
CREATE INDEX file_name ON file (directory, name COLLATE NOCASE);

-- Trigrams of the folded names (hdpd/shares/fold.py) by row id, without the names themselves, so a
-- row can only be deleted by giving the same folded name again.
CREATE VIRTUAL TABLE directory_search USING fts5 (
  name, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1'
);
CREATE VIRTUAL TABLE file_search USING fts5 (
  name, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1'
);
