"""A birthday run: how an easy NAT meets a hard one. Pure.

The hard side opens SOCKETS ports towards the easy side's one address; its NAT gives each an
outer port that nobody can know. The easy side probes random ports of the hard side's address, each
of which is one of those with probability SOCKETS/PORTS. docs/nat.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from hdpd.discovery.records import Candidate, NatKind
from hdpd.nat.scopes import is_public

Address = tuple[str, int]
Part = Literal["none", "open", "probe"]

SOCKETS: Final = 256
PROBES: Final = 2048
# Two runs at once, with all else, stay below the 500 packets a second of the process.
PACKETS_PER_S: Final = 200.0
PORTS: Final = 65536 - 1024  # NATs leave the lower ones alone (RFC 4787, section 4.2.2)
REOPEN_S: Final = 4.0  # each opened port sends again, because packets get lost
# The openings need not arrive, and at some NATs they do harm when they do (see punch.py); but where
# our own NAT is farther away than we know, only those that live longer open it.
SHORT_ROUNDS: Final = 2
DURATION_S: Final = PROBES / PACKETS_PER_S + 2.0
# What a call may send at most, when the calls come late.
_MAX_AT_ONCE: Final = 20


def part_of(own: NatKind, peer: NatKind) -> Part:
    """Which part this side has when plain pings fail; an unknown NAT is treated as easy."""
    if (own == "hard") == (peer == "hard"):
        return "none"
    return "open" if own == "hard" else "probe"


def public_ipv4(candidates: Sequence[Candidate]) -> Address | None:
    """The address that the peer's NAT shows to the internet, as far as it has told one."""
    order = ("stun", "observed", "local", "mapped")
    usable = [each for each in candidates if ":" not in each.host]
    for candidate in sorted(usable, key=lambda each: order.index(each.kind)):
        if candidate.kind != "local" or is_public(candidate.host):
            return candidate.host, candidate.port
    return None


class Pace:
    """How many packets are due at a steady rate."""

    def __init__(self, now: float) -> None:
        self._began = now
        self.sent = 0

    def due(self, now: float) -> int:
        """How many to send now; counts them as sent."""
        count = int((now - self._began) * PACKETS_PER_S) + 1 - self.sent
        count = max(0, min(count, _MAX_AT_ONCE))
        self.sent += count
        return count


class Opener:
    """The hard side: which of its sockets, numbered from 1, send to the peer's address now."""

    def __init__(self, now: float) -> None:
        self._pace = Pace(now)
        self._began = now
        self._round = 0
        self._next = 1

    @property
    def is_short(self) -> bool:
        """Whether the packets that open ports shall die behind our own NAT."""
        return self._round < SHORT_ROUNDS

    def advance(self, now: float) -> list[int]:
        if self._next > SOCKETS:
            if now < self._began + (self._round + 1) * REOPEN_S:
                return []
            self._round += 1
            self._next = 1
            self._pace = Pace(now)
        first = self._next
        self._next = min(first + self._pace.due(now), SOCKETS + 1)
        return list(range(first, self._next))


class Prober:
    """The easy side: which ports to probe now, each once, in an order that nobody can foresee."""

    def __init__(
        self, now: float, known: Iterable[int], random_bytes: Callable[[int], bytes]
    ) -> None:
        """`known` ports are pinged anyway."""
        self._pace = Pace(now)
        self._used = set(known)
        self._random_bytes = random_bytes
        self.count = 0

    def advance(self, now: float) -> list[int]:
        wanted = min(self._pace.due(now), PROBES - self.count)
        ports: list[int] = []
        while len(ports) < wanted:
            port = int.from_bytes(self._random_bytes(2))
            if port >= 65536 - PORTS and port not in self._used:
                self._used.add(port)
                ports.append(port)
        self.count += len(ports)
        return ports
