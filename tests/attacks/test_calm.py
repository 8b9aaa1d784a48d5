"""The yardstick: how an honest friend and the owner fare when nobody attacks."""

from __future__ import annotations

import asyncio

from tests.attacks.harness import Siege, full_size


async def test_nobody_attacks(siege: Siege) -> None:
    async with siege("nobody") as figures:
        await asyncio.sleep(full_size(1, 10))
    assert figures.after < figures.before + 20
