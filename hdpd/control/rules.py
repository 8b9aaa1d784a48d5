"""Who may do what from where: roles, and the Host, Origin and Sec-Fetch-Site rules. Pure.

A browser sends requests for any page the user has open. The Host rule stops pages whose name was
made to point at this machine (DNS rebinding); the Origin and Sec-Fetch-Site rules stop pages of
other sites; both hold before a token or cookie is even looked at.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Literal

from hdpd.backoff import Backoff
from hdpd.errors import Forbidden
from hdpd.identity.addresses import household_of
from hdpd.recent import Recent

RoleWord = Literal["read", "control", "admin"]


class Role(IntEnum):
    """What a token allows; each includes the ones below it."""

    READ = 1  # look at everything, and read files
    CONTROL = 2  # the download and upload queues
    ADMIN = 3  # shares, topics, peers, tokens, invites, shutdown

    @property
    def word(self) -> RoleWord:
        return _WORDS[self]

    @classmethod
    def parse(cls, word: str) -> Role:
        """The role of that name; raises KeyError for any other word."""
        return cls[word.upper()]


_WORDS: dict[Role, RoleWord] = {
    Role.READ: "read",
    Role.CONTROL: "control",
    Role.ADMIN: "admin",
}

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def local_names(hostname: str, configured: tuple[str, ...] = ()) -> frozenset[str]:
    """The host names this machine answers to, besides IP literals."""
    short = hostname.partition(".")[0]
    names = ("localhost", hostname, short, f"{short}.local", *configured)
    return frozenset(name.lower().rstrip(".") for name in names if name)


def check_host(host: str | None, names: frozenset[str]) -> None:
    """Raises Forbidden unless the Host header names this machine by an IP literal or a name that
    nobody else can point here.
    """
    match = _HOST.fullmatch(host or "")
    if match is not None:
        name = match[1].lower()
        if name.rstrip(".") in names or _is_ip_literal(name):
            return
    raise Forbidden(
        f"this hdpd does not answer to the host name {(host or '')[:100]!r}; use its IP address, "
        "or add the name to control.hostnames in hdpd.toml"
    )


def _is_ip_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") else name)
    except ValueError:
        return False
    return name.startswith("[") or ":" not in name


def check_network(client: str, server: str) -> None:
    """Raises Forbidden when a request without TLS comes from the internet, where anybody on its way
    could have read the token. `client` and `server` are the addresses of the connection.
    """
    try:
        theirs, ours = (ipaddress.ip_address(each.partition("%")[0]) for each in (client, server))
    except ValueError:
        return
    if isinstance(theirs, ipaddress.IPv6Address) and theirs.ipv4_mapped is not None:
        theirs = theirs.ipv4_mapped
    # Neighbours often have public IPv6 addresses; they are in our /64.
    if theirs.is_global and household_of(client) != household_of(server):
        raise Forbidden(
            f"this interface is not encrypted and answers to private networks only, not to "
            f"{theirs}; listen with TLS: --control https://{ours}"
        )


def check_origin(headers: Mapping[str, str], scheme: str) -> None:
    """Raises Forbidden when a browser says that another site's page makes the request. Programs
    that are no browsers send neither header.
    """
    origin = headers.get("origin")
    if origin is not None:
        host = headers.get("host", "")
        if _without_default_port(origin, scheme) != _without_default_port(
            f"{scheme}://{host}", scheme
        ):
            raise Forbidden("pages of other origins may not use this hdpd")
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise Forbidden("pages of other sites may not use this hdpd")


def _without_default_port(origin: str, scheme: str) -> str:
    return origin.lower().removesuffix(_DEFAULT_PORTS[scheme])


class SlowDown:
    """How long answers to failed log-ins wait, per address: never a lock-out, so that nobody can
    keep the owner out by failing in his place.
    """

    FIRST_S = 0.25
    LONGEST_S = 8.0
    FORGOTTEN_S = 600.0
    # About 200 KB. The address that failed longest ago goes first: whoever has a thousand
    # addresses to fail from gains nothing else, as tokens have 128 random bits or more.
    MAX_ADDRESSES = 1024

    def __init__(self) -> None:
        self._failures = Recent[str, tuple[int, float]](self.MAX_ADDRESSES)  # count and time

    def failed(self, address: str, now: float) -> float:
        """Counts a failure and returns how many seconds its answer has to wait."""
        key = household_of(address)
        count, last = self._failures.get(key, (0, now))
        count = 1 if now - last > self.FORGOTTEN_S else count + 1
        self._failures.put(key, (count, now))
        return Backoff(self.FIRST_S, self.LONGEST_S).delay(count - 1)

    def succeeded(self, address: str) -> None:
        self._failures.pop(household_of(address))

    def __len__(self) -> int:
        return len(self._failures)
