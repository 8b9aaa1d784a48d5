"""Where hdpd listens: the address given, or the usual places; a socket connected to one."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hdpctl.errors import ConnectError

CONNECT_TIMEOUT_S = 10.0
SYSTEM_SOCKET = "/run/hdpd/hdpd.sock"
DEFAULT_PORT = 3030


@dataclass(frozen=True, slots=True)
class Server:
    """One address of hdpd. `path` is the socket's path for `unix`, else the URL's path prefix.

    `token` and `fingerprint` (of its certificate) are what a login has stored.
    """

    scheme: str
    path: str
    host: str = "localhost"
    port: int = 0
    token: str = field(default="", compare=False, repr=False)
    fingerprint: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port as a URL writes them."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url_path(self, path: str) -> str:
        """The path of a request for `path`, below the prefix that a reverse proxy may add."""
        return path if self.scheme == "unix" else self.path + path

    def connect(self) -> socket.socket:
        """Open a socket to this address, with TLS where it is wanted.

        Raises OSError, ssl.SSLError among them.
        """
        sock = self.connect_plainly()
        if self.scheme != "https":
            return sock
        from hdpctl.tls import wrap  # noqa: PLC0415 - few need it, and it takes time

        try:
            return wrap(sock, self.host, self.fingerprint)
        except OSError:
            sock.close()
            raise

    def connect_plainly(self) -> socket.socket:
        """Open a socket to this address, without TLS; raises OSError."""
        if self.scheme != "unix":
            sock = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)
            # A machine that went away is noticed although some answers may take for ever.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock


def parse_server(text: str) -> Server:
    """Read `unix:PATH` or a URL such as `http://nas.local:3030`.

    Raises ValueError with a line for a person.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError("unix: needs the path of a socket, as in unix:/run/hdpd/hdpd.sock")
        return Server("unix", path)
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        guess = "" if "://" in text else f"; did you mean http://{text} or unix:{text}?"
        raise ValueError(f"{text!r} is neither an http(s) URL nor unix:PATH{guess}")
    if url.username is not None or url.query or url.fragment:
        raise ValueError(f"{text!r}: only scheme, host, port and path are meant here")
    try:
        port = url.port
    except ValueError:
        raise ValueError(f"{text!r}: the port is not a number from 0 to 65535") from None
    if port is None:
        port = DEFAULT_PORT if url.scheme == "http" else 443
    return Server(url.scheme, url.path.rstrip("/"), url.hostname, port)


def usual_servers(environ: Mapping[str, str]) -> list[Server]:
    """The places to try, in this order, when no address is given."""
    servers = [Server("unix", SYSTEM_SOCKET)]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        servers.append(Server("unix", f"{runtime}/hdpd.sock"))
    return [*servers, Server("http", "", "127.0.0.1", DEFAULT_PORT)]


class Route:
    """The way to hdpd: tries its servers in order and stays with the first that answers."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = list(servers)
        self.denied: Server | None = None

    @property
    def server(self) -> Server:
        """The server in use (the first candidate before the first `connect`)."""
        return self.servers[0]

    def connect(self) -> socket.socket:
        """Open a socket to the first server that takes it.

        Raises ConnectError with what was tried and what to do.
        """
        failures: list[tuple[Server, OSError]] = []
        for server in self.servers:
            try:
                sock = server.connect()
            except OSError as error:
                failures.append((server, error))
                if isinstance(error, PermissionError):
                    self.denied = server
            else:
                self.servers = [server]
                return sock
        raise ConnectError(self._explain(failures))

    def tokenless_hint(self) -> str:
        """What to add to "a token is wanted" when a socket would have done without one."""
        return f" (or join the group that owns {self.denied.path})" if self.denied else ""

    def _explain(self, failures: Sequence[tuple[Server, OSError]]) -> str:
        hint = "is hdpd running?"
        if self.denied:
            hint = "are you in the group hdpd? (`sudo adduser $USER hdpd`, then log in again)"
        if len(failures) == 1:
            server, error = failures[0]
            return f"cannot connect to {server}: {_reason(error)}; {hint}"
        tried = ", ".join(f"{server} ({_reason(error)})" for server, error in failures)
        return f"cannot connect to hdpd; {hint} Tried {tried}; --server names another address"


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if reason := getattr(error, "verify_message", None):
        return f"its certificate is not trusted ({reason}); `hdpctl login URL` can trust it"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_TIMEOUT_S:.0f} s"
    if isinstance(error, socket.gaierror):
        return "unknown host"
    return error.strerror or str(error)
