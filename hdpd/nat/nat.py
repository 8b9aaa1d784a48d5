"""Nat: finds out how this peer can be reached, and keeps the router's door open.

The shell around the report, the candidates and the port mappings. Nothing here is waited for at
start: what is found out later is announced when it is.
"""

from __future__ import annotations

from collections.abc import Callable

from hdpd.config import Config
from hdpd.discovery.records import Candidate
from hdpd.identity.keys import PeerId
from hdpd.link.endpoint import Endpoint
from hdpd.link.interfaces import interface_addresses
from hdpd.nat.candidates import local_candidates
from hdpd.nat.report import NatReport

Emit = Callable[[str, dict[str, object]], None]


class Nat:
    """`on_candidates_changed` is called when what others should be told has changed,
    `on_network_changed` when addresses or routes of this machine did.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: Config,
        emit: Emit,
        on_candidates_changed: Callable[[], None],
        on_network_changed: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._emit = emit
        self._on_candidates_changed = on_candidates_changed
        self._on_network_changed = on_network_changed
        self._interfaces = interface_addresses()
        self._report = NatReport()

    async def start(self) -> None:
        """Begins to find out; returns at once."""

    async def close(self) -> None:
        """Removes the port mappings, within a second."""

    def report(self) -> NatReport:
        """What is known now."""
        return self._report

    def candidates(self) -> tuple[Candidate, ...]:
        """At most 12 addresses of this peer: local, stun, observed (confirmed) and mapped."""
        hosts = self._endpoint.bound_hosts or (None,)
        bound = list(zip(hosts, self._endpoint.ports, strict=True))
        return local_candidates(self._interfaces, bound)

    def observed(self, peer_id: PeerId, peer_host: str, host: str, port: int) -> None:
        """The connected peer `peer_id`, reached at `peer_host`, sees us as `host` and `port`."""

    def network_changed(self) -> None:
        """Addresses, routes or the router changed, or the machine slept: finds out anew."""
