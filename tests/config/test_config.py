"""Configuration: precedence, every kind of value, and one clear line for every mistake."""

from __future__ import annotations

import math
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.__main__ import main
from hdpd.config import (
    Config,
    HostPort,
    MqttServer,
    ShareConfig,
    TcpAddress,
    UnixAddress,
    directories,
    load,
)
from hdpd.config.peer_rules import PeerRules
from hdpd.config.toml import to_toml
from hdpd.config.values import parse_mqtt_server
from hdpd.errors import ConfigError
from hdpd.identity.keys import PeerId


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user whose home is empty, on a machine without a system-wide file."""
    monkeypatch.setattr(directories, "SYSTEM_CONFIG_FILE", tmp_path / "etc" / "hdpd.toml")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "XDG_RUNTIME_DIR": "/run/user/1000"}


@pytest.fixture
def share(tmp_path: Path) -> Path:
    path = tmp_path / "Music"
    path.mkdir()
    return path


def load_file(text: str, environ: dict[str, str], *flags: str) -> Config:
    Path("test.toml").write_text(text)
    return load(["--config", "test.toml", *flags], environ)


def test_defaults(environ: dict[str, str]) -> None:
    config = load([], environ)
    home = Path(environ["HOME"])
    assert config.download_dir == home / "Downloads"
    assert config.state_dir == home / ".local/share/hdpd"
    assert config.mqtt_servers == (MqttServer("mqtt", "broker.hivemq.com", 1883),)
    assert len({server.host for server in config.stun_servers}) >= 3
    assert config.control == (
        TcpAddress("127.0.0.1", 3030),
        TcpAddress("::1", 3030),
        UnixAddress(Path("/run/user/1000/hdpd.sock")),
    )
    assert (config.port, config.mdns, config.quic_engine) == (3031, True, "qh3")
    assert (config.topics, config.shares, config.bind) == ((), (), ())
    assert (config.log_level, config.config_files) == ("info", ())


def test_files_of_the_directory_are_added(environ: dict[str, str], share: Path) -> None:
    Path("test.toml").write_text('topics = ["a"]\nlog_level = "debug"\n[network]\nport = 1')
    Path("test.toml.d").mkdir()
    Path("test.toml.d/20-b.toml").write_text('topics = ["b", "a"]\n[network]\nport = 2')
    Path("test.toml.d/10-a.toml").write_text(
        f'[network]\nport = 3\nmdns = false\n[[shares]]\npath = "{share}"'
    )
    Path("test.toml.d/.10-a.toml.swp").write_text("junk")
    Path("test.toml.d/notes.txt").write_text("junk")
    config = load(["--config", "test.toml"], environ)
    assert config.topics == ("a", "b")
    assert (config.port, config.mdns, config.log_level) == (2, False, "debug")
    assert [each.name for each in config.shares] == ["Music"]
    assert [path.name for path in config.config_files] == ["test.toml", "10-a.toml", "20-b.toml"]
    assert load(["--config", "test.toml", "--topic", "c"], environ).topics == ("c",)


def test_paths_are_relative_to_the_file_that_has_them(environ: dict[str, str], share: Path) -> None:
    Path("test.toml").touch()
    Path("test.toml.d").mkdir()
    Path("test.toml.d/a.toml").write_text('download_dir = "here"\n[[shares]]\npath = "../Music"')
    config = load(["--config", "test.toml"], environ)
    assert config.download_dir == Path("test.toml.d/here").absolute()
    assert config.shares[0].path == share


def test_a_mistake_names_the_file_that_has_it(environ: dict[str, str], share: Path) -> None:
    other = share.parent / "other" / "Music"
    other.mkdir(parents=True)
    Path("test.toml").write_text(f'[[shares]]\npath = "{share}"')
    Path("test.toml.d").mkdir()
    for text in ("topic = []", "[network]\nport = 70000", f'[[shares]]\npath = "{other}"'):
        Path("test.toml.d/a.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"test\.toml\.d/a\.toml:"):
            load(["--config", "test.toml"], environ)


def test_the_directory_alone_is_enough(environ: dict[str, str], tmp_path: Path) -> None:
    added = tmp_path / "etc" / "hdpd.toml.d"
    added.mkdir(parents=True)
    (added / "a.toml").write_text("topics = ['a']")
    assert load([], environ).topics == ("a",)


def test_credentials_are_read_last(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text(
        "topics = ['secret']\n[network]\nmqtt_servers = ['mqtts://me:word@b.example']"
    )
    (tmp_path / "another-credential").write_text("not TOML")
    text = "topics = ['a']\n[network]\nmqtt_servers = ['a.example']"
    Path("files").mkdir()
    Path("files/hdpd.toml").write_text(text)
    config = load(
        ["--config", "files/hdpd.toml"], {**environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    )
    assert config.topics == ("a", "secret")
    assert [server.password for server in config.mqtt_servers] == ["word"]


def test_systemd_says_where_things_are(environ: dict[str, str]) -> None:
    # A service with DynamicUser has the root directory as its home.
    environ |= {
        "HOME": "/",
        "STATE_DIRECTORY": "/var/lib/hdpd:/var/lib/other",
        "RUNTIME_DIRECTORY": "/run/hdpd",
    }
    config = load([], environ)
    assert config.state_dir == Path("/var/lib/hdpd")
    assert config.download_dir == Path("/var/lib/hdpd/downloads")
    assert config.control[-1] == UnixAddress(Path("/run/hdpd/hdpd.sock"))


def test_root_listens_where_hdpctl_looks(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load([], environ).control[-1] == UnixAddress(Path("/run/hdpd/hdpd.sock"))


def test_flags_win_over_the_file_and_lists_replace_it(environ: dict[str, str]) -> None:
    text = """
        topics = ["one", "two"]
        log_level = "warning"
        [network]
        port = 4000
        mdns = true
        stun_servers = ["192.0.2.1:3478"]
        mqtt_servers = []
    """
    config = load_file(text, environ)
    assert (config.topics, config.port, config.log_level) == (("one", "two"), 4000, "warning")
    assert (config.mqtt_servers, config.stun_servers) == ((), (HostPort("192.0.2.1", 3478),))

    config = load_file(text, environ, "--topic", "three", "--port", "0", "--no-mdns", "-v")
    assert (config.topics, config.port, config.mdns) == (("three",), 0, False)
    assert config.log_level == "debug"


def test_files_are_found_in_their_usual_places(environ: dict[str, str], tmp_path: Path) -> None:
    user_file = tmp_path / "home/.config/hdpd/hdpd.toml"
    system_file = directories.SYSTEM_CONFIG_FILE
    for path, topic in ((user_file, "user"), (system_file, "system")):
        path.parent.mkdir(parents=True)
        path.write_text(f'topics = ["{topic}"]')
        config = load([], environ)
        assert (config.topics, config.config_files) == ((topic,), (path,))


def test_paths_in_a_file_are_relative_to_it(environ: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / "conf"
    (directory / "videos").mkdir(parents=True)
    file = directory / "hdpd.toml"
    file.write_text(
        'download_dir = "in/../loads"\nstate_dir = "~/s"\n'
        '[[shares]]\npath = "videos"\nhidden = true'
    )
    config = load(["--config", str(file)], environ)
    assert config.download_dir == directory / "loads"
    assert config.state_dir == tmp_path / "home" / "s"
    [share] = config.shares
    assert (share.name, share.path, share.hidden) == ("videos", directory / "videos", True)


def test_the_environment_sets_the_default_log_level(environ: dict[str, str]) -> None:
    environ["HDPD_LOG_LEVEL"] = "ERROR"
    assert load([], environ).log_level == "error"
    assert load(["--log-level", "debug"], environ).log_level == "debug"
    environ["HDPD_LOG_LEVEL"] = "loud"
    with pytest.raises(ConfigError, match=r"^HDPD_LOG_LEVEL: 'loud' is not one of debug, info"):
        load([], environ)


@pytest.mark.parametrize(
    ("flag", "name", "directory"),
    [
        ("Music", "Music", "Music"),
        ("./Music/", "Music", "Music"),
        ("Songs=Music", "Songs", "Music"),
        ("a=b", "a=b", "a=b"),
        ("x=a=b", "x", "a=b"),
        ("./a=b", "a=b", "a=b"),
        ("~", "home", "home"),
        ("Home=~", "Home", "home"),
        (os.fsdecode(b"caf\xe9"), "caf\uefe9", os.fsdecode(b"caf\xe9")),
    ],
)
def test_share_directories(
    environ: dict[str, str], share: Path, flag: str, name: str, directory: str
) -> None:
    for other in (b"a=b", b"caf\xe9"):
        os.mkdir(other)  # noqa: PTH102 # pathlib takes no bytes
    [found] = load(["--share-dir", flag], environ).shares
    assert (found.name, found.path) == (name, share.parent / directory)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("broker.example", MqttServer("mqtt", "broker.example", 1883)),
        ("Broker.Example:99", MqttServer("mqtt", "broker.example", 99)),
        ("mqtts://broker.example", MqttServer("mqtts", "broker.example", 8883)),
        (
            "mqtts://h?ca_file=/etc/ca.pem&certificate=/c.pem&key=/k.pem",
            MqttServer(
                *("mqtts", "h", 8883),
                ca_file="/etc/ca.pem",
                certificate="/c.pem",
                key="/k.pem",
            ),
        ),
        ("mqtt://[2001:db8::1]:77", MqttServer("mqtt", "2001:db8::1", 77)),
        ("ws://192.0.2.1", MqttServer("ws", "192.0.2.1", 80, path="/mqtt")),
        ("wss://b.example/other/way", MqttServer("wss", "b.example", 443, path="/other/way")),
        ("mqtt://me:p%40ss@b.example/", MqttServer("mqtt", "b.example", 1883, "me", "p@ss")),
        ("me:p/w:d#@b.example", MqttServer("mqtt", "b.example", 1883, "me", "p/w:d#")),
    ],
)
def test_mqtt_servers(environ: dict[str, str], text: str, server: MqttServer) -> None:
    assert load(["--mqtt-server", text], environ).mqtt_servers == (server,)


def test_what_is_granted_to_single_peers(environ: dict[str, str]) -> None:
    ann, bob, eve = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))
    config = load_file(
        f"""
        [transfers]
        daily_quota = "5GB"
        [peers.{ann.text[:8]}]
        quota = "1GB"
        [peers.{ann.text}]
        favourite = true
        quota = "none"
        [peers.{bob.text[:20]}]
        favourite = true
        """,
        environ,
    )
    rules = PeerRules(config.peers, config.daily_quota)
    assert [rules.quota_of(peer) for peer in (ann, bob, eve)] == [None, 5 * 1000**3, 5 * 1000**3]
    assert [rules.is_favourite(peer) for peer in (ann, bob, eve)] == [True, True, False]
    assert load_file(to_toml(config), environ).peers == config.peers


def test_none_means_no_servers(environ: dict[str, str]) -> None:
    config = load(["--mqtt-server", "none", "--stun-server", "none"], environ)
    assert (config.mqtt_servers, config.stun_servers) == ((), ())


def test_control_addresses(environ: dict[str, str], tmp_path: Path) -> None:
    flags = ["--control", "127.0.0.1:0", "--control", "unix:S/sock", "--control", "[::1]:80"]
    assert load(flags, environ).control == (
        TcpAddress("127.0.0.1", 0),
        UnixAddress(tmp_path / "S/sock"),
        TcpAddress("::1", 80),
    )


MISTAKES = {
    ("--share-dir", "missing"): "--share-dir: {tmp}/missing: there is no such directory",
    ("--share-dir", "A=missing"): "--share-dir: {tmp}/missing: there is no such directory",
    ("--share-dir", "a-file"): "--share-dir: {tmp}/a-file is not a directory",
    ("--share-dir", "..=Music"): "'..' cannot be a share's name",
    ("--share-dir", "/"): "/ has no name of its own; write NAME=/",
    ("--share-dir", "Music", "--share-dir", "Music=home"): "such as 'Music 2'",
    ("--download-dir", "a-file"): "--download-dir: {tmp}/a-file is not a directory",
    ("--state-dir", ""): "--state-dir: '' is not a path",
    ("--topic", " "): "--topic: a topic needs a name",
    ("--topic", "a\nb"): "--topic: a topic name cannot hold control characters",
    ("--port", "65536"): "--port: 65536 is not a number from 0 to 65535",
    ("--port", "high"): "--port: invalid int value: 'high'",
    ("--bind", "10.8.0"): "--bind: '10.8.0' is not an IP address",
    ("--bind", "fe80::/10"): "--bind: 'fe80::/10' is not an IP address",
    ("--bind", "an interface of my own"): "or an interface, such as eth0",
    ("--mqtt-server", "http://h"): "use mqtt://, mqtts://, ws:// or wss://",
    ("--mqtt-server", "h:0"): "0 is not a port",
    ("--mqtt-server", "mqtt://h?ca_file=/ca"): "they go with mqtts:// and wss://",
    ("--mqtt-server", "mqtts://h?cafile=/ca"): "'cafile' is none of ca_file, certificate, key",
    ("--mqtt-server", "mqtts://h?key=/k"): "certificate and key go together",
    ("--mqtt-server", "mqtts://h?ca_file=ca"): "needs a path that begins with /",
    ("--mqtt-server", "::1"): "write [::1]:PORT",
    ("--mqtt-server", "mqtt://h/path"): "only ws:// and wss:// servers have one",
    ("--mqtt-server", "none", "--mqtt-server", "h"): "'none' does not go with a server",
    ("--stun-server", "a b"): "'a b' is not a host name or an IP address",
    ("--control", "3030"): "'3030' needs a port",
    ("--control", "unix:"): "lacks the path of the socket",
    ("--control", "unix:" + "x" * 108): "at most 107 bytes",
    ("--quic-engine", "quiche"): "invalid choice: 'quiche'",
    ("--log-level", "loud"): "invalid choice: 'loud'",
    ("--colour",): "unrecognized arguments: --colour; see hdpd --help",
    ("--topic",): "--topic: expected one argument",
    ("--config", "missing"): "{tmp}/missing: the configuration cannot be read: No such file",
}


@pytest.mark.parametrize("flags", MISTAKES)
@pytest.mark.usefixtures("share")
def test_mistakes_on_the_command_line(
    environ: dict[str, str], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(ConfigError) as caught:
        load(flags, environ)
    assert MISTAKES[flags].format(tmp=tmp_path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.code == "invalid_configuration"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ntopic = ['a']", ":2: unknown key 'topic'; did you mean 'topics'?"),
        ("[network]\n\nmqtt-servers = []", ":3: unknown key 'network.mqtt-servers'; did you mean"),
        ("port = 1", ":1: unknown key 'port'; did you mean 'network.port'?"),
        ("[netwrok]\nport = 1", ":1: unknown key 'netwrok'; did you mean 'network'?"),
        ("x = 1\n[[shares]]\nnmae = 'a'", ":1: unknown key 'x'; known are topics, "),
        ("[[shares]]\npath = 'a'\nnmae = 'a'", ":3: unknown key 'shares.nmae'; did you mean"),
        ("[network]\nport = '1'", "network.port: expected int, got str"),
        ("[network]\nport = true", "network.port: expected int, got bool"),
        ("[network]\nport = -1", "network.port: -1 is not a number from 0 to 65535"),
        ("[network]\nquic_engine = 'q'", "network.quic_engine: invalid enum value 'q'"),
        ("[network]\nstun_servers = ['a b']", "network.stun_servers: 'a b' is not a host name"),
        ('[transfers]\nmin_free = "much"', "transfers.min_free: 'much' is not a size such as 1GB"),
        ('[transfers]\ndaily_quota = "20"', "transfers.daily_quota: '20' is not a size; write a"),
        ("[peers.Bob]\nfavourite = true", "peers: 'Bob' is not a peer's id or the first 8"),
        ('[peers.abcdefgh]\nquota = "x"', "peers.abcdefgh.quota: 'x' is not a size"),
        ("[peers.abcdefgh]\nfavorite = true", "favorite"),
        ("[transfers]\nupload_slots = 0", "transfers.upload_slots: 0 is not a number from 1"),
        ("topics = 'a'", "topics: expected array, got str"),
        ("topics = ['']", "topics: a topic needs a name"),
        ("shares = [{name = 'a'}]", "shares[0]: table missing required field path"),
        ("[[shares]]\npath = 'nowhere'", "shares: {tmp}/nowhere: there is no such directory"),
        (f"[[shares]]\npath = '{'x' * 256}'", "x: File name too long"),
        (f"download_dir = '{'x' * 256}'", "x: File name too long"),
        ("network = 1", "network: expected table, got int"),
        ("topics = [", "not valid TOML: "),
        ("topics = []\ntopics = []\n", "(at line 2"),
    ],
)
def test_mistakes_in_the_file(
    environ: dict[str, str], tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_file(text, environ)
    assert caught.value.message.startswith(f"{tmp_path}/test.toml:")
    assert message.format(tmp=tmp_path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_text(environ: dict[str, str]) -> None:
    Path("test.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load(["--config", "test.toml"], environ)


def test_secrets_are_shown_nowhere(environ: dict[str, str]) -> None:
    flags = ["--topic", "tell nobody", "--mqtt-server", "wss://me:pass%20word@h.example/x"]
    config = load(flags, environ)
    for shown in (repr(config), to_toml(config), *map(str, config.mqtt_servers)):
        assert not any(secret in shown for secret in ("tell nobody", "me:", "pass", "word"))
    with pytest.raises(ConfigError) as caught:
        load(["--mqtt-server", "mqtt://me:pass/word@h:x"], environ)
    assert "pass" not in caught.value.message


@given(st.text(max_size=40))
def test_any_text_is_a_server_or_a_mistake(text: str) -> None:
    try:
        server = parse_mqtt_server(text)
    except ValueError:
        return
    assert 1 <= server.port <= 65535
    assert parse_mqtt_server(str(server)).host == server.host


def test_printed_configuration_reads_back(environ: dict[str, str], share: Path) -> None:
    odd = share / 'quo"te\\ \x7f\n'
    odd.mkdir()
    flags = ["--share-dir", str(odd), "--port", "0", "--no-mdns", "--bind", "::1"]
    config = load(flags, environ)
    text = to_toml(config)
    assert tomllib.loads(text)["shares"][0]["path"] == str(odd)
    again = load_file(text, environ)
    assert to_toml(again) == text
    assert again.shares == config.shares


def test_main_answers_without_starting(
    capsys: pytest.CaptureFixture[str], share: Path, tmp_path: Path
) -> None:
    file = tmp_path / "test.toml"
    file.write_text("")
    common = ["--config", str(file), "--share-dir", str(share)]
    assert main([*common, "--check-config"]) == 0
    assert str(file) in capsys.readouterr().out
    assert main([*common, "--print-config"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["shares"][0]["name"] == "Music"


def test_main_tells_mistakes_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--share-dir", "/no\nsuch", "--check-config"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "hdpd: --share-dir: /no such: there is no such directory\n"


def test_what_is_left_out_and_how_often_shares_are_looked_through(
    environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "h.toml"
    assert "*.part" in load([], environ).ignore
    for text, seconds in (("auto", None), ("never", math.inf), ("15m", 900.0), ("7d", 604800.0)):
        file.write_text(
            f'ignore = ["*.bak"]\n[[shares]]\npath = "{tmp_path}"\nname = "S"\n'
            f'ignore = ["/a", "!b"]\nrescan = "{text}"\n'
        )
        config = load(["--config", str(file)], environ)
        assert config.ignore == ("*.bak",)
        assert config.shares == (ShareConfig("S", tmp_path, ignore=("/a", "!b"), rescan=seconds),)
        assert f'rescan = "{text}"' in to_toml(config)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('rescan = "often"', "S: 'often' is not an interval; write auto, never"),
        ('rescan = "5s"', "at least a minute"),
        ('ignore = ["!"]', "S: '!' is not a pattern"),
        ('ignore = ["*a*b*c*d*e"]', "stars"),
    ],
)
def test_mistakes_in_them_are_told(
    environ: dict[str, str], tmp_path: Path, line: str, complaint: str
) -> None:
    file = tmp_path / "h.toml"
    file.write_text(f'[[shares]]\npath = "{tmp_path}"\nname = "S"\n{line}\n')
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load(["--config", str(file)], environ)
