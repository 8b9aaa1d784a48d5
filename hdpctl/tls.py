"""TLS to hdpd: certificates that the system trusts, or the one that its owner has compared."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl


class WrongCertificate(ssl.SSLError):
    """The certificate is another one than at the login."""


def wrap(sock: socket.socket, host: str, fingerprint: str) -> ssl.SSLSocket:
    """TLS over a connected socket; with a `fingerprint` that very certificate is needed, whoever
    signed it.

    Raises ssl.SSLError, or another OSError.
    """
    if not fingerprint:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    wrapped = _unverified().wrap_socket(sock, server_hostname=host)
    if not hmac.compare_digest(fingerprint_of(wrapped), fingerprint):
        wrapped.close()
        raise WrongCertificate("its certificate is another one than at the login")
    return wrapped


def look_at(sock: socket.socket, host: str) -> str:
    """The fingerprint of whatever certificate is shown; raises as `wrap` does."""
    with _unverified().wrap_socket(sock, server_hostname=host) as wrapped:
        return fingerprint_of(wrapped)


def fingerprint_of(wrapped: ssl.SSLSocket) -> str:
    """The SHA-256 of the certificate, as hdpd and browsers write it."""
    certificate = wrapped.getpeercert(binary_form=True) or b""
    return hashlib.sha256(certificate).hexdigest().upper()


def colons(fingerprint: str) -> str:
    """The fingerprint as people compare it."""
    return ":".join(fingerprint[i : i + 2] for i in range(0, len(fingerprint), 2))


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
