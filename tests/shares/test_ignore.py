"""Ignore patterns in the shares: what they leave out is not listed, found, read, or led to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hdpd.config import ShareConfig
from hdpd.errors import PathNotFound
from hdpd.shares import ignorefile
from hdpd.shares.live import live_page, live_walk
from hdpd.shares.opening import Place, open_file
from hdpd.wire.paths import RemotePath
from tests.shares.test_shares import Service, service

FILES = ["keep.txt", "secret.txt", "drafts/a.txt", "music/a.part", "music/b.flac", "music/.x/c.txt"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in FILES:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    return tree


def ignore(directory: Path, *lines: str) -> None:
    (directory / ".hdpignore").write_text("".join(f"{line}\n" for line in lines))


def live(place: Place) -> set[str]:
    return {entry.path.text for entry in live_walk(place, b"", None, 100).entries}


def can_be_read(place: Place, path: str) -> bool:
    try:
        open_file(place, os.fsencode(path)).close()
    except PathNotFound:
        return False
    return True


async def listed(running: Service) -> set[str]:
    return set(await running.paths(b"S", recursive=True))


async def test_what_is_left_out_is_nowhere(tmp_path: Path, tree: Path) -> None:
    ignore(tree, "/secret.txt", "drafts/")
    ignore(tree / "music", "*.part")
    expected = {"keep.txt", "music", "music/b.flac"}
    async with service(tmp_path, ShareConfig("S", tree)) as running:
        await running.until_scanned("S")
        assert await listed(running) == expected
        assert await running.found("secret") == []
        assert await running.found("drafts") == []
        assert await running.found("flac") == ["S/music/b.flac"]
        for path in (b"S/secret.txt", b"S/drafts/a.txt", b"S/music/a.part", b"S/.hdpignore"):
            with pytest.raises(PathNotFound):
                running.open_file(RemotePath(path))
        running.open_file(RemotePath(b"S/music/b.flac")).close()
    place = Place(os.fsencode(tree))
    assert live(place) == expected
    assert {entry.path.text for entry in live_page(place, b"music", "name", None, 9)[0]} == {
        "b.flac"
    }
    with pytest.raises(PathNotFound):
        live_page(place, b"drafts", "name", None, 9)


async def test_patterns_of_the_configuration(tmp_path: Path, tree: Path) -> None:
    """Those for all shares come first, and take effect at once when they change."""
    share = ShareConfig("S", tree, ignore=("*.txt", "!keep.*"))
    async with service(tmp_path, share) as running:
        await running.until_scanned("S")
        assert await listed(running) == {
            "keep.txt",
            "drafts",
            "music",
            "music/a.part",
            "music/b.flac",
        }
        await running.add(str(tree / "music"), "added")
        await running.until_scanned("added")
        await running.configure((share,), ("keep.*", "*.part"))
        for name in ("S", "added"):
            assert "a.part" not in " ".join(await running.paths(name.encode(), recursive=True))
        assert "keep.txt" in await listed(running)
        await running.until_scanned("S")
        assert await listed(running) == {"keep.txt", "drafts", "music", "music/b.flac"}


async def test_other_patterns_after_a_restart(tmp_path: Path, tree: Path) -> None:
    async with service(tmp_path, ShareConfig("S", tree)) as running:
        await running.until_scanned("S")
    async with service(tmp_path, ShareConfig("S", tree, ignore=("*.txt",))) as running:
        assert "keep.txt" not in await listed(running)
        await running.until_scanned("S")
        assert await listed(running) == {"drafts", "music", "music/a.part", "music/b.flac"}


def test_links_lead_to_nothing_that_is_left_out(tree: Path) -> None:
    ignore(tree, "secret.txt", "/drafts", "*.lnk")
    (tree / "other.txt").symlink_to("secret.txt")
    (tree / "papers").symlink_to("drafts")
    (tree / "keep.lnk").symlink_to("keep.txt")
    (tree / "songs").symlink_to("music")
    ignore(tree / "music", "*.part")
    place = Place(os.fsencode(tree))
    assert live(place) == {"keep.txt", "music", "music/b.flac", "songs", "songs/b.flac"}
    for path in ("other.txt", "papers/a.txt", "keep.lnk", "songs/a.part"):
        assert not can_be_read(place, path)
    assert can_be_read(place, "songs/b.flac")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x\n" * ignorefile.MAX_BYTES, "larger"),
        (b"*a*a*a*a*a*\n", "stars"),
        (None, "not a file"),
    ],
)
def test_an_ignore_file_that_cannot_be_used_hides_its_directory(
    tree: Path, content: bytes | None, reason: str
) -> None:
    """Who wrote it wanted something left out; nobody knows what."""
    file = tree / "music" / ".hdpignore"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    place = Place(os.fsencode(tree))
    assert {path for path in live(place) if path.startswith("music")} == {"music"}
    assert not can_be_read(place, "music/b.flac")
    with pytest.raises(OSError, match=reason):
        ignorefile.read_ignore_file(os.fsencode(tree / "music"), 0)


def test_names_that_are_not_utf8_can_be_named(tree: Path) -> None:
    (tree / os.fsdecode(b"caf\xe9.txt")).touch()
    (tree / ".hdpignore").write_bytes(b"caf\xe9.*\r\n")
    assert not [path for path in live(Place(os.fsencode(tree))) if path.startswith("caf")]


def test_partial_downloads_of_hdpd_are_never_shared(tree: Path) -> None:
    (tree / ".hdpd-abc-1.part").touch()
    place = Place(os.fsencode(tree), hidden=True)
    assert "music/.x/c.txt" in live(place)
    assert ".hdpd-abc-1.part" not in live(place)
    assert not can_be_read(place, ".hdpd-abc-1.part")
