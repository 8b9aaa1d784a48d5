-- What must survive: settings made at run time, known peers, the download queue, access tokens.
-- Paths and names are the reversible text of hdpd/wire/paths.py; times are seconds since the epoch.

-- Small values of their own: the record sequence number, the event sequence number, ...
CREATE TABLE setting (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- Topics. `master` is the scrypt key, kept so that it is derived only once.
CREATE TABLE topic (
  name TEXT PRIMARY KEY,
  master BLOB NOT NULL,
  joined REAL                         -- NULL: not joined at run time, only named in the configuration
) WITHOUT ROWID;

-- Shares added at run time; those of the configuration are not stored here.
CREATE TABLE share (
  name TEXT PRIMARY KEY,
  path TEXT NOT NULL,
  added REAL NOT NULL
) WITHOUT ROWID;

-- The book of known peers: tried directly at start.
CREATE TABLE peer (
  id BLOB PRIMARY KEY,                -- 32 bytes, Ed25519 public key
  addresses TEXT NOT NULL,            -- JSON: [[host, port, seen, worked]]
  topics TEXT NOT NULL,               -- JSON: hex of the public ids of topics shared with it
  found_by TEXT NOT NULL,             -- JSON: [word]
  last_connected REAL NOT NULL,
  last_seen REAL NOT NULL,
  blocked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Access tokens: only a hash is kept.
CREATE TABLE token (
  id TEXT PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,          -- SHA-256 of the token (128 random bits or more)
  role TEXT NOT NULL CHECK (role IN ('read', 'control', 'admin')),
  created REAL NOT NULL,
  last_used REAL
) WITHOUT ROWID;
