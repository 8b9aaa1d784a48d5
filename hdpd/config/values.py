"""The parts of a configuration and how each is read from text: servers, addresses and ports.

Every parser raises ValueError with what is wrong and what would be right, for a person to read; no
message and no `repr` shows a password.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct

from hdpd.errors import TopicInvalid
from hdpd.identity.topics import normalise
from hdpd.ignore import patterns_of

SECRET: Final = "***"  # noqa: S105 # what stands in the place of a secret

MQTT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
MQTT_WEBSOCKET_PATH: Final = "/mqtt"
_TLS_FILES: Final = ("ca_file", "certificate", "key")
STUN_PORT: Final = 3478

# sockaddr_un has room for 108 bytes with the closing NUL.
MAX_UNIX_PATH_BYTES: Final = 107

MIN_INTERVAL_S: Final = 60.0
_INTERVALS: Final = {"auto": None, "never": math.inf}
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[^\W_]([\w-]*\w)?(\.[^\W_]([\w-]*\w)?)*\.?")
_INTERFACE = re.compile(r"[^\s/:\[\]]{1,15}")  # IFNAMSIZ less one
_MEANT_AS_IP = re.compile(r"[0-9.]+")


class HostPort(Struct, frozen=True):
    """A host (a name or an IP literal without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TcpAddress(HostPort, frozen=True):
    """Where the control interface listens by TCP; port 0 means any free one."""

    tls: bool = False

    def __str__(self) -> str:
        address = HostPort(self.host, self.port)
        return f"https://{address}" if self.tls else str(address)


class UnixAddress(Struct, frozen=True):
    """Where the control interface listens on a Unix socket."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


ControlAddress = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True)
class MqttServer:
    """A broker. `path` is for `ws` and `wss` only; the credentials are shown nowhere. For TLS,
    `ca_file` replaces the authorities of the system; `certificate` with its `key` is shown to it.
    """

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    path: str = ""
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{HostPort(self.host, self.port)}{self.path}"


class ShareConfig(Struct, frozen=True):
    """A directory that is offered under a name; with `hidden`, dot files in it are too."""

    name: str
    path: Path
    hidden: bool = False
    ignore: tuple[str, ...] = ()  # patterns, besides those for all shares
    rescan: float | None = None  # seconds between looks for changes; None: as needed, inf: never


def parse_port(port: int, lowest: int = 1) -> int:
    """The port, when it is one; with `lowest` 0 the system may choose."""
    if not lowest <= port <= 65535:
        raise ValueError(f"{port} is not a port; a port is a number from {lowest} to 65535")
    return port


def parse_ip(text: str) -> str:
    """An IP literal, with or without brackets, in its usual spelling."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, such as 192.0.2.1 or ::") from None


def parse_bind(text: str) -> str:
    """An IP literal as `parse_ip`, or the name of an interface, whether there is one or not."""
    try:
        return parse_ip(text)
    except ValueError:
        if _INTERFACE.fullmatch(text) and not _MEANT_AS_IP.fullmatch(text):
            return text
    raise ValueError(
        f"{text!r} is not an IP address, such as 192.0.2.1 or ::, or an interface, such as eth0"
    )


def parse_excluded(text: str) -> str:
    """A network such as 10.8.0.0/16, an address, or an interface's name, with `*` and `?`."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        if _INTERFACE.fullmatch(text) and not _MEANT_AS_IP.fullmatch(text):
            return text
    raise ValueError(f"{text!r} is not a network, such as 10.8.0.0/16, or an interface, or docker*")


def parse_network(text: str) -> str:
    """A network such as 10.8.0.0/16, or an address."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not a network, such as 10.8.0.0/16, or an address") from None


def parse_base_path(text: str) -> str:
    """The path without its last slash, "" for the root."""
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise ValueError(f"{text!r} is not a path of a URL, such as /hdp")
    return path


def parse_announced(text: str) -> HostPort:
    """`HOST:PORT`, both of which others can use."""
    return parse_host_port(text)


def parse_host(text: str) -> str:
    """A host name, or an IP literal without brackets."""
    if _HOST_NAME.fullmatch(text):
        return text.lower()
    try:
        return parse_ip(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a host name or an IP address") from None


def parse_host_port(text: str, default_port: int | None = None, lowest_port: int = 1) -> HostPort:
    """`HOST:PORT`, `[IPV6]:PORT`, or just `HOST` when there is a default port."""
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?", text)
    if match is None or not match[1]:
        hint = f"[{text}]:PORT" if text.count(":") > 1 and "[" not in text else "HOST:PORT"
        raise ValueError(f"{text!r} is not an address and a port; write {hint}")
    host = parse_ip(match[1]) if match[1].startswith("[") else parse_host(match[1])
    if match[2] is None and default_port is not None:
        return HostPort(host, default_port)
    if match[2] is None or not re.fullmatch(r"[0-9]{1,9}", match[2]):
        raise ValueError(f"{text!r} needs a port: a number after a colon, such as {host}:3030")
    return HostPort(host, parse_port(int(match[2]), lowest_port))


def parse_stun_server(text: str) -> HostPort:
    """`HOST[:PORT]`."""
    return parse_host_port(text, STUN_PORT)


def parse_mqtt_server(text: str) -> MqttServer:
    """`HOST`, `HOST:PORT` or a URL: `mqtt`, `mqtts`, `ws` or `wss`, with `USER:PASSWORD@`, and
    behind it `?ca_file=PATH&certificate=PATH&key=PATH` for TLS.
    """
    shown = _without_credentials(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "mqtt", text
    rest, _mark, query = rest.partition("?")
    if scheme not in MQTT_PORTS:
        raise ValueError(f"{shown!r} is not an MQTT server; use mqtt://, mqtts://, ws:// or wss://")
    credentials, _at, location = rest.rpartition("@")
    try:
        path = urlsplit(f"{scheme}://{location}").path
    except ValueError:
        raise ValueError(f"{shown!r} is not a URL; IPv6 addresses are written as [::1]") from None
    address = parse_host_port(location.removesuffix(path) if path else location, MQTT_PORTS[scheme])
    websocket = scheme in {"ws", "wss"}
    if path.strip("/") and not websocket:
        raise ValueError(f"{shown!r} has a path; only ws:// and wss:// servers have one")
    user, colon, password = credentials.partition(":")
    return MqttServer(
        scheme=scheme,
        host=address.host,
        port=address.port,
        user=unquote(user) if user else None,
        password=unquote(password) if colon else None,
        path=(path if path.strip("/") else MQTT_WEBSOCKET_PATH) if websocket else "",
        **_tls_files(shown, scheme, query),
    )


def _tls_files(shown: str, scheme: str, query: str) -> dict[str, str]:
    try:
        found = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError(f"{shown!r}: what is behind the ? is not NAME=PATH&NAME=PATH") from None
    if unknown := found.keys() - set(_TLS_FILES):
        raise ValueError(f"{shown!r}: {min(unknown)!r} is none of {', '.join(_TLS_FILES)}")
    if found and scheme not in {"mqtts", "wss"}:
        raise ValueError(f"{shown!r} has certificates; they go with mqtts:// and wss://")
    if ("certificate" in found) != ("key" in found):
        raise ValueError(f"{shown!r}: certificate and key go together")
    for name, path in found.items():
        if not Path(path).is_absolute():
            raise ValueError(f"{shown!r}: {name} needs a path that begins with /")
    return found


def shown_mqtt_server(server: MqttServer) -> str:
    """Its URL, without the credentials."""
    files = {name: path for name in _TLS_FILES if (path := getattr(server, name)) is not None}
    url = str(server) + (f"?{urlencode(files, safe='/')}" if files else "")
    if server.user is None and server.password is None:
        return url
    scheme, separator, location = url.partition("://")
    return f"{scheme}{separator}{SECRET}@{location}"


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def parse_control_address(text: str) -> ControlAddress:
    """`HOST:PORT`, `https://HOST:PORT` or `unix:PATH`."""
    if not text.startswith("unix:"):
        tls = text.startswith("https://")
        address = parse_host_port(
            text.removeprefix("https://" if tls else "http://"), lowest_port=0
        )
        return TcpAddress(address.host, address.port, tls)
    path = Path(text.removeprefix("unix:")).absolute()
    if text == "unix:" or "\0" in text:
        raise ValueError(f"{text!r} lacks the path of the socket; write unix:PATH")
    if len(bytes(path)) > MAX_UNIX_PATH_BYTES:
        raise ValueError(
            f"the path of a socket is at most {MAX_UNIX_PATH_BYTES} bytes long, {path} is longer"
        )
    return UnixAddress(path)


def parse_topic(text: str) -> str:
    """The name of a topic in its one spelling."""
    try:
        return normalise(text)
    except TopicInvalid as error:
        raise ValueError(error.message) from None


def shown_topic(_name: str) -> str:
    """A topic is a secret."""
    return SECRET


def parse_pattern(text: str) -> str:
    """A line as in a `.gitignore` file."""
    patterns_of((text,))
    return text


def parse_interval(text: str) -> float | None:
    """Seconds of `90s`, `15m`, `1h`, `7d`; infinity for `never`, None for `auto`."""
    if text in _INTERVALS:
        return _INTERVALS[text]
    match = _INTERVAL.fullmatch(text)
    if match is None or (seconds := int(match[1]) * _UNITS[match[2]]) < MIN_INTERVAL_S:
        raise ValueError(
            f"{text!r} is not an interval; write auto, never, or a time of at least a minute, "
            "such as 15m, 1h or 7d"
        )
    return float(seconds)


def parse_age(value: str | int) -> float | None:
    """Seconds of `12h`, `7d`, and of `0`; None for `never`."""
    if value == "never":
        return None
    if str(value) == "0":
        return 0.0
    match = _INTERVAL.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not an age; write never, 0, or a time such as 12h or 7d")
    return float(int(match[1]) * _UNITS[match[2]])


def format_age(seconds: float | None) -> str:
    """A text that `parse_age` reads as exactly this age."""
    if seconds is None:
        return "never"
    return _in_units(seconds) if seconds else "0"


def interval_text(seconds: float | None) -> str:
    """An interval as `parse_interval` reads it."""
    for text, value in _INTERVALS.items():
        if value == seconds:
            return text
    assert seconds is not None, "it is among the above"
    return _in_units(seconds)


def _in_units(seconds: float) -> str:
    unit = next(unit for unit in reversed(_UNITS) if seconds % _UNITS[unit] == 0)
    return f"{int(seconds) // _UNITS[unit]}{unit}"
