"""Flags, hdpd.toml and the environment become one frozen, validated `Config`.

Flags win over the file, the file over the defaults; a list given by flags replaces the file's.
Begin reading with `config.py`, the table of all settings.
"""

from hdpd.config.config import Config
from hdpd.config.destinations import Destination
from hdpd.config.limits import Limits, LimitsConfig, Span
from hdpd.config.resolve import load
from hdpd.config.values import (
    ControlAddress,
    HostPort,
    MqttServer,
    ShareConfig,
    TcpAddress,
    UnixAddress,
)

__all__ = [
    "Config",
    "ControlAddress",
    "Destination",
    "HostPort",
    "Limits",
    "LimitsConfig",
    "MqttServer",
    "ShareConfig",
    "Span",
    "TcpAddress",
    "UnixAddress",
    "load",
]

FACE = (
    "command_line",
    "config.changed",
    "limits",
    "peer_rules.PeerRule",
    "peer_rules.PeerRules",
    "resolve.resolve",
    "setting.Setting",
    "sizes.Reserve",
    "sizes.shown_size",
    "toml.to_toml",
)
