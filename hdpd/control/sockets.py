"""The sockets that the control interface listens on, opened here or handed over by systemd."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hdpd.config import ControlAddress, HostPort, TcpAddress, UnixAddress
from hdpd.control.places import CountedListener, Places
from hdpd.errors import StartError
from hdpd.link.interfaces import InterfaceAddress, interface_addresses
from hdpd.link.selection import is_address
from hdpd.threads.blocking import BlockingCalls

log = logging.getLogger(__name__)

BACKLOG = 128
SOCKET_MODE = 0o660  # the group decides who may control hdpd
DIRECTORY_MODE = 0o750
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_NOT_THERE_YET = {errno.EADDRNOTAVAIL, errno.ENODEV}
_Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Place]
_FIRST_INHERITED = 3  # sd_listen_fds(3)
_LOOK_UP_S = 10.0  # a name server, or a kernel, that takes longer is not there yet


def inherited_unix_sockets(environ: MutableMapping[str, str]) -> dict[Path, socket.socket]:
    """The listening Unix sockets that systemd handed to this process, by path (sd_listen_fds(3)).

    Takes them out of the environment, so that no child thinks that they are its own.
    """
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    found: dict[Path, socket.socket] = {}
    if meant_for != str(os.getpid()) or not count.isdecimal():
        return found
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        path = listener.getsockname() if listener.family == socket.AF_UNIX else None
        if listener.type == socket.SOCK_STREAM and isinstance(path, str) and path:
            found[Path(path)] = listener
        else:
            log.warning("the socket %s of the socket unit is not used", descriptor)
            listener.close()
    return found


class Change(NamedTuple):
    """What `Listeners.follow` has opened, without and with TLS, and what is to be closed."""

    plain: list[socket.socket]
    tls: list[socket.socket]
    gone: list[socket.socket]


class Listeners:
    """Open listening sockets, and the socket files to remove in the end.

    For addresses at the path of an `inherited` one, that is used; its file stays systemd's.
    """

    def __init__(self, inherited: Mapping[Path, socket.socket] | None = None) -> None:
        self._inherited = dict(inherited or {})
        self.places = Places()
        self.sockets: list[socket.socket] = []
        self.tls_sockets: list[socket.socket] = []
        self.addresses: list[str] = []
        self.urls: list[str] = []  # of those, what a browser can open
        self.waiting: list[TcpAddress] = []  # for addresses that this machine does not have now
        # Of each address that names an interface: what is open, and at which of its addresses.
        self._by_name: dict[TcpAddress, dict[_Place, tuple[socket.socket, str]]] = {}
        self._refused: dict[TcpAddress, str] = {}  # why one can't be listened on, as was logged
        self._files: list[tuple[Path, int]] = []  # with the inode, not to remove a successor's
        self._look_ups = BlockingCalls("control-address")

    async def open(
        self, addresses: Collection[ControlAddress], optional: Collection[ControlAddress]
    ) -> None:
        """Listens on all addresses, except those `optional` ones whose family is missing here and
        those in `waiting` then.

        Raises:
            StartError: an address can't be listened on; what was opened before stays for `close`.
        """
        for path, listener in self._inherited.items():
            self.sockets.append(listener)
            self.addresses.append(f"unix:{path}")
        for address in addresses:
            try:
                if isinstance(address, UnixAddress):
                    if address.path not in self._inherited:
                        self._add_unix(address.path)
                else:
                    await self._add_tcp(address)
            except OSError as error:
                if address in optional and error.errno in _NO_SUCH_FAMILY:
                    log.info("not listening on %s: %s", address, error.strerror)
                    continue
                if isinstance(address, TcpAddress) and _may_come(address, error):
                    self._wait_for(address)
                    continue
                raise StartError(f"cannot listen on {address}: {_reason(error)}") from None

    @property
    def may_change(self) -> bool:
        """Whether `follow` has anything to look for."""
        return bool(self.waiting or self._by_name)

    async def follow(self) -> Change:
        """Listens on those of `waiting` whose address has come, and where the interfaces that are
        named have their addresses now; forgets what they have no more.
        """
        before = {*self.sockets, *self.tls_sockets}
        gone: list[socket.socket] = []
        for address in dict.fromkeys((*self.waiting, *self._by_name)):
            try:
                gone += await self._add_tcp(address)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    continue  # what was told before holds
                if error.errno in _NOT_THERE_YET:
                    gone += self._forget(address, set())
                    self._wait_for(address)
                elif self._refused.get(address) != _reason(error):
                    self._refused[address] = _reason(error)
                    log.warning("cannot listen on %s: %s", address, _reason(error))
                continue
            self._refused.pop(address, None)
            if address in self.waiting:
                self.waiting.remove(address)
        plain = [each for each in self.sockets if each not in before]
        return Change(plain, [each for each in self.tls_sockets if each not in before], gone)

    def _wait_for(self, address: TcpAddress) -> None:
        if address not in self.waiting:
            log.info("waiting for the address of %s, which is not there now", address)
            self.waiting.append(address)

    def _forget(self, address: TcpAddress, wanted: Collection[_Place]) -> list[socket.socket]:
        """The sockets of an interface that are at none of the `wanted` places, ours no more."""
        opened = self._by_name.get(address, {})
        gone = []
        for place in [each for each in opened if each not in wanted]:
            listener, url = opened.pop(place)
            (self.tls_sockets if address.tls else self.sockets).remove(listener)
            self.addresses.remove(url)
            self.urls.remove(url)
            gone.append(listener)
            log.info("no longer listening on %s, whose address has gone", url)
        return gone

    def _add_unix(self, path: Path) -> None:
        self.sockets.append(_listen_unix(path))
        self.addresses.append(f"unix:{path}")
        self._files.append((path, path.stat().st_ino))

    async def _add_tcp(self, address: TcpAddress) -> list[socket.socket]:
        """Listens on every address that the host name, or the interface of that name, has, unless
        it does; returns the sockets of the interface at addresses that it has no more.
        """
        own = await self._interface(address.host)
        infos = await self._look_up(address, own)
        if own:
            self._by_name.setdefault(address, {})
        opened = self._by_name.get(address, {})
        missing: OSError | None = None
        found = 0
        for family, _kind, _protocol, _name, place in dict.fromkeys(infos):
            if place in opened:
                found += 1
                continue
            try:
                listener = _listen_tcp(family, place, self.places)
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
                continue
            found += 1
            host, port = listener.getsockname()[:2]
            (self.tls_sockets if address.tls else self.sockets).append(listener)
            url = f"{'https' if address.tls else 'http'}://{HostPort(host, port)}"
            self.addresses.append(url)
            self.urls.append(url)
            if address in self._by_name:
                self._by_name[address][place] = (listener, url)
            log.info("listening on %s", url)
            if not address.tls and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                log.warning(
                    "the control interface at %s is not encrypted: whoever can watch the network "
                    "between can read and take over what is done there; use --control "
                    "https://%s:%s where that matters",
                    url,
                    address.host,
                    address.port,
                )
        if missing is not None and not found:
            raise missing
        return self._forget(address, {place for *_, place in infos})

    async def _interface(self, name: str) -> list[InterfaceAddress]:
        """The addresses of the interface of that name; asked for in a thread, as the kernel may
        let one wait while networks of containers come and go. Raises TimeoutError.
        """
        if is_address(name):
            return []
        found = await self._look_ups.run(interface_addresses, _LOOK_UP_S)
        return [each for each in found if each.interface == name]

    async def _look_up(
        self, address: TcpAddress, own: Collection[InterfaceAddress]
    ) -> list[_AddressInfo]:
        """As getaddrinfo tells them. Raises OSError, with ENODEV where they may come later."""
        host = address.host
        usable = [each.host for each in own if not (each.ip.is_link_local or each.tentative)]
        found: list[_AddressInfo] = []
        for each in usable or [host]:
            try:
                found += await self._look_ups.run(partial(_look_up, each, address.port), _LOOK_UP_S)
            except socket.gaierror as error:
                if "." in host and not own and not host.rpartition(".")[2].isdecimal():
                    raise  # a name that nobody knows; a last part of digits is a VLAN's: eth0.10
                raise OSError(errno.ENODEV, f"there is no {host}") from error
        return found

    def close(self) -> None:
        """Closes what is open still and removes the socket files; idempotent."""
        for listener in (*self.sockets, *self.tls_sockets):
            listener.close()
        for path, inode in self._files:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:
                    path.unlink()
        self.sockets.clear()
        self.tls_sockets.clear()
        self._files.clear()


def _look_up(host: str, port: int) -> Sequence[_AddressInfo]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


def _may_come(address: TcpAddress, error: OSError) -> bool:
    """Whether it is worth to wait: a loopback address is there from the start or never."""
    if isinstance(error, TimeoutError):
        return True
    try:
        is_loopback = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        is_loopback = False
    return error.errno in _NOT_THERE_YET and not is_loopback


def _listen_tcp(family: int, place: tuple[object, ...], places: Places) -> socket.socket:
    listener = CountedListener(family, socket.SOCK_STREAM)
    listener.places = places
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # 0.0.0.0 and :: are two addresses, on one port.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _listen_unix(path: Path) -> socket.socket:
    """Listens at `path` in place of a socket that nobody listens on any more."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Nobody else gets in between bind and chmod: no connection succeeds before `listen`.
        listener.bind(os.fspath(path))
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "it is in use by another program; choose another one with --control"
    return error.strerror or str(error)
