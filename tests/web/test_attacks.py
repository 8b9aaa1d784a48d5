"""Pages of strangers, in a browser that is logged in, get nowhere; and neither do odd requests."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.web.conftest import CHROMIUM, CHROMIUM_ARGUMENTS, World

# Everything that a page may try against another origin, each answering what it came to.
ATTACK = """async ([target, file]) => {
    const cookies = {credentials: 'include'};
    const json = {'Content-Type': 'application/json'};
    const body = '{"jsonrpc": "2.0", "id": 1, "method": "daemon.info"}';
    const told = async (work) => { try { return await work(); } catch (e) { return 'refused'; } };
    const load = (make) => new Promise((done) => {
        const element = make();
        element.onload = () => done('loaded');
        element.onerror = () => done('refused');
        element.src = target + file;
        document.body.append(element);
        setTimeout(() => done('nothing'), 3000);
    });
    const read = async (options) => {
        const answer = await fetch(target + '/rpc', options);
        return answer.type + (await answer.text());
    };
    return {
        post: await told(() => read({method: 'POST', headers: json, body, ...cookies})),
        simple: await told(() => read({method: 'POST', body, ...cookies})),
        hidden: await told(() => read({method: 'POST', body, mode: 'no-cors', ...cookies})),
        image: await load(() => document.createElement('img')),
        socket: await new Promise((done) => {
            const socket = new WebSocket(target.replace('http', 'ws') + '/rpc');
            socket.onopen = () => done('open');
            socket.onerror = () => done('refused');
        }),
    };
}"""
GOT_NOWHERE = {
    "post": "refused",
    "simple": "refused",
    "hidden": "opaque",
    "image": "refused",
    "socket": "refused",
}


class Blank(BaseHTTPRequestHandler):
    """An attacker's page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture(scope="module")
def evil_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def logged_in(browser: Browser, world: World) -> Iterator[Page]:
    page = world.open(browser)
    yield page
    page.context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["other port", "other site"])
def test_a_page_of_another_origin_gets_nowhere(
    logged_in: Page, world: World, evil_port: int, host: str
) -> None:
    evil = logged_in.context.new_page()
    evil.goto(f"http://{host}:{evil_port}/")
    assert evil.title() == "evil"
    own = "/shares/media/mine.txt"
    picture = f"/files/{world.friend.peer_id}/media/Films/poster.png"
    assert evil.evaluate(ATTACK, [world.url, picture]) == GOT_NOWHERE
    assert evil.evaluate(ATTACK, [world.url, own]) == GOT_NOWHERE
    before = len(world.rpc("tokens.list")["tokens"])
    evil.evaluate(
        """async (target) => {
            const frame = document.createElement('iframe');
            const form = document.createElement('form');
            frame.name = form.target = 'frame';
            Object.assign(form, {method: 'post', action: target + '/rpc', enctype: 'text/plain'});
            const field = document.createElement('input');
            field.name = '{"jsonrpc":"2.0","method":"tokens.new","id":"';
            field.value = '"}';
            form.append(field);
            document.body.append(frame, form);
            form.submit();
            await new Promise((done) => { frame.onload = done; });
        }""",
        world.url,
    )
    assert len(world.rpc("tokens.list")["tokens"]) == before
    # The page itself can't be put into a frame, where clicks could be stolen.
    evil.evaluate(
        """async (target) => {
            const frame = document.createElement('iframe');
            frame.id = 'stolen';
            frame.src = target + '/';
            document.body.append(frame);
            await new Promise((done) => { frame.onload = done; });
        }""",
        world.url,
    )
    frame = evil.query_selector("#stolen")
    assert frame is not None
    content = frame.content_frame()
    assert content is None or content.query_selector("#app") is None


def test_a_name_that_was_made_to_point_here_gets_nothing(browser: Browser, world: World) -> None:
    """DNS rebinding: the browser believes that it talks to evil.example."""
    evil = browser.browser_type.launch(
        executable_path=CHROMIUM,
        args=[*CHROMIUM_ARGUMENTS, "--host-resolver-rules=MAP evil.example 127.0.0.1"],
    )
    try:
        page = evil.new_page()
        answer = page.goto(f"http://evil.example:{world.port}/")
        assert answer is not None
        assert answer.status == 403
        assert "evil.example" in answer.json()["message"]
    finally:
        evil.close()


@pytest.fixture(scope="module")
def token(world: World) -> str:
    secret: str = world.rpc("tokens.new", role="read")["token"]
    return secret


def request(world: World, target: str, headers: dict[str, str], method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=30)
    try:
        connection.request(method, target, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


FILE = "/shares/media/mine.txt"
ODD_HEADERS = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=str)
def test_requests_for_strangers_are_refused(
    world: World, token: str, headers: dict[str, str]
) -> None:
    sent = {"Authorization": f"Bearer {token}", **headers}
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for target in (FILE, "/downloads/x", f"/files/{world.friend.peer_id}/media/a", "/metrics"):
        assert request(world, target, sent) == 403, target
    for target in ("/rpc", "/login", "/logout"):
        assert request(world, target, sent, "POST") == 403, target
    assert request(world, "/rpc", {**sent, **upgrade}) == 403
    assert request(world, FILE, {"Authorization": f"Bearer {token}"}) == 200


def test_missing_wrong_and_revoked_tokens_are_refused(world: World) -> None:
    made = world.rpc("tokens.new", role="read")
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert request(world, FILE, bearer) == 200
    assert request(world, FILE, {}) == 401
    assert request(world, FILE, {"Authorization": f"Bearer {made['token']}x"}) == 401
    world.rpc("tokens.revoke", id=made["id"])
    assert request(world, FILE, bearer) == 401
    assert request(world, "/metrics", bearer) == 401


def test_files_are_never_pages_of_this_origin(logged_in: Page, world: World) -> None:
    films = f"/files/{world.friend.peer_id}/media/Films"
    for name in ("page.html", "drawing.svg"):
        answer = logged_in.request.get(f"{world.url}{films}/{name}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] == "application/octet-stream"
        # As an image a drawing runs no scripts, and in its sandbox it is none.
        shown = logged_in.evaluate(
            """url => new Promise((done) => {
                const image = new Image();
                image.onload = () => done('shown');
                image.onerror = () => done('not shown');
                image.src = url;
            })""",
            f"{films}/{name}",
        )
        assert shown == "not shown"
    text = logged_in.request.get(f"{world.url}{films}/notes.txt")
    assert text.headers["content-disposition"].startswith("inline")
    for answer in (text, logged_in.request.get(f"{world.url}{FILE}")):
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert logged_in.title() != "owned"


def test_nothing_inline_runs_on_the_page(logged_in: Page) -> None:
    ran = logged_in.evaluate(
        """() => {
            const tried = (work) => { try { work(); return true; } catch { return false; } };
            const script = document.createElement('script');
            return [
                tried(() => { script.text = 'document.title = "owned"'; }),
                tried(() => { document.body.innerHTML = '<b>x</b>'; }),
            ];
        }"""
    )
    assert ran == [False, False]
    with pytest.raises(Error, match=r"EvalError|TypeError"):
        logged_in.evaluate("void setTimeout('document.title = 1')")
    assert logged_in.title() != "owned"
