"""What hdpd says of itself at a moment: status, doctor, netcheck, and why a peer is met or not."""

from __future__ import annotations

from msgspec import Struct

from tests.e2e.harness import Daemon

# The rest of what doctor looks at is the machine that the tests run on.
_ABOUT_NETWORKS = (
    *("bind", "control", "addresses", "internet", "STUN", "port mapping", "mDNS", "broker"),
    *("clocks", "identity", "LAN only", "names"),
)


class Said(Struct, frozen=True):
    """`doctor` has what is not well of networks: the check, and what is said of it with the advice.
    `addresses` are those that others are told.
    """

    status: str
    netcheck: str
    why: str
    addresses: list[str]
    doctor: dict[str, str]

    @property
    def all(self) -> str:
        return "\n".join((self.status, self.netcheck, self.why, *self.doctor.values()))


def said(daemon: Daemon, peer: str | None = None) -> Said:
    """Asks for all of it, netcheck first, which looks anew; `peer` is a name or an id."""
    netcheck = daemon.rpc("nat.report")["sentence"]
    info = daemon.rpc("daemon.info")
    why = None if peer is None else daemon.rpc("peers.explain", peer=peer)
    return Said(
        status=info["nat"],
        netcheck=netcheck,
        why="\n".join((why["reason"], *why["advice"])) if why is not None else "",
        addresses=info["addresses"],
        doctor={
            each["check"]: f"{each['state']}: {each['text']} ({each['advice']})"
            for each in daemon.rpc("daemon.doctor")["findings"]
            if each["check"].startswith(_ABOUT_NETWORKS) and each["state"] != "ok"
        },
    )
