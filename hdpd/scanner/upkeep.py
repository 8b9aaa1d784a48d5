"""Work on the index that follows a scan, in short transactions.

It sweeps away what is gone, and puts new names into the search tables.
"""

from __future__ import annotations

from collections.abc import Iterator

from hdpd.database import Transaction, write_transaction
from hdpd.scanner.writer import IndexWriter, delete_files
from hdpd.shares.fold import FOLDING, fold

CHUNK_ROWS = 10_000  # of one transaction: well under 0.2 s


def sweep(writer: IndexWriter) -> Iterator[None]:
    """Deletes every directory without a parent with all below it, a chunk at each step."""
    while True:
        with write_transaction(writer.connection) as transaction:
            room = CHUNK_ROWS
            while room > 0:
                lost = transaction.one("SELECT id, name FROM directory WHERE parent IS NULL")
                if lost is None:
                    return
                room -= _sweep_one(transaction, lost[0], lost[1], room)
        yield


def _sweep_one(transaction: Transaction, id_: int, name: str, room: int) -> int:
    """Deletes up to `room` files of the directory, and itself after the last; returns its cost."""
    files = [
        (file_id, file_name)
        for file_id, file_name in transaction.execute(
            "SELECT id, name FROM file WHERE directory=? LIMIT ?", (id_, room)
        )
    ]
    delete_files(transaction, files)
    if len(files) < room:
        (searchable,) = transaction.one("SELECT searchable_directory FROM state") or (0,)
        if id_ <= searchable:
            transaction.execute(
                "INSERT INTO directory_search (directory_search, rowid, name) "
                "VALUES ('delete', ?, ?)",
                (id_, fold(name)),
            )
        transaction.execute("DELETE FROM directory WHERE id=?", (id_,))
        transaction.execute("UPDATE directory SET parent=NULL WHERE parent=?", (id_,))
    return len(files) + 1


def renew_search_tables(writer: IndexWriter) -> None:
    """Empties the search tables when they were made with another folding. Comes before anything is
    deleted: a row can only be taken out as it was put in.
    """
    with write_transaction(writer.connection) as transaction:
        if transaction.one("SELECT folding FROM state") == (FOLDING,):
            return
        for table in ("directory", "file"):
            transaction.execute(
                f"INSERT INTO {table}_search ({table}_search) VALUES ('delete-all')"  # noqa: S608
            )
            transaction.execute(f"UPDATE state SET searchable_{table}=0")  # noqa: S608
        transaction.execute("UPDATE state SET folding=?", (FOLDING,))


def make_searchable(writer: IndexWriter) -> Iterator[None]:
    """Puts the names that the search tables lack into them, a chunk at each step."""
    for table in ("directory", "file"):
        while _extend(writer, table):
            yield


def _extend(writer: IndexWriter, table: str) -> bool:
    """Adds one chunk; False when nothing was missing."""
    with write_transaction(writer.connection) as transaction:
        rows = list(
            transaction.execute(
                f"SELECT id, name FROM {table} "  # noqa: S608
                f"WHERE id>(SELECT searchable_{table} FROM state) ORDER BY id LIMIT ?",
                (CHUNK_ROWS,),
            )
        )
        if not rows:
            return False
        transaction.executemany(
            f"INSERT INTO {table}_search (rowid, name) VALUES (?, ?)",  # noqa: S608
            ((id_, fold(name)) for id_, name in rows),
        )
        transaction.execute(f"UPDATE state SET searchable_{table}=?", (rows[-1][0],))  # noqa: S608
    return True
