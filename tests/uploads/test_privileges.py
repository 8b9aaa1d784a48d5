"""What was counted is saved, whatever becomes of a save."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hdpd.config.peer_rules import PeerRules
from hdpd.database import Database
from hdpd.identity.keys import PeerId
from hdpd.uploads import privileges as privileges_module
from hdpd.uploads.privileges import Privileges
from tests.waiting import until

A = PeerId(bytes(32))


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db", "state")
    await database.open()
    yield database
    await database.close()


async def saved(database: Database) -> list[Any]:
    return await database.read(lambda t: list(t.execute("SELECT peer, bytes FROM sent_today")))


async def test_a_mistake_while_saving_loses_no_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as database:
        privileges = Privileges(database, PeerRules(), lambda: "today")
        await privileges.start()
        privileges.sent(A, 5)

        async def mistaken(_change: object) -> None:
            raise RuntimeError("a mistake")

        with monkeypatch.context() as patched:
            patched.setattr(database, "write", mistaken)
            with pytest.raises(RuntimeError):
                await privileges._save()
        await privileges.close()
        assert await saved(database) == [(A.raw, 5)]


async def test_a_stop_in_the_middle_of_a_save_loses_no_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges_module, "SAVE_S", 0.0)
    async with opened(tmp_path) as database:
        privileges = Privileges(database, PeerRules(), lambda: "today")
        await privileges.start()
        waits, write = asyncio.Event(), database.write

        async def slow(change: Any) -> Any:
            if waits.is_set():
                return await write(change)
            waits.set()
            return await asyncio.Event().wait()

        monkeypatch.setattr(database, "write", slow)
        privileges.sent(A, 5)
        await until(waits.is_set)
        await privileges.close()
        assert await saved(database) == [(A.raw, 5)]
