"""One punch: both peers send to each other at the same time until a packet gets through. Pure.

Every candidate of the peer is pinged. Whatever authentic ping arrives is answered and asked back,
so that addresses which only show when a packet comes from there are found as well (RFC 8445 calls
them peer-reflexive). A pong that echoes our nonce proves the way on which the ping was *sent*, as
RFC 9000 has it in section 8.2.3. What plain pings cannot do is left to a birthday run.

Who is behind a NAT first sends short-lived packets: they open the own NAT and die before they reach
the other one. A NAT at which a packet arrives before its own side has opened it may keep that in
mind and give its own side another port (Linux does where the router itself accepts packets), and
then no hole ever fits. For the same reason each punch has a socket of its own, never used before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from hdpd.discovery.records import Candidate, NatKind
from hdpd.nat.scopes import is_public
from hdpd.punching.birthday import DURATION_S, Address, Opener, Prober, part_of, public_ipv4
from hdpd.punching.packets import NONCE_BYTES, PacketCodec, PunchKeys
from hdpd.recent import Recent

HOME: Final = -1  # the slot of the main socket, to which a router may forward
BASE: Final = 0  # of the socket made for this punch; higher ones are opened for a birthday run
TICK_S: Final = 0.02  # how often `advance` is to be called
ORDINARY_S: Final = 5.0
HEAD_START_S: Final = 0.35  # by then the other side has heard of the agreement, and opened its NAT
BIRTHDAY_DELAY_S: Final = 1.0  # what needs no birthday run has got through by then
HELD_S: Final = 10.0  # an open way is kept warm so long for the connection that is to follow
SETTLE_S: Final = 0.15  # a better way may be a moment slower than the first
MAX_WAYS: Final = 64  # beyond the candidates; each costs at most 20 pings a second
MAX_PENDING: Final = 4096  # nonces of pings, about 1 MB; more than one run sends
# Each candidate is pinged so many seconds after the beginning (one beyond the NATs, after the head
# start), and then every _PING_S.
_EARLY_PINGS: Final = (0.0, 0.1, 0.25, 0.36, 0.5, 0.7)
_PING_S: Final = 0.5
_KEEP_WARM_S: Final = 1.0
_TRIGGERED_PING_S: Final = 0.05


class Way(Struct, frozen=True):
    """A socket of ours and an address of the peer."""

    slot: int
    address: Address


class Send(Struct, frozen=True):
    """A datagram to send, from the socket of `way.slot`, which is opened when it is not yet.

    A `short` one must not get farther than our own NAT.
    """

    way: Way
    datagram: bytes
    birthday: bool = False
    short: bool = False


class Progress(Struct):
    """What happened on one way; `rtt` in seconds proves it."""

    last_ping: float = float("-inf")
    heard: bool = False
    rtt: float | None = None


class Punch:
    """From the moment on that both sides have agreed. `random_bytes(n)` gives n random bytes.

    `may_begin` is asked when a birthday run is due; it says whether there is room for one.
    """

    def __init__(
        self,
        keys: PunchKeys,
        own_nat: NatKind,
        peer_nat: NatKind,
        candidates: Sequence[Candidate],
        now: float,
        random_bytes: Callable[[int], bytes],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.ways = {Way(BASE, (each.host, each.port)): Progress() for each in candidates}
        self.birthday: Opener | Prober | None = None
        self.opened_at: float | None = None
        self._target = public_ipv4(candidates)
        self._part = part_of(own_nat, peer_nat) if self._target else "none"
        self._may_begin = may_begin
        self._codec = PacketCodec(keys)
        self._random_bytes = random_bytes
        self._began = now
        self._near = [way for way in self.ways if not _is_behind_nat(way.address[0])]
        self._far = [way for way in self.ways if _is_behind_nat(way.address[0])]
        self._opens = own_nat != "none"
        self._rounds = 0
        self._next_round = now
        self._deadline = now + ORDINARY_S
        self._pending = Recent[bytes, tuple[Way, float]](MAX_PENDING)

    # What has become of it.

    def is_settled(self, now: float) -> bool:
        """Whether the best of the proved ways should be taken now."""
        return self.opened_at is not None and now >= self.opened_at + SETTLE_S

    def is_over(self, now: float) -> bool:
        """Whether its time is up: it failed, or nobody used what it had opened."""
        waits_for_birthday = self._part != "none" and now < self._began + BIRTHDAY_DELAY_S
        return now >= self._deadline and not waits_for_birthday

    def proved(self) -> dict[Way, float]:
        """The ways that were proved, each with its round trip in seconds."""
        return {way: seen.rtt for way, seen in self.ways.items() if seen.rtt is not None}

    def slots_in_use(self) -> set[int]:
        """The sockets on which the peer was heard; the others are of no use once it is open."""
        return {way.slot for way, seen in self.ways.items() if seen.heard or seen.rtt is not None}

    # Time.

    def advance(self, now: float) -> list[Send]:
        """What to send now; to be called every TICK_S until it `is_over`."""
        sends = []
        if now >= self._next_round:
            sends = self._round(now)
            self._rounds += 1
            self._next_round = self._time_of_next_round(now)
        if self.opened_at is None:
            sends += self._advance_birthday(now)
        return sends

    def _round(self, now: float) -> list[Send]:
        if self.opened_at is not None:
            return [self._ping(way, now) for way in self.proved()]
        near = [self._ping(way, now) for way in self._near]
        if now >= self._began + HEAD_START_S:
            return near + [self._ping(way, now) for way in self._far]
        return near + [self._ping(way, now, short=True) for way in self._far if self._opens]

    def _time_of_next_round(self, now: float) -> float:
        if self.opened_at is not None:
            return now + _KEEP_WARM_S
        if self._rounds < len(_EARLY_PINGS):
            return self._began + _EARLY_PINGS[self._rounds]
        return now + _PING_S

    def _advance_birthday(self, now: float) -> list[Send]:
        if self._target is None or self._part == "none":
            return []
        if self.birthday is None:
            if now < self._began + BIRTHDAY_DELAY_S or not self._may_begin():
                return []
            self._deadline = now + DURATION_S
            known = {way.address[1] for way in self._far}
            self.birthday = (
                Opener(now) if self._part == "open" else Prober(now, known, self._random_bytes)
            )
        if isinstance(self.birthday, Opener):
            ways = [Way(slot, self._target) for slot in self.birthday.advance(now)]
            short = self.birthday.is_short
        else:
            host = self._target[0]
            ways = [Way(BASE, (host, port)) for port in self.birthday.advance(now)]
            short = False
        return [self._ping(way, now, birthday=True, short=short) for way in ways]

    # Packets.

    def _ping(self, way: Way, now: float, *, birthday: bool = False, short: bool = False) -> Send:
        if way in self.ways and not short:
            self.ways[way].last_ping = now
        nonce = self._random_bytes(NONCE_BYTES)
        self._pending.put(nonce, (way, now))
        return Send(way, self._codec.ping(nonce), birthday, short)

    def receive(self, datagram: bytes, way: Way, now: float) -> list[Send] | None:
        """What to send because of a datagram that came on `way`; None when it is not the peer's."""
        packet = self._codec.read(datagram)
        if packet is None:
            return None
        if packet.is_ping:
            return self._answer(packet.nonce, way, now)
        asked = self._pending.pop(packet.nonce)
        if asked is not None:
            self._prove(asked[0], now - asked[1], now)
        return []

    def _answer(self, nonce: bytes, way: Way, now: float) -> list[Send]:
        sends = [Send(way, self._codec.pong(nonce))]
        seen = self._progress_of(way)
        if seen is not None:
            seen.heard = True
            if seen.rtt is None and now - seen.last_ping >= _TRIGGERED_PING_S:
                sends.append(self._ping(way, now))
        return sends

    def _prove(self, way: Way, rtt: float, now: float) -> None:
        seen = self._progress_of(way)
        if seen is None:
            return
        seen.rtt = rtt if seen.rtt is None else min(rtt, seen.rtt)
        if self.opened_at is None:
            self.opened_at = now
            self._deadline = now + HELD_S
            self._next_round = min(self._next_round, now + _KEEP_WARM_S)

    def _progress_of(self, way: Way) -> Progress | None:
        seen = self.ways.get(way)
        if seen is None and len(self.ways) < MAX_WAYS + len(self._near) + len(self._far):
            seen = self.ways[way] = Progress()
        return seen


def _is_behind_nat(host: str) -> bool:
    """Whether NATs stand on the way to `host`: it is a public IPv4 address."""
    return ":" not in host and is_public(host)
