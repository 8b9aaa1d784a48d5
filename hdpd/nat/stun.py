"""STUN transactions over a socket that others share: sends, retransmits, matches the answers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.nat.stun_codec import (
    SAME,
    TRANSACTION_ID_BYTES,
    BindingAnswer,
    binding_request,
    parse_answer,
    transaction_id_of,
)

# Seconds between the first sending, the retransmissions and giving up: 3 s in all. RFC 8489 would
# go on for 40 s; here another server is asked meanwhile.
RETRANSMIT_S = (0.25, 0.5, 1.0, 1.25)

Send = Callable[[bytes, HostPort], None]


class Answered(Struct, frozen=True):
    """An answer, where it came from, and how long it took in seconds."""

    answer: BindingAnswer
    source: HostPort
    rtt: float


class _Transaction(Struct):
    server: HostPort
    answer_from: int
    future: asyncio.Future[Answered]
    sent_at: float = 0.0


class StunClient:
    """Asks over one socket. `send` must not block; what arrives goes to `receive`."""

    def __init__(self, send: Send) -> None:
        self.unexpected = 0  # answers that nobody asked for: forged, late or repeated ones
        self._send = send
        # Only our own questions make entries, each for 3 s.
        self._waiting: dict[bytes, _Transaction] = {}
        self._expected: dict[bytes, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()

    async def ask(self, server: HostPort, answer_from: int = SAME) -> Answered:
        """The server's answer.

        Raises:
            TimedOut: there was none within 3 s.
            ProtocolError: it was a refusal, or it makes no sense.
        """
        transaction_id = secrets.token_bytes(TRANSACTION_ID_BYTES)
        request = binding_request(transaction_id, answer_from)
        transaction = _Transaction(server, answer_from, self._loop.create_future())
        self._waiting[transaction_id] = transaction
        try:
            for pause in RETRANSMIT_S:
                transaction.sent_at = self._loop.time()
                self._send(request, server)
                done, _ = await asyncio.wait([transaction.future], timeout=pause)
                if done:
                    return transaction.future.result()
        finally:
            del self._waiting[transaction_id]
            transaction.future.cancel()
        raise TimedOut("no answer")

    def send(self, datagram: bytes, to: HostPort) -> None:
        """Sends something over the socket."""
        self._send(datagram, to)

    @contextlib.contextmanager
    def expect(self, transaction_id: bytes) -> Iterator[asyncio.Future[None]]:
        """A future that is done when a message with that id arrives, answer or not."""
        arrived: asyncio.Future[None] = self._loop.create_future()
        self._expected[transaction_id] = arrived
        try:
            yield arrived
        finally:
            del self._expected[transaction_id]
            arrived.cancel()

    def receive(self, datagram: bytes, source: HostPort) -> None:
        """A datagram that looks like STUN; what nobody waits for changes only a counter."""
        transaction_id = transaction_id_of(datagram) or b""
        expected = self._expected.get(transaction_id)
        if expected is not None:
            if not expected.done():
                expected.set_result(None)
            return
        transaction = self._waiting.get(transaction_id)
        if transaction is None or transaction.future.done():
            self.unexpected += 1
            return
        if transaction.answer_from == SAME and source != transaction.server:
            self.unexpected += 1
            return
        try:
            answer = parse_answer(datagram)
        except ProtocolError as error:
            transaction.future.set_exception(error)
        else:
            rtt = self._loop.time() - transaction.sent_at
            transaction.future.set_result(Answered(answer, source, rtt))
