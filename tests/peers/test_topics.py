"""The joined topics: what is joined at start, at run time, what is kept, and the limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hdpd.database import Database
from hdpd.errors import LimitReached, TopicInvalid, TopicNotFound
from hdpd.link.hello import MAX_TOPICS
from hdpd.peers.topics import TopicJoined, TopicLeft, Topics
from tests.peers.helpers import quick_master

UNGUESSABLE = "abcde-fghij-klmno-pqrst-uvwxyz"


class Derivations:
    """Counts the keys that are derived, and how many at once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.at_once = 0

    def __call__(self, name: str) -> bytes:
        self.at_once += 1
        assert self.at_once == 1, "each takes 64 MiB"
        self.names.append(name)
        master = quick_master(name)
        self.at_once -= 1
        return master


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> Derivations:
    made = Derivations()
    monkeypatch.setattr("hdpd.peers.topics.derive_master", made)
    return made


Emitted = list[TopicJoined | TopicLeft]


@asynccontextmanager
async def started(directory: Path, *configured: str) -> AsyncIterator[tuple[Topics, Emitted]]:
    """One run with this configuration."""
    events: Emitted = []
    database = Database(directory / "state.db", "state")
    await database.open()
    try:
        topics = Topics(database, configured, events.append)
        await topics.start()
        yield topics, events
    finally:
        await database.close()


def names(topics: Topics) -> list[str]:
    return [each.name for each in topics.list()]


async def test_what_was_joined_at_run_time_is_joined_again(
    tmp_path: Path, derived: Derivations
) -> None:
    async with started(tmp_path) as (topics, events):
        changes = []
        topics.on_changed = lambda: changes.append(names(topics))
        assert await topics.join("  Place to meet ") == "Place to meet"
        assert events == [TopicJoined("Place to meet")]
        assert changes == [["Place to meet"]]
    async with started(tmp_path) as (topics, events):
        assert names(topics) == ["Place to meet"]
        assert not events
    assert derived.names == ["Place to meet"], "the second run found the key"


async def test_what_was_left_stays_left(tmp_path: Path, derived: Derivations) -> None:
    async with started(tmp_path) as (topics, events):
        await topics.join("party")
        await topics.leave(" party")
        assert topics.current() == ()
        assert events[-1] == TopicLeft("party")
        with pytest.raises(TopicNotFound):
            await topics.leave("party")
    async with started(tmp_path) as (topics, _):
        assert names(topics) == []


async def test_a_configured_topic_is_joined_at_each_start(
    tmp_path: Path, derived: Derivations
) -> None:
    async with started(tmp_path, "party", "party ") as (topics, _):
        assert names(topics) == ["party"]
        assert topics.list()[0].configured is True
        await topics.leave("party")
    async with started(tmp_path, "party") as (topics, _):
        assert names(topics) == ["party"]


async def test_a_topic_that_is_not_configured_any_more_is_not_joined(
    tmp_path: Path, derived: Derivations
) -> None:
    async with started(tmp_path, "party", "other"):
        pass
    async with started(tmp_path, "other") as (topics, _):
        assert names(topics) == ["other"]
    assert sorted(derived.names) == ["other", "party"]


async def test_joining_twice_changes_nothing(tmp_path: Path, derived: Derivations) -> None:
    async with started(tmp_path, "party") as (topics, events):
        assert await topics.join("party") == "party"
        assert await asyncio.gather(*[topics.join("new") for _ in range(5)]) == ["new"] * 5
        assert events == [TopicJoined("new")]
        assert derived.names == ["party", "new"]


async def test_a_new_topic_cannot_be_guessed(
    tmp_path: Path, derived: Derivations, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hdpd")
    async with started(tmp_path) as (topics, _):
        one, other = await topics.join(None), await topics.join(None)
        assert one != other
        assert [each.guessable for each in topics.list()] == [False, False]
        assert not [each for each in caplog.records if each.name.startswith("hdpd")]
        await topics.join("party")
        assert "can be guessed" in caplog.text
        assert "party" not in caplog.text, "the log has more readers than the topic has members"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 257, "\0"])
async def test_what_cannot_be_a_topic(name: str, tmp_path: Path, derived: Derivations) -> None:
    async with started(tmp_path) as (topics, _):
        with pytest.raises(TopicInvalid):
            await topics.join(name)
        assert not derived.names


async def test_64_topics_and_no_more_also_at_once(tmp_path: Path, derived: Derivations) -> None:
    """A hello has room for 64 proofs; with one more, no hello could be made at all."""
    async with started(tmp_path) as (topics, _):
        results = await asyncio.gather(
            *[topics.join(f"topic {number}") for number in range(MAX_TOPICS + 3)],
            return_exceptions=True,
        )
        assert len(topics.current()) == MAX_TOPICS
        assert sum(isinstance(each, LimitReached) for each in results) == 3
        await topics.leave("topic 1")
        await topics.join("one more")


async def test_a_configuration_with_too_many_topics_still_starts(
    tmp_path: Path, derived: Derivations, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [f"topic {number}" for number in range(MAX_TOPICS + 1)]
    async with started(tmp_path, *wanted) as (topics, _):
        assert len(topics.current()) == MAX_TOPICS
        assert "more than 64 topics" in caplog.text


async def test_topics_are_found_by_their_public_id(tmp_path: Path, derived: Derivations) -> None:
    async with started(tmp_path, "b", "a") as (topics, _):
        ids = {topic.public_id for topic in topics.current()}
        assert topics.names_of(frozenset({*ids, b"x" * 32})) == ["a", "b"]
        assert {topics.get(each) for each in ids} == set(topics.current())
        assert topics.get(b"x" * 32) is None
        topics.on_count = {topics.current()[0].public_id: 3}.get  # type: ignore[assignment]
        assert [each.peers for each in topics.list()] == [3, None]


async def test_the_real_key_of_a_topic(tmp_path: Path) -> None:
    """With scrypt, once: it does not hold up the loop, and two peers derive the same."""
    async with started(tmp_path, UNGUESSABLE) as (topics, _):
        [topic] = topics.current()
    async with started(tmp_path) as (topics, _):
        await topics.join(UNGUESSABLE)
        assert topics.current() == (topic,)
