"""Names that a file system cannot hold, and what stands there in their place. Pure.

A replacement is the same at each try: a forbidden character becomes its look-alike (`Dune: Two` is
kept as `Dune： Two`), a byte that is not UTF-8 becomes `%F6`, a reserved name gets `_`. What is too
long is cut and marked with a hash of the whole name, and so is whatever would fall together with
another name of its directory. Good names stay as they are.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable

from msgspec import Struct

from hdpd.mountinfo import Mount

MAX_EXTENSION = 16  # characters; a longer "extension" is part of the name

_MARK_CHARS = 12  # 60 bits: no accident; who makes two on purpose meets `_marked`'s counter
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE
)
_LOOK_ALIKES = {
    **{ord(char): chr(ord(char) + 0xFEE0) for char in '"*:<>?\\|'},  # full-width forms
    **{code: chr(0x2400 + code) for code in range(1, 0x20)},  # pictures of control characters
    0x7F: "\u2421",
}
_LAST_LOOK_ALIKES = {".": "\uff0e", " ": "\u2420"}


class NameRules(Struct, frozen=True):
    """What names a kind of file system holds. Besides, none holds a slash, NUL, `.` or `..`."""

    system: str = "this file system"
    """What people call it."""
    max_bytes: int = 255
    in_utf16: bool = False
    """Names are UTF-8 outside and at most 255 units of UTF-16 inside, in place of `max_bytes`."""
    for_windows: bool = False
    """Windows has to be able to open them: no `"*:<>?\\|`, no control characters, no dot or blank
    at the end, none of the names of devices."""
    folds: bool = False
    """Names that differ only in case, or in how their accents are composed, may be one name."""


POSIX = NameRules()
_WINDOWS_SYSTEMS = {
    "exfat": "exFAT",
    "vfat": "FAT",
    "msdos": "FAT",
    "fusefat": "FAT",
    "ntfs": "NTFS",
    "ntfs3": "NTFS",
    "ntfs-3g": "NTFS",
    "lowntfs-3g": "NTFS",
    "cifs": "SMB",
    "smb3": "SMB",
    "smbfs": "SMB",
    "vboxsf": "a folder of the host",
    "drvfs": "a folder of the host",
    # exfat-fuse and ntfs-3g both say just this.
    "fuseblk": "exFAT or NTFS",
}
_APPLE_SYSTEMS = {"hfsplus": "HFS+", "apfs": "APFS"}


def rules_of(mount: Mount, name_max: int = 255) -> NameRules:
    """What the file system of `mount` holds; `name_max` is what statvfs says of it.

    A kind that nobody knows is taken for one like ext4. A directory of ext4 that ignores case does
    not show in the list of mounts; there names that exist say so only when they are made.
    """
    kind = mount.kind.removeprefix("fuseblk.").removeprefix("fuse.").lower()
    if kind in _WINDOWS_SYSTEMS:
        name = _WINDOWS_SYSTEMS[kind]
        return NameRules(name, in_utf16=True, for_windows=True, folds=True)
    if kind in _APPLE_SYSTEMS:
        return NameRules(_APPLE_SYSTEMS[kind], in_utf16=True, folds=True)
    options = mount.line.rpartition(b" ")[2].split(b",")
    folds = kind == "zfs" and not {b"caseinsensitive", b"casemixed"}.isdisjoint(options)
    # Some encrypting file systems hold shorter names; none is asked to hold 0.
    return NameRules(kind or POSIX.system, max_bytes=name_max or 255, folds=folds)


def stored_name(raw: bytes, rules: NameRules, taken: Container[bytes] = ()) -> bytes:
    """The name under which `raw` is kept: another one where it cannot be held, or where its
    `name_key` is in `taken`, the keys of other names in its directory.
    """
    name = _plain(raw, rules)
    text = _text(name)
    number = 0
    if not _fits(text, rules):
        text = _marked(raw, text, rules, number)
    while name_key(_bytes(text), rules) in taken:
        number += 1
        text = _marked(raw, _text(name), rules, number)
    return _bytes(text)


def stored_names(names: Iterable[bytes], rules: NameRules) -> dict[bytes, bytes]:
    """For all names of one directory, in whatever order, the names under which they are kept; no
    two of them are one name there. Those that need no replacement come first to their own name.
    """
    stored: dict[bytes, bytes] = {}
    taken: set[bytes] = set()
    for raw in sorted(set(names), key=lambda raw: (fault_of(raw, rules) is not None, raw)):
        stored[raw] = stored_name(raw, rules, taken)
        taken.add(name_key(stored[raw], rules))
    return stored


def name_key(stored: bytes, rules: NameRules) -> bytes:
    """What two names that can be held have in common when they are one name there."""
    if not rules.folds:
        return stored
    # Rather too coarse than too fine: each system has its own table of cases, of its own year, and
    # some skip what is invisible.
    text = unicodedata.normalize("NFD", _text(stored)).upper().casefold()
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return _bytes(unicodedata.normalize("NFD", visible))


def fault_of(raw: bytes, rules: NameRules) -> str | None:
    """Why `raw` cannot be held, for a person, to follow the name; None when it can."""
    text = _text(raw)
    if rules.in_utf16 and any("\udc80" <= char <= "\udcff" for char in text):
        return f"is not UTF-8, and {rules.system} holds nothing else"
    if rules.for_windows:
        wrong = sorted({char for char in text if ord(char) in _LOOK_ALIKES})
        if wrong:
            what = " ".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in wrong)
            return f"holds {what}, which {rules.system} does not allow"
        if text[-1:] in _LAST_LOOK_ALIKES:
            return f"ends with a dot or a blank, which {rules.system} does not allow"
        if _RESERVED.match(text):
            return f"is the name of a device on {rules.system}"
    if not _fits(text, rules):
        return f"is too long for {rules.system}"
    return None


def _plain(raw: bytes, rules: NameRules) -> bytes:
    """The replacement of every character by itself; it may still be too long."""
    text = _text(raw)
    if rules.in_utf16:
        text = "".join(
            f"%{ord(char) & 0xFF:02X}" if "\udc80" <= char <= "\udcff" else char for char in text
        )
    if rules.for_windows:
        text = text.translate(_LOOK_ALIKES)
        text = text[:-1] + _LAST_LOOK_ALIKES.get(text[-1:], text[-1:])
        if _RESERVED.match(text):
            stem, dot, rest = text.partition(".")
            text = f"{stem}_{dot}{rest}"
    return _bytes(text)


def _marked(raw: bytes, text: str, rules: NameRules, number: int) -> str:
    """`text` with a hash of `raw` before its extension, cut so that it fits."""
    digest = hashlib.sha256(b"%d " % number + raw).digest()
    mark = "~" + base64.b32encode(digest).decode().lower()[:_MARK_CHARS]
    stem, dot, extension = text.rpartition(".")
    if not stem or len(extension) > MAX_EXTENSION:
        stem, dot, extension = text, "", ""
    end = mark + dot + extension
    while stem and not _fits(stem + end, rules):
        stem = stem[:-1]
    return stem + end


def _fits(text: str, rules: NameRules) -> bool:
    if not rules.in_utf16:
        return len(_bytes(text)) <= rules.max_bytes
    if not rules.for_windows:  # HFS+ counts what is decomposed
        text = unicodedata.normalize("NFD", text)
    return len(text.encode("utf-16-le", "surrogatepass")) <= 255 * 2


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
