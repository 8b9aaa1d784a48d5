"""How clients get in: where control listens, with which certificate, and links that log in."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from hdpd.config import HostPort
from hdpd.control.results import LoginLink
from hdpd.control.sockets import Listeners
from hdpd.control.tokens import Tokens
from hdpd.errors import NotFound


class Access:
    """What may be told of it; before control has started it listens nowhere."""

    def __init__(self, listeners: Listeners, tokens: Tokens) -> None:
        self.tls_fingerprint: str | None = None
        self._listeners = listeners
        self._tokens = tokens

    @property
    def addresses(self) -> list[str]:
        """Where it listens: `http://127.0.0.1:3030`, `unix:/run/hdpd/hdpd.sock`, …"""
        return list(self._listeners.addresses)

    @property
    def waiting(self) -> list[str]:
        """Where it will listen as soon as this machine has the address."""
        return [str(address) for address in self._listeners.waiting]

    def login_link(self) -> LoginLink:
        """A link that logs one browser in.

        Raises:
            NotFound: there is no TCP address, so no page.
        """
        if not self._listeners.urls:
            raise NotFound("hdpd listens on no TCP address, so there is no page to log in to")
        code, expires = self._tokens.new_code()
        # A fragment is never sent to a server, so it is in no log.
        return LoginLink(url=f"{_reachable(self._listeners.urls[0])}/#code={code}", expires=expires)


def _reachable(url: str) -> str:
    """The URL as another machine can use it: not with the address that means all of ours."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    if ipaddress.ip_address(parts.hostname.partition("%")[0]).is_unspecified:
        return f"{parts.scheme}://{HostPort(socket.gethostname(), parts.port)}"
    return url
