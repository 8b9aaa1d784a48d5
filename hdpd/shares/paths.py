"""Which paths may be served. Pure: the rules alone, without touching the file system."""

from __future__ import annotations


def has_hidden_component(below: bytes) -> bool:
    """Whether any component of the relative path `below` begins with a dot."""
    return below.startswith(b".") or b"/." in below


def path_below(root: bytes, real: bytes) -> bytes | None:
    """`real` relative to the directory `root` (empty for the root itself), None when outside.

    Both are absolute and free of links, as the kernel spells them. The comparison is by whole
    components: `/srv/Music2` is not below `/srv/Music`.
    """
    if real == root:
        return b""
    prefix = root if root.endswith(b"/") else root + b"/"
    return real[len(prefix) :] if real.startswith(prefix) else None


def is_ours(name: bytes) -> bool:
    """Whether a name is one of hdpd's own files in a share, which nobody else has a use for: ignore
    patterns, and downloads that are not complete.
    """
    return name == b".hdpignore" or (name.startswith(b".hdpd-") and name.endswith(b".part"))
