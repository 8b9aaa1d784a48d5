"""A finding, and the judgements that need nothing but numbers and words. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from hdpd.discovery.status import DiscoveryStatus
from hdpd.downloads.status import DiskStatus, Leftovers
from hdpd.nat.report import NatReport
from hdpd.reload import ConfigurationStatus
from hdpd.shares.status import ShareStatus

State = Literal["ok", "warning", "failed"]

MIB: Final = 1 << 20
GIB: Final = 1 << 30
# Below the first a film does not fit, below the second SQLite may not either.
FEW_BYTES: Final = 5 * GIB
NO_BYTES: Final = 200 * MIB
# Of UDP buffers: what a sender may have in flight in the time of a disk's hiccup, at 50 MB/s.
ENOUGH_BUFFER_BYTES: Final = 1 * MIB
SLOW_LISTING_S: Final = 1.0
# Of the directories that a user may watch, those that hdpd does.
WATCHES_PART: Final = 3 / 4
# 2026-01-01: a clock that shows less was never set.
RELEASED: Final = 1_767_225_600.0

BROKER_ADVICE: Final = {
    "away": "is there an internet connection, and is the broker's address right? Peers on this "
    "network are found without",
    "refused": "does it want a user and a password, or a certificate? Write them into "
    "network.mqtt_servers, as mqtts://USER:PASSWORD@HOST or "
    "mqtts://HOST?certificate=PATH&key=PATH; if they are there, ask whoever runs it",
    "certificate": "for an authority of its own, write mqtts://HOST?ca_file=/path/to/ca.pem; where "
    "it wants one of this machine, mqtts://HOST?certificate=PATH&key=PATH; "
    "is the clock right, and the name that of the certificate?",
    "subscription": "whoever runs it has to allow subscribing to hdp/1/#; until then peers are not "
    "found by it",
    "silent": "whoever runs it has to allow publishing at hdp/1/#; until then others do not find "
    "this peer by it",
}


class Finding(Struct, frozen=True):
    """What was looked at, how it is, and what to do unless it is well."""

    check: str
    state: State
    text: str
    advice: str | None = None


def download_disks(disks: Sequence[DiskStatus], leftovers: Leftovers) -> Iterator[Finding]:
    """Judges the disks of the downloads, and what lies on them that belongs to nothing."""
    for disk in disks:
        if disk.trouble is not None:
            advice = (
                "plug it in, or mount it: its downloads wait, and go on by themselves; if it does "
                f"not come back: hdpctl queue use-disk {disk.path}"
            )
            yield Finding("download disk", "failed", disk.trouble, advice)
    if leftovers.files:
        text = (
            f"{leftovers.files:,} partial files ({leftovers.bytes / GIB:.1f} GiB) belong to no "
            "download"
        )
        yield Finding("leftovers", "warning", text, "hdpctl queue tidy removes them")


def free_space(what: str, path: str, free: int) -> Finding:
    """Judges the free bytes of a file system."""
    text = f"{free / GIB:.1f} GiB free at {path}"
    if free < NO_BYTES:
        return Finding(what, "failed", text, "make room: downloads and the queue cannot be written")
    if free < FEW_BYTES:
        return Finding(what, "warning", text, "make room before the next large download")
    return Finding(what, "ok", text)


def udp_buffers(receive: int, send: int) -> Finding:
    """Judges what the kernel granted of the buffers that were asked for."""
    text = f"{receive / MIB:.1f} MiB to receive, {send / MIB:.1f} MiB to send"
    if min(receive, send) < ENOUGH_BUFFER_BYTES:
        advice = (
            "fast transfers will lose packets: set net.core.rmem_max and net.core.wmem_max to "
            "8388608, as /usr/lib/sysctl.d/50-hdpd.conf does (sysctl --system)"
        )
        return Finding("UDP buffers", "warning", text, advice)
    return Finding("UDP buffers", "ok", text)


def inotify(limit: int | None, rows: Sequence[ShareStatus]) -> Finding:
    """Judges how many directories of the shares are watched; `rows` is what `Shares.list` gives."""
    if limit is None:
        return Finding("inotify", "ok", "this machine does not tell its limits")
    directories = sum(row.directories + 1 for row in rows)
    watched = sum(row.watched for row in rows)
    text = f"{watched} of {directories} shared directories are watched"
    enough = math.ceil(directories / WATCHES_PART)
    if limit < enough:
        advice = (
            f"raise fs.inotify.max_user_watches to {enough} (1 kB of memory for each), so that "
            "changes are seen at once and disks need not be looked through every hour"
        )
        return Finding("inotify", "warning", f"{text}, with {limit} allowed", advice)
    if watched < directories and all(row.state == "ready" for row in rows):
        text += "; the others are where the system does not tell changes, and looked through hourly"
    return Finding("inotify", "ok", text)


def clock(now: float, shown: str) -> Finding:
    """Judges the clock by the release of this program."""
    if now < RELEASED:
        advice = "set the clock (timedatectl set-ntp true): what other peers sign has a date"
        return Finding("clock", "failed", f"it shows {shown}", advice)
    return Finding("clock", "ok", shown)


def share(row: ShareStatus, seconds: float | None) -> Finding:
    """Judges a row of `shares.list` and how long its listing took (None: it failed)."""
    what = f"share {row.name}"
    if row.state in {"away", "error"} or seconds is None:
        text = row.error or "it does not answer"
        return Finding(what, "failed", text, f"is {row.path} mounted and readable for hdpd?")
    text = f"{row.files} files, listed in {seconds * 1000:.0f} ms"
    if row.skipped:
        first = "".join(f"; first: {reason}" for reason in row.skipped_first[:1])
        advice = f"let hdpd read it: setfacl -R -m u:hdpd:rX {row.path}{first}"
        return Finding(what, "warning", f"{text}; {row.skipped} entries not shared", advice)
    if seconds > SLOW_LISTING_S:
        return Finding(
            what, "warning", text, "is its disk busy or asleep, or a slow network mount?"
        )
    if row.state == "scanning":
        text += ", being scanned"
    return Finding(what, "ok", text)


def configuration(info: ConfigurationStatus, open_to_others: Sequence[str]) -> Finding:
    """Judges what became of the configuration files."""
    files = ", ".join(map(str, info.files)) or "no file; flags and defaults"
    if info.refused:
        return Finding("configuration", "failed", info.refused, "correct it, then reload")
    if info.restart_needed:
        text = f"{files}; changed since the start: {', '.join(info.restart_needed)}"
        return Finding("configuration", "warning", text, "systemctl restart hdpd")
    if open_to_others:
        text = f"everybody on this machine can read the topics in {', '.join(open_to_others)}"
        return Finding("configuration", "warning", text, "chmod o= " + " ".join(open_to_others))
    return Finding("configuration", "ok", files)


def topics(count: int) -> Finding:
    """Judges whether anybody can be met."""
    if count:
        return Finding("topics", "ok", f"{count} joined")
    advice = "hdpctl topics join NAME, or topics in hdpd.toml"
    return Finding("topics", "warning", "none joined, so nobody can be met", advice)


def discovery(status: DiscoveryStatus) -> Iterator[Finding]:
    """Judges the ways to find peers, as `daemon.info` tells them."""
    for broker in status.mqtt:
        what = f"broker {broker.server}"
        if broker.connected and broker.error is None:
            proved = ", and what is published there comes back" if broker.works else ""
            yield Finding(what, "ok", f"connected{proved}")
        else:
            advice = BROKER_ADVICE[broker.trouble or "away"]
            yield Finding(what, "warning", broker.error or "not connected yet", advice)
    if (mdns := status.mdns) is not None:
        if mdns.advertised and mdns.error is None:
            yield Finding("mDNS", "ok", f"advertised; {mdns.adverts} others seen")
        else:
            advice = (
                "until it works, which is tried every few seconds, peers on this network do not "
                "find this one by themselves; is an interface up that may send multicast?"
            )
            yield Finding("mDNS", "warning", mdns.error or "not advertised yet", advice)


def nat(report: NatReport) -> Iterator[Finding]:
    """Judges the way to the internet, as `nat.report` tells it."""
    if report.nowhere is not None:
        yield from _nowhere(report)
        return
    answers = report.stun
    if report.old:
        yield Finding("STUN", "ok", "the servers are asked anew, since the network has changed")
    elif answers:
        heard = sum(1 for answer in answers if answer.mapped)
        text = f"{heard} of {len(answers)} servers answer"
        if heard:
            yield Finding("STUN", "ok", text)
        else:
            advice = "is UDP blocked by a firewall? hdpctl netcheck says more"
            yield Finding("STUN", "warning", text, advice)
    if report.port_mappings and report.mapping != "none":
        yield _port_mapping(report)


def _nowhere(report: NatReport) -> Iterator[Finding]:
    """What was chosen, and what `bind` misses, is said elsewhere."""
    assert report.nowhere is not None
    if not report.has_address:
        if not report.missing:
            advice = (
                "is an interface up, the cable plugged in, the Wi-Fi joined? hdpd goes on by itself"
            )
            yield Finding("addresses", "failed", report.nowhere, advice)
    elif not report.lan_only and report.stun_asked is not None:
        advice = (
            "is the router on? hdpd goes on by itself when there is a default route; where none is "
            "wanted, set network.lan_only"
        )
        yield Finding("internet", "warning", report.nowhere, advice)


def _port_mapping(report: NatReport) -> Finding:
    what, mappings = "port mapping", report.port_mappings
    mapped = sorted((m for m in mappings if m.state == "mapped"), key=lambda m: m.ipv6)
    if mapped:
        text = f"{mapped[0].protocol}: {mapped[0].external}"
        if report.behind_carrier and not mapped[0].ipv6:
            text += ", but the router is itself behind a NAT of the provider"
            advice = (
                "nobody comes in there from the internet: ask the provider for a public address, "
                "or use IPv6"
            )
            return Finding(what, "warning", text, advice)
        return Finding(what, "ok", text)
    if any(m.state == "asking" for m in mappings):
        return Finding(what, "ok", "the router is being asked")
    if report.announced:
        return Finding(what, "ok", "the router forwards nothing by itself; see network.announce")
    refused = next((m for m in mappings if m.state == "refused"), None)
    why = f": {refused.protocol} is refused: {refused.error}" if refused is not None else ""
    advice = (
        "allow UPnP or PCP in the router, or forward the UDP port by hand; "
        "without it some peers may not be reached"
    )
    return Finding(what, "warning", f"the router forwards nothing{why}", advice)
