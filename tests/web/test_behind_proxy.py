"""The page behind a real nginx with TLS and below a path: logging in, browsing, playing, watching
transfers; and the same by the Unix socket, which makes nobody the owner.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page, expect

from hdpd.control.tls import self_signed
from tests.e2e.harness import free_port
from tests.waiting import wait_for
from tests.web.conftest import DESKTOP, World

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (apt install nginx-light)")
PREFIX = "/some/where"


@pytest.fixture(scope="module")
def proxy(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the page behind nginx; `/by-socket/` leads there by the Unix socket."""
    assert NGINX is not None
    root, port = tmp_path_factory.mktemp("nginx"), free_port()
    files = self_signed(root, frozenset({"localhost"}))
    backend = f"http://127.0.0.1:{world.port}/"
    unix = f"http://unix:{world.own.socket}:/"
    (root / "nginx.conf").write_text(f"""
        daemon off; user root; pid {root}/pid; error_log {root}/error.log; events {{ }}
        http {{
            access_log off; {_scratch(root)}
            map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {files.certificate}; ssl_certificate_key {files.key};
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                location {PREFIX}/ {{ proxy_pass {backend}; }}
                location /by-socket/ {{ proxy_pass {unix}; }}
            }}
        }}
    """)
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-c", str(root / "nginx.conf")], stdout=log, stderr=log)
    try:
        wait_for("nginx", lambda: _listens(port))
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _scratch(root: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {root}/{kind};" for kind in kinds)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def opened(world: World, browser: Browser, url: str) -> Page:
    """The page there, logged in by a link that was made for another address."""
    page = browser.new_context(viewport=DESKTOP, ignore_https_errors=True).new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{url}#{world.link().partition('#')[2]}")
    page.wait_for_selector("nav a[aria-current=page]")
    return page


@pytest.mark.parametrize("path", [f"{PREFIX}/", "/by-socket/"])
def test_log_in_browse_play_and_watch_a_transfer(
    world: World, browser: Browser, proxy: str, path: str
) -> None:
    world.clear_queue()
    page = opened(world, browser, proxy + path)
    page.goto(f"{proxy}{path}{world.browse('media/Films')}")
    expect(page.get_by_text("long film.mp4").first).to_be_visible()
    address = f"files/{world.friend.peer_id}/media/Films/long%20film.mp4"
    played = page.evaluate(
        """async (address) => {
            const film = document.createElement("video");
            film.src = address;
            film.muted = true;
            document.body.append(film);
            await new Promise((seen) => film.addEventListener("loadedmetadata", seen));
            film.remove();
            return film.videoWidth > 0;
        }""",
        address,
    )
    assert played
    page.goto(f"{proxy}{path}#/transfers")
    world.rpc("downloads.add", peer=world.friend.peer_id, path="media/Films/notes.txt")
    expect(page.get_by_text("notes.txt").first).to_be_visible()
    page.context.close()


def asked(url: str, headers: dict[str, str]) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.info"}'
    request = urllib.request.Request(  # noqa: S310 (an address of our own)
        url, body, {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as refused:
        return refused.code


def test_by_the_unix_socket_a_token_is_needed_all_the_same(world: World, proxy: str) -> None:
    url = f"{proxy}/by-socket/rpc"
    assert asked(url, {}) == 401
    token = world.rpc("tokens.new", role="read")["token"]
    assert asked(url, {"Authorization": f"Bearer {token}"}) == 200
    assert asked(url, {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}) == 403
