"""At whom strangers may make us aim: how often one host is dialled for their sake. Pure.

Whoever knows a topic can announce peers that do not exist at addresses of somebody who has nothing
to do with it, and every member would dial there. So for peers that were never connected, a host is
tried so often and no more; friends are dialled without regard for it.
"""

from __future__ import annotations

import ipaddress

from hdpd.recent import Recent

WINDOW_S = 60.0
# Each costs its target three datagrams of 1.2 KB; a stranger with twelve addresses at one host can
# still be tried twice and a half in a minute.
MAX_TRIES = 32
MAX_HOSTS = 4096  # 600 KB; the one that was tried longest ago is forgotten first


class Aim:
    """Counts the tries of each host; an IPv6 network of one customer (/64) is one host."""

    def __init__(self) -> None:
        self._tries: Recent[str, tuple[float, int]] = Recent(MAX_HOSTS)

    def allow(self, host: str, now: float) -> bool:
        """Whether `host`, an IP literal, may be tried once more; counts it when it may."""
        key = _network(host)
        since, tries = self._tries.get(key, (now, 0))
        if now - since > WINDOW_S:
            since, tries = now, 0
        if tries >= MAX_TRIES:
            return False
        self._tries.put(key, (since, tries + 1))
        return True


def _network(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address), 64), strict=False))
