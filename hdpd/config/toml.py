"""Writes a configuration as an hdpd.toml, without its secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hdpd.config.limits import KEYS, Span, Value, format_days, format_rate, format_time
from hdpd.config.peer_rules import PeerRule
from hdpd.config.resolve import Config
from hdpd.config.sizes import exact_size
from hdpd.config.values import MqttServer, interval_text

SECRET = "***"  # noqa: S105 # what stands in the place of a secret


def to_toml(config: Config) -> str:
    """The configuration in effect; topic names and passwords are replaced by `***`."""
    tables: list[tuple[str, Mapping[str, object]]] = [
        (
            "",
            {
                "topics": [SECRET] * len(config.topics),
                "ignore": config.ignore,
                "download_dir": config.download_dir,
                "state_dir": config.state_dir,
                "log_level": config.log_level,
            },
        ),
        (
            "[network]",
            {
                "port": config.port,
                "bind": config.bind,
                "mdns": config.mdns,
                "mqtt_servers": [_mqtt_url(server) for server in config.mqtt_servers],
                "stun_servers": config.stun_servers,
                "port_mapping": config.port_mapping,
                "quic_engine": config.quic_engine,
            },
        ),
        (
            "[control]",
            {
                "listen": config.control,
                "hostnames": config.control_names,
                **dict(zip(("certificate", "key"), config.control_certificate or (), strict=False)),
            },
        ),
        (
            "[transfers]",
            {
                "upload_slots": config.upload_slots,
                "min_free": config.min_free,
                "daily_quota": _quota(config.daily_quota),
            },
        ),
        ("[limits]", {key: _limit(getattr(config.limits.base, key)) for key in KEYS}),
    ]
    tables += [
        (f'[peers."{rule.id}"]', {"favourite": rule.favourite, **_own_quota(rule)})
        for rule in config.peers
    ]
    tables += [("[[limits.schedule]]", _span(span)) for span in config.limits.schedule]
    tables += [
        (
            "[[shares]]",
            {
                "name": share.name,
                "path": share.path,
                "hidden": share.hidden,
                "ignore": share.ignore,
                "rescan": interval_text(share.rescan),
            },
        )
        for share in config.shares
    ]
    return "\n".join(_table(header, content) for header, content in tables)


def _table(header: str, content: Mapping[str, object]) -> str:
    lines = [header] if header else []
    lines += [f"{key} = {_value(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"


def _quota(quota: int | None) -> str:
    return "none" if quota is None else exact_size(quota)


def _own_quota(rule: PeerRule) -> dict[str, object]:
    return {} if rule.quota is None else {"quota": rule.quota}


def _span(span: Span) -> dict[str, object]:
    times = {"from": format_time(span.start), "to": format_time(span.end)}
    return {"days": format_days(span.days), **times} | {k: _limit(v) for k, v in span.changes}


def _limit(value: Value) -> str | bool:
    return value if isinstance(value, bool) else format_rate(value)


def _value(value: object) -> str:
    match value:
        case bool() | int():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return _string(str(value))


def _string(text: str) -> str:
    # Bytes of a path that are not UTF-8 cannot be written in TOML; they are shown as \udcXX. JSON's
    # escapes are TOML's, except that JSON leaves DEL as it is.
    printable = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps(printable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mqtt_url(server: MqttServer) -> str:
    if server.user is None and server.password is None:
        return str(server)
    scheme, separator, location = str(server).partition("://")
    return f"{scheme}{separator}{SECRET}@{location}"
