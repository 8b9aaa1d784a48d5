"""Searching the index: every word has to match a part of any component of a path.

A word that is long enough is looked up by its trigrams, and every candidate is verified. The words
that a path matches are a bit mask: those in its own name, and those in the directories above it. A
hit is a path whose masks together hold all words; first come those that match by their own name,
then what is in directories that match, and directories always before files.

Whole because the steps of a search share what they have found out about directories.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from msgspec import Struct, field

from hdpd.database import Rows, Transaction
from hdpd.errors import PathInvalid
from hdpd.shares.fold import fold
from hdpd.shares.query import Query, like_condition, match_expression
from hdpd.wire.messages import Entry, EntryType
from hdpd.wire.paths import MAX_DEPTH, RemotePath

BELOW_LIMIT = 20_000
"""Files below directories that match some words are looked through one by one up to this number
(about 40 ms); with more of them, the files that match the other words are looked up instead."""

COMMON = 2000
"""Directories with a word are looked at up to this number (about 5 ms for each word). With a word
that more of them have, files and directories are found by the other words where that can be done.
"""

DEADLINE_ROWS = 256  # rows between looks at the clock: about 1 ms


class _Directory(Struct):
    """A directory as far as this search has met it."""

    parent: int
    name: str
    own: int  # mask of the words in its name
    path: str | None = None  # of the share and below; "" when it is in no share of ours
    mask: int = 0  # of the words in its path; valid once `path` is known


class Deadline:
    """Raises TimeoutError when the time is over, so that a loop of small queries ends, too."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._rows = 0

    def end(self) -> None:
        """Ends the search soon, from any thread."""
        self._end = -math.inf

    def check(self) -> None:
        """Counts a row, and looks now and then at the clock; raises TimeoutError."""
        self._rows += 1
        if self._rows % DEADLINE_ROWS == 0 and self._clock() > self._end:
            raise TimeoutError


class Search(Struct):
    """One search on one snapshot of the index, in the shares whose root directories are `roots`."""

    transaction: Transaction
    query: Query
    roots: frozenset[int]
    deadline: Deadline
    _directories: dict[int, _Directory] = field(default_factory=dict)
    _given: set[int] = field(default_factory=set)  # ids of files that were given already

    def hits(self) -> Generator[Entry, None, None]:
        """All hits, the best first; raises TimeoutError at the deadline."""
        matching: list[int] = []
        partial: dict[int, list[int]] = {}
        common = 0
        found: Iterable[int]
        if len(self.query.words) == 1:
            found = self._directories_with(0)
        else:
            common, found = self._look_around(partial)
        for id_ in found:
            hit = self._directory_hit(id_)
            if hit:
                matching.append(id_)
                yield hit
        below = []
        for id_, hit in self._below(matching):
            below.append(id_)
            yield hit
        yield from self._files_by_name(partial, common)
        for id_ in [*matching, *below]:
            yield from self._files_in(id_)

    # Directories

    def _look_around(self, partial: dict[int, list[int]]) -> tuple[int, Iterable[int]]:
        """The mask of the common words whose directories are not looked at; and the directories
        whose path matches all words, by a word of their own. Those whose path matches only some go
        to `partial`, by the mask of these; with common words only those with another one of their
        own.
        """
        rare: list[int] = []
        rare_bits, common, absent = 0, 0, False
        for number in range(len(self.query.words)):
            ids = list(itertools.islice(self._directories_with(number), COMMON + 1))
            absent |= not ids
            if len(ids) > COMMON:
                common |= 1 << number
            else:
                rare += ids
                rare_bits |= 1 << number
        if not common:
            return 0, self._sort(rare, partial)
        if absent or rare:
            matching = list(self._sort(rare, partial))
            if absent:  # a word that no directory has: no directory can match
                return common, ()
            # Only below these may the common words be all that is missing.
            groups = (ids for mask, ids in partial.items() if mask & rare_bits == rare_bits)
            some = list(itertools.chain.from_iterable(groups))
            if self._files_below(some) <= BELOW_LIMIT:
                return common, itertools.chain(matching, self._matching_below(some, matching))
            partial.clear()
        numbers = range(len(self.query.words))
        everything = (id_ for number in numbers for id_ in self._directories_with(number))
        return 0, self._sort(everything, partial)

    def _sort(self, marked: Iterable[int], partial: dict[int, list[int]]) -> Iterator[int]:
        """Gives the directories whose path matches all words, keeps the others by their mask."""
        seen: set[int] = set()
        for id_ in marked:
            if id_ in seen:
                continue
            seen.add(id_)
            mask = self._resolve(id_).mask
            if mask == self.query.all_bits:
                yield id_
            elif mask:
                partial.setdefault(mask, []).append(id_)

    def _matching_below(self, directories: list[int], matching: list[int]) -> Iterator[int]:
        """The directories anywhere below that match all words, by a word of their own."""
        known = set(matching)
        for id_, _, _ in self._directories_below(directories):
            directory = self._resolve(id_)
            if directory.own and directory.mask == self.query.all_bits and id_ not in known:
                yield id_

    def _directories_with(self, number: int) -> Iterator[int]:
        """The directories whose own name holds a word, verified."""
        bit = 1 << number
        for id_, parent, name in self._candidates("directory", "parent", bit):
            directory = self._meet(id_, parent, name)
            if directory.own & bit:
                yield id_

    def _candidates(self, table: str, above: str, bits: int) -> Rows:
        """Rows (id, id of the directory above, name) that may match the words of a mask."""
        words = self.query.words_of(bits)
        expression = match_expression(words)
        if expression is None:  # short words only: every row is looked at
            condition, parameters = like_condition(words)
            rows = self.transaction.execute(
                f"SELECT id, {above}, name FROM {table} WHERE {condition}",  # noqa: S608
                parameters,
            )
        else:
            rows = self.transaction.execute(
                f"SELECT id, {above}, {table}.name FROM {table}_search "  # noqa: S608
                f"JOIN {table} ON {table}.id={table}_search.rowid WHERE {table}_search MATCH ?",
                (expression,),
            )
        for row in rows:
            self.deadline.check()
            yield row

    def _meet(self, id_: int, parent: int | None, name: str) -> _Directory:
        directory = self._directories.get(id_)
        if directory is None:
            own = self.query.bits_in(fold(name))
            directory = _Directory(-1 if parent is None else parent, name, own)
            self._directories[id_] = directory
        return directory

    def _resolve(self, id_: int) -> _Directory:
        """The directory with its path and mask, found by climbing to the root of its share."""
        chain: list[tuple[int, _Directory]] = []
        path, mask, is_ours = "", 0, False
        above = id_
        while above > 0 and len(chain) <= MAX_DEPTH:
            directory = self._known(above)
            if directory.path is not None:
                path, mask, is_ours = directory.path, directory.mask, bool(directory.path)
                break
            chain.append((above, directory))
            is_ours = above in self.roots
            above = directory.parent
        for _, directory in reversed(chain):
            path = f"{path}/{directory.name}" if path else directory.name
            mask |= directory.own
            directory.path, directory.mask = (path, mask) if is_ours else ("", 0)
        return self._known(id_)

    def _known(self, id_: int) -> _Directory:
        directory = self._directories.get(id_)
        if directory is None:
            self.deadline.check()
            row = self.transaction.one("SELECT parent, name FROM directory WHERE id=?", (id_,))
            directory = self._meet(id_, *(row or (None, "")))
        return directory

    def _directory_hit(self, id_: int) -> Entry | None:
        row = self.transaction.one("SELECT size, mtime, files FROM directory WHERE id=?", (id_,))
        if row is None:
            return None
        size, mtime, files = row
        return _entry(self._resolve(id_).path, None, EntryType.DIRECTORY, size, mtime, files)

    def _below(self, matching: list[int]) -> Iterator[tuple[int, Entry]]:
        """The directories below matching ones, except those that were given already."""
        known = set(matching)
        waiting = list(matching)
        for above in waiting:  # grows meanwhile: breadth first
            rows = self.transaction.execute(
                "SELECT id, parent, name, size, mtime, files FROM directory WHERE parent=?",
                (above,),
            )
            for id_, parent, name, size, mtime, files in rows:
                self.deadline.check()
                if id_ in known:
                    continue
                known.add(id_)
                waiting.append(id_)
                self._meet(id_, parent, name)
                path = self._resolve(id_).path
                hit = _entry(path, None, EntryType.DIRECTORY, size, mtime, files)
                if hit:
                    yield id_, hit

    # Files

    def _files_by_name(self, partial: dict[int, list[int]], common: int) -> Iterator[Entry]:
        """The files that match some words by their name, and the others by where they are."""
        bits = self.query.all_bits
        yield from self._verified(self._candidates("file", "directory", bits))
        if common:  # what else is missing may be anywhere above
            yield from self._verified(self._candidates("file", "directory", bits & ~common))
        for mask, directories in partial.items():
            if self._files_below(directories) <= BELOW_LIMIT:
                yield from self._verified(self._rows_below(directories))
            else:
                missing = bits & ~mask & ~common
                yield from self._verified(self._candidates("file", "directory", missing))

    def _files_below(self, directories: list[int]) -> int:
        total = 0
        for id_ in directories:
            self.deadline.check()
            row = self.transaction.one("SELECT files FROM directory WHERE id=?", (id_,))
            total += row[0] if row else 0
            if total > BELOW_LIMIT:
                break
        return total

    def _rows_below(self, directories: list[int]) -> Rows:
        """The files anywhere below the directories."""
        for id_ in itertools.chain(
            directories, (row[0] for row in self._directories_below(directories))
        ):
            yield from self.transaction.execute(
                "SELECT id, directory, name FROM file WHERE directory=?", (id_,)
            )

    def _directories_below(self, directories: list[int]) -> Rows:
        """Rows (id, id of the directory above, name) of what is anywhere below these."""
        known = set(directories)
        waiting = list(directories)
        for above in waiting:  # grows meanwhile
            rows = self.transaction.execute(
                "SELECT id, parent, name FROM directory WHERE parent=?", (above,)
            )
            for id_, parent, name in rows:
                self.deadline.check()
                if id_ not in known:
                    known.add(id_)
                    waiting.append(id_)
                    self._meet(id_, parent, name)
                    yield id_, parent, name

    def _verified(self, rows: Rows) -> Iterator[Entry]:
        """The hits among rows (id, directory, name) that have a word in their own name."""
        for id_, directory, name in rows:
            self.deadline.check()
            own = self.query.bits_in(fold(name))
            if own and id_ not in self._given:
                where = self._resolve(directory)
                if own | where.mask == self.query.all_bits:
                    yield from self._give(id_, where.path, name)

    def _give(self, id_: int, where: str | None, name: str) -> Iterator[Entry]:
        row = self.transaction.one("SELECT size, mtime FROM file WHERE id=?", (id_,))
        hit = _entry(where, name, EntryType.FILE, row[0], row[1], 1) if row else None
        if hit:
            self._given.add(id_)
            yield hit

    def _files_in(self, id_: int) -> Iterator[Entry]:
        """The files in a directory that matches, except those that were given already."""
        where = self._resolve(id_).path
        rows = self.transaction.execute(
            "SELECT id, name, size, mtime FROM file WHERE directory=?", (id_,)
        )
        for file_id, name, size, mtime in rows:
            self.deadline.check()
            if file_id not in self._given:
                hit = _entry(where, name, EntryType.FILE, size, mtime, 1)
                if hit:
                    yield hit


def _entry(
    where: str | None, name: str | None, kind: EntryType, size: int, mtime: int, files: int
) -> Entry | None:
    """A hit with its full path; None when it is in no share, or not one that a peer may name."""
    if not where:
        return None
    try:
        path = RemotePath.from_text(where if name is None else f"{where}/{name}")
    except PathInvalid:
        return None
    return Entry(path, kind, size, mtime, files)
