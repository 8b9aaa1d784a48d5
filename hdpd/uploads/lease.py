"""What a peer is being sent while it may be: its reads, and when that is over. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

IDLE_S = 3.0
"""How long a lease outlives its last read: a slow round trip and a flush on the other side."""

TURN_BYTES = 64 * 1024 * 1024
"""On a fast line a turn ends here, after a fraction of a second, but late enough that a rotating
disk spends its time reading and not seeking. Also what a downloader may have in flight."""

LATE_S = 2.0
"""How long a slot is kept for the reads in flight after the turn: a fast reader has taken them by
then. A slow one takes them without a slot."""

DRAIN_S = 120.0
"""How long the reads in flight may take after the turn. A downloader has at least 4 MiB in flight,
which at a quarter of a 1 Mbit/s line take this long; resetting them would waste all of it."""

PACED_DRAIN_S = 900.0
"""The same, when it is our own limit that makes them wait: at 10 kB/s for four peers, 2 MB each."""

PACED_RECENTLY_S = 5.0
"""Between two slices of a slow rate a read may be found not to wait."""

STALL_S = 20.0
"""Without a byte gone for so long while others wait, the reader is not reading."""

READ_MEMORY_BYTES = 2 * 1024 * 1024
"""What a read takes at most while it is sent: two pieces, and what its stream holds unsent."""

LEASE_MEMORY_BYTES = 16 * 1024 * 1024
"""What all reads of a lease take. Further ones begin as others end, which makes nothing slower:
with eight long reads under way a line of 200 ms carries 40 MB/s."""


class Lease(Struct):
    """The reads of a peer that is being sent to, with numbers of the caller's choice."""

    turn_began: float
    last_progress: float
    granted_bytes: int = 0
    draining_since: float | None = None
    paced_at: float | None = None  # when a read was last seen to wait for the limit of the rate
    reads: dict[int, int] = field(default_factory=dict)  # read -> length
    held: dict[int, int] = field(default_factory=dict)  # granted as soon as there is memory
    memory_bytes: int = 0

    def begin_turn(self, now: float) -> None:
        """It is its peer's turn, for the first time or again."""
        self.turn_began = self.last_progress = now
        self.granted_bytes, self.draining_since = 0, None

    def take(self, read: int, length: int, now: float) -> Iterator[int]:
        """Makes a read part of this turn; those that may begin now."""
        if not self.reads:
            self.last_progress = now
        self.granted_bytes += length
        self.held[read] = length
        yield from self.begin_held()

    def begin_held(self) -> Iterator[int]:
        """Those that may begin now that others have ended."""
        while self.held:
            read = next(iter(self.held))
            memory = min(self.held[read], READ_MEMORY_BYTES)
            if self.reads and self.memory_bytes + memory > LEASE_MEMORY_BYTES:
                return
            self.memory_bytes += memory
            self.reads[read] = self.held.pop(read)
            yield read

    def drop(self, read: int) -> None:
        """Takes out a read that has ended, or never began."""
        if self.held.pop(read, None) is None:
            self.memory_bytes -= min(self.reads.pop(read), READ_MEMORY_BYTES)

    def ends_turn(self, now: float, turn_seconds: float) -> bool:
        """Whether a turn of at most so many seconds is over."""
        return self.draining_since is None and (
            self.granted_bytes >= TURN_BYTES or now - self.turn_began >= turn_seconds
        )

    def is_idle(self, now: float) -> bool:
        """Whether nothing is sent, and nothing more is to be expected."""
        return not self.reads and (
            self.draining_since is not None or now - self.last_progress >= IDLE_S
        )

    def is_late(self, now: float) -> bool:
        """Whether its reader takes what is left of its turn so slowly that the slot is for others.
        When our own limit makes it slow, another would be no faster.
        """
        return (
            self.draining_since is not None
            and now - self.draining_since >= LATE_S
            and not self._is_paced(now)
        )

    def _is_paced(self, now: float) -> bool:
        return self.paced_at is not None and now - self.paced_at < PACED_RECENTLY_S

    def is_stuck(self, now: float) -> bool:
        """Whether the reader takes nothing, or too long."""
        patience = PACED_DRAIN_S if self._is_paced(now) else DRAIN_S
        if self.draining_since is not None and now - self.draining_since >= patience:
            return True
        return bool(self.reads) and now - self.last_progress >= STALL_S
