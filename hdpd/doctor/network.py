"""Verdicts on how this machine stands in its networks: addresses, clocks, keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hdpd.doctor.findings import Finding


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of it. `missing` are what of `network.bind` this machine does not have,
    `controls_missing` the same of `control.listen`.
    """

    missing: Sequence[str] = ()
    controls_missing: Sequence[str] = ()
    lan_only: bool = False


def network(standing: Standing) -> Iterator[Finding]:
    """Judges it; nothing that is well and was not asked for is mentioned."""
    if standing.missing:
        text = f"this machine does not have {', '.join(standing.missing)}, named in network.bind"
        advice = (
            "nobody can be reached from there: is the interface up, the VPN connected? "
            "hdpd waits for it; otherwise correct network.bind (an interface's name follows its "
            "addresses)"
        )
        yield Finding("bind", "failed", text, advice)
    if standing.controls_missing:
        text = f"the address of {', '.join(standing.controls_missing)} is not there"
        advice = "is the interface up? hdpd waits for it; otherwise correct control.listen"
        yield Finding("control", "warning", text, advice)
    if standing.lan_only:
        yield Finding("LAN only", "ok", "peers beyond the local network are left alone")
