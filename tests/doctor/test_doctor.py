"""The doctor: what is judged how, and a whole examination of a machine with some troubles."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from hdpd.config import Config, HostPort, load
from hdpd.discovery.status import BrokerStatus, DiscoveryStatus, MdnsStatus
from hdpd.doctor import findings
from hdpd.doctor.doctor import Doctor, Subject
from hdpd.doctor.network import Standing
from hdpd.downloads.status import DiskStatus, Leftovers
from hdpd.errors import ShareAway
from hdpd.nat.report import NatReport, PortMapping, StunAnswer
from hdpd.reload import ConfigurationStatus
from hdpd.shares.status import ShareStatus
from hdpd.threads.blocking import BlockingCalls

MIB, GIB = findings.MIB, findings.GIB
SHARE = ShareStatus(
    name="Music",
    path="/srv/music",
    state="ready",
    searchable=True,
    files=3,
    directories=2,
    bytes=1,
    skipped=0,
    skipped_first=(),
    scanned_at=1.0,
    watched=3,
    error=None,
    configured=True,
)


def watched(count: int, of: int) -> ShareStatus:
    """A share with so many directories in it, of which so many are watched."""
    return replace(SHARE, watched=count, directories=of)


QUIET = ConfigurationStatus((), 1.0, None, ())


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (findings.free_space("space", "/d", 50 * GIB), "ok", "50.0 GiB"),
        (findings.free_space("space", "/d", 1 * GIB), "warning", "make room"),
        (findings.free_space("space", "/d", 1 * MIB), "failed", "cannot be written"),
        (findings.udp_buffers(8 * MIB, 8 * MIB), "ok", "8.0 MiB"),
        (findings.udp_buffers(208 * 1024, 8 * MIB), "warning", "net.core.rmem_max"),
        (findings.inotify(8192, [watched(6001, of=6000)]), "ok", "6001 of 6001 shared"),
        (findings.inotify(8192, [watched(7, of=90), watched(91, of=90)]), "ok", "98 of 182"),
        (findings.inotify(8192, [watched(7, of=90)]), "ok", "hourly"),
        (findings.inotify(8192, [watched(6144, of=8999)]), "warning", "to 12000"),
        (findings.inotify(None, [watched(6144, of=8999)]), "ok", "does not tell"),
        (findings.clock(0.0, "1970"), "failed", "timedatectl"),
        (findings.clock(findings.RELEASED + 1, "now"), "ok", "now"),
        (findings.share(SHARE, 0.004), "ok", "listed in 4 ms"),
        (findings.share(SHARE, 3.0), "warning", "asleep"),
        (findings.share(SHARE, None), "failed", "/srv/music"),
        (findings.share(replace(SHARE, state="away", error="gone"), 0.1), "failed", "gone"),
        (
            findings.share(replace(SHARE, skipped=2, skipped_first=("x",)), 0.1),
            "warning",
            "setfacl",
        ),
        (findings.configuration(replace(QUIET, files=(Path("/a"),)), []), "ok", "/a"),
        (findings.configuration(replace(QUIET, refused="a:1: no"), []), "failed", "a:1"),
        (findings.configuration(replace(QUIET, restart_needed=("k",)), []), "warning", "restart"),
        (findings.configuration(QUIET, ["/a"]), "warning", "chmod o= /a"),
        (findings.topics(1), "ok", "1 joined"),
        (findings.topics(0), "warning", "hdpctl topics join"),
    ],
)
def test_judgements(finding: findings.Finding, state: str, words: str) -> None:
    assert finding.state == state
    assert words in f"{finding.text} {finding.advice}"
    assert (finding.advice is None) == (state == "ok")


def test_ways_to_find_peers() -> None:
    status = DiscoveryStatus(
        (
            BrokerStatus("mqtt://a:1883", True, None),
            BrokerStatus("mqtt://b:1883", False, "refused", trouble="refused"),
            BrokerStatus("mqtt://c:1883", True, "nothing back", False, "silent"),
        ),
        MdnsStatus(advertised=False, adverts=0, error="no network"),
    )
    found = list(findings.discovery(status))
    assert [(each.state, each.text) for each in found] == [
        ("ok", "connected"),
        ("warning", "refused"),
        ("warning", "nothing back"),
        ("warning", "no network"),
    ]
    assert "password" in str(found[1].advice)
    assert "publish" in str(found[2].advice)
    assert list(findings.discovery(DiscoveryStatus((), None))) == []


def test_the_way_to_the_internet() -> None:
    answer = StunAnswer("s", None)
    mapping = PortMapping("upnp", ipv6=False, state="refused")
    here = NatReport(online=True)
    good = replace(here, stun=(answer, replace(answer, mapped=HostPort("192.0.2.1", 1))))
    assert [each.state for each in findings.nat(good)] == ["ok"]
    bad = replace(here, stun=(answer,), port_mappings=(mapping,))
    assert [each.state for each in findings.nat(bad)] == ["warning", "warning"]
    assert list(findings.nat(here)) == []


SEEN = HostPort("192.0.2.1", 1)
REFUSED = PortMapping("upnp", ipv6=False, state="refused", error="it is switched off")
MAPPED = PortMapping("upnp", ipv6=False, state="mapped", external=SEEN)
ASKED = NatReport(online=True, stun_asked=True, stun=(StunAnswer("s", None),))


@pytest.mark.parametrize(
    ("report", "check", "state", "words"),
    [
        (replace(ASKED, port_mappings=(REFUSED,)), "port mapping", "warning", "it is switched off"),
        (replace(ASKED, port_mappings=(MAPPED,)), "port mapping", "ok", "192.0.2.1:1"),
        (
            replace(ASKED, port_mappings=(MAPPED,), behind_carrier=True),
            *("port mapping", "warning", "NAT of the provider"),
        ),
        (
            replace(ASKED, port_mappings=(replace(REFUSED, state="asking"),)),
            *("port mapping", "ok", "is being asked"),
        ),
        (
            replace(ASKED, port_mappings=(REFUSED,), announced=(SEEN,)),
            *("port mapping", "ok", "network.announce"),
        ),
        (replace(ASKED, old=True), "STUN", "ok", "asked anew"),
        (replace(ASKED, online=False), "internet", "warning", "default route"),
        (replace(ASKED, online=False, has_address=False), "addresses", "failed", "an interface up"),
    ],
)
def test_what_is_said_of_the_router(report: NatReport, check: str, state: str, words: str) -> None:
    found = {each.check: each for each in findings.nat(report)}
    assert found[check].state == state
    assert words in f"{found[check].text} {found[check].advice}"


def test_nobody_is_asked_to_forward_a_port_that_leads_nowhere() -> None:
    bad = replace(ASKED, port_mappings=(REFUSED,))
    for nowhere in (
        replace(bad, lan_only=True),
        replace(bad, has_address=False, missing=("tun0",)),
        replace(bad, online=False, stun_asked=None),
    ):
        assert list(findings.nat(nowhere)) == []
    assert list(findings.nat(replace(bad, mapping="none", stun=()))) == []


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "hdpd.toml"
    file.write_text('topics = ["party"]')
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    environ = {"HOME": str(tmp_path)}
    config = load(["--config", str(file), "--state-dir", str(tmp_path / "state")], environ)
    return dataclasses.replace(config, download_dir=file / "below-a-file")


def subject_of(config: Config) -> Subject:
    async def list_share(_name: str) -> object:
        raise ShareAway("not mounted")

    async def no_disks() -> list[DiskStatus]:
        return []

    async def no_leftovers() -> Leftovers:
        return Leftovers(0, 0)

    return Subject(
        config=lambda: config,
        configuration=lambda: replace(QUIET, files=(Path("hdpd.toml"),)),
        shares=lambda: [SHARE],
        list_share=list_share,
        topics=lambda: 1,
        discovery=lambda: DiscoveryStatus((), None),
        nat=NatReport,
        standing=Standing,
        disks=no_disks,
        leftovers=no_leftovers,
    )


async def test_an_examination_goes_on_whatever_it_finds(config: Config) -> None:
    subject = subject_of(config)
    found = {each.check: each for each in await Doctor(subject, BlockingCalls("x")).examine()}
    assert found["configuration"].state == "warning"
    assert found["state directory"].state == "ok"
    assert found["download directory"].state == "failed"
    assert "ReadWritePaths" in str(found["download directory"].advice)
    assert found["share Music"].state == "failed"
    assert found["clock"].state == "ok"
    assert {"UDP buffers", "inotify", "topics", "space for downloads"} <= set(found)


async def test_whatever_does_not_answer_is_waited_for_at_the_same_time(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.doctor.doctor.LOOK_S", 0.5)
    loop, begun = asyncio.get_running_loop(), asyncio.Semaphore(0)
    all_begun, hang = asyncio.Event(), threading.Event()

    def no_answer(*_: object) -> list[str]:
        loop.call_soon_threadsafe(begun.release)
        hang.wait(20.0)
        return []

    for look in ("_open_to_others", "_places"):
        monkeypatch.setattr(f"hdpd.doctor.doctor.{look}", no_answer)

    async def slow_disks() -> list[DiskStatus]:
        begun.release()
        await all_begun.wait()
        return []

    async def slow_leftovers() -> Leftovers:
        begun.release()
        await all_begun.wait()
        return Leftovers(0, 0)

    async def slow_share(_name: str) -> object:
        begun.release()
        await asyncio.sleep(20.0)
        return None

    async def see_them_begin() -> None:
        for _ in range(5):
            await begun.acquire()
        all_begun.set()

    subject = replace(
        subject_of(config), disks=slow_disks, leftovers=slow_leftovers, list_share=slow_share
    )
    try:
        async with asyncio.timeout(10.0), asyncio.TaskGroup() as group:
            group.create_task(see_them_begin())
            examined = group.create_task(Doctor(subject, BlockingCalls("x")).examine())
    finally:
        hang.set()
    found = {each.check: each for each in examined.result()}
    assert found["directories"].state == found["share Music"].state == "failed"
