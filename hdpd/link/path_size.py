"""How large datagrams a path carries, found by probing (DPLPMTUD, RFC 8899). Pure.

What interfaces say counts for nothing: a tunnel or a bridge behind them may carry less and drop the
rest in silence. A size counts once a probe of it was answered, and until probes of it stay
unanswered while small ones are not.

All sizes worth trying go out at once, so that one round trip is enough, and again twice where the
largest of them was not answered: it may have been lost for another reason.
"""

from __future__ import annotations

from typing import Final

# Payloads of UDP: jumbo frames, Ethernet by IPv4 and by IPv6, PPPoE, tunnels, the least of IPv6.
SIZES: Final = (8972, 8192, 4052, 1472, 1452, 1432, 1392, 1372, 1352, 1292, 1252)
SMALL: Final = 0  # a probe without padding, which every path carries
ROUNDS: Final = 3
ROUND_S: Final = 0.2
CONFIRM_S: Final = 5.0  # between looks whether the size still is carried, while data is sent
AGAIN_S: Final = 600.0  # after which larger sizes are tried again (RFC 8899, PMTU_RAISE_TIMER)


class PathSize:
    """The search on one path. `size` is what was proved, at least `base`; `given_up` says that a
    size that was in use is not carried any more. Times are monotonic.
    """

    def __init__(self, base: int, ceiling: int, now: float) -> None:
        """No probe is larger than `ceiling`."""
        self.size = base
        self.given_up = False
        self._base = base
        self._ceiling = ceiling
        self._wanted: tuple[int, ...] = ()  # sizes of this look that are not answered
        self._left = 0  # rounds of it
        self._confirms = False
        self._search(now)

    def _search(self, now: float) -> None:
        sizes = {self._ceiling, *(each for each in SIZES if each < self._ceiling)}
        self._wanted = tuple(sorted(each for each in sizes if each > self.size))
        self._left, self._confirms = ROUNDS, False
        self._again = now + AGAIN_S

    def round(self, now: float) -> tuple[int, ...]:
        """The sizes to probe now; empty when the look is over. To be called each ROUND_S until
        then.
        """
        if self._left and self._wanted:
            self._left -= 1
            return self._wanted
        if self._confirms and self._wanted:
            self._judge()
        self._left, self._wanted = 0, ()
        return ()

    def _judge(self) -> None:
        if SMALL not in self._wanted and self.size in self._wanted:
            self.size, self.given_up = self._base, True

    def answered(self, size: int) -> None:
        """A probe of that size came through."""
        if not self._confirms:
            self.size = max(self.size, size)
            self._wanted = tuple(each for each in self._wanted if each > size)
        elif size:
            self._wanted = ()  # as good as ever
        else:
            self._wanted = tuple(each for each in self._wanted if each != size)

    def look(self, now: float, size: int) -> bool:
        """Begins to confirm `size`, which is in use; or to search, where that was long ago or the
        size was given up. Whether there is anything to do by `round`.
        """
        self.size, self.given_up = size, False
        if now > self._again:
            self._search(now)
        elif size > self._base:
            self._wanted, self._left, self._confirms = (SMALL, size), ROUNDS, True
        return bool(self._wanted)
