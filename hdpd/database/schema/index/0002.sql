-- What is left out of a share: a JSON list of patterns. With other ones it is read anew.
ALTER TABLE share ADD COLUMN ignore TEXT NOT NULL DEFAULT '[]';
-- Which file system it was on, by an id that outlives a reboot where the file system has one.
ALTER TABLE share ADD COLUMN file_system INTEGER NOT NULL DEFAULT 0;
-- When every directory was last read, changed or not; seconds since the epoch.
ALTER TABLE share ADD COLUMN read_at REAL NOT NULL DEFAULT 0;

-- What tells whether a directory has to be read again: `scanned` is 2 when its mtime was old enough
-- at the reading that every later change moves it, 1 when that was too soon to say. `inode` finds a
-- directory again that was renamed. `mark` changes with the content of its ignore file, 0 is none.
ALTER TABLE directory ADD COLUMN inode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE directory ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
CREATE INDEX directory_inode ON directory (inode);
