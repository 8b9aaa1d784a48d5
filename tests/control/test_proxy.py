"""Reverse proxies: who is believed, who is asked for a token, and what is below a path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hdpd.control.proxy import FORWARDED, BehindProxy

TCP, UNIX = ("127.0.0.1", 3030), ("/run/hdpd/hdpd.sock", None)
LOCAL = ("127.0.0.0/8", "::1/128")


def seen(
    headers: dict[str, str],
    *,
    client: tuple[str, int] | None = ("127.0.0.1", 5),
    server: tuple[str, int | None] = TCP,
    path: str = "/rpc",
    base_path: str = "",
    kind: str = "http",
) -> dict[str, Any]:
    """The scope as the application gets it; empty when it gets none."""
    found: dict[str, Any] = {}

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        found.update(scope)

    async def ignore(*_arguments: Any) -> Any:
        return {"type": "http.disconnect"}

    scope = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": client,
        "server": server,
        "path": path,
        "raw_path": path.encode(),
        "method": "GET",
        "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
    }
    asyncio.run(BehindProxy(application, LOCAL, base_path)(scope, ignore, ignore))
    return found


def host_of(scope: dict[str, Any]) -> bytes:
    return bytes(next(v for n, v in scope["headers"] if n == b"host"))


HEADERS = {
    "Host": "127.0.0.1:3030",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "nas.example",
}


def test_a_trusted_proxy_says_who_asks_and_how() -> None:
    scope = seen(HEADERS)
    assert (scope["scheme"], scope["client"][0], host_of(scope)) == (
        "https",
        "203.0.113.9",
        b"nas.example",
    )
    assert seen(HEADERS, kind="websocket")["scheme"] == "wss"


def test_nobody_else_is_believed() -> None:
    scope = seen(HEADERS, client=("192.0.2.66", 5))
    assert (scope["scheme"], scope["client"][0], host_of(scope)) == (
        "http",
        "192.0.2.66",
        b"127.0.0.1:3030",
    )


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("10.9.9.9, 203.0.113.9", "203.0.113.9"),  # the first was written by the client itself
        ("203.0.113.9, 127.0.0.1", "203.0.113.9"),  # two proxies of ours
        ("nonsense", "127.0.0.1"),
        ("203.0.113.9, unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_one_that_is_no_proxy_of_ours(forwarded: str, client: str) -> None:
    assert seen({"Host": "h", "X-Forwarded-For": forwarded})["client"][0] == client


@pytest.mark.parametrize(
    "sign",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-Proto": "https"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"Origin": "https://nas.example"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Cookie": "a=b"},
        {"Accept-Language": "de"},
    ],
)
def test_what_a_proxy_passes_on_by_the_unix_socket_is_not_the_owners(sign: dict[str, str]) -> None:
    assert seen({"Host": "localhost", **sign}, client=None, server=UNIX)[FORWARDED] is True


def test_programs_at_the_unix_socket_are_the_owners() -> None:
    headers = {"Host": "localhost", "User-Agent": "hdpctl", "Content-Type": "application/json"}
    assert FORWARDED not in seen(headers, client=None, server=UNIX)


def test_a_path_that_the_proxy_leaves_in_front_is_taken_away() -> None:
    scope = seen({"Host": "h"}, path="/hdp/files/a%20b", base_path="/hdp")
    assert (scope["path"], scope["raw_path"]) == ("/files/a%20b", b"/files/a%20b")
    assert seen({"Host": "h"}, path="/hdpd", base_path="/hdp")["path"] == "/hdpd"
    assert seen({"Host": "h"}, path="/rpc", base_path="/hdp")["path"] == "/rpc"
    assert seen({"Host": "h"}, path="/hdp", base_path="/hdp") == {}  # sent on to /hdp/
