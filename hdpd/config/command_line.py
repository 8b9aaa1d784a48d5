"""The command line of hdpd."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NoReturn, get_args

from hdpd import __version__
from hdpd.config.file import LogLevel, QuicEngine
from hdpd.errors import ConfigError

Action = Literal["run", "check-config", "print-config"]


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line said; None is what it left to the file and the defaults."""

    action: Action
    config: Path | None
    topic: list[str] | None
    share_dir: list[str] | None
    download_dir: str | None
    state_dir: str | None
    mqtt_server: list[str] | None
    stun_server: list[str] | None
    port_mapping: bool | None
    mdns: bool | None
    port: int | None
    bind: list[str] | None
    control: list[str] | None
    quic_engine: QuicEngine | None
    log_level: LogLevel | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see hdpd --help")


def parse(argv: Sequence[str]) -> Arguments:
    """Reads the flags; exits after `--help` and `--version`.

    Raises ConfigError for a flag that does not exist or lacks a value.
    """
    namespace = parser().parse_args(argv)
    return Arguments(**{field.name: getattr(namespace, field.name) for field in fields(Arguments)})


def parser() -> argparse.ArgumentParser:
    """The parser itself, also for the manual page and the completions."""
    flags = _Parser(
        prog="hdpd",
        description="Share directories with everyone who knows the name of a topic.",
        epilog="Flags win over the configuration file; a list of flags replaces the file's list. "
        "The file is /etc/hdpd/hdpd.toml, else $XDG_CONFIG_HOME/hdpd/hdpd.toml. "
        "HDPD_LOG_LEVEL sets the default log level.",
        allow_abbrev=False,
    )
    add = flags.add_argument
    add("--version", action="version", version=f"hdpd {__version__}")
    add("--config", metavar="FILE", type=Path, help="the configuration file, instead of the usual")

    meet = flags.add_argument_group("what is shared, and with whom")
    add = meet.add_argument
    add("--topic", metavar="NAME", action="append", help="meet everyone who uses this name")
    add(
        "--share-dir",
        metavar="[NAME=]DIR",
        action="append",
        help="offer this directory, as NAME or under its own name",
    )
    add("--download-dir", metavar="DIR", help="where downloads go (~/Downloads)")
    add("--state-dir", metavar="DIR", help="where hdpd keeps its key, queue and index")

    network = flags.add_argument_group("how peers are found and reached")
    add = network.add_argument
    add(
        "--mqtt-server",
        metavar="URL|HOST[:PORT]|none",
        action="append",
        help="the broker to meet at: mqtt://, mqtts://, ws:// or wss:// (broker.hivemq.com:1883)",
    )
    add(
        "--stun-server",
        metavar="HOST[:PORT]|none",
        action="append",
        help="who tells this machine its public address",
    )
    add(
        "--no-port-mapping",
        dest="port_mapping",
        action="store_false",
        default=None,
        help="do not ask the router to forward the port (PCP, NAT-PMP, UPnP)",
    )
    add("--no-mdns", dest="mdns", action="store_false", default=None, help="no search on the LAN")
    add("--port", metavar="N", type=int, help="the UDP port for peers, 0 for any (3031)")
    add("--bind", metavar="ADDR", action="append", help="use this address of the machine (all)")
    add("--quic-engine", choices=get_args(QuicEngine), help="the QUIC library (qh3)")

    operation = flags.add_argument_group("operation")
    add = operation.add_argument
    add(
        "--control",
        metavar="[https://]HOST:PORT|unix:PATH",
        action="append",
        help="where hdpctl and browsers connect "
        "(127.0.0.1:3030, [::1]:3030, and hdpd.sock in the runtime directory)",
    )
    add("--log-level", choices=get_args(LogLevel), help="how much is logged (info)")
    add(
        "-v",
        "--verbose",
        dest="log_level",
        action="store_const",
        const="debug",
        help="the same as --log-level debug",
    )
    add(
        "--check-config",
        dest="action",
        action="store_const",
        const="check-config",
        default="run",
        help="check the configuration and exit",
    )
    add(
        "--print-config",
        dest="action",
        action="store_const",
        const="print-config",
        help="print the configuration in effect as TOML, without secrets, and exit",
    )
    return flags
