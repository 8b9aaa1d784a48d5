"""Listings that peers have: not sent again while they are current; peers hear when they are not."""

from __future__ import annotations

import contextlib
import re

from hdpctl.server import Route, parse_server
from hdpctl.stream import Stream, open_stream
from tests.e2e.harness import Daemon, Lab
from tests.waiting import wait_for
from tests.web.calls import UnixConnection

WITHIN_S = 10  # 2 s, and what a busy machine adds


def names(peer: Daemon, directory: dict[str, str]) -> list[str]:
    return [entry["name"] for entry in peer.rpc("files.list", **directory)["entries"]]


def answered(daemon: Daemon) -> tuple[int, int]:
    """How many listings it has sent to peers, and how many of them were there already."""
    with contextlib.closing(UnixConnection(daemon.socket)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    counts = dict(re.findall(r'^hdpd_listings_total{answer="(\w+)"} (\d+)', text, re.MULTILINE))
    return int(counts["sent"]), int(counts["not_modified"])


def is_sent_once(a: Daemon, b: Daemon, directory: dict[str, str]) -> bool:
    """Whether B, which has just listed the directory of A, is not sent it again."""
    assert names(b, directory)
    sent, same = answered(a)
    assert names(b, directory)
    return answered(a) == (sent, same + 1)


def hear_of(stream: Stream, *directories: dict[str, str]) -> None:
    """Waits for the events that these directories changed."""
    waited_for = list(directories)
    while waited_for:
        notification = stream.next(WITHIN_S)
        assert notification is not None, f"nobody told that {waited_for} changed"
        event = notification[1]
        assert event["type"] == "listing.changed"
        if event["data"] in waited_for:
            waited_for.remove(event["data"])


def test_a_listing_is_sent_again_only_when_it_changed_and_who_has_it_is_told(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    a.wait_scanned()
    top = {"peer": a.peer_id, "path": "media"}
    album = {"peer": a.peer_id, "path": "media/album"}
    (a.share / "album").mkdir()
    (a.share / "album" / "one").write_text("1")
    wait_for("the album", lambda: names(b, top) == ["album"], within=WITHIN_S)
    wait_for("its file", lambda: names(b, album) == ["one"], within=WITHIN_S)
    assert wait_for("a listing that stays", lambda: is_sent_once(a, b, album), within=WITHIN_S)

    with open_stream(Route([parse_server(f"unix:{b.socket}")]), None) as stream:
        stream.call("events.subscribe", {"types": ["listing.changed"]})
        names(b, top)
        names(b, album)
        (a.share / "album" / "two").write_text("22")
        # Of its new name in the one, and of its size in the other.
        hear_of(stream, album, top)
        assert names(b, album) == ["one", "two"]
        assert b.rpc("files.list", **top)["entries"][0]["size"] == 3
        assert is_sent_once(a, b, album)

        own = {"peer": "self", "path": "media/album"}
        with open_stream(Route([parse_server(f"unix:{a.socket}")]), None) as at_home:
            at_home.call("events.subscribe", {"types": ["listing.changed"]})
            assert names(a, own) == ["one", "two"]
            (a.share / "album" / "one").unlink()
            hear_of(at_home, own)
            hear_of(stream, album)
            assert names(a, own) == names(b, album) == ["two"]

        b.rpc("files.list", peer=a.peer_id)
        a.rpc("shares.add", path=str(a.downloads), name="More")
        hear_of(stream, {"peer": a.peer_id, "path": ""})
        assert names(b, {"peer": a.peer_id, "path": ""}) == ["media", "More"]


def test_what_was_listed_is_not_shown_when_the_peer_is_away(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    a.wait_scanned()
    (a.share / "one").write_text("1")
    media = {"peer": a.peer_id, "path": "media"}
    wait_for("the file", lambda: names(b, media) == ["one"], within=WITHIN_S)
    assert a.stop() == 0
    (a.share / "two").write_text("2")
    wait_for("the end", lambda: not b.connected(), within=WITHIN_S)
    assert "is not connected" in b.fails("ls", f"{media['peer']}/media")
    a.start()
    a.wait_scanned()
    b.wait_connected(a, within=30)
    # Another run's validators are none of ours, so nothing is taken for what it was.
    assert names(b, media) == ["one", "two"]
