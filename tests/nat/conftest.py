"""The `internet` fixture: a laboratory that is gone after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nat.lab import Internet, missing, program_path

HERE = Path(__file__).parent
needs_laboratory = pytest.mark.skipif(missing() is not None, reason=missing() or "")

needs_miniupnpd = pytest.mark.skipif(
    program_path("miniupnpd") is None,
    reason="needs miniupnpd; run `sudo make test-nat`, which installs it",
)
quick = pytest.mark.quick
"""Tests of the laboratory that `make test` runs, too."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what takes minutes, so that it is run by `make test-nat` only."""
    for item in items:
        in_laboratory = "internet" in getattr(item, "fixturenames", ())
        if in_laboratory and item.get_closest_marker("quick") is None:
            item.add_marker(pytest.mark.laboratory)


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as made:
        yield made
