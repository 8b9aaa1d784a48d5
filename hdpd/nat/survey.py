"""One look at the NAT: asks all STUN servers at once, then tries filtering and hairpinning.

The mapping is told from the main socket, since it is the main socket's. What may come in is tried
with a socket of its own, to which nobody has a way yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable

from msgspec import Struct, field

from hdpd.config import HostPort
from hdpd.errors import HdpdError
from hdpd.link.sockets import bound_socket
from hdpd.nat.classify import Observation, filtering_of
from hdpd.nat.report import Filtering, StunAnswer
from hdpd.nat.resolve import Resolver
from hdpd.nat.stun import StunClient
from hdpd.nat.stun_codec import (
    OTHER_ADDRESS_AND_PORT,
    OTHER_PORT,
    SAME,
    TRANSACTION_ID_BYTES,
    binding_request,
)

HAIRPIN_TRIES = 3
HAIRPIN_PAUSE_S = 0.3


class Findings(Struct):
    """What a survey has found so far. `others`: which server has which second address."""

    answers: list[StunAnswer] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    others: dict[HostPort, HostPort] = field(default_factory=dict)
    filtering: Filtering = "unknown"
    hairpin: bool | None = None

    def seen(self, version: int) -> list[Observation]:
        """The observations of one IP version, the fastest server's first."""
        return [each for each in self.observations if _version(each.mapped) == version]


def _version(address: HostPort) -> int:
    return 6 if ":" in address.host else 4


class Survey:
    """`client` asks over the main socket; `on_news` is called whenever `findings` have grown."""

    def __init__(self, client: StunClient, resolver: Resolver, on_news: Callable[[], None]) -> None:
        self.findings = Findings()
        self._client = client
        self._resolver = resolver
        self._on_news = on_news

    async def ask_all(self, servers: Iterable[HostPort], versions: Collection[int]) -> None:
        """Asks each server at its addresses of these IP versions; returns within 11 s."""
        await asyncio.gather(*(self._ask_server(server, versions) for server in servers))
        seen = self.findings.seen(4)
        if len({each.by for each in seen}) == 1:
            await self._ask_second_address(seen[0].by)

    async def _ask_server(self, server: HostPort, versions: Collection[int]) -> None:
        found = await self._resolver.resolve(server)
        addresses = [each for each in found if _version(each) in versions]
        if not addresses:
            why = "it has no address of a kind that works here" if found else "unknown name"
            self._note(StunAnswer(str(server), None, error=why))
            return
        await asyncio.gather(*(self._ask_address(server, each) for each in addresses))

    async def _ask_address(self, server: HostPort, address: HostPort) -> None:
        try:
            answered = await self._client.ask(address)
        except HdpdError as error:
            self._note(StunAnswer(str(server), address, error=error.message))
            return
        answer = answered.answer
        self.findings.observations.append(Observation(address, answer.mapped))
        if answer.other is not None and _version(answer.other) == _version(address):
            self.findings.others[address] = answer.other
        self._note(StunAnswer(str(server), address, answer.mapped, answered.rtt))

    async def _ask_second_address(self, server: HostPort) -> None:
        """One address alone tells nothing of the mapping, but the server may have two."""
        other = self.findings.others.get(server)
        if other is None:
            return
        with contextlib.suppress(HdpdError):
            answered = await self._client.ask(other)
            self.findings.observations.append(Observation(other, answered.answer.mapped))
            self._on_news()

    def _note(self, answer: StunAnswer) -> None:
        self.findings.answers.append(answer)
        self._on_news()

    async def try_what_comes_in(self, host: str, interface: str | None, *, hairpin: bool) -> None:
        """Filtering, and hairpinning if asked for; from a new socket on `host`, by `interface`."""
        seen = self.findings.seen(4)
        if not seen:
            return
        async with _probe_socket(host, interface) as probe:
            server = next((each for each in self.findings.others if _version(each) == 4), None)
            if server is not None:
                far, near = await asyncio.gather(
                    self._is_answered(probe, server, OTHER_ADDRESS_AND_PORT),
                    self._is_answered(probe, server, OTHER_PORT),
                )
                self.findings.filtering = filtering_of(far, near)
            if hairpin:
                self.findings.hairpin = await self._try_hairpin(probe, seen[0])
        self._on_news()

    async def _is_answered(self, probe: StunClient, server: HostPort, answer_from: int) -> bool:
        try:
            answered = await probe.ask(server, answer_from)
        except HdpdError:
            return False
        # Some servers do not know the question and answer from where they were asked.
        return answered.source != server

    async def _try_hairpin(self, probe: StunClient, main: Observation) -> bool | None:
        """Whether two sockets behind the NAT reach each other by their public addresses, when both
        send, as two peers behind it would.
        """
        try:
            other = (await probe.ask(main.by, SAME)).answer.mapped
        except HdpdError:
            return None
        ids = secrets.token_bytes(TRANSACTION_ID_BYTES), secrets.token_bytes(TRANSACTION_ID_BYTES)
        with self._client.expect(ids[0]) as here, probe.expect(ids[1]) as there:
            for _ in range(HAIRPIN_TRIES):
                probe.send(binding_request(ids[0]), main.mapped)
                self._client.send(binding_request(ids[1]), other)
                done, _ = await asyncio.wait(
                    [here, there], timeout=HAIRPIN_PAUSE_S, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return True
        return False


class _ProbeProtocol(asyncio.DatagramProtocol):
    """Feeds what arrives on a socket to its client."""

    client: StunClient

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client.receive(data, HostPort(addr[0], addr[1]))


@contextlib.asynccontextmanager
async def _probe_socket(host: str, interface: str | None) -> AsyncIterator[StunClient]:
    """A client with an IPv4 socket of its own on any free port of `host`."""
    loop = asyncio.get_running_loop()
    opened = bound_socket(host, 0, interface)
    transport, protocol = await loop.create_datagram_endpoint(_ProbeProtocol, sock=opened)
    protocol.client = StunClient(
        lambda datagram, to: transport.sendto(datagram, (to.host, to.port))
    )
    try:
        yield protocol.client
    finally:
        transport.close()
