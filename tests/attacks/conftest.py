"""The victim, its friend, and the table of figures that the run ends with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from hdpd.link.interfaces import interface_addresses
from hdpd.link.session import Session
from tests.attacks.figures import HEADINGS, Figures
from tests.attacks.harness import Member, Siege, Victim, besieged
from tests.e2e.conftest import new_lab

ROW = "figures of an attack"


@pytest.fixture(autouse=True)
def known_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attackers by the dozen are made in the loop of the test, and the kernel may let each wait for
    its interfaces while networks of other tests come and go.
    """
    known = interface_addresses()
    monkeypatch.setattr("hdpd.link.endpoint.interface_addresses", lambda: known)


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """One for all that a module does to it."""
    with new_lab() as lab:
        yield Victim(lab).start()


@pytest.fixture
def siege(victim: Victim, record_property: Callable[[str, object], None]) -> Siege:
    @asynccontextmanager
    async def begin(name: str) -> AsyncIterator[Figures]:
        friend = Member(who=victim.friend_key)
        figures: Figures | None = None
        try:
            session: Session = await friend.meet(victim)
            async with besieged(victim, name, session) as figures:
                yield figures
        finally:
            await friend.close()
            if figures is not None:
                record_property(ROW, figures.row())

    return begin


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what was measured, also by workers."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == ROW and getattr(report, "when", "") == "call"
    ]
    if not rows:
        return
    table = [HEADINGS, *sorted(map(tuple, rows))]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    terminalreporter.section("attacks: the slowest honest answers, and what it cost the victim")
    for row in table:
        terminalreporter.line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
