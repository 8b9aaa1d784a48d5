"""Log lines for people and for the journal; nothing in a message can forge another record."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd import log


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(level: str, *, systemd: bool) -> list[str]:
    stream = io.StringIO()
    log.configure(level, systemd=systemd, stream=stream)
    logger = logging.getLogger("hdpd.test")
    logger.debug("details")
    logger.info("peer %s", "evil\nname\x1b[31m\u202e")
    logger.warning("careful")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    return stream.getvalue().splitlines()


def test_the_journal_gets_priorities_and_no_time() -> None:
    lines = logged("info", systemd=True)
    assert lines[:3] == [
        r"<6>hdpd.test: peer evil\nname\x1b[31m\u202e",
        "<4>hdpd.test: careful",
        "<3>hdpd.test: failed",
    ]
    assert lines[3] == "<3>  Traceback (most recent call last):"
    assert all(line.startswith("<3>  ") for line in lines[3:])


def test_people_get_the_time() -> None:
    lines = logged("debug", systemd=False)
    assert re.fullmatch(r"\d\d:\d\d:\d\d DEBUG   hdpd\.test: details", lines[0])
    assert lines[1].endswith(r"INFO    hdpd.test: peer evil\nname\x1b[31m\u202e")
    assert lines[4] == "    Traceback (most recent call last):"


def test_levels() -> None:
    lines = logged("warning", systemd=True)
    assert lines[0] == "<4>hdpd.test: careful"
    assert logging.getLogger("zeroconf").getEffectiveLevel() == logging.WARNING


@given(st.text())
def test_any_message_is_one_printable_line(text: str) -> None:
    shown = log.visible(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_the_journal_is_recognised_by_its_inode(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "stderr"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        journal = f"{status.st_dev}:{status.st_ino}"
        assert log.under_systemd({"JOURNAL_STREAM": journal}, stream)
        assert not log.under_systemd({"JOURNAL_STREAM": "1:2"}, stream)
        assert not log.under_systemd({}, stream)
    assert not log.under_systemd({"JOURNAL_STREAM": journal}, io.StringIO())
