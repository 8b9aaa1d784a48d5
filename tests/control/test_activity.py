"""Which events are told in the log, and what about."""

from __future__ import annotations

import logging

import pytest

from hdpd.control.activity import Activity
from hdpd.control.services import Json
from hdpd.log import MessageId, record_fields

DOWNLOAD: Json = {
    "id": "d1",
    "peer": "abc",
    "peer_name": "Cat",
    "path": "Music/100%s",
    "error": None,
}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_download_is_told_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    passed: list[str] = []
    activity = Activity(lambda type_, _data: passed.append(type_))
    activity.emit("download.added", {**DOWNLOAD, "state": "queued"})
    for state in ("downloading", "downloading", "done", "done"):
        activity.emit("download.changed", {**DOWNLOAD, "state": state})
    activity.emit("download.removed", {"id": "d1"})
    assert lines(caplog) == ["INFO queued: Music/100%s", "INFO downloaded: Music/100%s"]
    assert record_fields(caplog.records[0]) == [
        ("PEER", "Cat"),
        ("PEER", "abc"),
        ("DOWNLOAD", "d1"),
        ("PATH", "Music/100%s"),
    ]
    assert len(passed) == 6


def test_a_failure_says_why_and_what_to_act_on(caplog: pytest.LogCaptureFixture) -> None:
    activity = Activity(lambda _type, _data: None)
    error = {"code": "disk_full", "message": "0% left"}
    activity.emit("download.changed", {**DOWNLOAD, "state": "failed", "error": error})
    assert lines(caplog) == ["WARNING the download of Music/100%s failed: 0% left"]
    assert ("ERROR_CODE", "disk_full") in record_fields(caplog.records[0])
    assert ("MESSAGE_ID", MessageId.DISK_FULL) in record_fields(caplog.records[0])


def test_topics_are_named_at_the_level_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Activity(lambda _type, _data: None).emit("topic.joined", {"name": "party"})
    assert lines(caplog) == ["DEBUG topic.joined"]
    assert record_fields(caplog.records[0]) == [("TOPIC", "party")]
