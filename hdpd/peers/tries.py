"""What was tried to reach a peer, and what came of it, for `hdpctl why`. Pure."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Kind = Literal["dial", "request", "punch", "birthday"]

MAX_TRIES: Final = 32  # of one peer; a full record, a punch at each of its addresses, and the rest


class Try(Struct, frozen=True):
    """The latest try of one way. `time` is in seconds since the epoch; `address` is for people."""

    kind: Kind
    address: str | None
    time: float
    result: str
    worked: bool = False


def shown(host: str, port: int) -> str:
    """An address as people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
