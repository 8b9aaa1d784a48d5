"""What peers read of the shares: slots, leases, quotas, and the bytes.

Begin with `states.py`, what a peer in the line goes through, and `uploads.py`, which sends.
"""

FACE = (
    "digests.Digests",
    "privileges.Privileges",
    "source_file.OpenFile",
    "source_file.SourceFile",
    "status",
    "uploads.Uploads",
)
