"""An index filled by hand, without a file system: what tests of reading it begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hdpd.database import Transaction, open_connection, write_transaction
from hdpd.database.migrations import migrate
from hdpd.identity.keys import PeerId
from hdpd.scanner.upkeep import make_searchable, renew_search_tables
from hdpd.scanner.writer import SETTLED, Directory, IndexWriter


@dataclass(frozen=True)
class Asker:
    """A peer that asks, as far as an answer needs it."""

    peer_id: PeerId
    source: str = "here"


Tree = dict[str, "Tree | tuple[int, int]"]
"""Directories by name, and files as (size, mtime)."""


@contextmanager
def index_of(path: Path, shares: Tree) -> Iterator[Transaction]:
    """A transaction on a new index that holds these shares; the first has the root 1."""
    writer = IndexWriter(path)
    try:
        migrate(writer.connection, "index")
        renew_search_tables(writer)
        for name, tree in shares.items():
            assert isinstance(tree, dict)
            add_share(writer, name, tree)
        for _ in make_searchable(writer):
            pass
    finally:
        writer.close()
    connection = open_connection(path, readonly=True)
    try:
        yield Transaction(connection)
    finally:
        connection.close()


def add_share(writer: IndexWriter, name: str, tree: Tree) -> Directory:
    root = Directory(None, name, 0)
    _fill(writer, root, tree)
    writer.flush()
    with write_transaction(writer.connection) as transaction:
        transaction.execute(
            "INSERT INTO share (name, path, hidden, root, scanned_at) VALUES (?, '/', 0, ?, 0)",
            (name, root.id),
        )
    return root


def _fill(writer: IndexWriter, directory: Directory, tree: Tree) -> None:
    writer.add_directory(directory)
    directory.scanned = SETTLED
    for name, item in tree.items():
        if isinstance(item, tuple):
            writer.add_files(directory, [(name, *item)])
            directory.size += item[0]
            directory.files += 1
        else:
            child = Directory(directory, name, len(name))
            _fill(writer, child, item)
            directory.size += child.size
            directory.files += child.files
