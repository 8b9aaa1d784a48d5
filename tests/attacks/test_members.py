"""Members of the topic, who may ask for what they like, and a yardstick without any."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from hdpd.errors import HdpdError
from hdpd.link.session import Session
from hdpd.wire.messages import MAX_LIST_ENTRIES, Ls, Search
from hdpd.wire.paths import RemotePath
from tests.attacks.harness import Member, Siege, Victim, close_all, full_size

SECONDS = full_size(2, 10)
ELSEWHERE = "127.0.0.2"
"""Whoever attacks has another address than the friend."""


async def test_nobody_attacks(siege: Siege) -> None:
    async with siege("nobody") as figures:
        await asyncio.sleep(SECONDS)
    assert figures.after < figures.before + 20


def _fill(share: Path, directories: int) -> None:
    for number in range(directories):
        album = share / f"Some Artist {number:03d}" / "An album with a title of usual length"
        album.mkdir(parents=True)
        for song in range(100):
            (album / f"{song:02d} - A song with a title of usual length too.flac").touch()


async def _ask_without_end(session: Session, *, take: bool) -> None:
    """Listings of everything and searches that find everything, one after the other."""
    while True:
        for request in (
            Ls(RemotePath(b"media"), recursive=True, limit=MAX_LIST_ENTRIES),
            Search("a", 10_000),
        ):
            with (
                contextlib.suppress(HdpdError),
                await session.call(request, budget=50_000_000) as stream,
            ):
                await stream.receive(60)
                if not take:
                    await asyncio.sleep(3600)


async def test_one_member_lists_and_searches_without_end(victim: Victim, siege: Siege) -> None:
    await asyncio.to_thread(_fill, victim.daemon.share, full_size(20, 120))
    await asyncio.to_thread(victim.daemon.ctl, "shares", "rescan")
    await asyncio.to_thread(victim.daemon.wait_scanned)
    mallory = Member(host=ELSEWHERE)
    try:
        session = await mallory.meet(victim)
        async with siege("90 listings and searches of one member"), asyncio.TaskGroup() as group:
            asking = [group.create_task(_ask_without_end(session, take=True)) for _ in range(90)]
            await asyncio.sleep(SECONDS)
            for task in asking:
                task.cancel()
    finally:
        await mallory.close()


async def test_answers_that_nobody_takes(victim: Victim, siege: Siege) -> None:
    members = [Member(host=ELSEWHERE) for _ in range(full_size(2, 6))]
    try:
        sessions = [await each.meet(victim) for each in members]
        async with siege("answers that nobody takes"), asyncio.TaskGroup() as group:
            asking = [
                group.create_task(_ask_without_end(session, take=False))
                for session in sessions
                for _ in range(40)
            ]
            await asyncio.sleep(SECONDS)
            for task in asking:
                task.cancel()
    finally:
        await close_all(members)


async def test_many_keys_of_one_person_connect(victim: Victim, siege: Siege) -> None:
    count, members = full_size(30, 450), list[Member]()
    at_once = asyncio.Semaphore(6)

    async def meet() -> None:
        async with at_once:
            members.append(member := Member(host=ELSEWHERE))
            with contextlib.suppress(HdpdError, TimeoutError):
                await member.meet(victim)

    try:
        async with siege(f"{count} keys of one member"), asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(meet())
    finally:
        await close_all(members)
