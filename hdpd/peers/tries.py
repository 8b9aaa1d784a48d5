"""What was tried to reach each peer, and what came of it, for `hdpctl why`. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from hdpd.identity.keys import PeerId

Kind = Literal["dial", "request", "punch", "birthday"]

MAX_PEERS: Final = 512  # about 5 KB each; the one tried longest ago is forgotten
MAX_TRIES: Final = 32  # of one peer; a full record, a punch at each of its addresses, and the rest


@dataclass(frozen=True, slots=True)
class Try:
    """The latest try of one way. `time` is in seconds since the epoch; `address` is for people."""

    kind: Kind
    address: str | None
    time: float
    result: str
    worked: bool = False


class Tries:
    """The latest result of each way to each peer."""

    def __init__(self) -> None:
        self._peers: OrderedDict[PeerId, OrderedDict[tuple[Kind, str | None], Try]] = OrderedDict()

    def note(self, peer_id: PeerId, what: Try) -> None:
        tries = self._peers.setdefault(peer_id, OrderedDict())
        self._peers.move_to_end(peer_id)
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        key = (what.kind, what.address)
        tries[key] = what
        tries.move_to_end(key)
        if len(tries) > MAX_TRIES:
            tries.popitem(last=False)

    def of(self, peer_id: PeerId) -> list[Try]:
        """The oldest first."""
        return list(self._peers.get(peer_id, {}).values())


def shown(host: str, port: int) -> str:
    """An address as people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
