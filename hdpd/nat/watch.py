"""Notices that addresses, links or routes of this machine changed.

The kernel says so on a netlink socket (rtnetlink(7)). What exactly it says is not read: addresses
and routes are looked at anew, and only a difference counts, since routers repeat themselves. A slow
look without being told is there for kernels and sandboxes that refuse the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from msgspec import Struct

from hdpd.link.interfaces import InterfaceAddress, interface_addresses
from hdpd.link.selection import Selection, leads_inside
from hdpd.nat.routes import DefaultRoute, default_routes
from hdpd.threads.worker import Worker

log = logging.getLogger(__name__)

# linux/rtnetlink.h: links, addresses and routes of both families.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
SETTLE_S = 0.2  # an interface that comes up makes a burst of messages
LOOK_S = 30.0
LOOK_WITHOUT_NETLINK_S = 2.0  # one look costs 0.3 ms


class Network(Struct, frozen=True):
    """The addresses of this machine and its ways to the internet."""

    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[DefaultRoute, ...]

    @classmethod
    def now(cls) -> Network:
        return cls(interface_addresses(), default_routes())

    def route(self, version: int) -> DefaultRoute | None:
        """The best default route of a family."""
        return next((each for each in self.routes if each.version == version), None)

    @property
    def ways_out(self) -> tuple[str, ...]:
        """The interfaces with a default route, the best first."""
        return tuple(dict.fromkeys(each.interface for each in self.routes))

    def within(self, selection: Selection) -> Network:
        """What of it is used: without what is not bound, or excluded."""
        addresses = selection.usable(self.addresses)
        names = {each.interface for each in addresses}
        return Network(addresses, tuple(each for each in self.routes if each.interface in names))

    @property
    def outside(self) -> Network:
        """What of it others see: containers and virtual machines that come and go are no change."""
        out = self.ways_out
        addresses = tuple(each for each in self.addresses if not leads_inside(each, out))
        return Network(addresses, self.routes)


class NetworkWatch:
    """Calls `on_change` after each change that others see, and `on_inside` before it and after each
    other one, with `network` brought up to date before.

    It looks in a thread: while networks of containers come and go, the kernel lets one wait.
    """

    def __init__(self, on_change: Callable[[], None], on_inside: Callable[[], None]) -> None:
        self.network = Network((), ())
        self._on_inside = on_inside
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._worker = Worker("network")
        self._looking: asyncio.Future[Network] | None = None

    def look(self) -> None:
        """Brings `network` up to date at once, and tells nobody."""
        self.network = Network.now()

    def start(self) -> None:
        """Begins to listen to the kernel."""
        try:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except OSError as error:
            log.info("changes of the network are looked for, since netlink is refused: %s", error)
        else:
            opened.setblocking(False)
            opened.bind((0, _GROUPS))
            self._socket = opened
            self._loop.add_reader(opened.fileno(), self._told)
        self._look()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        self._worker.close()
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _told(self) -> None:
        assert self._socket is not None
        # ENOBUFS says that messages were lost, which is news as well.
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass
        # Not put off by further messages: an interface that flaps would put it off for ever.
        due = self._loop.time() + SETTLE_S
        if self._timer is None or self._timer.when() > due:
            self._look_at(due)

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        pause = LOOK_S if self._socket is not None else LOOK_WITHOUT_NETLINK_S
        self._look_at(self._loop.time() + pause)
        if self._looking is None:
            self._looking = self._worker.submit(Network.now)
            self._looking.add_done_callback(self._looked)
        else:  # the kernel has not answered the last time
            self._look_at(self._loop.time() + SETTLE_S)

    def _looked(self, looking: asyncio.Future[Network]) -> None:
        self._looking = None
        if looking.cancelled():
            return
        before, self.network = self.network, looking.result()
        if self.network != before:
            self._on_inside()
        if self.network.outside != before.outside:
            self._on_change()
