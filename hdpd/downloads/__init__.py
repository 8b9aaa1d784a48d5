"""The download queue and its files. Begin with `downloads.py`."""

FACE = (
    "downloads.Downloads",
    "lanes.LanesOfPeers",
    "status",
)
