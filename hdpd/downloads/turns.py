"""Turns of the event loop, for what is done to many downloads in a row."""

from __future__ import annotations

import asyncio
from typing import Final

AT_ONCE: Final = 100  # downloads in one turn, some milliseconds


async def breathe(number: int) -> None:
    """Lets others have the loop after each AT_ONCE downloads; `number` counts them from 0."""
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
