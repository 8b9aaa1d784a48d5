"""Room on volumes: sizes as people write them, the kernel's mounts, and what fits beside what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.config.sizes import Reserve, exact_size, parse_reserve, parse_size, shown_size
from hdpd.downloads.space import Room, first_without_room
from hdpd.mountinfo import Mount, mount_of, parse_mounts

GB = 1000**3


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("20GB", 20 * GB), ("1.5 gb", 1_500_000_000), ("2GiB", 2**31), ("7 B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5", "-1GB", "1e3GB", "5%", "1 XB", "99999999PB"])
def test_what_is_no_size_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a size|more than any volume"):
        parse_size(text)


@given(st.integers(0, 2**60))
def test_sizes_are_read_back_as_they_are_printed(size: int) -> None:
    if size * 10 < 10**16:  # as many digits as a size may have
        assert parse_size(exact_size(size)) == size
    assert shown_size(size).split()[1] in ("B", "kB", "MB", "GB", "TB", "PB")


def test_a_reserve_is_a_size_or_a_part() -> None:
    assert parse_reserve("5%").of(1000) == 50
    assert parse_reserve("1GB").of(20) == GB
    assert (str(parse_reserve("2.5 %")), str(parse_reserve("1000MB"))) == ("2.5%", "1GB")
    with pytest.raises(ValueError, match=r"'lots' is not a size such as 1GB or a percentage"):
        parse_reserve("lots")


def test_what_does_not_fit_is_named_with_its_reason() -> None:
    room, reserve = Room(free=10 * GB, total=100 * GB), Reserve(bytes=4 * GB)
    assert first_without_room(room, reserve, [("a", 3 * GB), ("b", 3 * GB)]) is None
    found = first_without_room(room, reserve, [("a", 4 * GB), ("b", 3 * GB), ("c", 9 * GB)])
    assert found is not None
    id_, error = found
    assert (id_, error.code) == ("b", "disk_full")
    assert "3.0 GB are still to come" in error.message
    assert "has 2.0 GB for them beside the 4.0 GB that are kept free (min_free)" in error.message


def test_what_writes_nothing_more_fits_even_below_the_reserve() -> None:
    assert first_without_room(Room(0, GB), Reserve(percent=50), [("a", 0)]) is None


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_nothing_is_promised_twice(free: int, kept: int, sizes: list[int]) -> None:
    needs = [(str(number), size) for number, size in enumerate(sizes)]
    found = first_without_room(Room(free, 2000), Reserve(kept), needs)
    fitting = sizes if found is None else sizes[: int(found[0])]
    if any(fitting):
        assert sum(fitting) + kept <= free
    if found is not None:
        assert sum(sizes[: int(found[0]) + 1]) + kept > free


MOUNTINFO = rb"""
25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 25 8:2 / /srv rw shared:5 - ext4 /dev/sdb1 rw
31 30 0:40 / /srv/my\040films rw - nfs4 nas:/films rw
32 30 8:3 / /srv rw - xfs /dev/sdc1 rw
short line
"""


@pytest.mark.parametrize(
    ("path", "device"),
    [
        (b"/home/ann", b"8:1"),
        (b"/srv", b"8:3"),  # the later of two mounts hides the earlier one
        (b"/srv2/x", b"8:1"),
        (b"/srv/my films", b"0:40"),
        (b"/srv/my films/a/b", b"0:40"),
        (b"/srv/my filmsX", b"8:3"),
    ],
)
def test_mounts(path: bytes, device: bytes) -> None:
    assert mount_of(path, parse_mounts(MOUNTINFO)).device == device


def test_without_any_mount_everything_is_one_volume() -> None:
    assert mount_of(b"/a/b", []) == Mount(b"/", b"")


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_any_list_of_mounts_is_read(mountinfo: bytes, path: bytes) -> None:
    mount_of(b"/" + path, parse_mounts(mountinfo))
