-- What tells one content of a directory from another: `version` is a higher number after each change
-- of what a listing of it shows, `state.last_version` the highest that was given to any.
ALTER TABLE directory ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN last_version INTEGER NOT NULL DEFAULT 0;
