"""Searching: folding, queries, and hits compared with a plain look through all paths."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.database import Transaction
from hdpd.errors import InvalidParams
from hdpd.shares import search as search_module
from hdpd.shares.fold import fold
from hdpd.shares.query import MAX_WORDS, match_expression, parse_query
from hdpd.shares.search import Deadline, Search
from hdpd.wire.messages import Entry, EntryType
from tests.shares.index import Tree, index_of

# Folding and queries


@pytest.mark.parametrize(
    ("spelling", "folded"),
    [
        ("BJÖRK", "bjork"),
        ("Bjo\u0308rk", "bjork"),
        ("Straße", "strasse"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("Ёлка", "елка"),
        ("ﬁn™", "fintm"),
        ("Ｆｕｌｌ", "full"),
        ("İstanbul", "istanbul"),
        ("❤️", "❤"),
        ("\uef80x", "\uef80x"),
    ],
)
def test_folding(spelling: str, folded: str) -> None:
    assert fold(spelling) == folded


@given(st.text(), st.text())
def test_a_part_is_found_in_the_whole(one: str, other: str) -> None:
    assert fold(one + other) == fold(one) + fold(other)
    assert fold(fold(one)) == fold(one)


def test_a_query_is_cut_at_white_space_and_folded() -> None:
    assert parse_query("  Björk\tHOMO\u00a0genic björk ").words == ("bjork", "homo", "genic")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no word"),
        (" \n ", "no word"),
        ("\u0301", "no word"),
        ("a\0b", "NUL"),
        ("\ud800", "Unicode"),
        (" ".join(f"w{n}" for n in range(MAX_WORDS + 1)), "more than"),
    ],
)
def test_a_bad_query_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidParams, match=reason):
        parse_query(text)


def test_an_expression_holds_each_trigram_once_and_quoted() -> None:
    assert match_expression(["abcabc"]) == '"abc" AND "bca" AND "cab"'
    assert match_expression(['a"b']) == '"a""b"'
    assert match_expression(["ab", "c"]) is None
    assert match_expression(["ab", "cde"]) == '"cde"'


# Hits

MUSIC: Tree = {
    "Music": {
        "Björk": {
            "Homogenic": {"01 Hunter.flac": (10, 1), "02 Jóga.flac": (20, 2)},
            "cover.jpg": (1, 1),
        },
        "Hunters of Night": {"Bjorn.ogg": (5, 5), "x.txt": (1, 1)},
        "list of hunters.txt": (3, 3),
    },
    "Bilder": {"日本語": {"写真.jpg": (9, 9)}, "emoji 🎵": {}, "100%_\\": {}},
}


BJORK = [
    "Music/Björk/",
    "Music/Björk/Homogenic/",
    "Music/Björk/Homogenic/01 Hunter.flac",
    "Music/Björk/Homogenic/02 Jóga.flac",
    "Music/Björk/cover.jpg",
]


def found(transaction: Transaction, text: str, *, limit: int = 1000, roots: int = 99) -> list[str]:
    shares = frozenset(
        root for (root,) in transaction.execute("SELECT root FROM share WHERE root<=?", (roots,))
    )
    search = Search(transaction, parse_query(text), shares, Deadline(60))
    return [
        entry.path.text + ("/" if entry.type is EntryType.DIRECTORY else "")
        for entry in islice(search.hits(), limit)
    ]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("jóga", ["Music/Björk/Homogenic/02 Jóga.flac"]),
        ("joga", ["Music/Björk/Homogenic/02 Jóga.flac"]),
        ("OGENIC JOGA", ["Music/Björk/Homogenic/02 Jóga.flac"]),
        ("bjork jpg", ["Music/Björk/cover.jpg"]),
        ("bjork hunter", ["Music/Björk/Homogenic/01 Hunter.flac"]),
        (
            "hunters",
            [
                "Music/Hunters of Night/",
                "Music/list of hunters.txt",
                "Music/Hunters of Night/Bjorn.ogg",
                "Music/Hunters of Night/x.txt",
            ],
        ),
        (
            "bjork homo",
            [
                "Music/Björk/Homogenic/",
                "Music/Björk/Homogenic/01 Hunter.flac",
                "Music/Björk/Homogenic/02 Jóga.flac",
            ],
        ),
        ("jp", ["Music/Björk/cover.jpg", "Bilder/日本語/写真.jpg"]),
        ("x", ["Music/Hunters of Night/x.txt", "Music/list of hunters.txt"]),
        ("本", ["Bilder/日本語/", "Bilder/日本語/写真.jpg"]),
        ("🎵", ["Bilder/emoji 🎵/"]),
        ("music night bjorn", ["Music/Hunters of Night/Bjorn.ogg"]),
        ("nothing", []),
        ("bjork nothing", []),
        ('"', []),
        ('" OR *', []),
        ("%", ["Bilder/100%_\\/"]),
        ("_", ["Bilder/100%_\\/"]),
        ("\\", ["Bilder/100%_\\/"]),
        ("ÖR", [*BJORK, "Music/Hunters of Night/Bjorn.ogg"]),
        ("JÖ jp", ["Music/Björk/cover.jpg"]),
    ],
)
def test_hits(tmp_path: Path, text: str, hits: list[str]) -> None:
    with index_of(tmp_path / "index.db", MUSIC) as transaction:
        assert sorted(found(transaction, text)) == sorted(hits)


def test_directories_come_first_and_own_matches_before_what_is_below(tmp_path: Path) -> None:
    with index_of(tmp_path / "index.db", MUSIC) as transaction:
        assert found(transaction, "hunters") == [
            "Music/Hunters of Night/",
            "Music/list of hunters.txt",
            "Music/Hunters of Night/Bjorn.ogg",
            "Music/Hunters of Night/x.txt",
        ]
        assert found(transaction, "music", limit=3) == [
            "Music/",
            "Music/Björk/",
            "Music/Hunters of Night/",
        ]


def test_shares_that_are_not_ours_any_more_are_left_out(tmp_path: Path) -> None:
    with index_of(tmp_path / "index.db", MUSIC) as transaction:
        assert found(transaction, "jpg", roots=1) == ["Music/Björk/cover.jpg"]
        assert found(transaction, "jpg", roots=0) == []
        assert found(transaction, "bilder", roots=1) == []


def test_a_hit_is_an_entry_like_a_listed_one(tmp_path: Path) -> None:
    with index_of(tmp_path / "index.db", MUSIC) as transaction:
        search = Search(transaction, parse_query("homogenic"), frozenset({1}), Deadline(60))
        directory, hunter, _ = search.hits()
    assert (directory.size, directory.files, directory.type) == (30, 2, EntryType.DIRECTORY)
    assert (hunter.size, hunter.mtime_ns, hunter.files) == (10, 1, 1)


def test_a_search_ends_at_its_deadline_with_what_it_found(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.01
        return now

    tree: Tree = {f"ab{number}": (1, 1) for number in range(5000)}
    with index_of(tmp_path / "index.db", {"S": tree}) as transaction:
        search = Search(transaction, parse_query("ab"), frozenset({1}), Deadline(0.03, clock))
        hits: list[Entry] = []

        def collect() -> None:
            for hit in search.hits():
                hits.append(hit)  # noqa: PERF402 - what came before the error counts

        with pytest.raises(TimeoutError):
            collect()
    assert 0 < len(hits) < 5000


words = st.sampled_from(["a", "ab", "abc", "bcd", "Äbc", "abcd", "x", "abx", "cdab"])
names = st.lists(words, min_size=1, max_size=2).map("".join)
files = st.just((1, 1))
trees = st.recursive(
    st.dictionaries(names, files, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(files, inner), max_size=4),
    max_leaves=25,
)


def plain_hits(tree: Tree, query: list[str], above: str) -> set[str]:
    """What a look through all paths finds."""
    hits = set()
    for name, item in tree.items():
        path = above + name
        components = [fold(component) for component in path.split("/")]
        slash = "/" if isinstance(item, dict) else ""
        if all(any(word in component for component in components) for word in query):
            hits.add(path + slash)
        if isinstance(item, dict):
            hits |= plain_hits(item, query, path + "/")
    return hits


@given(
    trees,
    st.lists(words, min_size=1, max_size=3),
    st.sampled_from([0, 1, 20_000]),
    st.sampled_from([0, 1, 2000]),
)
@settings(max_examples=150, deadline=None)
def test_hits_are_what_a_look_through_all_paths_finds(
    tree: Tree, query: list[str], below_limit: int, common: int
) -> None:
    """All ways to look for what matches some words by its name and others by where it is find the
    same.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as directory,
        index_of(Path(directory) / "index.db", {"S": tree}) as transaction,
    ):
        patch.setattr(search_module, "BELOW_LIMIT", below_limit)
        patch.setattr(search_module, "COMMON", common)
        hits = found(transaction, " ".join(query))
    assert len(hits) == len(set(hits))
    assert set(hits) == plain_hits({"S": tree}, [fold(word) for word in query], "")
    kinds = [hit.endswith("/") for hit in hits]
    assert kinds == sorted(kinds, reverse=True)
