"""Listening sockets that systemd hands over: which are taken, and that their files stay."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdpd.config import UnixAddress
from hdpd.control import sockets
from hdpd.control.sockets import Listeners, inherited_unix_sockets


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "hdpd.sock"


@pytest.fixture
def handed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a process that got one listening Unix socket, which systemd keeps too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as systemds:
        systemds.bind(str(path))
        systemds.listen()
        descriptor = os.dup(systemds.fileno())
        monkeypatch.setattr(sockets, "_FIRST_INHERITED", descriptor)
        yield {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "hdpd.socket"}


async def test_the_socket_of_the_unit_is_used_and_stays(
    path: Path, handed_over: dict[str, str]
) -> None:
    listeners = Listeners(inherited_unix_sockets(handed_over))
    await listeners.open([UnixAddress(path)], [])
    assert listeners.addresses == [f"unix:{path}"]
    [listener] = listeners.sockets
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.accept()[0].close()
    listeners.close()
    assert path.is_socket()
    assert handed_over == {}


async def test_it_is_listened_on_whatever_the_configuration_names(
    path: Path, handed_over: dict[str, str]
) -> None:
    own = path.with_name("own.sock")
    listeners = Listeners(inherited_unix_sockets(handed_over))
    await listeners.open([UnixAddress(own)], [])
    assert listeners.addresses == [f"unix:{path}", f"unix:{own}"]
    listeners.close()
    assert path.is_socket()
    assert not own.exists()


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}]
)
def test_what_is_meant_for_another_process_is_left_alone(environ: dict[str, str]) -> None:
    assert inherited_unix_sockets(environ) == {}


def test_other_kinds_of_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        monkeypatch.setattr(sockets, "_FIRST_INHERITED", os.dup(tcp.fileno()))
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        assert inherited_unix_sockets(environ) == {}
