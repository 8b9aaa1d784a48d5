"""A NAS from installation to purge. The checks follow one another on the same two machines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.appliance.conftest import PACKAGES, ROOT, WORK, install
from tests.appliance.machine import Machine, host
from tests.waiting import wait_for

READY_SECONDS = 3.0
MEET_SECONDS = 40.0
TRANSFER_SECONDS = 120.0
WATCHDOG_SECONDS = 6


def ctl(machine: Machine, command: str) -> Any:
    return json.loads(machine.run(f"hdpctl --json {command}"))


def connected(machine: Machine) -> list[str]:
    return [p["name"] for p in ctl(machine, "peers")["peers"] if p["state"] == "connected"]


def main_pid(machine: Machine) -> str:
    return machine.property("MainPID")


def done_bytes(machine: Machine) -> int:
    return sum(d["done_bytes"] for d in ctl(machine, "queue")["downloads"])


def limit_rate(machine: Machine, rate: str | None) -> None:
    """Limits what arrives at the machine."""
    device = f"vb-{machine.name}"
    host("tc", "qdisc", "del", "dev", device, "root", check=False)
    if rate:
        host("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "128k",
             "latency", "100ms")  # fmt: skip


def wait_active(machine: Machine, seconds: float) -> None:
    wait_for("hdpd is active", lambda: machine.property("ActiveState") == "active", within=seconds)


def restart_seconds(machine: Machine) -> float:
    """How long the start takes that is part of a restart."""
    machine.run("systemctl restart hdpd")
    began, active = (
        int(machine.property(f"{name}TimestampMonotonic")) / 1e6
        for name in ("InactiveExit", "ActiveEnter")
    )
    return active - began


def begin_long_download(nas: Machine, friend: Machine) -> None:
    """A download that takes long enough to do something meanwhile."""
    nas.run("rm -f /var/lib/hdpd/downloads/long*; hdpctl queue cancel all; hdpctl queue clear all")
    limit_rate(nas, "60mbit")
    wait_for("the machines meet", lambda: connected(nas), within=MEET_SECONDS)
    nas.run(f"hdpctl download {connected(nas)[0]}/films/long.bin")
    wait_for("some of it is there", lambda: done_bytes(nas) > 8 << 20, within=TRANSFER_SECONDS)


def finish_long_download(nas: Machine, friend: Machine) -> None:
    limit_rate(nas, None)
    wait_for(
        "the download is done",
        lambda: [d["state"] for d in ctl(nas, "queue")["downloads"]] == ["done"],
        within=TRANSFER_SECONDS,
    )
    ours = nas.run("sha256sum </var/lib/hdpd/downloads/long.bin")
    assert ours == friend.run("sha256sum </srv/films/long.bin")


def test_lintian_finds_nothing_that_is_not_explained() -> None:
    found = host("lintian", "-I", "--pedantic", *map(str, PACKAGES))
    assert found.removeprefix("running with root privileges is not recommended!\n") == ""


def test_it_is_installed_started_and_enabled(nas: Machine) -> None:
    assert nas.run("systemctl is-enabled hdpd.service hdpd.socket").split() == ["enabled"] * 2
    wait_active(nas, 10)
    assert nas.run("stat -c '%U:%G %a' /etc/hdpd/hdpd.toml /var/lib/hdpd /run/hdpd/hdpd.sock") == (
        "root:hdpd 640\nhdpd:hdpd 750\nhdpd:hdpd 660\n"
    )
    nas.run("grep -qi ':0BD7 ' /proc/net/udp /proc/net/udp6")


def test_a_topic_and_a_share_are_two_lines_away(nas: Machine) -> None:
    nas.run(
        "mkdir -p /srv/music && echo 1 >/srv/music/a.flac\n"
        "cat >>/etc/hdpd/hdpd.toml <<'END'\n"
        'topics = ["party"]\n[[shares]]\npath = "/srv/music"\nEND'
    )
    nas.run("touch /root/before; hdpd --check-config")
    # The best of three: this machine may be busy with other things.
    assert min(restart_seconds(nas) for _ in range(3)) < READY_SECONDS
    assert nas.property("ActiveState") == "active"
    assert "1 shared" in nas.property("StatusText")
    assert "a.flac" in nas.run("hdpctl ls self/music")


def test_the_service_is_confined(nas: Machine) -> None:
    last = nas.run("systemd-analyze security hdpd.service --no-pager | tail -1")
    found = re.search(r": ([0-9.]+) ", last)
    assert found, last
    assert float(found[1]) <= 1.5
    assert nas.property("NRestarts") == "0"


def test_members_of_the_group_may_control_it_and_others_not(nas: Machine) -> None:
    nas.run("useradd -m -G hdpd anna; useradd -m bob")
    assert "party" in nas.run("hdpctl status", user="anna")
    assert "group hdpd" in nas.fails("hdpctl --server unix:/run/hdpd/hdpd.sock status", user="bob")
    assert "denied" in nas.fails("cat /etc/hdpd/hdpd.toml", user="bob")
    assert "denied" in nas.fails("ls /var/lib/hdpd", user="bob")


def test_the_socket_starts_the_service(nas: Machine) -> None:
    nas.run("systemctl stop hdpd.service")
    assert nas.property("ActiveState") == "inactive"
    assert "party" in nas.run("hdpctl status")
    assert nas.property("ActiveState") == "active"


def test_two_machines_meet_by_mdns_and_transfer(nas: Machine, friend: Machine) -> None:
    wait_for("the machines meet", lambda: connected(nas), within=MEET_SECONDS)
    [peer] = connected(nas)
    nas.run(f"timeout 60 hdpctl download {peer}/films/'Björk live.bin' --wait")
    assert nas.run("stat -c '%U:%G %a' /var/lib/hdpd/downloads/*.bin") == "hdpd:hdpd 660\n"
    ours = nas.run("sha256sum </var/lib/hdpd/downloads/Björk*")
    assert ours == friend.run("sha256sum </srv/films/Björk*")
    assert nas.run("cat /var/lib/hdpd/downloads/Björk* | wc -c", user="anna").strip() == "3145728"


def test_the_journal_has_fields_and_no_topics(nas: Machine, friend: Machine) -> None:
    [peer] = connected(nas)
    assert "connected with" in nas.journal(f"PEER={peer}")
    assert "Björk live.bin" in nas.journal("DOWNLOAD=" + ctl(nas, "queue")["downloads"][0]["id"])
    priorities = nas.run('journalctl -u hdpd -o json | grep -c \'"PRIORITY":"6"\'')
    assert int(priorities) > 0
    assert "party" not in nas.run("journalctl -o json -t hdpd")


def test_a_reload_takes_over_and_a_mistake_changes_nothing(nas: Machine) -> None:
    before = main_pid(nas)
    nas.run("printf 'topics = [\"second\"]\\n' >/etc/hdpd/hdpd.toml.d/more.toml")
    nas.run("systemctl reload hdpd")
    wait_for("the topic is joined", lambda: "second" in nas.run("hdpctl topics"), within=10)
    nas.run("printf 'topcs = []\\n' >/etc/hdpd/hdpd.toml.d/more.toml; systemctl reload hdpd")
    wait_for("the mistake is told", lambda: "unknown key 'topcs'" in nas.journal(), within=10)
    assert "did you mean 'topics'" in nas.journal("-p err")
    assert "Correct the file" in nas.run("journalctl -x -u hdpd -p err --no-pager")
    assert "not used" in nas.property("StatusText")
    assert "second" in nas.run("hdpctl topics")
    assert nas.property("ActiveState") == "active"
    nas.run("rm /etc/hdpd/hdpd.toml.d/more.toml; systemctl reload hdpd")
    wait_for("the topic is left", lambda: "second" not in nas.run("hdpctl topics"), within=10)
    assert main_pid(nas) == before


def test_a_start_with_a_mistake_is_not_repeated(nas: Machine) -> None:
    nas.run("echo 'port = 1' >/etc/hdpd/hdpd.toml.d/more.toml")
    nas.fails("systemctl restart hdpd")
    assert nas.property("ExecMainStatus") == "2"
    assert nas.property("NRestarts") == "0"
    assert "network.port" in nas.journal()
    nas.run("rm /etc/hdpd/hdpd.toml.d/more.toml; systemctl restart hdpd")


def test_secrets_come_as_credentials(nas: Machine) -> None:
    nas.run(
        "echo 'topics = [\"from a credential\"]' >/root/secrets.toml\n"
        "chmod 600 /root/secrets.toml\n"
        "mkdir -p /etc/systemd/system/hdpd.service.d\n"
        "printf '[Service]\\nLoadCredential=secrets.toml:/root/secrets.toml\\n' "
        ">/etc/systemd/system/hdpd.service.d/secret.conf\n"
        "systemctl daemon-reload; systemctl restart hdpd"
    )
    assert "from a credential" in nas.run("hdpctl topics")
    nas.run("rm -r /etc/systemd/system/hdpd.service.d; systemctl daemon-reload")
    nas.run("systemctl restart hdpd")


def test_a_stuck_process_is_restarted_and_the_transfer_goes_on(
    nas: Machine, friend: Machine
) -> None:
    nas.run(
        "mkdir -p /run/systemd/system/hdpd.service.d\n"
        f"printf '[Service]\\nWatchdogSec={WATCHDOG_SECONDS}\\n' "
        ">/run/systemd/system/hdpd.service.d/quick.conf\n"
        "systemctl daemon-reload; systemctl restart hdpd"
    )
    begin_long_download(nas, friend)
    stuck = main_pid(nas)
    nas.run(f"kill -STOP {stuck}")
    wait_for(
        "a new process", lambda: main_pid(nas) not in (stuck, "0"), within=4 * WATCHDOG_SECONDS
    )
    wait_active(nas, 20)
    assert "watchdog" in nas.run("journalctl -b -o cat -u hdpd").lower()
    finish_long_download(nas, friend)


def test_a_crash_loses_nothing(nas: Machine, friend: Machine) -> None:
    begin_long_download(nas, friend)
    crashed = main_pid(nas)
    nas.run(f"kill -KILL {crashed}")
    wait_for("a new process", lambda: main_pid(nas) not in (crashed, "0"), within=20)
    wait_active(nas, 20)
    finish_long_download(nas, friend)


def test_a_reboot_loses_nothing(nas: Machine, friend: Machine) -> None:
    begin_long_download(nas, friend)
    name = ctl(nas, "status")["name"]
    nas.reboot()
    wait_active(nas, 20)
    assert ctl(nas, "status")["name"] == name
    finish_long_download(nas, friend)


def test_nothing_is_written_elsewhere(nas: Machine) -> None:
    written = nas.run(
        "find / -xdev -newer /root/before -user hdpd -not -path '/proc/*' -not -path '/run/hdpd*' "
        "-not -path '/var/lib/hdpd*' -not -path '/tmp/systemd-private*' -not -path '/dev/*'"
    )
    assert written == ""
    assert "hdpd" not in nas.run("find /tmp /var/tmp -user hdpd")


def test_the_doctor_finds_only_what_is_missing_here(nas: Machine) -> None:
    found = {each["check"]: each for each in ctl(nas, "doctor")["findings"]}
    trouble = {check for check, each in found.items() if each["state"] != "ok"}
    # There is no internet, and the buffers are those of the machine around.
    assert {
        check
        for check in trouble
        if not check.startswith(("broker", "internet", "STUN", "port mapping"))
    } <= {"UDP buffers", "inotify", "space for downloads", "space for the state"}
    assert found["share music"]["state"] == "ok"
    assert "configuration" in nas.run("hdpctl doctor", user="anna")
    nas.run(
        "printf '[[shares]]\\npath = \"/home/anna\"\\n' >/etc/hdpd/hdpd.toml.d/home.toml\n"
        "chmod 755 /home/anna; install -d -m 700 -o anna /home/anna/private; systemctl reload hdpd"
    )
    wait_for(
        "what it may not read", lambda: "setfacl" in nas.run("hdpctl doctor || true"), within=30
    )
    nas.run("setfacl -R -m u:hdpd:rX /home/anna; hdpctl shares rescan anna")
    wait_for("it may read it", lambda: "setfacl" not in nas.run("hdpctl doctor || true"), within=30)
    nas.run("rm /etc/hdpd/hdpd.toml.d/home.toml; systemctl reload hdpd")


def test_the_test_that_comes_with_the_package_passes(nas: Machine) -> None:
    host("cp", str(ROOT / "debian" / "tests" / "service"), str(nas.root / "root"))
    nas.run("/root/service")


def test_the_manual_and_completion_are_there(nas: Machine, friend: Machine) -> None:
    for page in ("hdpd", "hdpctl", "hdpd.toml"):
        assert "SEE ALSO" in nas.run(f"man {page} | cat")
    wait_for("the machines meet", lambda: connected(nas), within=MEET_SECONDS)
    [peer] = connected(nas)

    def completed(words: list[str]) -> str:
        quoted = " ".join(f"'{word}'" for word in words)
        return nas.run(
            ". /usr/share/bash-completion/completions/hdpctl\n"
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
            "_hdpctl_completion hdpctl 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
        )

    assert "download" in completed(["hdpctl", "dow"])
    assert peer in completed(["hdpctl", "block", peer[:4]])
    assert f"{peer}/films/" in completed(["hdpctl", "ls", f"{peer}/fi"])
    assert ctl(nas, "queue")["downloads"][0]["id"] in completed(["hdpctl", "queue", "retry", ""])


def next_version(package: Path) -> Path:
    """The same package with a higher version."""
    unpacked = WORK / "next"
    shutil.rmtree(unpacked, ignore_errors=True)
    host("dpkg-deb", "-R", str(package), str(unpacked))
    version = host("dpkg-deb", "-f", str(package), "Version").strip()
    newer = version.replace("0.1.0", "0.1.1")
    for name in ("control", "preinst"):
        file = unpacked / "DEBIAN" / name
        if file.exists():
            file.write_text(file.read_text().replace(version, newer))
    target = WORK / package.name.replace("0.1.0", "0.1.1")
    host("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(unpacked), str(target))
    return target


def test_an_upgrade_keeps_the_queue_and_the_configuration(nas: Machine, friend: Machine) -> None:
    begin_long_download(nas, friend)
    before = nas.run("cat /etc/hdpd/hdpd.toml; sha256sum /var/lib/hdpd/identity.key")
    install(nas, *map(next_version, PACKAGES))
    wait_active(nas, 20)
    assert "0.1.1" in nas.run("dpkg-query -W -f '${Version}' hdpd")
    assert nas.run("cat /etc/hdpd/hdpd.toml; sha256sum /var/lib/hdpd/identity.key") == before
    finish_long_download(nas, friend)


def test_a_downgrade_is_refused_and_harms_nothing(nas: Machine) -> None:
    package = next(package for package in PACKAGES if package.name.startswith("hdpd_"))
    refused = nas.fails(f"dpkg -i /root/{package.name}")
    assert "cannot take over from the later version" in refused
    assert "0.1.1" in nas.run("dpkg-query -W -f '${Version} ${Status}' hdpd")
    nas.run("systemctl start hdpd; hdpctl status")


def test_removal_keeps_the_state_and_purge_the_downloads(nas: Machine) -> None:
    nas.run("DEBIAN_FRONTEND=noninteractive apt-get remove --yes hdpd")
    nas.run("test -e /var/lib/hdpd/identity.key && test -e /etc/hdpd/hdpd.toml")
    nas.run("test ! -e /run/hdpd/hdpd.sock && test ! -e /usr/lib/hdpd")
    packages = [WORK / package.name.replace("0.1.0", "0.1.1") for package in PACKAGES]
    install(nas, *packages)
    wait_active(nas, 20)
    nas.run("echo 'log_level = \"info\"' >/etc/hdpd/hdpd.toml.d/own.toml")
    nas.run("DEBIAN_FRONTEND=noninteractive apt-get purge --yes hdpd")
    nas.run("test -e /var/lib/hdpd/identity.key && test ! -e /etc/hdpd")
    nas.run("test -s /var/lib/hdpd/downloads/long.bin && test ! -e /var/lib/hdpd/index.db")
    install(nas, *packages)
    nas.run("echo 'hdpd hdpd/purge-identity boolean true' | debconf-set-selections")
    nas.run("DEBIAN_FRONTEND=noninteractive apt-get purge --yes hdpd hdpctl")
    nas.run("test ! -e /var/lib/hdpd/identity.key && test -s /var/lib/hdpd/downloads/long.bin")
    nas.run("test ! -e /usr/lib/hdpctl && ! command -v hdpctl")
