"""How hdpctl writes sizes, times and names, finds downloads by id and knows when they ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpctl import show
from hdpctl.commands.shares import split_share
from hdpctl.commands.status import describe
from hdpctl.downloads import Following, find_ids, short_ids, state_text
from hdpctl.errors import ControlError


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5 * 2**30, "5.4 GB"),
        (10**18, "1.0 EB"),
        (None, "-"),
        ("much", "-"),
    ],
)
def test_sizes_are_decimal(count: object, text: str) -> None:
    assert show.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7, "7 s"),
        (125, "2:05"),
        (10_931, "3:02:11"),
        (183_720, "2 d 03:02"),
        (None, ""),
        (float("nan"), ""),
        (float("inf"), ""),
    ],
)
def test_durations(seconds: object, text: str) -> None:
    assert show.duration(seconds) == text


@given(st.one_of(st.none(), st.text(), st.integers(), st.floats()))
def test_a_time_that_makes_no_sense_is_no_error(seconds: object) -> None:
    assert show.moment(seconds)


def test_peers_that_share_a_name_are_told_apart_by_their_ids() -> None:
    names = show.PeerNames(
        [
            {"id": "abcdefghij", "name": "Twin"},
            {"id": "zyxwvutsrq", "name": "Twin"},
            {"id": "single", "name": "Only"},
        ]
    )
    assert names.shown("abcdefghij") == "Twin (abcdefgh)"
    assert names.in_path("zyxwvutsrq") == "zyxwvuts"
    assert (names.shown("single"), names.in_path("single")) == ("Only", "Only")
    assert names.in_path("unknown") == "unknown"


@pytest.mark.parametrize("entries", [0, 1, 3])
def test_pages_become_one_json_object(
    entries: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    wanted = [{"name": f"n{i}\u202e"} for i in range(entries)]
    show.json_pages("entries", [wanted[:2], wanted[2:]])
    show.flush()
    out = capfdbinary.readouterr().out
    assert json.loads(out) == {"entries": wanted, "next_cursor": None}
    assert "\u202e".encode() not in out


def test_ids_are_shortened_to_what_no_other_has() -> None:
    ids = ["aaaa1111", "aaaa1122", "bbbb", "bbbbbb", "c"]
    assert short_ids(ids) == {
        "aaaa1111": "aaaa111",
        "aaaa1122": "aaaa112",
        "bbbb": "bbbb",
        "bbbbbb": "bbbbb",
        "c": "c",
    }


@given(st.sets(st.text("ab12", min_size=1, max_size=8), max_size=8))
def test_a_shortened_id_finds_its_download(ids: set[str]) -> None:
    for full, short in short_ids(ids).items():
        assert find_ids([short], ids) == [full]


def test_ids_that_fit_none_or_several_are_refused() -> None:
    known = ["aa1", "aa2", "aa"]
    assert find_ids(["aa", "aa1", "aa"], known) == ["aa", "aa1"]
    with pytest.raises(ControlError, match="no download has the id 'x'"):
        find_ids(["x"], known)
    with pytest.raises(ControlError, match="'a' is the start of 3 ids: aa1, aa2, aa"):
        find_ids(["a"], known)


@pytest.mark.parametrize(
    ("download", "text"),
    [
        ({"state": "waiting_for_peer"}, "waiting for peer"),
        ({"state": "remote_queued", "queue_position": 3}, "remote queued, place 3"),
        (
            {"state": "remote_queued", "queue_position": 3, "queue_eta": 125},
            "remote queued, place 3, in about 2:05",
        ),
        ({"state": "queued", "queue_position": 3}, "queued"),
        ({"state": "paused", "error": "disk full"}, "paused: disk full"),
        ({"state": "failed", "error": {"error": "x", "message": "gone"}}, "failed: gone"),
        ({"state": "done", "failed_files": 2}, "done (2 files failed)"),
    ],
)
def test_a_state_is_told_with_its_reason(download: dict[str, object], text: str) -> None:
    assert state_text(download) == text


def test_following_ends_with_each_outcome() -> None:
    following = Following(["a", "b", "c", "d"])
    assert following.update({"id": "a", "state": "downloading"})
    assert not following.update({"id": "z", "state": "done"})
    assert following.waiting == {"a", "b", "c", "d"}
    following.update({"id": "a", "state": "done"})
    following.remove("a")
    following.update({"id": "b", "state": "failed", "error": "path_not_found"})
    following.update({"id": "c", "state": "done", "failed_files": 1})
    following.remove("d")
    assert not following.waiting
    assert following.failures == {
        "b": "failed: path_not_found",
        "c": "done (1 file failed)",
        "d": "cancelled: it is no longer in the queue",
    }


def test_a_share_argument_is_a_directory_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_share("Films=sub") == ("Films", f"{tmp_path}/sub")
    assert split_share("plain\uefe9") == (None, f"{tmp_path}/plain\uefe9")
    assert split_share("/srv/a=b") == (None, "/srv/a=b")
    assert split_share("Up=..") == ("Up", str(tmp_path.parent))
    (tmp_path / "Films=sub").mkdir()
    assert split_share("Films=sub") == (None, f"{tmp_path}/Films=sub")


def test_status_leaves_out_what_is_not_known() -> None:
    assert describe({"name": "Me", "peer_id": "abc", "version": "1"}, 0.0) == [
        "Me abc",
        "  version    1 (API ?)",
    ]
