"""The state directory: one hdpd at a time, a key that is made once and stays secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hdpd.errors import StartError
from hdpd.state_directory import KEY_NAME, LOCK_NAME, PORT_NAME, StateDirectory


def test_the_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    first = StateDirectory(path)
    made = first.identity()
    assert first.identity().peer_id == made.peer_id
    first.close()
    again = StateDirectory(path)
    assert again.identity().peer_id == made.peer_id
    again.close()


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "state")
    directory.identity()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / KEY_NAME).stat().st_mode) == 0o600
    assert {each.name for each in (tmp_path / "state").iterdir()} == {KEY_NAME, LOCK_NAME}
    directory.close()


def test_a_second_hdpd_is_refused(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path)
    with pytest.raises(StartError, match="another hdpd is running"):
        StateDirectory(tmp_path)
    first.close()
    StateDirectory(tmp_path).close()


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_NAME).write_bytes(content)
    directory = StateDirectory(tmp_path)
    with pytest.raises(StartError, match="is damaged"):
        directory.identity()
    assert (tmp_path / KEY_NAME).read_bytes() == content
    directory.close()


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).mkdir()
    directory = StateDirectory(tmp_path)
    with pytest.raises(StartError, match="cannot read the identity key"):
        directory.identity()
    directory.close()


def test_a_key_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "identity.new").mkdir()
    directory = StateDirectory(tmp_path)
    with pytest.raises(StartError, match="cannot write the identity key"):
        directory.identity()
    directory.close()


def test_what_was_left_by_a_power_cut_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "identity.new").write_bytes(b"half")
    directory = StateDirectory(tmp_path)
    assert len(directory.identity().seed) == 32
    assert not (tmp_path / "identity.new").exists()
    directory.close()


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="--state-dir"):
        StateDirectory(tmp_path / "file")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("hdpd.state_directory.fcntl.flock", flock)
    with pytest.raises(StartError, match="cannot lock"):
        StateDirectory(tmp_path)


def test_the_port_is_remembered(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    assert directory.last_port() is None
    directory.remember_port(40123)
    assert directory.last_port() == 40123
    for nonsense in ("", "x", "-1", "0", "65536", "1e3"):
        (tmp_path / PORT_NAME).write_text(nonsense)
        assert directory.last_port() is None
    directory.close()
