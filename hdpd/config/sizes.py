"""Amounts of bytes as people write and read them, and how much of a volume is kept free. Pure."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

UNITS: Final = {
    unit: factor
    for power, letter in enumerate("KMGTP", 1)
    for unit, factor in ((f"{letter}B", 1000**power), (f"{letter}iB", 1024**power))
} | {"B": 1}
MAX_BYTES: Final = 2**63 - 1  # what the database and the file system calls can take

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{1,3})?")
_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)\s*%")
_BY_LETTERS: Final = {unit.lower(): factor for unit, factor in UNITS.items()}


class Reserve(Struct, frozen=True):
    """What is kept free of a volume: so many bytes, or a part of it."""

    bytes: int = 0
    percent: float = 0.0

    def of(self, total: int) -> int:
        """The bytes of a volume of `total` bytes that are kept free."""
        return self.bytes + int(total * self.percent / 100)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent else exact_size(self.bytes)


def parse_size(text: str) -> int:
    """Bytes: a number with a unit such as `20GB` (1000s) or `20GiB` (1024s), or 0.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = match and (_BY_LETTERS.get(match[2].lower()) if match[2] else 1)
    if match is None or factor is None or (match[2] is None and float(match[1]) != 0):
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as 20GB")
    size = int(float(match[1]) * factor)
    if size > MAX_BYTES:
        raise ValueError(f"{text!r} is more than any volume holds")
    return size


def parse_reserve(text: str) -> Reserve:
    """A size, or a percentage such as `5%`.

    Raises:
        ValueError: it is neither.
    """
    if match := _PERCENT.fullmatch(text.strip()):
        return Reserve(percent=float(match[1]))
    try:
        return Reserve(bytes=parse_size(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a size such as 1GB or a percentage such as 5%") from None


def exact_size(size: int) -> str:
    """In the largest unit that leaves a whole number, so that it can be read back."""
    unit = max((u for u, factor in UNITS.items() if size % factor == 0), key=UNITS.__getitem__)
    return f"{size // UNITS[unit]}{unit}" if size else "0B"


def shown_size(size: int) -> str:
    """For people: 999 B, 1.2 kB, 34.5 MB, 678 GB."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
