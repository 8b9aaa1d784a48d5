"""The `internet` fixture: a laboratory that is gone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nat.lab import Internet, missing

needs_laboratory = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as made:
        yield made
