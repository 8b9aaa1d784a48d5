"""How hdpctl finds hdpd, proves who it is, and says what is wrong when that fails."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from hdpctl.cli import cli
from hdpctl.client import Client
from hdpctl.errors import ConnectError
from hdpctl.server import Route, Server, parse_server, usual_servers
from tests.fake_hdpd import FakeHdpd, Refusal


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("unix:/run/x.sock", Server("unix", "/run/x.sock")),
        ("http://127.0.0.1", Server("http", "", "127.0.0.1", 3030)),
        ("http://nas.local:80/", Server("http", "", "nas.local", 80)),
        ("https://example.org/hdpd/", Server("https", "/hdpd", "example.org", 443)),
        ("http://[::1]:3030", Server("http", "", "::1", 3030)),
    ],
)
def test_addresses(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "nas:3030",
        "ftp://nas",
        "http://",
        "http://u:p@nas",
        "http://nas:x",
        "http://n?q",
    ],
)
def test_bad_addresses_are_usage_errors_on_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_server(text)
    if not text:
        return
    result = CliRunner().invoke(cli, ["--server", text, "status"], prog_name="hdpctl")
    assert result.exit_code == 2
    assert result.stderr.startswith("hdpctl: Invalid value for '--server'")
    assert result.stderr.count("\n") == 1


def test_the_usual_places() -> None:
    tried = list(map(str, usual_servers({"XDG_RUNTIME_DIR": "/run/user/7"})))
    assert tried == [
        "unix:/run/hdpd/hdpd.sock",
        "unix:/run/user/7/hdpd.sock",
        "http://127.0.0.1:3030",
    ]


def test_the_first_place_that_answers_is_used(hdpd: FakeHdpd, tmp_path: Path) -> None:
    hdpd.answers["daemon.info"] = {"name": "Me"}
    absent = Server("unix", str(tmp_path / "absent"))
    route = Route([absent, parse_server(hdpd.tcp), parse_server(hdpd.unix)])
    with closing(Client(route, None)) as client:
        assert client.call("daemon.info") == {"name": "Me"}
    assert str(route.server) == hdpd.tcp


def test_nobody_there(tmp_path: Path) -> None:
    absent = f"unix:{tmp_path}/absent"
    result = CliRunner().invoke(cli, ["--server", absent, "status"], prog_name="hdpctl")
    assert result.exit_code == 1
    assert result.stderr == (
        f"hdpctl: cannot connect to {absent}: no such socket; is hdpd running?\n"
    )


def test_every_place_tried_is_named(tmp_path: Path) -> None:
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(left))
    route = Route([Server("unix", f"{tmp_path}/absent"), Server("unix", str(left))])
    with pytest.raises(ConnectError) as failure:
        route.connect()
    message = failure.value.message
    assert f"unix:{tmp_path}/absent (no such socket)" in message
    assert f"unix:{left} (nobody listens there)" in message
    assert "is hdpd running?" in message


def test_a_socket_that_may_not_be_opened_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_server: Server) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Server, "connect", refuse)
    route = Route([Server("unix", "/run/hdpd/hdpd.sock")])
    with pytest.raises(ConnectError, match="permission denied; are you in the group hdpd"):
        route.connect()
    assert "/run/hdpd/hdpd.sock" in route.tokenless_hint()


def test_tcp_wants_a_token(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    hdpd.token = "sesame"
    hdpd.answers["topics.list"] = {"topics": []}
    for command in (["topics"], ["events"], ["cat", "P/f"]):
        refused = hdpd.run(*command, server=hdpd.tcp)
        assert refused.exit_code == 1
        assert "token is needed; give one with --token or HDPCTL_TOKEN" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert hdpd.run("--token", "sesame", "topics", server=hdpd.tcp).exit_code == 0
    monkeypatch.setenv("HDPCTL_TOKEN", "sesame")
    assert hdpd.run("topics", server=hdpd.tcp).exit_code == 0
    assert hdpd.run("--token", "ses\name", "topics").exit_code == 2


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, b'{"error": "bad_host", "message": "no such host"}', "no such host (bad_host)"),
        (403, b"", "the token's role does not allow it"),
        (404, b"<html>", "answered with HTTP status 404; is that hdpd?"),
        (503, b'{"error": "busy"}', "hdpctl: busy"),
    ],
)
def test_http_refusals_are_one_line(hdpd: FakeHdpd, status: int, body: bytes, message: str) -> None:
    hdpd.status, hdpd.body = status, body
    result = hdpd.run("topics")
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_errors_of_the_rpc_carry_their_word(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.block"] = Refusal("peer_not_found", "nobody is called\n'X\u202e'")
    result = hdpd.run("block", "X")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "hdpctl: nobody is called\\n'X\\u202e' (peer_not_found)\n"


def test_a_method_that_is_not_there_hints_at_the_version(hdpd: FakeHdpd) -> None:
    assert "has no method peers.invite; is it older than hdpctl?" in hdpd.run("invite").stderr


def test_a_server_that_is_not_hdpd() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        from threading import Thread

        def greet() -> None:
            peer, _ = other.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = Thread(target=greet)
        thread.start()
        result = CliRunner().invoke(cli, ["--server", address, "topics"], prog_name="hdpctl")
        thread.join()
    assert result.exit_code == 1
    assert "does not answer as hdpd does" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "nonsense",
        "status --nonsense",
        "cat PeerOnly",
        "ls /etc",
        "queue move x y",
        "cat P/f --json",
    ],
)
def test_usage_errors_are_one_line_and_exit_2(hdpd: FakeHdpd, arguments: str) -> None:
    result = hdpd.run(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "--help)" in result.stderr
    assert not hdpd.calls
