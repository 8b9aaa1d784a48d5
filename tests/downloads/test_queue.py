"""Which downloads run: scripts of events, and a state machine against the promises."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hdpd.downloads.queue import (
    MAX_DRAINING,
    MAX_IDLE,
    MAX_RUNNING,
    UNTIL_CONNECTED,
    Item,
    Place,
    Queue,
)
from hdpd.downloads.states import STARTED, UNFINISHED, Event, State, allows
from hdpd.identity.keys import PeerId

ANN, BOB = PeerId(bytes(31) + b"\x01"), PeerId(bytes(31) + b"\x02")


class Downloads:
    """A queue whose downloads are called by their ids."""

    def __init__(self, *downloads: tuple[str, PeerId]) -> None:
        self.queue: Queue[Item] = Queue()
        for position, (download, peer) in enumerate(downloads):
            self.queue.add(Item(id=download, peer=peer, position=position))

    def __getitem__(self, download: str) -> Item:
        item = self.queue.get(download)
        assert item is not None
        return item

    def happened(self, download: str, *events: Event, not_before: float = 0.0) -> None:
        for event in events:
            self.queue.happened(self[download], event, not_before)

    def move(self, download: str, place: Place) -> dict[str, int]:
        return {item.id: item.position for item in self.queue.move(self[download], place)}

    def word(self, download: str) -> str:
        return self.queue.word(self[download])

    def commands(self, now: float = 0.0) -> tuple[list[str], list[str]]:
        decision = self.queue.decide(now)
        return [item.id for item in decision.start], [item.id for item in decision.stop]


def test_one_download_for_each_connected_peer_in_order() -> None:
    downloads = Downloads(("a1", ANN), ("b1", BOB), ("a2", ANN))
    assert downloads.commands() == ([], [])
    assert downloads.word("a1") == "waiting_for_peer"
    downloads.queue.connected(ANN)
    assert downloads.word("a1") == "queued"
    assert downloads.commands() == (["a1"], [])
    downloads.queue.connected(BOB)
    assert downloads.commands() == (["b1"], [])
    words = [downloads.word(d) for d in downloads.queue]
    assert words == ["downloading", "downloading", "queued"]

    downloads.happened("a1", Event.FINISH)
    assert downloads.commands() == (["a2"], [])


def test_a_draining_download_lets_the_next_one_begin() -> None:
    downloads = Downloads(*((f"a{n}", ANN) for n in range(MAX_DRAINING + 2)))
    downloads.queue.connected(ANN)
    for number in range(MAX_DRAINING):
        assert downloads.commands() == ([f"a{number}"], [])
        downloads[f"a{number}"].draining = True
    assert downloads.commands() == ([], [])
    downloads.happened("a3", Event.FINISH)
    assert downloads.commands() == ([f"a{MAX_DRAINING}"], [])


def test_nothing_else_is_taken_out_in_place_of_what_is_not_there() -> None:
    downloads = Downloads(("a1", ANN), ("a2", ANN), ("a3", ANN))
    for stranger in (
        Item(id="a2", peer=ANN, position=1),  # a copy
        Item(id="a0", peer=ANN, position=1),
    ):
        for place in Place:
            assert downloads.queue.move(stranger, place) == []
    assert list(downloads.queue) == ["a1", "a2", "a3"]

    downloads["a2"].position = 7  # behind the back of the queue
    with pytest.raises(LookupError):
        downloads.queue.happened(downloads["a2"], Event.PAUSE)
    assert list(downloads.queue) == ["a1", "a2", "a3"]
    downloads.queue.connected(ANN)
    assert downloads.commands() == (["a1"], [])


def test_pause_stops_and_resume_starts_again() -> None:
    downloads = Downloads(("a1", ANN), ("a2", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    downloads.happened("a1", Event.PAUSE)
    assert downloads[("a1")].state is State.PAUSING
    assert downloads.commands() == ([], [])  # its runner has not returned
    assert downloads.word("a1") == "paused"
    downloads.happened("a1", Event.RETURN)
    assert downloads.commands() == (["a2"], [])

    downloads.happened("a1", Event.RESUME)
    assert downloads.commands() == ([], ["a2"])
    assert downloads.commands() == ([], [])  # commands are given once
    downloads.happened("a2", Event.RETURN)
    assert downloads.commands() == (["a1"], [])


def test_a_download_moved_to_the_front_replaces_the_running_one() -> None:
    downloads = Downloads(("a1", ANN), ("a2", ANN), ("a3", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    assert downloads.move("a3", Place.TOP) == {"a3": -1}
    assert list(downloads.queue) == ["a3", "a1", "a2"]
    assert downloads.commands() == ([], ["a1"])
    downloads.happened("a1", Event.RETURN)
    assert downloads.commands() == (["a3"], [])


@pytest.mark.parametrize(
    ("download", "place", "order"),
    [
        ("a2", Place.UP, "a2 a1 a3"),
        ("a2", Place.DOWN, "a1 a3 a2"),
        ("a1", Place.BOTTOM, "a2 a3 a1"),
        ("a3", Place.TOP, "a3 a1 a2"),
        ("a1", Place.TOP, "a1 a2 a3"),
        ("a1", Place.UP, "a1 a2 a3"),
        ("a3", Place.DOWN, "a1 a2 a3"),
    ],
)
def test_moves(download: str, place: Place, order: str) -> None:
    downloads = Downloads(("a1", ANN), ("a2", ANN), ("a3", ANN))
    downloads.move(download, place)
    assert " ".join(downloads.queue) == order


def test_what_failed_for_now_lets_others_go_first() -> None:
    downloads = Downloads(("a1", ANN), ("a2", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    downloads.happened("a1", Event.RETURN, not_before=10.0)
    decision = downloads.queue.decide(1.0)
    assert [item.id for item in decision.start] == ["a2"]
    assert decision.wake == 10.0
    assert downloads.commands(10.0) == ([], ["a2"])


@pytest.mark.parametrize("not_before", [UNTIL_CONNECTED, 1e12])
def test_waiting_for_the_next_connection(not_before: float) -> None:
    downloads = Downloads(("a1", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    downloads.happened("a1", Event.RETURN, not_before=not_before)
    assert downloads.commands(1e9) == ([], [])
    assert downloads.word("a1") == (
        "waiting_for_peer" if not_before == UNTIL_CONNECTED else "queued"
    )
    downloads.queue.disconnected(ANN)
    downloads.queue.connected(ANN)
    assert downloads.commands() == (["a1"], [])


def test_a_lost_peer_stops_its_downloads_even_draining_ones() -> None:
    downloads = Downloads(("a1", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    downloads["a1"].draining = True
    downloads.queue.disconnected(ANN)
    assert downloads.commands() == ([], ["a1"])
    assert downloads.word("a1") == "waiting_for_peer"


def test_waiting_for_room_counts_as_paused() -> None:
    downloads = Downloads(("a1", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    downloads.happened("a1", Event.HOLD)
    assert downloads.commands() == ([], [])
    assert downloads.word("a1") == "paused"
    assert downloads.queue.held() == [downloads["a1"]]


def test_not_too_many_peers_at_once() -> None:
    """Those that send nothing are in nobody's way, and yet not without end."""
    downloads = Downloads()
    for number in range(MAX_RUNNING + MAX_IDLE + 3):
        peer = PeerId(bytes(31) + bytes([number]))
        downloads.queue.add(Item(id=f"d{number}", peer=peer, position=number))
        downloads.queue.connected(peer)
    while started := downloads.commands()[0]:
        assert len(started) == MAX_RUNNING
        for download in started:
            downloads[download].idle = True
    assert len(downloads.queue.started()) == MAX_RUNNING + MAX_IDLE


def test_only_unfinished_ones_are_found_by_their_key() -> None:
    downloads = Downloads(("a1", ANN))
    downloads.queue.connected(ANN)
    downloads.commands()
    assert downloads.queue.like("a1") is downloads["a1"]
    downloads.happened("a1", Event.REMOVE)
    assert downloads.queue.like("a1") is None
    downloads.happened("a1", Event.RETURN, Event.PURGED)
    assert "a1" not in downloads.queue


PEERS = [PeerId(bytes(31) + bytes([number])) for number in range(3)]
OWNER = [Event.PAUSE, Event.RESUME, Event.REMOVE, Event.RETRY]
RUNNER = [Event.RETURN, Event.HOLD, Event.FINISH, Event.FAIL]


class Promises(RuleBasedStateMachine):
    """The shell's side is modelled: what was started and not yet stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[Item] = Queue()
        self.downloads: list[Item] = []
        self.running: set[Item] = set()
        self.told_to_stop: set[Item] = set()
        self.connected: set[PeerId] = set()
        self.now = 0.0
        self.added = 0

    def pick(self, data: st.DataObject, events: list[Event]) -> tuple[Item, Event] | None:
        possible = [
            (d, event) for d in self.downloads for event in events if allows(d.state, event)
        ]
        return data.draw(st.sampled_from(possible)) if possible else None

    @rule(peer=st.sampled_from(PEERS), paused=st.booleans())
    def add(self, peer: PeerId, paused: bool) -> None:
        self.added += 1
        state = State.PAUSED if paused else State.READY
        item = Item(id=f"d{self.added}", peer=peer, position=self.added, state=state)
        self.queue.add(item)
        self.downloads.append(item)

    @rule(peer=st.sampled_from(PEERS), up=st.booleans())
    def connection(self, peer: PeerId, up: bool) -> None:
        if up:
            self.queue.connected(peer)
            self.connected.add(peer)
        else:
            self.queue.disconnected(peer)
            self.connected.discard(peer)

    @rule(data=st.data())
    def command(self, data: st.DataObject) -> None:
        if picked := self.pick(data, [*OWNER, Event.RELEASE, Event.PURGED]):
            self.happen(*picked)

    @rule(data=st.data(), place=st.sampled_from(Place))
    def move(self, data: st.DataObject, place: Place) -> None:
        if unfinished := [d for d in self.downloads if d.state in UNFINISHED]:
            self.queue.move(data.draw(st.sampled_from(unfinished)), place)

    @rule(data=st.data(), idle=st.booleans())
    @precondition(lambda self: self.running)
    def drain(self, data: st.DataObject, idle: bool) -> None:
        item = data.draw(st.sampled_from(sorted(self.running, key=lambda d: d.id)))
        item.draining, item.idle = not idle, idle

    @rule(data=st.data(), later=st.floats(0, 5) | st.just(UNTIL_CONNECTED))
    def runner_ends(self, data: st.DataObject, later: float) -> None:
        if picked := self.pick(data, RUNNER):
            self.happen(*picked, self.now + later if later else 0.0)

    def happen(self, item: Item, event: Event, not_before: float = 0.0) -> None:
        self.queue.happened(item, event, not_before)
        if event is Event.PURGED:
            self.downloads.remove(item)
        if event in RUNNER:
            self.running.discard(item)
            self.told_to_stop.discard(item)
        elif item.state in STARTED:
            self.told_to_stop.add(item)

    @rule(seconds=st.floats(0, 3))
    def decide(self, seconds: float) -> None:
        self.now += seconds
        decision = self.queue.decide(self.now)
        for item in decision.stop:
            assert item in self.running - self.told_to_stop
            self.told_to_stop.add(item)
        for item in decision.start:
            assert item not in self.running
            assert item.peer in self.connected
            self.running.add(item)
        for item in self.running - self.told_to_stop:
            assert item.state is State.RUNNING
            assert item.peer in self.connected
        # Between decisions there may be more: one whose disk answers again goes on asking.
        asking = [item.peer for item in self.running - self.told_to_stop if not item.draining]
        assert len(asking) == len(set(asking))

    @invariant()
    def each_is_where_its_state_says(self) -> None:
        unfinished = [d for d in self.downloads if d.state in UNFINISHED]
        ranks = sorted(d.rank for d in unfinished)
        assert [id_ for _, id_ in ranks] == list(self.queue)
        assert {d.id for d in self.downloads} == {d.id for d in self.queue.all()}
        assert {d for d in self.downloads if d.state in STARTED} == set(self.queue.started())
        assert {d for d in self.downloads if d.state is State.HELD} == set(self.queue.held())
        assert all(self.queue.like(d.key) is d for d in unfinished)
        assert set(self.queue.started()) == self.running

    def teardown(self) -> None:
        """When all is well at last, the first download of each peer runs."""
        for item in list(self.running):
            self.happen(item, Event.RETURN)
        for peer in PEERS:
            self.queue.connected(peer)
        for item in self.downloads:
            for event in (Event.RESUME, Event.RETRY):
                if allows(item.state, event):
                    self.queue.happened(item, event)
        firsts: dict[PeerId, str] = {}
        for download in self.queue:
            item_of = self.queue.get(download)
            assert item_of is not None
            firsts.setdefault(item_of.peer, download)
        started = [item.id for item in self.queue.decide(self.now + 100).start]
        assert sorted(started) == sorted(firsts.values())


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault of the queue
)
