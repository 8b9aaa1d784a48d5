"""What hdpd and its UPnP process tell each other: one job in, one outcome out, as JSON."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Map UDP `port` of `own` for `lifetime` seconds, at `external_port` if that is free.

    `location` is the URL of the gateway's description.
    """

    location: str
    own: str
    port: int
    external_port: int
    lifetime: int


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The external address, for `lifetime` seconds (0: without an end), or why there is none.

    `control_url` and `service` take the call that ends it; `pinhole` is what that call names where
    it is a hole in the IPv6 firewall.
    """

    host: str = ""
    port: int = 0
    lifetime: int = 0
    control_url: str = ""
    service: str = ""
    pinhole: int | None = None
    error: str | None = None
