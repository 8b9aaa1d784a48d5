"""Events: rising numbers, bounded memory, coalesced progress, and loss that is always told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.control.eventlog import EventLog
from hdpd.control.events import SEQ_PER_START, Events, Subscription
from hdpd.database import Database
from hdpd.identity.keys import PeerId
from hdpd.uploads.status import UploadsChanged, UploadsStatus, WaitingUpload
from hdpd.wire.paths import RemotePath


@dataclass
class Uploading:
    """A status of uploads, with a path that no status has."""

    path: object
    active: tuple[object, ...] = ()

    @property
    def waiting(self) -> list[object]:
        return [WaitingUpload(PeerId(bytes(32)), "Name", cast("RemotePath", self.path), 1)]


def params(text: bytes) -> dict[str, Any]:
    notification = json.loads(text)
    assert notification["jsonrpc"] == "2.0"
    assert notification["method"] == "event"
    return dict(notification["params"])


def taken(subscription: Subscription) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in subscription.take()]


def test_an_event_is_numbered_dated_and_sent_as_a_notification() -> None:
    events = Events(base=40, clock=lambda: 12.5)
    subscription = events.subscribe(None, None)
    events.write("peer.found", {"id": "x"})
    [event] = subscription.take()
    assert params(event.text) == {
        "seq": 41,
        "time": 12.5,
        "type": "peer.found",
        "data": {"id": "x"},
    }
    assert subscription.take() == []


def test_a_subscription_starts_now_or_after_a_number_and_filters_types() -> None:
    events = Events()
    for type_ in ("a", "b", "a", "b"):
        events.write(type_, {})
    now = events.subscribe(None, None)
    assert taken(now) == []
    assert taken(events.subscribe(1, None)) == [(2, "b"), (3, "a"), (4, "b")]
    assert taken(events.subscribe(1, frozenset({"a"}))) == [(3, "a")]
    events.write("c", {})
    assert taken(now) == [(5, "c")]


def test_progress_that_was_not_taken_yet_is_replaced_by_the_latest() -> None:
    events = Events()
    subscription = events.subscribe(None, None)
    events.write("download.changed", {"id": "1", "done_bytes": 1}, ("download.changed", "1"))
    events.write("download.changed", {"id": "2", "done_bytes": 1}, ("download.changed", "2"))
    events.write("download.changed", {"id": "1", "done_bytes": 2}, ("download.changed", "1"))
    events.write("peer.found", {"id": "1"})
    events.write("peer.found", {"id": "1"})
    data = [params(event.text)["data"] for event in subscription.take()]
    assert data[:2] == [{"id": "2", "done_bytes": 1}, {"id": "1", "done_bytes": 2}]
    assert len(data) == 4
    events.write("download.changed", {"id": "1", "done_bytes": 3}, ("download.changed", "1"))
    assert len(subscription.take()) == 1


def test_a_client_that_was_away_too_long_is_told_from_where_to_list_again() -> None:
    log = EventLog(base=0, max_events=3)
    for _ in range(5):
        log.append(0.0, "x", {})
    assert log.first_seq == 3
    assert log.lost_since(1) == 2
    assert log.lost_since(2) is None
    assert log.lost_since(5) is None
    assert log.lost_since(6) == 5


def test_lost_comes_first_whatever_types_are_wanted_and_the_rest_follows() -> None:
    events = Events(base=1000)
    events.write("a", {})
    subscription = events.subscribe(5, frozenset({"a"}))
    [lost] = subscription.take()
    assert params(lost.text)["type"] == "events.lost"
    assert params(lost.text)["data"] == {"seq": 1000}
    assert lost.seq == 1000
    assert taken(subscription) == [(1001, "a")]
    # A number from another life of the state directory.
    assert taken(events.subscribe(5000, None)) == [(1001, "events.lost")]


def test_memory_is_bounded_by_bytes_too() -> None:
    log = EventLog(base=0, max_bytes=1000)
    for number in range(100):
        log.append(0.0, "x", {"text": "x" * 100}, ("x", str(number)))
    assert log.first_seq > 90
    assert len(log.after(log.first_seq - 1, 1000)[0]) == 101 - log.first_seq
    assert len(log._newest) == 101 - log.first_seq


@pytest.mark.parametrize("bad", [object(), Uploading("\ud800"), Uploading(None)])
def test_what_cannot_be_shown_is_logged_and_uses_no_number(
    caplog: pytest.LogCaptureFixture, bad: Any
) -> None:
    events = Events()
    events.emit(UploadsChanged(bad))
    assert events.last_seq == 0
    assert "of type upload.changed" in caplog.text
    events.emit(UploadsChanged(UploadsStatus()))
    assert events.last_seq == 1


def test_an_event_of_a_part_is_shown_as_the_table_says_and_replaced_by_the_next() -> None:
    events = Events()
    subscription = events.subscribe(None, None)
    events.emit(UploadsChanged(UploadsStatus()))
    waiting = WaitingUpload(PeerId(bytes(32)), "Name", RemotePath.from_text("Music/a"), 1)
    events.emit(UploadsChanged(UploadsStatus(waiting=(waiting,))))
    [event] = subscription.take()
    told = params(event.text)
    assert told["type"] == "upload.changed"
    assert told["data"] == {
        "active": [],
        "waiting": [
            {"peer": "a" * 52, "peer_name": "Name", "path": "Music/a", "position": 1},
        ],
    }


async def test_next_waits_for_news_that_is_wanted() -> None:
    events = Events()
    subscription = events.subscribe(None, frozenset({"b"}))
    waiting = asyncio.create_task(subscription.next())
    for type_ in ("a", "b"):
        await asyncio.sleep(0)
        events.write(type_, {})
    assert [event.type for event in await waiting] == ["b"]
    subscription.close()
    events.write("b", {})
    assert not events._subscriptions


async def test_numbers_rise_over_restarts(tmp_path: Path) -> None:
    state = Database(tmp_path / "state.db", "state")
    await state.open()
    try:
        first, second = Events(), Events()
        await first.start(state)
        first.write("a", {})
        await second.start(state)
        assert first.last_seq == 1
        assert second.last_seq == SEQ_PER_START
        [lost] = second.subscribe(1, None).take()
        assert lost.seq == SEQ_PER_START
    finally:
        await state.close()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60),
    st.integers(1, 10),
    st.integers(1, 5),
)
def test_every_state_reaches_a_client_however_slow_it_is_or_loss_is_told(
    steps: list[tuple[bool, int]], max_events: int, batch: int
) -> None:
    log, seen = EventLog(0, max_events), 0
    state: dict[str, int] = {}
    shown: dict[str, int] = {}
    for take, number in [*steps, *[(True, 0)] * 70]:
        if not take:
            event = log.append(0.0, "x", {}, ("x", str(number)))
            state[str(number)] = event.seq
            continue
        lost = log.lost_since(seen)
        if lost is not None:
            seen, shown = lost, {k: v for k, v in state.items() if v <= lost}
        taken_now, after = log.after(seen, batch)
        assert after >= seen
        assert all(seen < event.seq <= after for event in taken_now)
        seen = after
        shown |= {event.key[1]: event.seq for event in taken_now if event.key}
    assert seen == log.last_seq
    assert shown == state
