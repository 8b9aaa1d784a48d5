"""The matrix: every kind of home with every other, how they connected and how long it took.

`python -m tests.nat.matrix [KIND…]` (`make test-nat`), as root. Each pair is two real daemons that
know nothing of each other but the topic, a broker and the STUN servers. When they are connected a
file is downloaded and compared. The exit status is 1 when a cell fails.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.nat.lab import PATH, SITES, Internet, NatDaemon, Site, missing, program_path
from tests.waiting import wait_for

KINDS = ("public", "easy", "hard", "carrier", "upnp", "pmp", "hard-mapped", "ipv6", "dual")
FILE_BYTES = 300_000
POLL_S = 0.05

# From the second peer's being ready.
DIRECT_S = 5.0
BIRTHDAY_S = 30.0
NAMED_S = 60.0


@dataclass(frozen=True)
class Expected:
    """What the oracle says of a pair: whether it connects, and within what."""

    connects: bool
    within: float


@dataclass(frozen=True)
class Cell:
    """What happened. `how` is the kind of path, or the reason why there is none."""

    expected: Expected
    how: str
    seconds: float
    fault: str | None = None

    def __str__(self) -> str:
        if self.fault is not None:
            return f"FAILED: {self.fault}"
        return f"{self.how} {self.seconds:.1f} s"


def oracle(first: str, second: str) -> Expected:
    """By what the kinds are, not by what hdpd makes of them."""
    kinds = SITES[first], SITES[second]
    if all(kind.ipv6 for kind in kinds):
        return Expected(True, DIRECT_S)
    if not all(kind.ipv4 for kind in kinds):
        return Expected(False, NAMED_S)
    if any(kind.nat is None or (kind.mapping and kind.carrier is None) for kind in kinds):
        return Expected(True, DIRECT_S)
    hard = [kind.nat == "hard" or kind.carrier == "hard" for kind in kinds]
    if all(hard):
        return Expected(False, NAMED_S)
    return Expected(True, BIRTHDAY_S if any(hard) else DIRECT_S)


def pairs(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every kind with itself and with each that follows."""
    return itertools.combinations_with_replacement(kinds, 2)


class Matrix:
    """Runs pairs one after the other, in one laboratory."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet
        self._numbers = itertools.count(1)

    def run(self, first: str, second: str) -> Cell:
        """One pair of kinds, each in a home of its own."""
        homes = self._internet.site(first), self._internet.site(second)
        return self.run_homes(*homes, oracle(first, second))

    def run_homes(self, first: Site, second: Site, expected: Expected) -> Cell:
        """One pair in these homes, which are the same one for neighbours on a LAN."""
        topic = f"pair {next(self._numbers)}"
        daemons = [self._internet.daemon(home.host(), "--topic", topic) for home in (first, second)]
        (daemons[0].share / "file").write_bytes(content := os.urandom(FILE_BYTES))
        try:
            for daemon in daemons:
                daemon.start()
            return self._watch(daemons[0], daemons[1], expected, content)
        finally:
            for daemon in daemons:
                if daemon.process is not None and daemon.process.poll() is None:
                    daemon.stop()

    def _watch(self, a: NatDaemon, b: NatDaemon, expected: Expected, content: bytes) -> Cell:
        began = time.monotonic()
        peer: dict[str, object] = {}
        limit = expected.within + (0 if expected.connects else 5)
        while (took := time.monotonic() - began) < limit:
            peer = next(iter(b.rpc("peers.list", all=True)["peers"]), {})
            if peer.get("state") == "connected":
                break
            if not expected.connects and (reason := _reason(peer)):
                return Cell(expected, reason, took)
            time.sleep(POLL_S)
        if peer.get("state") != "connected":
            fault = f"not within {limit:g} s ({_reason(peer) or peer.get('state') or 'not found'})"
            return Cell(expected, "", took, fault)
        if not expected.connects:
            return Cell(expected, str(peer["path"]), took, "connected, which cannot be")
        equal = self._download(b, str(peer["id"]), content)
        return Cell(expected, str(peer["path"]), took, None if equal else "the file differs")

    @staticmethod
    def _download(b: NatDaemon, peer: str, content: bytes) -> bool:
        wait_for("the share", lambda: "file" in b.ctl("ls", f"{peer}/media", check=False))
        b.ctl("download", f"{peer}/media/file", "--wait", timeout=60)
        return (b.downloads / "file").read_bytes() == content


def _reason(peer: dict[str, object]) -> str:
    """Why it is said not to be reachable; empty while it is only being tried."""
    error = peer.get("error")
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    return message if message.startswith("not reachable directly") else ""


def print_table(kinds: tuple[str, ...], cells: dict[tuple[str, str], Cell]) -> None:
    """As a table of Markdown, for docs/nat.md."""
    print(f"\n| | {' | '.join(kinds)} |")
    print("|---" * (len(kinds) + 1) + "|")
    for row in kinds:
        told = (cells.get((row, column)) for column in kinds)
        print(
            f"| **{row}** | {' | '.join('' if each is None else _short(each) for each in told)} |"
        )


def _short(cell: Cell) -> str:
    return str(cell) if cell.fault or cell.expected.connects else f"named {cell.seconds:.0f} s"


def main(arguments: list[str]) -> int:
    """Prints each cell as it comes, then the table."""
    reason = missing()
    kinds = tuple(arguments) or KINDS
    if reason is None and any(SITES[kind].mapping for kind in kinds):
        reason = None if program_path("miniupnpd") else f"needs miniupnpd, which is not in {PATH}"
    if reason is not None:
        print(f"The NAT matrix is skipped: {reason}.")
        return 0
    cells: dict[tuple[str, str], Cell] = {}
    for first, second in pairs(kinds):
        with Internet(quiet=True) as internet:
            try:
                cell = Matrix(internet).run(first, second)
            except AssertionError as error:
                cell = Cell(oracle(first, second), "", 0.0, str(error).splitlines()[0])
        cells[first, second] = cell
        print(f"{first:>12} - {second:<12} {cell}", flush=True)
    print_table(kinds, cells)
    failed = sum(cell.fault is not None for cell in cells.values())
    print(f"\n{len(cells)} pairs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
