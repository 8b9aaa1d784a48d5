"""Picks each value from flag, file or default, and names the one that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar, get_args

from hdpd.config import command_line, directories, limit_settings, peer_rules, shares, values
from hdpd.config.command_line import Arguments
from hdpd.config.file import LogLevel, QuicEngine
from hdpd.config.layers import Layers
from hdpd.config.layers import read as read_layers
from hdpd.config.limits import LimitsConfig
from hdpd.config.peer_rules import PeerRule, parse_quota
from hdpd.config.sizes import Reserve, parse_reserve
from hdpd.config.values import (
    ControlAddress,
    HostPort,
    MqttServer,
    ShareConfig,
    TcpAddress,
    UnixAddress,
)
from hdpd.errors import ConfigError, TopicInvalid
from hdpd.identity.topics import normalise

DEFAULT_PORT: Final = 3031
DEFAULT_CONTROL: Final = (TcpAddress("127.0.0.1", 3030), TcpAddress("::1", 3030))
DEFAULT_MQTT_SERVERS: Final = (MqttServer("mqtt", "broker.hivemq.com", 1883),)
# Of several operators: what two of them see tells an easy NAT from a hard one, and any of them may
# be away or blocked.
DEFAULT_STUN_SERVERS: Final = (
    HostPort("stun.cloudflare.com", 3478),
    HostPort("stun.l.google.com", 19302),
    HostPort("stun.nextcloud.com", 3478),
    HostPort("stun.sipgate.net", 3478),
)
# A few at once fill a home line, and one slow reader leaves the others their turn.
DEFAULT_UPLOAD_SLOTS: Final = 4
# A system on the same disk goes on to work: its logs, its databases, its updates.
DEFAULT_MIN_FREE: Final = Reserve(bytes=1000**3)
# Each holds an open file and a few MiB in flight.
MAX_UPLOAD_SLOTS: Final = 256
# What other programs have not finished, or made for themselves.
DEFAULT_IGNORE: Final = ("*.part", "*.crdownload", "*~", "Thumbs.db", "@eaDir/", "lost+found/")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything hdpd was told. All paths are absolute; an empty tuple of servers means none."""

    topics: tuple[str, ...] = field(repr=False)  # whoever knows the name of a topic may enter it
    shares: tuple[ShareConfig, ...]
    ignore: tuple[str, ...]  # what is left out of all shares, as lines of a .gitignore
    download_dir: Path
    state_dir: Path
    mqtt_servers: tuple[MqttServer, ...]
    stun_servers: tuple[HostPort, ...]
    port_mapping: bool  # asks the router to forward the port
    mdns: bool
    port: int  # UDP; 0 is any free one
    bind: tuple[str, ...]  # IP literals; empty is every address of the machine
    control: tuple[ControlAddress, ...]
    control_names: tuple[str, ...]  # further host names that the control interface answers to
    control_certificate: tuple[Path, Path] | None  # with its key, for https; None: one is made
    quic_engine: QuicEngine
    log_level: LogLevel
    upload_slots: int
    peers: tuple[PeerRule, ...]
    daily_quota: int | None  # bytes to each peer for which there is no other
    min_free: Reserve  # of each volume that downloads are written to
    limits: LimitsConfig
    config_files: tuple[Path, ...]  # where it was read from, the weakest first


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The configuration of `hdpd ARGV` in that environment.

    Raises ConfigError, whose one line names the flag or the file's key and says what is wrong.
    """
    return resolve(command_line.parse(argv), environ)


def resolve(flags: Arguments, environ: Mapping[str, str]) -> Config:
    """The configuration with everything filled in; raises ConfigError as `load` does."""
    layers = read_layers(flags.config, environ)

    def pick(flag: str, told: Value | None, key: str) -> _Given[Value] | None:
        if told is not None:
            return _Given(flag, Path.cwd(), told)
        if (found := layers.last(key)) is not None:
            path, value = found
            return _Given(f"{path}: {key}", path.parent, value)
        return None

    ignore: _Given[list[str]] | None = pick("", None, "ignore")
    state_dir = _directory(pick("--state-dir", flags.state_dir, "state_dir"), environ)
    state_dir = state_dir or directories.state(environ)
    download_dir = _directory(pick("--download-dir", flags.download_dir, "download_dir"), environ)
    mqtt_servers = pick("--mqtt-server", flags.mqtt_server, "network.mqtt_servers")
    stun_servers = pick("--stun-server", flags.stun_server, "network.stun_servers")
    port = pick("--port", flags.port, "network.port")
    bind = pick("--bind", flags.bind, "network.bind")
    mdns = pick("--no-mdns", flags.mdns, "network.mdns")
    port_mapping = pick("--no-port-mapping", flags.port_mapping, "network.port_mapping")
    engine: _Given[QuicEngine] | None = pick(
        "--quic-engine", flags.quic_engine, "network.quic_engine"
    )
    listen = pick("--control", flags.control, "control.listen")
    hostnames: _Given[list[str]] | None = pick("", None, "control.hostnames")
    slots: _Given[int] | None = pick("", None, "transfers.upload_slots")
    daily_quota: _Given[str] | None = pick("", None, "transfers.daily_quota")
    min_free: _Given[str] | None = pick("", None, "transfers.min_free")
    log_level: _Given[LogLevel] | None = pick("--log-level", flags.log_level, "log_level")
    socket = UnixAddress(directories.runtime(environ, state_dir) / "hdpd.sock")
    return Config(
        topics=_topics(flags, layers),
        shares=_shares(flags, layers, environ),
        ignore=_items(ignore, values.parse_pattern, DEFAULT_IGNORE),
        download_dir=download_dir or directories.downloads(environ, state_dir),
        state_dir=state_dir,
        mqtt_servers=_servers(mqtt_servers, values.parse_mqtt_server, DEFAULT_MQTT_SERVERS),
        stun_servers=_servers(stun_servers, values.parse_stun_server, DEFAULT_STUN_SERVERS),
        mdns=mdns.value if mdns else True,
        port_mapping=port_mapping.value if port_mapping else True,
        port=_number(port, 0, 65535, DEFAULT_PORT),
        bind=_items(bind, values.parse_ip, ()),
        control=_items(listen, values.parse_control_address, (*DEFAULT_CONTROL, socket)),
        control_names=_items(hostnames, values.parse_host, ()),
        control_certificate=_certificate(layers, environ),
        quic_engine=engine.value if engine else "qh3",
        log_level=log_level.value if log_level else _default_log_level(environ),
        upload_slots=_number(slots, 1, MAX_UPLOAD_SLOTS, DEFAULT_UPLOAD_SLOTS),
        peers=peer_rules.from_files(layers.peers()),
        daily_quota=_parsed(daily_quota, parse_quota, None),
        min_free=_parsed(min_free, parse_reserve, DEFAULT_MIN_FREE),
        limits=limit_settings.from_files(layers),
        config_files=layers.paths,
    )


@dataclass(frozen=True, slots=True)
class _Given(Generic[Value]):
    """A value that was not left to the default; errors about it begin with `where`."""

    where: str
    base: Path  # what relative paths in it are relative to
    value: Value


def _items(
    given: _Given[list[str]] | None, parse: Callable[[str], Value], default: tuple[Value, ...]
) -> tuple[Value, ...]:
    """The parsed items in order, each once."""
    if given is None:
        return default
    try:
        return tuple(dict.fromkeys(parse(text) for text in given.value))
    except ValueError as error:
        raise ConfigError(f"{given.where}: {error}") from None


def _servers(
    given: _Given[list[str]] | None, parse: Callable[[str], Value], default: tuple[Value, ...]
) -> tuple[Value, ...]:
    if given is None or "none" not in given.value:
        return _items(given, parse, default)
    if len(given.value) > 1:
        raise ConfigError(f"{given.where}: 'none' does not go with a server")
    return ()


def _number(given: _Given[int] | None, lowest: int, highest: int, default: int) -> int:
    if given is None:
        return default
    if not lowest <= given.value <= highest:
        raise ConfigError(
            f"{given.where}: {given.value} is not a number from {lowest} to {highest}"
        )
    return given.value


def _parsed(given: _Given[str] | None, parse: Callable[[str], Value], default: Value) -> Value:
    if given is None:
        return default
    try:
        return parse(given.value)
    except ValueError as error:
        raise ConfigError(f"{given.where}: {error}") from None


def _directory(given: _Given[str] | None, environ: Mapping[str, str]) -> Path | None:
    """A directory that hdpd writes to; it need not exist yet."""
    if given is None:
        return None
    path = directories.resolve_path(given.where, given.value, given.base, environ)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{given.where}: {path} is not a directory")
    return path


def _certificate(layers: Layers, environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    """The paths of both PEM files; whether they can be used shows when they are."""
    keys = ("control.certificate", "control.key")
    found = [(key, given) for key in keys if (given := layers.last(key)) is not None]
    if not found:
        return None
    if len(found) == 1:
        raise ConfigError(f"{found[0][1][0]}: control.certificate and control.key go together")
    certificate, key = (
        directories.resolve_path(f"{path}: {name}", value, path.parent, environ)
        for name, (path, value) in found
    )
    return certificate, key


def _topics(flags: Arguments, layers: Layers) -> tuple[str, ...]:
    if flags.topic is not None:
        return _items(_Given("--topic", Path.cwd(), flags.topic), _topic, ())
    found = (
        _items(_Given(f"{path}: topics", path.parent, names), _topic, ())
        for path, names in layers.topics()
    )
    return tuple(dict.fromkeys(itertools.chain.from_iterable(found)))


def _shares(
    flags: Arguments, layers: Layers, environ: Mapping[str, str]
) -> tuple[ShareConfig, ...]:
    if flags.share_dir is not None:
        return shares.from_flags(flags.share_dir, environ)
    return shares.from_files(layers.shares(), environ)


def _topic(text: str) -> str:
    try:
        return normalise(text)
    except TopicInvalid as error:
        raise ValueError(error.message) from None


def _default_log_level(environ: Mapping[str, str]) -> LogLevel:
    wanted = environ.get("HDPD_LOG_LEVEL") or "info"
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    for level in levels:
        if level == wanted.lower():
            return level
    raise ConfigError(f"HDPD_LOG_LEVEL: {wanted!r} is not one of {', '.join(levels)}")
