"""The download queue and its files: what is wanted, until it is right on the disk.

Begin with `states.py`, what a download goes through, and `downloads.py`, what clients ask.
`scheduler.py` starts a `runner.py` for each that runs; `store.py` is the queue in state.db.
"""

FACE = (
    "downloads.Downloads",
    "connections.ConnectionsOfPeers",
    "status",
)
