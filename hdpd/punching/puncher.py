"""Runs punches: sends and receives their packets, opens sockets, and says what came of them.
Whole because each packet and each tick goes through all of it.

The decisions are in agreement.py, punch.py, birthday.py and pacing.py; this feeds them. Each punch
has a socket that nothing was sent through but a question to a STUN server.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct, field

from hdpd.discovery.records import Candidate, NatKind, Record
from hdpd.errors import HdpdError, NotReachable, ProtocolError
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.names import name_of
from hdpd.link.connection import Path
from hdpd.link.endpoint import Endpoint
from hdpd.link.sockets import UdpSocket
from hdpd.log import fields
from hdpd.nat.report import NatReport
from hdpd.nat.scopes import is_public
from hdpd.punching.agreement import OFFER_S, Agreements, Ask, Begin, Command
from hdpd.punching.pacing import Pacer
from hdpd.punching.packets import PUNCH_PING, PUNCH_PONG, PunchKeys, punch_tag
from hdpd.punching.punch import BASE, HOME, TICK_S, Punch, Send, Way

log = logging.getLogger(__name__)

TOO_MANY = "too many punches at once; %s has to wait"

MAX_OFFERS = 32  # sockets made for punches that are not agreed on yet ...
MAX_ANSWERS = 16  # ... of those for who asked us, so that made-up peers leave room for our own
MAX_PUNCHES = 8  # at once; each costs about 1 MB and, while it lasts, 1 % of a core
REPEAT_CHECK_S = 0.5
BOTH_HARD = "not reachable directly: both behind hard NAT"


class Surveyor(Protocol):
    """What knows our NAT."""

    def report(self) -> NatReport: ...
    def hops(self) -> int:
        """With how many hops to live a packet passes our NATs, and gets little further."""

    async def candidates_of(self, opened: UdpSocket) -> tuple[Candidate, ...]:
        """Where a new socket of ours can be reached; takes 2.5 s at most."""


class Offer(Struct, frozen=True, eq=False):
    """The socket of a punch that is not agreed on yet, and where it can be reached."""

    opened: UdpSocket
    candidates: asyncio.Task[tuple[Candidate, ...]]
    made: float
    is_answer: bool
    """The other side began."""


class Running(Struct, eq=False):
    """A punch that is under way with `peer_id`."""

    peer_id: PeerId
    topic_id: bytes
    punch: Punch
    own_nat: NatKind
    peer_nat: NatKind
    began: float
    sockets: dict[int, UdpSocket] = field(default_factory=dict)
    slots: dict[UdpSocket, int] = field(default_factory=dict)
    path: Path | None = None  # the best way, once it is settled

    def use(self, slot: int, opened: UdpSocket) -> None:
        self.sockets[slot] = opened
        self.slots[opened] = slot


class Puncher:
    """`send_request` brings an `Ask` with our candidates to its target, by whatever way; `on_open`
    gets the path that a punch found, `on_failed` why there is none, each once for a punch.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Identity,
        surveyor: Surveyor,
        send_request: Callable[[Ask, NatKind, Sequence[Candidate]], None],
        on_open: Callable[[Running, Path], None],
        on_failed: Callable[[Running, HdpdError], None],
    ) -> None:
        self._endpoint = endpoint
        self._identity = identity
        self._surveyor = surveyor
        self._send_request = send_request
        self._on_open = on_open
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._agreements = Agreements(secrets.token_bytes)
        self._pacer = Pacer()
        self._offers: dict[bytes, Offer] = {}  # by our nonce
        self._running: dict[bytes, Running] = {}  # by tag
        self._ticking: asyncio.TimerHandle | None = None
        self._repeating: asyncio.TimerHandle | None = None
        self.unknown_packets = 0
        endpoint.handle((PUNCH_PING, PUNCH_PONG), self._received)

    def start(self) -> None:
        """From now on requests that were not answered are repeated, and what is over ends."""
        self._repeat()

    def close(self) -> None:
        if self._repeating is not None:
            self._repeating.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
        for nonce in list(self._offers):
            self._drop_offer(nonce)
        for running in list(self._running.values()):
            self._end(running)

    # Agreeing.

    def propose(self, peer_id: PeerId, topic_id: bytes) -> None:
        """Asks the peer to punch, unless it was asked a moment ago."""
        if not self.is_punching(peer_id):
            self._do(self._agreements.propose(peer_id, topic_id, self._loop.time()))

    def receive(self, record: Record) -> None:
        """A punch request for us, from a peer with which we want to be connected."""
        self._do(self._agreements.receive(record, self._loop.time()))

    def is_punching(self, peer_id: PeerId) -> bool:
        return self.running(peer_id) is not None

    def running(self, peer_id: PeerId) -> Running | None:
        """The punch with that peer that is under way."""
        return next((each for each in self._running.values() if each.peer_id == peer_id), None)

    def forget(self, peer_id: PeerId) -> None:
        """The peer is connected, or not wanted any more: what is under way ends."""
        self._agreements.forget(peer_id)
        for running in [each for each in self._running.values() if each.peer_id == peer_id]:
            self._end(running)

    def _repeat(self) -> None:
        self._repeating = self._loop.call_later(REPEAT_CHECK_S, self._repeat)
        now = self._loop.time()
        for nonce in [nonce for nonce, each in self._offers.items() if now > each.made + OFFER_S]:
            self._drop_offer(nonce)
        self._do(self._agreements.advance(now))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Ask):
                self._ask(command)
            else:
                self._begin(command)

    def _ask(self, ask: Ask) -> None:
        """Sends the request as soon as it is known where the punch's socket can be reached."""
        offer = self._offers.get(ask.nonce)
        if offer is None:
            offer = self._make_offer(ask.nonce, is_answer=ask.answers is not None)
            if offer is None:
                log.info(TOO_MANY, name_of(ask.target), extra=_about(ask.target))
                return

        def send(task: asyncio.Task[tuple[Candidate, ...]]) -> None:
            if not task.cancelled():
                self._send_request(ask, self._surveyor.report().mapping, task.result())

        offer.candidates.add_done_callback(send)

    def _make_offer(self, nonce: bytes, *, is_answer: bool) -> Offer | None:
        answers = sum(each.is_answer for each in self._offers.values())
        if len(self._offers) >= MAX_OFFERS or (is_answer and answers >= MAX_ANSWERS):
            return None
        opened = self._endpoint.open_extra()
        if opened is None:
            return None
        task = self._loop.create_task(self._surveyor.candidates_of(opened), name="punch socket")
        offer = self._offers[nonce] = Offer(opened, task, self._loop.time(), is_answer)
        return offer

    def _drop_offer(self, nonce: bytes) -> None:
        offer = self._offers.pop(nonce, None)
        if offer is not None:
            offer.candidates.cancel()
            self._endpoint.release_extra(offer.opened)

    # Punching.

    def _begin(self, begin: Begin) -> None:
        record = begin.record
        assert record.punch is not None
        offer = self._offers.pop(begin.nonces[0], None)
        if offer is None:
            return
        if len(self._running) >= MAX_PUNCHES:
            log.info(TOO_MANY, name_of(record.peer_id), extra=_about(record.peer_id))
            self._endpoint.release_extra(offer.opened)
            return
        try:
            keys = PunchKeys.derive(
                self._identity,
                record.peer_id,
                record.exchange_public,
                record.topic_id,
                begin.nonces,
            )
        except ProtocolError as error:
            name = name_of(record.peer_id)
            log.info("punching with %s: %s", name, error, extra=_about(record.peer_id))
            self._endpoint.release_extra(offer.opened)
            return
        own_nat, now = self._surveyor.report().mapping, self._loop.time()
        punch = Punch(
            keys,
            own_nat,
            record.punch.nat,
            record.candidates,
            now,
            secrets.token_bytes,
            lambda: self._pacer.begin_birthday(keys.tag),
        )
        running = Running(
            record.peer_id, record.topic_id, punch, own_nat, record.punch.nat, began=now
        )
        running.use(BASE, offer.opened)
        self._running[keys.tag] = running
        log.debug(
            "punching with %s: %s here, %s there",
            name_of(record.peer_id),
            own_nat,
            running.peer_nat,
        )
        if self._ticking is None:
            self._tick()

    def _tick(self) -> None:
        now = self._loop.time()
        for running in list(self._running.values()):
            if running.punch.is_over(now):
                self._end(running)
                if running.path is None:
                    self._on_failed(running, self._failure(running))
                continue
            self._send(running, running.punch.advance(now), now)
            if running.path is None and running.punch.is_settled(now):
                self._settle(running, now)
        self._ticking = self._loop.call_later(TICK_S, self._tick) if self._running else None

    @staticmethod
    def _failure(running: Running) -> HdpdError:
        if running.own_nat == running.peer_nat == "hard":
            return NotReachable(BOTH_HARD)
        return NotReachable(
            "not reachable directly: no packet got through between the two networks"
        )

    def _settle(self, running: Running, now: float) -> None:
        """Takes the best way; whatever does not lead to the peer is closed."""
        in_use = running.punch.slots_in_use()
        for slot in [slot for slot in running.sockets if slot not in in_use]:
            self._endpoint.release_extra(running.sockets.pop(slot))
        self._pacer.end_birthday(self._tag_of(running))
        proved = running.punch.proved()
        best = min(proved, key=lambda way: (self._rank(way.address[0]), proved[way]))
        path = self._path(running, best)
        if path is None:
            return
        running.path = path
        log.info(
            "punched through to %s at %s port %d in %.1f s",
            name_of(running.peer_id),
            *best.address,
            now - running.began,
            extra=_about(running.peer_id),
        )
        self._on_open(running, path)

    def _rank(self, host: str) -> int:
        """The local network before other private ones before IPv6 before the rest."""
        if self._endpoint.is_on_link(host):
            return 0
        if not is_public(host):
            return 1
        return 2 if ":" in host else 3

    def _tag_of(self, running: Running) -> bytes | None:
        return next((tag for tag, each in self._running.items() if each is running), None)

    def _end(self, running: Running) -> None:
        tag = self._tag_of(running)
        if tag is None:
            return
        del self._running[tag]
        self._pacer.end_birthday(tag)
        for opened in running.sockets.values():
            self._endpoint.release_extra(opened)
        running.sockets.clear()

    # Packets.

    def _path(self, running: Running, way: Way) -> Path | None:
        through = None
        if way.slot != HOME:
            through = running.sockets.get(way.slot) or self._open(running, way.slot)
            if through is None:
                return None
        return self._endpoint.path_to(*way.address, through=through)

    def _open(self, running: Running, slot: int) -> UdpSocket | None:
        opened = self._endpoint.open_extra()
        if opened is not None:
            running.use(slot, opened)
        return opened

    def _send(self, running: Running, sends: list[Send], now: float) -> None:
        for send in sends:
            if not self._pacer.allow(send.way.address[0], now, birthday=send.birthday):
                continue
            path = self._path(running, send.way)
            if path is not None and send.short:
                path.socket.send_short(send.datagram, path.address, self._surveyor.hops())
            elif path is not None:
                self._endpoint.send([send.datagram], path)

    def _received(self, datagram: bytes, path: Path) -> None:
        tag = punch_tag(datagram)
        running = self._running.get(tag) if tag is not None else None
        is_lost = path.socket not in running.slots if running else True
        if running is None or (is_lost and self._endpoint.is_extra(path.socket)):
            self.unknown_packets += 1
            return
        now = self._loop.time()
        slot = running.slots.get(path.socket, HOME)
        sends = running.punch.receive(datagram, Way(slot, (path.host, path.port)), now)
        if sends is None:
            self.unknown_packets += 1
            return
        self._pacer.heard(path.host, now)
        self._send(running, sends, now)


def _about(peer_id: PeerId) -> dict[str, object]:
    """The fields of a record in the log."""
    return fields(peer=(name_of(peer_id), peer_id.text))
