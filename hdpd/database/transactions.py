"""Transactions, begun and ended by statements; and giving back what they leave free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

FREE_PAGES = 256  # 1 MB: kept for what comes next, and given back in one step, some ms
FREE_PART = 8  # of the file, which is kept for what comes next, too


@contextmanager
def atomically(connection: apsw.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """One transaction; an exception rolls it back.

    In place of `with connection`: there apsw keeps the interpreter's lock while the disk works.
    """
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors, such as a full disk, have rolled back already
            connection.execute("ROLLBACK")
        raise


def give_room_back(connection: apsw.Connection) -> None:
    """Makes the file shorter by a step, where much of it is free."""
    free = connection.pragma("freelist_count")
    if free > FREE_PAGES and free > connection.pragma("page_count") // FREE_PART:
        connection.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
