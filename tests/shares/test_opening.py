"""Opening what is shared: whatever a path or link says, nothing outside of the share is reached."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from hdpd.errors import NotAFile, PathInvalid, PathNotFound, ShareAway
from hdpd.shares.opening import OpenedFile, Place, open_file, settled_status
from hdpd.shares.paths import has_hidden_component, path_below
from hdpd.wire.paths import RemotePath


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A share `Music` with a file in it, and next to it what must not be reached."""
    music = tmp_path / "Music"
    (music / "album").mkdir(parents=True)
    (music / "album" / "song").write_bytes(b"la la")
    (tmp_path / "Music2").mkdir()
    (tmp_path / "Music2" / "private").write_bytes(b"secret")
    (tmp_path / "private").write_bytes(b"secret")
    return music


def opened(share: Path, below: bytes, *, hidden: bool = False) -> OpenedFile:
    return open_file(Place(os.fsencode(share), hidden), below)


def content(share: Path, below: bytes, *, hidden: bool = False) -> bytes:
    with opened(share, below, hidden=hidden) as file:
        return os.read(file.fd, 1000)


def test_a_file_is_opened_with_its_size_and_time(media: Path) -> None:
    with opened(media, b"album/song") as file:
        assert os.read(file.fd, 100) == b"la la"
        assert file.size == 5
        assert file.mtime_ns == (media / "album" / "song").stat().st_mtime_ns
        assert 0 < len(file.validator) <= 64
        assert not os.get_inheritable(file.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)


def test_the_validator_changes_with_the_file(media: Path) -> None:
    with opened(media, b"album/song") as file:
        assert file.validator_now() == file.validator
        (media / "album" / "song").write_bytes(b"la la la")
        assert file.validator_now() != file.validator


def test_the_validator_changes_when_size_and_time_are_kept(media: Path) -> None:
    """Also when it all happens within one tick of the clock that stamps files."""
    song = media / "album" / "song"
    os.utime(song, ns=(10**18, 10**18))
    for content in (b"lo lo", b"li li", b"la la") * 10:
        with opened(media, b"album/song") as file:
            with song.open("r+b") as writer:
                writer.write(content)
            os.utime(song, ns=(10**18, 10**18))
            assert file.validator_now() != file.validator
            assert (file.size, file.mtime_ns) == (5, 10**18)


def test_a_time_of_another_clock_is_not_waited_for(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(media / "album" / "song")
    for ahead_seconds in (-10, 10, 10_000):
        now_ns = (media / "album" / "song").stat().st_ctime_ns - ahead_seconds * 10**9
        monkeypatch.setattr(time, "time_ns", lambda now_ns=now_ns: now_ns)
        started = time.monotonic()
        opened(media, b"album/song").close()
        assert time.monotonic() - started < 1


def test_where_whole_seconds_are_kept_a_change_settles_for_longer(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat, started = os.fstat, time.time()

    def coarse_fstat(fd: int) -> os.stat_result:
        status = fstat(fd)
        whole = int(status.st_ctime)
        return os.stat_result(status[:10], {"st_ctime_ns": whole * 10**9})

    os.utime(media / "album" / "song")
    monkeypatch.setattr(os, "fstat", coarse_fstat)
    with (media / "album" / "song").open() as song:
        settled_status(song.fileno())
    assert time.time() - started >= 1


@pytest.mark.parametrize(
    "name",
    [b"-rf", "Ünïcode 🎵".encode(), b"new\nline", b"\xff\xfe bytes", b"x" * 255, b" ", b"%2e%2e"],
)
def test_any_name_is_opened(media: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(media), name)  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(name)
    assert content(media, name) == name


@pytest.mark.parametrize(
    "path",
    [
        b"Music/../private",
        b"Music/a/../../private",
        b"../private",
        b"/etc/passwd",
        b"Music//etc/passwd",
        b"Music/./album",
        b"Music/",
        b"Music/album\0/song",
        b"Music/" + b"x" * 256,
        b"Music" + b"/x" * 200,
        b"Music" + b"/abcdefgh" * 120 * 4,
    ],
)
def test_a_hostile_path_is_no_path(path: bytes) -> None:
    with pytest.raises(PathInvalid):
        RemotePath(path)


@pytest.mark.parametrize("below", [b"nothing", b"album/nothing", b"album/song/x", b"x" * 255])
def test_what_is_not_there_is_not_found(media: Path, below: bytes) -> None:
    with pytest.raises(PathNotFound):
        opened(media, below)


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../private",
        "../Music2/private",
        "album/../../private",
        "/proc/self/environ",
        "/dev/zero",
        "outside/private",
        "loop",
    ],
)
def test_a_link_out_of_the_share_is_not_followed(media: Path, target: str) -> None:
    (media / "outside").symlink_to("..")
    (media / "loop").symlink_to("loop")
    (media / "link").symlink_to(target)
    with pytest.raises(PathNotFound):
        opened(media, b"link")


def test_a_linked_directory_does_not_lead_out_either(media: Path) -> None:
    (media / "up").symlink_to("../Music2")
    with pytest.raises(PathNotFound):
        opened(media, b"up/private")


@pytest.mark.parametrize("absolute", [False, True])
def test_links_inside_of_the_share_are_followed(media: Path, *, absolute: bool) -> None:
    (media / "file").symlink_to(media / "album/song" if absolute else "album/song")
    (media / "directory").symlink_to(media / "album" if absolute else "../Music/album")
    assert content(media, b"file") == b"la la"
    assert content(media, b"directory/song") == b"la la"


def test_the_share_itself_may_be_a_link(media: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to("Music")
    assert content(tmp_path / "alias", b"album/song") == b"la la"


def test_hidden_files_are_opened_only_where_configured(media: Path) -> None:
    (media / ".hidden").mkdir()
    (media / ".hidden" / "file").write_bytes(b"dot")
    (media / "link").symlink_to(".hidden/file")
    for below in (b".hidden/file", b"link"):
        with pytest.raises(PathNotFound):
            opened(media, below)
        assert content(media, below, hidden=True) == b"dot"


def test_only_regular_files_are_opened_and_nothing_blocks(media: Path) -> None:
    os.mkfifo(media / "fifo")  # opening one for reading waits for a writer
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(media / "socket"))
    for below in (b"fifo", b"socket", b"album", b""):
        with pytest.raises(NotAFile):
            opened(media, below)


def test_a_share_that_is_gone_is_away(tmp_path: Path) -> None:
    with pytest.raises(ShareAway, match="nowhere"):
        opened(tmp_path / "nowhere", b"file")


def test_no_descriptor_is_left_open(media: Path) -> None:
    (media / "out").symlink_to("../private")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for below in (b"album/song", b"out", b"album", b"nothing", b".hidden"):
        try:
            opened(media, below).close()
        except (PathNotFound, NotAFile):
            continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_link_that_is_swapped_meanwhile_gains_nothing(media: Path) -> None:
    """One thread changes a link between inside and outside as fast as it can."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in ("album/song", "../private"):
                (media / "next").symlink_to(target)
                (media / "next").rename(media / "link")

    (media / "link").symlink_to("album/song")
    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                seen.add(content(media, b"link"))
            except PathNotFound:
                seen.add(b"refused")
    finally:
        stop.set()
        swapper.join()
    assert b"secret" not in seen
    assert b"la la" in seen


def test_containment_is_by_whole_components() -> None:
    assert path_below(b"/srv/Music", b"/srv/Music") == b""
    assert path_below(b"/srv/Music", b"/srv/Music/a/b") == b"a/b"
    assert path_below(b"/srv/Music", b"/srv/Music2/a") is None
    assert path_below(b"/srv/Music", b"/srv") is None
    assert path_below(b"/", b"/etc/passwd") == b"etc/passwd"
    assert path_below(b"/srv/Music", b"pipe:[1234]") is None


def test_hidden_is_any_component_with_a_leading_dot() -> None:
    assert has_hidden_component(b".a")
    assert has_hidden_component(b"a/.b/c")
    assert not has_hidden_component(b"a.b/c.")
    assert not has_hidden_component(b"")
