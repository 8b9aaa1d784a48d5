"""Listing from the index and in memory: one order, page by page, whatever changes meanwhile."""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.database import Transaction
from hdpd.errors import InvalidParams
from hdpd.shares.cursors import (
    PageCursor,
    Step,
    TreeCursor,
    parse_page_cursor,
    parse_tree_cursor,
)
from hdpd.shares.index import IndexedDirectory, IndexTree, directory_page, find_directory
from hdpd.shares.pages import former_name_key, name_key, page_of
from hdpd.shares.tree import walk
from hdpd.wire.codec import encode
from hdpd.wire.messages import SORT_KEYS, Entry, EntryType
from hdpd.wire.paths import EntryName, RemotePath
from tests.shares.index import Tree, index_of

ROOT = 1
NAMES = [
    "a",
    "B",
    "b",
    "A",
    "aa",
    "ä",
    "Z",
    "z",
    "É",
    "-",
    "\n",
    "\uef80",
    "_",
    "10",
    "9",
    "09",
    "a10",
    "A2",
]


def listed(transaction: Transaction, sort: str, limit: int) -> list[Entry]:
    """All entries of the root, page by page through encoded cursors."""
    entries: list[Entry] = []
    cursor = None
    while True:
        page, cursor = directory_page(transaction, ROOT, sort, cursor, limit)
        assert len(page) <= limit
        entries += page
        if cursor is None:
            return entries
        cursor = parse_page_cursor(cursor.encode(), sort)


names = st.one_of(st.sampled_from(NAMES), st.text("aAbBäÄ019", min_size=1, max_size=4))
files = st.tuples(st.integers(0, 3), st.integers(-2, 2))


@given(st.dictionaries(names, st.one_of(files, st.just({})), max_size=20), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_pages_from_the_index_and_from_memory_agree(tree: Tree, limit: int) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        index_of(Path(directory) / "index.db", {"S": tree}) as transaction,
    ):
        everything = listed(transaction, "name", 1000)
        assert {entry.path.text for entry in everything} == set(tree)
        for sort in SORT_KEYS:
            in_pages = listed(transaction, sort, limit)
            assert in_pages == page_of(everything, sort, None, 1000)[0]
            if in_pages:
                for is_former in (False, True):
                    cursor = PageCursor(sort, EntryType.DIRECTORY, 0, EntryName(b"b1"), is_former)
                    assert directory_page(transaction, ROOT, sort, cursor, limit) == page_of(
                        everything, sort, cursor, limit
                    )


def test_directories_come_first_and_case_does_not_matter(tmp_path: Path) -> None:
    tree: Tree = {"b": (1, 1), "A": (9, 1), "z": {"x": (5, 1)}, "Y": {}}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:
        order = {
            sort: [entry.path.text for entry in listed(transaction, sort, 3)] for sort in SORT_KEYS
        }
    assert order["name"] == ["Y", "z", "A", "b"]
    assert order["-name"] == ["z", "Y", "b", "A"]
    assert order["size"] == ["Y", "z", "b", "A"]
    assert order["-size"] == ["z", "Y", "A", "b"]


def test_a_directory_shows_its_totals(tmp_path: Path) -> None:
    tree: Tree = {"d": {"x": (5, 1), "e": {"y": (7, 2)}}}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:
        (entry,) = listed(transaction, "name", 10)
    assert (entry.type, entry.size, entry.files) == (EntryType.DIRECTORY, 12, 2)


def test_a_directory_of_a_hundred_thousand_is_paged_quickly(tmp_path: Path) -> None:
    tree: Tree = {f"file {number}": (number % 100, 0) for number in range(100_000)}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:
        cursor = None
        started = time.process_time()
        for _ in range(3):
            page, cursor = directory_page(transaction, ROOT, "name", cursor, 1000)
        middle = PageCursor("name", EntryType.FILE, 0, EntryName(b"file 50000"))
        page, _ = directory_page(transaction, ROOT, "name", middle, 1000)
        assert time.process_time() - started < 0.5  # 30 ms on an idle machine
        assert page[0].path.text == "file 50001"
        page, cursor = directory_page(transaction, ROOT, "-size", None, 1000)
        assert {entry.size for entry in page} == {99}


def test_a_directory_is_found_by_its_exact_name(tmp_path: Path) -> None:
    tree: Tree = {"Music": {"x": {}}, "music": {}}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:
        upper = find_directory(transaction, ROOT, RemotePath(b"Music"))
        lower = find_directory(transaction, ROOT, RemotePath(b"music"))
        assert upper is not None
        assert lower is not None
        assert upper.id != lower.id
        top = find_directory(transaction, ROOT, RemotePath(b""))
        assert top is not None
        assert top[:2] == (ROOT, True)
        assert find_directory(transaction, ROOT, RemotePath(b"Music/x")) is not None
        for missing in (b"MUSIC", b"Music/x/y", b"music/x"):
            assert find_directory(transaction, ROOT, RemotePath(missing)) is None
        assert find_directory(transaction, 99, RemotePath(b"Music")) is None


# Walking trees

trees = st.recursive(
    st.dictionaries(names, files, max_size=3),
    lambda inner: st.dictionaries(names, st.one_of(files, inner), max_size=4),
    max_leaves=20,
)


def paths_of(tree: Tree, above: str = "", *, is_former: bool = False) -> list[str]:
    """The expected order: files, then each directory followed by what is in it."""
    ordered = sorted(tree, key=former_name_key if is_former else name_key)
    paths = [above + name for name in ordered if isinstance(tree[name], tuple)]
    for name in ordered:
        item = tree[name]
        if isinstance(item, dict):
            paths += [above + name, *paths_of(item, f"{above}{name}/", is_former=is_former)]
    return paths


def walked(transaction: Transaction, limit: int, *, is_former: bool = False) -> list[Entry]:
    entries: list[Entry] = []
    cursor = None
    while True:
        tree = IndexTree(transaction, is_former=is_former if cursor is None else cursor.is_former)
        page = walk(tree, IndexedDirectory(ROOT, True), cursor, limit)
        entries += page.entries
        if page.cursor is None:
            return entries
        cursor = parse_tree_cursor(page.cursor.encode())


@given(trees, st.integers(1, 5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_walk_gives_every_path_once_parents_first(
    tree: Tree, limit: int, is_former: bool
) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        index_of(Path(directory) / "index.db", {"S": tree}) as transaction,
    ):
        entries = walked(transaction, limit, is_former=is_former)
        assert [entry.path.text for entry in entries] == paths_of(tree, is_former=is_former)


def test_a_walk_goes_on_when_what_it_was_at_is_gone(tmp_path: Path) -> None:
    tree: Tree = {"a": {"x": (1, 1)}, "c": {"y": (1, 1), "z": (1, 1)}, "e": {}}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:

        def rest(step: Step, path: bytes) -> list[str]:
            cursor = TreeCursor(step, RemotePath(path))
            page = walk(IndexTree(transaction), IndexedDirectory(ROOT, True), cursor, 100)
            return [entry.path.text for entry in page.entries]

        assert rest(Step.FILE, b"b/gone/file") == ["c", "c/y", "c/z", "e"]
        assert rest(Step.DIRECTORY, b"b") == ["c", "c/y", "c/z", "e"]
        assert rest(Step.DIRECTORY, b"c") == ["c/y", "c/z", "e"]
        assert rest(Step.FILE, b"c/yy") == ["c/z", "e"]
        assert rest(Step.LEFT, b"c") == ["e"]
        assert rest(Step.FILE, b"file") == ["a", "a/x", "c", "c/y", "c/z", "e"]
        assert rest(Step.LEFT, b"z") == []


# Cursors come back from strangers

cursors = st.one_of(
    st.builds(
        PageCursor,
        st.sampled_from(SORT_KEYS),
        st.sampled_from(EntryType),
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.binary(min_size=1, max_size=20)
        .filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b".."))
        .map(EntryName),
        st.booleans(),
    )
)


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: PageCursor) -> None:
    assert parse_page_cursor(cursor.encode(), cursor.sort) == cursor


@given(st.binary(max_size=40))
def test_nonsense_is_no_cursor(data: bytes) -> None:
    for parse in (parse_tree_cursor, lambda data: parse_page_cursor(data, "name")):
        try:
            parse(data)
        except InvalidParams:
            continue


def test_a_cursor_of_another_listing_is_refused() -> None:
    cursor = PageCursor("size", EntryType.FILE, 5, EntryName(b"x"))
    with pytest.raises(InvalidParams):
        parse_page_cursor(cursor.encode(), "name")
    with pytest.raises(InvalidParams):
        parse_tree_cursor(cursor.encode())
    huge = PageCursor("size", EntryType.FILE, 2**63, EntryName(b"x"))
    with pytest.raises(InvalidParams):
        parse_page_cursor(huge.encode(), "size")


def test_a_cursor_without_an_order_is_of_the_former_one() -> None:
    page = parse_page_cursor(encode(["name", 0, 0, "x"]), "name")
    assert page == PageCursor("name", EntryType(0), 0, EntryName(b"x"), is_former=True)
    tree = parse_tree_cursor(encode([0, "x/y"]))
    assert tree == TreeCursor(Step.FILE, RemotePath(b"x/y"), is_former=True)
    for order in ([2], [1, 1], ["1"]):
        with pytest.raises(InvalidParams):
            parse_tree_cursor(encode([0, "x", *order]))
        with pytest.raises(InvalidParams):
            parse_page_cursor(encode(["name", 0, 0, "x", *order]), "name")


def test_names_sort_without_case_then_by_bytes() -> None:
    assert sorted(["b", "B", "a", "é", "É"], key=name_key) == ["a", "B", "b", "É", "é"]
    for first, second in pairwise(["A", "a", "Aa", "aA", "B"]):
        assert name_key(first) < name_key(second)
