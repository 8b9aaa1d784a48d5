-- Where downloads are written to, and how that is known again: see hdpd/downloads/site.py.
CREATE TABLE site (
  root TEXT NOT NULL,                 -- the directory that paths are below
  anchor TEXT NOT NULL,               -- below it: where another disk is mounted, '' for itself
  marker BLOB NOT NULL,               -- what the file says that marks it
  system INTEGER NOT NULL,            -- the id of its file system, 0 where that has none
  kind TEXT NOT NULL,                 -- ext4, exfat, ...
  PRIMARY KEY (root, anchor)
) WITHOUT ROWID;

-- The last ones that left the list, so that to remove one twice is no mistake.
CREATE TABLE removed_download (
  number INTEGER PRIMARY KEY,         -- as in `download`
  id TEXT NOT NULL UNIQUE
);

ALTER TABLE download ADD COLUMN root TEXT;          -- NULL: made before this was known
ALTER TABLE download ADD COLUMN partials TEXT;      -- where its partial files are; NULL: beside
ALTER TABLE download ADD COLUMN place TEXT;         -- where the item is, or goes
ALTER TABLE download ADD COLUMN ended REAL;         -- when it was done
ALTER TABLE download ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;   -- files and directories listed
ALTER TABLE download ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;   -- of those, done or failed
ALTER TABLE download ADD COLUMN made TEXT;          -- JSON: directories above it that were made for it

ALTER TABLE download_file ADD COLUMN partial TEXT;  -- a random id, in the partial file and its name
ALTER TABLE download_file ADD COLUMN inode INTEGER; -- of the partial file; for a directory 1: it was made
ALTER TABLE download_file ADD COLUMN ctime_ns INTEGER;  -- of a finished file, when it was finished

UPDATE download SET
  entries = (SELECT count(*) FROM download_file WHERE download_file.download = download.number),
  settled = (SELECT count(*) FROM download_file
             WHERE download_file.download = download.number AND download_file.state != 'waiting');

CREATE INDEX download_ended ON download (ended) WHERE state = 'done';

-- Which finished files came from where.
CREATE INDEX download_source ON download (peer, path);
CREATE INDEX download_file_done ON download_file (download, path)
  WHERE state = 'done' AND directory = 0;
