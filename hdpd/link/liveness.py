"""Whether the other end of a connection is still there, and how far away it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hdpd.link.connection import Connection

# NATs may forget a mapping after 30 s (RFC 4787 asks for 120, many do not care). More often than
# that, so that a session whose path broke is back within 10 s.
KEEP_ALIVE_S = 5.0
# While a ping is unanswered the next one follows sooner; after so long the path seems broken.
UNANSWERED_PING_S = 0.5
SILENT_S = 1.5
SILENT_RTTS = 4.0  # and longer on slow links
# An answer that pauses so long may be on its way to an address that is not ours any more.
STALL_S = 0.8
RTT_GAIN = 0.125  # RFC 9002, section 5.3


class Liveness:
    """The pings of one connection, from now until `close`; `on_silent` is called each time that one
    is not answered.
    """

    def __init__(self, connection: Connection, on_silent: Callable[[], None]) -> None:
        self.rtt = 0.0  # seconds; 0 until the first answer
        self._connection = connection
        self._on_silent = on_silent
        self._loop = asyncio.get_running_loop()
        self._pings: dict[int, float] = {}
        self._next_ping = 1
        self._unanswered_since: float | None = None
        self._keep_alive: asyncio.Handle = self._loop.call_soon(self._ping)
        self._stall_check: asyncio.TimerHandle | None = None
        self._patience = STALL_S
        connection.on_ping = self._ping_acknowledged

    @property
    def silence(self) -> float:
        """For how many seconds pings have been unanswered."""
        since = self._unanswered_since
        return 0.0 if since is None or self._was_answered else self._loop.time() - since

    @property
    def is_silent(self) -> bool:
        """Whether pings have been unanswered for longer than can be explained by a slow link."""
        return self.silence >= max(SILENT_S, SILENT_RTTS * self.rtt)

    @property
    def _was_answered(self) -> bool:
        """Whether anything has come on the path since the first ping of which that is not known."""
        since = self._unanswered_since
        return since is None or self._connection.path_heard >= since

    def ping_now(self) -> None:
        """Finds out soon whether the peer is still there."""
        self._keep_alive.cancel()
        self._ping()

    def expect_answer(self) -> None:
        """The peer was asked something: looks from time to time whether the answer stalls."""
        if self._stall_check is None:
            self._stall_check = self._loop.call_later(STALL_S, self._look_for_stall)

    def close(self) -> None:
        self._keep_alive.cancel()
        if self._stall_check is not None:
            self._stall_check.cancel()

    def _ping(self) -> None:
        """Goes on for ever: slowly while pings are answered, `on_silent` each time they are not."""
        if self._connection.ended is not None:
            return
        now = self._loop.time()
        if self._was_answered:
            self._unanswered_since = now
        uid = self._next_ping
        self._next_ping += 1
        self._pings[uid] = now
        self._connection.ping(uid)
        # Those that were never answered are lost; two intervals are remembered.
        self._pings.pop(uid - 2, None)
        wait = min(UNANSWERED_PING_S, KEEP_ALIVE_S)
        self._keep_alive = self._loop.call_later(wait, self._look_for_answer)

    def _look_for_answer(self) -> None:
        if self._connection.ended is not None:
            return
        if self._was_answered:
            self._unanswered_since = None
            wait = max(0.0, KEEP_ALIVE_S - UNANSWERED_PING_S)
            self._keep_alive = self._loop.call_later(wait, self._ping)
        else:
            if self.is_silent:
                self._on_silent()
            self._ping()

    def _look_for_stall(self) -> None:
        """A side that only listens has to speak now and then, less often the longer it waits: when
        a NAT forgets its address, the other side learns the new one from what it sends.
        """
        self._stall_check = None
        if self._connection.ended is not None or not self._connection.own_streams:
            self._patience = STALL_S
            return
        wait = STALL_S - (self._loop.time() - self._connection.last_data)
        if wait > 0:
            self._patience = STALL_S
        else:
            if self._was_answered:
                self.ping_now()
            wait = self._patience = min(2 * self._patience, KEEP_ALIVE_S)
        self._stall_check = self._loop.call_later(wait, self._look_for_stall)

    def _ping_acknowledged(self, uid: int) -> None:
        sent = self._pings.pop(uid, None)
        if sent is not None:
            sample = self._loop.time() - sent
            self.rtt += (sample - self.rtt) * (RTT_GAIN if self.rtt else 1.0)
