"""At whom others may make us aim: how often one host is dialled that never answered. Pure.

Whoever knows a topic can announce peers, real or made up, at addresses of somebody who has nothing
to do with it, and every member would dial there. So an address at which nobody was ever met shares
its tries with all others of its host, whoever told them, and they become the fewer the longer
nobody answers there. Where somebody was met is dialled without regard for it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from hdpd.identity.addresses import household_of
from hdpd.recent import Recent

FIRST_WINDOW_S: Final = 60.0
LONGEST_WINDOW_S: Final = 3600.0
# Each costs its target three datagrams of 1.2 KB; a peer with twelve addresses at one host can
# still be tried twice and a half in the first minute.
MAX_TRIES: Final = 32  # in each window, of which every one is twice as long as the last
MAX_HOSTS: Final = 4096  # 600 KB; the one that was tried longest ago is forgotten first


class _Host(Struct):
    since: float
    window_s: float = FIRST_WINDOW_S
    tries: int = 0


class Aim:
    """Counts the tries of each host; a household of IPv6 is one host."""

    def __init__(self) -> None:
        self._hosts: Recent[str, _Host] = Recent(MAX_HOSTS)

    def allow(self, host: str, now: float) -> bool:
        """Whether `host`, an IP literal, may be tried once more; counts it when it may."""
        key = household_of(host)
        known = self._hosts.get(key) or _Host(now)
        if now - known.since > known.window_s:
            known = _Host(now, min(2 * known.window_s, LONGEST_WINDOW_S))
        if known.tries >= MAX_TRIES:
            return False
        known.tries += 1
        self._hosts.put(key, known)
        return True

    def answered(self, host: str) -> None:
        """Somebody was met there: what was tried before was meant for it."""
        self._hosts.pop(household_of(host))
