"""Who gets in, over real sockets: tokens, roles, the cookie, and pages of other sites."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hdpd.control import auth
from hdpd.control.rules import SlowDown
from tests.control.fakes import Answer, Daemon, ScriptedSession, running
from tests.waiting import until

INFO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.info"}'


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def post(daemon: Daemon, headers: dict[str, str], body: bytes = INFO) -> Answer:
    return await daemon.http("POST", "/rpc", body, headers, tcp=True)


async def upgrade(daemon: Daemon, headers: dict[str, str]) -> int:
    """The status of the answer to a WebSocket handshake."""
    try:
        async with connect(f"ws://127.0.0.1:{daemon.port}/rpc", additional_headers=headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowDown, "FIRST_S", 0.01)


async def test_the_unix_socket_needs_no_token_and_no_host_name(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        answer = await daemon.http("POST", "/rpc", INFO, {"Host": "anything.example"})
        assert answer.json()["result"]["name"] == "MellowChinchilla"


async def test_tcp_needs_a_valid_token(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        token = await daemon.token("read")
        assert (await post(daemon, bearer(token))).status == 200
        assert (await post(daemon, {"Authorization": f"bearer  {token}"})).status == 200
        for headers in (
            {},
            bearer(""),
            bearer("hdp_x"),
            bearer(token + "x"),
            {"Authorization": token},
            {"Authorization": f"Basic {token}"},
            {"Cookie": f"hdpd_session_1={token}"},
        ):
            answer = await post(daemon, headers)
            assert answer.status == 401, headers
            assert answer.json()["error"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.body.count(b"\n") == 0
        assert await upgrade(daemon, bearer(token)) == 101
        assert await upgrade(daemon, {}) == 401
        assert (await daemon.http("GET", "/files/x/S/a", tcp=True)).status == 401


PAGES: list[tuple[dict[str, str], int]] = [
    ({"Host": "evil.example"}, 403),
    ({"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Origin": "https://127.0.0.1:PORT"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"}, 200),
    ({"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200),
    ({"Host": "files.example.org"}, 200),
]


async def test_pages_of_other_sites_get_nowhere_even_with_a_token(tmp_path: Path) -> None:
    async with running(tmp_path, hostnames=("files.example.org",)) as daemon:
        session = ScriptedSession(1, {"S/a": b"data"})
        daemon.peers.sessions[session.peer_id] = session
        token = bearer(await daemon.token())
        for headers, status in PAGES:
            sent = {n: value.replace("PORT", str(daemon.port)) for n, value in headers.items()}
            sent |= token
            assert (await post(daemon, sent)).status == status, headers
            file = await daemon.http("GET", f"/files/{session.name}/S/a", headers=sent, tcp=True)
            assert file.status == status, headers
            assert (b"data" in file.body) == (status == 200)
            if "Host" not in sent:  # the client library sends its own
                assert await upgrade(daemon, sent) == (101 if status == 200 else 403), headers


async def test_the_page_itself_needs_only_a_right_host(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        linked = {"Sec-Fetch-Site": "cross-site"}
        assert (await daemon.http("GET", "/", headers=linked, tcp=True)).status == 200
        evil = {"Host": "evil.example"}
        assert (await daemon.http("GET", "/", headers=evil, tcp=True)).status == 403
        assert (await daemon.http("GET", "/healthz", headers=evil, tcp=True)).body == b"ok\n"


async def test_roles_bound_what_a_token_may_call(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        token = {role: await daemon.token(role) for role in ("read", "control", "admin")}
        needed = {"daemon.info": "read", "downloads.pause": "control", "topics.join": "admin"}
        params = {"downloads.pause": {"ids": ["d1"]}}
        for method, least in needed.items():
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params.get(method, {})}
            for role, secret in token.items():
                answer = await post(daemon, bearer(secret), json.dumps(call).encode())
                refused = answer.json().get("error")
                allowed = list(token).index(role) >= list(token).index(least)
                assert (refused is None) == allowed, (method, role, refused)
                if refused:
                    assert refused["code"] == -32001
                    assert refused["data"]["error"] == "forbidden"
        assert daemon.topics.names == ["party", "random"]


async def test_a_login_link_gives_one_browser_a_session(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        link = await daemon.call("tokens.login_link")
        origin, _fragment, code = link["url"].partition("/#code=")
        assert origin == f"http://127.0.0.1:{daemon.port}"
        login = json.dumps({"code": code}).encode()
        site = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}

        foreign = {"Origin": "http://evil.example"}
        assert (await daemon.http("POST", "/login", login, foreign, tcp=True)).status == 403
        answer = await daemon.http("POST", "/login", login, site, tcp=True)
        assert answer.status == 200
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        assert cookie.startswith(f"hdpd_session_{daemon.port}=hdp_")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)

        used = {"Cookie": f"theme=dark; {cookie}", **site}
        assert (await post(daemon, used)).status == 200
        assert await upgrade(daemon, used) == 101
        assert (await daemon.http("POST", "/login", login, site, tcp=True)).status == 401
        [session] = (await daemon.call("tokens.list"))["tokens"]
        await daemon.call("tokens.revoke", id=session["id"])
        assert (await post(daemon, used)).status == 401


async def test_a_login_that_is_none(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        for body in (b"", b"x", b"[]", b"{}", b'{"code":1}', b"[" * 4000, b"\xff"):
            answer = await daemon.http("POST", "/login", body, tcp=True)
            assert (answer.status, answer.json()["error"]) == (400, "invalid_params"), body


async def test_wrong_tokens_wait_and_right_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowDown, "FIRST_S", 60.0)
    monkeypatch.setattr(SlowDown, "LONGEST_S", 60.0)
    monkeypatch.setattr(auth, "MAX_DELAYED", 1)
    async with running(tmp_path) as daemon:
        token = await daemon.token()
        _reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        request = "GET /files/x/S/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n"
        writer.write(request.encode())
        await until(lambda: daemon.control._endpoints._authenticator._delayed == 1)
        assert (await post(daemon, bearer(token))).status == 200
        # No more than so many are kept waiting.
        assert (await post(daemon, bearer("wrong"))).status == 503
        assert (await post(daemon, {})).status == 401
        writer.close()


async def test_revoking_a_token_closes_its_websockets_only(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        url = f"ws://127.0.0.1:{daemon.port}/rpc"
        kept = bearer(await daemon.token("read"))
        new = await daemon.call("tokens.new", role="admin")
        async with (
            connect(url, additional_headers=kept) as other,
            connect(url, additional_headers=bearer(new["token"])) as websocket,
        ):
            await websocket.send(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}')
            await websocket.recv()
            await daemon.call("tokens.revoke", id=new["id"])
            daemon.events.write("peer.found", {})
            with pytest.raises(ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            await other.send(INFO.decode())
            assert "result" in json.loads(await other.recv())
