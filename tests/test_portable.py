"""Names that file systems cannot hold: replacements that they can, and never two that are one."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdpd.mountinfo import MOUNTINFO, Mount, mount_of, parse_mounts
from hdpd.portable import (
    POSIX,
    NameRules,
    fault_of,
    name_key,
    rules_of,
    stored_name,
    stored_names,
)
from tests.soak.disks import EXFAT_PROGRAMS, Disk

EXFAT = rules_of(Mount(b"/usb", b"8:1", "exfat"))
APPLE = rules_of(Mount(b"/mac", b"8:1", "hfsplus"))
ECRYPTFS = rules_of(Mount(b"/home", b"0:9", "ecryptfs"), 143)
FOLDING = NameRules(folds=True)
KINDS = [POSIX, EXFAT, APPLE, ECRYPTFS, FOLDING]

# Characters that come near each other on one kind or another.
NASTY = 'aAsSßﬁfiIıİKké\u0301e./\\:：?*<>|"~%_ .．␠\x01\x7f\u200d\u212aΐ\u0390日😀\ufffe\ue000'


# On a busy machine names take their time to be made.
any_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def possible(raw: bytes) -> bool:
    return raw not in {b"", b".", b".."} and b"/" not in raw and b"\0" not in raw


NAMES = st.one_of(
    st.text(NASTY, min_size=1, max_size=6).map(str.encode),
    st.text(min_size=1, max_size=300).map(lambda text: text.encode(errors="ignore")),
    st.binary(min_size=1, max_size=255),
    st.sampled_from(["con", "NUL", "aux.txt", "COM1", "lpt9 .x", "com¹"]).map(str.encode),
    st.builds(lambda char, n: char.encode() * n, st.sampled_from("xé日😀"), st.integers(50, 300)),
).filter(possible)


def is_held(stored: bytes, rules: NameRules) -> bool:
    """What the systems' own documents say, in other words than the module's."""
    if not possible(stored):
        return False
    if not rules.in_utf16:
        return len(stored) <= rules.max_bytes
    text = stored.decode()
    if len(text.encode("utf-16-le")) > 510:
        return False
    if not rules.for_windows:
        return True
    stem = text.partition(".")[0].rstrip(" ").upper()
    devices = {"CON", "PRN", "AUX", "NUL"}
    devices |= {f"{name}{n}" for name in ("COM", "LPT") for n in "0123456789¹²³"}
    return (
        not set(text) & set('"*:<>?\\|')
        and min(text) >= " "
        and text == text.rstrip(". ")
        and stem not in devices
    )


@any_machine
@given(NAMES, st.sampled_from(KINDS))
def test_whatever_a_name_is_something_stands_in_its_place_that_can_be_held(
    raw: bytes, rules: NameRules
) -> None:
    stored = stored_name(raw, rules)
    assert is_held(stored, rules)
    assert fault_of(stored, rules) is None
    assert stored_name(stored, rules) == stored
    assert (stored == raw) is (fault_of(raw, rules) is None)


@any_machine
@given(st.lists(NAMES, max_size=12), st.sampled_from(KINDS))
def test_two_names_of_a_directory_are_never_one(names: list[bytes], rules: NameRules) -> None:
    # Also those that look like what was made for others.
    names += list(stored_names(names, rules).values())
    stored = stored_names(names, rules)
    assert set(stored) == set(names)
    assert len({name_key(name, rules) for name in stored.values()}) == len(set(names))
    assert all(is_held(name, rules) for name in stored.values())
    assert stored_names(reversed(names), rules) == stored


@any_machine
@given(st.lists(NAMES, max_size=12), st.sampled_from(KINDS))
def test_names_can_be_given_one_by_one_too(names: list[bytes], rules: NameRules) -> None:
    taken: set[bytes] = set()
    for raw in set(names):
        stored = stored_name(raw, rules, taken)
        assert name_key(stored, rules) not in taken
        assert is_held(stored, rules)
        taken.add(name_key(stored, rules))


@pytest.mark.parametrize(
    ("name", "stored", "fault"),
    [
        ("Dune: Part Two.mkv", "Dune： Part Two.mkv", "holds :, which exFAT does not allow"),
        ("Who?", "Who？", "holds ?, which exFAT does not allow"),
        ("a\x07b", "a␇b", "holds \\x07, which exFAT does not allow"),
        ("Vol. 1.", "Vol. 1．", "ends with a dot or a blank, which exFAT does not allow"),
        ("blank ", "blank␠", "ends with a dot or a blank, which exFAT does not allow"),
        ("nul.txt", "nul_.txt", "is the name of a device on exFAT"),
        ("Björk", "Björk", None),
        ("null", "null", None),
        (".hidden", ".hidden", None),
    ],
)
def test_a_replacement_looks_like_the_name_and_says_why(
    name: str, stored: str, fault: str | None
) -> None:
    assert stored_name(name.encode(), EXFAT).decode() == stored
    assert fault_of(name.encode(), EXFAT) == fault
    assert stored_name(name.encode(), POSIX) == name.encode()


def test_bytes_that_are_not_utf_8_are_spelled_out_where_names_are_text() -> None:
    assert stored_name(b"Bj\xf6rk", EXFAT) == b"Bj%F6rk"
    assert fault_of(b"Bj\xf6rk", EXFAT) == "is not UTF-8, and exFAT holds nothing else"
    assert stored_name(b"Bj\xf6rk", POSIX) == b"Bj\xf6rk"


def test_a_long_name_keeps_its_beginning_and_its_extension() -> None:
    raw = ("日" * 100 + ".mkv").encode()
    stored = stored_name(raw, POSIX)
    assert stored.startswith("日".encode() * 75)
    assert stored.endswith(b".mkv")
    assert len(stored) <= 255
    assert fault_of(raw, POSIX) == "is too long for this file system"
    # The same characters are fewer units of UTF-16.
    assert stored_name(raw, EXFAT) == raw
    assert stored != stored_name(("日" * 101 + ".mkv").encode(), POSIX)


def test_case_and_accents_count_only_where_the_file_system_tells_them_apart() -> None:
    names = [b"README", b"Readme", "é".encode(), "e\u0301".encode()]
    assert stored_names(names, POSIX) == {name: name for name in names}
    stored = stored_names(names, EXFAT)
    assert stored[b"README"] == b"README"
    assert stored[b"Readme"].startswith(b"Readme~")


def test_what_can_be_held_comes_first_to_its_own_name() -> None:
    literal, replaced = "a：b".encode(), b"a:b"
    stored = stored_names([replaced, literal], EXFAT)
    assert stored[literal] == literal
    assert stored[replaced].startswith("a：b~".encode())


@pytest.mark.parametrize(
    ("kind", "windows", "folds"),
    [
        ("ext4", False, False),
        ("btrfs", False, False),
        ("nfs4", False, False),
        ("fuse.mergerfs", False, False),
        ("fuse.sshfs", False, False),
        ("", False, False),
        ("exfat", True, True),
        ("fuseblk", True, True),
        ("fuseblk.ntfs-3g", True, True),
        ("fuse.exfat", True, True),
        ("ntfs3", True, True),
        ("vfat", True, True),
        ("cifs", True, True),
        ("hfsplus", False, True),
    ],
)
def test_the_kind_of_mount_says_what_it_holds(kind: str, windows: bool, folds: bool) -> None:
    rules = rules_of(Mount(b"/m", b"0:1", kind))
    assert (rules.for_windows, rules.folds) == (windows, folds)


def test_zfs_says_in_its_options_whether_case_counts() -> None:
    line = b"36 25 0:30 / /tank rw,noatime shared:9 - zfs tank rw,xattr,posixacl,%b"
    assert rules_of(Mount(b"/tank", b"0:30", "zfs", line % b"caseinsensitive")).folds
    assert not rules_of(Mount(b"/tank", b"0:30", "zfs", line % b"casesensitive")).folds


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.skipif(
    any(shutil.which(program) is None for program in EXFAT_PROGRAMS), reason="needs exfat-fuse"
)
def test_a_real_exfat_holds_all_of_them(tmp_path: Path) -> None:
    disk = Disk(tmp_path, "exfat", 32, "exfat")
    try:
        mounts = parse_mounts(MOUNTINFO.read_bytes())
        rules = rules_of(mount_of(os.fsencode(disk.at), mounts))
        assert rules.for_windows
        rnd = random.Random(1)
        names = ["".join(rnd.choices(NASTY, k=rnd.randint(1, 4))).encode() for _ in range(200)]
        names += [
            b"\xff\xfe",
            b"\xed\xa0\x80",
            b"x" * 255,
            "日".encode() * 85,
            b"NUL",
            b"a.",
            b"A.",
        ]
        stored = stored_names(filter(possible, names), rules)
        for name in stored.values():
            os.close(
                os.open(os.path.join(os.fsencode(disk.at), name), os.O_CREAT | os.O_EXCL)  # noqa: PTH118
            )
        there = {os.fsencode(path.name) for path in disk.at.iterdir()}
        assert there == set(stored.values())
    finally:
        disk.close()
