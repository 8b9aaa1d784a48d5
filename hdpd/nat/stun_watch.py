"""Keeps knowing our public address: surveys now and then, and keeps the NAT's mapping alive.

Between surveys the fastest server is asked again before any NAT forgets the mapping (RFC 4787 has 2
minutes, real ones 30 s), so that what was announced stays true, and a change is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

from hdpd.backoff import Backoff
from hdpd.config import HostPort
from hdpd.errors import HdpdError
from hdpd.link.connection import Path
from hdpd.link.endpoint import Endpoint
from hdpd.link.sockets import UdpSocket
from hdpd.nat.classify import mapping_of
from hdpd.nat.depth import HOME_HOPS, hops_through_nat
from hdpd.nat.resolve import Resolver
from hdpd.nat.stun import StunClient
from hdpd.nat.stun_codec import FIRST_BYTES
from hdpd.nat.survey import Findings, Survey
from hdpd.tasks import keep_running

KEEP_ALIVE_S = 25.0
# Where there is no mapping to keep alive, only a change of the address is looked for.
LOOK_S = 60.0
SURVEY_S = 20 * 60.0
# For the socket of a punch, which is in a hurry.
OTHER_SOCKET_S, OTHER_SOCKET_SERVERS = 1.0, 2
RETRY = Backoff(4.0, 60.0)


class StunWatch:
    """`findings` are the newest that hold an answer; `asked` says that the servers had their time.

    `old` says that they are from before the last change of the network, `asking` that it is being
    looked at; `settled` is set when it is not. `on_news` is called when there is more to see.
    """

    def __init__(
        self, endpoint: Endpoint, servers: Sequence[HostPort], on_news: Callable[[], None]
    ) -> None:
        self.findings = Findings()
        self.asked = False
        self.old = False
        self.settled = asyncio.Event()
        if not servers:
            self.settled.set()
        self._endpoint = endpoint
        self._servers = servers
        self._on_news = on_news
        self._resolver = Resolver()
        self._client = StunClient(self._send)
        self._others: dict[UdpSocket, StunClient] = {}  # of punches that are being prepared
        self.hops = HOME_HOPS
        self._local: Sequence[HostPort] = ()
        self._look_again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        endpoint.handle(FIRST_BYTES, self._receive)

    @property
    def asking(self) -> bool:
        return not self.settled.is_set()

    def start(self) -> None:
        """Begins to ask."""
        if self._servers:
            self._task = keep_running(self._run, "stun")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def network_changed(self, local: Sequence[HostPort], *, leads_out: bool) -> None:
        """Our own addresses and ports are these now; asks all servers anew. Where no way
        `leads_out` any more, what was known is past at once.
        """
        self._local = local
        if not leads_out:
            self.findings = Findings()
            self.settled.set()
        elif self._servers:
            self.settled.clear()
        self.old = bool(self.findings.observations)
        self._look_again.set()

    async def ask_through(self, opened: UdpSocket) -> HostPort | None:
        """The public IPv4 address of another socket of ours, as the quicker server sees it."""
        seen = self.findings.seen(4)[:OTHER_SOCKET_SERVERS]
        if not seen:
            return None

        def send(datagram: bytes, to: HostPort) -> None:
            path = self._endpoint.path_to(to.host, to.port, through=opened)
            if path is not None:
                self._endpoint.send([datagram], path)

        client = self._others[opened] = StunClient(send)
        asking = [asyncio.ensure_future(client.ask(each.by)) for each in seen]
        try:
            for first in asyncio.as_completed(asking, timeout=OTHER_SOCKET_S):
                with contextlib.suppress(HdpdError):
                    return (await first).answer.mapped
        except TimeoutError:
            return None
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            del self._others[opened]
        return None

    # Datagrams.

    def _send(self, datagram: bytes, to: HostPort) -> None:
        path = self._endpoint.path_to(to.host, to.port)
        if path is not None:
            self._endpoint.send([datagram], path)

    def _receive(self, datagram: bytes, path: Path) -> None:
        client = self._others.get(path.socket, self._client)
        client.receive(datagram, HostPort(path.host, path.port))

    # The loop.

    async def _run(self) -> None:
        failures = 0
        while True:
            thorough = not self.findings.answers or self._look_again.is_set()
            self._look_again.clear()
            found = await self._survey(thorough=thorough)
            if self._look_again.is_set():
                continue
            if found:
                failures = 0
                await self._keep_alive()
            else:
                await self._pause(RETRY.delay(failures, random.random()))  # noqa: S311 (spreads load)
                failures += 1

    async def _survey(self, *, thorough: bool) -> bool:
        """Whether any server answered; `thorough` tries what comes in, too."""
        survey = Survey(self._client, self._resolver, lambda: self._adopt(survey, thorough))
        if not thorough:
            survey.findings.filtering = self.findings.filtering
            survey.findings.hairpin = self.findings.hairpin
        versions = {6 if ":" in each.host else 4 for each in self._local}
        await survey.ask_all(self._servers, versions)
        if self._look_again.is_set():
            return False  # it was another network that answered
        self.asked, self.old = True, False
        self.findings = survey.findings
        self.settled.set()
        self._on_news()
        seen = survey.findings.seen(4)
        # A traceroute would leave by any interface, whatever is bound.
        if thorough and seen and not self._endpoint.selection.bind:
            self.hops = await hops_through_nat(seen[0].by.host)
        if thorough:
            mapping = mapping_of(survey.findings.seen(4), self._local)
            host = self._probe_host()
            interface = self._endpoint.interface_of(host)
            await survey.try_what_comes_in(host, interface, hairpin=mapping == "easy")
        return bool(survey.findings.observations)

    def _adopt(self, survey: Survey, at_once: bool) -> None:
        """After a change the first answer counts; otherwise what is known holds until all answers
        are there, lest half of them look like another NAT.
        """
        if self._look_again.is_set():
            return  # it is another network that answers
        known = {each.mapped.host for each in self.findings.observations}
        moved = any(each.mapped.host not in known for each in survey.findings.observations)
        if survey.findings.observations and (at_once or moved or self.findings is survey.findings):
            self.findings = survey.findings
            self.old = False
            self._on_news()

    def _probe_host(self) -> str:
        hosts = [host for host in self._endpoint.bound_hosts if ":" not in host]
        return hosts[0] if hosts else "0.0.0.0"  # noqa: S104 (a socket for a few seconds)

    async def _keep_alive(self) -> None:
        """Returns when it is time for a survey, or something has changed."""
        loop = asyncio.get_running_loop()
        seen = self.findings.seen(4)
        mapping = mapping_of(seen, self._local)
        interval = KEEP_ALIVE_S if mapping in ("easy", "unknown") and seen else LOOK_S
        fastest = (seen or self.findings.observations)[0]
        end = loop.time() + SURVEY_S
        while loop.time() < end:
            await self._pause(interval * random.uniform(0.75, 1.0))  # noqa: S311 (spreads load)
            if self._look_again.is_set():
                return
            try:
                answered = await self._client.ask(fastest.by)
            except HdpdError:
                return
            now = answered.answer.mapped
            # Behind a hard NAT the port may be another one whenever the mapping was forgotten.
            if now.host != fastest.mapped.host or (mapping == "easy" and now != fastest.mapped):
                self._look_again.set()
                return

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but not through a change of the network."""
        try:
            async with asyncio.timeout(seconds):
                await self._look_again.wait()
        except TimeoutError:
            return
