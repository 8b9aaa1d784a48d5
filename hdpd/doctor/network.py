"""Verdicts on how this machine stands in its networks: addresses, clocks, keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from hdpd.doctor.findings import Finding


class Standing(Struct, frozen=True):
    """What is known of it. `missing` are what of `network.bind` this machine does not have,
    `controls_missing` the same of `control.listen`. `clocks` are the names of peers and by how many
    seconds their clocks are ahead of ours, of `peers_heard` in all. `twin` is where another machine
    with our key was seen. `unresolved` are keys of hdpd.toml with a host's name that leads nowhere.
    """

    missing: Sequence[str] = ()
    controls_missing: Sequence[str] = ()
    lan_only: bool = False
    clocks: Sequence[tuple[str, float]] = ()
    peers_heard: int = 0
    twin: str | None = None
    unresolved: Sequence[tuple[str, str]] = ()


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
    for key, name in standing.unresolved:
        advice = (
            "is it written right, and does this machine's name server answer? hdpd looks it up "
            "again and again"
        )
        yield Finding("names", "warning", f"{name} in {key} leads to no address", advice)
    if standing.lan_only:
        yield Finding("LAN only", "ok", "peers beyond the local network are left alone")
    if standing.clocks:
        yield _clocks(standing)
    if standing.twin is not None:
        text = f"another machine uses the key of this peer: seen at {standing.twin}"
        advice = (
            "two machines with one state directory take each other's sessions away: stop one, and "
            "let it make a key of its own (move identity.key away there)"
        )
        yield Finding("identity", "failed", text, advice)


def _clocks(standing: Standing) -> Finding:
    """Where most clocks agree against ours, ours is wrong."""
    name, seconds = max(standing.clocks, key=lambda each: abs(each[1]))
    count, side = len(standing.clocks), "ahead of" if seconds > 0 else "behind"
    hours = f"{abs(seconds) / 3600:.1f} hours {side} the clock here"
    others = "" if count == 1 else f", and {count - 1} others differ"
    text = f"the clock of {name} is {hours}{others}"
    if count > 1 and 2 * count > standing.peers_heard:
        advice = "this machine's clock is wrong, most likely: timedatectl set-ntp true"
        return Finding("clocks", "failed", text, advice)
    advice = (
        "one of the two is wrong: set it (timedatectl set-ntp true), or tell whoever runs the "
        "other; with more than a day between them they do not find each other by a broker"
    )
    return Finding("clocks", "warning", text, advice)
