"""What differs between two configurations, by the keys of the file. Pure."""

from __future__ import annotations

from typing import Final

from hdpd.config.resolve import Config

# Field of `Config` -> key of the file; the files' names themselves are no setting.
KEYS: Final = {
    "topics": "topics",
    "shares": "shares",
    "ignore": "ignore",
    "download_dir": "download_dir",
    "state_dir": "state_dir",
    "log_level": "log_level",
    "port": "network.port",
    "bind": "network.bind",
    "mdns": "network.mdns",
    "mqtt_servers": "network.mqtt_servers",
    "stun_servers": "network.stun_servers",
    "port_mapping": "network.port_mapping",
    "quic_engine": "network.quic_engine",
    "control": "control.listen",
    "control_names": "control.hostnames",
    "control_certificate": "control.certificate",
    "upload_slots": "transfers.upload_slots",
    "peers": "peers",
    "daily_quota": "transfers.daily_quota",
    "min_free": "transfers.min_free",
    "limits": "limits",
}


def changed_fields(old: Config, new: Config) -> list[str]:
    """The fields of `Config` whose values differ."""
    return [field for field in KEYS if getattr(old, field) != getattr(new, field)]
