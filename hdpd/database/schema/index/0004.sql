-- Listings are in natural order: `natural` is what hdpd/natural.py says of a name, null where the
-- name is sorted by itself. The case of ASCII letters is ignored, as before.
ALTER TABLE directory ADD COLUMN natural TEXT;
UPDATE directory SET natural=natural(name) WHERE name GLOB '*[0-9]*';
DROP INDEX directory_name;
CREATE INDEX directory_natural ON directory (parent, coalesce(natural, name) COLLATE NOCASE);

ALTER TABLE file ADD COLUMN natural TEXT;
UPDATE file SET natural=natural(name) WHERE name GLOB '*[0-9]*';
DROP INDEX file_name;
CREATE INDEX file_natural ON file (directory, coalesce(natural, name) COLLATE NOCASE);
