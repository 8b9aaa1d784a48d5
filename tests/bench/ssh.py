"""scp from an sshd with a configuration and keys of its own, as a yardstick.

Nothing of the machine's own ssh is read or changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measuring import running
from tests.e2e.harness import free_port
from tests.nat.lab import program_path
from tests.waiting import wait_for

# sshd wants this empty directory where it runs as root; the system's service makes it at its start.
PRIVILEGE_SEPARATION = Path("/run/sshd")


def make_keys(root: Path) -> None:
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", f"{root}/{name}"]
        subprocess.run(command, check=True)


def sshd_command(root: Path, address: str, port: int) -> list[str]:
    """Runs in the foreground and lets in whoever has `root`/user, as the one who runs this."""
    configuration = root / "sshd_config"
    configuration.write_text(
        f"ListenAddress {address}\nPort {port}\nHostKey {root}/host\nPidFile none\n"
        f"AuthorizedKeysFile {root}/user.pub\nStrictModes no\nUsePAM no\nPrintMotd no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    program = program_path("sshd")  # it starts itself anew, and so wants its whole path
    assert program is not None
    return [program, "-D", "-e", "-f", str(configuration)]


def scp_command(root: Path, address: str, port: int, source: Path, target: Path) -> list[str]:
    options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "LogLevel=ERROR", "BatchMode=yes")
    chosen = [part for option in options for part in ("-o", option)]
    return [
        *("scp", "-q", "-r", "-F", "none", *chosen, "-o", f"UserKnownHostsFile={root}/known"),
        *("-i", f"{root}/user", "-P", str(port), f"{address}:{source}", str(target)),
    ]


@contextmanager
def privilege_separation() -> Iterator[None]:
    """Sees to it that an sshd can run."""
    made = os.geteuid() == 0 and not PRIVILEGE_SEPARATION.exists()
    if made:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    try:
        yield
    finally:
        if made:
            PRIVILEGE_SEPARATION.rmdir()


@contextmanager
def serving_with_sshd(root: Path) -> Iterator[Callable[[str, Path], None]]:
    """Lets what is below `root`/from be copied, on loopback."""
    make_keys(root)
    port = free_port()

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def fetch(name: str, target: Path) -> None:
        source = root / "from" / name
        subprocess.run(scp_command(root, "127.0.0.1", port, source, target), check=True)

    command = sshd_command(root, "127.0.0.1", port)
    with privilege_separation(), running(*command, log=root / "sshd.log"):
        wait_for("sshd", listens)
        yield fetch
