"""What the owner grants to whom: who is a favourite, and who has had the quota of the day.

Counts are saved now and then; a crash forgets half a minute of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hdpd.config.peer_rules import PeerRules
from hdpd.config.sizes import shown_size
from hdpd.database import Database, Transaction
from hdpd.errors import QuotaReached, StateUnavailable
from hdpd.identity.keys import PeerId
from hdpd.tasks import keep_running
from hdpd.uploads.quotas import DayCount

SAVE_S = 30.0


def today() -> str:
    """The local day."""
    return time.strftime("%Y-%m-%d")


class Privileges:
    """`rules` may be replaced at any time."""

    def __init__(
        self, database: Database, rules: PeerRules, day: Callable[[], str] = today
    ) -> None:
        self.rules = rules
        self._database = database
        self._day = day
        self._count = DayCount(day(), {})
        self._saving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Goes on with what was counted on this day."""
        day = self._day()
        rows = await self._database.read(
            lambda t: list(t.execute("SELECT peer, bytes FROM sent_today WHERE day=?", (day,)))
        )
        self._count = DayCount(day, {PeerId(peer): size for peer, size in rows})
        self._saving = keep_running(self._save_now_and_then, "save what was sent")

    async def close(self) -> None:
        """Saves the rest."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        await self._save()

    def is_favourite(self, peer: PeerId) -> bool:
        """Whether the peer goes before others."""
        return self.rules.is_favourite(peer)

    def check_quota(self, peer: PeerId) -> None:
        """Raises QuotaReached when no more may be sent to the peer today.

        What is under way then is sent to its end, so that a day may become a little more.
        """
        quota = self.rules.quota_of(peer)
        if quota is not None and self._count.sent(peer, self._day()) >= quota:
            raise QuotaReached(
                f"the daily quota of {shown_size(quota)} is used up; it goes on at 00:00 "
                f"({time.strftime('%Z')})"
            )

    def sent(self, peer: PeerId, size: int) -> None:
        """So many bytes have left for the peer."""
        self._count.add(peer, size, self._day())

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            await self._save()

    async def _save(self) -> None:
        day, unsaved = self._count.day, self._count.take_unsaved()
        if not unsaved:
            return
        rows = [(peer.raw, day, size) for peer, size in unsaved.items()]

        def write(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM sent_today WHERE day != ?", (day,))
            transaction.executemany("INSERT OR REPLACE INTO sent_today VALUES (?, ?, ?)", rows)

        try:
            await self._database.write(write)
        except BaseException as error:  # the next time; a cancelled write may not have begun
            self._count.keep_unsaved(day, unsaved)
            if not isinstance(error, StateUnavailable):
                raise
