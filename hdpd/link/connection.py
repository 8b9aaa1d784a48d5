"""One QUIC connection: its engine, its path and its streams.

The endpoint feeds datagrams in and is told what to send; the session gets streams. Whatever an
engine raises ends this connection and never reaches another one. Whole because
each datagram goes through all of it, engine, streams and path, before anything is sent.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hdpd.errors import Busy, HdpdError, ProtocolError, TimedOut
from hdpd.link.engine import LARGE_DATAGRAM_BYTES, SAFE_DATAGRAM_BYTES, Engine
from hdpd.link.path_size import CONFIRM_S, ROUND_S, PathSize
from hdpd.link.paths import NONCE_BYTES, PathProbes, Role, stays
from hdpd.link.sockets import (
    MAX_MESSAGE_BYTES,
    MAX_SEGMENTS,
    SocketAddress,
    UdpSocket,
    plain_host,
)
from hdpd.link.stream import REQUEST_BUDGET, UNSENT_LOW_BYTES, Stream, lost, reset_error
from hdpd.wire.messages import ResetCode

if TYPE_CHECKING:
    from hdpd.link.endpoint import Endpoint

log = logging.getLogger(__name__)

# Both libraries grant 100 at first and more as streams end; staying below needs no waiting for it.
MAX_OPEN_STREAMS = 96
# What one peer may make us keep by asking much and taking little; a session answers no further
# request before the rest is below it again.
MAX_UNSENT_BYTES = 8 * 1024 * 1024
# While one side's first flight is built qh3 may raise and recover by itself (see `_poll`).
MAX_HANDSHAKE_ERRORS = 50
MAX_AT_ONCE = min(MAX_SEGMENTS, MAX_MESSAGE_BYTES // LARGE_DATAGRAM_BYTES)  # of one message
MAX_MESSAGES_AT_ONCE = 32  # 2 MiB, 10 ms: then it is the turn of other connections and tasks
STREAM_CREDIT_TIMEOUT_S = 30.0
# A timer that is farther away is the idle timeout, and no retransmission.
MAX_HURRY_S = 8.0
FEW_DATAGRAMS = 16  # fewer in five seconds are no transfer that could hang


class Path(NamedTuple):
    """Where a connection's datagrams go and come from."""

    socket: UdpSocket
    address: SocketAddress

    @property
    def host(self) -> str:
        return plain_host(self.address[0])

    @property
    def port(self) -> int:
        return self.address[1]


class Connection:
    """A connection from its first packet on. `on_*` are set by its session."""

    def __init__(
        self,
        endpoint: Endpoint,
        engine: Engine,
        role: Role,
        paths: tuple[Path, ...],
        knock: Callable[[], bytes] | None = None,
    ) -> None:
        self.role: Role = role
        self.path = paths[0]
        self.probes: PathProbes | None = None
        self.ended: HdpdError | None = None
        self.close_code: int | None = None
        self.last_data = 0.0  # when something came on a stream
        self.received_bytes = 0  # on all streams
        self.shaken = False  # the handshake is done, and the other side may go on from there
        self.established = False  # set by the session after the hello
        self.on_handshake: Callable[[], None] = lambda: None
        self.on_stream: Callable[[Stream], None] = lambda stream: None
        self.on_reset: Callable[[Stream], None] = lambda stream: None
        self.on_ping: Callable[[int], None] = lambda uid: None
        self.on_path: Callable[[], None] = lambda: None
        self.on_ended: Callable[[HdpdError], None] = lambda error: None
        self._endpoint = endpoint
        self._engine = engine
        # A client sends its first flight to every address that the peer may have; the first one
        # that answers becomes the path.
        self._racing = paths if len(paths) > 1 or knock else ()
        self._knock = knock
        self._streams: dict[int, Stream] = {}
        self._own_streams = 0
        self._credit: deque[asyncio.Future[None]] = deque()
        self._next_peer_stream = 1 if role == "client" else 0
        self._skipped_streams: set[int] = set()
        self._blocked: dict[int, Stream] = {}
        self._undrained: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._transmit_scheduled = False
        self._size: PathSize | None = None  # from the hello on
        self._size_timer: asyncio.TimerHandle | None = None
        self._sent = 0  # datagrams since the size was confirmed
        self._handshake_errors = 0
        self.path_heard = 0.0  # when a datagram came on `path`, or it was found
        self._loop = asyncio.get_running_loop()

    # Datagrams and time.

    def receive(self, data: bytes, segment_bytes: int, path: Path, now: float) -> None:
        """Datagrams that the endpoint found to be for this connection; `after_receive` follows."""
        if self.ended:
            return
        if path == self.path:
            self.path_heard = now
        elif self._racing:
            self.path = path
        elif not self._is_worse(path, now):
            self.probe(path, now)
        self._racing = ()
        try:
            self._engine.receive_batch(data, segment_bytes, now)
        except Exception as error:
            self._engine_failed("receiving", error)

    def after_receive(self) -> None:
        self._dispatch()
        if self._credit:
            self._give_credit()  # that there is more comes without an event
        self.transmit()

    def schedule_transmit(self) -> None:
        """Sends what the engine has to send soon, once for all that is queued until then."""
        if not self._transmit_scheduled and not self.ended:
            self._transmit_scheduled = True
            self._loop.call_soon(self.transmit)

    def transmit(self) -> None:
        """Sends a message of the kernel's size at a time: while it is still in the caches, and so
        that the disk's threads get the interpreter in between.
        """
        self._transmit_scheduled = False
        if self.ended:
            return
        now = self._loop.time()
        most = MAX_AT_ONCE
        for _ in range(MAX_MESSAGES_AT_ONCE):
            datagrams = self._poll(now, most)
            if datagrams:
                self._send(datagrams)
            if len(datagrams) < most:
                break
        else:
            self.schedule_transmit()  # after what else is to be done
        self._wake_writers()
        self._arm_timer(now)

    def _poll(self, now: float, most: int) -> list[bytes]:
        if self.path.socket.wants_to_write:
            return []  # the endpoint calls again when the socket has taken the rest
        try:
            return self._engine.datagrams_to_send(now, most)
        except Exception as error:
            # qh3 raises here while it answers the first flight of an aioquic client, and goes on
            # with its timers.
            self._handshake_errors += 1
            if self.established or self._handshake_errors > MAX_HANDSHAKE_ERRORS:
                self._engine_failed("sending", error)
            return []

    def _send(self, datagrams: list[bytes]) -> None:
        if self._racing:
            for path in self._racing:
                if self._knock:
                    self._endpoint.send([self._knock()], path)
                self._endpoint.send(datagrams, path)
        else:
            self._sent += len(datagrams)
            self._endpoint.send(datagrams, self.path)

    def _arm_timer(self, now: float) -> None:
        """One timer: it may fire early and look again, so that it is moved rarely."""
        if self.ended:
            return
        try:
            when = self._engine.timer()
        except Exception as error:
            self._engine_failed("asking for the timer", error)
            return
        if when is None or (self._timer is not None and self._timer_at <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = max(when, now)
        self._timer = self._loop.call_at(self._timer_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = self._loop.time()
        try:
            when = self._engine.timer()
            if when is not None and when <= now:
                self._engine.handle_timer(now)
        except Exception as error:
            self._engine_failed("handling a timer", error)
            return
        self._dispatch()
        self.transmit()

    def _dispatch(self) -> None:
        if self.ended:
            return
        try:
            self._engine.dispatch(self)
        except ProtocolError as error:
            log.info("%s:%d: %s", self.path.host, self.path.port, error)
            self.close(ResetCode.PROTOCOL_ERROR, error)
        except Exception as error:
            self._engine_failed("handling an event", error)

    def _engine_failed(self, doing: str, error: Exception) -> None:
        if (closed := self._engine.closed()) is not None:
            self.terminated(*closed)  # the peer's goodbye came with what is being handled
            return
        if not self.ended:
            log.warning(
                "the connection with %s:%d ends: %s while %s",
                self.path.host,
                self.path.port,
                error,
                doing,
            )
        self._finish(lost(f"{type(error).__name__} while {doing}"))

    # Paths.

    def _is_worse(self, path: Path, now: float) -> bool:
        return stays(
            self.role,
            now - self.path_heard,
            near=self._endpoint.is_on_link(self.path.host),
            other_near=self._endpoint.is_on_link(path.host),
        )

    def probe(self, path: Path, now: float) -> None:
        """Asks whether the peer is at `path`; its answer moves the connection there."""
        if self.probes is not None:
            ping = self.probes.ping(path, secrets.token_bytes(NONCE_BYTES), now)
            if ping:
                self._endpoint.send([ping], path)

    def probe_received(self, datagram: bytes, path: Path, now: float) -> None:
        if self.probes is None or self.ended:
            return
        nonce = secrets.token_bytes(NONCE_BYTES)
        reply = self.probes.receive(datagram, path, self.path, nonce, now)
        for answer in reply.datagrams:
            self._endpoint.send([answer], path)
        if reply.moved and not self._is_worse(path, now):
            self.move(path, now)
        if reply.carried is not None and self._size is not None:
            self._size.answered(reply.carried)
            if reply.carried:
                self._use_proved_size()

    def move(self, path: Path, now: float) -> None:
        """Goes on at `path`, of which the caller has proof that it leads to the peer."""
        if self.ended or path == self.path:
            return
        log.info("the path moved from %s to %s:%d", self.path.host, path.host, path.port)
        is_elsewhere = path.host != self.path.host
        self.path = path
        self.path_heard = now
        self.on_path()
        if is_elsewhere:
            # It is not known what the new path carries.
            self._set_size(SAFE_DATAGRAM_BYTES)
            self.look_for_size()
        self._hurry(now)
        self.ping(0)

    # The size of datagrams.

    @property
    def datagram_bytes(self) -> int:
        """How large datagrams are now."""
        return self._engine.datagram_bytes

    def look_for_size(self) -> None:
        """Finds out what the path carries, from now on as long as the connection lasts."""
        largest = self._endpoint.largest_bytes(self.path.host)
        if self._is_qh3_client:
            largest = SAFE_DATAGRAM_BYTES  # it searches by itself
        self._size = PathSize(SAFE_DATAGRAM_BYTES, largest, self._loop.time())
        self._size_round()

    def _size_round(self) -> None:
        if self._size_timer is not None:
            self._size_timer.cancel()
        size, probes = self._size, self.probes
        if self.ended or size is None or probes is None:
            return
        now = self._loop.time()
        wanted = size.round(now)
        for each in wanted:
            nonce = secrets.token_bytes(NONCE_BYTES)
            self._endpoint.send([probes.size_ping(self.path, nonce, each, now)], self.path)
        if not wanted:
            self._use_proved_size(is_over=True)
        pause = ROUND_S if wanted else CONFIRM_S
        self._size_timer = self._loop.call_later(
            pause, self._size_round if wanted else self._confirm_size
        )

    def _confirm_size(self) -> None:
        """Data goes out: does the path still carry it?"""
        assert self._size is not None
        if self._sent < FEW_DATAGRAMS:
            self._size_timer = self._loop.call_later(CONFIRM_S, self._confirm_size)
            return
        self._sent = 0
        self._size.look(self._loop.time(), self._engine.datagram_bytes)
        self._size_round()

    def _use_proved_size(self, *, is_over: bool = False) -> None:
        """What was proved is used; what was not is not, once the search is over."""
        assert self._size is not None
        proved, used = self._size.size, self._engine.datagram_bytes
        is_too_large = is_over and proved < used
        if self._is_qh3_client:
            is_too_large = is_over and self._size.given_up
        if proved > used or is_too_large:
            self._set_size(proved)

    @property
    def _is_qh3_client(self) -> bool:
        return self._engine.name == "qh3" and self.role == "client"

    def _set_size(self, size: int) -> None:
        try:
            self._engine.set_datagram_bytes(size)
        except Exception as error:
            self._engine_failed("changing the size of datagrams", error)
        else:
            log.debug("datagrams to %s are %d bytes", self.path.host, self._engine.datagram_bytes)

    def _hurry(self, now: float) -> None:
        """Lets the engine try again at once what it has sent in vain: while the old path was dead
        its timer has backed off to seconds (RFC 9002, section 6.2.1), which the new one would wait.
        """
        try:
            when = self._engine.timer()
            if when is not None and now < when < now + MAX_HURRY_S:
                self._engine.handle_timer(when)
        except Exception as error:
            self._engine_failed("handling a timer", error)

    # Streams.

    async def open_stream(self, budget: int) -> Stream:
        """A new stream on which the peer may send `budget` bytes; waits for its turn.

        Raises:
            ConnectionLost: the connection has ended.
            Busy: no stream could be opened for 30 s.
        """
        if not self._may_open_stream():
            try:
                async with asyncio.timeout(STREAM_CREDIT_TIMEOUT_S):
                    while not self.ended and not self._may_open_stream():
                        waiter = self._loop.create_future()
                        self._credit.append(waiter)
                        await waiter
            except TimeoutError:
                raise Busy("the peer answers too slowly for another request") from None
        if self.ended:
            raise self.ended
        stream = Stream(self, self._engine.next_stream_id(), budget)
        self._streams[stream.id] = stream
        self._own_streams += 1
        # The engine counts a stream as opened by its first data; claim the id at once.
        self._engine_send(stream.id, b"", end=False)
        return stream

    def _may_open_stream(self) -> bool:
        return self._own_streams < MAX_OPEN_STREAMS and self._engine.has_stream_credit()

    @property
    def own_streams(self) -> int:
        """How many streams of ours are open."""
        return self._own_streams

    def send_stream(self, stream: Stream, data: bytes, end: bool) -> None:
        self._engine_send(stream.id, data, end)
        self._forget_if_complete(stream)
        self.schedule_transmit()

    def _engine_send(self, stream_id: int, data: bytes, end: bool) -> None:
        if self.ended:
            raise self.ended
        try:
            self._engine.send(stream_id, data, end)
        except Exception as error:
            self._engine_failed("sending", error)
            assert self.ended is not None
            raise self.ended from None

    def unsent_bytes(self, stream: Stream) -> int:
        """How much of `stream` waits to be sent; the stream is woken when it is little again."""
        if self.ended:
            return 0
        unsent = self._engine.unsent_bytes(stream.id)
        if unsent > UNSENT_LOW_BYTES:
            self._blocked[stream.id] = stream
        return unsent

    async def drained(self) -> None:
        """Waits until little enough is unsent on all streams together."""
        while not self.ended and self._engine.all_unsent_bytes() > MAX_UNSENT_BYTES:
            waiter = self._loop.create_future()
            self._undrained.append(waiter)
            await waiter

    def _wake_undrained(self) -> None:
        if self._undrained and (
            self.ended or self._engine.all_unsent_bytes() <= MAX_UNSENT_BYTES // 2
        ):
            waiters, self._undrained = self._undrained, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _wake_writers(self) -> None:
        self._wake_undrained()
        if not self._blocked:
            return
        for stream in list(self._blocked.values()):
            if self._engine.unsent_bytes(stream.id) <= UNSENT_LOW_BYTES:
                del self._blocked[stream.id]
                stream.wake_writer()

    def reset_stream(self, stream: Stream, code: ResetCode, *, send: bool) -> None:
        if not self.ended:
            try:
                if send:
                    self._engine.reset(stream.id, code)
                self._engine.stop(stream.id, code)
            except Exception as error:
                # The library already knows this stream as ended.
                log.debug("resetting stream %d: %s", stream.id, error)
            self.schedule_transmit()
        self._forget(stream)

    def _forget_if_complete(self, stream: Stream) -> None:
        if stream.complete:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        self._blocked.pop(stream.id, None)
        if stream.id % 2 == (0 if self.role == "client" else 1):
            self._own_streams -= 1
            self._give_credit()

    def _give_credit(self) -> None:
        """Wakes as many of those who wait for a stream as may have one; they look again."""
        room = MAX_OPEN_STREAMS - self._own_streams
        while self._credit and room > 0 and not self.ended and self._engine.has_stream_credit():
            waiter = self._credit.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1

    def _stream_of(self, stream_id: int) -> Stream | None:
        stream = self._streams.get(stream_id)
        if stream is not None or self.ended:
            return stream
        if stream_id & 2:
            raise ProtocolError("the peer opened a unidirectional stream")
        if stream_id % 4 != self._next_peer_stream % 4:
            return None  # one of ours that has ended
        if stream_id >= self._next_peer_stream:
            # Streams may arrive out of order; those in between are still to come. The engine's
            # stream limit bounds how many that can be.
            self._skipped_streams.update(range(self._next_peer_stream, stream_id, 4))
            self._next_peer_stream = stream_id + 4
        elif stream_id in self._skipped_streams:
            self._skipped_streams.discard(stream_id)
        else:
            return None
        stream = Stream(self, stream_id, REQUEST_BUDGET)
        self._streams[stream_id] = stream
        self.on_stream(stream)
        return stream

    # Events of the engine.

    def stream_data_received(self, stream_id: int, chunks: list[bytes], end: bool) -> None:
        stream = self._stream_of(stream_id)
        if stream is not None:
            self.last_data = self._loop.time()
            self.received_bytes += stream.data_received(chunks, end)
            self._forget_if_complete(stream)

    def stream_reset(self, stream_id: int, code: int) -> None:
        self._hung_up(self._stream_of(stream_id), code)

    def stop_sending_received(self, stream_id: int, code: int) -> None:
        self._hung_up(self._streams.get(stream_id), code)

    def _hung_up(self, stream: Stream | None, code: int) -> None:
        if stream is not None:
            stream.failed(reset_error(code))
            self.reset_stream(stream, ResetCode.CANCELLED, send=True)
            self.on_reset(stream)

    def handshake_completed(self) -> None:
        self.shaken = True
        self.on_handshake()

    def ping_acknowledged(self, uid: int) -> None:
        self.on_ping(uid)

    def cid_issued(self, cid: bytes) -> None:
        self._endpoint.add_cid(cid, self)

    def cid_retired(self, cid: bytes) -> None:
        self._endpoint.remove_cid(cid)

    def terminated(self, code: int, reason: str) -> None:
        """The peer has closed it, or the engine has: then the peer is still to be told."""
        if self.ended:
            return
        self.close_code = code
        try:
            self._send(self._engine.datagrams_to_send(self._loop.time()))
        except Exception as failure:
            log.debug("closing: %s", failure)
        self._finish(lost(reason or f"closed with code {code}"))

    # The end.

    def peer_certificate(self) -> bytes:
        return self._engine.peer_certificate()

    def ping(self, uid: int) -> None:
        """Sends a ping; `on_ping(uid)` is called when the peer has acknowledged it."""
        if self.ended:
            return
        try:
            self._engine.ping(uid)
        except Exception as error:
            self._engine_failed("pinging", error)
        self.schedule_transmit()

    def close(self, code: ResetCode, error: HdpdError | None = None) -> None:
        """Tells the peer and ends everything; idempotent."""
        if self.ended:
            return
        try:
            self._engine.close(code)
            # Twice, because a lost goodbye would leave the peer waiting for the idle timeout.
            self._send(self._engine.datagrams_to_send(self._loop.time()) * 2)
        except Exception as failure:
            log.debug("closing: %s", failure)
        self._finish(error or lost("closed here"))

    def handshake_timed_out(self) -> None:
        self.close(ResetCode.REFUSED, TimedOut("the peer did not answer the handshake"))

    def _finish(self, error: HdpdError) -> None:
        if self.ended:
            return
        self.ended = error
        for timer in (self._timer, self._size_timer):
            if timer is not None:
                timer.cancel()
        for stream in list(self._streams.values()):
            stream.failed(error)
        self._streams.clear()
        self._blocked.clear()
        self._wake_undrained()
        for waiter in self._credit:
            if not waiter.done():
                waiter.set_result(None)
        self._endpoint.forget(self)
        self.on_ended(error)
