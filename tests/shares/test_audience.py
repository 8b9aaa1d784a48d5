"""What a listener of the shares is told: each change once, and everything when there are many."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hdpd.shares.audience import MAX_HELD, MAX_NEWS_BYTES, Listener
from hdpd.wire.codec import MAX_FRAME_BYTES, encode
from hdpd.wire.messages import MAX_CHANGED_PATHS, Changed
from hdpd.wire.paths import RemotePath

A, B = RemotePath(b"S/a"), RemotePath(b"S/b")


def numbered(count: int) -> list[RemotePath]:
    return [RemotePath(b"S/%d" % number) for number in range(count)]


def test_a_change_is_told_once_until_it_is_listed_again() -> None:
    listener = Listener()
    listener.listed(A, b"1")
    listener.listed(B, b"1")
    listener.compare({A: b"1", B: b"1"})
    assert not listener.has_news
    listener.compare({A: b"2", B: b"1"})
    assert listener.has_news
    assert listener.take() == (A,)
    assert listener.held == {B}
    listener.compare({A: b"3", B: b"1"})
    assert not listener.has_news
    listener.listed(A, b"3")
    listener.compare({A: None})
    assert listener.take() == (A,)


def test_a_listing_without_a_validator_is_told_of_when_there_is_one() -> None:
    listener = Listener()
    listener.listed(A, None)
    listener.compare({A: None})
    assert not listener.has_news
    listener.compare({A: b"1"})
    assert listener.take() == (A,)


def test_a_later_page_of_another_state_makes_the_earlier_ones_old() -> None:
    listener = Listener()
    listener.listed(A, b"1")
    listener.listed(A, b"2")
    assert listener.take() == (A,)
    assert listener.held == {A}


def test_the_oldest_of_too_many_counts_as_changed() -> None:
    listener = Listener()
    paths = numbered(MAX_HELD + 2)
    for path in paths:
        listener.listed(path, b"1")
    listener.listed(paths[5], b"1")
    assert len(listener.held) == MAX_HELD
    assert listener.take() == (paths[0], paths[1])


def test_more_than_a_message_holds_is_everything() -> None:
    listener = Listener()
    paths = numbered(MAX_CHANGED_PATHS + 1)
    for path in paths:
        listener.listed(path, b"1")
    listener.compare(dict.fromkeys(paths[1:], b"2"))
    assert listener.take() == tuple(paths[1:])
    for path in paths:
        listener.listed(path, b"1")
    listener.compare(dict.fromkeys(paths, b"2"))
    listener.listed(A, b"1")
    assert listener.take() is None
    assert listener.held == set()
    assert not listener.has_news


def test_the_longest_message_fits_into_a_frame() -> None:
    listener = Listener()
    long = b"\xff" * 250
    for number in range(8):
        path = RemotePath(b"/".join([*[long] * 15, b"%d" % number]))
        listener.listed(path, b"1")
        listener.listed(path, b"2")
    news = listener.take()
    assert news is not None
    assert MAX_NEWS_BYTES - 4000 < sum(len(path.raw) for path in news) <= MAX_NEWS_BYTES
    assert len(encode(Changed(news).to_wire())) <= MAX_FRAME_BYTES
    for number in range(9):
        path = RemotePath(b"/".join([*[long] * 15, b"%d" % number]))
        listener.listed(path, b"3")
        listener.listed(path, b"4")
    assert listener.take() is None


class Whole(RuleBasedStateMachine):
    """Against a listener that knows all: nobody keeps an old listing without being told."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = Listener()
        self.now: dict[RemotePath, int] = {}
        self.shown: dict[RemotePath, int] = {}  # what the other side shows, and takes for current

    @rule(number=st.integers(0, 400))
    def list_one(self, number: int) -> None:
        path = RemotePath(b"S/%d" % number)
        version = self.now.setdefault(path, 0)
        self.listener.listed(path, b"%d" % version)
        self.shown[path] = version

    @rule(start=st.integers(0, 300), count=st.integers(1, 300))
    def list_many(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            self.list_one(number)

    @rule(number=st.integers(0, 400), count=st.integers(1, 80))
    def change(self, number: int, count: int) -> None:
        for each in range(number, number + count):
            path = RemotePath(b"S/%d" % each)
            self.now[path] = self.now.get(path, 0) + 1

    @rule(arrives=st.booleans())
    def tell(self, arrives: bool) -> None:
        self.listener.compare({p: b"%d" % self.now[p] for p in self.listener.held})
        if not self.listener.has_news:
            return
        news = self.listener.take()
        if not arrives:
            self.listener.untold()
            return
        for path in list(self.shown) if news is None else news:
            self.shown.pop(path, None)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert len(self.listener.held) <= MAX_HELD
        if not self.listener.has_news:
            assert set(self.shown) <= self.listener.held


TestWhole = Whole.TestCase
TestWhole.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
