"""What hdpd and its UPnP process tell each other: one job in, one outcome out, as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Map UDP `port` of `own`, or end that. `location` is the URL of the gateway's description,
    `lifetime` is in seconds, `pinhole` what an earlier outcome said.
    """

    operation: Literal["map", "unmap"]
    location: str
    own: str
    port: int
    external_port: int
    lifetime: int
    pinhole: int | None = None


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The external address, for `lifetime` seconds (0: without an end), or why there is none."""

    host: str = ""
    port: int = 0
    lifetime: int = 0
    pinhole: int | None = None
    error: str | None = None
