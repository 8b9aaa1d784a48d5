-- Since when a peer is known: who was met first keeps the place when all are taken.
ALTER TABLE peer ADD COLUMN first_connected REAL;
UPDATE peer SET first_connected = last_connected;
