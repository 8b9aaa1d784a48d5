-- Listings are in natural order, of which the key is what hdpd/natural.py says of a name: the index
-- has it, and the tables do not. The case of ASCII letters is ignored, as before.
DROP INDEX directory_name;
CREATE INDEX directory_natural ON directory (parent, natural(name) COLLATE NOCASE);
DROP INDEX file_name;
CREATE INDEX file_natural ON file (directory, natural(name) COLLATE NOCASE);
