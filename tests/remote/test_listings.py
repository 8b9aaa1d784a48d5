"""Peers' listings as clients see them: kept, asked about, and never more than the peer says."""

from __future__ import annotations

import pytest

from hdpd.errors import ProtocolError
from hdpd.remote.listings import MAX_SHOWN, ListingChanged, Listings
from hdpd.remote.pagecache import CachedPage, PageCache
from hdpd.wire.fields import Message
from hdpd.wire.messages import Changed, Entry, Ls, Request
from hdpd.wire.paths import RemotePath
from tests.control.fakes import ScriptedSession, entry, peer_id
from tests.fake_peer import FakeStream, Item

PATH = RemotePath(b"S/a")
LS = Ls(PATH, limit=500)


class Peer(ScriptedSession):
    """One whose directories all hold `names`, and that knows validators."""

    def __init__(self, *names: str) -> None:
        super().__init__(1)
        self.names = names
        self.validator: bytes = b"v1"
        self.script = lambda request: FakeStream(self.answer(request))

    def answer(self, request: Request) -> list[Item]:
        assert isinstance(request, Ls)
        end: Message = {"end": True, "cursor": None}
        if request.if_none_match is not None:
            end["validator"] = self.validator
        if request.if_none_match == self.validator:
            return [end | {"not_modified": True}]
        rows = [entry(name).to_wire() for name in self.names]
        return [{"entries": rows}, end | {"cursor": b"next"}]

    @property
    def known(self) -> list[bytes | None]:
        return [request.if_none_match for request in self.requests if isinstance(request, Ls)]


class Sink:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        self.messages.append(message)


class Here(Listings):
    """With the events that it emitted."""

    def __init__(self) -> None:
        self.events: list[ListingChanged] = []
        super().__init__(self.events.append)

    async def names(self, peer: Peer, request: Ls = LS) -> list[str]:
        entries, cursor = await self.page(peer, request)
        assert cursor == b"next"
        return [each.path.text for each in entries]

    async def hear(self, peer: Peer, *paths: bytes) -> list[object]:
        """What clients hear of when the peer says that these changed; of everything for none."""
        self.events.clear()
        sink = Sink()
        changed = Changed(tuple(map(RemotePath, paths)) if paths else None)
        await self.answer_changed(peer, changed, sink)
        assert sink.messages == [{"ok": True}]
        assert all(e.peer == peer.peer_id for e in self.events)
        return [e.path and e.path.text for e in self.events]


async def test_a_listing_is_asked_about_and_sent_once() -> None:
    here, peer = Here(), Peer("x", "y")
    for _ in range(3):
        assert await here.names(peer) == ["x", "y"]
    assert peer.known == [b"", b"v1", b"v1"]
    peer.names, peer.validator = ("z",), b"v2"
    assert await here.names(peer) == ["z"]
    assert await here.names(peer) == ["z"]
    assert peer.known[3:] == [b"v1", b"v2"]


async def test_another_question_is_another_listing() -> None:
    here, peer = Here(), Peer("x")
    questions = [
        LS,
        Ls(PATH, limit=501),
        Ls(PATH, limit=500, sort="-size"),
        Ls(PATH, limit=500, cursor=b"next"),
        Ls(RemotePath(b"S/b"), limit=500),
    ]
    for question in questions:
        await here.names(peer, question)
    assert peer.known == [b""] * 5
    other = Peer("x")
    other.peer_id = peer_id(2)
    await here.names(other)
    assert other.known == [b""]


async def test_all_below_is_asked_for_without_a_validator() -> None:
    here, peer = Here(), Peer("x")
    for _ in range(2):
        await here.names(peer, Ls(PATH, recursive=True))
    assert peer.known == [None, None]
    assert await here.hear(peer, b"S/a") == []


async def test_a_peer_of_an_earlier_version_is_listed_as_ever() -> None:
    here, peer = Here(), Peer("x")
    rows = [entry("x").to_wire()]
    peer.script = lambda _: FakeStream([{"entries": rows}, {"end": True, "cursor": b"next"}])
    for _ in range(2):
        assert await here.names(peer) == ["x"]
    assert peer.known == [b"", b""]


@pytest.mark.parametrize(
    "answer",
    [
        [{"end": True, "cursor": None, "not_modified": True}],
        [{"entries": [entry("x").to_wire()]}, {"end": True, "cursor": None, "not_modified": True}],
        [{"end": True, "cursor": None, "not_modified": 1}],
        [{"end": True, "cursor": None, "validator": "text"}],
        [{"end": True, "cursor": None, "validator": bytes(65)}],
    ],
)
async def test_what_cannot_be_is_refused(answer: list[Message | bytes]) -> None:
    here, peer = Here(), Peer()
    peer.script = lambda _: FakeStream(answer)
    with pytest.raises(ProtocolError):
        await here.page(peer, LS)


async def test_clients_hear_of_what_they_have_listed_once() -> None:
    here, peer = Here(), Peer("x")
    assert await here.hear(peer, b"S/a", b"S/b") == []
    await here.names(peer)
    assert await here.hear(peer, b"S/b", b"S/a", b"S/a") == ["S/a"]
    assert await here.hear(peer, b"S/a") == []
    await here.names(peer)
    assert await here.hear(peer) == [None]
    assert await here.hear(peer) == []
    # What was told of as changed is not kept.
    assert peer.known == [b"", b""]


async def test_a_change_that_overtakes_the_listing_is_heard() -> None:
    here, peer = Here(), Peer("x")
    heard: list[object] = []

    class Slow(FakeStream):
        async def receive(self, timeout: float = 30.0) -> Message:
            if not heard:
                heard.extend(await here.hear(peer, b"S/a"))
            return await super().receive(timeout)

    peer.script = lambda request: Slow(peer.answer(request))
    assert await here.names(peer) == ["x"]
    assert heard == ["S/a"]


async def test_a_new_session_may_have_missed_something() -> None:
    here, peer = Here(), Peer("x")
    await here.names(peer)
    here.peer_connected(peer.peer_id)
    assert [event.path for event in here.events] == [None]
    await here.names(peer)
    assert peer.known == [b"", b"v1"]
    here.events.clear()
    here.peer_disconnected(peer.peer_id)
    here.peer_connected(peer.peer_id)
    assert here.events == []


async def test_of_many_listings_any_change_is_one_of_everything() -> None:
    here, peer = Here(), Peer("x")
    for number in range(MAX_SHOWN + 1):
        await here.names(peer, Ls(RemotePath(b"S/%d" % number)))
    assert await here.hear(peer, b"S/unheard of", b"S/another") == [None]
    assert here._shown == {}


# What is kept.


def page(*names: str) -> CachedPage:
    entries: list[Entry] = [entry(name) for name in names]
    return CachedPage(entries, None, b"v")


def test_the_least_recently_used_pages_go_first() -> None:
    cache = PageCache(max_pages=2)
    peer, questions = peer_id(1), [Ls(RemotePath(b"%d" % number)) for number in range(3)]
    for question in questions[:2]:
        cache.put(peer, question, page("x"))
    assert cache.get(peer, questions[0]) == page("x")
    cache.put(peer, questions[2], page("y"))
    found = [cache.get(peer, question) for question in questions]
    assert found == [page("x"), None, page("y")]


def test_pages_are_kept_within_a_number_of_bytes() -> None:
    big, small = page(*map(str, range(100))), page("x")
    cache = PageCache(max_bytes=big.cost + small.cost)
    peer, questions = peer_id(1), [Ls(RemotePath(b"%d" % number)) for number in range(3)]
    cache.put(peer, questions[0], big)
    cache.put(peer, questions[1], small)
    assert cache.get(peer, questions[0]) == big
    cache.put(peer, questions[2], big)
    assert [cache.get(peer, question) for question in questions] == [None, None, big]
    # A larger one replaces the earlier answer to the same question, and is not kept.
    cache.put(peer, questions[2], page(*map(str, range(1000))))
    assert cache.get(peer, questions[2]) is None
    assert cache._bytes == 0


def test_pages_of_a_directory_or_of_a_peer_are_given_up_together() -> None:
    cache = PageCache()
    peer, other = peer_id(1), peer_id(2)
    questions = [LS, Ls(PATH, sort="-size"), Ls(RemotePath(b"S/b"))]
    for each in (peer, other):
        for question in questions:
            cache.put(each, question, page("x"))
    cache.forget(peer, PATH)
    assert [cache.get(peer, question) is None for question in questions] == [True, True, False]
    cache.forget(peer, None)
    assert cache.get(peer, questions[2]) is None
    assert all(cache.get(other, question) for question in questions)
    cache.forget(other, None)
    assert cache._bytes == 0
