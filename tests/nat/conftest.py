"""The `internet` fixture: a laboratory that is gone after the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.nat.lab import PATH, Internet, missing

needs_laboratory = pytest.mark.skipif(missing() is not None, reason=missing() or "")

needs_miniupnpd = pytest.mark.skipif(
    shutil.which("miniupnpd", path=PATH) is None,
    reason="needs miniupnpd; run `sudo make test-nat`, which installs it",
)


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as made:
        yield made
