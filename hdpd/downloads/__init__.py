"""The download queue and its files. Begin with `downloads.py`."""

FACE = (
    "downloads.Downloads",
    "connections.ConnectionsOfPeers",
    "status",
)
