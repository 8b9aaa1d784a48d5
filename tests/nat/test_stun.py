"""STUN transactions and surveys against scripted servers: dead ones, forgers, several operators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from aioice import stun

from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.link.endpoint import Endpoint
from hdpd.link.selection import Selection
from hdpd.nat import stun as client_module
from hdpd.nat.classify import mapping_of
from hdpd.nat.resolve import Resolver
from hdpd.nat.stun import StunClient
from hdpd.nat.stun_codec import binding_request, transaction_id_of
from hdpd.nat.stun_watch import StunWatch
from hdpd.nat.survey import Survey
from tests.waiting import until

ONE, OTHER = HostPort("203.0.113.2", 3478), HostPort("203.0.113.3", 3478)
SEEN = HostPort("198.51.100.7", 3031)

Answer = Callable[["Servers", bytes, HostPort], None]


def answer(request: bytes, mapped: HostPort, **attributes: object) -> bytes:
    named = {"XOR-MAPPED-ADDRESS": (mapped.host, mapped.port)}
    named |= {name.replace("_", "-"): value for name, value in attributes.items()}  # type: ignore[misc]
    id_ = transaction_id_of(request)
    return bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, id_, named))


class Servers:
    """What answers to which address; whatever is not in it is silent."""

    def __init__(self) -> None:
        self.answers: dict[HostPort, Answer] = {}
        self.sent: list[HostPort] = []
        self.client = StunClient(self._send)

    def _send(self, datagram: bytes, to: HostPort) -> None:
        self.sent.append(to)
        if to in self.answers:
            self.answers[to](self, datagram, to)

    def sees(self, mapped: HostPort, **attributes: object) -> Answer:
        def reply(servers: Servers, request: bytes, source: HostPort) -> None:
            datagram = answer(request, mapped, **attributes)
            loop = asyncio.get_running_loop()
            loop.call_soon(servers.client.receive, datagram, source)

        return reply


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RETRANSMIT_S", (0.02, 0.02, 0.02))


async def test_an_answer_comes_back_and_a_lost_one_is_asked_for_again() -> None:
    servers = Servers()
    calls = 0

    def second_time(made: Servers, request: bytes, source: HostPort) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            made.client.receive(answer(request, SEEN), source)

    servers.answers[ONE] = second_time
    answered = await servers.client.ask(ONE)
    assert answered.answer.mapped == SEEN
    assert servers.sent == [ONE, ONE]


async def test_a_dead_server_is_given_up() -> None:
    servers = Servers()
    with pytest.raises(TimedOut):
        await servers.client.ask(ONE)
    assert servers.sent == [ONE] * 3


async def test_a_refusal_is_an_error() -> None:
    servers = Servers()

    def refuse(made: Servers, request: bytes, source: HostPort) -> None:
        id_ = transaction_id_of(request)
        attributes = {"ERROR-CODE": (500, "Server Error")}
        message = stun.Message(stun.Method.BINDING, stun.Class.ERROR, id_, attributes)
        made.client.receive(bytes(message), source)

    servers.answers[ONE] = refuse
    with pytest.raises(ProtocolError, match="500"):
        await servers.client.ask(ONE)


async def test_forged_late_and_meaningless_datagrams_change_only_a_counter() -> None:
    servers = Servers()
    victim = HostPort("192.0.2.66", 53)

    def forge(made: Servers, request: bytes, source: HostPort) -> None:
        made.client.receive(answer(request, victim), OTHER)  # right id, wrong sender
        made.client.receive(answer(binding_request(b"x" * 12), victim), source)  # wrong id
        made.client.receive(b"\0" * 100, source)
        made.client.receive(b"", source)
        made.client.receive(answer(request, SEEN), source)
        made.client.receive(answer(request, victim), source)  # once more

    servers.answers[ONE] = forge
    answered = await servers.client.ask(ONE)
    assert answered.answer.mapped == SEEN
    assert servers.client.unexpected == 5
    servers.client.receive(answer(binding_request(b"y" * 12), victim), ONE)
    assert servers.client.unexpected == 6


async def test_an_expected_message_is_noticed_whatever_it_is() -> None:
    servers = Servers()
    with servers.client.expect(b"t" * 12) as arrived:
        servers.client.receive(binding_request(b"u" * 12), ONE)
        assert not arrived.done()
        servers.client.receive(binding_request(b"t" * 12), ONE)
        servers.client.receive(binding_request(b"t" * 12), ONE)
        assert arrived.done()


async def test_a_survey_asks_all_and_bears_dead_servers() -> None:
    servers = Servers()
    dead = HostPort("203.0.113.9", 3478)
    servers.answers = {ONE: servers.sees(SEEN), OTHER: servers.sees(SEEN)}
    news = 0

    def on_news() -> None:
        nonlocal news
        news += 1

    survey = Survey(servers.client, Resolver(), on_news)
    await survey.ask_all([dead, ONE, OTHER], {4})
    assert mapping_of(survey.findings.seen(4), []) == "easy"
    assert [each.error for each in survey.findings.answers] == [None, None, "no answer"]
    assert news == 3


async def test_a_single_server_with_two_addresses_tells_the_mapping_alone() -> None:
    servers = Servers()
    elsewhere = HostPort(SEEN.host, 40_000)
    second = HostPort(OTHER.host, 3479)
    servers.answers = {
        ONE: servers.sees(SEEN, OTHER_ADDRESS=(second.host, second.port)),
        second: servers.sees(elsewhere),
    }
    survey = Survey(servers.client, Resolver(), lambda: None)
    await survey.ask_all([ONE], {4})
    assert mapping_of(survey.findings.seen(4), []) == "hard"


async def test_servers_of_a_family_that_is_not_there_are_not_asked() -> None:
    servers = Servers()
    survey = Survey(servers.client, Resolver(), lambda: None)
    await survey.ask_all([HostPort("2001:db8::2", 3478)], {4})
    assert servers.sent == []
    assert survey.findings.answers[0].error is not None


async def test_a_name_that_nobody_knows_is_an_answer_too() -> None:
    servers = Servers()
    survey = Survey(servers.client, Resolver(), lambda: None)
    await survey.ask_all([HostPort("stun.invalid", 3478)], {4, 6})
    assert [each.error for each in survey.findings.answers] == ["unknown name"]


async def test_names_are_looked_up_beside_the_loop() -> None:
    resolver = Resolver()
    found = await resolver.resolve(HostPort("localhost", 3478))
    assert HostPort("127.0.0.1", 3478) in found
    assert await resolver.resolve(ONE) == (ONE,)


class Watched:
    """An endpoint whose one server answers when it is told to."""

    def __init__(self) -> None:
        self.selection = Selection(bind=("tun0",))  # a traceroute would leave by any interface
        self.bound_hosts: list[str] = []
        self.asked: list[bytes] = []
        self._receive: Callable[[bytes, SimpleNamespace], None] = lambda datagram, path: None

    def handle(self, _first: object, receive: Callable[[bytes, SimpleNamespace], None]) -> None:
        self._receive = receive

    def interface_of(self, _host: str) -> None:
        return None

    def path_to(self, host: str, port: int) -> SimpleNamespace:
        return SimpleNamespace(host=host, port=port, socket=None)

    def send(self, datagrams: list[bytes], _path: SimpleNamespace) -> None:
        self.asked += datagrams

    def answer(self) -> None:
        for each in self.asked:
            path = self.path_to(ONE.host, ONE.port)
            self._receive(answer(each, SEEN), path)
        self.asked.clear()


async def test_what_was_found_before_the_network_changed_is_old_or_past() -> None:
    endpoint, local = Watched(), [HostPort("192.168.1.5", 3031)]
    watch = StunWatch(cast("Endpoint", endpoint), [ONE], lambda: None)
    watch.network_changed(local, leads_out=True)
    watch.start()
    assert (watch.old, watch.asking) == (False, True)
    await until(lambda: endpoint.asked, "a question")
    endpoint.answer()
    await watch.settled.wait()
    assert [each.mapped for each in watch.findings.observations] == [SEEN]

    watch.network_changed(local, leads_out=True)
    assert (watch.old, watch.asking, len(watch.findings.observations)) == (True, True, 1)
    await until(lambda: endpoint.asked, "a question in the new network")
    watch.network_changed([], leads_out=False)
    assert (watch.old, watch.asking, watch.findings.observations) == (False, False, [])
    endpoint.answer()  # of a network that is gone
    await asyncio.sleep(0.1)
    assert watch.findings.observations == []

    watch.network_changed(local, leads_out=True)
    await until(lambda: endpoint.asked, "a question with a way out again")
    endpoint.answer()
    await watch.settled.wait()
    assert (watch.old, len(watch.findings.observations)) == (False, 1)
    await watch.close()
