"""Answers that nobody takes."""

from __future__ import annotations

import asyncio

import pytest

from hdpd.errors import Busy
from hdpd.shares import answers
from hdpd.wire.fields import Message
from hdpd.wire.messages import Entry, EntryType
from hdpd.wire.paths import RemotePath


class Stuck:
    """A stream whose reader takes nothing."""

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        """Waits for ever."""
        await asyncio.Event().wait()


async def test_an_answer_that_nobody_takes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "TAKE_S", 0.01)
    entry = Entry(RemotePath(b"a/b"), EntryType.FILE, 1, 2, 1)
    with pytest.raises(Busy, match="not taken"):
        await answers.send_entries(Stuck(), "entries", [entry])
