-- A state.db with what was sent today: every table with rows. Loaded after the steps of the schema.
INSERT INTO setting VALUES ('record_number', 4711);
INSERT INTO topic VALUES ('place to meet', x'00112233', NULL), ('party', x'44556677', 1790000000.5);
INSERT INTO share VALUES ('Films', '/srv/films', 1790000001.0);
INSERT INTO peer VALUES (
  x'0101010101010101010101010101010101010101010101010101010101010101',
  '[["192.0.2.7", 3031, 1790000002.0, true]]', '["ab"]', '["mdns"]', 1790000002.0, 1790000003.0, 0
);
INSERT INTO token VALUES ('token-1', x'aabb', 'control', 1790000004.0, NULL);
INSERT INTO download (number, id, peer, path, into_path, added, position, state, type, listed, size,
  files, done_bytes, done_files)
VALUES (
  1, 'd1', x'0101010101010101010101010101010101010101010101010101010101010101', 'Music/Live', '',
  1790000005.0, 1, 'queued', 'directory', 1, 300, 2, 100, 1
);
INSERT INTO download_file (download, number, path, directory, size, mtime_ns, state, watermark)
VALUES (1, 1, 'a.flac', 0, 100, 1790000000000000000, 'done', 100),
  (1, 2, 'b.flac', 0, 200, 1790000000000000000, 'waiting', 50);
INSERT INTO sent_today VALUES (
  x'0101010101010101010101010101010101010101010101010101010101010101', '2026-01-31', 123456
);
