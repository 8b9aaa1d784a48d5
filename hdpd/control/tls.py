"""The certificate of the control interface: the owner's own, or one that is made here."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from hdpd.errors import StartError

log = logging.getLogger(__name__)

CERTIFICATE_FILE = "control-certificate.pem"
KEY_FILE = "control-key.pem"
# People compare its fingerprint once, so it should not change under them.
LIFETIME = datetime.timedelta(days=3650)


class CertificateFiles(Struct, frozen=True):
    """PEM files: the certificate, with those between it and its root if any, and its key."""

    certificate: Path
    key: Path

    def check(self) -> str:
        """The certificate's SHA-256 fingerprint, as browsers show it.

        Raises:
            StartError: the files can't be used; the message says why.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StartError(
                f"the certificate {self.certificate} with the key {self.key} cannot be used: "
                f"{reason}"
            ) from None
        return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def self_signed(directory: Path, names: frozenset[str]) -> CertificateFiles:
    """The certificate kept in `directory`; it is made for those host names when there is none.

    Raises:
        StartError: it can't be written.
    """
    files = CertificateFiles(directory / CERTIFICATE_FILE, directory / KEY_FILE)
    if not (files.certificate.exists() and files.key.exists()):
        try:
            _make(files, names)
        except OSError as error:
            raise StartError(f"cannot write {error.filename}: {error.strerror}") from None
        log.info("made a certificate for the control interface: %s", files.certificate)
    return files


def _make(files: CertificateFiles, names: frozenset[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64])])
    now = datetime.datetime.now(datetime.UTC)
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
        *(x509.DNSName(each) for each in sorted(names) if each.isascii()),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(files.key, secret)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
