"""Tasks that go on whatever happens in them."""

from __future__ import annotations

import asyncio

import pytest

from hdpd import tasks
from hdpd.backoff import Backoff
from hdpd.tasks import keep_running


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RETRY", Backoff(0.001, 0.01))


async def test_work_that_raises_is_logged_with_its_traceback_and_begins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("a mistake")

    await keep_running(work, "the work")
    assert begun == 3
    told = [each for each in caplog.records if each.name == "hdpd.tasks"]
    assert len(told) == 2
    assert all("'the work'" in each.getMessage() and each.exc_info for each in told)


async def test_a_cancelled_task_does_not_begin_anew() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = keep_running(work, "the work")
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=5.0)
    assert task.cancelled()


async def test_it_can_be_cancelled_while_it_waits_to_begin_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "RETRY", Backoff(60.0, 60.0))
    failed = asyncio.Event()

    async def work() -> None:
        failed.set()
        raise ValueError

    task = keep_running(work, "the work")
    await failed.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=5.0)
    assert task.cancelled()
