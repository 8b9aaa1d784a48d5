"""Which downloads run: scripts of events, and a state machine against the promises."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hdpd.downloads.queue import MAX_DRAINING, MAX_RUNNING, UNTIL_CONNECTED, Place, Queue, Wish
from hdpd.identity.keys import PeerId

ANN, BOB = PeerId(bytes(31) + b"\x01"), PeerId(bytes(31) + b"\x02")


def queue_of(*downloads: tuple[str, PeerId]) -> Queue:
    queue = Queue()
    for position, (download, peer) in enumerate(downloads):
        queue.add(download, peer, position)
    return queue


def commands(queue: Queue, now: float = 0.0) -> tuple[list[str], list[str]]:
    decision = queue.decide(now)
    return decision.start, decision.stop


def test_one_download_for_each_connected_peer_in_order() -> None:
    queue = queue_of(("a1", ANN), ("b1", BOB), ("a2", ANN))
    assert commands(queue) == ([], [])
    assert queue.state("a1") == "waiting_for_peer"
    queue.connected(ANN)
    assert queue.state("a1") == "queued"
    assert commands(queue) == (["a1"], [])
    queue.connected(BOB)
    assert commands(queue) == (["b1"], [])
    assert [queue.state(d) for d in queue] == ["downloading", "downloading", "queued"]

    queue.remove("a1")
    assert commands(queue) == (["a2"], [])


def test_a_draining_download_lets_the_next_one_begin() -> None:
    queue = queue_of(*((f"a{n}", ANN) for n in range(MAX_DRAINING + 2)))
    queue.connected(ANN)
    for number in range(MAX_DRAINING):
        assert commands(queue) == ([f"a{number}"], [])
        assert queue.draining(f"a{number}", True)
        assert not queue.draining(f"a{number}", True)
    assert commands(queue) == ([], [])
    queue.remove("a3")
    assert commands(queue) == ([f"a{MAX_DRAINING}"], [])


def test_pause_stops_and_resume_starts_again() -> None:
    queue = queue_of(("a1", ANN), ("a2", ANN))
    queue.connected(ANN)
    queue.decide(0)
    assert queue.wish("a1", Wish.PAUSE)
    assert not queue.wish("a1", Wish.PAUSE)
    assert commands(queue) == ([], ["a1"])
    assert commands(queue) == ([], [])  # commands are given once
    assert queue.state("a1") == "paused"
    queue.stopped("a1")
    assert commands(queue) == (["a2"], [])

    queue.wish("a1", Wish.RUN)
    assert commands(queue) == ([], ["a2"])
    queue.stopped("a2")
    assert commands(queue) == (["a1"], [])


def test_a_download_moved_to_the_front_replaces_the_running_one() -> None:
    queue = queue_of(("a1", ANN), ("a2", ANN), ("a3", ANN))
    queue.connected(ANN)
    queue.decide(0)
    assert queue.move("a3", Place.TOP) == {"a3": -1}
    assert list(queue) == ["a3", "a1", "a2"]
    assert commands(queue) == ([], ["a1"])
    queue.stopped("a1")
    assert commands(queue) == (["a3"], [])


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
    queue = queue_of(("a1", ANN), ("a2", ANN), ("a3", ANN))
    queue.move(download, place)
    assert " ".join(queue) == order


def test_what_failed_for_now_lets_others_go_first() -> None:
    queue = queue_of(("a1", ANN), ("a2", ANN))
    queue.connected(ANN)
    queue.decide(0)
    queue.stopped("a1", not_before=10.0)
    decision = queue.decide(1.0)
    assert decision.start == ["a2"]
    assert decision.wake == 10.0
    assert commands(queue, 10.0) == ([], ["a2"])


def test_waiting_for_the_next_connection() -> None:
    queue = queue_of(("a1", ANN))
    queue.connected(ANN)
    queue.decide(0)
    queue.stopped("a1", UNTIL_CONNECTED)
    assert commands(queue, 1e9) == ([], [])
    assert queue.state("a1") == "waiting_for_peer"
    queue.disconnected(ANN)
    queue.connected(ANN)
    assert commands(queue) == (["a1"], [])


def test_a_lost_peer_stops_its_downloads_even_draining_ones() -> None:
    queue = queue_of(("a1", ANN))
    queue.connected(ANN)
    queue.decide(0)
    queue.draining("a1", True)
    queue.disconnected(ANN)
    assert commands(queue) == ([], ["a1"])
    assert queue.state("a1") == "waiting_for_peer"


def test_waiting_for_room_counts_as_paused() -> None:
    queue = queue_of(("a1", ANN))
    queue.connected(ANN)
    queue.wish("a1", Wish.AWAIT_ROOM)
    assert commands(queue) == ([], [])
    assert queue.state("a1") == "paused"
    assert queue.awaiting_room() == ["a1"]


def test_not_too_many_peers_at_once() -> None:
    queue = Queue()
    for number in range(MAX_RUNNING + 3):
        peer = PeerId(bytes(31) + bytes([number]))
        queue.add(f"d{number}", peer, number)
        queue.connected(peer)
    assert len(queue.decide(0).start) == MAX_RUNNING


PEERS = [PeerId(bytes(31) + bytes([number])) for number in range(3)]


class Promises(RuleBasedStateMachine):
    """The shell's side is modelled: what was started and not yet stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.peer_of: dict[str, PeerId] = {}
        self.wishes: dict[str, Wish] = {}
        self.running: set[str] = set()
        self.told_to_stop: set[str] = set()
        self.draining: set[str] = set()
        self.connected: set[PeerId] = set()
        self.now = 0.0
        self.added = 0

    def pick(self, data: st.DataObject, of: set[str]) -> str | None:
        return data.draw(st.sampled_from(sorted(of))) if of else None

    @rule(peer=st.sampled_from(PEERS), paused=st.booleans())
    def add(self, peer: PeerId, paused: bool) -> None:
        self.added += 1
        wish = Wish.PAUSE if paused else Wish.RUN
        self.queue.add(f"d{self.added}", peer, self.added, wish)
        self.peer_of[f"d{self.added}"] = peer
        self.wishes[f"d{self.added}"] = wish

    @rule(peer=st.sampled_from(PEERS), up=st.booleans())
    def connection(self, peer: PeerId, up: bool) -> None:
        if up:
            self.queue.connected(peer)
            self.connected.add(peer)
        else:
            self.queue.disconnected(peer)
            self.connected.discard(peer)

    @rule(data=st.data(), wish=st.sampled_from(Wish))
    def wish(self, data: st.DataObject, wish: Wish) -> None:
        if download := self.pick(data, set(self.peer_of)):
            self.queue.wish(download, wish)
            self.wishes[download] = wish

    @rule(data=st.data(), place=st.sampled_from(Place))
    def move(self, data: st.DataObject, place: Place) -> None:
        if download := self.pick(data, set(self.peer_of)):
            self.queue.move(download, place)

    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        if download := self.pick(data, self.running):
            self.queue.draining(download, True)
            self.draining.add(download)

    @rule(data=st.data(), later=st.floats(0, 5))
    def runner_ends(self, data: st.DataObject, later: float) -> None:
        if download := self.pick(data, self.running):
            self.queue.stopped(download, self.now + later)
            for some in (self.running, self.told_to_stop, self.draining):
                some.discard(download)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if download := self.pick(data, set(self.peer_of)):
            self.queue.remove(download)
            del self.peer_of[download], self.wishes[download]
            for some in (self.running, self.told_to_stop, self.draining):
                some.discard(download)

    @rule(seconds=st.floats(0, 3))
    def decide(self, seconds: float) -> None:
        self.now += seconds
        decision = self.queue.decide(self.now)
        for download in decision.stop:
            assert download in self.running - self.told_to_stop
            self.told_to_stop.add(download)
        for download in decision.start:
            assert download not in self.running
            assert self.wishes[download] is Wish.RUN
            assert self.peer_of[download] in self.connected
            self.running.add(download)
        for download in self.running - self.told_to_stop:
            assert self.wishes[download] is Wish.RUN
            assert self.peer_of[download] in self.connected

    @invariant()
    def one_for_each_peer(self) -> None:
        asking = [self.peer_of[d] for d in self.running - self.draining]
        assert len(asking) == len(set(asking))

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.queue) == set(self.peer_of)

    def teardown(self) -> None:
        """When all is well at last, the first download of each peer runs."""
        for download in list(self.running):
            self.queue.stopped(download)
        for peer in PEERS:
            self.queue.connected(peer)
        for download in self.peer_of:
            self.queue.wish(download, Wish.RUN)
        firsts: dict[PeerId, str] = {}
        for download in self.queue:
            firsts.setdefault(self.peer_of[download], download)
        assert sorted(self.queue.decide(self.now + 100).start) == sorted(firsts.values())


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=60, stateful_step_count=40)
