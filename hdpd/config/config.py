"""The table of settings: each field of `Config` with its key, flag, kind, default, and whether a
reload takes it over.

Whatever knows the settings is made from it or held against it by a test: the keys of the files, the
flags and `--help`, `--print-config`, docs/hdpd.toml and the manual, and what a reload takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from hdpd.config import directories, values
from hdpd.config.destinations import Destination, Destinations
from hdpd.config.kinds import (
    AddedItems,
    Choice,
    Directory,
    Items,
    Number,
    OptionalDirectory,
    OptionalFile,
    Servers,
    Switch,
    Text,
)
from hdpd.config.limit_settings import LimitTables
from hdpd.config.limits import LimitsConfig
from hdpd.config.peer_rules import PeerRule, Peers, format_quota, parse_quota
from hdpd.config.setting import (
    NETWORK,
    OPERATION,
    SHARING,
    Computed,
    Flag,
    Setting,
    Surroundings,
    setting,
)
from hdpd.config.shares import Shares
from hdpd.config.sizes import Reserve, parse_reserve
from hdpd.config.values import (
    ControlAddress,
    HostPort,
    MqttServer,
    ShareConfig,
    TcpAddress,
    UnixAddress,
)
from hdpd.errors import ConfigError

QuicEngine = Literal["qh3", "aioquic"]
LogLevel = Literal["debug", "info", "warning", "error"]


def _listen(around: Surroundings) -> tuple[ControlAddress, ...]:
    socket = directories.runtime(around.environ, around.state_dir) / "hdpd.sock"
    return TcpAddress("127.0.0.1", 3030), TcpAddress("::1", 3030), UnixAddress(socket)


def _log_level(around: Surroundings) -> LogLevel:
    wanted = around.environ.get("HDPD_LOG_LEVEL") or "info"
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    for level in levels:
        if level == wanted.lower():
            return level
    raise ConfigError(f"HDPD_LOG_LEVEL: {wanted!r} is not one of {', '.join(levels)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything hdpd was told. All paths are absolute; an empty tuple of servers means none."""

    topics: tuple[str, ...] = setting(
        "topics",
        AddedItems(values.parse_topic, show=values.shown_topic),
        default=(),
        flag=Flag("--topic", "NAME", SHARING, "meet everyone who uses this name"),
        reloadable=True,
        secret=True,  # whoever knows the name of a topic may enter it
    )
    shares: tuple[ShareConfig, ...] = setting(
        "shares",
        Shares(),
        default=(),
        flag=Flag(
            "--share-dir",
            "[NAME=]DIR",
            SHARING,
            "offer this directory, as NAME or under its own name",
        ),
        reloadable=True,
    )
    ignore: tuple[str, ...] = setting(  # of all shares, as lines of a .gitignore
        "ignore",
        Items(values.parse_pattern),
        # What other programs have not finished, or made for themselves.
        default=("*.part", "*.crdownload", "*~", "Thumbs.db", "@eaDir/", "lost+found/"),
        reloadable=True,
    )
    download_dir: Path = setting(
        "download_dir",
        Directory(),
        default=Computed(
            lambda around: directories.downloads(around.environ, around.state_dir), "~/Downloads"
        ),
        flag=Flag("--download-dir", "DIR", SHARING, "where downloads go"),
    )
    incomplete_dir: Path | None = setting(  # None: beside what is finished
        "incomplete_dir", OptionalDirectory(), default=None
    )
    state_dir: Path = setting(
        "state_dir",
        Directory(),
        default=Computed(lambda around: around.state_dir),
        flag=Flag("--state-dir", "DIR", SHARING, "where hdpd keeps its key, queue and index"),
    )
    log_level: LogLevel = setting(
        "log_level",
        Choice(LogLevel),
        default=Computed(_log_level, "info"),
        flag=Flag("--log-level", "", OPERATION, "how much is logged"),
        reloadable=True,
    )

    port: int = setting(  # UDP; 0 is any free one
        "network.port",
        Number(0, 65535),
        default=3031,
        flag=Flag("--port", "N", NETWORK, "the UDP port for peers, 0 for any"),
    )
    bind: tuple[str, ...] = setting(  # IP literals and names of interfaces; empty is all
        "network.bind",
        Items(values.parse_bind),
        default=(),
        flag=Flag("--bind", "ADDR", NETWORK, "use this address or interface, instead of all"),
    )
    exclude: tuple[str, ...] = setting(  # interfaces and networks
        "network.exclude",
        Items(values.parse_excluded),
        default=(),
    )
    lan_only: bool = setting(  # no brokers, no STUN, no port mapping, nobody behind a router
        "network.lan_only",
        Switch(),
        default=False,
    )
    announce: tuple[HostPort, ...] = setting(  # where somebody forwards to this peer by hand
        "network.announce",
        Items(values.parse_announced),
        default=(),
    )
    mdns: bool = setting(
        "network.mdns",
        Switch(),
        default=True,
        flag=Flag("--no-mdns", "", NETWORK, "no search on the LAN"),
    )
    mqtt_servers: tuple[MqttServer, ...] = setting(
        "network.mqtt_servers",
        Servers(values.parse_mqtt_server, show=values.shown_mqtt_server),
        default=(MqttServer("mqtt", "broker.hivemq.com", 1883),),
        flag=Flag(
            "--mqtt-server",
            "URL|HOST[:PORT]|none",
            NETWORK,
            "the broker to meet at: mqtt://, mqtts://, ws:// or wss://",
        ),
    )
    stun_servers: tuple[HostPort, ...] = setting(
        "network.stun_servers",
        Servers(values.parse_stun_server),
        # Of several operators: what two of them see tells an easy NAT from a hard one, and any of
        # them may be away or blocked.
        default=(
            HostPort("stun.cloudflare.com", 3478),
            HostPort("stun.l.google.com", 19302),
            HostPort("stun.nextcloud.com", 3478),
            HostPort("stun.sipgate.net", 3478),
        ),
        flag=Flag(
            "--stun-server",
            "HOST[:PORT]|none",
            NETWORK,
            "who tells this machine its public address",
        ),
    )
    port_mapping: bool = setting(  # asks the router to forward the port
        "network.port_mapping",
        Switch(),
        default=True,
        flag=Flag(
            "--no-port-mapping",
            "",
            NETWORK,
            "do not ask the router to forward the port (PCP, NAT-PMP, UPnP)",
        ),
    )
    quic_engine: QuicEngine = setting(
        "network.quic_engine",
        Choice(QuicEngine),
        default="qh3",
        flag=Flag("--quic-engine", "", NETWORK, "the QUIC library"),
    )

    control: tuple[ControlAddress, ...] = setting(
        "control.listen",
        Items(values.parse_control_address),
        default=Computed(
            _listen, "127.0.0.1:3030, [::1]:3030, and hdpd.sock in the runtime directory"
        ),
        flag=Flag(
            "--control",
            "[https://]HOST:PORT|unix:PATH",
            OPERATION,
            "where hdpctl and browsers connect",
        ),
    )
    control_names: tuple[str, ...] = setting(  # further host names that it answers to
        "control.hostnames",
        Items(values.parse_host),
        default=(),
    )
    trusted_proxies: tuple[str, ...] = setting(  # whose X-Forwarded headers are believed
        "control.trusted_proxies",
        Items(values.parse_network),
        # Whoever runs programs here can ask hdpd by himself, and still needs a token.
        default=("127.0.0.0/8", "::1/128"),
    )
    base_path: str = setting(  # below which a proxy has put the page
        "control.base_path",
        Text(values.parse_base_path),
        default="",
    )
    # In PEM, for https; both or neither, and without them one is made.
    control_certificate: Path | None = setting("control.certificate", OptionalFile(), default=None)
    control_key: Path | None = setting("control.key", OptionalFile(), default=None)

    upload_slots: int = setting(
        "transfers.upload_slots",
        Number(1, 256),  # each holds an open file and a few MiB in flight
        # A few at once fill a home line, and one slow reader leaves the others their turn.
        default=4,
        reloadable=True,
    )
    min_free: Reserve = setting(  # of each volume that downloads are written to
        "transfers.min_free",
        Text(parse_reserve),
        # A system on the same disk goes on to work: its logs, its databases, its updates.
        default=Reserve(bytes=1000**3),
        reloadable=True,
    )
    daily_quota: int | None = setting(  # bytes to each peer for which there is no other
        "transfers.daily_quota",
        Text(parse_quota, show=format_quota),
        default=None,
        reloadable=True,
    )

    # How long finished downloads stay in the list, in seconds; None: until they are cleared.
    clear_finished: float | None = setting(
        "transfers.clear_finished",
        Text(values.parse_age, show=values.format_age, toml=str | int),
        default=None,
    )
    destinations: tuple[Destination, ...] = setting("destinations", Destinations(), default=())

    peers: tuple[PeerRule, ...] = setting("peers", Peers(), default=(), reloadable=True)
    limits: LimitsConfig = setting("limits", LimitTables(), default=LimitsConfig(), reloadable=True)

    config_files: tuple[Path, ...]  # where it was read from, the weakest first; no setting


SETTINGS: Final[tuple[Setting[Any], ...]] = tuple(
    replace(each.metadata[Setting], field=each.name)
    for each in fields(Config)
    if Setting in each.metadata
)


def changed(old: Config, new: Config) -> list[Setting[Any]]:
    """The settings whose values differ."""
    return [each for each in SETTINGS if getattr(old, each.field) != getattr(new, each.field)]
