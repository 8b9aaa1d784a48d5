"""Sockets for punches: made-up peers who ask leave room for those whom we ask."""

from __future__ import annotations

from collections.abc import Sequence

from hdpd.discovery.records import Candidate, NatKind
from hdpd.link.sockets import UdpSocket
from hdpd.nat.report import NatReport
from hdpd.punching import puncher
from hdpd.punching.agreement import Ask
from hdpd.punching.puncher import Puncher
from tests.link.helpers import Node, identity, nodes
from tests.waiting import until


class Surveyor:
    """A machine whose sockets can be reached at loopback."""

    def report(self) -> NatReport:
        return NatReport()

    def hops(self) -> int:
        return 1

    async def candidates_of(self, opened: UdpSocket) -> tuple[Candidate, ...]:
        return (Candidate("127.0.0.1", opened.port, "local"),)


async def test_those_who_ask_us_take_a_part_of_the_sockets() -> None:
    async with nodes(Node()) as (node,):
        asked: list[bytes | None] = []

        def send(ask: Ask, _nat: NatKind, _candidates: Sequence[Candidate]) -> None:
            asked.append(ask.answers)

        made = Puncher(
            node.endpoint, node.identity, Surveyor(), send, lambda *_: None, lambda *_: None
        )
        topic_id = node.topics[0].public_id
        for number in range(puncher.MAX_OFFERS):
            nonce = number.to_bytes(16)
            made._do([Ask(identity(number).peer_id, topic_id, nonce, b"theirs")])
        for number in range(100, 104):
            made.propose(identity(number).peer_id, topic_id)
        await until(lambda: asked.count(None) == 4, "our own requests")
        assert asked.count(b"theirs") == puncher.MAX_ANSWERS
        made.close()
