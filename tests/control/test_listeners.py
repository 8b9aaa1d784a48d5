"""What is listened on, as far as its addresses can be found out."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from hdpd.config import TcpAddress
from hdpd.control import sockets
from hdpd.control.sockets import Listeners


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
        assert await listeners.retry() == ([], [])
        assert listeners.waiting == [address]
        # The event loop waits at its end for threads of its own pool, and for no others.
        assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]
    finally:
        answer.set()
        listeners.close()
