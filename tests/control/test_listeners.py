"""What is listened on, as far as its addresses can be found out."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from hdpd.config import TcpAddress
from hdpd.control import sockets
from hdpd.control.sockets import Listeners
from hdpd.link.interfaces import InterfaceAddress


async def test_a_name_server_that_is_silent_holds_up_neither_a_start_nor_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()

    def look_up(*_args: object, **_kwargs: object) -> list[object]:
        answer.wait(10.0)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(sockets, "_LOOK_UP_S", 0.05)
    address = TcpAddress("page.example", 3030)
    listeners = Listeners()
    try:
        await listeners.open([address], [])
        assert listeners.waiting == [address]
        assert await listeners.follow() == ([], [], [])
        assert listeners.waiting == [address]
        # The event loop waits at its end for threads of its own pool, and for no others.
        assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]
    finally:
        answer.set()
        listeners.close()


async def test_a_named_interface_is_followed_to_its_addresses_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loopback addresses, which are all there to listen on, stand for those of a VPN."""
    now: list[InterfaceAddress] = [InterfaceAddress("vpn0", "127.0.0.2", 24, 1500)]
    monkeypatch.setattr(sockets, "interface_addresses", lambda: tuple(now))
    address = TcpAddress("vpn0", 0)
    listeners = Listeners()
    try:
        await listeners.open([address], [])
        (first,) = listeners.sockets
        assert await listeners.follow() == ([], [], [])
        now[:] = [InterfaceAddress("vpn0", "127.0.0.3", 24, 1500)]
        change = await listeners.follow()
        assert change.gone == [first]
        assert [each.getsockname()[0] for each in change.plain] == ["127.0.0.3"]
        assert listeners.urls == listeners.addresses
        assert [url.rpartition(":")[0] for url in listeners.urls] == ["http://127.0.0.3"]
        first.close()
        now.clear()
        assert (await listeners.follow()).gone == change.plain
        assert (listeners.waiting, listeners.addresses) == ([address], [])
        change.plain[0].close()
        now[:] = [InterfaceAddress("vpn0", "127.0.0.4", 24, 1500)]
        assert len((await listeners.follow()).plain) == 1
        assert listeners.waiting == []
    finally:
        listeners.close()


async def test_what_listens_goes_on_while_the_kernel_does_not_tell_of_interfaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = [InterfaceAddress("vpn0", "127.0.0.2", 24, 1500)]
    go_on = threading.Event()
    go_on.set()

    def interface_addresses() -> tuple[InterfaceAddress, ...]:
        go_on.wait(10.0)
        return tuple(told)

    monkeypatch.setattr(sockets, "interface_addresses", interface_addresses)
    monkeypatch.setattr(sockets, "_LOOK_UP_S", 0.05)
    address, later = TcpAddress("vpn0", 0), TcpAddress("vpn1", 0)
    listeners = Listeners()
    try:
        await listeners.open([address], [])
        go_on.clear()
        assert await listeners.follow() == ([], [], [])
        await listeners.open([later], [])
        assert listeners.waiting == [later]
        told.append(InterfaceAddress("vpn1", "127.0.0.3", 24, 1500))
        go_on.set()
        change = await listeners.follow()
        assert [each.getsockname()[0] for each in change.plain] == ["127.0.0.3"]
        assert (change.gone, listeners.waiting) == ([], [])
    finally:
        go_on.set()
        listeners.close()


async def test_the_interface_of_a_vlan_is_waited_for() -> None:
    address = TcpAddress("eth9.4000", 3030)
    listeners = Listeners()
    await listeners.open([address], [])
    assert listeners.waiting == [address]
    listeners.close()
