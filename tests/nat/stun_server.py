"""A STUN server on two addresses and two ports (RFC 5780), for tests; run as a program.

`python -m tests.nat.stun_server ADDRESS ADDRESS [--plain]` listens on ports 3478 and 3479 of both.
With `--plain` it answers as most public servers do: it knows no other address and changes nothing.
"""

from __future__ import annotations

import selectors
import socket
import sys
from typing import NamedTuple

from aioice import stun

PORTS = (3478, 3479)
CHANGE_IP, CHANGE_PORT = 4, 2


class Here(NamedTuple):
    """Which of the addresses and which of the ports a socket has."""

    address: int
    port: int


class StunServer:
    """All sockets of the server; `answer_all` serves those that are readable."""

    def __init__(self, addresses: tuple[str, str], *, plain: bool = False) -> None:
        self.addresses = addresses
        self.plain = plain
        self.selector = selectors.DefaultSelector()
        self.sockets: dict[Here, socket.socket] = {}
        for a, address in enumerate(addresses):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for p, port in enumerate(PORTS):
                opened = socket.socket(family, socket.SOCK_DGRAM)
                opened.bind((address, port))
                self.sockets[Here(a, p)] = opened
                self.selector.register(opened, selectors.EVENT_READ, Here(a, p))

    def run(self) -> None:
        """Serves until it is killed."""
        while True:
            for key, _ in self.selector.select():
                here: Here = key.data
                data, client = self.sockets[here].recvfrom(2048)
                self._answer(here, data, client)

    def _answer(self, here: Here, data: bytes, client: tuple[str, int]) -> None:
        try:
            request = stun.parse_message(data)
        except ValueError:
            return
        if request.message_class != stun.Class.REQUEST:
            return
        answer = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = client[:2]
        source = here
        if not self.plain:
            change = request.attributes.get("CHANGE-REQUEST", 0)
            source = Here(
                here.address ^ bool(change & CHANGE_IP), here.port ^ bool(change & CHANGE_PORT)
            )
            answer.attributes["RESPONSE-ORIGIN"] = self._name(source)
            answer.attributes["OTHER-ADDRESS"] = self._name(Here(here.address ^ 1, here.port ^ 1))
        self.sockets[source].sendto(bytes(answer), client)

    def _name(self, which: Here) -> tuple[str, int]:
        return self.addresses[which.address], PORTS[which.port]


def main(arguments: list[str]) -> None:
    first, second = (text for text in arguments if text != "--plain")
    StunServer((first, second), plain="--plain" in arguments).run()


if __name__ == "__main__":
    main(sys.argv[1:])
