"""Which bytes of a file to ask for next, and how much may be under way. Pure.

`FileRanges` is one file: ranges go out in order, come back in any order, and the contiguous prefix
of verified ones is what a watermark may record. `Pace` follows the rate of one peer and says how
much to ask it for; `Window` is what the whole process may have under way.
"""

from __future__ import annotations

import heapq

from msgspec import Struct

KIB = 1024
MIB = 1024 * KIB

MIN_RANGE = 128 * KIB
"""On a line of a few kB/s a lost connection costs whole ranges, so they have to be small."""

MAX_RANGE = 4 * MIB
"""20 ms at 200 MB/s: the cost of asking is far below 1 %."""

RANGE_S = 0.25
"""A range takes about so long at the measured rate."""

RANGES_IN_FLIGHT = 3
"""So that there is always one on the way while another begins and a third ends."""

MAX_UNRECORDED = 48 * MIB
"""Asked for or received and not yet recorded as durable: what a crash may cost is less than 64 MiB,
and at 200 MB/s there is time for a sync (16 MiB, 80 ms) beside what arrives meanwhile. It bounds
the memory for bytes on their way to the disk too."""

FILE_COST = 16 * KIB
"""What a file, or a range of one, costs beside its bytes: buffers, and its settling."""

FIRST_RATE = 4.0 * MIB  # bytes/s assumed of a new peer: three ranges of 1 MiB
SAMPLE_S = 0.1  # shorter samples of the rate would measure bursts
IDLE_S = 2.0  # a longer silence says nothing about the line: there was nothing to send


class Range(Struct, frozen=True, order=True):
    """Bytes `start` to `end` (exclusive). `fresh`: nothing was ever written there."""

    start: int
    end: int
    fresh: bool

    @property
    def length(self) -> int:
        return self.end - self.start


class FileRanges:
    """The state of one file's bytes: recorded <= prefix <= high <= size.

    `recorded` is the durable watermark, `prefix` the contiguous verified bytes, and everything
    below `high` was asked for at some time. What came of a range that broke off is kept: it was of
    the same version of the file when a range that is asked for later proves to be of it.
    """

    def __init__(self, size: int, recorded: int = 0) -> None:
        if not 0 <= recorded <= size:
            raise ValueError(f"a watermark of {recorded} in a file of {size} bytes")
        self.size = size
        self.recorded = self.prefix = self.high = recorded
        self._verified: dict[int, int] = {}  # start -> end, beyond the prefix
        self._missing: list[tuple[int, int]] = []  # a heap: asked for, and failed
        self._asked = 0
        self._in_flight: dict[Range, int] = {}  # and how many were asked for before
        self._kept: dict[Range, int] = {}  # bytes that came of ranges in flight, which broke off
        # Start -> end, and how many ranges had been asked for when it broke off.
        self._unverified: dict[int, tuple[int, int]] = {}

    @property
    def complete(self) -> bool:
        return self.prefix == self.size

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to ask for, unless a range in flight fails."""
        return self.high == self.size and not self._missing

    @property
    def retrying(self) -> bool:
        """Whether the next range is one that failed, for which no more than now is unrecorded."""
        return bool(self._missing)

    @property
    def unrecorded(self) -> int:
        """Bytes that a crash now would make us ask for once more."""
        return self.high - self.recorded

    @property
    def verified_bytes(self) -> int:
        return self.prefix + sum(end - start for start, end in self._verified.items())

    @property
    def unverified_bytes(self) -> int:
        """What was kept of ranges that broke off."""
        return sum(end - start for start, (end, _asked) in self._unverified.items())

    @property
    def extent(self) -> int:
        """The end of the last byte that is there."""
        ends = [*self._verified.values(), *(end for end, _asked in self._unverified.values())]
        return max(ends, default=self.prefix)

    def next(self, length: int) -> Range | None:
        """The next range to ask for, at most `length` long, or None when there is none now.

        Failed ones come first, then new ones as far as the watermark allows.
        """
        if self._missing:
            start, end = heapq.heappop(self._missing)
            if end - start > length:
                heapq.heappush(self._missing, (start + length, end))
                end = start + length
            return self._ask(Range(start, end, fresh=False))
        end = min(self.high + length, self.size, self.recorded + MAX_UNRECORDED)
        if end == self.high:
            return None
        start, self.high = self.high, end
        return self._ask(Range(start, end, fresh=True))

    def _ask(self, asked: Range) -> Range:
        self._in_flight[asked] = self._asked
        self._asked += 1
        return asked

    def verified(self, asked: Range) -> None:
        """The range is on the disk and its validator was right."""
        number = self._in_flight.pop(asked)
        if asked.start < self.size:
            self._verified[asked.start] = min(asked.end, self.size)
        for start, (end, asked_before) in list(self._unverified.items()):
            if asked_before <= number:
                del self._unverified[start]
                self._verified[start] = end
        while self.prefix in self._verified:
            self.prefix = self._verified.pop(self.prefix)

    def keep(self, asked: Range, size: int) -> int:
        """The range is about to fail, but its first `size` bytes are on the disk, or on their way
        there; how many of them are kept.
        """
        # Something is left to be asked for, which verifies the rest.
        self._kept[asked] = max(0, min(size, min(asked.end, self.size) - asked.start - 1))
        return self._kept[asked]

    def failed(self, asked: Range) -> None:
        """The range has to be asked for again, except for what was kept."""
        del self._in_flight[asked]
        start = asked.start + self._kept.pop(asked, 0)
        if start > asked.start:
            self._unverified[asked.start] = start, self._asked
        if start < self.size:
            heapq.heappush(self._missing, (start, min(asked.end, self.size)))

    def give_up(self) -> None:
        """Nothing is under way any more."""
        for asked in list(self._in_flight):
            self.failed(asked)

    def record(self, watermark: int) -> None:
        """`watermark`, a former prefix, is recorded as durable."""
        if not self.recorded <= watermark <= self.prefix:
            raise ValueError(f"a watermark of {watermark} beyond {self.prefix} verified bytes")
        self.recorded = watermark

    def resize(self, size: int) -> None:
        """The file turns out to have another size than listed, before anything was verified."""
        if self.prefix or self._verified:
            raise ValueError("a file of which bytes were verified cannot have another size")
        self.size = size
        self.high = min(self.high, size)
        self._missing = [(start, min(end, size)) for start, end in self._missing if start < size]
        heapq.heapify(self._missing)


class Pace:
    """How fast one peer sends, and what to ask it for; costs count as bytes."""

    def __init__(self) -> None:
        self.rate = FIRST_RATE
        self.connections = 1  # connections that share it
        self.in_flight = 0
        self._arrived = 0
        self._since: float | None = None

    @property
    def range_length(self) -> int:
        length = int(self.rate / self.connections * RANGE_S)
        return max(MIN_RANGE, min(length - length % MIN_RANGE, MAX_RANGE))

    def limit(self, round_trip: float) -> int:
        """Bytes to have in flight: twice rate x round trip (seconds), at least a few ranges.

        It doubles with each round trip while the line has more to give.
        """
        return min(
            max(
                RANGES_IN_FLIGHT * self.connections * self.range_length,
                int(2 * self.rate * round_trip),
            ),
            MAX_UNRECORDED,
        )

    def asked(self, cost: int) -> None:
        self.in_flight += cost

    def arrived(self, cost: int, now: float) -> None:
        """`cost` of what was asked for is here."""
        self.in_flight -= cost
        if self._since is None or now - self._since > IDLE_S:
            self._since, self._arrived = now, 0
            return
        self._arrived += cost
        elapsed = now - self._since
        if elapsed >= SAMPLE_S:
            sample = self._arrived / elapsed
            # Quick upwards, so that a fast line is filled soon; slow downwards over mere hiccups.
            weight = 0.5 if sample > self.rate else 0.1
            self.rate += weight * (sample - self.rate)
            self._since, self._arrived = now, 0

    def returned(self, cost: int) -> None:
        """`cost` of what was asked for will not come."""
        self.in_flight -= cost


class Window:
    """What is under way to one volume: asked for or received, and not yet durable. A volume that
    hangs holds what is under way to it, so each has a window of its own.
    """

    def __init__(self) -> None:
        self.used = 0

    def allows(self, cost: int) -> bool:
        # An empty window takes anything, or what is larger than it would wait for ever.
        return self.used == 0 or self.used + cost <= MAX_UNRECORDED

    def take(self, cost: int) -> None:
        self.used += cost

    def give(self, cost: int) -> None:
        self.used -= cost
