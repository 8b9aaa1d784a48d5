"""The directories offered to peers: path safety, watching, index, listing and search.

Begin with `shares.py`, the service; `share.py` is one of them. What scans is hdpd/scanner/.
"""

FACE = (
    "answers.Sink",
    "fold.FOLDING",
    "fold.fold",
    "hashing.Hashed",
    "hashing.Hasher",
    "ignorefile.BadIgnoreFile",
    "ignorefile.read_ignore_file",
    "inotify.max_watches",
    "inotify.watch_directory",
    "jobs.Job",
    "jobs.Reach",
    "jobs.Report",
    "jobs.ShareJob",
    "jobs.job_from_line",
    "jobs.to_line",
    "mounts.tells_changes",
    "opening",
    "presence.Presence",
    "presence.look_at",
    "reading.Content",
    "reading.Subdirectory",
    "reading.read_directory",
    "shares.Shares",
    "status",
)
