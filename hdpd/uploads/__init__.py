"""What peers read of the shares: slots, leases, quotas, and the bytes. Begin with `uploads.py`."""

FACE = (
    "digests.Digests",
    "privileges.Privileges",
    "source_file.OpenFile",
    "source_file.SourceFile",
    "status",
    "uploads.Uploads",
)
