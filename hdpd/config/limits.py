"""Limits of the transfer rates and their weekly schedule, and how they are read from text. Pure.

Every parser raises ValueError with what is wrong and what would be right, for a person to read.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

MIN_RATE: Final = 10_000
"""Bytes per second. Below it, answers that share the line would come too late for who waits."""

MAX_RATE: Final = 10**12  # beyond any line

MAX_SPANS: Final = 64  # several for each day of the week

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60

_DECIMAL: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_PREFIXES: Final = _DECIMAL | {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# A byte or a bit is told apart by its word, never by the case of a letter.
_RATE: Final = re.compile(r"([0-9]{1,13}(?:\.[0-9]{1,9})?) *([KMG]i|[kKMG])?(B|bit)/s")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})")

Value = int | bool | None
"""Of one key: a rate in bytes per second, None for no limit; a bool for `lan`."""


class Limits(Struct, frozen=True):
    """Rates in bytes per second, None for no limit. `lan`: they hold for peers on the local
    network, too.
    """

    upload: int | None = None
    download: int | None = None
    upload_per_peer: int | None = None
    download_per_peer: int | None = None
    lan: bool = False


KEYS: Final = Limits.__struct_fields__
RATE_KEYS: Final = tuple(key for key in KEYS if key != "lan")


class Span(Struct, frozen=True):
    """A time of the week, by the local clock, in which some limits are others.

    It begins on `days` (0 is Monday) at `start` and ends at `end`, both in minutes after midnight;
    an end that is not after the start is on the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    changes: tuple[tuple[str, Value], ...]

    def __str__(self) -> str:
        return f"{format_days(self.days)} {format_time(self.start)}-{format_time(self.end)}"


class LimitsConfig(Struct, frozen=True):
    """What the configuration says: the limits, and when others hold. The first span counts."""

    base: Limits = Limits()
    schedule: tuple[Span, ...] = ()


def parse_rate(value: str | int) -> int | None:
    """`2MB/s`, `500 kB/s`, `1.5MiB/s`, `16Mbit/s`, or bytes per second; None for `none`."""
    if value == "none":
        return None
    if isinstance(value, int):
        rate = value
    elif match := _RATE.fullmatch(value.strip()):
        number, prefix, unit = match[1], match[2] or "", match[3]
        rate = round(float(number) * _PREFIXES[prefix] / (8 if unit == "bit" else 1))
    else:
        raise ValueError(f"{value!r} is not a rate, such as 2MB/s, 500kB/s, 16Mbit/s or none")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{value!r} is out of bounds: a rate is from 10kB/s to 1000GB/s, or none")
    return rate


def format_rate(rate: int | None) -> str:
    """A short text that `parse_rate` reads as exactly this rate."""
    if rate is None:
        return "none"
    prefix = next(prefix for prefix in "GMk" if rate >= _DECIMAL[prefix])
    return f"{rate / _DECIMAL[prefix]:.13g}{prefix}B/s"


def parse_time(text: str) -> int:
    """Minutes after midnight; 24:00 is the end of the day."""
    match = _TIME.fullmatch(text)
    minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
    if not 0 <= minutes <= DAY_MINUTES:
        raise ValueError(f"{text!r} is not a time from 00:00 to 24:00")
    return minutes


def format_time(minutes: int) -> str:
    """`HH:MM`, which `parse_time` reads as exactly these minutes after midnight."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def parse_days(text: str) -> frozenset[int]:
    """Days and ranges of days with commas between, such as `mon-fri,sun`, or `daily`."""
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{text!r} are not days, such as mon-fri or sat,sun")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        # fri-mon goes over the end of the week.
        days |= {day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1)}
    return frozenset(days)


def format_days(days: frozenset[int]) -> str:
    """A text that `parse_days` reads as exactly these days."""
    return "daily" if len(days) == 7 else ",".join(DAYS[day] for day in sorted(days))
