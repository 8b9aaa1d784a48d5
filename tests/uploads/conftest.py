"""A transition that is not in the table fails the test in which it happens."""

from __future__ import annotations

import pytest

from hdpd.uploads import slots


@pytest.fixture(autouse=True)
def strict_transitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "STRICT", True)
