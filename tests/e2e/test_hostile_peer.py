"""A peer that breaks every rule, made of our own link, against a real daemon."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from hdpd.identity.invites import Invite
from hdpd.identity.topics import Topic, derive_master, new_name
from hdpd.link.session import Session
from hdpd.link.stream import Stream
from hdpd.wire.codec import frame
from hdpd.wire.messages import Ls, Read, ReadStarted, Request
from tests.bench.measuring import resident_mb
from tests.e2e.harness import Daemon, Lab
from tests.link.helpers import Node, nodes
from tests.waiting import until

CONTENT = b"evil bytes"
VALIDATOR = b"v" * 16
FILE, DIRECTORY = 0, 1
HOSTILE_NAMES: list[str | bytes] = [
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "..",
    ".",
    "",
    "nul\0byte",
    "a//b",
    "x" * 300,
    b"\xff/../evil",
    "../" * 50 + "tmp/evil",
]


async def serve_hostile_names(session: Session, request: Request, stream: Stream) -> None:
    """Lists names that lead elsewhere, beside a good one; sends the same bytes for everything."""
    if isinstance(request, Ls):
        entries: list[list[Any]] = [[name, FILE, 10, 0, 1] for name in HOSTILE_NAMES]
        entries += [[name, DIRECTORY, 10, 0, 1] for name in HOSTILE_NAMES]
        entries += [["good.txt", FILE, len(CONTENT), 0, 1]]
        entries += [["good.txt", DIRECTORY, 0, 0, 0]]  # both at once
        entries += [["good.txt/below", FILE, len(CONTENT), 0, 1]]
        await stream.send(
            frame({"entries": entries}) + frame({"end": True, "cursor": None}), end=True
        )
    elif isinstance(request, Read):
        length = min(request.length, len(CONTENT))
        started = ReadStarted(length, len(CONTENT), 0, VALIDATOR)
        await stream.send(
            frame(started.to_wire()) + CONTENT[:length] + frame({"end": VALIDATOR}), end=True
        )


async def serve_too_much(session: Session, request: Request, stream: Stream) -> None:
    """Sends without end, whatever was asked for."""
    if isinstance(request, Read):
        started = ReadStarted(request.length, 1 << 40, 0, VALIDATOR)
        await stream.send(frame(started.to_wire()))
    while True:
        await stream.send(frame({"entries": [["x" * 200, FILE, 1, 0, 1]] * 100}))


async def serve_an_endless_listing(session: Session, request: Request, stream: Stream) -> None:
    """A directory that never ends: each page promises another."""
    number = secrets.randbelow(1 << 40)
    entries = [[f"{number}-{index}", FILE, 1, 0, 1] for index in range(200)]
    await stream.send(
        frame({"entries": entries}) + frame({"end": True, "cursor": b"more"}), end=True
    )


async def meet(daemon: Daemon, evil: Node, secret: bytes) -> None:
    """Lets the daemon connect to the hostile peer by an invite."""
    expires = int(time.time()) + 1000
    code = Invite(evil.identity.peer_id, secret, (evil.address,), expires).encode()
    await asyncio.to_thread(daemon.ctl, "connect", code)
    await until(lambda: evil.sessions, "the daemon to dial the hostile peer")


@pytest.fixture(scope="module")
def victim(shared_lab: Lab) -> Daemon:
    """One for all that is done to it."""
    return shared_lab.daemon("victim").start()


async def hostile(handler: Any, secret: bytes) -> Node:
    """A node at the topic of an invite with `secret`, answering with `handler`."""
    name = new_name(secret)
    topic = Topic.from_master(name, await asyncio.to_thread(derive_master, name))
    return Node(topics=(topic,), handlers={"ls": handler, "read": handler, "search": handler})


def outside_of_downloads(lab: Lab, victim: Daemon) -> set[Path]:
    """Everything in the laboratory but what hdpd itself may make."""
    own = (victim.downloads, victim.state)
    found = set(lab.root.rglob("*"))
    return {path for path in found if not any(map(path.is_relative_to, own))}


async def download_all(victim: Daemon, peer: str) -> None:
    """Downloads what the peer says that it shares, as far as that goes."""
    added = await asyncio.to_thread(victim.rpc, "downloads.add", peer=peer, path="share")
    while True:
        listed = await asyncio.to_thread(victim.rpc, "downloads.list")
        [state] = [row["state"] for row in listed["downloads"] if row["id"] == added["id"]]
        if state in ("done", "failed"):
            return
        await asyncio.sleep(0.1)


async def test_hostile_names_are_written_nowhere(shared_lab: Lab, victim: Daemon) -> None:
    secret = os.urandom(16)
    evil = await hostile(serve_hostile_names, secret)
    async with nodes(evil):
        await meet(victim, evil, secret)
        before = outside_of_downloads(shared_lab, victim)
        peer = evil.identity.peer_id.text
        await download_all(victim, peer)
        for path in ("../evil", "share/../../evil", "/etc/evil"):
            await asyncio.to_thread(victim.fails, "download", f"{peer}/{path}")
        listed = await asyncio.to_thread(victim.rpc, "files.list", peer=peer, path="share")
    assert outside_of_downloads(shared_lab, victim) == before
    written = {path.relative_to(victim.downloads) for path in victim.downloads.rglob("*")}
    assert all(path.parts[0] == "share" for path in written)
    assert Path("share/good.txt") in written
    assert not any("evil" in str(path) for path in written)
    assert {entry["name"] for entry in listed["entries"]} == {"good.txt"}


async def test_a_peer_that_sends_without_end_is_cut_off(victim: Daemon) -> None:
    secret = os.urandom(16)
    evil = await hostile(serve_too_much, secret)
    async with nodes(evil):
        await meet(victim, evil, secret)
        peer = evil.identity.peer_id.text
        await asyncio.to_thread(victim.fails, "cat", f"{peer}/share/film")
        await asyncio.to_thread(victim.ctl, "ls", f"{peer}/share", check=False)
        info = await asyncio.to_thread(victim.rpc, "daemon.info")
        assert info["name"], "and the daemon is still well"
        assert resident_mb(victim) < 150


async def test_an_endless_directory_is_given_up(victim: Daemon) -> None:
    secret = os.urandom(16)
    evil = await hostile(serve_an_endless_listing, secret)
    async with nodes(evil):
        await meet(victim, evil, secret)
        peer = evil.identity.peer_id.text
        await asyncio.to_thread(victim.rpc, "downloads.add", peer=peer, path="share")
        await asyncio.sleep(2)
        await asyncio.to_thread(victim.ctl, "queue", "cancel", "all")
        info = await asyncio.to_thread(victim.rpc, "daemon.info")
        assert info["name"], "and the daemon is still well"
    assert list(victim.downloads.rglob("*.part")) == []
