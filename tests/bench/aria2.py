"""aria2 from an nginx with a configuration of its own, as a yardstick."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.bench.measuring import running
from tests.e2e.harness import free_port
from tests.waiting import wait_for

CONNECTIONS = 8
FILES_AT_ONCE = 16
TEMPORARY = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")


def nginx_configuration(root: Path, port: int) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(f"{name}_temp_path {root}/nginx-{name};" for name in TEMPORARY)
    return f"""
        daemon off; {user} worker_processes auto; pid {root}/nginx.pid;
        events {{ }}
        http {{
            access_log off; sendfile on; tcp_nopush on; {temporary}
            server {{ listen 127.0.0.1:{port}; root {root}/from; keepalive_requests 1000000; }}
        }}
    """


@contextmanager
def serving_with_nginx(root: Path) -> Iterator[Callable[[str, Path], None]]:
    """Offers what is below `root`/from on loopback, without encryption."""
    configuration, port = root / "nginx.conf", free_port()
    configuration.write_text(nginx_configuration(root, port))
    log = root / "nginx.log"

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def fetch(name: str, target: Path) -> None:
        listed = root / "list"
        listed.write_text("".join(_entries(root / "from", name, port)))
        subprocess.run(
            [
                *("aria2c", "--no-conf", "--no-netrc", "--no-proxy=127.0.0.1", "--quiet"),
                *(f"--max-connection-per-server={CONNECTIONS}", f"--split={CONNECTIONS}"),
                *(f"--max-concurrent-downloads={FILES_AT_ONCE}", "--min-split-size=1M"),
                *("--file-allocation=none", f"--dir={target}", f"--input-file={listed}"),
            ],
            check=True,
        )

    command = ("nginx", "-p", str(root), "-e", str(log), "-c", str(configuration))
    with running(*command, log=log):
        wait_for("nginx", listens)
        yield fetch


def _entries(offered: Path, name: str, port: int) -> Iterator[str]:
    """Lines of aria2's list of what to fetch, and where to."""
    for path in sorted((offered / name).rglob("*")):
        if path.is_file():
            relative = path.relative_to(offered).as_posix()
            yield f"http://127.0.0.1:{port}/{quote(relative)}\n  out={relative}\n"
