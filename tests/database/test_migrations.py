"""From every released schema to the latest one, with a backup; and what is left after damage."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import apsw
import pytest

from hdpd.database import Database, open_connection, set_aside
from hdpd.database.migrations import backup_path, migrate, steps_of
from hdpd.errors import StartError
from hdpd.log import MessageId

RELEASED = sorted((Path(__file__).parents[1] / "vectors" / "state").glob("*.sql"))
LATEST = steps_of("state")[-1][0]


def make(path: Path, released: Path) -> None:
    """A state.db as that version left it."""
    connection = apsw.Connection(str(path))
    for number, step in steps_of("state")[: int(released.stem)]:
        connection.execute(step.read_text())
        connection.execute(f"PRAGMA user_version={number}")
    connection.execute(released.read_text())
    connection.close()


def contents(path: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table, as another program sees it."""
    found = {}
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type='table'").fetchall()
        for (name,) in tables:
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608
            found[name] = [dict(row) for row in rows]
    connection.close()
    return found


def open_and_close(path: Path) -> None:
    async def both() -> None:
        database = Database(path, "state", durable=True)
        try:
            await database.open()
        finally:
            await database.close()

    asyncio.run(both())


def test_the_latest_schema_of_each_release_is_there() -> None:
    assert RELEASED, "a release adds its schema with rows to tests/vectors/state"


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
def test_nothing_of_a_released_version_is_lost(tmp_path: Path, released: Path) -> None:
    path = tmp_path / "state.db"
    make(path, released)
    before = contents(path)
    open_and_close(path)
    after = contents(path)
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        for old, new in zip(rows, after[table], strict=True):
            assert {key: new[key] for key in old if key in new} == {
                key: value for key, value in old.items() if key in new
            }
    if int(released.stem) < LATEST:
        copy = backup_path(path, int(released.stem))
        assert contents(copy) == before
        assert copy.stat().st_mode & 0o777 == 0o600


def test_each_step_is_preceded_by_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = apsw.Connection(str(path))
    (_number, first), *more = steps_of("state")
    connection.execute(first.read_text())
    connection.execute("PRAGMA user_version=1")
    connection.execute("INSERT INTO share VALUES ('a', '/a', 1.0)")
    backup_path(path, 1).write_text("from an earlier attempt")
    migrate(connection, "state", backup=True)
    connection.close()
    copies = sorted(copy.name for copy in tmp_path.glob("state.db.version-*"))
    assert copies == [f"state.db.version-{number - 1}" for number, _ in more]
    assert len(contents(backup_path(path, 1))["share"]) == 1


def test_a_later_version_is_refused_and_the_backup_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    make(path, RELEASED[-1])
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    backup_path(path, LATEST).touch()
    with pytest.raises(StartError, match=rf"later version.*state\.db\.version-{LATEST}"):
        open_and_close(path)


def test_a_damaged_queue_is_recovered_as_far_as_it_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    make(path, RELEASED[-1])
    with sqlite3.connect(path) as connection:
        rows = [(1, number, f"file {number:06}", 0, 1) for number in range(3, 5000)]
        connection.executemany(
            "INSERT INTO download_file (download, number, path, directory, size) "
            "VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // size * size)
        file.write(b"\xff" * size)
    open_and_close(path)
    found = contents(path)
    assert [row["id"] for row in found["download"]] == ["d1"]
    assert len(found["topic"]) == 2
    assert 4000 < len(found["download_file"]) < 4999
    [aside] = tmp_path.glob("state.db.damaged-*[0-9]")
    assert aside.name in caplog.text
    [record] = [each for each in caplog.records if each.name.startswith("hdpd")]
    assert ("MESSAGE_ID", MessageId.STATE_DAMAGED) in record.__dict__["hdpd_fields"]
    open_and_close(path)
    assert contents(path) == found


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"x" * 4096])
def test_a_database_of_which_nothing_is_left_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    open_and_close(path)
    assert contents(path)["download"] == []
    [aside] = tmp_path.glob("state.db.damaged-*[0-9]")
    assert aside.read_bytes() == content


def test_files_of_a_lost_download_are_not_recovered(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    make(path, RELEASED[-1])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE download_file SET download=2 WHERE number=1")
        page = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name='topic'"
        ).fetchone()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page[0] - 1) * size)
        file.write(b"\xff" * size)
    open_and_close(path)
    found = contents(path)
    assert found["topic"] == []
    assert [row["number"] for row in found["download_file"]] == [2]


def test_what_is_set_aside_never_replaces_what_was_before(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        (tmp_path / "x.db").touch()
        (tmp_path / "x.db-wal").touch()
        names.add(set_aside(tmp_path / "x.db"))
    assert len(names) == 3
    assert len(list(tmp_path.iterdir())) == 6


def test_an_index_of_an_earlier_version_gets_its_order(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "index.db")
    for number, step in steps_of("index")[:3]:
        connection.execute(step.read_text())
        connection.execute(f"PRAGMA user_version={number}")
    connection.execute("INSERT INTO directory VALUES (1, 0, 'Disc 10', 0, 2, 0, 0, 0, 0, 0)")
    for id_, name in enumerate(("Episode 10", "episode 2", "Episode")):
        connection.execute("INSERT INTO file VALUES (?, 1, ?, 0, 0)", (id_, name))
    migrate(connection, "index")
    rows = connection.execute("SELECT name FROM file ORDER BY natural(name) COLLATE NOCASE")
    assert [name for (name,) in rows] == ["Episode", "episode 2", "Episode 10"]
    connection.close()
