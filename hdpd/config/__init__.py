"""Flags, hdpd.toml and the environment become one frozen, validated `Config`.

Flags win over the file, the file over the defaults; a list given by flags replaces the file's.
"""

from hdpd.config.limits import Limits, LimitsConfig, Span
from hdpd.config.resolve import Config, load
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
    "changes.KEYS",
    "changes.changed_fields",
    "command_line",
    "limits",
    "peer_rules.PeerRules",
    "resolve.resolve",
    "sizes.Reserve",
    "sizes.shown_size",
    "toml.to_toml",
)
