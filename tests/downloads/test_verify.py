"""Checks of finished downloads: what is equal, what is not and why, progress, bounds, bad peers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from hdpd.downloads import verify
from hdpd.errors import (
    DownloadNotFound,
    HdpdError,
    InvalidParams,
    LimitReached,
    NotFound,
    PeerNotConnected,
    UnknownRequest,
)
from hdpd.wire.messages import Digest
from tests.downloads.harness import Harness, as_dict, service
from tests.fake_peer import MTIME_NS, FakeFile, FakePeer
from tests.waiting import WAIT_S

COUNTS = ("state", "files", "done_files", "equal", "unequal")


async def check(here: Harness, id_: str) -> dict[str, Any]:
    """The end of a new check."""
    await here.downloads.verify(id_)
    return await ended(here, id_)


async def ended(here: Harness, id_: str) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        while True:
            state = as_dict(await here.downloads.verification(id_))
            if state["state"] in ("done", "failed"):
                return state
            await asyncio.sleep(0.005)


def counts(state: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(state[key] for key in COUNTS)


async def test_what_arrived_is_equal(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(os.urandom(n * 1000)) for n in range(30)})
    async with service(tmp_path, peer) as here:
        id_ = (await here.get("s/d"))["id"]
        state = await check(here, id_)
        assert counts(state) == ("done", 30, 30, 30, 0)
        assert state["done_bytes"] == state["size"] == sum(n * 1000 for n in range(30))
        told = [data for kind, data in here.events if kind == "verification.changed"]
        assert [told[0]["state"], told[-1]] == ["running", state]


async def test_a_single_file_that_was_saved_under_another_name(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"new")})
    async with service(tmp_path, peer) as here:
        here.root.mkdir()
        (here.root / "f").write_bytes(b"old")
        id_ = (await here.get("s/f"))["id"]
        assert counts(await check(here, id_)) == ("done", 1, 1, 1, 0)
        (here.root / "f (2)").write_bytes(b"bad")
        assert (await check(here, id_))["problems"][0]["problem"] == "changed_here"


async def test_each_kind_of_difference_is_told_apart(tmp_path: Path) -> None:
    names = ("different", "changed_here", "changed_there", "missing_here", "missing_there", "fine")
    peer = FakePeer({f"s/d/{name}": FakeFile(b"content") for name in names})
    async with service(tmp_path, peer) as here:
        id_ = (await here.get("s/d"))["id"]
        there, directory = peer.files, here.root / "d"
        (directory / "different").write_bytes(b"Content")  # as a disk does that forgets
        os.utime(directory / "different", ns=(MTIME_NS, MTIME_NS))
        (directory / "changed_here").write_bytes(b"more content")
        there["s/d/changed_there"] = FakeFile(b"CONTENT", MTIME_NS + 10**10)
        (directory / "missing_here").unlink()
        del there["s/d/missing_there"]
        state = await check(here, id_)
        assert counts(state) == ("done", 6, 6, 1, 5)
        assert {p["path"]: p["problem"] for p in state["problems"]} == {
            name: name for name in names if name != "fine"
        }


async def test_a_touched_file_of_the_same_content_is_equal(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"content")})
    async with service(tmp_path, peer) as here:
        id_ = (await here.get("s/f"))["id"]
        peer.files["s/f"] = FakeFile(b"content", MTIME_NS + 10**10)
        assert counts(await check(here, id_)) == ("done", 1, 1, 1, 0)


async def test_what_cannot_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = FakePeer({"s/f": FakeFile(b"content")})
    async with service(tmp_path, peer, connected=False) as here:
        id_ = await here.add("s/f")
        with pytest.raises(NotFound):
            await here.downloads.verification(id_)
        with pytest.raises(PeerNotConnected):
            await here.downloads.verify(id_)
        with pytest.raises(DownloadNotFound):
            await here.downloads.verify("nonsense")
        await here.downloads.pause([id_])
        here.connect()
        with pytest.raises(InvalidParams, match="no file of this download is finished"):
            await here.downloads.verify(id_)
        await here.downloads.resume([id_])
        await here.wait(id_)
        monkeypatch.setattr(verify, "MAX_KEPT", 0)
        with pytest.raises(LimitReached):
            await here.downloads.verify(id_)


async def test_a_peer_that_goes_away_or_is_too_old(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(b"content") for n in range(20)})
    errors: list[HdpdError] = [UnknownRequest("what is a digest?")]

    async def refuse(_request: Digest) -> None:
        if errors:
            raise errors[0]
        here.lose()
        await asyncio.sleep(WAIT_S)

    peer.on_digest = refuse
    async with service(tmp_path, peer) as here:
        id_ = (await here.get("s/d"))["id"]
        old = await check(here, id_)
        assert (old["state"], old["error"]["code"]) == ("failed", "unknown_request")
        assert "too old" in old["error"]["message"]
        errors.clear()
        gone = await check(here, id_)
        assert (gone["state"], gone["error"]["code"]) == ("failed", "connection_lost")


async def test_a_second_call_joins_the_check_under_way(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"content")})
    go_on, asked = asyncio.Event(), []

    async def wait(request: Digest) -> None:
        asked.append(request)
        await go_on.wait()

    peer.on_digest = wait
    async with service(tmp_path, peer) as here:
        id_ = (await here.get("s/f"))["id"]
        for _ in range(3):
            assert (await here.downloads.verify(id_)).state in ("waiting", "running")
        go_on.set()
        assert counts(await ended(here, id_)) == ("done", 1, 1, 1, 0)
        assert len(asked) == 1
