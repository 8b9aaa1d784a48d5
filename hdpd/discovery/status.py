"""What the owner is shown of the ways to find peers. Pure."""

from __future__ import annotations

from msgspec import Struct

from hdpd.discovery.proof import Trouble


class BrokerStatus(Struct, frozen=True):
    """A broker; `error` is the last one, `trouble` its kind. `works`: what we publish comes back;
    None while that is not known.
    """

    server: str
    connected: bool
    error: str | None
    works: bool | None = None
    trouble: Trouble | None = None


class MdnsStatus(Struct, frozen=True):
    """`advertised`: others can see this peer. `adverts`: how many others are seen. `error`: why it
    does not work.
    """

    advertised: bool
    adverts: int
    error: str | None


class DiscoveryStatus(Struct, frozen=True):
    """`mdns` is None when it is switched off."""

    mqtt: tuple[BrokerStatus, ...]
    mdns: MdnsStatus | None
