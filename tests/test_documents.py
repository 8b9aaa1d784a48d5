"""The documents name files that are there, and rules of the house that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_house import REASONS, ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_something(document: Path) -> None:
    text = document.read_text()
    links = {link for link in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", text) if "://" not in link}
    assert {link for link in links if not (document.parent / link).exists()} == set()


def test_what_is_to_be_changed_is_there() -> None:
    named = set(re.findall(r"`((?:hdpd|hdpctl|docs|tests)/[\w./]*)`", CONTRIBUTING))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == {"hdpd/web/views/NAME.js"}


def test_the_rules_that_are_explained_are_rules() -> None:
    rows = re.findall(r"(?m)^\| \*([^*]+)\* \|", CONTRIBUTING)
    assert len(rows) >= 8
    reasons = " ".join(REASONS.values())
    assert {part for row in rows for part in row.split(" … ") if part not in reasons} == set()
