"""Log lines and journal records; nothing in a message can forge another record."""

from __future__ import annotations

import io
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd import log
from hdpd.journal import MAX_VALUE_BYTES, JournalHandler, encode


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(level: str, *, systemd: bool) -> list[str]:
    stream = io.StringIO()
    log.configure(level, log.stream_handler(systemd=systemd, stream=stream))
    logger = logging.getLogger("hdpd.test")
    logger.debug("details")
    logger.info("peer %s", "evil\nname\x1b[31m\u202e")
    logger.warning("careful")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    return stream.getvalue().splitlines()


def test_a_service_manager_gets_priorities_and_no_time() -> None:
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


@pytest.fixture
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """The journal's end; connected with the handler that the root logger has."""
    path = tmp_path_factory.mktemp("j") / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        handler = JournalHandler(path)
        assert server.recv(10) == b""
        log.configure("debug", handler)
        yield server
        handler.close()


def record(journal: socket.socket) -> dict[str, list[str]]:
    """The next record, taken apart as the journal does it."""
    data = journal.recv(1 << 20)
    found: dict[str, list[str]] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size :]
            assert data[:1] == b"\n"
            data = data[1:]
        found.setdefault(name.decode(), []).append(value.decode())
    return found


def test_the_journal_gets_fields(journal: socket.socket) -> None:
    logging.getLogger("hdpd.test").warning(
        "no luck with %s",
        "x",
        extra=log.fields(
            message_id=log.MessageId.DISK_FULL,
            peer=("PersianChinchilla", "abc"),
            topic="party",
            download="d1",
            path="Music/a\nb",
            error_code="disk_full",
        ),
    )
    got = record(journal)
    assert got["MESSAGE"] == ["no luck with x"]
    assert got["PRIORITY"] == ["4"]
    assert got["SYSLOG_IDENTIFIER"] == ["hdpd"]
    assert got["LOGGER"] == ["hdpd.test"]
    assert got["PEER"] == ["PersianChinchilla", "abc"]
    assert got["DOWNLOAD"] == ["d1"]
    assert got["PATH"] == [r"Music/a\nb"]
    assert got["ERROR_CODE"] == ["disk_full"]
    assert got["MESSAGE_ID"] == [log.MessageId.DISK_FULL]
    assert "TOPIC" not in got


def test_topics_are_told_at_the_level_debug_only(journal: socket.socket) -> None:
    logging.getLogger("hdpd.test").debug("joined", extra=log.fields(topic="party"))
    assert record(journal)["TOPIC"] == ["party"]


def test_a_traceback_is_one_record(journal: socket.socket) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("hdpd.test").exception("failed\nPRIORITY=0")
    got = record(journal)
    [message] = got["MESSAGE"]
    assert message.startswith("failed\\nPRIORITY=0\nTraceback")
    assert got["PRIORITY"] == ["3"]


def test_a_stack_is_in_the_record(journal: socket.socket) -> None:
    logging.getLogger("hdpd.test").error("cannot happen", stack_info=True)
    [message] = record(journal)["MESSAGE"]
    assert message.startswith("cannot happen\nStack")
    assert "test_a_stack_is_in_the_record" in message


@given(st.lists(st.tuples(st.sampled_from(["A", "B"]), st.text(max_size=50))))
def test_no_value_can_forge_a_field(fields: list[tuple[str, str]]) -> None:
    ours, journals = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, journals:
        ours.send(encode(fields))
        expected: dict[str, list[str]] = {}
        for name, value in fields:
            shown = value.encode("utf-8", "backslashreplace").decode()
            expected.setdefault(name, []).append(shown)
        assert record(journals) == expected


def test_what_is_too_long_is_cut(journal: socket.socket) -> None:
    logging.getLogger("hdpd.test").error("x" * 1_000_000)
    assert len(record(journal)["MESSAGE"][0]) == MAX_VALUE_BYTES


def test_a_journal_that_went_away_leaves_standard_error(
    journal: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(journal.getsockname()).unlink()
    logging.getLogger("hdpd.test").error("still there")
    assert capsys.readouterr().err == "still there\n"


def test_without_a_journal_there_is_no_handler(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        JournalHandler(tmp_path / "none")


def test_the_catalogue_explains_each_message() -> None:
    catalogue = (Path(__file__).parent.parent / "systemd" / "hdpd.catalog").read_text()
    assert set(re.findall(r"^-- ([0-9a-f]{32})$", catalogue, re.MULTILINE)) == set(log.MessageId)
