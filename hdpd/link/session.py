"""The authenticated link to one peer: the hello, then requests both ways, until it is closed.

`dial_hello` and `accept_hello` turn a connection into a `Session` or close it; nothing else of a
peer is listened to before that. A request is served only while a common topic stands. Whole because
asking, answering, proving topics and noticing silence are about the same few streams and pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, cast

from msgspec import Struct

from hdpd.errors import (
    AuthenticationFailed,
    ConnectionLost,
    HdpdError,
    NoCommonTopic,
    ProtocolError,
    TimedOut,
)
from hdpd.identity.addresses import source_of
from hdpd.identity.keys import Identity, PeerId, peer_id_of_certificate
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic
from hdpd.link.connection import Connection, Path
from hdpd.link.endpoint import Endpoint
from hdpd.link.hello import Answerer, Asker
from hdpd.link.liveness import Liveness
from hdpd.link.paths import PathProbes
from hdpd.link.stream import REQUEST_BUDGET, Stream
from hdpd.log import fields
from hdpd.wire.codec import frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import (
    Batch,
    Hello,
    Read,
    Request,
    ResetCode,
    Topics,
    error_answer,
    parse_request,
    raise_if_error,
)

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 8.0  # for the whole hello, beyond four round trips on any usable link
PROOF_TIMEOUT_S = 15.0
MAX_REQUESTS = 128  # served at once for one peer; each may hold a stream's buffers

R = TypeVar("R", bound=Request)
Handler = Callable[["Session", Request, Stream], Awaitable[None]]


class Handlers(dict[str, Handler]):
    """Who answers which request: one for each class, under the name that it has on the wire."""

    def answer(
        self, kind: type[R], handler: Callable[[Session, R, Stream], Awaitable[None]]
    ) -> None:
        """Requests of this class go to `handler` from now on."""
        # A session looks handlers up by what a request is, so each gets its own kind only.
        self[kind.name] = cast("Handler", handler)


class Surroundings(Struct, frozen=True):
    """What every session needs to know: who we are, what we have joined, who answers what."""

    identity: Identity
    endpoint: Endpoint
    topics: Callable[[], tuple[Topic, ...]]
    handlers: Mapping[str, Handler]


class Session:
    """One peer, proved. Ends by `close` or by itself; `on_closed` is then called once."""

    def __init__(
        self,
        connection: Connection,
        around: Surroundings,
        peer_id: PeerId,
        certificate_hash: bytes,
        topics: frozenset[bytes],
        offered: tuple[Topic, ...],
        *,
        bulk: bool,
    ) -> None:
        self.peer_id = peer_id
        self.bulk = bulk  # for reads only, beside another session of the peer
        self.name = name_of(peer_id)
        self.topics = topics
        self.offered = offered  # what we had joined when the hello began
        self.since = asyncio.get_running_loop().time()
        self.on_closed: Callable[[Session], None] = lambda session: None
        self.on_topics: Callable[[Session], None] = lambda session: None
        self.on_silent: Callable[[Session], None] = lambda session: None
        self.on_path: Callable[[Session], None] = lambda session: None
        self._connection = connection
        self._around = around
        self._certificate_hash = certificate_hash
        self._requests: dict[Stream, asyncio.Task[None]] = {}
        self._proofs = 0  # rounds of `topics` that were applied, whichever side asked
        self._proving = asyncio.Lock()  # held while we ask
        self._loop = asyncio.get_running_loop()
        connection.on_stream = self.serve
        connection.on_reset = self._hung_up
        connection.on_ended = self._ended
        connection.on_path = lambda: self.on_path(self)
        self._liveness = Liveness(connection, lambda: self.on_silent(self))

    @property
    def closed(self) -> bool:
        return self._connection.ended is not None

    @property
    def open_requests(self) -> int:
        """How many requests of ours are not answered in full."""
        return self._connection.own_streams

    @property
    def received_bytes(self) -> int:
        """What has come on all streams."""
        return self._connection.received_bytes

    @property
    def dialled_by_us(self) -> bool:
        return self._connection.role == "client"

    @property
    def address(self) -> tuple[str, int]:
        """Where the peer is reached now."""
        return self._connection.path.host, self._connection.path.port

    @property
    def source(self) -> str:
        """What it has in common with all others that are perhaps of the same person."""
        return source_of(self.address[0])

    @property
    def on_lan(self) -> bool:
        """Whether it goes to another machine on the local network, without a router, just now."""
        endpoint, host = self._around.endpoint, self.address[0]
        return endpoint.is_on_link(host) and not endpoint.is_this_machine(host)

    @property
    def path(self) -> Path:
        """The socket and the address that it goes on at now."""
        return self._connection.path

    @property
    def end(self) -> HdpdError | None:
        """Why it ended, once it has."""
        return self._connection.ended

    @property
    def close_code(self) -> int | None:
        """The code with which the peer closed it, if it did."""
        return self._connection.close_code

    # Asking.

    async def call(self, request: Request, *, budget: int) -> Stream:
        """Sends `request`; the answer, of at most `budget` bytes, comes on the stream.

        Raises:
            ConnectionLost, Busy: the session ended, or the peer leaves no room for a request.
        """
        message = frame(request.to_wire())
        stream = await self._connection.open_stream(budget)
        await stream.send(message, end=True)
        self._liveness.expect_answer()
        return stream

    async def ask(self, request: Request, *, timeout: float = 30.0) -> Message:
        """Like `call` for requests that are answered with one message; raises what it says."""
        with await self.call(request, budget=REQUEST_BUDGET) as stream:
            answer = await stream.receive(timeout)
        raise_if_error(answer)
        return answer

    async def renew_topics(self) -> None:
        """Proves our topics anew after one was joined or left, and learns which are common now.

        Closes the session when none is left.
        """
        joined = {topic.public_id for topic in self._around.topics()}
        self._set_topics(self.topics & joined)
        async with self._proving:
            await self._prove_topics()

    async def _prove_topics(self) -> None:
        while not self.closed:
            before = self._proofs
            asker = Asker(
                self._around.identity,
                self.peer_id,
                self._certificate_hash,
                self._around.topics(),
                secrets.token_bytes,
                first=False,
            )
            with await self._connection.open_stream(REQUEST_BUDGET) as stream:
                await stream.send(frame(asker.request()))
                await stream.send(
                    frame(asker.prove(await stream.receive(PROOF_TIMEOUT_S))), end=True
                )
                common = asker.common_topics(await stream.receive(PROOF_TIMEOUT_S))
            if before == self._proofs:
                self._proofs += 1
                self._set_topics(common)
                return
            # The peer asked meanwhile, so what we have just learned may be older than what it knew.

    def _set_topics(self, topics: frozenset[bytes]) -> None:
        if topics == self.topics:
            return
        self.topics = topics
        if topics:
            self.on_topics(self)
        else:
            self._connection.close(ResetCode.REFUSED, NoCommonTopic())

    # Answering.

    def serve(self, stream: Stream) -> None:
        """Answers the request on a stream that the peer opened."""
        if len(self._requests) >= MAX_REQUESTS:
            stream.reset(ResetCode.BUSY)
            return
        task = self._loop.create_task(self._serve(stream), name=f"request of {self.name}")
        self._requests[stream] = task
        task.add_done_callback(lambda _: self._requests.pop(stream, None))

    def _hung_up(self, stream: Stream) -> None:
        """Nobody waits for the answer any more; what goes on would hold one of the places."""
        task = self._requests.get(stream)
        if task is not None:
            task.cancel()

    async def _serve(self, stream: Stream) -> None:
        try:
            request = parse_request(await stream.receive())
            if self.bulk and not isinstance(request, Read | Batch):
                raise ProtocolError("this connection is for reads only")
            if isinstance(request, Topics):
                await self._answer_topics(request, stream)
                return
            handler = self._around.handlers.get(request.name)
            if handler is None:
                raise ProtocolError(f"the request {request.name!r} has no place here")
            if not self.topics:
                raise NoCommonTopic
            await handler(self, request, stream)
        except ConnectionLost:
            pass
        except HdpdError as error:
            await self._refuse(stream, error)
        except Exception:
            about = fields(peer=(self.name, self.peer_id.text))
            log.exception("a request of %s failed", self.name, extra=about)
            stream.reset(ResetCode.INTERNAL_ERROR)
        finally:
            stream.reset(ResetCode.INTERNAL_ERROR)
        await self._connection.drained()

    async def _refuse(self, stream: Stream, error: HdpdError) -> None:
        if stream.answered:
            stream.reset(_RESET_CODES.get(error.code, ResetCode.INTERNAL_ERROR))
            return
        with contextlib.suppress(HdpdError):  # it went away meanwhile, which is as good
            await stream.send_message(error_answer(error), end=True)

    async def _answer_topics(self, request: Topics, stream: Stream) -> None:
        if self._around.identity.peer_id < self.peer_id:
            # Two who ask at once would for ever find that the other one has asked meanwhile, so
            # one of them lets the other wait.
            async with self._proving:
                pass
        answerer = Answerer(
            self._around.identity,
            self.peer_id,
            self._certificate_hash,
            self._around.topics(),
            secrets.token_bytes,
        )
        await stream.send_message(answerer.challenge(request))
        proofs = await stream.receive(PROOF_TIMEOUT_S)
        answer, common = answerer.check(proofs)
        await stream.send_message(answer, end=True)
        self._proofs += 1
        self._set_topics(common)

    # Staying alive.

    @property
    def rtt(self) -> float:
        """The round trip time in seconds; 0 until the first answer."""
        return self._liveness.rtt

    @property
    def silence(self) -> float:
        """For how many seconds pings have been unanswered."""
        return self._liveness.silence

    @property
    def is_silent(self) -> bool:
        """Whether pings have been unanswered for longer than can be explained by a slow link."""
        return self._liveness.is_silent

    def probe(self, path: Path) -> None:
        """Asks whether the peer can be reached on `path`; the session moves there when it can."""
        self._connection.probe(path, self._loop.time())

    def move(self, path: Path) -> None:
        """Goes on at `path`: a punch has proved that the peer is there."""
        self._connection.move(path, self._loop.time())

    def ping_now(self) -> None:
        """Finds out soon whether the peer is still there."""
        self._liveness.ping_now()

    # The end.

    def close(self, code: ResetCode = ResetCode.OK) -> None:
        self._connection.close(code)

    def _ended(self, error: HdpdError) -> None:
        self._liveness.close()
        for task in self._requests.values():
            task.cancel()
        self.on_closed(self)


_RESET_CODES = {
    "file_changed": ResetCode.FILE_CHANGED,
    "file_unreadable": ResetCode.FILE_UNREADABLE,
    "slot_lost": ResetCode.SLOT_LOST,
    "cancelled": ResetCode.CANCELLED,
    "busy": ResetCode.BUSY,
    "protocol_error": ResetCode.PROTOCOL_ERROR,
}


async def dial_hello(
    connection: Connection, around: Surroundings, expected: PeerId, *, bulk: bool = False
) -> Session:
    """The client's side of the hello, from a connection that was just dialled.

    Raises:
        AuthenticationFailed: somebody else answers at that address.
        NoCommonTopic: the peer knows none of our topics, or hides it.
        TimedOut, ConnectionLost, ProtocolError: as they say. The connection is closed then.
    """
    shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    connection.on_handshake = lambda: None if shaken.done() else shaken.set_result(None)
    connection.on_ended = lambda error: None if shaken.done() else shaken.set_exception(error)
    # The server may ask as soon as it has sent its proofs, which may come here a moment later. No
    # more is kept than would be served at once (64 KiB each), since nothing is proved yet.
    early: list[Stream] = []

    def keep(stream: Stream) -> None:
        if len(early) < MAX_REQUESTS:
            early.append(stream)
        else:
            connection.close(ResetCode.PROTOCOL_ERROR)

    connection.on_stream = keep
    try:
        await shaken
        certificate = connection.peer_certificate()
        if peer_id_of_certificate(certificate) != expected:
            raise AuthenticationFailed("another peer answers at that address")
        certificate_hash = hashlib.sha256(certificate).digest()
        topics = around.topics()
        asker = Asker(
            around.identity,
            expected,
            certificate_hash,
            topics,
            secrets.token_bytes,
            first=True,
        )
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            with await connection.open_stream(REQUEST_BUDGET) as stream:
                await stream.send(frame(asker.request(bulk=bulk)))
                await stream.send(frame(asker.prove(await stream.receive())), end=True)
                common = asker.common_topics(await stream.receive())
        if not common:
            raise NoCommonTopic
    except TimeoutError:
        connection.close(ResetCode.REFUSED)
        raise TimedOut("the peer did not finish the hello") from None
    except ConnectionLost as error:
        if connection.close_code == ResetCode.REFUSED:
            raise NoCommonTopic from None
        raise error
    except BaseException:
        connection.close(ResetCode.REFUSED)
        raise
    connection.probes = PathProbes("client", asker.nonce, asker.peer_nonce)
    session = Session(connection, around, expected, certificate_hash, common, topics, bulk=bulk)
    around.endpoint.established(connection)
    for stream in early:
        session.serve(stream)
    return session


async def accept_hello(connection: Connection, around: Surroundings) -> Session:
    """The server's side of the hello, from a connection that was just accepted.

    Raises:
        HdpdError: the client failed to prove itself. The connection is closed then, always with
            the same code, so that a stranger learns nothing.
    """
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Stream] = loop.create_future()

    def first_stream(stream: Stream) -> None:
        if opened.done():
            connection.close(ResetCode.REFUSED)
        else:
            opened.set_result(stream)

    connection.on_stream = first_stream
    connection.on_ended = lambda error: None if opened.done() else opened.set_exception(error)
    certificate_hash = hashlib.sha256(around.endpoint.engines.certificate.der).digest()
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            stream = await opened
            request = parse_request(await stream.receive())
            if not isinstance(request, Hello):
                raise ProtocolError("the first request is not a hello")
            topics = around.topics()
            answerer = Answerer(
                around.identity, None, certificate_hash, topics, secrets.token_bytes
            )
            await stream.send_message(answerer.challenge(request))
            answer, common = answerer.check(await stream.receive())
            # The client may use the session as soon as it has this, so it must exist by then.
            assert answerer.peer_id is not None
            connection.probes = PathProbes("server", answerer.peer_nonce, answerer.nonce)
            session = Session(
                *(connection, around, answerer.peer_id, certificate_hash, common, topics),
                bulk=request.bulk,
            )
            around.endpoint.established(connection)
            await stream.send_message(answer, end=True)
    except TimeoutError:
        connection.close(ResetCode.REFUSED)
        raise TimedOut("the peer did not finish the hello") from None
    except BaseException:
        connection.close(ResetCode.REFUSED)
        raise
    return session
