-- What is left out of a share: a JSON list of patterns. With other ones it is read anew.
ALTER TABLE share ADD COLUMN ignore TEXT NOT NULL DEFAULT '[]';
